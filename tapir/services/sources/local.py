"""The operator's own lists and the canary: sources that no file says, and that are always there.

`tapir allow|deny|doubt` arrive here. A change is durable before it is answered; what ends by itself ends by the wall
clock, while we run and while we do not.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from actors import Actor, ActorRef, AskError, Context, Delivery, Request, StopReason, Timer
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.errors import TapirError
from tapir.model.messages.lists import RefreshSource, SourceFailed, SourceLoaded, SourceUnchanged
from tapir.model.messages.local import (
    CANARY,
    SOURCES,
    GetOverrides,
    OverrideChange,
    OverridesStatus,
    RemoveOverride,
    SetOverride,
)
from tapir.model.messages.policy import Explain
from tapir.model.names import Name, format_name
from tapir.policy.admission import content_digest
from tapir.policy.overrides import MOST, OverrideBook, admitted_names, difference_of
from tapir.services.sources.keeping import OverrideArchive
from tapir.services.sources.suffixes import load_suffix_test
from tapir.store.errors import StoreError

_LONGEST_TIMER: Final = 3600.0
_PATIENCE: Final = 1.0


@attrs.frozen(kw_only=True)
class LocalSettings:
    """Where overrides are kept, for which zone, and the canary, if there is one; times in seconds."""

    store_path: Path
    zone: Name
    canary: Name | None = None
    most: int = MOST
    report_interval: float = 10.0
    """how often the list keeper is told again how the lists stand"""


@attrs.frozen(kw_only=True)
class ConfigureLocal(Request[None]):
    """Another canary is in force when this is answered; another path or zone is not looked at."""

    settings: LocalSettings


@attrs.frozen(kw_only=True)
class Tick:
    """Time to tell the list keeper how the lists stand."""


@attrs.frozen(kw_only=True)
class SomethingEnds:
    """Time to look which overrides have ended."""


LocalMessage = SetOverride | RemoveOverride | GetOverrides | ConfigureLocal | RefreshSource | Tick | SomethingEnds


class LocalSource(Actor[LocalMessage]):
    """Keeps the overrides and tells `lists` what the three local lists and the canary's hold.

    A store that cannot be read leaves the lists as the list keeper knows them, and refuses commands, until it can.
    """

    def __init__(self, settings: LocalSettings, *, lists: ActorRef[Any], policy: ActorRef[Any]) -> None:
        self._settings = settings
        self._lists = lists
        self._policy = policy
        self._archive = OverrideArchive(settings.store_path)
        self._book: OverrideBook | None = None
        """None until it is known what is stored"""
        self._error = ""
        self._digests: dict[str, str] = {}
        self._timer: Timer | None = None
        self._asking = False

    async def started(self, ctx: Context[LocalMessage]) -> None:
        """Say what all four lists hold, before any other source speaks."""
        if not await self._open(ctx):
            await self._deliver_all(ctx)
        ctx.send_every(self._settings.report_interval, Tick())

    async def stopping(self, ctx: Context[LocalMessage], reason: StopReason) -> None:
        """Close the store."""
        await ctx.run_blocking(self._archive.close)

    async def receive(self, ctx: Context[LocalMessage], message: LocalMessage) -> None:
        """Handle one message; see each."""
        match message:
            case SetOverride() | RemoveOverride():
                await self._obey(ctx, message)
            case GetOverrides():
                await self._expire(ctx)
                overrides = self._book.ordered() if self._book is not None else ()
                ctx.reply(OverridesStatus(overrides=overrides, store_error=self._error))
            case ConfigureLocal():
                self._settings = attrs.evolve(self._settings, canary=message.settings.canary)
                await self._deliver(ctx, CANARY)
                ctx.reply(None)
            case RefreshSource():
                await self._deliver_all(ctx)
            case SomethingEnds():
                await self._expire(ctx)
            case Tick():
                await self._tick(ctx)

    # What the operator says

    async def _obey(self, ctx: Context[LocalMessage], message: SetOverride | RemoveOverride) -> None:
        reply = ctx.defer_reply()
        try:
            if self._book is None:
                await self._open(ctx)
            if self._book is None:
                raise StoreError(path=self._settings.store_path, reason=f"not done: {self._error}")
            change = await self._carry_out(ctx, self._book, message)
        except TapirError as exc:
            reply.fail(exc)
        else:
            reply.send(change)

    async def _carry_out(
        self, ctx: Context[LocalMessage], book: OverrideBook, message: SetOverride | RemoveOverride
    ) -> OverrideChange:
        """What `message` wants, durable and in force. Raises TapirError, and nothing was changed."""
        await self._expire(ctx)
        names = await ctx.run_blocking(self._names_of, message)
        now = ctx.now()
        if isinstance(message, SetOverride):
            until = None if message.seconds is None else now + message.seconds * 1_000_000
            change = book.setting(
                names, kind=message.kind, user=message.user, at=now, until=until, reason=message.reason
            )
        else:
            change = book.removing(names, kind=message.kind, text=message.entry)
        try:
            await self._save(ctx, book, change)
        except StoreError as exc:
            raise TapirError(f"not done: {exc}") from exc
        word = "set" if change.now else "removed"
        shown = ", ".join(override.entry for override in change.now or change.before)
        ctx.log.info("%s %s on the local %s: %s", message.user or "somebody", word, message.kind.value, shown)
        book.take(change)
        self._set_timer(ctx)
        await self._deliver_lists(ctx, change)
        return change

    def _names_of(self, message: SetOverride | RemoveOverride) -> NameBlock:
        # What is on a list may be taken off it, also when by now nobody could put it there.
        kind = message.kind if isinstance(message, SetOverride) else ListKind.ALLOW
        return admitted_names(message.entry, kind, zone=self._settings.zone, is_public_suffix=load_suffix_test())

    async def _save(self, ctx: Context[LocalMessage], book: OverrideBook, change: OverrideChange) -> None:
        upserted, removed = difference_of(change)
        gone = {override.entry for override in change.before}
        after = [*(override for override in book if override.entry not in gone), *change.now]
        now = ctx.now()
        try:
            put_aside = await ctx.run_blocking(
                lambda: self._archive.change(upserted=upserted, removed=removed, all_after=after, now=now)
            )
        except StoreError as exc:
            self._error = str(exc)
            raise
        self._error = ""
        if put_aside:
            ctx.log.error("stored overrides: %s; they were stored anew", put_aside)

    async def _deliver_lists(self, ctx: Context[LocalMessage], change: OverrideChange) -> None:
        """Say again what the lists hold that `change` has changed."""
        # What a name moves to is said first: without both for a moment, some other list could put it into the zone.
        for kind in dict.fromkeys(override.kind for override in (*change.now, *change.before)):
            await self._deliver(ctx, SOURCES[kind])

    # What ends by itself

    async def _expire(self, ctx: Context[LocalMessage]) -> None:
        change = await self._end(ctx)
        self._set_timer(ctx)
        await self._deliver_lists(ctx, change)

    async def _end(self, ctx: Context[LocalMessage]) -> OverrideChange:
        """End what is over, without a word to the list keeper."""
        book = self._book
        change = book.expiring(ctx.now()) if book is not None else OverrideChange(now=(), before=())
        if book is None or not change.before:
            return change
        ctx.log.info("ended by themselves: %s", ", ".join(override.entry for override in change.before))
        try:
            await self._save(ctx, book, change)
        except StoreError as exc:
            # It ends all the same, and who reads the store later sees by the time that it has ended.
            ctx.log.warning("stored overrides: %s; what has ended is still stored", exc)
        book.take(change)
        return change

    def _set_timer(self, ctx: Context[LocalMessage]) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        end = self._book.next_end() if self._book is not None else None
        if end is not None:
            # The wall clock may be set meanwhile, so it is looked at again now and then.
            seconds = max(0.0, (end - ctx.now()) / 1_000_000)
            self._timer = ctx.send_after(min(seconds, _LONGEST_TIMER), SomethingEnds())

    # What the list keeper is told

    async def _open(self, ctx: Context[LocalMessage]) -> bool:
        """Read what is stored, and say all of it; false when that is not possible now."""
        try:
            opened = await ctx.run_blocking(self._archive.open, ctx.now())
        except StoreError as exc:
            if self._error != str(exc):
                ctx.log.error("stored overrides: %s; the local lists stay as they were", exc)
            self._error = str(exc)
            return False
        if opened.lost:
            ctx.log.error("stored overrides: %s; all that was allowed, denied or doubted by hand is lost", opened.lost)
        self._error = ""
        self._book = OverrideBook(opened.overrides, most=self._settings.most)
        await self._end(ctx)
        self._set_timer(ctx)
        await self._deliver_all(ctx)
        return True

    async def _tick(self, ctx: Context[LocalMessage]) -> None:
        if self._book is None and await self._open(ctx):
            return
        await self._expire(ctx)
        for source in SOURCES.values():
            if self._book is None:
                await self._lists.tell(SourceFailed(source=source, reason=self._error, at=ctx.now()))
            else:
                await self._confirm(ctx, source)
        if self._settings.canary is None:
            await self._confirm(ctx, CANARY)
        elif not self._asking:
            self._asking = True
            ctx.start_soon(self._look_at_canary, ctx, self._settings.canary, name="look at the canary")

    async def _look_at_canary(self, ctx: Context[LocalMessage], canary: Name) -> None:
        """Say that an allowlist keeps the canary out of the zone, if one does."""
        try:
            explanation = await self._policy.ask(Explain(name=format_name(canary)), timeout=_PATIENCE)
        except AskError:
            return  # not decided yet, or busy: the next tick asks again
        finally:
            self._asking = False
        if explanation.stage == ListKind.ALLOW.value:
            names = ", ".join(sorted({hit.list_name for hit in explanation.hits if hit.kind == ListKind.ALLOW.value}))
            reason = f"the canary {format_name(canary)} is on an allowlist ({names}), so it is not in the zone"
            await self._lists.tell(SourceFailed(source=CANARY, reason=reason, at=ctx.now()))
        else:
            await self._confirm(ctx, CANARY)

    async def _confirm(self, ctx: Context[LocalMessage], source: str) -> None:
        if source in self._digests:
            unchanged = SourceUnchanged(source=source, at=ctx.now(), digest=self._digests[source])
            await self._lists.tell(unchanged)
        else:
            await self._deliver(ctx, source)

    async def _deliver_all(self, ctx: Context[LocalMessage]) -> None:
        for source in (*SOURCES.values(), CANARY):
            await self._deliver(ctx, source)

    async def _deliver(self, ctx: Context[LocalMessage], source: str) -> None:
        """Say what a list holds; one that does not arrive, since the list keeper restarts, is said at the next tick."""
        self._digests.pop(source, None)
        if source == CANARY:
            content = _block(() if self._settings.canary is None else (self._settings.canary,))
        elif self._book is not None:
            (kind,) = (kind for kind, id_ in SOURCES.items() if id_ == source)
            content = await ctx.run_blocking(self._book.content, kind)
        else:
            await self._lists.tell(SourceFailed(source=source, reason=self._error, at=ctx.now()))
            return
        digest = content_digest(content)
        message = SourceLoaded(source=source, content=content, digest=digest, refusals=(), loaded_at=ctx.now())
        if await self._lists.tell(message) in (Delivery.DELIVERED, Delivery.COALESCED):
            self._digests[source] = digest


def _block(names: Iterable[Name]) -> ListBlock:
    return ListBlock(names=NameBlock.of(names))
