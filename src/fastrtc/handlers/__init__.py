"""What users write and subclass, and the drivers that run it inside a session."""
