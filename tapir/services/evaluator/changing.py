"""What changes when a source says something else, whether it is held or looked up. Blocking: for a worker."""

from typing import Final

import attrs

from tapir.model.blocks import EMPTY_NAMES, ListBlock, LookupList
from tapir.policy.difference import NO_DIFFERENCE, ListDifference, difference
from tapir.services.evaluator.roster import SourceContent

EMPTY: Final = ListBlock(names=EMPTY_NAMES)


@attrs.frozen(eq=False)
class Changed:
    """The names that are held no more or anew, and where the list is looked up from now on, if it is."""

    names: ListDifference
    lookup: LookupList | None = None

    def __bool__(self) -> bool:
        return bool(self.names) or self.lookup is not None


def compare(before: SourceContent | None, after: SourceContent) -> Changed:
    """What makes `after` of `before`."""
    held = before.block if before is not None and isinstance(before.block, ListBlock) else EMPTY
    if isinstance(after.block, LookupList):
        names = ListDifference(removed=held.names, upserted=EMPTY) if len(held) else NO_DIFFERENCE
        return Changed(names, lookup=after.block)
    return Changed(difference(held, after.block))
