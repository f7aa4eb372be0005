"""Algorithms: how an agent learns."""
