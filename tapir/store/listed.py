"""What a store of lists knows of each source beside its names, and how that is written down."""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from tapir.model.blocks import LookupList
from tapir.model.messages.lists import Refusal


@attrs.frozen(kw_only=True)
class StoredPending:
    """Content that the brake holds back, without the content itself, and why it is held."""

    reason: str
    digest: str
    loaded_at: int
    refusals: tuple[Refusal, ...] = ()
    lookup: LookupList | None = None
    """where the content is looked up, None when it is stored here"""


@attrs.frozen(kw_only=True)
class StoredList:
    """What is known of one source, without its content; `digest` and `loaded_at` are None when it has none yet."""

    source: str
    digest: str | None = None
    loaded_at: int | None = None
    refusals: tuple[Refusal, ...] = ()
    lookup: LookupList | None = None
    """where the content is looked up, None when it is stored here"""
    pending: StoredPending | None = None


@attrs.frozen(kw_only=True)
class ListEntry:
    """A source's place in the database, beside what is told of it."""

    stored: StoredList
    series: int
    first: int = 1
    last: int = 0
    base_octets: int = 0
    log_octets: int = 0
    tiers: tuple[int, ...] = ()
    """how many entries of the log are single changes, how many are merged of these, and so on"""

    @classmethod
    def unpack(cls, fields: dict[str, Any]) -> "ListEntry":
        # What an older tapir stored has a log of single changes only.
        tiers = fields.get("tiers", [fields["last"] - fields["first"] + 1])
        return cls(**{**fields, "stored": _unpack_stored(fields["stored"]), "tiers": tuple(tiers)})


@attrs.frozen(kw_only=True)
class ListsState:
    """The item that says what the other items and the logs must be."""

    next_series: int = 1
    entries: Mapping[str, ListEntry] = attrs.field(factory=dict)

    def pack(self) -> bytes:
        entries = [attrs.asdict(entry) for entry in self.entries.values()]
        return json.dumps({"next_series": self.next_series, "entries": entries}).encode()

    @classmethod
    def unpack(cls, content: bytes) -> "ListsState":
        fields = json.loads(content)
        entries = [ListEntry.unpack(entry) for entry in fields["entries"]]
        return cls(next_series=fields["next_series"], entries={entry.stored.source: entry for entry in entries})


def _unpack_stored(fields: dict[str, Any]) -> StoredList:
    pending = fields["pending"]
    if pending is not None:
        pending = StoredPending(**{**pending, **_unpack_values(pending)})
    return StoredList(**{**fields, **_unpack_values(fields), "pending": pending})


def _unpack_values(fields: dict[str, Any]) -> dict[str, Any]:
    # What an older tapir stored knows of no look-ups.
    lookup = fields.get("lookup")
    return {
        "refusals": _unpack_refusals(fields["refusals"]),
        "lookup": None if lookup is None else LookupList(**lookup),
    }


def _unpack_refusals(refusals: list[dict[str, Any]]) -> tuple[Refusal, ...]:
    return tuple(Refusal(**{**refusal, "lines": tuple(refusal["lines"])}) for refusal in refusals)
