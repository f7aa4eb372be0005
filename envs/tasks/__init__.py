"""Tasks: what varies between environments."""
