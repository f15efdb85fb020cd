"""Voice activity detection: Silero, batched over all callers, or a model of the user's own."""
