"""The events of the sessions of one run: threads of the remote processes store them, the main thread handles them."""

from collections.abc import Callable, Iterable

from transferpy.agent.budget import BudgetExceededError, LineBudget
from transferpy.agent.inbox import Inbox
from transferpy.agent.protocol import ProtocolError, is_event, parse_event
from transferpy.agent.session import Session
from transferpy.RemoteExecution.interface import Outcome


class SessionEvents:
    """The events that no session has handled yet; true if there are any.

    Args:
        run_id: the identifier of the run, which each event has.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._inbox: Inbox[tuple[Session, str | Outcome]] = Inbox()

    def __bool__(self) -> bool:
        return bool(self._inbox)

    def listener(self, session: Session) -> Callable[[str | Outcome], None]:
        """Return the function that stores the events and the outcome of a session.

        It runs in the thread of the remote process. It drops all other output, and all output beyond the budget.
        """
        budget = LineBudget(session.host)

        def listener(item: str | Outcome) -> None:
            was_exceeded = budget.error is not None
            if not isinstance(item, str) or (budget.accept(item) and is_event(item, self._run_id)):
                self._inbox.put((session, item))
            elif budget.error and not was_exceeded:
                self._inbox.put((session, budget.error))

        return listener

    def handle_next(self, sessions: Iterable[Session], seconds: float) -> None:
        """Wait for an event, at most this time, and pass it to its session.

        Args:
            sessions: the sessions for which the time of a suspension of this process does not count as silence.
            seconds: the maximum time.
        """
        suspended = self._inbox.wait(seconds)
        for session in sessions:
            session.credit(suspended)
        if not self._inbox:
            return
        session, item = self._inbox.first
        if isinstance(item, str):
            self.handle_line(session, item)
        elif isinstance(item, BudgetExceededError):
            session.error = session.error or item
        else:
            session.outcome = item
        self._inbox.remove_first()

    def handle_line(self, session: Session, line: str) -> None:
        """Pass a line to its session, as an event or as an error; ignore a line that is not an event of this run."""
        try:
            event = parse_event(line, self._run_id)
        except ProtocolError as error:
            session.refuse(error)
            return
        if event is not None:
            session.handle(event)
