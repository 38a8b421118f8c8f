"""Job files: named transfers in YAML. Every problem of a file is reported with its line."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from transferpy.batch.yaml_reader import YamlReader
from transferpy.Exceptions import UsageError, error_text
from transferpy.model.locations import Location
from transferpy.model.option import OptionError, OptionValue
from transferpy.model.options import OPTIONS, TOOL_OPTIONS, TransferOptions, applicable_options
from transferpy.model.request import TransferRequest

PLACEHOLDERS = ("date", "time", "name")
STATE_DIRECTORY = "/var/lib/transferpy"

_MAXIMUM_SIZE = 1 << 20  # the maximum size of a job file, in characters
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_LIMITS = ("at_once", "at_once_per_host")
# For a job, "retries" is the number of repeated transfers. The option of this name is about one stream.
_NUMBERS = {"retries": range(101), "retry_pause": range(1, 86401), "keep": range(1, 100_001)}
_DEFAULT_NUMBERS = {"retries": 0, "retry_pause": 60, "keep": 0}
_OPTIONS = tuple(name for name in OPTIONS if name not in TOOL_OPTIONS | {"transfer_type"} | _NUMBERS.keys())
_DEFAULTS_KEYS = ("type", *_OPTIONS, *_NUMBERS)
_TRANSFER_KEYS = ("source", "targets", *_DEFAULTS_KEYS)
_JOB_KEYS = (*_LIMITS, "state_directory", "on_success", "on_failure", "defaults", "transfers")

_Options = Mapping[str, OptionValue]


class JobFileError(UsageError):
    """A job file is invalid: ``problems`` are the problems, one line each, with the file and the line."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__(*problems)


@dataclass(frozen=True, kw_only=True)
class JobTransfer:
    """One transfer of a job."""

    name: str
    source: Location
    targets: tuple[Location, ...]  # their paths may contain placeholders
    options: _Options  # the options that the file sets, by their names in TransferOptions
    retries: int  # the maximum number of attempts after the first one
    retry_pause: int  # seconds before the first retry; the pause doubles before each further retry
    keep: int  # the number of copies to keep; 0 keeps all


@dataclass(frozen=True, kw_only=True)
class JobFile:
    """A job."""

    transfers: tuple[JobTransfer, ...]  # in the order of the file
    at_once: int  # the maximum number of transfers that run at the same time
    at_once_per_host: int  # the maximum number of transfers at the same time that use the same host
    state_directory: str  # the directory of the lock and of the list of copies
    on_success: tuple[str, ...]  # program and arguments of the hook for a job that succeeded; empty for none
    on_failure: tuple[str, ...]  # the same for a job of which a transfer failed


def read_job_file(path: str) -> JobFile:
    """Return the job in a file; raise JobFileError if it is invalid, another UsageError if it cannot be read."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(_MAXIMUM_SIZE + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the job file cannot be read: {error_text(error)}") from error
    if len(text) > _MAXIMUM_SIZE:
        raise UsageError(f"{path}: the job file cannot be read: it has more than {_MAXIMUM_SIZE} characters")
    return parse_job_file(text, path)


def parse_job_file(text: str, path: str) -> JobFile:
    """Return the job in the text of a file; raise JobFileError if it is invalid."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise JobFileError([f"{path}: {place}invalid YAML: {problem}"]) from error
    except RecursionError as error:
        raise JobFileError([f"{path}: invalid YAML: nested too deeply"]) from error
    if root is None:
        raise JobFileError([f"{path}: the file is empty; the key transfers is required"])
    reader = _JobReader()
    job = reader.job(root)
    if reader.problems:
        raise JobFileError(f"{path}: {problem}" for _, problem in sorted(reader.problems))
    return job


def select_transfers(job: JobFile, names: Sequence[str], path: str) -> list[JobTransfer]:
    """Return the transfers with these names, each once; all if there is no name. Raise UsageError for unknown names."""
    known = {transfer.name: transfer for transfer in job.transfers}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{path}: unknown transfer {', '.join(unknown)}; the transfers are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(job.transfers)


