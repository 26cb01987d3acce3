"""What the minimiser's pipeline is held to: the decisions of the existing EDM, a frame at a time, in plain Python."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from dnstap_oracle import expected, parse_dns

from tapir.codec.dnstap import Outcome
from tapir.codec.dnstapframe import without_client_subnet
from tapir.minimiser.account import Fate

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MALFORMED: Final = {
    Outcome.MALFORMED: Fate.PROTOBUF,
    Outcome.NO_MESSAGE: Fate.NO_MESSAGE,
    Outcome.QUERY: Fate.QUERY,
    Outcome.NO_DNS: Fate.DNS,
    Outcome.UNPARSABLE: Fate.DNS,
    Outcome.NO_QUESTION: Fate.NO_QUESTION,
}
_TYPES: Final = {1: "a_count", 28: "aaaa_count", 15: "mx_count", 2: "ns_count"}
_RCODES: Final = {0: "ok_count", 3: "nx_count", 2: "fail_count"}


@attrs.frozen(kw_only=True)
class NameSet:
    """Names of a list, in wire form and lower case: those that stand for themselves, and those for all below."""

    exact: frozenset[bytes] = frozenset()
    wild: frozenset[bytes] = frozenset()

    def find(self, name: bytes) -> tuple[bytes, bool] | None:
        """The entry that `name` is found by, and whether that is a wildcard."""
        name = name.lower()
        if name in self.exact:
            return name, False
        while name[0]:
            name = name[1 + name[0] :]
            if name in self.wild:
                return name, True
        return None


@attrs.define(kw_only=True)
class EdmOracle:
    """Takes frames one by one; what came of them is in its fields."""

    known: NameSet
    networks: Sequence[Network] = ()
    ignored: NameSet = attrs.field(factory=NameSet)
    sessions_on: bool = False
    pseudonym: Callable[[bytes], bytes]
    seen: set[bytes] = attrs.field(factory=set)
    fates: Counter[Fate] = attrs.field(factory=Counter)
    counters: dict[tuple[bytes, bool], Counter[str]] = attrs.field(factory=dict)
    clients: dict[tuple[bytes, bool], dict[int, set[bytes]]] = attrs.field(factory=dict)
    sightings: list[tuple[bytes, int, int, int, int]] = attrs.field(factory=list)
    sessions: list[dict[str, Any]] = attrs.field(factory=list)
    dumped: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    """the addresses of frames that a dump shows"""

    def take(self, frame: bytes) -> None:
        said = expected(frame)
        self._dump(said)
        fate = self._fate(said)
        self.fates[fate] += 1
        if fate is Fate.HISTOGRAM:
            self._count(said)
        elif fate is Fate.OTHER:
            self._keep(said)

    def rotate(self, known: NameSet) -> None:
        self.known = known
        self.counters, self.clients, self.sessions = {}, {}, []

    def hides(self, client: bytes) -> Fate | None:
        """Why nothing of this client is looked at."""
        if not self.networks:
            return None
        if len(client) not in {4, 16}:
            return Fate.CLIENT_ERROR
        address = ipaddress.ip_address(client)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        both = [address] if mapped is None else [address, mapped]
        return Fate.CLIENT if any(one in network for one in both for network in self.networks) else None

    def _fate(self, said: dict[str, Any]) -> Fate:
        outcome = said["outcome"]
        if outcome in {Outcome.MALFORMED, Outcome.NO_MESSAGE, Outcome.QUERY}:
            return _MALFORMED[outcome]
        hidden = self.hides(said["query_address"])
        if hidden is not None:
            return hidden
        if outcome is not Outcome.OK:
            return _MALFORMED[outcome]
        if any(self.ignored.find(name) for name, _, _ in parse_dns(said["wire"]).questions):
            return Fate.QUESTION_NAME
        return Fate.OTHER if self.known.find(said["name"]) is None else Fate.HISTOGRAM

    def _count(self, said: dict[str, Any]) -> None:
        entry = self.known.find(said["name"])
        assert entry is not None
        counters = self.counters.setdefault(entry, Counter())
        counters[_TYPES.get(said["qtype"], "other_type_count") if said["qclass"] == 1 else "non_in_count"] += 1
        counters[_RCODES.get(said["rcode"], "other_rcode_count")] += 1
        clients = self.clients.setdefault(entry, {4: set(), 6: set()})
        client = said["query_address"]
        if len(client) in {4, 16}:
            mapped = len(client) == 16 and client[:12] == bytes(10) + b"\xff\xff"
            clients[4 if len(client) == 4 or mapped else 6].add(client)

    def _keep(self, said: dict[str, Any]) -> None:
        if said["name"] not in self.seen:
            self.seen.add(said["name"])
            self.sightings.append((said["name_as_sent"], said["flags"], said["qtype"], said["qclass"], said["time"]))
        if self.sessions_on:
            row = {
                "response_message": without_client_subnet(said["wire"]),
                "response_time": said["time"],
                "server_id": said["identity"] or None,
                "source_port": _port(said, "query"),
                "dest_port": _port(said, "response"),
            }
            for side, key in (("source", "query_address"), ("dest", "response_address")):
                row |= _columns(side, self.pseudonym(said[key]), said["family"])
            self.sessions.append(row)

    def _dump(self, said: dict[str, Any]) -> None:
        outcome = said["outcome"]
        if outcome is Outcome.MALFORMED:
            return
        client, server = said.get("query_address", b""), said.get("response_address", b"")
        if outcome is Outcome.NO_MESSAGE or self.hides(client) is None:
            self.dumped.append((self.pseudonym(client), self.pseudonym(server)))


def _port(said: dict[str, Any], side: str) -> int | None:
    port: int = said[f"{side}_port"]
    return None if said[f"no_{side}_port"] or port > 65535 else port


def _columns(side: str, pseudonym: bytes, family: int) -> dict[str, int | None]:
    """What a session says of an address (edm.md §8)."""
    v4 = network = host = None
    if family in {0, 1} and len(pseudonym) == 4:
        v4 = int.from_bytes(pseudonym)
    elif family == 2 and len(pseudonym) in {4, 16}:
        value = int.from_bytes(pseudonym) | (0xFFFF << 32 if len(pseudonym) == 4 else 0)
        network, host = value >> 64, value & (1 << 64) - 1
    return {f"{side}_ipv4": v4, f"{side}_ipv6_network": network, f"{side}_ipv6_host": host}
