"""One POST over sockets of 127.0.0.1, against receivers that misbehave; nothing takes a second."""

import json
import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio
from certificates import Authority
from http_servers import Exchange, Script, serving

from tapir.codec.aggregates import NoReceipt, Receipt, Refusal
from tapir.services.uplink.aggregates_post import AggregateSettings, FileUnusable, NotReady, Parcel, post, prepare
from tapir.store.parquetfiles import ParquetFiles, Retention, StoredFile
from tapir.transport.http.client import HttpFailed, NoConnection
from tapir.transport.tls import server_context

NOON = 1_780_000_020_000_000
PATH = "/api/v1/aggregate/histogram"
ID = "0123456789abcdef01234567"
# The key of RFC 8037, appendix A.1.
KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "kid": "edge.example",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def settings_for(folder: Path, url: str, **changes: Any) -> AggregateSettings:
    key = folder / "key.json"
    key.write_text(json.dumps(KEY))
    settings = AggregateSettings(
        enabled=True,
        data_dir=folder,
        url=url,
        signing_key=key,
        client_certificate=None,
        client_key=None,
        ca=None,
        keep_sent=Retention(),
        agent="edm/1 linux/amd64",
        connect=5,
        patience=5,
    )
    return attrs.evolve(settings, **changes)


def stored(folder: Path, body: bytes = b"PAR1") -> StoredFile:
    files = ParquetFiles(folder / "parquet")
    files.write_histogram([body], start=NOON, stop=NOON + 60_000_000)
    return files.waiting()[0]


def prepared(settings: AggregateSettings, file: StoredFile) -> Parcel:
    parcel = prepare(settings, file, NOON)
    assert parcel is not None
    return parcel


async def try_with(folder: Path, script: Script, body: bytes = b"PAR1", **changes: Any) -> Receipt | NoReceipt:
    with trio.fail_after(20):
        async with serving(script) as server:
            settings = settings_for(folder, f"http://{server.address}{PATH}", **changes)
            try:
                return await post(prepared(settings, stored(folder, body)))
            except HttpFailed as exc:
                failure = exc
    raise failure


async def test_a_file_is_posted_as_it_is(tmp_path: Path) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(201, head=f"Location: /api/v1/aggregates/{ID}\r\n")

    body = os.urandom(300_000)
    async with serving(script) as server:
        settings = settings_for(tmp_path, f"http://{server.address}{PATH}")
        receipt = await post(prepared(settings, stored(tmp_path, body)))
    assert receipt == Receipt(location=f"http://{server.address}/api/v1/aggregates/{ID}", aggregate_id=ID)
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.body) == ("POST", PATH, body)
    assert asked.headers["content-length"] == "300000"
    assert "transfer-encoding" not in asked.headers
    assert "expect" not in asked.headers
    assert asked.headers["user-agent"] == "edm/1 linux/amd64"
    assert asked.headers["host"] == server.address
    assert {"content-digest", "signature", "signature-input", "aggregate-interval"} <= asked.headers.keys()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("", Receipt(location="", aggregate_id=None)),
        ("Location: http://[\r\n", NoReceipt(refusal=Refusal.BAD_LOCATION, status=201)),
    ],
)
async def test_where_it_is_may_be_missing_and_not_be_nonsense(tmp_path: Path, head: str, expected: object) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(201, head=head)

    assert await try_with(tmp_path, script) == expected


@pytest.mark.parametrize(
    ("status", "refusal"), [(401, Refusal.UNAUTHORISED), (422, Refusal.REJECTED), (500, Refusal.SERVER_ERROR)]
)
async def test_who_says_no_before_all_of_a_large_file_came_is_heard(
    tmp_path: Path, status: int, refusal: Refusal
) -> None:
    """As proxies do: they answer at the head, take no more, and close."""

    async def serve(stream: trio.SocketStream) -> None:
        octets = b""
        while b"\r\n\r\n" not in octets:
            octets += await stream.receive_some(4096)
        await stream.send_all(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await stream.send_eof()
        with trio.move_on_after(0.2):
            await trio.sleep_forever()
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, serve, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}{PATH}"
        with trio.fail_after(20):
            try:
                answer: object = await post(prepared(settings_for(tmp_path, url), stored(tmp_path, bytes(32 << 20))))
            except HttpFailed as exc:
                answer = exc
        nursery.cancel_scope.cancel()
    # What the kernel drops with a reset it drops; then it is no answer, which is tried again, too.
    assert answer == NoReceipt(refusal=refusal, status=status) or "broke" in str(answer)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"HTTP/1.1 201",
        b"HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_half_an_answer_is_no_receipt(tmp_path: Path, octets: bytes) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(octets)
        await exchange.stream.aclose()

    with pytest.raises(HttpFailed, match="cut off"):
        await try_with(tmp_path, script)


async def test_who_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    async def script(exchange: Exchange) -> None:
        await trio.sleep_forever()

    with pytest.raises(HttpFailed, match="the answer stalled"):
        await try_with(tmp_path, script, patience=0.1)


