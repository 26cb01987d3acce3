"""RPZ actions and the kinds of list."""

import enum


class Action(enum.IntEnum):
    """What the resolver is to do with a name; the values are those of one octet in a column.

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


class ListKind(enum.Enum):
    """What it means to be on a list; the values are the words of `pop-sources.yaml`."""

    ALLOW = "allowlist"
    DENY = "denylist"
    DOUBT = "doubtlist"
