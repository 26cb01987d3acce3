"""Asking: one request, one answer or one error, never silence; and no circle of actors that wait for each other."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import outcome
import trio

from actors.errors import AskError, AskFailed, AskRejected, NoReply, NotAsked, error_text

ASKER: contextvars.ContextVar[str | None] = contextvars.ContextVar("actors.asker", default=None)
"""The actor whose `receive` (or `started`, `stopping`) this task runs in; None in background tasks and outside."""


class Reply:
    """The answer that an asker waits for; exactly one of `send` and `fail` is called, once.

    Answering somebody who no longer waits does nothing.
    """

    __slots__ = ("_answered", "_event", "_home", "_outcome", "deferred", "message", "path")

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message
        self.deferred = False
        self._answered = False
        self._event = trio.Event()
        self._outcome: outcome.Outcome[Any] = outcome.Value(None)
        self._home: set[Reply] | None = None

    def __repr__(self) -> str:
        return f"<reply {'sent' if self._answered else 'open'} {self.path} {self.message}>"

    @property
    def answered(self) -> bool:
        """True when answered, or nobody waits any more."""
        return self._event.is_set()

    def send(self, value: object) -> None:
        """Answer with `value`. Raises NotAsked when answered already."""
        self._answer(outcome.Value(value))

    def fail(self, error: Exception) -> None:
        """Answer with an error: the asker gets AskFailed with `error` as its cause. Raises NotAsked when answered."""
        failed = AskFailed(path=self.path, message=self.message, reason=error_text(error))
        failed.__cause__ = error
        self._answer(outcome.Error(failed))

    # For the runtime

    def keep_in(self, home: "set[Reply]") -> None:
        """Be one of the open replies of an incarnation, which fail when it ends."""
        self.deferred = True
        self._home = home
        home.add(self)

    def give_up(self, reason: str) -> None:
        """Fail the ask, if it is still open, because of what became of the actor."""
        self._settle(AskFailed(path=self.path, message=self.message, reason=reason))

    def reject(self, reason: str) -> None:
        """Fail the ask because the mailbox did not keep it."""
        self._settle(AskRejected(path=self.path, message=self.message, reason=reason))

    def nothing(self) -> None:
        """Fail the ask because it was handled without an answer."""
        self._settle(NoReply(path=self.path, message=self.message, reason="it was handled without an answer"))

    def abandon(self) -> None:
        """Nobody waits any more."""
        self._close()

    async def wait(self) -> Any:
        """Wait for the answer. Raises AskFailed, NoReply, AskRejected."""
        await self._event.wait()
        return self._outcome.unwrap()

    def _answer(self, result: outcome.Outcome[Any]) -> None:
        if self._answered:
            raise NotAsked(f"the ask of {self.path} ({self.message}) is answered already")
        self._answered = True
        if not self._event.is_set():
            self._outcome = result
            self._close()

    def _settle(self, error: AskError) -> None:
        if not self._event.is_set():
            self._outcome = outcome.Error(error)
            self._close()

    def _close(self) -> None:
        self._event.set()
        if self._home is not None:
            self._home.discard(self)
            self._home = None


class WaitGraph:
    """Who waits for whom. An edge stands while an actor's own task waits for an answer."""

    def __init__(self) -> None:
        self._edges: dict[str, list[Reply]] = {}

    def find_cycle(self, asker: str, target: str) -> tuple[str, ...] | None:
        """The circle that an ask of `target` by `asker` would close, from `asker` to `asker`; None if there is none."""
        trails: list[tuple[str, ...]] = [(asker, target)]
        seen: set[str] = set()
        while trails:
            trail = trails.pop()
            if trail[-1] == asker:
                return trail
            if trail[-1] not in seen:
                seen.add(trail[-1])
                # Who was answered does not wait any more, though its task did not have its turn yet.
                trails += [(*trail, reply.path) for reply in self._edges.get(trail[-1], ()) if not reply.answered]
        return None

    @contextlib.contextmanager
    def waiting(self, asker: str | None, reply: Reply) -> Iterator[None]:
        """Keep the edge while the block runs; without an asker that is an actor there is none."""
        if asker is None:
            yield
            return
        edges = self._edges.setdefault(asker, [])
        edges.append(reply)
        try:
            yield
        finally:
            edges.remove(reply)
            if not edges:
                self._edges.pop(asker, None)
