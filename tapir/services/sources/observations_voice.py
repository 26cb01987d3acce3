"""What an observation source says to the list keeper."""

from typing import Any

from actors import ActorRef
from tapir.model.blocks import ListBlock
from tapir.model.messages.lists import SourceChanged, SourceFailed, SourceLoaded, SourceUnchanged
from tapir.services.sources.observations_desk import Outcome


class ListVoice:
    """Tells `lists` of `source`. What does not arrive is found out by the digest that is said at the next interval."""

    def __init__(self, source: str, lists: ActorRef[Any]) -> None:
        self._source = source
        self._lists = lists

    async def changed(self, outcome: Outcome, *, at: int) -> None:
        """The list has another digest now."""
        await self._lists.tell(
            SourceChanged(
                source=self._source,
                base=outcome.base,
                digest=outcome.digest,
                removed=outcome.removed,
                upserted=outcome.upserted,
                refusals=(),
                loaded_at=at,
            )
        )

    async def holds(self, content: ListBlock, digest: str, *, at: int) -> None:
        """The list holds exactly this."""
        await self._lists.tell(
            SourceLoaded(source=self._source, content=content, digest=digest, refusals=(), loaded_at=at)
        )

    async def stands(self, digest: str, trouble: str, *, at: int) -> None:
        """Nothing changed; or nothing can, and why."""
        if trouble:
            await self._lists.tell(SourceFailed(source=self._source, reason=trouble, at=at))
        else:
            await self._lists.tell(SourceUnchanged(source=self._source, at=at, digest=digest))
