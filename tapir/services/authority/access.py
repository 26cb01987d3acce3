"""Who may ask for what: rules by prefix, key, transport and kind of query; pure, but for a bounded memory.

Rules are gone through in their order, and the first one that a query *fits* decides: its address is in the rule's
networks, it is signed by one of the rule's keys where there are any, and it came as secured as the rule wants. An
address that an `alone` rule has is judged by such rules only. Who fits no rule may nothing.
"""

import enum
from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

import attrs

from tapir.model.names import Name, format_name
from tapir.zone.query import QueryKind

Network = IPv4Network | IPv6Network

EVERYTHING: Final = frozenset({QueryKind.SOA, QueryKind.IXFR, QueryKind.AXFR, QueryKind.LOOKUP})

_REMEMBERED: Final = 4096
_REPORTED: Final = 1024
_MAPPED_BITS: Final = 96  # of ::ffff:0:0/96, RFC 4291 §2.5.5.2


class Secured(enum.IntEnum):
    """How well a query's way is secured; the higher includes the lower."""

    NO = 0
    TLS = 1
    CLIENT_CERTIFICATE = 2


_WANTED: Final = {Secured.TLS: "over TLS", Secured.CLIENT_CERTIFICATE: "over TLS with a client certificate"}


@attrs.frozen(kw_only=True)
class AccessRule:
    """Queries from `networks`, signed by one of `keys` and as well `secured`, may be of `kinds`.

    `label` is the configuration key that the rule comes from.
    """

    label: str
    networks: tuple[Network, ...]
    keys: frozenset[Name] = frozenset()
    """none: a signature is not needed"""
    secured: Secured = Secured.NO
    kinds: frozenset[QueryKind] = EVERYTHING
    alone: bool = False


@attrs.frozen
class Grant:
    """What one sender may ask; `reason` says what the others would need, or is empty where no rule has the address."""

    kinds: frozenset[QueryKind]
    reason: str = ""

    def allows(self, kind: QueryKind) -> bool:
        """Whether a query of `kind` is answered. Who may ask anything is told what we say to a NOTIFY."""
        return kind in self.kinds or (kind is QueryKind.NOTIFY and bool(self.kinds))


_NOTHING: Final = Grant(frozenset())


class AccessList:
    """`rules`, and which of them have an address; that is remembered for the last few thousand addresses."""

    def __init__(self, rules: Iterable[AccessRule]) -> None:
        self._rules = tuple(
            attrs.evolve(rule, networks=tuple(_unmap_network(network) for network in rule.networks)) for rule in rules
        )
        # A spoofed flood has a new address in every datagram, so the memory is bounded, and parsing an address is
        # what costs: a secondary asks a thousand times from one.
        self._decided: OrderedDict[str, tuple[AccessRule, ...]] = OrderedDict()

    def covers(self, host: str, *, secured: Secured) -> bool:
        """Whether `host`, an address as text, may ask anything at all if it has the right key."""
        return any(rule.kinds and rule.secured <= secured for rule in self._rules_of(host))

    def grant(self, host: str, *, secured: Secured = Secured.NO, key: Name | None = None) -> Grant:
        """What `host` may ask, when the query is signed by `key` (None: not signed) and so well secured."""
        rules = self._rules_of(host)
        for rule in rules:
            if secured >= rule.secured and (not rule.keys or key in rule.keys):
                return Grant(rule.kinds, f"{rule.label} allows {_listed(rule.kinds)}")
        if not rules:
            return _NOTHING
        needs = " or ".join(dict.fromkeys(_needs(rule) for rule in rules if rule.kinds))
        return Grant(frozenset(), f"{rules[0].label} wants it {needs}" if needs else f"{rules[0].label} allows nothing")

    def _rules_of(self, host: str) -> tuple[AccessRule, ...]:
        decided = self._decided.get(host)
        if decided is None:
            decided = self._decide(host)
            self._decided[host] = decided
            if len(self._decided) > _REMEMBERED:
                self._decided.popitem(last=False)
        return decided

    def _decide(self, host: str) -> tuple[AccessRule, ...]:
        try:
            address = ip_address(host)
        except ValueError:
            return ()
        # `in` is False, not an error, when the versions differ.
        found = tuple(rule for rule in self._rules if any(address in network for network in rule.networks))
        return tuple(rule for rule in found if rule.alone) or found


def _unmap_network(network: Network) -> Network:
    """`network`, one of IPv4-mapped addresses as that of the IPv4 addresses that they are: as such queries come."""
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        first = network.network_address.ipv4_mapped
        if first is not None:
            return IPv4Network((first, network.prefixlen - _MAPPED_BITS))
    return network


def _listed(kinds: frozenset[QueryKind]) -> str:
    return ", ".join(kind.value for kind in QueryKind if kind in kinds) or "nothing"


def _needs(rule: AccessRule) -> str:
    signed = "signed by the key " + " or ".join(sorted(format_name(key) for key in rule.keys)) if rule.keys else ""
    return " and ".join(filter(None, (signed, _WANTED.get(rule.secured))))


def allowing_line(host: str, key: str) -> str:
    """The entry of `key` that would allow `host`, and nobody else."""
    prefix = 128 if ":" in host else 32
    return f'{key}: [..., "{host}/{prefix}"]'


class FirstTimes:
    """Tells the first time of an address from the others; once the memory is full, none is a first time.

    What is logged once an address must be bounded in all, since UDP sources can be spoofed. What is told apart may
    be more than an address: any text.
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
