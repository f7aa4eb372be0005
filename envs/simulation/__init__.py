"""The simulation: scene, control, stepping, and what is read from its state."""
