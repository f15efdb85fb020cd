"""Calls over a socket, whatever the dialect."""
