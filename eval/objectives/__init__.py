"""Objectives compared: what an encoder knows by each, at equal FLOPs."""
