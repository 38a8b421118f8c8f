"""Commands and pipelines as values, and the one renderer that turns them into shell text.

Nothing else in transferpy writes a quote, a pipe sign or a redirection. A command is a tuple of arguments; an argument
is text, a variable of the host session (its port, its run directory), or a join of both.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """A variable of the script that the command is rendered into, such as ``port``."""

    name: str


@dataclass(frozen=True)
class Join:
    """One argument made of several parts, such as ``TCP:`` and the variables for address and port."""

    parts: tuple[str | Variable, ...]


Argument = str | Variable | Join


def join(*parts: str | Variable) -> Join:
    """One argument out of ``parts``."""
    return Join(parts)


@dataclass(frozen=True)
class Command:
    """A program and its arguments; ``argv[0]`` names the stage in messages."""

    argv: tuple[Argument, ...]

    @property
    def name(self) -> str:
        """The program, as messages name it."""
        return str(self.argv[0])


@dataclass(frozen=True)
class Drain:
    """A command after whose success the rest of its input is read and thrown away.

    GNU tar stops reading at the end-of-archive mark; without this the stages before it would die of SIGPIPE.
    """

    command: Command

    @property
    def name(self) -> str:
        """The program, as messages name it."""
        return self.command.name


@dataclass(frozen=True)
class Tee:
    """A stage that passes the stream on and feeds a copy of it to ``branch``.

    The branch writes its output to ``output``; the pipeline ends only when the branch has ended too.
    """

    branch: Command
    output: Argument

    @property
    def name(self) -> str:
        """The program at work on the copy, as messages name it."""
        return self.branch.name


Stage = Command | Drain | Tee


@dataclass(frozen=True)
class Pipeline:
    """Stages, each of which reads what the one before it wrote."""

    stages: tuple[Stage, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The stages' programs, in the order of the statuses that the rendered pipeline leaves behind."""
        return tuple(stage.name for stage in self.stages)
