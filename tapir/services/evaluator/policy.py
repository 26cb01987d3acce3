"""The policy evaluator: what all lists say, decided by the operator's policy, as the records of one zone."""

import secrets
import uuid
from collections.abc import Callable
from itertools import count
from typing import Any, Final

import attrs

from actors import Actor, ActorRef, AskError, Context, Request
from tapir.model.blocks import RecordDelta
from tapir.model.errors import TapirError
from tapir.model.messages.feeds import PassedRecords, PassedUnchanged, SendPassed
from tapir.model.messages.lists import GetLists, ListsChanged, ListsSnapshot, StreamPosition
from tapir.model.messages.policy import Explain, GetPolicy, GetRecords, PolicyStatus
from tapir.model.messages.zone import SendContent, SourcesMissing, ZoneChange, ZoneContent
from tapir.model.names import Name, NameSyntaxError, parse_name
from tapir.policy.columns import UnknownListError
from tapir.policy.lookups import LookupGoneError
from tapir.policy.settings import PolicySettings
from tapir.policy.state import PolicyState
from tapir.policy.table import KEY_SIZE
from tapir.services.evaluator.following import Following, Step
from tapir.services.evaluator.forwarding import Forwarding
from tapir.services.evaluator.latest import Latest
from tapir.services.evaluator.mapping import open_copy

_ASK_AGAIN: Final = 1.0
_NOT_YET: Final = "nothing is decided yet: the lists have not arrived; ask again in a moment"


class NotDecidedError(TapirError):
    """The policy evaluator does not know the lists yet; ask again in a moment."""


@attrs.frozen(kw_only=True)
class EvaluatorSettings:
    """The zone, as text, and the policy that fills it; `redirect` is where the zone leads what is redirected."""

    zone: str
    policy: PolicySettings = PolicySettings()
    redirect: Name | None = None
    forwarding: tuple[str, ...] = ()
    """the feeds that have records passed through; nothing is published before these have spoken"""
    patience: float = 60.0
    """seconds from the start for which they are waited for"""


@attrs.frozen(kw_only=True)
class ConfigurePolicy(Request[None]):
    """Another policy is in force when this is answered, also after a crash.

    Another `zone` or `redirect` is not looked at.
    """

    settings: EvaluatorSettings


@attrs.frozen(kw_only=True, eq=False)
class BaseArrived:
    """The list keeper answered with all lists."""

    snapshot: ListsSnapshot


@attrs.frozen(kw_only=True)
class AskLists:
    """Time to ask the list keeper again."""


@attrs.frozen(kw_only=True)
class PatienceOver:
    """Feeds that have not spoken by now are not waited for any more."""


PolicyMessage = (
    ListsChanged
    | BaseArrived
    | AskLists
    | SendContent
    | Explain
    | GetPolicy
    | GetRecords
    | ConfigurePolicy
    | PassedRecords
    | PassedUnchanged
    | PatienceOver
)


