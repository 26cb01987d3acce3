"""What became of the messages of an observation source, counted; and what of it the log should say, not too often."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from tapir.policy.observed import Tally
from tapir.services.sources.observations_reading import DUPLICATE, OTHER_LIST, Read

QUIET: Final = frozenset({DUPLICATE, OTHER_LIST, "stale", "expired"})
"""What is nobody's fault: a broker that delivers twice, a queue that was long, a topic of several lists."""
_INTERVAL: Final = 900 * 1_000_000


class Counts:
    """Counters since the start, and for each reason how many refusals the log has not told of yet."""

    def __init__(self, *, interval: int = _INTERVAL) -> None:
        self._interval = interval
        self._counters: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._told_at: dict[str, int] = {}
        self._details: dict[str, str] = {}

    @property
    def counters(self) -> tuple[tuple[str, int], ...]:
        """All of them, by name."""
        return tuple(sorted(self._counters.items()))

    def take_read(self, read: Read) -> None:
        """Count what was read and what was refused."""
        self._counters["messages"] += read.messages
        self._refuse(read.refused)
        self._details.update(read.details)

    def take_tally(self, tally: Tally) -> None:
        """Count what came of what was read."""
        found = attrs.asdict(tally)
        for word in ("added", "removed"):
            self._counters[word] += found.pop(word)
        self._refuse({reason: count for reason, count in found.items() if count})

    def _refuse(self, refused: Mapping[str, int]) -> None:
        self._counters.update(refused)
        self._untold.update({reason: count for reason, count in refused.items() if reason not in QUIET})

    def to_tell(self, now: int) -> Iterator[tuple[str, int, str]]:
        """(reason, how many, an example) of what the log should say by now: at once, and then after an interval."""
        for reason, count in list(self._untold.items()):
            # A clock that was set back keeps nothing quiet for longer than an interval.
            if abs(now - self._told_at.get(reason, now - self._interval)) >= self._interval:
                self._told_at[reason] = now
                del self._untold[reason]
                yield reason, count, self._details.pop(reason, "")
