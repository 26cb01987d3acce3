"""A list fetched from servers that behave as ours, as the existing POP, and as nobody should; real sockets."""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from certificates import Authority
from http_servers import Exchange, HttpServer, Script, serving

from tapir.codec.bootstrap import BootstrapResponse, encode_response
from tapir.codec.gob import encode_list, export_list
from tapir.codec.listexport import encode_export
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.names import Name, format_name, parse_name
from tapir.services.sources.bootstrap import BootstrapFailed, BootstrapResult, BootstrapSettings
from tapir.services.sources.bootstrap_client import HttpBootstrapper
from tapir.services.sources.bootstrap_reading import AHEAD
from tapir.transport.tls import server_context

KEY = "s3cret-key"
NOW = 1_760_000_000_000_000
HOUR = 3600 * 1_000_000
VECTOR = Path(__file__).parents[2] / "vectors" / "gob" / "wbglist.gob"

PONG = b'{"Time":"2025-03-01T12:00:00Z","Client":"","Msg":"pong","Pings":1,"Pongs":3}\n'

HELD = ObservationBlock.of(
    [
        (parse_name("bad.example."), 17, NOW - HOUR, NOW + HOUR),
        (parse_name("ended.example."), 1, NOW - HOUR, NOW),
        (parse_name("worse.example."), 4, NOW - 2 * HOUR, NOW + HOUR // 3600),
    ]
)
EXPECTED = {"bad.example.": (17, NOW - HOUR, NOW + HOUR), "worse.example.": (4, NOW - 2 * HOUR, NOW + HOUR // 3600)}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def said(result: BootstrapResult) -> dict[str, tuple[int, int, int]]:
    return {format_name(Name(name)): (tags, observed, end) for name, tags, observed, end in result.observations}


def bootstrapper(*servers: HttpServer | str, kind: ListKind = ListKind.DOUBT, **settings: Any) -> HttpBootstrapper:
    values: dict[str, Any] = {"url": "http://%s/api/v1", "key": KEY, "patience": 5.0, "deadline": 15.0, **settings}
    addresses = tuple(server if isinstance(server, str) else server.address for server in servers)
    return HttpBootstrapper(
        BootstrapSettings(servers=addresses, **values), list_name="dns-tapir", kind=kind, now=lambda: NOW
    )


async def failure(*servers: HttpServer | str, **settings: Any) -> str:
    with pytest.raises(BootstrapFailed) as caught:
        await bootstrapper(*servers, **settings).fetch()
    text = str(caught.value)
    assert KEY not in text
    return text


def our_export(source: str = "dns-tapir", kind: ListKind = ListKind.DOUBT) -> bytes:
    return b"".join(encode_export(HELD, source=source, kind=kind, timestamp=NOW - 2 * HOUR))


def gob_of(kind: ListKind = ListKind.DOUBT) -> bytes:
    return encode_list(export_list(HELD, source="another-name", kind=kind, topics=("obs/t",)))


@attrs.define(kw_only=True)
class Upstream:
    """The existing POP's bootstrap server, as pop.md tells of it."""

    key: str = KEY
    export: bytes = gob_of()
    trailer: bytes = encode_response(BootstrapResponse(status="ok", msg="here it is"))

    async def __call__(self, exchange: Exchange) -> None:
        asked = exchange.asked
        if asked.headers.get("x-api-key") != self.key or asked.path not in ("/api/v1/ping", "/api/v1/bootstrap"):
            await exchange.answer(404, b"404 page not found\n")
        elif asked.method != "POST":
            await exchange.answer(405)
        elif asked.path == "/api/v1/ping":
            await exchange.answer(200, PONG)
        elif json.loads(asked.body)["Command"] == "doubtlist-status":
            await exchange.answer(200)
        elif json.loads(asked.body)["Encoding"] != "gob":
            refusal = encode_response(BootstrapResponse(error=True, error_msg="unknown encoding"))
            await exchange.answer(200, refusal, kind="text/plain")
        else:
            await exchange.answer(200, self.export + self.trailer, kind="application/octet-stream")


async def ours(exchange: Exchange) -> None:
    """A POP of ours."""
    asked = exchange.asked
    if asked.headers.get("x-api-key") != KEY:
        await exchange.answer(404, b"not found\n")
    elif asked.path == "/api/v1/ping":
        await exchange.answer(200, PONG)
    else:
        await exchange.answer(200, our_export(), kind="application/jsonl")


def exporting(octets: bytes) -> Script:
    """Another POP of ours, which has this to say."""
    return ours_with(lambda exchange: exchange.answer(200, octets, kind="application/jsonl"))


def ours_with(script: Script) -> Script:
    """A POP of ours until the list is asked for."""

    async def wrapped(exchange: Exchange) -> None:
        if exchange.asked.path.endswith("ping"):
            await exchange.answer(200, PONG)
        else:
            await script(exchange)

    return wrapped


@contextlib.asynccontextmanager
async def limited(seconds: float = 30) -> AsyncIterator[None]:
    with trio.fail_after(seconds):
        yield


async def test_a_pop_of_ours_gives_the_plain_export() -> None:
    async with limited(), serving(ours) as server:
        result = await bootstrapper(server).fetch()
    assert said(result) == EXPECTED
    assert (result.form, result.server, result.fetched_at, result.expired) == ("export", server.address, NOW, 1)
    assert server.lines == ["POST /api/v1/ping", "POST /api/v1/bootstrap"]
    last = server.asked[-1]
    assert json.loads(last.body) == {"Command": "export-doubtlist", "ListName": "dns-tapir", "Encoding": "jsonl"}


async def test_the_existing_pop_gives_gob() -> None:
    async with limited(), serving(Upstream()) as server:
        result = await bootstrapper(server).fetch()
    assert said(result) == EXPECTED
    assert result.form == "gob"
    assert server.lines == ["POST /api/v1/ping", "POST /api/v1/bootstrap", "POST /api/v1/bootstrap"]
    last = server.asked[-1]
    assert json.loads(last.body) == {"Command": "export-doubtlist", "ListName": "dns-tapir", "Encoding": "gob"}
    assert last.headers["content-type"] == "application/json"
    assert last.headers["x-api-key"] == KEY


async def test_the_vector_comes_in() -> None:
    async with limited(), serving(Upstream(export=VECTOR.read_bytes())) as server:
        result = await bootstrapper(server).fetch()
    assert (len(result.observations), result.expired) == (0, 1)  # it ended in 2025


async def test_lists_of_another_kind_are_asked_for_by_it() -> None:
    async with limited(), serving(exporting(our_export(kind=ListKind.ALLOW))) as server:
        result = await bootstrapper(server, kind=ListKind.ALLOW).fetch()
    assert said(result) == EXPECTED
    assert json.loads(server.asked[-1].body)["Command"] == "export-allowlist"


async def test_what_lies_in_the_future_counts_as_seen_now() -> None:
    observations = ObservationBlock.of([(parse_name("early.example."), 1, NOW + 10 * HOUR, NOW + 20 * HOUR)])

    octets = b"".join(encode_export(observations, source="x", kind=ListKind.DOUBT, timestamp=0))
    async with limited(), serving(exporting(octets)) as server:
        result = await bootstrapper(server).fetch()
    assert said(result) == {"early.example.": (1, NOW + AHEAD, NOW + 20 * HOUR)}


async def test_names_that_are_none_are_counted() -> None:
    lines = [
        {"format": "tapir-list", "version": 1, "source": "x", "list_type": "doubtlist"},
        {"name": "a..example", "time_added": "2025-10-09T08:53:20Z", "ttl": 10**6, "tag_mask": 1},
        {"end": 1},
    ]
    octets = "".join(json.dumps(line) + "\n" for line in lines).encode()
    async with limited(), serving(exporting(octets)) as server:
        result = await bootstrapper(server).fetch()
    assert (len(result.observations), result.refused) == (0, 1)
    assert result.reason


async def test_servers_go_in_order_until_one_has_it() -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.answer(500)

    async with limited(), serving(broken) as first, serving(Upstream()) as second, serving(ours) as third:
        result = await bootstrapper("127.0.0.1:1", first, second, third).fetch()
    assert result.server == second.address
    assert len(first.asked) == 1
    assert third.asked == []


async def test_a_server_that_holds_nothing_is_passed_over() -> None:
    nothing = exporting(
        b"".join(encode_export(ObservationBlock.of(()), source="x", kind=ListKind.DOUBT, timestamp=NOW))
    )
    async with limited(), serving(nothing) as first, serving(ours) as second:
        assert (await bootstrapper(first, second).fetch()).server == second.address
        assert len((await bootstrapper(first, first).fetch()).observations) == 0
        text = await failure(first, "127.0.0.1:1")
    assert f"{first.address}: it holds no names; 127.0.0.1:1: no connection" in text


async def test_every_server_has_its_reason() -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.answer(500)

    async with limited(), serving(broken) as first, serving(Upstream(key="another")) as second:
        text = await failure(first, second)
    assert text == (
        f"no server has the list dns-tapir for us: {first.address}: it answered with status 500; {second.address}: it "
        "refuses the key, or is no POP (404); see `bootstrapkey` and `bootstrapurl`"
    )


async def test_nobody_is_configured() -> None:
    assert await failure() == "no server has the list dns-tapir for us: none is configured"


async def cut_off(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/jsonl\r\nContent-Length: 100\r\n\r\nabc")
    await exchange.stream.aclose()


async def endless(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/jsonl\r\n\r\n")
    while True:
        await exchange.send(our_export())


async def slow(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/jsonl\r\n\r\n")
    while True:
        await exchange.send(b" ")
        await trio.sleep(0.02)


async def elsewhere(exchange: Exchange) -> None:
    await exchange.answer(307, head="Location: http://127.0.0.1:1/\r\n")


async def echoing(exchange: Exchange) -> None:
    """Tells the caller's key to whoever reads the caller's log."""
    if exchange.asked.path.endswith("bootstrap"):
        key = exchange.asked.headers["x-api-key"]
        octets = encode_response(BootstrapResponse(error=True, error_msg=f"no {key}\x1b[2J for you"))
        await exchange.answer(200, octets, kind="application/json")
    else:
        await Upstream()(exchange)


async def web_site(exchange: Exchange) -> None:
    await exchange.answer(200, b"<html>", kind="text/html")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (ours_with(cut_off), "the answer is cut off"),
        (ours_with(endless), "the answer is larger than 100000 octets"),
        (elsewhere, "it sends us elsewhere (status 307)"),
        (echoing, "it says: no ***?[2J for you"),
        (web_site, "it is no POP: of its answer to a ping, it is no JSON"),
        (exporting(b""), "what it sent is cut off or damaged: it is empty"),
        (exporting(our_export()[:-5]), "what it sent is cut off or damaged"),
        (exporting(our_export().replace(b'{"end":3}', b'{"end":4}')), "`end` does not count 3 entries"),
        (exporting(our_export(kind=ListKind.ALLOW)), "it sent a allowlist"),
        (Upstream(export=b"", trailer=b""), "it answered with nothing"),
        (Upstream(export=gob_of()[:-20], trailer=b""), "what it sent is cut off or damaged"),
        (Upstream(export=b"{", trailer=b""), "what it sent is cut off or damaged"),
        (Upstream(export=gob_of(ListKind.DENY)), "its list is of another type, and ours is a doubtlist"),
        (
            Upstream(export=b"", trailer=encode_response(BootstrapResponse(error=True, error_msg="unknown list"))),
            "it says: unknown list",
        ),
    ],
)
async def test_what_is_not_the_list(script: Script, said: str) -> None:
    async with limited(), serving(script) as server:
        assert said in await failure(server, size_limit=100_000)


async def test_a_server_that_dawdles_has_a_deadline() -> None:
    async with limited(), serving(ours_with(slow)) as server, serving(ours) as second:
        assert "it was not done within 0.3 s" in await failure(server, deadline=0.3)
        assert (await bootstrapper(server, second, deadline=2).fetch()).server == second.address


async def test_more_names_than_allowed() -> None:
    async with limited(), serving(ours) as server:
        assert "more than 2 names" in await failure(server, name_limit=2)
    async with limited(), serving(Upstream()) as server:
        assert "2 are allowed" in await failure(server, name_limit=2)


# ------------------------------------------------------------------------------------------------ keys and certificates


async def test_the_key_of_a_file_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "key"
    async with limited(), serving(ours) as server:
        fetcher = bootstrapper(server, key="", key_file=path)
        with pytest.raises(BootstrapFailed, match=r"the key file .*: No such file"):
            await fetcher.fetch()
        path.write_bytes(b"\xff\n")
        with pytest.raises(BootstrapFailed, match="holds no key"):
            await fetcher.fetch()
        assert server.asked == []
        path.write_text(f"{KEY}\n# since May\n")
        assert said(await fetcher.fetch()) == EXPECTED


async def test_what_cannot_be_a_key_is_not_sent() -> None:
    with pytest.raises(BootstrapFailed, match="`bootstrapkey` holds no key"):
        await bootstrapper("127.0.0.1:1", key="a\r\nb").fetch()


async def test_an_empty_key_is_shown_like_any() -> None:
    async with limited(), serving(Upstream(key="")) as server:
        assert said(await bootstrapper(server, key="").fetch()) == EXPECTED
    async with limited(), serving(web_site) as server:
        with pytest.raises(BootstrapFailed, match="it is no POP"):
            await bootstrapper(server, key="").fetch()


def test_a_key_is_in_no_repr() -> None:
    assert KEY not in repr(BootstrapSettings(servers=(), url="", key=KEY))


def served(authority: Authority, name: str = "pop.example", *, required: bool = False) -> ssl.SSLContext:
    pair = authority.issue(name)
    return server_context(
        certificate=pair.certificate,
        key=pair.key,
        client_ca=authority.ca if required else None,
        require_client_certificate=required,
    )


async def test_both_sides_show_certificates(authority: Authority) -> None:
    ours_too = authority.issue("client.example")
    async with limited(), serving(ours, served(authority, required=True)) as server:
        fetcher = bootstrapper(
            server,
            url="https://%s/api/v1",
            ca=authority.ca,
            certificate=ours_too.certificate,
            private_key=ours_too.key,
        )
        assert said(await fetcher.fetch()) == EXPECTED


async def test_a_wrong_certificate_gets_no_key(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with limited(), serving(ours, served(other)) as server:
        text = await failure(server, url="https://%s/api/v1", ca=authority.ca)
        assert "its certificate is not trusted" in text
        assert server.asked == []
        fetcher = bootstrapper(server, url="https://%s/api/v1", ca=authority.ca, verify=False)
        assert said(await fetcher.fetch()) == EXPECTED


async def test_a_certificate_that_is_replaced_counts_from_the_next_attempt(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.ca.read_bytes())
    async with limited(), serving(ours, served(other)) as server:
        fetcher = bootstrapper(server, url="https://%s/api/v1", ca=trusted)
        with pytest.raises(BootstrapFailed):
            await fetcher.fetch()
        trusted.write_bytes(other.ca.read_bytes())
        assert said(await fetcher.fetch()) == EXPECTED


async def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    text = await failure("127.0.0.1:1", url="https://%s/api/v1", ca=tmp_path / "ca.crt")
    assert text.startswith("no bootstrap of the list dns-tapir: the CA certificates")
