"""Frames: where they come from, how they are kept, and how they are drawn."""

from pathlib import Path

CACHE = Path("runs/frames")  # decoded video, kept for the next time
