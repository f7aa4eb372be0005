"""Watching: video in, encoder out. This room sees frames, never an environment."""
