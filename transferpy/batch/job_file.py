"""Job files: named transfers in YAML, checked line by line.

A pure function from text to values. Nothing of the file is made into anything but text: what a value may be, its key
says.
"""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml

from transferpy.Exceptions import UsageError
from transferpy.model.locations import Location, split_word
from transferpy.model.option import OptionError, OptionValue
from transferpy.model.options import OPTIONS, TOOL_OPTIONS, TransferOptions, applicable_options
from transferpy.model.request import TransferRequest

PLACEHOLDERS = ("date", "time", "name")
STATE_DIRECTORY = "/var/lib/transferpy"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# Of a transfer, with its default and the values it may have; seconds for the pause.
_NUMBERS = {"retries": (0, range(101)), "retry_pause": (60, range(1, 86401)), "keep": (0, range(1, 100_001))}
_LIMITS = {"at_once": (1, range(1, 101)), "at_once_per_host": (1, range(1, 101))}
_COPY_KEYS = ("type", *(name for name in OPTIONS if name not in TOOL_OPTIONS | {"transfer_type"}), *_NUMBERS)
_TRANSFER_KEYS = ("source", "targets", *_COPY_KEYS)
_KEYS = (*_LIMITS, "state_directory", "on_success", "on_failure", "defaults", "transfers")


class JobFileError(UsageError):
    """A job file makes no sense.

    Attributes:
        problems: every reason found, one line each, with file and line.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, kw_only=True)
class JobTransfer:
    """One transfer of a job.

    Attributes:
        name: its name in the file.
        source: where from.
        targets: where to; their paths may have placeholders.
        options: those that the file sets, under the names of TransferOptions.
        retries: how often it is tried again.
        retry_pause: seconds before it is tried again for the first time; twice as many before each further time.
        keep: how many copies are kept; 0 for all.
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
        transfers: in the order of the file.
        at_once: how many run at the same time.
        at_once_per_host: how many of those have to do with the same host.
        state_directory: where the job notes what it has made.
        on_success: words of the command that is run when all went well; none for no command.
        on_failure: the same for when something did not.
    """

    transfers: tuple[JobTransfer, ...]
    at_once: int
    at_once_per_host: int
    state_directory: str
    on_success: tuple[str, ...]
    on_failure: tuple[str, ...]


def fill_in(path: str, values: Mapping[str, str]) -> str:
    """Return a path with its placeholders filled in."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], path)


