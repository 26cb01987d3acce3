"""Knot, BIND and NSD give us a feed, signed, in clear and over TLS; we have what it says, after every edit by IXFR."""

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from peers import Daemon
from primaries import FEED, KEY_NAME, OTHERS, SECRET, SERVER_NAME, TARGETS, Primary, start_primary

from tapir.codec.transfer import RecordKind
from tapir.codec.tsig import TsigKey
from tapir.model.actions import Action
from tapir.model.names import Name, parse_name
from tapir.transport.dns import UdpExchange
from tapir.transport.tls import client_context
from tapir.transport.transfer import (
    DNS_OVER_TLS,
    Connector,
    Patience,
    PrimaryFailed,
    TcpConnector,
    TlsConnector,
    ask,
    fetch,
)
from tapir.zone.faults import Fault, TransferError
from tapir.zone.inbound import Inbound, Transferred
from tapir.zone.notify import answers_soa_query, encode_soa_query, read_soa_answer
from tapir.zone.signing import SignedRequest

pytestmark = pytest.mark.interop

ZONE = parse_name(FEED)
KEY = TsigKey(name=parse_name(KEY_NAME), algorithm="hmac-sha256", secret=SECRET)
PATIENCE = Patience(connect=5, idle=5, overall=60)
UNIVERSE = [f"{prefix}n{i}.{'x' * 40}.example" for i in range(120) for prefix in ("", "*.")]


def clock() -> int:
    return time.time_ns() // 1000


def tcp(primary: Primary) -> TcpConnector:
    return TcpConnector(peer=("127.0.0.1", primary.port))


async def transferred(connector: Connector, held: int | None, *, key: TsigKey | None = KEY, **keys: Any) -> Transferred:
    exchange = Inbound(ZONE, held=held, id_=random.getrandbits(16), key=key, now=clock(), **keys)
    return await fetch(connector, exchange, patience=PATIENCE, clock=clock)


async def news(primary: Primary, held: int) -> Transferred:
    """What came after `held`, once there is something.

    Of NSD's processes, one from before a reload answers a little longer beside those that know better, or hangs up.
    """
    with trio.fail_after(20):
        while True:
            with contextlib.suppress(PrimaryFailed):
                result = await transferred(tcp(primary), held)
                if not result.is_current:
                    return result
            await trio.sleep(0.01)


async def serial_of(primary: Primary) -> int | None:
    request = SignedRequest.of(encode_soa_query(ZONE, id_=7), KEY, now=clock())
    answer = await ask(
        tcp(primary),
        request.wire,
        is_answer=lambda wire: answers_soa_query(wire, apex=ZONE, id_=7) and not request.fault(wire, now=clock()),
        patience=PATIENCE,
        udp=UdpExchange(),
    )
    return read_soa_answer(answer, apex=ZONE)


async def wait_for(primary: Primary) -> None:
    """Until the primary says that it has its present serial; it is asked for, so no condition can be waited on."""
    with trio.fail_after(20):
        while True:
            try:
                if await serial_of(primary) == primary.serial:
                    return
            except PrimaryFailed:
                assert primary.daemon.alive(), primary.daemon.output()
            await trio.sleep(0.05)


def content_of(result: Transferred) -> dict[Name, Action]:
    assert result.content is not None
    content: dict[Name, Action] = {}
    for block in result.content:
        content |= dict(iter(block))
    return content


def said(rules: dict[str, str]) -> dict[Name, Action]:
    return {parse_name(name): Action[action] for name, action in rules.items()}


TOOLS = ["knot", "bind", "nsd"]


@pytest.fixture(params=TOOLS)
def primary(
    request: pytest.FixtureRequest, tmp_path: Path, daemons: list[Daemon], require_peer: Callable[[str], str]
) -> Primary:
    rules = {name: list(TARGETS)[i % len(TARGETS)] for i, name in enumerate(UNIVERSE[:150])}
    return start_primary(request.param, tmp_path / "primary", daemons, require_peer, rules)


