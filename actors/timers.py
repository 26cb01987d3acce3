"""Timers that arrive as messages and die with the incarnation that set them."""

from typing import TYPE_CHECKING, Any

import trio

from actors.mailbox import Envelope

if TYPE_CHECKING:
    from actors.mailbox import Mailbox


class Timer:
    """A message due later, once or every `interval` seconds; never more than one undelivered tick."""

    def __init__(self, mailbox: "Mailbox", message: Any, seconds: float, *, every: bool, at_once: bool) -> None:
        if seconds < 0 or (every and seconds == 0):
            raise ValueError(f"a timer cannot be due every {seconds} s" if every else f"{seconds} s is past")
        self._mailbox = mailbox
        self._message = message
        self._interval = seconds if every else None
        self._scope = trio.CancelScope()
        self._waiting: Envelope | None = None  # the tick that lies in the mailbox
        self._due = trio.current_time() + seconds
        if at_once:
            self._tick()

    @property
    def cancelled(self) -> bool:
        """True when no tick will arrive any more because `cancel` was called."""
        return self._scope.cancel_called

    def cancel(self) -> None:
        """Send nothing any more; a tick that is in the mailbox already is not delivered either."""
        self._scope.cancel()
        if self._waiting is not None:
            self._mailbox.discard(self._waiting)
            self._waiting = None

    def delivered(self) -> None:
        """The runtime took the tick out of the mailbox."""
        self._waiting = None

    async def run(self) -> None:
        """Tick on schedule: due times are multiples of the interval from the start, whatever handling takes."""
        with self._scope:
            while True:
                await trio.sleep_until(self._due)
                self._tick()
                if self._interval is None:
                    return
                # After a pause (a suspended machine) the missed ticks are skipped, not caught up with.
                late = max(0.0, trio.current_time() - self._due)
                self._due += self._interval * (1 + int(late / self._interval))

    def _tick(self) -> None:
        if self._waiting is not None:
            self._mailbox.count("late_tick", self._message)
        elif not self._mailbox.closed:
            self._waiting = Envelope(self._message, timer=self)
            self._mailbox.put_tick(self._waiting)
