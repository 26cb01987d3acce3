"""What changes when a source says something else, all of it or a difference. Blocking: for a worker."""

from typing import Final

import attrs

from tapir.model.blocks import EMPTY_NAMES, ListBlock, LookupList
from tapir.model.messages.lists import SourceChanged
from tapir.policy.difference import NO_DIFFERENCE, ListDifference, difference
from tapir.policy.layered import LayeredList
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
    old, new = before.whole() if before is not None else EMPTY, after.whole()
    held = old if isinstance(old, ListBlock) else EMPTY
    if isinstance(new, LookupList):
        names = ListDifference(removed=held.names, upserted=EMPTY) if len(held) else NO_DIFFERENCE
        return Changed(names, lookup=new)
    return Changed(difference(held, new))


def amend(before: SourceContent, message: SourceChanged) -> tuple[SourceContent, Changed]:
    """What `message` makes of `before`, which is not looked up, and what that changes.

    Takes time in the size of the change, but for the first one of a list and now and then another (amortised).
    """
    block = before.block
    if isinstance(block, LookupList):
        raise AssertionError(f"source {message.source} is looked up")  # the list keeper asks for all of it
    layers = block if isinstance(block, LayeredList) else LayeredList.of(block)
    layers, names = layers.changed(message.removed, message.upserted)
    content = SourceContent(block=layers, digest=message.digest, refusals=message.refusals, loaded_at=message.loaded_at)
    return content, Changed(names)
