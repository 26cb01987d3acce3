"""RPZ actions and the kinds of list."""

import enum
from typing import Final


class Action(enum.IntEnum):
    """What the resolver is to do with a name; the values are those of one octet in a column and in the store.

    A value never changes its meaning, for stored zones hold it: how severe an action is says its `rank`.
    `NONE` means that the zone has no record for the name. It is what the reference implementation calls
    ALLOWLIST when nothing is emitted; `PASSTHRU` is an emitted `rpz-passthru.`.
    """

    NONE = 0
    PASSTHRU = 1
    REDIRECT = 2
    NODATA = 3
    NXDOMAIN = 4
    DROP = 5
    TCP_ONLY = 6

    @property
    def label(self) -> str:
        """The field's spelling, as configuration, logs and the console show it."""
        return self.name.replace("_", "-")

    @property
    def rank(self) -> int:
        """The place in `RESTRICTIVENESS`: of two actions the one with the greater rank restricts more."""
        return RESTRICTIVENESS.index(self)


RESTRICTIVENESS: Final = (
    Action.NONE,
    Action.PASSTHRU,
    Action.TCP_ONLY,
    Action.REDIRECT,
    Action.NODATA,
    Action.NXDOMAIN,
    Action.DROP,
)
"""All actions, the mildest first (pop.md §5).

TCP-ONLY has no place upstream. It stands below REDIRECT: a client that asks again over TCP gets the true answer,
with any action above it nobody does.
"""


class ListKind(enum.Enum):
    """What it means to be on a list; the values are the words of `pop-sources.yaml`."""

    ALLOW = "allowlist"
    DENY = "denylist"
    DOUBT = "doubtlist"
