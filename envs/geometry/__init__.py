"""Boxes and rotations."""
