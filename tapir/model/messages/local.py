"""The operator's own lists: set on the command line, kept by the local source, asked for by the console."""

from typing import Final

import attrs

from actors import Request
from tapir.model.actions import ListKind

RESERVED: Final = "tapir:"
"""What the ids of sources begin with that nobody configures; no id in a configuration may."""

ACTOR: Final = RESERVED + "local"
"""The name of the actor that keeps them all, among the sources"""
CANARY: Final = RESERVED + "canary"
"""The id of the source that keeps the canary in the zone"""
SOURCES: Final = {
    ListKind.ALLOW: RESERVED + "allow",
    ListKind.DENY: RESERVED + "deny",
    ListKind.DOUBT: RESERVED + "doubt",
}
"""The id of the source of each local list"""
LISTS: Final = {
    SOURCES[ListKind.ALLOW]: "local-allow",
    SOURCES[ListKind.DENY]: "local-deny",
    SOURCES[ListKind.DOUBT]: "local-doubt",
    CANARY: "canary",
}
"""The name of the list that each of them feeds"""

MAX_SECONDS: Final = 10 * 366 * 86400
"""how long an override can last, if it is to end at all"""


@attrs.frozen(kw_only=True)
class Override:
    """One name on a local list; times are microseconds since the epoch, `until` None means until it is removed."""

    entry: str
    """the name or wildcard as text, with the trailing dot"""
    kind: ListKind
    user: str
    """who set it"""
    at: int
    until: int | None
    reason: str


@attrs.frozen(kw_only=True)
class OverrideChange:
    """What a command has done: these are in force `now`, in place of those `before`, by name."""

    now: tuple[Override, ...]
    before: tuple[Override, ...]


@attrs.frozen(kw_only=True)
class SetOverride(Request[OverrideChange]):
    """Put the names of `entry`, written as in a list, on the local list of `kind`, and on no other; for `seconds`.

    Durable when it is answered.
    """

    entry: str
    kind: ListKind
    seconds: int | None
    reason: str
    user: str


@attrs.frozen(kw_only=True)
class RemoveOverride(Request[OverrideChange]):
    """Take the names of `entry` off the local list of `kind`. Durable when it is answered."""

    entry: str
    kind: ListKind
    user: str


@attrs.frozen(kw_only=True)
class OverridesStatus:
    """All overrides in force, by kind and name, and why they cannot be kept now, if they cannot."""

    overrides: tuple[Override, ...]
    store_error: str


@attrs.frozen(kw_only=True)
class GetOverrides(Request[OverridesStatus]):
    """Which overrides are in force?"""
