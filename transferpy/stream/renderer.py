"""The renderer of commands and pipelines: the only place that quotes and writes pipes and redirections."""

import shlex
from collections.abc import Mapping

from transferpy.stream.commands import (
    Argument,
    Command,
    Drain,
    FollowingNoLinks,
    Join,
    Pipeline,
    Relayed,
    Stage,
    Tee,
    Variable,
    Watched,
    join,
)

_PARENTS = join(Variable("lists"), "/lane", Variable("lane"), ".parents")
"""The file with the directories that the files of a lane need."""


def render_argument(argument: Argument) -> str:
    """Return ``argument`` quoted once, for bash."""
    match argument:
        case str():
            return shlex.quote(argument)
        case Variable(name=name):
            return f'"${{{name}}}"'
        case Join(parts=parts):
            return "".join(render_argument(part) for part in parts)


def render_command(command: Command) -> str:
    """Return ``command`` as one simple command for bash."""
    return " ".join(render_argument(argument) for argument in command.argv)


def render_assignment(name: str, value: str) -> str:
    """Return the line that sets the variable ``name`` to ``value``."""
    return f"{name}={shlex.quote(value)}"


def render_array(name: str, values: tuple[str, ...]) -> str:
    """Return the line that sets the array ``name`` to ``values``."""
    return f"{name}=({' '.join(map(shlex.quote, values))})"


def render_mapping(name: str, values: Mapping[str, str]) -> str:
    """Return the line that sets the associative array ``name`` to ``values``; its keys are plain words."""
    return f"declare -A {name}=({' '.join(f'[{key}]={shlex.quote(value)}' for key, value in values.items())})"


def render_function(name: str, commands: tuple[Command, ...]) -> str:
    """Return a shell function that runs ``commands`` in turn and stops at the first that fails."""
    lines = "".join(f"  {render_command(command)} || return\n" for command in commands)
    return f"{name}() {{\n{lines}  return 0\n}}"


def render_function_of_all(name: str, commands: tuple[Command, ...]) -> str:
    """Return a shell function that runs all ``commands`` in turn, and fails if one of them fails."""
    lines = "".join(f"  {render_command(command)} || status=1\n" for command in commands)
    return f'{name}() {{\n  local status=0\n{lines}  return "$status"\n}}'


def render_pipeline(pipeline: Pipeline) -> str:
    """Return ``pipeline`` in the notation of a shell, for people; hosts run :func:`render_pipeline_function`."""
    stages: list[str] = []
    for stage in pipeline.stages:
        match stage:
            case Command():
                stages.append(render_command(stage))
            case (
                Drain(command=command)
                | FollowingNoLinks(command=command)
                | Watched(command=command)
                | Relayed(transport=Watched(command=command))
            ):
                stages.append(render_command(command))
            case Tee(branch=branch, output=output):
                stages.append(f"tee >({render_command(branch)} >{render_argument(output)})")
    return " | ".join(stages)


def render_pipeline_function(name: str, pipeline: Pipeline, task: str = "") -> str:
    """Return a shell function that runs ``pipeline``.

    The function sets the array ``statuses`` to the exit status of every stage, in order. The standard error of stage N
    is written to ``$run_directory/TASK$lane.N.err``; TASK is ``name`` if it is not given. The function calls functions
    of the session: ``measure_input`` for the first stage, ``widen_pipe`` before each stage that reads a pipe, unless
    the watch of a connection is at one end of it.
    """
    task = task or name
    before: list[str] = []
    closing: list[str] = []
    after: list[str] = []
    stages: list[str] = []
    for number, stage in enumerate(map(_with_programs, pipeline.stages)):
        # The watch of a connection widens its pipe to the next stage, or from the one before.
        is_wide = any(isinstance(end, Watched) for end in pipeline.stages[max(0, number - 1) : number + 1])
        errors = f'2>"$run_directory"/{task}"$lane".{number}.err'
        match stage:
            case Command() if number == 0 and isinstance(pipeline.stages[0], Relayed):
                stages.append(f"{render_command(stage)} {errors}")  # it counts its input itself
            case Command() if number == 0:
                stages.append(f'measure_input {task}"$lane" {render_command(stage)} {errors}')
            case Command():
                stages.append(f"{_reading(render_command(stage), is_wide=is_wide)} {errors}")
            case Drain():
                widen = "" if is_wide else "widen_pipe; "
                stages.append(f"{{ {widen}{_drained(stage)} && cat >/dev/null; }} {errors}")
            case Tee(branch=branch, output=output):
                # An anonymous pipe: opening a fifo would block for ever if the process at its other end were killed.
                reading = f">({_reading(render_command(branch))} >{render_argument(output)} {errors})"
                before.append(f"exec {{branch_{number}}}> {reading}")
                before.append(f"local process_{number}=$!")
                tee = render_command(Command(("perl", "-e", Variable("perl_tee"), Variable(f"branch_{number}"))))
                stages.append(f"{_reading(tee, is_wide=is_wide)} {errors.replace('2>', '2>>')}")
                # A branch ends when its pipe is closed, also by the branches behind it, which inherit the pipe. Without
                # the wait, its output could be incomplete.
                closing.append(f"exec {{branch_{number}}}>&-")
                after.append(f'wait "$process_{number}" || statuses[{number}]=$?')
    body = [*before, " |\n    ".join(stages), 'statuses=("${PIPESTATUS[@]}")', *closing, *after]
    return f"{name}() {{\n" + "".join(f"  {line}\n" for line in body) + "}"


def _with_programs(stage: Stage) -> Command | Drain | Tee:
    """Return ``stage``, or the command that runs it with the Perl programs around it."""
    match stage:
        case FollowingNoLinks(command=command):
            parents = ("perl", "-e", Variable("perl_send_parents"), "--", _PARENTS)
            return Command(("perl", "-e", Variable("perl_follow_no_links"), "--", *parents, *command.argv))
        case Watched():
            return Command(_watched(stage, "pipeline"))
        case Relayed():
            transport = _watched(stage.transport, "transport")
            place = (stage.argument, Variable("run_directory"), Variable("lane"))
            return Command(("perl", "-e", stage.relay, "--", *place, *transport))
        case _:
            return stage


def _watched(stage: Watched, ended: str) -> tuple[Argument, ...]:
    """Return the words that run and watch a transport; ``ended`` is the part that a dead connection ends."""
    return ("perl", "-e", Variable("perl_watch_peer"), *stage.watch, ended, *stage.command.argv)


def _drained(stage: Drain) -> str:
    confine = 'confine perl -e "${perl_make_parents}" -- ' if stage.confined else ""
    output = f" >{render_argument(stage.output)}" if stage.output else ""
    return f"{confine}{render_command(stage.command)}{output}"


def _reading(command: str, *, is_wide: bool = False) -> str:
    """Return ``command`` with a larger pipe as its input; the command replaces the subshell."""
    return command if is_wide else f"{{ widen_pipe; exec {command}; }}"
