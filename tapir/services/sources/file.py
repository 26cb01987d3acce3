"""A list in a file: looked at every second, read when it changed, told to the list keeper."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import trio

from actors import Actor, ActorRef, Context, Delivery
from tapir.model.actions import ListKind
from tapir.model.messages.lists import RefreshSource, Refusal, SourceFailed, SourceLoaded, SourceUnchanged
from tapir.model.names import Name
from tapir.policy.admission import Admitted
from tapir.services.sources.content import (
    FORMATS,
    MATCHES,
    ListTornError,
    ListUnreadableError,
    ListUnusableError,
    Progress,
    ReadingSettings,
    look_at,
    read_list,
)
from tapir.services.sources.dawg import LookedUp, read_dawg
from tapir.services.sources.looking import FileSign, Sighting, Verdict, is_young, judge
from tapir.services.sources.watching import Watcher, watcher_for
from tapir.services.sources.worker import FileWorker, Worker


@attrs.frozen(kw_only=True)
class FileSourceSettings:
    """One list file; times in seconds, sizes in octets.

    A look that takes longer than `patience`, or a file that is being written for longer, is reported as a failure.
    """

    id: str
    kind: ListKind
    path: Path
    zone: Name
    format: str = attrs.field(default="domains", validator=attrs.validators.in_(FORMATS))
    column: str | None = None
    match: str = attrs.field(default="exact", validator=attrs.validators.in_(MATCHES))
    broad: bool = False
    poll_interval: float = 1.0
    report_interval: float = 10.0
    """how often the list keeper is told again how the file stands"""
    patience: float = 30.0
    size_limit: int = 1 << 30
    staging: Path | None = None
    """where copies of DAWG files go"""

    @property
    def reading(self) -> ReadingSettings:
        """What the reader needs of this."""
        return ReadingSettings(
            path=self.path,
            kind=self.kind,
            zone=self.zone,
            broad=self.broad,
            size_limit=self.size_limit,
            format=self.format,
            column=self.column,
            match=self.match,
            staging=self.staging,
        )


@attrs.frozen(kw_only=True)
class Look:
    """Time to look at the file."""


FileSourceMessage = Look | RefreshSource


class FileSource(Actor[FileSourceMessage]):
    """Watches one file and tells `lists` what it says.

    SourceLoaded goes out when the content or the refusals changed, SourceFailed and SourceUnchanged when that becomes
    so and every `report_interval` again, since the list keeper may have restarted meanwhile. A look runs in the
    background: a file system that hangs keeps neither the mailbox nor the stop waiting.
    """

    @classmethod
    def factory(cls, settings: FileSourceSettings, *, lists: ActorRef[Any]) -> Callable[[], "FileSource"]:
        """Makes the incarnations of one source, which share its one thread."""
        worker = FileWorker()
        return lambda: cls(settings, lists=lists, worker=worker)

    def __init__(
        self,
        settings: FileSourceSettings,
        *,
        lists: ActorRef[Any],
        worker: Worker | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._settings = settings
        self._lists = lists
        self._worker = worker if worker is not None else FileWorker()
        self._read_content: Callable[[ReadingSettings, FileSign, Progress], Admitted | LookedUp]
        self._read_content = read_dawg if settings.format == "dawg" else read_list
        # It has a thread of its own: a watch on a folder that hangs must not be what the reading waits for.
        self._watcher = watcher if watcher is not None else watcher_for(FileWorker())
        self._looking = False
        # Whether a writer was seen to be done since the last look began.
        self._finished = False
        # What was read so soon after it was written that it may have been written again with the same sign.
        self._young = False
        # The worker's present call: how far it is, and since when it is no further.
        self._progress: Progress | None = None
        self._octets_seen = 0
        self._stuck_since = 0.0
        self._deliver_all = False
        self._taken: FileSign | None = None
        # The state of the file that was read and is no list, and why; it is not read again.
        self._unusable: tuple[FileSign, str] | None = None
        self._sighting: Sighting | None = None
        self._digest = ""
        self._refusals: tuple[Refusal, ...] = ()
        # What the list keeper was told last: the failure's reason, empty for a good file; and when.
        self._told: str | None = None
        self._told_at = 0.0

    async def started(self, ctx: Context[FileSourceMessage]) -> None:
        """Look at once, and then every poll interval; ready without waiting for the file."""
        ctx.send_every(self._settings.poll_interval, Look(), at_once=True)
        ctx.start_soon(self._watch, ctx, name="watch")

    async def receive(self, ctx: Context[FileSourceMessage], message: FileSourceMessage) -> None:
        """Begin a look, unless one is under way."""
        match message:
            case RefreshSource():
                self._deliver_all = True
            case Look():
                pass
        if not self._looking:
            self._begin_look(ctx)
        elif self._is_stuck():
            await self._tell_failure(ctx, f"{self._settings.path}: the file system does not answer")

    def _begin_look(self, ctx: Context[FileSourceMessage]) -> None:
        self._looking = True
        ctx.start_soon(self._look, ctx, name="look")

    async def _watch(self, ctx: Context[FileSourceMessage]) -> None:
        def finished() -> None:
            # However many writers there are meanwhile, one more look is what follows from them.
            self._finished = True
            if not self._looking:
                self._begin_look(ctx)

        await self._watcher.watch(self._settings.path, finished)

    def _is_stuck(self) -> bool:
        """Whether the worker has got no further for as long as our patience lasts."""
        progress = self._progress
        if progress is None or progress.read or progress.octets != self._octets_seen:
            self._stuck_since = trio.current_time()
            self._octets_seen = 0 if progress is None else progress.octets
        return trio.current_time() - self._stuck_since >= self._settings.patience

    async def _look(self, ctx: Context[FileSourceMessage]) -> None:
        try:
            await self._look_once(ctx)
        except ListUnreadableError as exc:
            self._sighting = None
            await self._tell_failure(ctx, str(exc))
        finally:
            self._looking = False
        if self._finished:
            self._begin_look(ctx)

    async def _look_once(self, ctx: Context[FileSourceMessage]) -> None:
        """One look, and what follows from it. Raises ListUnreadableError."""
        if self._deliver_all:
            self._deliver_all = False
            self._taken = None
            self._unusable = None
            self._digest = ""
        finished, self._finished = self._finished, False
        with self._watched():
            sign = await self._worker.run(look_at, self._settings.path)
        if self._unusable is not None and self._unusable[0] == sign:
            await self._tell_failure(ctx, self._unusable[1])
            return
        # A look that no event asked for has waited long enough for the clock of the file system to move on.
        young, self._young = self._young and not finished, self._young and finished
        verdict, self._sighting = judge(
            sign,
            taken=None if young else self._taken,
            sighting=self._sighting,
            now=trio.current_time(),
            wall=ctx.now(),
            interval=self._settings.poll_interval,
            finished=finished or young,
        )
        match verdict:
            case Verdict.UNCHANGED:
                await self._tell_unchanged(ctx)
            case Verdict.SETTLING:
                await self._complain_of_writer(ctx)
            case Verdict.READ:
                await self._read(ctx, sign)

    async def _read(self, ctx: Context[FileSourceMessage], sign: FileSign) -> None:
        try:
            with self._watched() as progress:
                admitted = await self._worker.run(self._read_content, self._settings.reading, sign, progress)
        except ListTornError:
            ctx.log.debug("%s changed while it was read", self._settings.path)
            return
        except ListUnusableError as exc:
            self._unusable = sign, str(exc)
            raise
        self._sighting = None
        self._young = is_young(sign, wall=ctx.now())
        if (admitted.digest, admitted.refusals) == (self._digest, self._refusals):
            self._taken = sign
            await self._tell_unchanged(ctx)
        elif await self._tell_content(ctx, admitted):
            self._taken = sign

    @contextlib.contextmanager
    def _watched(self) -> Iterator[Progress]:
        """Around a call of the worker: how far it is can be seen, and when we leave it behind it is told."""
        progress = self._progress = Progress()
        self._octets_seen, self._stuck_since = 0, trio.current_time()
        try:
            yield progress
        finally:
            progress.abandoned = True
            self._progress = None

    async def _complain_of_writer(self, ctx: Context[FileSourceMessage]) -> None:
        sighting = self._sighting
        if sighting is not None and trio.current_time() - sighting.changing_since >= self._settings.patience:
            await self._tell_failure(
                ctx, f"{self._settings.path}: is being written without a pause; rename the finished file into place"
            )

    async def _tell_content(self, ctx: Context[FileSourceMessage], admitted: Admitted | LookedUp) -> bool:
        message = SourceLoaded(
            source=self._settings.id,
            content=admitted.content,
            digest=admitted.digest,
            refusals=admitted.refusals,
            loaded_at=ctx.now(),
        )
        if not _arrived(await self._lists.tell(message)):
            return False  # the list keeper restarts; the next look reads the file again
        self._digest, self._refusals = admitted.digest, admitted.refusals
        self._note("")
        return True

    async def _tell_unchanged(self, ctx: Context[FileSourceMessage]) -> None:
        if self._is_news("") and _arrived(
            await self._lists.tell(SourceUnchanged(source=self._settings.id, at=ctx.now(), digest=self._digest))
        ):
            self._note("")

    async def _tell_failure(self, ctx: Context[FileSourceMessage], reason: str) -> None:
        if self._is_news(reason) and _arrived(
            await self._lists.tell(SourceFailed(source=self._settings.id, reason=reason, at=ctx.now()))
        ):
            self._note(reason)

    def _is_news(self, told: str) -> bool:
        return told != self._told or trio.current_time() - self._told_at >= self._settings.report_interval

    def _note(self, told: str) -> None:
        self._told, self._told_at = told, trio.current_time()


def _arrived(delivery: Delivery) -> bool:
    return delivery in (Delivery.DELIVERED, Delivery.COALESCED)
