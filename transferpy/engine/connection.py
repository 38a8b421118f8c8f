"""The connection of a stream or of a link probe: wait for its listener, and explain why there is none."""

from transferpy.agent import protocol
from transferpy.agent.session import Session
from transferpy.engine.handshake import explain_handshake
from transferpy.engine.root_cause import raise_stream_failure
from transferpy.engine.stream_run import StreamRun
from transferpy.Exceptions import StreamError
from transferpy.model.text import listed


def no_connection(run: StreamRun, kind: type[protocol.Listening] | type[protocol.Probing]) -> StreamError:
    """Return the error for a sender that could not connect to the listener of that event.

    Raises:
        TransferpyError: one of the sessions ended, failed or fell silent, which is the root cause.
    """
    event = run.receiver.expect(kind)
    ports = event.ports if isinstance(event, protocol.Listening) else (event.port,)
    return StreamError(
        f"{run.names}: no connection to {run.edge.address} port {listed(ports)}"
        f" within {run.plan.options.connect_timeout} seconds (--connect-timeout);"
        f" {explain_handshake(run) or 'is there a firewall between the two?'}"
    )


def wait_for(
    run: StreamRun,
    kind: type[protocol.Ready | protocol.Listening | protocol.Probing | protocol.Probed],
    *sessions: Session,
) -> None:
    """Wait until each of these sessions has sent an event of that kind.

    Raises:
        TransferpyError: the stream or a session failed first.
    """
    if not run.wait_for(kind, *sessions):
        raise_stream_failure(run)


def listener(run: StreamRun, kind: type[protocol.Listening] | type[protocol.Probing]) -> tuple[str, int, str]:
    """Return the address, the port and the certificate of the receiver's listener."""
    return run.edge.address, run.receiver.expect(kind).port, run.receiver.expect(protocol.Ready).certificate
