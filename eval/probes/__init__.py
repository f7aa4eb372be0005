"""Probes: what an encoder's features know."""
