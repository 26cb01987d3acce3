"""The list keeper: sole writer of what every source says, of what the brake holds back, and of the publish gate."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs
import trio

from actors import Actor, ActorRef, Context, StopReason, Timer
from tapir.model.blocks import LookupList
from tapir.model.messages.lists import (
    AcceptSource,
    GetListNames,
    GetLists,
    GetSources,
    ListChange,
    ListDescription,
    RefreshSource,
    SourceChanged,
    SourceFailed,
    SourceLoaded,
    SourcesStatus,
    SourceUnchanged,
)
from tapir.services.evaluator.archive import is_there
from tapir.services.evaluator.changing import Changed, amend, compare
from tapir.services.evaluator.keeping import (
    AcceptError,
    ConfigureLists,
    DeadlinePassed,
    ListKeeperMessage,
    ListKeeperSettings,
    stream_of,
)
from tapir.services.evaluator.latest import Latest
from tapir.services.evaluator.naming import NameDesk
from tapir.services.evaluator.roster import (
    Reaction,
    SourceContent,
    SourceState,
    accept_pending,
    contents_of,
    describe_lists,
    judge_gate,
    reconfigure,
    take_content,
    waive_missing,
)
from tapir.services.evaluator.saving import RetrySave, Saving
from tapir.services.evaluator.telling import Telling
from tapir.services.evaluator.wording import log_gate, log_held, log_refusals, says_more

__all__ = ["AcceptError", "ConfigureLists", "ListKeeper", "ListKeeperMessage", "ListKeeperSettings", "stream_of"]

_LARGE: Final = 10_000
_ASK_AGAIN: Final = 10.0
"""seconds in which a source that was asked for everything is not asked again"""


class ListKeeper(Actor[ListKeeperMessage]):
    """Holds the content of every source, saves it, and tells `policy` what changed, in order.

    A change is saved before it is told. When the store fails it is told all the same and saved later: for a list in a
    file the file is the truth, and a resolver's users should not wait for our disk. What is told has a position;
    whoever misses one asks for all lists.
    """

    def __init__(
        self,
        latest: Latest[ListKeeperSettings],
        *,
        policy: ActorRef[Any],
        source_ref: Callable[[str], ActorRef[Any]],
    ) -> None:
        self._latest = latest
        self._policy = policy
        self._source_ref = source_ref
        self._saving = Saving(latest.value.store_path)
        self._states: dict[str, SourceState] = {}
        self._telling = Telling()
        self._deadline: Timer | None = None
        self._suspended_digests: dict[str, str] = {}
        self._asked_at: dict[str, float] = {}
        self._names = NameDesk()

    @classmethod
    def factory(
        cls,
        settings: ListKeeperSettings,
        *,
        policy: ActorRef[Any],
        source_ref: Callable[[str], ActorRef[Any]],
    ) -> Callable[[], "ListKeeper"]:
        """Makes the incarnations; `source_ref` names the place of the actor of a source, by its id."""
        latest = Latest(settings)
        return lambda: cls(latest, policy=policy, source_ref=source_ref)

    async def started(self, ctx: Context[ListKeeperMessage]) -> None:
        """Restore what the sources said last; a store that fails is reported and gone without."""
        self._set_states(await self._saving.restore(ctx, self._latest.value.sources))
        await self._saving.sweep(ctx, self._states.values())
        for state in self._states.values():
            if state.pending is not None:
                log_held(ctx.log, state)
        self._begin_epoch(ctx)
        self._telling.gate = judge_gate(self._states.values())
        log_gate(ctx.log, self._telling.gate)

    async def stopping(self, ctx: Context[ListKeeperMessage], reason: StopReason) -> None:
        """Close the store."""
        await self._saving.close(ctx)

    async def receive(self, ctx: Context[ListKeeperMessage], message: ListKeeperMessage) -> None:
        """Handle one message; see each."""
        match message:
            case SourceLoaded():
                await self._take(ctx, message)
                # Only crashes in a row say that a list is bad: one this month and one the next do not.
                ctx.resume(message.source)
            case SourceChanged():
                await self._amend(ctx, message)
                ctx.resume(message.source)
            case SourceUnchanged():
                await self._confirm(ctx, message)
            case SourceFailed():
                await self._note_failure(ctx, message)
            case AcceptSource():
                await self._accept(ctx, message.source)
            case GetSources():
                ctx.reply(self._status(ctx))
            case GetLists():
                contents = await ctx.run_blocking(contents_of, tuple(self._states.values()))
                ctx.reply(self._telling.snapshot(contents))
                for source in await self._saving.lost(ctx, self._states.values()):
                    self._source_ref(source).tell_nowait(RefreshSource())
            case GetListNames():
                self._names.answer(ctx, message, self._status(ctx).sources, self._states)
            case ConfigureLists():
                await self._configure(ctx, message.settings)
                ctx.reply(None)
            case DeadlinePassed():
                self._deadline = None
                self._set_states(waive_missing(self._states.values()))
                await self._tell(ctx)
            case RetrySave():
                self._set_states(await self._saving.retry(ctx, self._states.values()))

    # What sources say

    async def _take(self, ctx: Context[ListKeeperMessage], message: SourceLoaded) -> None:
        state = self._states.get(message.source)
        if state is None or not state.settings.active:
            ctx.log.debug("%s is no active source; what it said is dropped", message.source)
            return
        if isinstance(message.content, LookupList) and not await ctx.run_blocking(is_there, message.content):
            # Swept away as what an older content was looked up in, before this one said that it needs it again.
            self._source_ref(message.source).tell_nowait(RefreshSource())
            return
        self._asked_at.pop(message.source, None)
        content = SourceContent(
            block=message.content, digest=message.digest, refusals=message.refusals, loaded_at=message.loaded_at
        )
        await self._settle(ctx, state, content, braked=not message.withdrawn)

    async def _amend(self, ctx: Context[ListKeeperMessage], message: SourceChanged) -> None:
        """Make a difference to what a source said, be that in effect or held back.

        Where it is not known what it is a difference to, everything is asked for; differences until then are nothing.
        """
        state = self._states.get(message.source)
        if state is None or not state.settings.active:
            ctx.log.debug("%s is no active source; what it said is dropped", message.source)
            return
        base = state.holding(message.base)
        if base is None or isinstance(base.block, LookupList):
            if state.holding(message.digest) is not None:
                await self._confirm(
                    ctx, SourceUnchanged(source=message.source, at=message.loaded_at, digest=message.digest)
                )
            elif trio.current_time() >= self._asked_at.get(message.source, -math.inf) + _ASK_AGAIN:
                ctx.log.debug("source %s changes what is not known here; asking for everything", message.source)
                self._asked_at[message.source] = trio.current_time()
                self._source_ref(message.source).tell_nowait(RefreshSource())
            return
        content, changed = await ctx.run_blocking(amend, base, message)
        await self._settle(ctx, state, content, base=base, changed=changed)

    async def _settle(
        self,
        ctx: Context[ListKeeperMessage],
        state: SourceState,
        content: SourceContent,
        *,
        braked: bool = True,
        base: SourceContent | None = None,
        changed: Changed | None = None,
    ) -> None:
        """A source says `content`, which is all that it says or, where these are known, `base` as it was `changed`."""
        source = state.settings.id
        if state.error:
            ctx.log.info("source %s works again", source)
        before = state.content
        brake = state.settings.brake or self._latest.value.brake
        after, reaction = take_content(state, content, brake=brake if braked else None)
        match reaction:
            case Reaction.SAME:
                self._states[source] = after
                if state.pending is not None:
                    ctx.log.info("source %s says again what is in effect; nothing is held back", source)
                    self._set_states(await self._saving.save_pending(ctx, self._states.values(), source))
                    await self._sweep(ctx, state)
                if not state.confirmed or before is None or before.refusals != content.refusals:
                    log_refusals(ctx.log, content.refusals, source)
            case Reaction.HELD:
                self._states[source] = after
                # What is held back is not stored again with each difference: after a restart its source says all of it.
                if state.pending is None or (base is not state.pending and state.pending.digest != content.digest):
                    log_held(ctx.log, after)
                    self._set_states(await self._saving.save_pending(ctx, self._states.values(), source))
                    await self._sweep(ctx, state)
            case Reaction.TAKEN:
                if changed is None or base is not before:
                    changed = await ctx.run_blocking(compare, before, content)
                await self._put_in_effect(ctx, after, changed, in_passing=base is not None)
                known = () if before is None else before.refusals
                if says_more(known, content.refusals) or (base is None and known != content.refusals):
                    log_refusals(ctx.log, content.refusals, source)
        await self._tell(ctx)  # in case that all the others waited for this one

    async def _put_in_effect(
        self, ctx: Context[ListKeeperMessage], state: SourceState, changed: Changed, *, in_passing: bool = False
    ) -> None:
        source = state.settings.id
        before = self._states[source]
        self._states[source] = state
        known = None if before.content is None else changed.names
        change = ListChange(
            source=source, removed=changed.names.removed, upserted=changed.names.upserted, lookup=changed.lookup
        )
        # To save a large change takes as long as to decide on it, so both are done at once.
        early = len(change.removed) + len(change.upserted) >= _LARGE and state.settings.active
        if early:
            await self._tell(ctx, change, durable=False)
        self._set_states(await self._saving.save_content(ctx, self._states.values(), source, known))
        names = len(state.content.block) if state.content is not None else 0
        ctx.log.log(
            # Mostly the operator's own lists hold nothing, and a start should not say so each time. Nor is it worth a
            # line what comes fifty times a second.
            logging.INFO if not in_passing and (changed or not state.settings.internal) else logging.DEBUG,
            "source %s: %d names, %d in or changed, %d out",
            source,
            names,
            names if changed.lookup is not None else len(changed.names.upserted),
            len(changed.names.removed),
        )
        if early:
            await self._tell(ctx, always=True)
        else:
            await self._tell(ctx, change if changed and state.settings.active else None)
        await self._sweep(ctx, before)

    async def _sweep(self, ctx: Context[ListKeeperMessage], before: SourceState) -> None:
        """Remove what a source was looked up in before, if it was and nothing else is."""
        if before.is_looked_up:
            await self._saving.sweep(ctx, self._states.values())

    async def _confirm(self, ctx: Context[ListKeeperMessage], message: SourceUnchanged) -> None:
        source = message.source
        state = self._states.get(source)
        if state is None or not state.settings.active:
            return
        if state.error:
            ctx.log.info("source %s works again", source)
        state = attrs.evolve(state, checked_at=message.at, error="")
        known = {content.digest for content in (state.content, state.pending) if content is not None}
        if not message.digest or message.digest in known:
            self._states[source] = attrs.evolve(state, confirmed=True, outdated=False)
            await self._tell(ctx)
            return
        self._states[source] = state
        # What it said never got here: we crashed on it, or lost it with the store.
        if source in ctx.suspended:
            if self._suspended_digests.setdefault(source, message.digest) == message.digest:
                return
            self._resume(ctx, source)
        self._source_ref(source).tell_nowait(RefreshSource())

    def _resume(self, ctx: Context[ListKeeperMessage], source: str) -> None:
        """Listen to a source again whose content crashed us twice: it says something else by now, or is believed."""
        self._suspended_digests.pop(source, None)
        ctx.resume(source)
        ctx.log.info("source %s is listened to again", source)

    async def _note_failure(self, ctx: Context[ListKeeperMessage], message: SourceFailed) -> None:
        state = self._states.get(message.source)
        if state is None or not state.settings.active:
            return
        if state.error != message.reason:
            kept = f"its {len(state.content.block)} names stay in effect" if state.content else "it has no content yet"
            ctx.log.warning("source %s fails: %s; %s", message.source, message.reason, kept)
        self._states[message.source] = attrs.evolve(state, error=message.reason, checked_at=message.at, outdated=False)
        await self._tell(ctx)

    # What the operator says

    async def _accept(self, ctx: Context[ListKeeperMessage], source: str) -> None:
        reply = ctx.defer_reply()
        state = self._states.get(source)
        if state is None:
            known = ", ".join(sorted(self._states)) or "there are none"
            reply.fail(AcceptError(f"there is no source {source!r}; known are: {known}"))
            return
        if state.pending is None:
            if source in ctx.suspended:
                self._resume(ctx, source)
                self._source_ref(source).tell_nowait(RefreshSource())
                reply.send(f"source {source} is listened to again")
            else:
                reply.fail(AcceptError(f"nothing is held back for source {source}"))
            return
        before = state.content
        after = accept_pending(state)
        changed = await ctx.run_blocking(compare, before, state.pending)
        await self._put_in_effect(ctx, after, changed)
        reply.send(f"source {source}: accepted, {len(state.pending.block)} names are in effect")

    async def _configure(self, ctx: Context[ListKeeperMessage], settings: ListKeeperSettings) -> None:
        """Sources come, go or change.

        A new epoch makes the policy evaluator ask for all lists; of the same lists with other actions or weights it is
        told no more than these.
        """
        self._latest.value = settings
        before = set(describe_lists(self._states.values()))
        states, gone = reconfigure(self._states.values(), settings.sources)
        self._set_states(states)
        if gone:
            self._set_states(await self._saving.forget(ctx, self._states.values(), gone))
            await self._saving.sweep(ctx, self._states.values())
            ctx.log.info("sources gone: %s", ", ".join(sorted(settings.id for settings in gone)))
        after = set(describe_lists(self._states.values()))
        changed = {each.plain for each in before} != {each.plain for each in after}
        if changed:
            self._begin_epoch(ctx)
        elif self._deadline is None:
            self._give_time(ctx)
        await self._tell(ctx, always=changed, described=() if changed or before == after else tuple(after))

    # What the policy evaluator is told

    def _begin_epoch(self, ctx: Context[ListKeeperMessage]) -> None:
        """Start a new stream; sources that have said nothing yet have time to do so from now on."""
        self._telling.begin_epoch()
        self._give_time(ctx)

    def _give_time(self, ctx: Context[ListKeeperMessage]) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if judge_gate(self._states.values()).awaited:
            self._deadline = ctx.send_after(self._latest.value.start_deadline, DeadlinePassed())

    async def _tell(
        self,
        ctx: Context[ListKeeperMessage],
        change: ListChange | None = None,
        *,
        always: bool = False,
        described: tuple[ListDescription, ...] = (),
        durable: bool = True,
    ) -> None:
        """Tell the policy evaluator of `change`, of `described` lists and of the gate, if any of it is news."""
        before = self._telling.gate
        changes = () if change is None else (change,)
        news = self._telling.news(self._states.values(), changes, always=always, described=described, durable=durable)
        if self._telling.gate != before:
            log_gate(ctx.log, self._telling.gate, before=before)
        if news is not None:
            await self._policy.tell(news)

    # What others see

    def _status(self, ctx: Context[ListKeeperMessage]) -> SourcesStatus:
        suspended = ctx.suspended
        return SourcesStatus(
            sources=tuple(
                state.status(store_error=self._saving.error, suspended=source in suspended)
                for source, state in self._states.items()
            ),
            publishing=self._telling.gate.publish,
            waiting_for=self._telling.gate.waiting_for,
        )

    def _set_states(self, states: Iterable[SourceState]) -> None:
        self._states = {state.settings.id: state for state in states}
