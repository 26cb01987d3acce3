"""The keeper's decisions, pure: may this be published now, under which serial, and as which step.

           differs, and not held          commit succeeds
serving ───────────────────────▶ (commit) ───────────────▶ serving, serial n+1
   │  ▲                              │
   │  │ hold ends / accepted /       └─ store fails ─▶ unsaved: the old version is served, tried again
   ▼  │ small enough again
held, braked: the draft goes on growing

A pause leaves the content, its serial n and its journal where they are, and shows an empty zone under n+1. The zone
comes back as n+2, by a step from n: secondaries that slept through the pause get that little difference, and those that
took the empty zone take the whole one, which is no more than a difference from nothing would be.
"""

import enum

import attrs
import numpy as np

from tapir.codec.columns import records_of
from tapir.model.blocks import RecordBlock, RecordDelta, VersionDelta
from tapir.services.authority.draft import ChangeSize, Draft, retitle
from tapir.services.authority.history import net_between
from tapir.services.authority.orders import Refused
from tapir.services.authority.steering import Note, Pause
from tapir.store.zones import StoredZone
from tapir.zone.encoding import encoding_of
from tapir.zone.journal import Journal
from tapir.zone.serial import is_newer, next_serial
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ENCODING = "encoding"
"""the key under which the store keeps the digest of the settings that a secondary sees"""


class Verdict(enum.Enum):
    """What becomes of the draft."""

    KEEP = "keep"
    """it is what is published"""
    PUBLISH = "publish"
    HOLD = "held"
    BRAKE = "braked"


@attrs.frozen(kw_only=True)
class Brake:
    """A version that changes more than `change` of the records, and more than `minimum` of them, is held back."""

    change: float
    minimum: int

    def holds(self, *, records: int, size: ChangeSize) -> bool:
        """Whether a change of this `size` to a zone of `records` is too much at once."""
        return size.names > max(self.minimum, self.change * records)


def judge(draft: Draft, *, published: int | None, brake: Brake, held: bool, accepted: bool) -> Verdict:
    """What becomes of `draft`, where the published version has so many records (None: there is none yet).

    A first version is not braked, nor is the first content of an empty zone: there is nothing to hold it against.
    """
    if not draft.differs:
        return Verdict.KEEP
    if held:
        return Verdict.HOLD
    if published and not accepted and brake.holds(records=published, size=draft.size):
        return Verdict.BRAKE
    return Verdict.PUBLISH


@attrs.frozen(kw_only=True, eq=False)
class Step:
    """A version to be committed, and then published as `view`.

    `delta` is None where no difference leads there, so that the store must be written anew. `note` says why, where
    that is not just what the lists say.
    """

    view: ZoneView
    delta: VersionDelta | None
    removed: int
    added: int
    note: Note | None = None


def next_step(
    draft: Draft, view: ZoneView | None, *, floor: int | None, now: int, pause: Pause | None = None, user: str = ""
) -> Step:
    """The step to what is desired. `floor` is a serial that the next one must come after, when it is known.

    Where the zone is paused, this ends the pause. Raises ZoneError when `draft` holds what the zone cannot say.
    """
    size = draft.size
    if view is None:
        version = draft.titled(next_serial(floor or 0))
        note = Note(serial=version.serial, at=now, kind="first", added=size.added)
        return Step(view=ZoneView(version=version), delta=None, removed=0, added=size.added, note=note)
    version = draft.titled(next_serial(view.serial if pause is None else pause.serial))
    kind = "" if pause is None else "return"
    linked = pause is None or not pause.set_back
    return _step(view, version, draft.delta(), kind=kind, now=now, user=user, linked=linked)


def serial_step(view: ZoneView, serial: int, *, now: int, user: str = "") -> Step:
    """The published content under `serial`: what the operator asked for, also when it is a step back.

    Forward, it is an empty difference, so that secondaries which are behind still get theirs. Back (or where RFC
    1982 knows no order) the journal begins anew, since a serial in it could come again and mean another content;
    secondaries then keep their higher serial until they are made to transfer again.
    """
    return _step(view, retitle(view.version, serial), RecordDelta(), kind="set-serial", now=now, user=user)


def return_step(view: ZoneView, pause: Pause, *, now: int, user: str = "") -> Step:
    """The content from before the pause, as it was."""
    version = retitle(view.version, next_serial(pause.serial))
    return _step(view, version, RecordDelta(), kind="return", now=now, user=user, linked=not pause.set_back)


