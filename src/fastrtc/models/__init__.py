"""Models: voice detection, and later speech to text and text to speech. Import only `audio`."""