async def test_every_edit_comes_by_ixfr(primary: Primary, campaign: Any) -> None:
    await wait_for(primary)
    first = await transferred(tcp(primary), None)
    assert (first.serial, content_of(first)) == (1, said(primary.rules))
    assert first.timers.refresh == 60
    assert first.counts[RecordKind.RULE] == 150
    assert sum(count for kind, count in first.counts.items() if kind >= RecordKind.LOCAL_DATA) == len(OTHERS)
    kept = await transferred(tcp(primary), None, keep=True)
    assert len(kept.opaque.added) == len(OTHERS)
    assert content_of(kept) == content_of(first)

    rng = campaign.random()
    held = said(primary.rules)
    versions = {1: dict(held)}
    at = 1
    for _ in range(campaign.rounds(200)):
        rules = dict(primary.rules)
        for text in rng.sample(UNIVERSE, 4):
            if text in rules and rng.random() < 0.5:
                del rules[text]
            else:
                rules[text] = rng.choice(list(TARGETS))
        if rules == primary.rules:
            continue
        primary.change(rules)
        await wait_for(primary)
        result = await news(primary, at)
        assert result.serial == primary.serial
        assert result.delta is not None, primary.daemon.output()
        for name, action in result.delta.removed:
            assert held.pop(name) is action
        held |= dict(iter(result.delta.added))
        assert held == said(rules)
        at = result.serial
        versions[at] = dict(held)
    assert (await transferred(tcp(primary), at)).is_current
    assert content_of(await transferred(tcp(primary), at, whole=True)) == held

    # All at once, from a version long ago: NSD and Knot send each difference, and so does BIND.
    result = await transferred(tcp(primary), 1)
    old = dict(versions[1])
    if result.delta is not None:
        for name, action in result.delta.removed:
            assert old.pop(name) is action
        old |= dict(iter(result.delta.added))
    else:
        old = content_of(result)
    assert old == held
    # A version that the primary never had: the whole zone, by whatever way it says that.
    assert content_of(await transferred(tcp(primary), 2**32 - 5)) == held
    with pytest.raises(TransferError) as caught:
        await transferred(tcp(primary), at + 5)
    assert caught.value.fault is Fault.ROLLBACK


async def test_a_wrong_key_gets_nothing(primary: Primary) -> None:
    await wait_for(primary)
    wrong = TsigKey(name=KEY.name, algorithm="hmac-sha256", secret=b"wrong")
    for key in (wrong, None):
        for held in (None, 1):
            with pytest.raises((TransferError, PrimaryFailed)) as caught:
                await transferred(tcp(primary), held, key=key)
            if isinstance(caught.value, TransferError):
                assert caught.value.fault in {Fault.TSIG, Fault.REFUSED}


async def test_over_tls(primary: Primary) -> None:
    if primary.tls_port is None:
        pytest.skip("Knot 3.2 has no TLS")
    await wait_for(primary)
    context = client_context(ca=primary.folder / "ca.pem", protocols=(DNS_OVER_TLS,))
    connector = TlsConnector(
        tcp=TcpConnector(peer=("127.0.0.1", primary.tls_port)),
        context=context,
        hostname=SERVER_NAME,
        # NSD 4.6 takes whatever is offered without naming it.
        require_alpn=primary.tool == "bind",
    )
    result = await transferred(connector, None)
    assert content_of(result) == said(primary.rules)
    other = TlsConnector(tcp=connector.tcp, context=context, hostname="other.example", require_alpn=False)
    with pytest.raises(PrimaryFailed, match="no TLS") as caught:
        await transferred(other, None)
    assert caught.value.reason == "tls"


@pytest.mark.parametrize("tool", TOOLS)
async def test_many_messages_of_which_not_all_may_be_signed(
    tool: str, tmp_path: Path, daemons: list[Daemon], require_peer: Callable[[str], str]
) -> None:
    rules = {f"n{i}.{'x' * 20}.example": list(TARGETS)[i % len(TARGETS)] for i in range(60_000)}
    primary = start_primary(tool, tmp_path / "primary", daemons, require_peer, rules)
    await wait_for(primary)
    assert content_of(await transferred(tcp(primary), None)) == said(rules)
