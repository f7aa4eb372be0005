"""Films: an agent beside its goal."""
