"""Environments of others, made to look like ours."""
