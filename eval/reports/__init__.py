"""Reports: pages about a run."""
