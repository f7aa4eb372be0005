"""Comparing: what several training runs say together."""
