"""Sessions and hosts of a successful run, to which a test applies its changes."""

from typing import Any

from fleet import V4_ROUTE, source_facts, source_host, target_facts, target_host
from scripted import END, ScriptedRemote, ScriptedSession, answer, encoded

from transferpy.model.facts import BufferFacts
from transferpy.Transferer import Transferer

FORCED = BufferFacts(send=4 << 20, receive=6 << 20, forced=True)
"""The usual buffers of the kernel, on a host on which a stream can have larger ones."""
LISTS = ("manifest digest=m1 entries=3", "attributes digest=a1 entries=0", "digests digest=d1 entries=2", "checked")
HELLO = f"hello directory={encoded('/run/transferpy/run.x')}"
SENT = "stages job=send_{} statuses=0,0,0"
RECEIVED = "stages job=receive statuses=0,0,0"
KILLED = {"kill": END}
EXAMINED = {"examine": ("handshake watched=no examined=yes",)}
"""The answer of a host that cannot watch packets."""


def source_session(targets: int = 1, **reactions: Any) -> ScriptedSession:
    """Return a session that sends well, but for ``reactions``: send_0 and such, examine."""
    sends = {
        f"send {n} CODEC 198.18.0.2 4400 cer2": reactions.get(f"send_{n}", (SENT.format(n), *LISTS))
        for n in range(targets)
    }
    examined = {"examine": reactions.get("examine", EXAMINED["examine"])}
    start = [HELLO, "ready certificate=cer1", "sample size=0 trials="]
    return ScriptedSession(start, {**sends, **examined, "stop": END, **KILLED})


def target_session(**reactions: Any) -> ScriptedSession:
    """Return a session that receives well, but for ``reactions``: start, peer_c1, peer, examine, publish, kill."""
    usual: dict[str, Any] = {
        "peer": ("listening port=4400", "connected", "progress bytes=100", RECEIVED, *LISTS),
        "publish": ("published", *END),
        **KILLED,
        **EXAMINED,
        **reactions,
    }
    start = usual.pop("start", (HELLO, "ready port=4400 certificate=cer2"))
    return ScriptedSession(start, {"peer cer1": usual.pop("peer_c1", ()), "receive CODEC": usual.pop("peer"), **usual})


def fleet(source: ScriptedSession, *targets: ScriptedSession | BaseException, **more: Any) -> ScriptedRemote:
    """Return hosts that have these sessions: db1 the first, db2, db3 ... the others."""
    routes = dict.fromkeys(range(len(targets)), V4_ROUTE)
    hosts = [source_host(routes=routes)] + [
        target_host(f"db{n + 2}", targets={n: target_facts()}) for n in range(len(targets))
    ]
    sessions = {facts.host: [session] for facts, session in zip(hosts, (source, *targets), strict=True)}
    return ScriptedRemote(preflights={facts.host: answer(facts) for facts in hosts}, sessions=sessions, **more)


def fleet_with_much(
    source: ScriptedSession, *targets: ScriptedSession, buffers: BufferFacts | None = None, gigabytes: int = 1
) -> ScriptedRemote:
    """As :func:`fleet`, with so much compressible data that the rate of the link matters, and with much memory."""
    remote = fleet(source, *targets)
    source.start = [HELLO, "ready certificate=cer1", "sample size=1000 trials=zstd1:100:10"]
    much: dict[str, Any] = {"memory": 1 << 40, "buffers": buffers}
    routes = dict.fromkeys(range(len(targets)), V4_ROUTE)
    sending = source_host(routes=routes, source=source_facts(bytes=gigabytes << 30), **much)
    receiving = [target_host(f"db{n + 2}", targets={n: target_facts()}, **much) for n in range(len(targets))]
    remote.preflights = {facts.host: answer(facts) for facts in (sending, *receiving)}
    return remote


def transferer(remote: ScriptedRemote, targets: int = 1, **options: Any) -> Transferer:
    hosts = [f"db{n + 2}" for n in range(targets)]
    return Transferer("db1", "/srv/x", hosts, ["/srv/y"] * targets, options, remote=remote)
