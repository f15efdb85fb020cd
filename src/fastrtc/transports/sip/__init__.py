"""Telephone calls over SIP, without a platform between: our own answering side."""
