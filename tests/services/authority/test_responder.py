"""What the responder leaves to a worker, and what it does not let anybody ask of it."""

import logging
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, Final

import dns.message
import dns.rrset
import pytest

from tapir.model.actions import Action
from tapir.model.blocks import EMPTY_RECORDS, RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import parse_name
from tapir.services.authority.access import AccessRule
from tapir.services.authority.responder import KEY, Responder
from tapir.zone.journal import Journal
from tapir.zone.replies import Reply, TransferReply
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion
from tapir.zone.view import ZoneView

ZONE: Final = ZoneSettings(name=parse_name("rpz.test"))
FRIEND: Final = "192.0.2.1"
STRANGER: Final = "198.51.100.1"


def view_after(changes: int) -> ZoneView:
    """A view at serial 2 whose journal has one step of so many changes."""
    added = RecordBlock.of((parse_name(f"n{number}.example"), Action.NXDOMAIN) for number in range(changes))
    delta = RecordDelta(added=added)
    step = VersionDelta(from_serial=1, to_serial=2, at=0, delta=delta)
    version = ZoneVersion.build(ZONE, 1, EMPTY_RECORDS).successor(delta, 2)
    return ZoneView(version=version, journal=Journal().append(step))


def responder(view: ZoneView) -> Responder:
    log = logging.LoggerAdapter(logging.getLogger("test"))
    rule = AccessRule(label=KEY, networks=(ip_network("192.0.2.0/24"),))
    made = Responder(ZONE, [rule], log=log, now=lambda: 0, seen=lambda _: None)
    made.view = view
    return made


def ixfr() -> bytes:
    query = dns.message.make_query("rpz.test.", "IXFR")
    query.authority.append(dns.rrset.from_text("rpz.test.", 0, "IN", "SOA", ". . 1 0 0 0 0"))
    return query.to_wire()


class Workers:
    """Counts what is left to a worker."""

    def __init__(self) -> None:
        self.calls = 0

    async def run_blocking(self, work: Callable[[], Any]) -> Any:
        self.calls += 1
        return work()


@pytest.mark.parametrize(("changes", "host", "calls"), [(10, FRIEND, 0), (3000, FRIEND, 1), (3000, STRANGER, 0)])
async def test_only_a_long_difference_for_who_may_ask_takes_a_worker(changes: int, host: str, calls: int) -> None:
    workers = Workers()
    answer = await responder(view_after(changes)).respond_stream(ixfr(), host, workers.run_blocking)
    assert workers.calls == calls
    assert isinstance(answer, TransferReply if host == FRIEND else Reply)


@pytest.mark.parametrize(("changes", "netted"), [(3, 1), (300, 0)])
def test_over_udp_a_long_difference_is_not_even_made(
    monkeypatch: pytest.MonkeyPatch, changes: int, netted: int
) -> None:
    calls: list[int] = []
    net = Journal.net

    def counted(self: Journal, from_serial: int) -> RecordDelta | None:
        calls.extend([from_serial] if self.steps else [])
        return net(self, from_serial)

    monkeypatch.setattr(Journal, "net", counted)
    answer = responder(view_after(changes)).respond_datagram(ixfr(), FRIEND)
    assert isinstance(answer, Reply)
    records = dns.message.from_wire(answer.wire, one_rr_per_rrset=True).answer
    assert (len(calls), len(records)) == (netted, 7 if netted else 1)
