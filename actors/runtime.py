"""What the parts of one system share: mailboxes by path, dead letters, events, who waits for whom, who watches whom."""

import collections
import logging
import math
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.ask import WaitGraph
from actors.clock import Clock
from actors.errors import ActorError
from actors.events import DeadLetter, Subscription, SystemEvent
from actors.mailbox import Envelope, Mailbox
from actors.message import describe
from actors.spec import StopReason, SystemSettings
from actors.workers import WorkerPool

if TYPE_CHECKING:
    from actors.node import Node

log = logging.getLogger("actors")


@attrs.frozen(kw_only=True)
class Down:
    """An incarnation of the watched actor at `path` ended."""

    path: str
    reason: StopReason
    error: str | None


class Watch:
    """One actor's interest in another's end; holds at most one undelivered Down, the newest."""

    def __init__(self, mailbox: Mailbox, make: Callable[[Down], Any]) -> None:
        self._mailbox = mailbox
        self._make = make
        self._waiting: Envelope | None = None

    def tell(self, down: Down) -> None:
        if self._waiting is not None:
            self._waiting.message = down
            return
        self._waiting = Envelope(down)
        # `make` is the watcher's code: it runs, and crashes, in the watcher's task when the signal is taken.
        self._waiting.signal = self._deliver
        self._mailbox.put_signal(self._waiting)

    def _deliver(self, down: Down) -> Any:
        self._waiting = None
        return self._make(down)


class Runtime:
    """The state that all parts of a system share; each of them has one owner that writes it."""

    def __init__(self, clock: Clock, settings: SystemSettings) -> None:
        self.clock = clock
        self.settings = settings
        self.random = random.Random(settings.seed)  # noqa: S311 - it spreads restarts, it guards nothing
        self.waits = WaitGraph()
        self.mailboxes: dict[str, Mailbox] = {}
        self.stop_at = math.inf  # Trio time past which nothing is drained any more
        self.dead_letters: collections.deque[DeadLetter] = collections.deque(maxlen=settings.dead_letters)
        self.dead_letter_count = 0
        self.subscriptions: set[Subscription[SystemEvent]] = set()
        self._watches: dict[str, dict[Mailbox, Watch]] = {}  # watched path → watcher → watch
        self._watched: dict[Mailbox, set[str]] = {}  # the same by watcher
        self._workers: WorkerPool | None = None

    @property
    def workers(self) -> WorkerPool:
        """The worker pool, made when the system runs."""
        if self._workers is None:
            raise ActorError("the system does not run")
        return self._workers

    def begin(self) -> None:
        """The system runs from here on, under the current clock."""
        self._workers = WorkerPool(
            self.settings.workers,
            inline=self.settings.inline_workers,
            niceness=self.settings.worker_niceness,
            apart=self.settings.workers_apart,
        )

    def limit_stop(self, nodes: "Iterable[Node]") -> None:
        """The system stops, within its deadline, which also bounds those of `nodes` that are stopping already."""
        self.stop_at = trio.current_time() + self.settings.stop_deadline
        for node in nodes:
            node.hasten()

    def emit(self, kind: Callable[..., SystemEvent], path: str, **fields: Any) -> None:
        """Tell the subscribers, if there are any."""
        if self.subscriptions:
            event = kind(at=self.clock.now(), path=path, **fields)
            for subscription in self.subscriptions:
                subscription.push(event)

    def bury(self, path: str, reason: str, message: Any) -> None:
        """Keep the payload-free form of a message that was not handled."""
        self.dead_letter_count += 1
        letter = DeadLetter(at=self.clock.now(), path=path, reason=reason, message=describe(message))
        self.dead_letters.append(letter)
        for subscription in self.subscriptions:
            subscription.push(letter)

    def watch(self, watcher: Mailbox, path: str, make: Callable[[Down], Any]) -> None:
        """Tell `watcher` of each end at `path`; a second watch of the same path replaces the first."""
        watch = self._watches.setdefault(path, {})[watcher] = Watch(watcher, make)
        self._watched.setdefault(watcher, set()).add(path)
        mailbox = self.mailboxes.get(path)
        if mailbox is None or mailbox.deserted:
            watch.tell(Down(path=path, reason=StopReason.MISSING, error=None))

    def announce_end(self, path: str, reason: StopReason, error: str | None) -> None:
        """Tell those who watch `path` that its incarnation ended."""
        for watch in self._watches.get(path, {}).values():
            watch.tell(Down(path=path, reason=reason, error=error))

    def forget_watches(self, watcher: Mailbox) -> None:
        """The watcher's incarnation ended, its watches with it."""
        for path in self._watched.pop(watcher, ()):
            watches = self._watches[path]
            del watches[watcher]
            if not watches:
                del self._watches[path]
