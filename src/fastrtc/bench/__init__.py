"""The command `fastrtc bench`: how many calls a machine carries, measured on it."""
