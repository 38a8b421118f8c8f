"""The plan of a run: its edges, and the plan of the session of each node."""

from collections.abc import Mapping
from dataclasses import dataclass

from transferpy.agent.session_plan import ListeningPlan, SendingPlan, SessionPlan
from transferpy.model.facts import SourceFacts
from transferpy.model.locations import Location
from transferpy.model.options import UNCOMPRESSED, TransferOptions
from transferpy.stream.codecs import Codec


@dataclass(frozen=True, kw_only=True)
class EdgePlan:
    """The plan of one stream, from the session of one node to the session of another."""

    label: str  # the name of the edge in session commands and events
    sender: str  # the name of the session that sends
    receiver: str  # the name of the session that receives
    target: Location  # the target directory of the receiver, as the user gave it
    final: Location  # the location of the finished copy
    address: str  # the address that the sender connects to, in the notation of its transport
    most_lanes: int  # the largest number of lanes of the stream; 1 where there is no choice
    codecs: tuple[Codec, ...]  # the codecs that may compress the stream; none or one where there is no choice
    sending: SendingPlan
    listening: ListeningPlan
    one_lane_reason: str = ""  # the reason for which there is one, with ``auto`` or in spite of a number; else empty
    relayed: bool = False  # whether the stream survives a broken connection

    @property
    def is_codec_chosen_at_run_time(self) -> bool:
        """Whether the run measures which codec is fastest."""
        return UNCOMPRESSED in self.sending.pipelines and bool(self.codecs)

    @property
    def candidates(self) -> tuple[str, ...]:
        """The codecs, and ``none`` where the stream may stay uncompressed, as messages name them."""
        nothing = (UNCOMPRESSED,) if UNCOMPRESSED in self.sending.pipelines else ()
        return (*(codec.display_name for codec in self.codecs), *nothing)


@dataclass(frozen=True, kw_only=True)
class TransferPlan:
    """The plan of a run."""

    source: Location  # as the user gave it
    options: TransferOptions
    facts: SourceFacts
    edges: tuple[EdgePlan, ...]  # the streams, in the order in which they run
    sessions: Mapping[str, SessionPlan]  # the plan of the session of each node, by the name of the node
    stream: str  # how the data travels, for the log
    algorithm: str  # the digest algorithm with which the content is compared; empty if it is not compared
    notes: tuple[str, ...]  # warnings for the user

    @property
    def cipher(self) -> str:
        """The protocol that encrypts the streams; empty if nothing does."""
        return "TLS 1.3" if self.options.encrypt else ""
