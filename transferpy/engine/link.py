"""The link of a stream: measure its rate and its round-trip time."""

import time

from transferpy.agent import protocol
from transferpy.engine.connection import listener, no_connection, wait_for
from transferpy.engine.root_cause import await_other_end, raise_if_dead
from transferpy.engine.stream_run import StreamRun


def measure_link(run: StreamRun) -> protocol.LinkMeasured:
    """Return the result of the link probe, in which the rate is None where the probe could not measure it.

    Raises:
        TransferpyError: the probe had no connection, or a session failed.
    """
    sender, receiver = run.both
    wait_for(run, protocol.Probing, receiver)
    if receiver.has(protocol.LinkMeasured):
        # The listener ended before the sender could connect. The listener of the stream reports the error.
        return protocol.LinkMeasured()
    address, port, certificate = listener(run, protocol.Probing)
    buffer = run.edge.sending.buffer.largest
    run.sessions.send(sender, protocol.SendProbe(run.edge.label, address, port, buffer, certificate))
    deadline = time.monotonic() + run.plan.options.connect_timeout
    met = run.wait(
        *run.both, until=lambda: receiver.has(protocol.LinkMeasured) or sender.has(protocol.Probed), deadline=deadline
    )
    if not met:
        raise no_connection(run, protocol.Probing)
    wait_for(run, protocol.Probed, sender)
    # Another program may have connected first and may send nothing; the receiver then waits for it.
    measured = await_other_end(run, *run.both, until=lambda: receiver.has(protocol.LinkMeasured))
    raise_if_dead(run)
    if not measured:
        return protocol.LinkMeasured()
    return receiver.expect(protocol.LinkMeasured)
