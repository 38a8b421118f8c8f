"""The watch over a connection: the program of a transport is ended when the other end of its connection is dead."""

from dataclasses import dataclass

from transferpy.stream.commands import Command, Watched

SHORTEST = 3
"""The fewest seconds of a watch: the kernel sends keepalive probes in whole seconds, and one of them may be lost."""


@dataclass(frozen=True, kw_only=True)
class PeerWatch:
    """The time after which a peer that sends no packet counts as dead."""

    seconds: int  # at least SHORTEST
    peer_probes: bool  # whether the program of the peer has an option for keepalive, so that it surely sends probes

    @property
    def interval(self) -> int:
        """The seconds without a packet before the first keepalive probe, and between two probes."""
        return max(1, self.seconds // 6)

    @property
    def count(self) -> int:
        """The number of keepalive probes without an answer after which the kernel ends the connection.

        The watch must end it first: when the kernel ends it, a netcat exits with 0, as after a complete stream.
        """
        return self.seconds // self.interval + 1

    @property
    def socat_options(self) -> str:
        """The options of socat for keepalive, with a comma before them."""
        return f",keepalive,keepidle={self.interval},keepintvl={self.interval},keepcnt={self.count}"

    def sender(self, command: Command) -> Watched:
        """Return the stage of the program that sends."""
        return self._stage(command, "send")

    def receiver(self, command: Command) -> Watched:
        """Return the stage of the program that receives."""
        return self._stage(command, "receive")

    def _stage(self, command: Command, role: str) -> Watched:
        numbers = (self.seconds, self.interval, self.count)
        return Watched(command, (*map(str, numbers), role, "yes" if self.peer_probes else "no"))
