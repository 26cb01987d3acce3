"""What a name in the zone is: a rule, a wildcard's, an empty non-terminal, or nothing (RFC 1034 §4.3.2, RFC 4592)."""

import attrs

from tapir.model.actions import Action
from tapir.model.names import ROOT, Name, parent_of
from tapir.zone.order import order_key
from tapir.zone.version import ZoneVersion


@attrs.frozen
class Found:
    """`action` is NONE where no rule answers; `exists` tells an empty non-terminal from no such name.

    `records` are those that are passed through from feeds and answer instead.
    """

    action: Action
    exists: bool
    records: tuple[bytes, ...] = ()


_MISSING = Found(Action.NONE, exists=False)
_EMPTY = Found(Action.NONE, exists=True)


def look_up(version: ZoneVersion, name: Name) -> Found:
    """What `name`, given without the zone's name and not empty, is in `version`."""
    found = _at(version, name)
    if found.exists:
        return found
    key = order_key(name)
    before, after = version.neighbours(name)
    if version.passed:
        others = version.passed.neighbours(key)
        before = max(before, others[0])
        after = min(after or others[1], others[1] or after)
    if after.startswith(key):
        return _EMPTY
    # The closest encloser is the longest ancestor that one of the neighbours lies at or below.
    encloser = parent_of(name)
    while encloser != ROOT:
        above = order_key(encloser)
        if before.startswith(above) or after.startswith(above):
            break
        encloser = parent_of(encloser)
    return _at(version, Name(b"\x01*" + encloser))


def _at(version: ZoneVersion, name: Name) -> Found:
    """What stands at `name` itself."""
    action = version.get(name)
    if action:
        return Found(action, exists=True)
    records = version.passed.at(name)
    return Found(Action.NONE, exists=True, records=records) if records else _MISSING
