"""The digests of payloads taken lately, so that one that comes again is known. Pure."""

import hashlib
from collections import deque
from typing import Final

from tapir.model.observed import DIGEST

MOST: Final = 1 << 16


def digest_of(payload: bytes) -> bytes:
    """What is remembered of a payload."""
    return hashlib.sha256(payload).digest()[:DIGEST]


class Digests:
    """The last `most` digests. One that was forgotten costs no more than a message that is read again and is stale."""

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._order: deque[bytes] = deque()
        self._known: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._known

    def add(self, digest: bytes) -> None:
        """Remember `digest`."""
        if digest in self._known:
            return
        self._known.add(digest)
        self._order.append(digest)
        if len(self._order) > self._most:
            self._known.discard(self._order.popleft())

    def pack(self) -> bytes:
        """All of them, oldest first, `DIGEST` octets each."""
        return b"".join(self._order)

    def restore(self, packed: bytes) -> None:
        """Remember those of `packed`, too."""
        for start in range(0, len(packed), DIGEST):
            self.add(packed[start : start + DIGEST])
