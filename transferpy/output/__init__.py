"""Reports, metrics and log lines about a run."""
