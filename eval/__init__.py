"""Judge and show: success with intervals, probes, videos and reports."""