def parse_job_file(text: str, path: str) -> JobFile:
    """Return the job that a file holds.

    Raises:
        JobFileError: it makes no sense; the error has every reason.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        raise JobFileError([f"{path}: {place}no YAML: {what}"]) from error
    except RecursionError as error:
        raise JobFileError([f"{path}: nested too deep"]) from error
    reader = _Reader()
    if root is None:
        raise JobFileError([f"{path}: the file is empty; it needs transfers"])
    job = reader.job(root)
    if reader.problems:
        raise JobFileError(f"{path}: {problem}" for _, problem in sorted(reader.problems))
    return job


class _Reader:
    """Reads nodes of YAML by what is expected of them, and collects what is not as expected."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []

    def problem(self, node: yaml.Node, text: str) -> None:
        """Note what is wrong at a place of the file."""
        line = node.start_mark.line + 1
        self.problems.append((line, f"line {line}: {text}"))

    def mapping(self, node: yaml.Node, what: str, keys: Iterable[str] | None = None) -> dict[str, yaml.Node]:
        """Return the values of a mapping by key, those that are no keys left out."""
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, f"{what} needs keys and values")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or (keys is not None and key.value not in keys):
                known = f"; the keys are {', '.join(keys)}" if keys is not None else ""
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                self.problem(key, f"unknown key {name!r:.50} in {what}{known}")
            elif key.value in found:
                self.problem(key, f"{key.value} stands twice in {what}")
            else:
                found[key.value] = value
        return found

    def text(self, node: yaml.Node, what: str) -> str:
        """Return a value as it is written."""
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, f"{what} needs one value")
            return ""
        # By its escapes YAML writes what neither a path nor the argument of a command can hold.
        try:
            if b"\0" not in os.fsencode(node.value):
                return str(node.value)
        except UnicodeEncodeError:
            pass
        self.problem(node, f"{what} holds a character that stands for no text")
        return ""

    def number(self, nodes: Mapping[str, yaml.Node], name: str, default: int, numbers: range) -> int:
        if name not in nodes:
            return default
        text = self.text(nodes[name], name)
        if re.fullmatch("[0-9]{1,9}", text) and int(text) in numbers:
            return int(text)
        self.problem(nodes[name], f"{name} must be a whole number from {numbers[0]} to {numbers[-1]}, not {text!r}")
        return default

    def command(self, nodes: Mapping[str, yaml.Node], name: str) -> tuple[str, ...]:
        """Return the words of a command; no shell ever reads it."""
        if name not in nodes:
            return ()
        try:
            words = shlex.split(self.text(nodes[name], name))
        except ValueError as error:
            self.problem(nodes[name], f"{name}: {error}")
            return ()
        if not words:
            self.problem(nodes[name], f"{name} needs a command")
        return tuple(words)

    def job(self, root: yaml.Node) -> JobFile:
        nodes = self.mapping(root, "the job", _KEYS)
        defaults = self.mapping(nodes["defaults"], "defaults", _COPY_KEYS) if "defaults" in nodes else {}
        named = self.mapping(nodes["transfers"], "transfers") if "transfers" in nodes else {}
        if not named:
            self.problem(nodes.get("transfers", root), "the job has no transfers")
        state = STATE_DIRECTORY
        if "state_directory" in nodes:
            state = self.text(nodes["state_directory"], "state_directory")
            if not state.startswith("/"):
                self.problem(nodes["state_directory"], "state_directory must be an absolute path")
        self.options(defaults)  # what is wrong there is told once
        return JobFile(
            transfers=tuple(filter(None, (self.transfer(name, node, defaults) for name, node in named.items()))),
            state_directory=state,
            on_success=self.command(nodes, "on_success"),
            on_failure=self.command(nodes, "on_failure"),
            **{name: self.number(nodes, name, *limits) for name, limits in _LIMITS.items()},
        )

    def transfer(self, name: str, node: yaml.Node, defaults: Mapping[str, yaml.Node]) -> JobTransfer | None:
        if not _NAME.fullmatch(name):
            self.problem(node, f"{name!r:.50} is no name of a transfer: letters, digits, dot, dash and underscore")
        own = self.mapping(node, f"the transfer {name}", _TRANSFER_KEYS)
        nodes = {**defaults, **own}
        missing = [key for key in ("source", "targets") if key not in own]
        if missing:
            self.problem(node, f"the transfer {name} has no {' and no '.join(missing)}")
            return None
        before = len(self.problems)
        options = self.options(own)
        inherited = _Reader().options({key: value for key, value in defaults.items() if key not in own})
        options = applicable_options({**inherited, **options}, own)
        keep = self.number(nodes, "keep", *_NUMBERS["keep"])
        source = self.location(own["source"], "source")
        targets = self.targets(own["targets"], keep=bool(keep))
        if len(self.problems) > before or source is None:
            return None
        options = {"create_target": True, **options}
        try:
            TransferRequest(source=source, targets=targets, options=TransferOptions(**options))  # type: ignore[arg-type]  # checked when it is made
        except UsageError as error:
            self.problem(node, f"the transfer {name}: {error}")
            return None
        return JobTransfer(
            name=name,
            source=source,
            targets=targets,
            options=options,
            retries=self.number(nodes, "retries", *_NUMBERS["retries"]),
            retry_pause=self.number(nodes, "retry_pause", *_NUMBERS["retry_pause"]),
            keep=keep,
        )

    def options(self, nodes: Mapping[str, yaml.Node]) -> dict[str, OptionValue]:
        found: dict[str, OptionValue] = {}
        for key, node in nodes.items():
            name = "transfer_type" if key == "type" else key
            if name not in OPTIONS:
                continue
            try:
                found[name] = OPTIONS[name].parse(self.text(node, key))
            except OptionError as error:
                self.problem(node, f"{key} {error.problem}")
        return found

    def location(self, node: yaml.Node, what: str) -> Location | None:
        word = self.text(node, what)
        if not word:
            return None
        try:
            return split_word(word)
        except UsageError as error:
            self.problem(node, f"{what}: {error}")
            return None

    def targets(self, node: yaml.Node, *, keep: bool) -> tuple[Location, ...]:
        """Return the targets, one or a list of them."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: list[Location] = []
        for one in nodes:
            location = self.location(one, "targets")
            if location is not None:
                self.template(one, location.path, keep=keep)
                found.append(location)
        if not nodes:
            self.problem(node, "targets needs at least one HOST:PATH")
        return tuple(found)

    def template(self, node: yaml.Node, path: str, *, keep: bool) -> None:
        for name in _PLACEHOLDER.findall(path):
            if name not in PLACEHOLDERS:
                known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
                self.problem(node, f"{path}: unknown placeholder {{{name}}}; there are {known}")
        if set("{}") & set(_PLACEHOLDER.sub("", path)):
            self.problem(node, f"{path}: a brace without its other half")
        if not path.startswith("/") or ".." in path.split("/"):
            self.problem(node, f"{path}: the target of a job is an absolute path without ..")
        if keep and not re.search(r"\{(date|time)\}", path.rstrip("/").rpartition("/")[2]):
            self.problem(node, f"{path}: with keep, the last part of each target needs {{date}} or {{time}}")
