"""The plan of a host session: its host, and one part for each of its abilities."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from transferpy.Firewall import FirewallRule
from transferpy.stream.commands import Command, Pipeline


@dataclass(frozen=True, kw_only=True)
class SamplePlan:
    """The sample of the data on which codecs are measured.

    Attributes:
        benchmarks: the command that compresses the sample, by the label of its codec.
        bytes: the sum of the sizes of the files over which the sample is spread; 0 where only the host can tell.
        directory: the directory that the sample is taken from; empty for the source itself.
    """

    benchmarks: Mapping[str, Command]
    bytes: int = 0
    directory: str = ""


@dataclass(frozen=True, kw_only=True)
class ReadingPlan:
    """The ability to read the source.

    Attributes:
        directory: the directory that holds the source.
        name: the name of the source in that directory.
        client: the words of the database client, for a hot copy.
        stop_slave: whether replication is stopped during a hot copy.
        sample: the sample to take; None where no codec is to be chosen.
        metered_stage: the number of the stage of a pipeline whose input is the progress of the stream.
    """

    directory: str
    name: str
    client: tuple[str, ...] = ()
    stop_slave: bool = False
    sample: SamplePlan | None = None
    metered_stage: int = 0


@dataclass(frozen=True, kw_only=True)
class SendingPlan:
    """The ability to send one stream.

    Attributes:
        pipelines: the pipeline for each codec, by the label of the codec.
        probe: the pipeline that measures the speed of the link; None where it is not measured.
    """

    pipelines: Mapping[str, Pipeline]
    probe: Pipeline | None = None


@dataclass(frozen=True, kw_only=True)
class ListeningPlan:
    """The ability to receive one stream.

    Attributes:
        pipelines: the pipeline for each codec, by the label of the codec.
        port: the port to listen on, or 0 for a free one.
        firewall_rules: the rules that admit the sender.
        probe: the pipeline that measures the speed of the link; None where it is not measured.
    """

    pipelines: Mapping[str, Pipeline]
    port: int = 0
    firewall_rules: tuple[FirewallRule, ...] = ()
    probe: Pipeline | None = None


@dataclass(frozen=True, kw_only=True)
class DeliveryPlan:
    """The ability to unpack, verify and publish a copy.

    Attributes:
        directory: the target directory.
        staging_name: the name of the staging directory in it.
        source_name: the name under which the copy arrives in the staging directory.
        final_name: the name of the copy in the target directory.
        owner: USER or USER:GROUP to own the copy; empty to keep the owners.
        prepare: the command that prepares a hot copy; None to leave it as it is.
        create_target: whether a missing target directory is made.
    """

    directory: str
    staging_name: str
    source_name: str
    final_name: str
    owner: str = ""
    prepare: Command | None = None
    create_target: bool = False


@dataclass(frozen=True, kw_only=True)
class SessionPlan:
    """The plan of one session.

    Attributes:
        host: the host that it runs on.
        own_name: the common name of the certificate that it makes.
        cores: how many processes may digest files at once.
        encrypt: whether its streams are encrypted.
        digest: the command that digests files; None where files are not digested.
        low_priority: whether it runs with low CPU and I/O priority.
        transfer_type: the type of the transfer.
        reading: set where it reads the source.
        sending: the streams that it sends, by the label of their edge.
        listening: set where it receives a stream.
        delivery: set where it keeps a copy.
    """

    host: str
    own_name: str
    cores: int
    encrypt: bool
    digest: Command | None
    low_priority: bool = False
    transfer_type: str = "file"
    reading: ReadingPlan | None = None
    sending: Mapping[str, SendingPlan] = field(default_factory=dict)
    listening: ListeningPlan | None = None
    delivery: DeliveryPlan | None = None
