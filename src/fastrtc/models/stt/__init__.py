"""Speech to text on the server's own CPU: Moonshine."""
