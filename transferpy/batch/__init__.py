"""Jobs: the transfers of a job file."""

from transferpy.batch.request import JobRequest
from transferpy.batch.run import run_job_file

__all__ = ["JobRequest", "run_job_file"]
