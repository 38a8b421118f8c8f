"""Jobs: the transfers of a job file, and the copies that they made."""
