"""Commands and pipelines as values.

A command is a tuple of arguments. An argument is text, a variable of the host session such as its port, or a join of
both. The renderer turns the values into shell text.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """A variable of the script that contains the command, such as ``port``."""

    name: str


@dataclass(frozen=True)
class Join:
    """One argument of several parts, such as ``TCP:`` and the variables for address and port."""

    parts: tuple[str | Variable, ...]


Argument = str | Variable | Join


def join(*parts: str | Variable) -> Join:
    """Return one argument of several parts."""
    return Join(parts)


@dataclass(frozen=True)
class Command:
    """A program and its arguments; ``argv[0]`` is the name of the stage in messages."""

    argv: tuple[Argument, ...]

    @property
    def name(self) -> str:
        """The name of the program in messages."""
        return str(self.argv[0])


@dataclass(frozen=True)
class Drain:
    """A command whose remaining input is read and discarded after its success.

    GNU tar stops reading at the end-of-archive mark; without this, SIGPIPE would end the stages before it.
    """

    command: Command
    output: Argument | None = None  # the file that gets the output; None to leave it where it is
    # Whether it unpacks a lane: it can write only in the working directory, and gets the directories first.
    confined: bool = False

    @property
    def name(self) -> str:
        """The name of the program in messages."""
        return self.command.name


@dataclass(frozen=True)
class FollowingNoLinks:
    """The tar that sends a lane: no symbolic link in or below the working directory leads anywhere for it.

    The list of the directories that its files need is sent before its archive.
    """

    command: Command

    @property
    def name(self) -> str:
        """The name of the program in messages."""
        return self.command.name


@dataclass(frozen=True)
class Watched:
    """The program of a transport, which is ended when the other end of its connection is dead."""

    command: Command
    watch: tuple[str, ...]  # the arguments of ``host/perl/watch_peer.pl`` before the command

    @property
    def name(self) -> str:
        """The name of the program in messages."""
        return self.command.name


@dataclass(frozen=True)
class Relayed:
    """The program of a transport behind a relay, which can start the program again after a broken connection."""

    transport: Watched
    relay: Variable  # the program of the relay
    argument: Argument  # of the relay, before the run directory and the lane

    @property
    def name(self) -> str:
        """The name of the program of the transport in messages."""
        return self.transport.name


@dataclass(frozen=True)
class Tee:
    """A stage that passes the stream on, and a copy of the stream to ``branch``.

    The branch writes its output to ``output``. The pipeline ends when the branch has ended, too.
    """

    branch: Command
    output: Argument

    @property
    def name(self) -> str:
        """The name of the program of the branch in messages."""
        return self.branch.name


Stage = Command | Drain | FollowingNoLinks | Watched | Relayed | Tee


@dataclass(frozen=True)
class Pipeline:
    """Stages, each of which reads the output of the stage before it."""

    stages: tuple[Stage, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The programs of the stages, in the order of the exit statuses of the rendered pipeline."""
        return tuple(stage.name for stage in self.stages)
