"""Command line of the lab: create, use and remove test hosts."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys

from . import CHECKOUT, DEFAULT_HOSTS, Host, HostSpec, Lab, LabError
from .lab import running_labs
from .spec import NEEDS_ROOT, LabState


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab", description=__doc__)
    name = argparse.ArgumentParser(add_help=False)
    name.add_argument("--name", default="lab", help="name of the lab (default: %(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", parents=[name], help="create a lab that exists until `down`")
    up.add_argument("hosts", nargs="*", metavar="HOST[=FIREWALL]", help="hosts, instead of the default hosts")
    verbs.add_parser("hosts", parents=[name], help="list the hosts of the lab")
    for verb, text in (
        ("shell", "open a shell on a host"),
        ("run", "run a command on a host: one word is a bash script, several words are a program with arguments"),
        ("shape", "limit the rate of the network link of a host"),
        ("limit", "limit the rate of each connection from a host to a port in 4400-4499"),
    ):
        sub = verbs.add_parser(verb, parents=[name], help=text)
        sub.add_argument("host")
        if verb == "run":
            sub.add_argument("command", nargs=argparse.REMAINDER)
        if verb in {"shape", "limit"}:
            sub.add_argument("rate", help='rate in the syntax of tc, such as "200mbit"; "none": no limit')
    delay = verbs.add_parser("delay", parents=[name], help="give the path between two hosts a round-trip time")
    delay.add_argument("hosts", nargs=2, metavar="HOST")
    delay.add_argument("seconds", type=float, help="round-trip time in seconds, such as 0.035; 0 removes the delay")
    verbs.add_parser("down", parents=[name], help="remove the lab")
    return parser


def _up(name: str, hosts: list[str]) -> None:
    words = (word.partition("=") for word in hosts)
    specs = {host: HostSpec(firewall=firewall or "none") for host, _, firewall in words}
    lab = Lab.up(specs or DEFAULT_HOSTS, name=name, persistent=True)
    _hosts(lab)
    this = "python3 -m tests.lab {}" + ("" if name == "lab" else f" --name {name}")
    first, *others = lab.hosts
    print("\nexamples of next commands:")
    print(f"  {this.format('shell')} {first}      # then: cumin {','.join(others)} hostname; cd {CHECKOUT}")
    print(f"  {this.format('run')} {first} hostname")
    print(f"  {this.format('down')}")


def _hosts(lab: Lab) -> None:
    for host in lab:
        print(f"{host.name:15} {host.ipv4:15} {host.ipv6:20} firewall: {host.firewall}")


def _foreground(host: Host, argv: list[str]) -> int:
    """Run a program on the terminal; Ctrl-C stops the program, not this process."""
    signal.signal(signal.SIGINT, lambda *_: None)  # the program would inherit SIG_IGN
    status = host.popen(argv, env={"TERM": os.environ.get("TERM", "dumb")}).wait()
    return status if status >= 0 else 128 - status


def _execute(args: argparse.Namespace) -> int:
    if os.geteuid():
        raise LabError(NEEDS_ROOT)
    if args.verb == "up":
        _up(args.name, args.hosts)
        return 0
    if args.verb == "down":
        Lab(LabState.load(args.name)).down()
        return 0
    try:
        lab = Lab.attach(args.name)
    except LabError as error:
        raise LabError(f"{error} (running: {', '.join(running_labs()) or 'none'})") from error
    if args.verb == "hosts":
        _hosts(lab)
    elif args.verb == "shape":
        lab[args.host].shape(None if args.rate == "none" else args.rate)
    elif args.verb == "limit":
        lab[args.host].limit_connections(args.rate)
    elif args.verb == "delay":
        one, other = args.hosts
        lab.delay(one, other, args.seconds)
    elif args.verb == "shell":
        return _foreground(lab[args.host], ["bash", "-i"])
    else:
        words = args.command or ["true"]
        return _foreground(lab[args.host], words if len(words) > 1 else ["bash", "-c", words[0]])
    return 0


def main() -> int:
    """Execute the command line and return the exit status."""
    args = _parser().parse_args()
    try:
        return _execute(args)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"lab: {shlex.join(map(str, error.cmd))}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
