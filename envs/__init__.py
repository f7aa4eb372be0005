"""Goal-conditioned manipulation environments, batched."""
