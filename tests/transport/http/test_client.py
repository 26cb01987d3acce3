"""The HTTP client against servers that misbehave, over sockets of 127.0.0.1; nothing takes a second."""

import ssl
from pathlib import Path

import pytest
import trio
from certificates import Authority
from http_servers import Exchange, Script, serving

from tapir.transport.http.client import Answer, HttpFailed, NoConnection, https_context, open_client
from tapir.transport.tls import TlsError, server_context

LIMIT = 1000
PATIENCE = 5.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


async def ask(
    url: str,
    *,
    context: ssl.SSLContext | None = None,
    patience: float = PATIENCE,
    connect: float = PATIENCE,
    method: str = "GET",
    content: bytes = b"",
) -> Answer:
    with trio.fail_after(20):
        async with open_client(context or https_context(), patience=patience, connect=connect) as client:
            return await client.ask(
                method, url, limit=LIMIT, content=content, headers={"X-API-Key": "s3cret"} if content else None
            )


async def refusal(script: Script, *, patience: float = PATIENCE) -> str:
    """What is said when `script` answers."""
    async with serving(script) as server:
        with pytest.raises(HttpFailed) as caught:
            await ask(f"http://{server.address}/x", patience=patience)
    return str(caught.value)


async def test_an_answer_of_any_status_comes_back_whole() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(404, b"not here", kind="Text/Plain; charset=utf-8")

    async with serving(script) as server:
        answer = await ask(f"http://{server.address}/x", method="POST", content=b"{}")
    assert (answer.status, answer.content_type, b"".join(answer.body)) == (404, "text/plain", b"not here")
    assert "not here" not in repr(answer)
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/x", b"{}")
    assert asked.headers["x-api-key"] == "s3cret"
    assert asked.headers["accept-encoding"] == "identity"


async def test_an_answer_may_come_in_chunks() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    async with serving(script) as server:
        answer = await ask(f"http://{server.address}/x")
    assert b"".join(answer.body) == b"abcde"


async def test_a_large_body_is_sent_whole_and_with_its_length() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(200)

    body = bytes(range(256)) * 1000
    async with serving(script) as server:
        answer = await ask(f"http://{server.address}/x", method="POST", content=body)
    assert (answer.status, answer.location) == (200, "")
    assert server.asked[0].body == body
    assert server.asked[0].headers["content-length"] == "256000"
    assert "transfer-encoding" not in server.asked[0].headers


async def test_a_body_that_nobody_takes_has_an_end() -> None:
    async def script(exchange: Exchange) -> None:
        await trio.sleep_forever()

    async with serving(script) as server:
        with pytest.raises(HttpFailed, match="the answer stalled"):
            await ask(f"http://{server.address}/x", method="POST", content=bytes(100), patience=0.1)


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(302, head="Location: /elsewhere\r\n")

    async with serving(script) as server:
        answer = await ask(f"http://{server.address}/x")
    assert answer.status == 302
    assert answer.location == "/elsewhere"
    assert server.lines == ["GET /x"]


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"direct")

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    async with serving(script) as server:
        assert (await ask(f"http://{server.address}/x")).body == (b"direct",)


async def test_an_answer_that_declares_too_much_is_not_read() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
        await trio.sleep_forever()

    assert await refusal(script) == "the answer is larger than 1000 octets"


async def test_an_endless_answer_is_cut_at_the_limit() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await exchange.send(b"64\r\n" + b"x" * 100 + b"\r\n")

    assert await refusal(script) == "the answer is larger than 1000 octets"


async def test_a_compressed_answer_is_refused() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"\x1f\x8b", head="Content-Encoding: gzip\r\n")

    assert await refusal(script) == "the answer is compressed, which was not asked for"


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200",
        b"",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
    ],
)
async def test_half_an_answer_is_none(octets: bytes) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(octets)
        await exchange.stream.aclose()

    assert (await refusal(script)).startswith("the answer is cut off, or is no HTTP")


async def test_a_head_without_end_is_refused() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await exchange.send(b"X-More: " + b"x" * 8000 + b"\r\n")

    assert (await refusal(script)).startswith("the answer is cut off, or is no HTTP")


async def test_a_silent_server_is_not_waited_for() -> None:
    async def script(exchange: Exchange) -> None:
        await trio.sleep_forever()

    assert await refusal(script, patience=0.1) == "the answer stalled"


async def test_nobody_listens() -> None:
    with pytest.raises(NoConnection, match="no connection"):
        await ask("http://127.0.0.1:1/x")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "nonsense", "http://[::1/x"])
async def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(HttpFailed, match="cannot be asked"):
        await ask(url)


# ---------------------------------------------------------------------------------------------------------------- TLS


async def hello(exchange: Exchange) -> None:
    await exchange.answer(200, b"hello")


def served(authority: Authority, name: str = "pop.example") -> ssl.SSLContext:
    pair = authority.issue(name)
    return server_context(certificate=pair.certificate, key=pair.key)


async def test_a_server_whose_certificate_is_good_by_its_address(authority: Authority) -> None:
    async with serving(hello, served(authority)) as server:
        answer = await ask(f"https://{server.address}/x", context=https_context(ca=authority.ca))
    assert answer.body == (b"hello",)


async def test_tls_1_2_will_do(authority: Authority) -> None:
    context = served(authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(hello, context) as server:
        assert (await ask(f"https://{server.address}/x", context=https_context(ca=authority.ca))).status == 200


async def test_a_certificate_of_another_authority(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with serving(hello, served(other)) as server:
        with pytest.raises(HttpFailed, match="no connection: its certificate is not trusted"):
            await ask(f"https://{server.address}/x", context=https_context(ca=authority.ca))
        assert server.asked == []
        # Told not to look, it does not.
        assert (await ask(f"https://{server.address}/x", context=https_context(verify=False))).status == 200


async def test_a_certificate_of_another_name(authority: Authority) -> None:
    async with serving(hello, served(authority)) as server:
        port = server.address.rpartition(":")[2]
        with pytest.raises(HttpFailed, match=r"its certificate is not trusted: .*localhost"):
            await ask(f"https://localhost:{port}/x", context=https_context(ca=authority.ca))


async def test_a_server_that_wants_our_certificate(authority: Authority) -> None:
    pair, ours = authority.issue("pop.example"), authority.issue("client.example")
    context = server_context(
        certificate=pair.certificate, key=pair.key, client_ca=authority.ca, require_client_certificate=True
    )
    async with serving(hello, context) as server:
        url = f"https://{server.address}/x"
        shown = https_context(ca=authority.ca, certificate=ours.certificate, key=ours.key)
        assert (await ask(url, context=shown)).status == 200
        with pytest.raises(HttpFailed):
            await ask(url, context=https_context(ca=authority.ca))


async def test_a_server_without_tls(authority: Authority) -> None:
    async with serving(hello) as server:
        with pytest.raises(HttpFailed, match="no connection"):
            await ask(f"https://{server.address}/x", context=https_context(ca=authority.ca), connect=1)


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing of the sort")
    with pytest.raises(TlsError, match=r"ca\.pem"):
        https_context(ca=tmp_path / "ca.pem")
    with pytest.raises(TlsError, match=r"tls\.crt"):
        https_context(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key")
