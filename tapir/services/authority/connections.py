"""How many TCP connections stand, in all and for each address; pure."""

import enum
from collections import Counter


class ConnectionLimit(enum.Enum):
    """Which limit a connection would pass; the values are names of counters."""

    TOTAL = "connections_total"
    ADDRESS = "connections_address"


class ConnectionLedger:
    """Admits connections up to its limits; the newest is the one that is not admitted.

    The newest, because those that stand may be in the midst of a transfer; idle ones go by their own deadline.
    """

    def __init__(self, *, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self._by_address: Counter[str] = Counter()
        self._standing = 0

    def __len__(self) -> int:
        return self._standing

    def admit(self, host: str) -> ConnectionLimit | None:
        """Count a connection from `host`; or, when it would pass a limit, say which, and do not count it."""
        if self._standing >= self.total:
            return ConnectionLimit.TOTAL
        if self._by_address[host] >= self.per_address:
            return ConnectionLimit.ADDRESS
        self._standing += 1
        self._by_address[host] += 1
        return None

    def release(self, host: str) -> None:
        """An admitted connection from `host` has ended."""
        self._standing -= 1
        self._by_address[host] -= 1
        if not self._by_address[host]:
            del self._by_address[host]
