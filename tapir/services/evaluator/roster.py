"""What the list keeper knows of each source, and whether all of it together may be published (pure).

waiting ──delivered──▶ fresh ──failed──▶ stale
restored ──delivered──▶ fresh            (stale ──looked at again──▶ fresh)
any with content ──delivered, too large a change──▶ held ──accepted, or delivered within limits──▶ fresh
"""

import enum
from collections.abc import Iterable

import attrs

from tapir.model.actions import Action, ListKind
from tapir.model.blocks import EMPTY_NAMES, ListBlock, LookupList
from tapir.model.messages.lists import ListContent, ListDescription, Refusal, SourceStatus
from tapir.policy.layered import LayeredList
from tapir.services.evaluator.brake import BrakeSettings, judge_size


@attrs.frozen(kw_only=True)
class SourceSettings:
    """One source as configured: `name` and `kind` say which list it feeds, `origin` says to people where it comes from.

    `action` and `weight` are as in ListDescription.
    `required` counts for an allowlist only: nothing is published while it has no content. A source that is not
    `supported` has no actor; it is shown, and waited for only as a required allowlist.
    """

    id: str
    name: str
    kind: ListKind
    origin: str = ""
    active: bool = True
    required: bool = True
    supported: bool = True
    brake: BrakeSettings | None = None
    """None: the list keeper's"""
    action: Action | None = None
    weight: int = 1
    reading: tuple[str, ...] = ()
    """what makes names of its octets: a source that is read in another way says something else"""
    internal: bool = False
    """nobody configured it: it is always there, and mostly holds nothing"""
    derived: bool = False
    """the actor of another source says it by the way: nothing waits for it"""
    format: str = ""
    """as configured, for people"""

    @property
    def description(self) -> ListDescription:
        """The list that this source feeds, as the policy evaluator knows it."""
        return ListDescription(source=self.id, name=self.name, kind=self.kind, action=self.action, weight=self.weight)


@attrs.frozen(kw_only=True, eq=False)
class SourceContent:
    """What a source said at one time, all of it."""

    block: ListBlock | LayeredList | LookupList
    digest: str
    refusals: tuple[Refusal, ...]
    loaded_at: int

    def whole(self) -> ListBlock | LookupList:
        """The content as one block; of a list in layers that takes some time, so it is for a worker."""
        return self.block.flat() if isinstance(self.block, LayeredList) else self.block


@attrs.frozen(kw_only=True, eq=False)
class SourceState:
    """How one source stands.

    `content` is in effect, `pending` is what the brake holds back and `held_because` why. `confirmed` says that the
    source itself was heard since the process began, rather than only the store; `waived`, that it had its time to
    deliver and nothing waits for it any more. `outdated` is an allowlist that is read in another way from now on, and
    was not heard since. `saved` says that the store holds the same.
    """

    settings: SourceSettings
    content: SourceContent | None = None
    pending: SourceContent | None = None
    held_because: str = ""
    confirmed: bool = False
    waived: bool = False
    outdated: bool = False
    checked_at: int | None = None
    error: str = ""
    saved: bool = True

    @property
    def word(self) -> str:
        """The one word for it in `SourceStatus.state`."""
        if not self.settings.active:
            return "inactive"
        if not self.settings.supported:
            return "unsupported"
        if self.content is None:
            return "waiting"
        if self.pending is not None:
            return "held"
        if self.error:
            return "stale"
        return "fresh" if self.confirmed else "restored"

    def holding(self, digest: str) -> SourceContent | None:
        """The content of that digest, be it in effect or held back."""
        contents = (self.content, self.pending)
        return next((content for content in contents if content is not None and content.digest == digest), None)

    @property
    def is_looked_up(self) -> bool:
        """Whether any of it is in a copy of its file rather than in memory."""
        contents = (self.content, self.pending)
        return any(content is not None and isinstance(content.block, LookupList) for content in contents)

    def status(self, *, store_error: str = "", suspended: bool = False) -> SourceStatus:
        """The snapshot that others see; `store_error` is why a list that is not saved is not."""
        errors = [self.error, self.held_because]
        if suspended:
            errors.append("what it says now is not taken, since handling it failed twice")
        if not self.saved:
            errors.append(f"in effect, but not saved: {store_error or 'the store has not taken it yet'}")
        content = self.content
        return SourceStatus(
            id=self.settings.id,
            name=self.settings.name,
            kind=self.settings.kind,
            origin=self.settings.origin,
            internal=self.settings.internal,
            format=self.settings.format,
            active=self.settings.active,
            required=self.settings.required,
            state=self.word,
            names=len(content.block) if content is not None else 0,
            pending_names=len(self.pending.block) if self.pending is not None else None,
            loaded_at=content.loaded_at if content is not None else None,
            checked_at=self.checked_at,
            refusals=content.refusals if content is not None else (),
            error="; ".join(filter(None, errors)),
        )


