"""Streams that crash their actor: the second crash on one suspends it, instead of using up the tree's intensity.

A poisoned source must not take a whole tree down. An actor whose spec names the stream of a message gets its new
incarnations without the messages of suspended streams: these go to the dead letters until it resumes them. Crashes
that a stream explains are bounded by this (two each), so they do not count against the intensity.
"""

from collections.abc import Callable, Hashable
from typing import Any

_REMEMBERED = 1024  # streams; the oldest are forgotten first


class StreamGuard:
    """One actor's memory, across its incarnations, of which streams crashed it."""

    def __init__(self, stream_of: Callable[[Any], Hashable | None] | None) -> None:
        self._stream_of = stream_of
        self._crashes: dict[Hashable, int] = {}

    @property
    def suspended(self) -> frozenset[Hashable]:
        return frozenset(stream for stream, crashes in self._crashes.items() if crashes > 1)

    def blocks(self, message: Any) -> bool:
        """True when the message belongs to a suspended stream."""
        return bool(self._crashes) and self._crashes.get(self.stream_of(message), 0) > 1

    def stream_of(self, message: Any) -> Hashable | None:
        """The stream of a message, None for none."""
        if self._stream_of is None:
            return None
        try:
            stream = self._stream_of(message)
            hash(stream)
        except Exception:  # noqa: BLE001 - this is asked while a crash is dealt with, and must not be the next one
            return None
        return stream

    def crashed(self, stream: Hashable) -> bool:
        """Count a crash; True when it suspends the stream."""
        crashes = self._crashes.pop(stream, 0) + 1
        self._crashes[stream] = crashes
        if len(self._crashes) > _REMEMBERED:
            del self._crashes[next(iter(self._crashes))]
        return crashes == 2

    def resume(self, stream: Hashable) -> None:
        self._crashes.pop(stream, None)
