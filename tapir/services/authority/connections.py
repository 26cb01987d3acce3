"""How many TCP connections stand, in all, for each address, and of those who may not ask; pure."""

import enum
from collections import Counter
from typing import Final


class ConnectionLimit(enum.Enum):
    """Which limit a connection would pass; the values are names of counters."""

    TOTAL = "connections_total"
    ADDRESS = "connections_address"
    STRANGERS = "connections_strangers"


STRANGERS_SHARE: Final = 8
"""of all connections, those who may not ask have one in so many at most"""


class ConnectionLedger:
    """Admits connections up to its limits; the newest is the one that is not admitted.

    The newest, because those that stand may be in the midst of a transfer; idle ones go by their own deadline.
    Strangers, who are only told that they are refused, have a small share of all: however many they are and from
    however many addresses they come, secondaries find room.
    """

    def __init__(self, *, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self._by_address: Counter[str] = Counter()
        self._standing = 0
        self._strangers = 0

    def __len__(self) -> int:
        return self._standing

    def admit(self, host: str, *, stranger: bool) -> ConnectionLimit | None:
        """Count a connection from `host`; or, when it would pass a limit, say which, and do not count it."""
        if self._standing >= self.total:
            return ConnectionLimit.TOTAL
        if self._by_address[host] >= self.per_address:
            return ConnectionLimit.ADDRESS
        if stranger and self._strangers >= max(1, self.total // STRANGERS_SHARE):
            return ConnectionLimit.STRANGERS
        self._standing += 1
        self._strangers += stranger
        self._by_address[host] += 1
        return None

    def release(self, host: str, *, stranger: bool) -> None:
        """A connection that was admitted with the same words has ended."""
        self._standing -= 1
        self._strangers -= stranger
        self._by_address[host] -= 1
        if not self._by_address[host]:
            del self._by_address[host]
