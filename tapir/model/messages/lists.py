"""Sources speak to the list keeper; the list keeper speaks to the policy evaluator."""

from typing import Final

import attrs

from actors import Request
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import ListBlock, LookupList, NameBlock
from tapir.model.names import Name

MOST_NAMES: Final = 10_000
"""How many names a page of `GetListNames` has at most, whatever is asked for"""


@attrs.frozen(kw_only=True)
class Refusal:
    """`count` lines of a source were refused for `reason`; `lines` are the first few line numbers."""

    reason: str
    count: int
    lines: tuple[int, ...]


@attrs.frozen(kw_only=True)
class SourceLoaded:
    """`source` now says exactly this; it replaces all that it said before.

    `withdrawn` says that it takes back what it said because nobody can vouch for it any more: that is no accident, and
    no brake holds it.
    """

    source: str
    content: ListBlock | LookupList
    digest: str
    refusals: tuple[Refusal, ...]
    loaded_at: int
    withdrawn: bool = False


@attrs.frozen(kw_only=True, eq=False)
class SourceChanged:
    """What `source` says is what it said under digest `base`, without `removed` and with `upserted`.

    That has `digest` from now on: any text that names this content and no other. Names in `removed` that are not held
    mean nothing, and one that is in `upserted`, too, is held; the blocks may be in any order. A list keeper that does
    not hold `base` asks the source to say all that it holds (`RefreshSource`).
    """

    source: str
    base: str
    digest: str
    removed: NameBlock
    upserted: ListBlock
    refusals: tuple[Refusal, ...]
    loaded_at: int


@attrs.frozen(kw_only=True)
class SourceUnchanged:
    """`source` was looked at and still says what it said: the content of that digest."""

    source: str
    at: int
    digest: str = ""


@attrs.frozen(kw_only=True)
class SourceFailed:
    """`source` could not be read; its last good content stays."""

    source: str
    reason: str
    at: int


@attrs.frozen(kw_only=True)
class RefreshSource:
    """To a source: look now, and say all that you hold, whether it changed or not."""


@attrs.frozen(kw_only=True)
class AcceptSource(Request[str]):
    """The operator accepts what the brake holds back for `source`; the reply is a sentence."""

    source: str


@attrs.frozen(kw_only=True)
class SourceStatus:
    """How one source stands; times are microseconds since the epoch, None for never."""

    id: str
    name: str
    kind: ListKind
    origin: str
    active: bool
    required: bool
    state: str
    """`waiting`, `fresh`, `restored`, `stale` (failing, last good content used), `held`, `unsupported`, `inactive`"""
    names: int
    pending_names: int | None
    """names in what the brake holds back"""
    loaded_at: int | None
    checked_at: int | None
    refusals: tuple[Refusal, ...]
    error: str
    internal: bool = False
    """not configured, but always there: the operator's own lists, the canary, and what feeds say by the way"""
    format: str = ""
    """in which format the source comes, as configured; empty where nobody configured it"""


@attrs.frozen(kw_only=True)
class SourcesStatus:
    """All sources, and whether what they say may be published; `waiting_for` names what is missing."""

    sources: tuple[SourceStatus, ...]
    publishing: bool
    waiting_for: tuple[str, ...]


@attrs.frozen(kw_only=True)
class GetSources(Request[SourcesStatus]):
    """How do the sources stand?"""


@attrs.frozen(kw_only=True, eq=False)
class ListedNames:
    """Some names of what one source says, in order of wire octets, with their tags."""

    source: str
    entries: ListBlock


@attrs.frozen(kw_only=True, eq=False)
class ListNamesPage:
    """Names by source, in the order of the sources; those of which none is on this page are left out.

    `sources` are all that were asked about. `next` is the `cursor` that asks for the next page, empty on the last one.
    Sources that are looked up where they lie are `unlisted`.
    """

    parts: tuple[ListedNames, ...]
    next: str
    sources: tuple[SourceStatus, ...]
    unlisted: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class GetListNames(Request[ListNamesPage]):
    """Which names are on the list of `source`, or on those of all sources when that is empty?

    Only those at or below `suffix`, in whose text `containing` stands; both are as people write names, and empty for
    any. At most `limit` of them, and at most MOST_NAMES; `cursor` says where to go on. Names that come or go meanwhile
    may be on a page or not, all others are on one once. Fails with a sentence for a source or a cursor that is not
    known, or a suffix that is no name.
    """

    source: str = ""
    suffix: str = ""
    containing: str = ""
    limit: int = 1000
    cursor: str = ""


@attrs.frozen(kw_only=True)
class EntryFacts:
    """What `source` knows of one of its entries; times are microseconds since the epoch, None where it has none."""

    source: str
    observed_at: int | None
    expires_at: int | None
    tags: int = 0


@attrs.frozen(kw_only=True)
class GetEntry(Request[EntryFacts | None]):
    """To the actor of `source`: what do you know of the entry `name`? None: that it holds none such.

    For actors whose entries have times of their own. The name is in wire form, a wildcard with its `*`.
    """

    source: str
    name: Name


@attrs.frozen(kw_only=True)
class StreamPosition:
    """Where in a stream of changes: a new `epoch` starts from nothing, `sequence` counts within it."""

    epoch: str
    sequence: int

    def follows(self, other: "StreamPosition | None") -> bool:
        """Whether this is the very next position after `other`."""
        return other is not None and other.epoch == self.epoch and other.sequence + 1 == self.sequence


@attrs.frozen(kw_only=True)
class ListDescription:
    """Which list a source feeds; `name` is the list's identity in policy."""

    source: str
    name: str
    kind: ListKind
    action: Action | None = None
    """what becomes of its names instead of what the policy says; None: what the policy says, and on an allowlist"""
    weight: int = 1
    """how many doubtlists it counts as in `numsources`, 0 or more"""

    @property
    def plain(self) -> "ListDescription":
        """The same list without action and weight: two lists are one when this is equal."""
        return ListDescription(source=self.source, name=self.name, kind=self.kind)


@attrs.frozen(kw_only=True, eq=False)
class ListContent:
    """All that one list holds, or where it is looked up."""

    description: ListDescription
    content: ListBlock | LookupList


@attrs.frozen(kw_only=True, eq=False)
class ListChange:
    """One list lost `removed` and gained, or changed the tags of, `upserted`.

    From now on it is looked up in `lookup`, if that is not None; so a list that is looked up always has it here.
    """

    source: str
    removed: NameBlock
    upserted: ListBlock
    lookup: LookupList | None = None


@attrs.frozen(kw_only=True, eq=False)
class ListsSnapshot:
    """All lists as of `position`; `publish` says whether a decision on them may reach the zone.

    `waiting_for` names the sources that are missing, whether or not that holds the zone back.
    """

    position: StreamPosition
    lists: tuple[ListContent, ...]
    publish: bool
    waiting_for: tuple[str, ...] = ()


@attrs.frozen(kw_only=True, eq=False)
class ListsChanged:
    """What changed at `position`, possibly nothing but `publish` or `waiting_for`.

    `described` are all lists when some have other actions or weights now, and otherwise empty. What is not `durable`
    yet may be decided on, and does not reach the zone: the next message comes when it is.
    """

    position: StreamPosition
    changes: tuple[ListChange, ...]
    publish: bool
    waiting_for: tuple[str, ...] = ()
    described: tuple[ListDescription, ...] = ()
    durable: bool = True


@attrs.frozen(kw_only=True)
class GetLists(Request[ListsSnapshot]):
    """The policy evaluator lacks its base: what do all lists hold?"""
