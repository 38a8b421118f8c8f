"""Jobs: the transfers of a job file."""

from transferpy.batch.run import run_job_file

__all__ = ["run_job_file"]
