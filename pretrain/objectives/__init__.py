"""Objectives for learning from unlabelled clips."""
