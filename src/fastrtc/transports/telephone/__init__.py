"""Calls from a telephone network, over the media streams of the platforms that connect to it."""
