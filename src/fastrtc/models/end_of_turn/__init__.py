"""Whether a caller who pauses has finished: Smart Turn, or a model of the user's own."""
