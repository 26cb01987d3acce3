"""What the list keeper knows of each source, and whether all of it together may be published (pure).

waiting ──delivered──▶ fresh ──failed──▶ stale
restored ──delivered──▶ fresh            (stale ──looked at again──▶ fresh)
any with content ──delivered, too large a change──▶ held ──accepted, or delivered within limits──▶ fresh
"""

from collections.abc import Iterable

import attrs

from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock
from tapir.model.messages.lists import ListDescription, Refusal, SourceStatus
from tapir.services.evaluator.brake import BrakeSettings


@attrs.frozen(kw_only=True)
class SourceSettings:
    """One source as configured: `name` and `kind` say which list it feeds, `origin` says to people where it comes from.

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

    @property
    def description(self) -> ListDescription:
        """The list that this source feeds, as the policy evaluator knows it."""
        return ListDescription(source=self.id, name=self.name, kind=self.kind)


@attrs.frozen(kw_only=True, eq=False)
class SourceContent:
    """What a source said at one time, all of it."""

    block: ListBlock
    digest: str
    refusals: tuple[Refusal, ...]
    loaded_at: int


@attrs.frozen(kw_only=True, eq=False)
class SourceState:
    """How one source stands.

    `content` is in effect, `pending` is what the brake holds back and `held_because` why. `confirmed` says that the
    source itself was heard since the process began, rather than only the store. `saved` says that the store holds
    the same.
    """

    settings: SourceSettings
    content: SourceContent | None = None
    pending: SourceContent | None = None
    held_because: str = ""
    confirmed: bool = False
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

    def status(self, *, store_error: str) -> SourceStatus:
        """The snapshot that others see; `store_error` is why a list that is not saved is not."""
        errors = [self.error, self.held_because]
        if not self.saved:
            errors.append(f"in effect, but not saved: {store_error or 'the store has not taken it yet'}")
        content = self.content
        return SourceStatus(
            id=self.settings.id,
            name=self.settings.name,
            kind=self.settings.kind,
            origin=self.settings.origin,
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


@attrs.frozen(kw_only=True)
class Gate:
    """Whether what the lists say may reach the zone, and which sources are missing, by id."""

    publish: bool
    waiting_for: tuple[str, ...]


def judge_gate(states: Iterable[SourceState], *, deadline_passed: bool) -> Gate:
    """Whether decisions on these sources may be published.

    Not while an active source has no content and the deadline for it has not passed; never while that source is a
    required allowlist, for a zone made without it blocks what it protects.
    """
    missing = [state.settings for state in states if state.settings.active and state.content is None]
    blocking = [settings for settings in missing if settings.kind is ListKind.ALLOW and settings.required]
    awaited = [settings for settings in missing if settings.supported]
    named = {settings.id for settings in (*blocking, *awaited)}
    return Gate(
        publish=not blocking and (deadline_passed or not awaited),
        waiting_for=tuple(settings.id for settings in missing if settings.id in named),
    )
