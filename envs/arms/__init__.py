"""Arms: which there are, how a file describes one, and what is measured of it."""