class PolicyEvaluator(Actor[PolicyMessage]):
    """Follows `lists`, decides, and tells `keeper` what the zone is to hold.

    While nothing may be published, `keeper` hears only who is missing; then all records, and from there on the
    differences. The policy state is the actor's alone: work on it runs in a worker, and the actor waits for that.
    """

    def __init__(
        self,
        latest: Latest[EvaluatorSettings],
        *,
        lists: ActorRef[Any],
        keeper: ActorRef[Any],
        source_ref: Callable[[str], ActorRef[Any]] | None = None,
        again: bool = False,
    ) -> None:
        settings = latest.value
        self._latest = latest
        self._zone = settings.zone
        self._lists = lists
        self._keeper = keeper
        self._state = PolicyState(
            settings.policy,
            zone=parse_name(settings.zone),
            redirect=settings.redirect,
            key=secrets.token_bytes(KEY_SIZE),
            open_lookup=open_copy,
        )
        self._source_ref = source_ref
        self._again = again
        self._forwarding = Forwarding(settings.forwarding, self._state)
        self._following = Following()
        self._asking = False
        self._publish = False
        self._waiting_for: tuple[str, ...] = ()
        self._missing_told: tuple[str, ...] | None = None
        # Whether the keeper has from us what the zone is to hold, so that a difference to it makes sense.
        self._told = False
        self._position = StreamPosition(epoch=uuid.uuid4().hex, sequence=0)
        self._decided_at: int | None = None
        self._early: list[RecordDelta] = []
        """what was decided on that is not durable yet, and so not told"""

    @classmethod
    def factory(
        cls,
        settings: EvaluatorSettings,
        *,
        lists: ActorRef[Any],
        keeper: ActorRef[Any],
        source_ref: Callable[[str], ActorRef[Any]] | None = None,
    ) -> Callable[[], "PolicyEvaluator"]:
        """Makes the incarnations; `source_ref` names the place of the actor of a source, by its id."""
        latest = Latest(settings)
        begun = count()
        return lambda: cls(latest, lists=lists, keeper=keeper, source_ref=source_ref, again=next(begun) > 0)

    async def started(self, ctx: Context[PolicyMessage]) -> None:
        """Ask for the lists; ready without waiting for them."""
        self._ask(ctx)
        if self._forwarding.awaited:
            ctx.send_after(self._latest.value.patience, PatienceOver())
        if self._again:  # at first the sources are not there yet, and speak unasked
            for source in self._forwarding.awaited:
                self._tell_source(source, SendPassed())

    async def receive(self, ctx: Context[PolicyMessage], message: PolicyMessage) -> None:
        """Handle one message; see each."""
        match message:
            case ListsChanged():
                await self._change(ctx, message)
            case BaseArrived():
                await self._begin(ctx, message.snapshot)
            case AskLists():
                self._ask(ctx)
            case SendContent():
                self._told = False
                self._missing_told = None
                await self._decided(ctx, RecordDelta())
            case Explain():
                self._explain(ctx, message.name)
            case GetPolicy():
                ctx.reply(
                    PolicyStatus(
                        names=self._state.name_count,
                        lists=self._state.list_count,
                        records=self._state.record_count,
                        decided_at=self._decided_at,
                    )
                )
            case GetRecords():
                await self._send_records(ctx)
            case PassedRecords():
                await self._decided(ctx, await ctx.run_blocking(self._forwarding.take, message))
            case PassedUnchanged():
                if (answer := self._forwarding.confirm(message)) is not None:
                    self._tell_source(message.source, answer)
                await self._tell(ctx, RecordDelta())
            case PatienceOver():
                if missing := self._forwarding.give_up():
                    ctx.log.warning("not waiting any longer for what feeds pass through: %s", ", ".join(missing))
                await self._tell(ctx, RecordDelta())
            case ConfigurePolicy():
                await self._configure(ctx, message.settings)
                ctx.reply(None)

    async def _configure(self, ctx: Context[PolicyMessage], settings: EvaluatorSettings) -> None:
        self._latest.value = attrs.evolve(
            self._latest.value, policy=settings.policy, forwarding=settings.forwarding, patience=settings.patience
        )
        if self._forwarding.sources != settings.forwarding:
            await self._decided(ctx, await ctx.run_blocking(self._forwarding.configure, settings.forwarding))
        await self._decided(ctx, await ctx.run_blocking(self._state.set_policy, settings.policy))

    # Following the lists

    def _ask(self, ctx: Context[PolicyMessage]) -> None:
        """Ask for all lists, unless we do already.

        In the background, for the list keeper may be waiting for a slot in our mailbox before it can answer.
        """
        if not self._asking:
            self._asking = True
            self._following = self._following.ask()
            ctx.start_soon(self._fetch, ctx, name="fetch lists")

    async def _fetch(self, ctx: Context[PolicyMessage]) -> None:
        try:
            snapshot = await self._lists.ask(GetLists())
        except AskError as exc:
            ctx.log.warning("the lists are not to be had yet: %s", exc)
            self._asking = False
            ctx.send_after(_ASK_AGAIN, AskLists())
            return
        await ctx.ref.tell(BaseArrived(snapshot=snapshot))

    async def _begin(self, ctx: Context[PolicyMessage], snapshot: ListsSnapshot) -> None:
        self._asking = False
        self._following, overtaken = self._following.arrive(snapshot.position)
        if overtaken:
            self._ask(ctx)
            return
        try:
            delta = await ctx.run_blocking(self._state.set_lists, snapshot.lists)
        except LookupGoneError as exc:
            # Either something newer is in effect, or its source copies it again: the list keeper sees to that.
            ctx.log.warning("a list cannot be looked up: %s; asking for all lists", exc)
            self._following = self._following.ask()
            ctx.send_after(_ASK_AGAIN, AskLists())
            return
        self._heed_gate(snapshot)
        await self._catch_up(ctx)  # the list keeper has saved it by now, or it would not have answered
        await self._decided(ctx, delta)

    async def _change(self, ctx: Context[PolicyMessage], message: ListsChanged) -> None:
        self._following, step = self._following.hear(message.position)
        match step:
            case Step.DROP:
                return
            case Step.ASK:
                self._ask(ctx)
                return
            case Step.APPLY:
                pass
        try:
            if message.described:
                ctx.log.info("sources have other actions or weights; everything is decided anew")
                delta = await ctx.run_blocking(self._state.describe, message.described)
            else:
                delta = await ctx.run_blocking(self._state.apply, message.changes)
        except (UnknownListError, LookupGoneError) as exc:
            ctx.log.warning("%s; asking for all lists", exc)
            self._ask(ctx)
            return
        if not message.durable:
            self._early.append(delta)
            return
        self._heed_gate(message)
        await self._catch_up(ctx)
        await self._decided(ctx, delta)

    def _heed_gate(self, message: ListsChanged | ListsSnapshot) -> None:
        self._publish = message.publish
        self._waiting_for = message.waiting_for

    # Telling feeds

    async def _tell_feeds(self, ctx: Context[PolicyMessage], delta: RecordDelta) -> None:
        """Tell feeds what became of their records, where `delta` may have changed that."""
        if self._forwarding.sources:
            for source, judged in await ctx.run_blocking(self._forwarding.report, delta.passed):
                self._tell_source(source, judged)

    def _tell_source(self, source: str, message: object) -> None:
        # Against the flow, so never waiting; what gets lost is said again when the feed next speaks.
        if self._source_ref is not None:
            self._source_ref(source).tell_nowait(message)

    # Telling the keeper

    async def _catch_up(self, ctx: Context[PolicyMessage]) -> None:
        """Tell what was decided on before it was durable: it is now."""
        early, self._early = self._early, []
        for delta in early:
            await self._tell_feeds(ctx, delta)
            if self._told:  # else all records are told next, with these
                await self._tell(ctx, delta)

    async def _decided(self, ctx: Context[PolicyMessage], delta: RecordDelta) -> None:
        if self._following.base is not None:
            self._decided_at = ctx.now()
        if self._early:
            self._early.append(delta)  # it is a difference to what these make of the zone
            return
        await self._tell_feeds(ctx, delta)
        ctx.log.debug(
            "decided: %d records, %d out, %d in", self._state.record_count, len(delta.removed), len(delta.added)
        )
        await self._tell(ctx, delta)

    async def _tell(self, ctx: Context[PolicyMessage], delta: RecordDelta) -> None:
        """Tell the keeper what the zone is to hold, or who is missing; `delta` is what changed since the last time."""
        if self._following.base is None or self._early:
            return  # told when the base has arrived, and is durable
        awaited = self._forwarding.awaited
        if not self._publish or awaited:
            self._told = False
            waiting_for = tuple(dict.fromkeys((*self._waiting_for, *awaited)))
            if self._missing_told != waiting_for:
                self._missing_told = waiting_for
                await self._keeper.tell(SourcesMissing(zone=self._zone, waiting_for=waiting_for))
            return
        self._missing_told = None
        if not self._told:
            records = await ctx.run_blocking(self._state.records)
            passed = await ctx.run_blocking(self._state.passed)
            self._told = True
            content = ZoneContent(zone=self._zone, position=self._advance(), records=records, passed=passed)
            await self._keeper.tell(content)
        elif len(delta):
            await self._keeper.tell(ZoneChange(zone=self._zone, position=self._advance(), delta=delta))

    def _advance(self) -> StreamPosition:
        self._position = StreamPosition(epoch=self._position.epoch, sequence=self._position.sequence + 1)
        return self._position

    # Answering

    async def _send_records(self, ctx: Context[PolicyMessage]) -> None:
        if self._decided_at is None:
            ctx.defer_reply().fail(NotDecidedError(_NOT_YET))
            return
        ctx.reply(await ctx.run_blocking(self._state.records))

    def _explain(self, ctx: Context[PolicyMessage], text: str) -> None:
        reply = ctx.defer_reply()
        if self._decided_at is None:
            reply.fail(NotDecidedError(_NOT_YET))
            return
        try:
            name = parse_name(text)
        except NameSyntaxError as exc:
            reply.fail(exc)
            return
        reply.send(self._state.explain(name))
