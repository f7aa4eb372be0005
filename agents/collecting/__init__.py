"""Collecting: play, recorded."""