class _JobReader(YamlReader):
    """Converts the nodes of a job file."""

    def job(self, root: yaml.Node) -> JobFile:
        nodes = self.mapping(root, "the job", _JOB_KEYS)
        defaults = self.mapping(nodes.get("defaults"), "defaults", _DEFAULTS_KEYS)
        named = self.mapping(nodes.get("transfers"), "transfers")
        if not named:
            self.add_problem(nodes.get("transfers", root), "the job has no transfers")
        options, numbers = self._options(defaults), self._numbers(defaults, _DEFAULT_NUMBERS)
        transfers = (self._transfer(name, node, options, numbers) for name, node in named.items())
        return JobFile(
            transfers=tuple(filter(None, transfers)),
            state_directory=self._state_directory(nodes),
            on_success=self.arguments(nodes, "on_success"),
            on_failure=self.arguments(nodes, "on_failure"),
            **{name: self.number(nodes, name, 1, range(1, 101)) for name in _LIMITS},
        )

    def _state_directory(self, nodes: Mapping[str, yaml.Node]) -> str:
        if (node := nodes.get("state_directory")) is None:
            return STATE_DIRECTORY
        path = self.text(node, "state_directory")
        if not path.startswith("/"):
            self.add_problem(node, "state_directory must be an absolute path")
        return path

    def _transfer(
        self, name: str, node: yaml.Node, default_options: _Options, default_numbers: Mapping[str, int]
    ) -> JobTransfer | None:
        """Return a transfer, or None if it has a problem."""
        if not _NAME.fullmatch(name):
            allowed = "a letter or digit, then letters, digits, dots, dashes and underscores"
            self.add_problem(node, f"invalid transfer name {name!r:.50}: use {allowed}")
        nodes = self.mapping(node, f"the transfer {name}", _TRANSFER_KEYS)
        missing = [key for key in ("source", "targets") if key not in nodes]
        if missing:
            self.add_problem(node, f"the transfer {name} has no {' and no '.join(missing)}")
            return None
        known_problems = len(self.problems)
        own, numbers = self._options(nodes), self._numbers(nodes, default_numbers)
        options = applicable_options({"create_target": True, **default_options, **own}, own)
        source = self.location(nodes["source"], "source")
        targets = self._targets(nodes["targets"], keep=bool(numbers["keep"]))
        if len(self.problems) > known_problems or source is None:
            return None
        try:
            TransferRequest(source=source, targets=targets, options=TransferOptions(**options))  # validates them
        except UsageError as error:
            self.add_problem(node, f"the transfer {name}: {error}")
            return None
        return JobTransfer(name=name, source=source, targets=targets, options=options, **numbers)

    def _options(self, nodes: Mapping[str, yaml.Node]) -> _Options:
        found: dict[str, OptionValue] = {}
        for key, node in nodes.items():
            name = "transfer_type" if key == "type" else key
            if name in {"transfer_type", *_OPTIONS}:
                try:
                    found[name] = OPTIONS[name].parse(self.text(node, key))
                except OptionError as error:
                    self.add_problem(node, f"{key} {error.problem}")
        return found

    def _numbers(self, nodes: Mapping[str, yaml.Node], defaults: Mapping[str, int]) -> dict[str, int]:
        return {name: self.number(nodes, name, defaults[name], allowed) for name, allowed in _NUMBERS.items()}

    def _targets(self, node: yaml.Node, *, keep: bool) -> tuple[Location, ...]:
        """Return the targets; the node is one target or a list."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not nodes:
            self.add_problem(node, "targets needs at least one HOST:PATH")
        found = [(each, location) for each in nodes if (location := self.location(each, "targets"))]
        for each, location in found:
            self._check_path(each, location.path, keep=keep)
        return tuple(location for _, location in found)

    def _check_path(self, node: yaml.Node, path: str, *, keep: bool) -> None:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        for name in _PLACEHOLDER.findall(path):
            if name not in PLACEHOLDERS:
                self.add_problem(node, f"{path}: unknown placeholder {{{name}}}; the placeholders are {known}")
        if set("{}") & set(_PLACEHOLDER.sub("", path)):
            self.add_problem(node, f"{path}: unbalanced brace")
        if not path.startswith("/") or ".." in path.split("/"):
            self.add_problem(node, f"{path}: the target path of a job must be absolute and must not contain ..")
        if keep and not re.search(r"\{(date|time)\}", path.rstrip("/").rpartition("/")[2]):
            self.add_problem(
                node, f"{path}: with keep, the last component of the target path must contain {{date}} or {{time}}"
            )