def describe_lists(states: Iterable[SourceState]) -> tuple[ListDescription, ...]:
    """The lists that active sources feed."""
    return tuple(state.settings.description for state in states if state.settings.active)


def contents_of(states: Iterable[SourceState]) -> tuple[ListContent, ...]:
    """All that active sources say; it takes some time where lists are in layers, so it is for a worker."""
    return tuple(
        ListContent(
            description=state.settings.description,
            content=state.content.whole() if state.content is not None else ListBlock(names=EMPTY_NAMES),
        )
        for state in states
        if state.settings.active
    )


class Reaction(enum.Enum):
    """What became of what a source said."""

    SAME = "same"
    TAKEN = "taken"
    HELD = "held"


def take_content(
    state: SourceState, content: SourceContent, *, brake: BrakeSettings | None
) -> tuple[SourceState, Reaction]:
    """The source after it said `content`: in effect, or held back when that changes too much, if there is a `brake`.

    The first content of a source is never held back. What is within the limits replaces what is held back.
    """
    state = attrs.evolve(state, confirmed=True, outdated=False, error="", checked_at=content.loaded_at)
    if state.content is None:
        return attrs.evolve(state, content=content, pending=None, held_because=""), Reaction.TAKEN
    if state.content.digest == content.digest:
        return attrs.evolve(state, content=content, pending=None, held_because=""), Reaction.SAME
    reason = judge_size(brake, before=len(state.content.block), after=len(content.block)) if brake is not None else ""
    if reason:
        return attrs.evolve(state, pending=content, held_because=reason), Reaction.HELD
    return attrs.evolve(state, content=content, pending=None, held_because=""), Reaction.TAKEN


def accept_pending(state: SourceState) -> SourceState:
    """The source after the operator accepted what is held back."""
    return attrs.evolve(state, content=state.pending, pending=None, held_because="")


def reconfigure(
    states: Iterable[SourceState], sources: Iterable[SourceSettings]
) -> tuple[tuple[SourceState, ...], tuple[SourceSettings, ...]]:
    """The sources after a change of settings, and those that are gone.

    A source of another kind is another source: what may stand on an allowlist may be too broad for a denylist.
    """
    known = {(state.settings.id, state.settings.kind): state for state in states}
    after = tuple(
        _reconfigured(known.pop((settings.id, settings.kind), SourceState(settings=settings)), settings)
        for settings in sources
    )
    return after, tuple(state.settings for state in known.values())


def _reconfigured(state: SourceState, settings: SourceSettings) -> SourceState:
    differs = state.settings.reading != settings.reading
    outdated = settings.kind is ListKind.ALLOW and state.content is not None and (state.outdated or differs)
    return attrs.evolve(state, settings=settings, outdated=outdated, waived=state.waived and not outdated)


@attrs.frozen(kw_only=True)
class Gate:
    """Whether what the lists say may reach the zone, and which sources are missing, by id.

    `awaited` have time left to deliver; `blocking` are allowlists that the zone is never made without.
    """

    publish: bool
    waiting_for: tuple[str, ...]
    awaited: tuple[str, ...] = ()
    blocking: tuple[str, ...] = ()


def judge_gate(states: Iterable[SourceState]) -> Gate:
    """Whether decisions on these sources may be published.

    Not while an active source has no content and its time to deliver has not passed; never while that source is a
    required allowlist, for a zone made without it blocks what it protects. Not while an allowlist that is read in
    another way has time left to say what that makes of it, for a denylist may be faster. Nor where there are sources
    and none of them can be heard: an empty zone would take from the secondaries what another daemon gave them.
    What is derived from another source is not waited for: its actor speaks for both.
    """
    active = [state for state in states if state.settings.active and not state.settings.derived]
    missing = [state for state in active if state.content is None]
    blocking = [state for state in missing if state.settings.kind is ListKind.ALLOW and state.settings.required]
    configured = [state for state in active if not state.settings.internal]
    if not any(state.settings.supported for state in configured):
        blocking = [state for state in missing if not state.settings.internal]
    missing += [state for state in active if state.outdated and state.settings.supported and not state.waived]
    awaited = [state for state in missing if state.settings.supported and not state.waived]
    named = [state for state in missing if state.settings.supported or state in blocking]
    return Gate(
        publish=not blocking and not awaited,
        waiting_for=_ids(named),
        awaited=_ids(awaited),
        blocking=_ids(blocking),
    )


def waive_missing(states: Iterable[SourceState]) -> tuple[SourceState, ...]:
    """The sources after the time to deliver has passed."""
    return tuple(
        attrs.evolve(state, waived=True, outdated=False) if state.content is None or state.outdated else state
        for state in states
    )


def _ids(states: Iterable[SourceState]) -> tuple[str, ...]:
    return tuple(state.settings.id for state in states)
