"""Who may ask for the zone, decided by prefix; pure, but for a bounded memory of earlier decisions."""

from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

Network = IPv4Network | IPv6Network

_REMEMBERED: Final = 4096
_REPORTED: Final = 1024


class AccessList:
    """Which addresses are inside any of `networks`; the last few thousand answers are remembered."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        # A spoofed flood has a new address in every datagram, so the memory is bounded, and parsing an address is
        # what costs: a secondary asks a thousand times from one.
        self._decided: OrderedDict[str, bool] = OrderedDict()

    def allows(self, host: str) -> bool:
        """Whether `host`, an address as text, may ask; what is no address may not."""
        decided = self._decided.get(host)
        if decided is None:
            decided = self._decide(host)
            self._decided[host] = decided
            if len(self._decided) > _REMEMBERED:
                self._decided.popitem(last=False)
        return decided

    def _decide(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        # `in` is False, not an error, when the versions differ.
        return any(address in network for network in self._networks)


def allowing_line(host: str, key: str) -> str:
    """The entry of `key` that would allow `host`, and nobody else."""
    prefix = 128 if ":" in host else 32
    return f'{key}: [..., "{host}/{prefix}"]'


class FirstTimes:
    """Tells the first time of an address from the others; once the memory is full, none is a first time.

    What is logged once an address must be bounded in all, since UDP sources can be spoofed.
    """

    def __init__(self, capacity: int = _REPORTED) -> None:
        self._capacity = capacity
        self._seen: set[str] = set()

    def note(self, host: str) -> bool:
        """Whether `host` is to be reported."""
        if host in self._seen or self.full:
            return False
        self._seen.add(host)
        return True

    @property
    def full(self) -> bool:
        """Whether no more addresses are told apart."""
        return len(self._seen) >= self._capacity
