"""Cameras over a batch of simulations: `render(batch) -> (N, H, W, 3) uint8`."""
