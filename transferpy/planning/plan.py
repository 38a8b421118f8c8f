"""The plan: what every host is going to do, as values."""

from collections.abc import Mapping
from dataclasses import dataclass

from transferpy.agent.session_script import SourceSession, TargetSession
from transferpy.model.facts import SourceFacts
from transferpy.model.locations import Location
from transferpy.model.options import UNCOMPRESSED, TransferOptions
from transferpy.stream.codecs import Codec


@dataclass(frozen=True, kw_only=True)
class TargetPlan:
    """What happens for one target.

    Attributes:
        location: as the user gave it.
        label: names it in orders and events.
        final: where the copy will stand.
        address: what the source connects to, as the stream's program wants it.
        session: what its session is told.
        codecs: what may compress the stream; none, or one, where there is nothing to choose.
        sender_names: by codec, the stages on the source, for messages.
    """

    location: Location
    label: str
    final: Location
    address: str
    session: TargetSession
    codecs: tuple[Codec, ...]
    sender_names: Mapping[str, tuple[str, ...]]

    @property
    def chooses(self) -> bool:
        """Whether the run finds out what compresses the stream best."""
        return UNCOMPRESSED in self.sender_names and bool(self.codecs)

    @property
    def candidates(self) -> tuple[str, ...]:
        """What the stream may be compressed with, in words; that it is not may be one of them."""
        nothing = (UNCOMPRESSED,) if UNCOMPRESSED in self.sender_names else ()
        return (*(codec.words for codec in self.codecs), *nothing)


@dataclass(frozen=True, kw_only=True)
class TransferPlan:
    """What every host does.

    Attributes:
        source: as the user gave it.
        options: those of the request.
        source_session: what the session on the source is told.
        facts: what stands at the source path.
        targets: in the order of the request.
        cores: processors of the source.
        stream: in words, for the log: how the data travels.
        algorithm: what the content of the data is compared by; empty if it is not compared.
        notes: what the user should know before it starts.
    """

    source: Location
    options: TransferOptions
    source_session: SourceSession
    facts: SourceFacts
    targets: tuple[TargetPlan, ...]
    cores: int
    stream: str
    algorithm: str
    notes: tuple[str, ...]

    @property
    def cipher(self) -> str:
        """What encrypts the stream, in a word; empty if nothing does."""
        return "TLS 1.3" if self.options.encrypt else ""