async def test_who_reads_nothing_is_not_waited_for(tmp_path: Path) -> None:
    async def hold(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, hold, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}{PATH}"
        with trio.fail_after(20), pytest.raises(HttpFailed, match="stalled"):
            await post(prepared(settings_for(tmp_path, url, patience=0.2), stored(tmp_path, bytes(32 << 20))))
        nursery.cancel_scope.cancel()


async def test_who_answers_a_little_at_a_time_has_an_end(tmp_path: Path) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 201 Created\r\n")
        while True:
            await exchange.send(b"X: y\r\n")
            await trio.sleep(0.02)

    with pytest.raises(HttpFailed, match="it was not done within"):
        await try_with(tmp_path, script, whole=0.2)


async def test_an_answer_without_end_is_cut(tmp_path: Path) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 201 Created\r\nContent-Length: 99999999\r\n\r\n")
        while True:
            await exchange.send(bytes(65536))

    with pytest.raises(HttpFailed, match="larger than"):
        await try_with(tmp_path, script)


async def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(NoConnection, match="no connection"):
        await post(prepared(settings_for(tmp_path, f"http://127.0.0.1:1{PATH}"), stored(tmp_path)))


# ---------------------------------------------------------------------------------------------------------------- TLS


async def test_a_renewed_certificate_is_shown_at_the_next_try(authority: Authority, tmp_path: Path) -> None:
    async def script(exchange: Exchange) -> None:
        assert isinstance(exchange.stream, trio.SSLStream)
        certificate = exchange.stream.getpeercert()
        assert certificate is not None
        shown.append(dict(pair for part in certificate["subject"] for pair in part)["commonName"])
        await exchange.answer(201)

    shown: list[str] = []
    ours, first, second = (authority.issue(name) for name in ("core.example", "first.example", "second.example"))
    context = server_context(
        certificate=ours.certificate, key=ours.key, client_ca=authority.ca, require_client_certificate=True
    )
    crt, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    file = stored(tmp_path)
    async with serving(script, context) as server:
        settings = settings_for(
            tmp_path, f"https://{server.address}{PATH}", ca=authority.ca, client_certificate=crt, client_key=key
        )
        with pytest.raises(NotReady, match=r"tls\.crt"):
            prepare(settings, file, NOON)
        for pair in (first, second):
            shutil.copy(pair.certificate, crt)
            with pytest.raises(NotReady) if key.exists() else pytest.raises(NotReady, match=r"tls\.key"):
                prepare(settings, file, NOON)  # one of the two is not there yet, or still the old one
            shutil.copy(pair.key, key)
            assert isinstance(await post(prepared(settings, file)), Receipt)
        unknown = attrs.evolve(settings, client_certificate=None, client_key=None)
        with pytest.raises(HttpFailed):
            await post(prepared(unknown, file))
    assert shown == ["first.example", "second.example"]


async def test_nothing_is_sent_to_a_server_that_is_not_believed(authority: Authority, tmp_path: Path) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(201)

    other = Authority(tmp_path, "other").issue("core.example")
    context = server_context(certificate=other.certificate, key=other.key)
    async with serving(script, context) as server:
        url = f"https://{server.address}{PATH}"
        for ca in (authority.ca, None):
            with pytest.raises(NoConnection, match="its certificate is not trusted"):
                await post(prepared(settings_for(tmp_path, url, ca=ca), stored(tmp_path)))
    assert server.asked == []


# --------------------------------------------------------------------------------------------------------------- files


def test_a_file_that_is_not_there_any_more(tmp_path: Path) -> None:
    file = stored(tmp_path)
    file.path.unlink()
    assert prepare(settings_for(tmp_path, f"http://core.example{PATH}"), file, NOON) is None


def test_files_that_are_no_histograms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, settings = stored(tmp_path, b""), settings_for(tmp_path, f"http://core.example{PATH}")
    with pytest.raises(FileUnusable, match="has 0 octets"):
        prepare(settings, file, NOON)
    file.path.write_bytes(bytes(101))
    monkeypatch.setattr("tapir.services.uplink.aggregates_post.LARGEST", 100)
    with pytest.raises(FileUnusable, match="has 101 octets"):
        prepare(settings, file, NOON)
    file.path.unlink()
    file.path.symlink_to("/dev/zero")
    with pytest.raises(FileUnusable, match="cannot be read"):
        prepare(settings, file, NOON)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, settings = stored(tmp_path, b""), settings_for(tmp_path, f"http://core.example{PATH}")
    before = SimpleNamespace(st_mode=stat.S_IFREG, st_size=100)
    monkeypatch.setattr(os, "fstat", lambda descriptor: before)
    with pytest.raises(FileUnusable, match="another length"):
        prepare(settings, file, NOON)


def test_nothing_of_the_key_is_shown(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, f"http://core.example{PATH}")
    parcel = prepared(settings, stored(tmp_path))
    assert KEY["d"] not in repr((settings, parcel))
    assert "PAR1" not in repr(parcel)
