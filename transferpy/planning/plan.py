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
    """The plan of one stream, from the session of one node to the session of another.

    Attributes:
        label: the name of the edge in session commands and events.
        sender: the name of the session that sends.
        receiver: the name of the session that receives.
        target: the target directory of the receiver, as the user gave it.
        final: the location of the finished copy.
        address: the address that the sender connects to, in the notation of its transport.
        codecs: the codecs that may compress the stream; none, or one, where there is no choice.
        sending: the pipelines of the sender.
        listening: the pipelines of the receiver, its port and its firewall rules.
    """

    label: str
    sender: str
    receiver: str
    target: Location
    final: Location
    address: str
    codecs: tuple[Codec, ...]
    sending: SendingPlan
    listening: ListeningPlan

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
    """The plan of a run.

    Attributes:
        source: as the user gave it.
        options: those of the request.
        facts: the facts of the source.
        edges: the streams, in the order in which they run.
        sessions: the plan of the session of each node, by the name of the node.
        stream: how the data travels, for the log.
        algorithm: the algorithm by which the content is compared; empty if it is not compared.
        notes: warnings for the user.
    """

    source: Location
    options: TransferOptions
    facts: SourceFacts
    edges: tuple[EdgePlan, ...]
    sessions: Mapping[str, SessionPlan]
    stream: str
    algorithm: str
    notes: tuple[str, ...]

    @property
    def cipher(self) -> str:
        """The protocol that encrypts the streams; empty if nothing does."""
        return "TLS 1.3" if self.options.encrypt else ""
