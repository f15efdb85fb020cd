"""The ways in which a caller reaches a session."""
