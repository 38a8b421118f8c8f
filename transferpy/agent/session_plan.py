"""The plan of a host session: its host, and one part for each of its abilities."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from transferpy.Firewall import FirewallRule
from transferpy.stream.commands import Command, Pipeline
from transferpy.stream.socket_buffers import NO_BOUNDS, BufferBounds


@dataclass(frozen=True, kw_only=True)
class SamplePlan:
    """The sample of the data on which codecs are measured."""

    benchmarks: Mapping[str, Command]  # the command that compresses the sample, by the label of its codec
    bytes: int = 0  # the sum of the sizes of the files over which the sample is spread; 0 where only the host can tell
    directory: str = ""  # the directory that the sample is taken from; empty for the source itself


@dataclass(frozen=True, kw_only=True)
class ReadingPlan:
    """The ability to read the source."""

    directory: str  # the directory that holds the source
    name: str  # the name of the source in that directory
    client: tuple[str, ...] = ()  # the words of the database client, for a hot copy
    stop_slave: bool = False  # whether replication is stopped during a hot copy
    safe_timeout: int = 0  # the seconds to wait for a moment without open temporary tables of replication
    max_stop_time: int = 0  # the maximum time of a stop of replication, in seconds; 0: no limit
    sample: SamplePlan | None = None  # the sample to take; None where no codec is to be chosen
    distributes: bool = False  # whether it lists the files so that they can be distributed over lanes
    metered_stage: int = 0  # the number of the stage of a pipeline whose input is the progress of the stream


@dataclass(frozen=True, kw_only=True)
class SendingPlan:
    """The ability to send one stream."""

    pipelines: Mapping[str, Pipeline]  # the pipeline for each codec, by the label of the codec
    # the same for a stream in several lanes; empty where a stream has one lane
    lanes: Mapping[str, Pipeline] = field(default_factory=dict)
    probe: Pipeline | None = None  # the pipeline that measures the speed of the link; None where it is not measured
    buffer: BufferBounds = NO_BOUNDS  # the bounds for the send buffer


@dataclass(frozen=True, kw_only=True)
class ListeningPlan:
    """The ability to receive one stream."""

    pipelines: Mapping[str, Pipeline]  # the pipeline for each codec, by the label of the codec
    sender_address: str  # the address from which the sender connects
    # as of the sender
    lanes: Mapping[str, Pipeline] = field(default_factory=dict)
    port: int = 0  # the port to listen on, or 0 for a free one
    shares_port: bool = True  # as of the transport
    firewall_rules: tuple[FirewallRule, ...] = ()  # the rules that admit the sender
    probe: Pipeline | None = None  # the pipeline that measures the speed of the link; None where it is not measured
    buffer: BufferBounds = NO_BOUNDS  # the bounds for the receive buffer


@dataclass(frozen=True, kw_only=True)
class DeliveryPlan:
    """The ability to unpack, verify and publish a copy."""

    directory: str  # the target directory
    staging_name: str  # the name of the staging directory in it
    source_name: str  # the name under which the copy arrives in the staging directory
    final_name: str  # the name of the copy in the target directory
    prepare: Command | None = None  # the command that prepares a hot copy; None to leave it as it is
    create_target: bool = False  # whether a missing target directory is made


@dataclass(frozen=True, kw_only=True)
class SessionPlan:
    """The plan of one session."""

    host: str  # the host that it runs on
    own_name: str  # the common name of the certificate that it makes
    cores: int  # how many processes may digest files at once
    compress_threads: int  # how many processors the compressors of all lanes of a stream may use
    encrypt: bool  # whether its streams are encrypted
    digest: Command | None  # the command that digests files; None where files are not digested
    one_file_system: bool = False  # whether lists leave out the content of other file systems
    low_priority: bool = False  # whether it runs with low CPU and I/O priority
    transfer_type: str = "file"  # the type of the transfer
    owner: str = ""  # USER or USER:GROUP to own the copy; empty to keep the owners
    reading: ReadingPlan | None = None  # set where it reads the source
    # the streams that it sends, by the label of their edge
    sending: Mapping[str, SendingPlan] = field(default_factory=dict)
    listening: ListeningPlan | None = None  # set where it receives a stream
    delivery: DeliveryPlan | None = None  # set where it keeps a copy
