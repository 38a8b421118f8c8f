"""Conversion of YAML nodes to values, with the line of each problem.

A node becomes text and nothing else: its key decides which values are allowed. No tag of YAML creates an object.
"""

import os
import re
import shlex
from collections.abc import Iterable, Mapping

import yaml

from transferpy.Exceptions import UsageError
from transferpy.model.locations import Location, split_word


class YamlReader:
    """Converts nodes to values of the expected form.

    A node of another form is a problem, and an empty or default value is returned in its place, so that one pass
    finds all problems.
    """

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []
        """The line number and the text of each problem."""

    def add_problem(self, node: yaml.Node, text: str) -> None:
        """Add a problem at the line of a node."""
        line = node.start_mark.line + 1
        self.problems.append((line, f"line {line}: {text}"))

    def mapping(self, node: yaml.Node | None, title: str, keys: Iterable[str] = ()) -> dict[str, yaml.Node]:
        """Return the values of a mapping by key, without repeated keys and, if ``keys`` are given, without others."""
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.add_problem(node, f"{title} must be a mapping of keys to values")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or (keys and key.value not in keys):
                known = f"; the keys are {', '.join(keys)}" if keys else ""
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                self.add_problem(key, f"unknown key {name!r:.50} in {title}{known}")
            elif key.value in found:
                self.add_problem(key, f"{key.value} is set twice in {title}")
            else:
                found[key.value] = value
        return found

    def text(self, node: yaml.Node, title: str) -> str:
        """Return the text of a single value."""
        if not isinstance(node, yaml.ScalarNode):
            self.add_problem(node, f"{title} must be a single value")
            return ""
        # The escapes of YAML can write characters that no path and no argument of a program can contain.
        try:
            if b"\0" not in os.fsencode(node.value):
                return str(node.value)
        except UnicodeEncodeError:
            pass
        self.add_problem(node, f"{title} contains a NUL character or a lone surrogate")
        return ""

    def number(self, nodes: Mapping[str, yaml.Node], name: str, default: int, allowed: range) -> int:
        """Return the number under a key, or the default if the key is missing."""
        if name not in nodes:
            return default
        text = self.text(nodes[name], name)
        if re.fullmatch("[0-9]{1,9}", text) and int(text) in allowed:
            return int(text)
        self.add_problem(nodes[name], f"{name} must be a whole number from {allowed[0]} to {allowed[-1]}, not {text!r}")
        return default

    def arguments(self, nodes: Mapping[str, yaml.Node], name: str) -> tuple[str, ...]:
        """Return the program and the arguments under a key, split as a shell splits them; no shell runs them."""
        if name not in nodes:
            return ()
        try:
            words = shlex.split(self.text(nodes[name], name))
        except ValueError as error:
            self.add_problem(nodes[name], f"{name}: {error}")
            return ()
        if not words:
            self.add_problem(nodes[name], f"{name} needs a command")
        return tuple(words)

    def location(self, node: yaml.Node, title: str) -> Location | None:
        """Return the HOST:PATH of a node, or None if it is not one."""
        word = self.text(node, title)
        if not word:
            return None
        try:
            return split_word(word)
        except UsageError as error:
            self.add_problem(node, f"{title}: {error}")
            return None
