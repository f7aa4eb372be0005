"""Encoders: frames to tokens."""
