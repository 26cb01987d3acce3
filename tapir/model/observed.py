"""What an observation source remembers of names, as a bulk value: what its store keeps and its book restores."""

import enum

import attrs

from tapir.model.blocks import EMPTY_NAMES, NameBlock


class Standing(enum.IntEnum):
    """How a name stands with an observation source; the values are on disk."""

    UNKNOWN = 0
    LIVE = 1
    """on the list"""
    WITHDRAWN = 2
    """taken off it by a message; remembered, so that an older addition does not put it back"""
    ENDED = 3
    """its time is over; remembered while an older addition could still hold"""


@attrs.frozen(eq=False, repr=False, kw_only=True)
class RememberedBlock:
    """Names and what is known of each, a column each; times are native int64 microseconds since the epoch.

    `tags` (native uint32) and `deadlines` are those of the last observation that was taken, `stamps` say which message
    was the last one taken, `horizons` until when an older one could matter; `standings` are octets of `Standing`, never
    UNKNOWN. Of a name that is there twice the later entry counts.
    """

    names: NameBlock
    tags: bytes
    stamps: bytes
    deadlines: bytes
    horizons: bytes
    standings: bytes

    def __len__(self) -> int:
        return len(self.standings)

    def __repr__(self) -> str:
        return f"<RememberedBlock of {len(self)} names>"


NOTHING_REMEMBERED = RememberedBlock(
    names=EMPTY_NAMES, tags=b"", stamps=b"", deadlines=b"", horizons=b"", standings=b""
)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class RememberedStep:
    """One durable step: `entries` are as they are; then, with `ended_by`, what ends by that time is off the list.

    `digests` are those of the payloads taken, `DIGEST` octets each.
    """

    entries: RememberedBlock = NOTHING_REMEMBERED
    digests: bytes = b""
    ended_by: int | None = None

    def __repr__(self) -> str:
        ended = "" if self.ended_by is None else ", then the end of what is due"
        return f"<RememberedStep of {len(self.entries)} names{ended}>"


DIGEST = 16
"""Octets of a payload's digest that are remembered."""
