"""The request to run a job, as the command line makes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transferpy.model.options import ToolOptions


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A run of a job that the command line asks for.

    Attributes:
        path: the job file.
        names: the transfers to run, in this order; empty for all.
        overrides: options of the command line, as text or typed, which override those of the job file.
        options: the options of the job as a whole.
        config: the configuration file, or None for the usual one.
    """

    path: str
    names: Sequence[str]
    overrides: Mapping[str, object]
    options: ToolOptions
    config: str | None

    @property
    def job_name(self) -> str:
        """The name of the job in reports: that of its file, without the suffix."""
        return Path(self.path).stem