def rollback_step(view: ZoneView, serial: int, *, now: int, pause: Pause | None = None, user: str = "") -> Step:
    """The content that the zone had at `serial`, found back along the journal, under a new serial; ends a pause.

    Raises Refused when the journal does not reach back, or when nothing would change.
    """
    change = net_between(view, view.serial, serial)
    if pause is None and not len(change):
        same = "it is the present one" if serial == view.serial else f"its content is that of serial {view.serial}"
        raise Refused(f"not done: nothing would change by going back to serial {serial}, {same}")
    version = view.version.successor(change, next_serial(view.serial if pause is None else pause.serial))
    linked = pause is None or not pause.set_back
    return _step(view, version, change, kind="rollback", text=f"to serial {serial}", now=now, user=user, linked=linked)


def empty_view(view: ZoneView, serial: int) -> ZoneView:
    """What a paused zone shows: the apex of `view` and nothing else; no difference leads there or away."""
    return ZoneView(version=ZoneVersion.build(view.settings, serial))


def _step(
    view: ZoneView,
    version: ZoneVersion,
    change: RecordDelta,
    *,
    kind: str,
    now: int,
    text: str = "",
    user: str = "",
    linked: bool = True,
) -> Step:
    """The step from `view` to `version`, which differs from it by `change`; by a difference, where there may be one.

    There may be none where the serials are not in order, or are not `linked` for another reason.
    """
    removed, added = change.lost, change.gained
    note = None
    if kind:
        note = Note(serial=version.serial, at=now, kind=kind, user=user, text=text, removed=removed, added=added)
    if not linked or not is_newer(version.serial, than=view.serial):
        return Step(view=ZoneView(version=version), delta=None, removed=removed, added=added, note=note)
    delta = VersionDelta(from_serial=view.serial, to_serial=version.serial, at=now, delta=change)
    journal = view.journal.append(delta).prune(view.settings, now=now)
    return Step(view=ZoneView(version=version, journal=journal), delta=delta, removed=removed, added=added, note=note)


@attrs.frozen(kw_only=True, eq=False)
class Restored:
    """A stored zone as it is to be served.

    `restate` is why it needs a new serial before anything else is published, or empty; `floor` is the serial to come
    after. `servable` says whether the stored serial may be shown until then: not where secondaries have later ones,
    and so later content, which they are to keep until the evaluator has said what is desired.
    """

    view: ZoneView
    restate: str
    servable: bool
    floor: int
    lost: int
    """records that the present settings cannot say"""


def restore(
    stored: StoredZone, settings: ZoneSettings, *, cached: int | None, now: int, pause: Pause | None = None
) -> Restored:
    """`stored` under the present `settings`, with the serial that serialcache says.

    Other settings than it was stored under (a changed SOA, NS or redirect target) cannot be said by a difference, and
    a serialcache that is ahead means that secondaries have seen later serials, from the old daemon or before the
    state was put back from a copy: in both cases the content gets a new serial, and the journal begins anew.
    """
    changed = stored.extra.get(ENCODING, "") != encoding_of(settings).digest
    shown = stored.serial if pause is None else pause.serial
    ahead = cached is not None and is_newer(cached, than=shown)
    parts = [_sayable(part, settings) for part in stored.parts] if changed else stored.parts
    version = ZoneVersion.build(settings, stored.serial, *parts, passed=stored.passed)
    lost = sum(map(len, stored.parts)) + len(stored.passed) - len(version)
    if changed or ahead:
        reason = "its serial is behind the one in serialcache" if ahead else "its apex or its redirect target changed"
        floor = cached if ahead and cached is not None else shown
        return Restored(view=ZoneView(version=version), restate=reason, servable=not ahead, floor=floor, lost=lost)
    journal = Journal.of(stored.deltas).prune(settings, now=now)
    return Restored(
        view=ZoneView(version=version, journal=journal), restate="", servable=True, floor=stored.serial, lost=0
    )


def restate_step(restored: Restored, serial: int | None = None, *, now: int, user: str = "") -> Step:
    """The restored content under a new serial, or the one that the operator wants, with no journal."""
    version = retitle(restored.view.version, next_serial(restored.floor) if serial is None else serial)
    note = Note(serial=version.serial, at=now, kind="restate", user=user, text=restored.restate)
    return Step(view=ZoneView(version=version), delta=None, removed=0, added=0, note=note)


def _sayable(records: RecordBlock, settings: ZoneSettings) -> RecordBlock:
    """Those of `records` that the zone can say."""
    actions = np.frombuffer(records.actions, dtype=np.uint8)
    sayable = np.array([bool(tail) for tail in encoding_of(settings).tails])[actions]
    if bool(sayable.all()):
        return records
    return records_of(records.names, actions, np.flatnonzero(sayable).astype(np.uint32))


def recover_serial(*, cached: int | None, now: int) -> int:
    """The serial to come after when the store is lost: serialcache's, else the time in seconds.

    The time because no serial that was ever counted up from 1 is ahead of it, so that none goes back.
    """
    return cached if cached is not None else (now // 1_000_000) % (1 << 32)
