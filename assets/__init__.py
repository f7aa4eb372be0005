"""Robot arms, grippers and scenes as MJCF, read through `importlib.resources`."""
