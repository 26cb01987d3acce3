"""What feeds want passed through, as the policy evaluator hears it: who has spoken, and what each is to be told."""

from collections.abc import Sequence

from tapir.codec.passed import net
from tapir.model.blocks import PassedDelta, RecordDelta
from tapir.model.messages.feeds import PassedJudged, PassedRecords, PassedUnchanged, SendPassed
from tapir.policy.state import PolicyState


class Forwarding:
    """What of the feeds `sources` is known; `state` judges what they say.

    Those that were there at the start are `awaited` until they have spoken. A feed is told what became of its records
    whenever that changes, and asked for all of them when it speaks of others than are known.
    """

    def __init__(self, sources: Sequence[str], state: PolicyState) -> None:
        self.sources = tuple(sources)
        self.awaited = self.sources
        self._state = state
        self._digests: dict[str, str] = {}
        self._judged: dict[str, PassedJudged] = {}

    def take(self, message: PassedRecords) -> RecordDelta:
        """A feed says all that it has; returns what changes by that. Blocks: for a worker."""
        source = message.source
        if source not in self.sources:
            return RecordDelta()
        self._hear(source)
        delta = self._state.set_passed(source, message.records)
        self._digests[source] = message.digest
        self._judged.pop(source, None)
        return delta

    def confirm(self, message: PassedUnchanged) -> SendPassed | PassedJudged | None:
        """A feed says that it has what it had; returns what it is to be told."""
        source = message.source
        if source not in self.sources:
            return None
        if self._digests.get(source) != message.digest:
            return SendPassed()
        self._hear(source)
        return self._judged.get(source)

    def give_up(self) -> tuple[str, ...]:
        """Wait for nobody any more; returns for whom that was."""
        missing, self.awaited = self.awaited, ()
        return missing

    def configure(self, sources: Sequence[str]) -> RecordDelta:
        """Other feeds are to be heard from now on; returns what changes by that. Blocks: for a worker."""
        gone = [source for source in self.sources if source not in sources]
        self.sources = tuple(sources)
        changes = []
        for source in gone:
            self._hear(source)
            self._digests.pop(source, None)
            self._judged.pop(source, None)
            changes.append(self._state.set_passed(source, ()).passed)
        return RecordDelta(passed=net(changes))

    def report(self, delta: PassedDelta) -> list[tuple[str, PassedJudged]]:
        """Whom to tell what became of its records after `delta`, where that is news. Blocks: for a worker."""
        news = []
        for source, digest in self._digests.items():
            before = self._judged.get(source)
            if before is not None and not len(delta):
                continue
            counts = dict(self._state.passing.counts(source))
            passed = counts.pop("", 0)
            judged = PassedJudged(digest=digest, passed=passed, refused=tuple(sorted(counts.items())))
            if judged != before:
                self._judged[source] = judged
                news.append((source, judged))
        return news

    def _hear(self, source: str) -> None:
        self.awaited = tuple(each for each in self.awaited if each != source)
