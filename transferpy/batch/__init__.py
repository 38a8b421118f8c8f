"""Jobs: the transfers of a job file."""
