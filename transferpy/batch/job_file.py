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

_MAXIMUM_SIZE = 1 << 20
"""The maximum size of a job file, in characters."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_LIMITS = {"at_once": range(1, 101), "at_once_per_host": range(1, 101)}
_NUMBERS = {"retries": range(101), "retry_pause": range(1, 86401), "keep": range(1, 100_001)}
_DEFAULTS_KEYS = ("type", *(name for name in OPTIONS if name not in TOOL_OPTIONS | {"transfer_type"}), *_NUMBERS)
_TRANSFER_KEYS = ("source", "targets", *_DEFAULTS_KEYS)
_JOB_KEYS = (*_LIMITS, "state_directory", "on_success", "on_failure", "defaults", "transfers")


class JobFileError(UsageError):
    """A job file is invalid.

    Attributes:
        problems: every problem, one line each, with the file and the line.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, kw_only=True)
class JobTransfer:
    """One transfer of a job.

    Attributes:
        name: the name in the file.
        source: the source.
        targets: the targets; their paths may contain placeholders.
        options: the options that the file sets, by their names in TransferOptions.
        retries: the maximum number of attempts after the first one.
        retry_pause: seconds before the first retry; the pause doubles before each further retry.
        keep: the number of copies to keep; 0 keeps all.
    """

    name: str
    source: Location
    targets: tuple[Location, ...]
    options: Mapping[str, OptionValue]
    retries: int
    retry_pause: int
    keep: int


@dataclass(frozen=True, kw_only=True)
class JobFile:
    """A job.

    Attributes:
        transfers: the transfers, in the order of the file.
        at_once: the maximum number of transfers that run at the same time.
        at_once_per_host: the maximum number of transfers at the same time that use the same host.
        state_directory: the directory of the lock and of the list of copies.
        on_success: program and arguments of the hook that runs if all transfers succeeded; empty for none.
        on_failure: program and arguments of the hook that runs if a transfer failed; empty for none.
    """

    transfers: tuple[JobTransfer, ...]
    at_once: int
    at_once_per_host: int
    state_directory: str
    on_success: tuple[str, ...]
    on_failure: tuple[str, ...]


def fill_placeholders(path: str, values: Mapping[str, str]) -> str:
    """Return a path with the values of its placeholders."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], path)


def read_job_file(path: str) -> JobFile:
    """Return the job in a file.

    Raises:
        UsageError: the file cannot be read, or is too large.
        JobFileError: the file is invalid.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(_MAXIMUM_SIZE + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the job file cannot be read: {error_text(error)}") from error
    if len(text) > _MAXIMUM_SIZE:
        raise UsageError(f"{path}: the job file cannot be read: it has more than {_MAXIMUM_SIZE} characters")
    return parse_job_file(text, path)


def parse_job_file(text: str, path: str) -> JobFile:
    """Return the job in the text of a file.

    Raises:
        JobFileError: the text is invalid; the error has every problem.
    """
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
    """Return the transfers with these names, each once and in this order; all transfers if there is no name.

    Raises:
        UsageError: the job has no transfer of such a name.
    """
    known = {transfer.name: transfer for transfer in job.transfers}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{path}: unknown transfer {', '.join(unknown)}; the transfers are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(job.transfers)


class _JobReader(YamlReader):
    """Converts the nodes of a job file."""

    def __init__(self) -> None:
        super().__init__()
        self._default_options: dict[str, OptionValue] = {}
        self._default_numbers = {"retries": 0, "retry_pause": 60, "keep": 0}

    def job(self, root: yaml.Node) -> JobFile:
        nodes = self.mapping(root, "the job", _JOB_KEYS)
        defaults = self.mapping(nodes["defaults"], "defaults", _DEFAULTS_KEYS) if "defaults" in nodes else {}
        named = self.mapping(nodes["transfers"], "transfers") if "transfers" in nodes else {}
        if not named:
            self.add_problem(nodes.get("transfers", root), "the job has no transfers")
        self._default_options = self._read_options(defaults)
        self._default_numbers = self._read_numbers(defaults)
        return JobFile(
            transfers=tuple(filter(None, (self._transfer(name, node) for name, node in named.items()))),
            state_directory=self._state_directory(nodes),
            on_success=self.arguments(nodes, "on_success"),
            on_failure=self.arguments(nodes, "on_failure"),
            **{name: self.number(nodes, name, 1, allowed) for name, allowed in _LIMITS.items()},
        )

    def _state_directory(self, nodes: Mapping[str, yaml.Node]) -> str:
        if "state_directory" not in nodes:
            return STATE_DIRECTORY
        path = self.text(nodes["state_directory"], "state_directory")
        if not path.startswith("/"):
            self.add_problem(nodes["state_directory"], "state_directory must be an absolute path")
        return path

    def _transfer(self, name: str, node: yaml.Node) -> JobTransfer | None:
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
        options, numbers = self._transfer_options(nodes), self._read_numbers(nodes)
        source = self.location(nodes["source"], "source")
        targets = self._targets(nodes["targets"], keep=bool(numbers["keep"]))
        if len(self.problems) > known_problems or source is None:
            return None
        try:
            TransferRequest(source=source, targets=targets, options=TransferOptions(**options))  # type: ignore[arg-type]  # validates them
        except UsageError as error:
            self.add_problem(node, f"the transfer {name}: {error}")
            return None
        return JobTransfer(name=name, source=source, targets=targets, options=options, **numbers)

    def _transfer_options(self, nodes: Mapping[str, yaml.Node]) -> dict[str, OptionValue]:
        own = self._read_options(nodes)
        return applicable_options({"create_target": True, **self._default_options, **own}, own)

    def _read_options(self, nodes: Mapping[str, yaml.Node]) -> dict[str, OptionValue]:
        found: dict[str, OptionValue] = {}
        for key, node in nodes.items():
            name = "transfer_type" if key == "type" else key
            if name not in OPTIONS:
                continue
            try:
                found[name] = OPTIONS[name].parse(self.text(node, key))
            except OptionError as error:
                self.add_problem(node, f"{key} {error.problem}")
        return found

    def _read_numbers(self, nodes: Mapping[str, yaml.Node]) -> dict[str, int]:
        """Return all numbers of a transfer: those of the nodes, and the defaults."""
        return {name: self.number(nodes, name, self._default_numbers[name], _NUMBERS[name]) for name in _NUMBERS}

    def _targets(self, node: yaml.Node, *, keep: bool) -> tuple[Location, ...]:
        """Return the targets; the node is one target or a list."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: list[Location] = []
        for one in nodes:
            location = self.location(one, "targets")
            if location is not None:
                self._check_path(one, location.path, keep=keep)
                found.append(location)
        if not nodes:
            self.add_problem(node, "targets needs at least one HOST:PATH")
        return tuple(found)

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
