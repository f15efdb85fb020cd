"""WebRTC: signalling, one small engine interface, and the engines behind it."""
