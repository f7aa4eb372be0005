"""Tokenisers: what a frame is cut into."""
