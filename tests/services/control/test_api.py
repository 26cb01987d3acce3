import logging
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path

import attrs
import httpx
import pytest
import trio
from api_pop import KEY, ApiPop, Parts, api_pop
from certificates import Authority
from go_client import GoCli

from tapir.model.messages.control import ApiStatus, GetApi
from tapir.services.control import api_listeners
from tapir.services.control.api import ApiSettings, ConfigureApi
from tapir.services.control.api_desk import ApiKey
from tapir.services.control.api_listeners import Endpoint, TlsFiles
from tapir.transport.http.server import listen

PLAIN = Endpoint(host="127.0.0.1", port=0, surface="api")
BOOT = Endpoint(host="127.0.0.1", port=0, surface="bootstrap")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.01)


async def status_when(pop: ApiPop, condition: Callable[[ApiStatus], object]) -> ApiStatus:
    """The status, once it is as wanted."""
    while True:
        status: ApiStatus = await pop.system.ref("api").ask(GetApi())
        if condition(status):
            return status
        await trio.sleep(0.01)


async def test_the_bootstrap_server_has_two_paths_and_nothing_else():
    settings = ApiSettings(key=ApiKey(KEY), endpoints=(PLAIN, BOOT))
    async with api_pop(settings) as pop, httpx.AsyncClient(base_url=pop.urls[1]) as client:
        assert "pings: 1" in await GoCli(client, KEY).ping()
        headers = {"X-API-Key": KEY}
        assert (await client.post("/api/v1/bootstrap", headers=headers, content=b"{}")).status_code == 200
        for path in ("/api/v1/command", "/api/v1/debug", "/api/v2/status", "/healthz", "/metrics", "/"):
            assert (await client.post(path, headers=headers, content=b"{}")).status_code == 404
            assert (await client.get(path, headers=headers)).status_code == 404


async def test_an_address_that_is_taken_is_tried_again_and_the_others_are_served(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(api_listeners, "_FIRST_WAIT", 0.05)
    caplog.set_level(logging.INFO)
    taken = listen("127.0.0.1", 0)
    port = taken.socket.getsockname()[1]
    settings = ApiSettings(
        key=ApiKey(KEY), endpoints=(PLAIN, Endpoint(host="127.0.0.1", port=port, surface="bootstrap"))
    )
    async with api_pop(settings) as pop, pop.client() as client:
        ref = pop.system.ref("api")
        status: ApiStatus = await ref.ask(GetApi())
        assert [each.listening for each in status.listeners] == [True, False]
        assert status.listeners[1].error == "Address already in use"
        assert (await client.get("/healthz")).status_code == 200
        await trio.sleep(0.3)
        said = [record for record in caplog.records if "cannot listen" in record.message]
        assert len(said) == 1
        assert "DNS goes on" in said[0].message
        await taken.aclose()
        status = await status_when(pop, lambda status: status.listeners[1].listening)
        assert "is listened on again" in caplog.text
        assert status.listeners[1].error == ""


async def test_a_reload_changes_key_and_addresses():
    settings = ApiSettings(key=ApiKey(KEY), endpoints=(PLAIN, BOOT))
    async with api_pop(settings) as pop, pop.client() as client:
        ref = pop.system.ref("api")
        await ref.tell(ConfigureApi(settings=attrs.evolve(settings, key=ApiKey("another"), endpoints=(PLAIN,))))
        status: ApiStatus = await ref.ask(GetApi())
        assert [each.surface for each in status.listeners] == ["api"]
        answer = await client.get("/api/v2/zone", headers={"X-API-Key": KEY})
        assert answer.status_code == 401
        assert (await client.get("/api/v2/zone", headers={"X-API-Key": "another"})).status_code == 200
        with pytest.raises(httpx.ConnectError):
            await httpx.AsyncClient().get(pop.urls[1])


async def test_tls_follows_its_files(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    authority = Authority(tmp_path)
    first, second = authority.issue("localhost", file="first"), authority.issue("localhost", file="second")
    client_pair = authority.issue("node.example")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    endpoint = Endpoint(host="127.0.0.1", port=0, surface="api", tls=True)
    settings = ApiSettings(
        key=ApiKey(KEY),
        endpoints=(PLAIN, endpoint),
        tls=TlsFiles(certificate=certificate, key=key, client_ca=authority.ca),
        interval=0.05,
    )
    async with api_pop(settings) as pop:
        ref = pop.system.ref("api")
        assert "tls.crt" in (await ref.ask(GetApi())).certificate_error
        shutil.copy(first.key, key)
        shutil.copy(first.certificate, certificate)
        status = await status_when(pop, lambda now: not now.certificate_error and now.listeners[1].listening)
        port = int(status.listeners[1].address.rpartition(":")[2])
        shown = await serial_shown(port, authority)
        trusting = ssl.create_default_context(cafile=str(authority.ca))
        async with httpx.AsyncClient(verify=trusting, base_url=f"https://localhost:{port}") as client:
            assert "TLS pong" in await GoCli(client, KEY).ping()
        trusting.load_cert_chain(client_pair.certificate, client_pair.key)
        async with httpx.AsyncClient(verify=trusting, base_url=f"https://localhost:{port}") as client:
            assert "TLS pong" in await GoCli(client, KEY).ping()
        certificate.write_text("broken")
        await until(lambda: "the one before stays in use" in caplog.text)
        assert await serial_shown(port, authority) == shown
        shutil.copy(second.key, key)
        shutil.copy(second.certificate, certificate)
        await until(lambda: caplog.text.count("was read anew") == 1)
        assert await serial_shown(port, authority) != shown


async def serial_shown(port: int, authority: Authority) -> str:
    """The serial number of the certificate that is shown."""
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    stream = await trio.open_ssl_over_tcp_stream("localhost", port, ssl_context=trusting, https_compatible=True)
    async with stream:
        await stream.do_handshake()
        certificate = stream.getpeercert()
        assert certificate
        return str(certificate["serialNumber"])


async def test_a_client_certificate_of_somebody_else_is_refused(tmp_path: Path):
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    pair, stranger = authority.issue("localhost"), other.issue("stranger")
    endpoint = Endpoint(host="127.0.0.1", port=0, surface="api", tls=True)
    tls = TlsFiles(certificate=pair.certificate, key=pair.key, client_ca=authority.ca)
    async with api_pop(ApiSettings(key=ApiKey(KEY), endpoints=(endpoint,), tls=tls)) as pop:
        trusting = ssl.create_default_context(cafile=str(authority.ca))
        trusting.load_cert_chain(stranger.certificate, stranger.key)
        url = pop.urls[0].replace("127.0.0.1", "localhost")
        async with httpx.AsyncClient(verify=trusting) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(f"{url}/healthz")
        status = await status_when(pop, lambda now: "no-tls" in dict(now.counters))
        assert dict(status.counters)["requests"] == 0


async def test_no_key_and_no_client_is_in_any_log_or_repr(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger="")
    settings = ApiSettings(key=ApiKey(KEY), endpoints=(PLAIN,))
    async with api_pop(settings) as pop:
        async with pop.client() as client:
            await GoCli(client, KEY).status()
            await client.get("/api/v2/status", headers={"X-API-Key": KEY})
            await client.get("/nowhere")
        port = int(pop.urls[0].rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"\x00\x01\x02\r\n\r\n")
            await stream.receive_some()
    ours = [record for record in caplog.records if record.name.startswith(("tapir", "actors", "hypercorn"))]
    text = "\n".join(record.getMessage() for record in ours)
    assert KEY not in text
    assert "127.0.0.1" not in text
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("key", "shown", "admitted"),
    [("a", "a", True), ("a", "b", False), ("a", "", False), ("a", None, False), ("", "x", True), ("", None, False)],
)
def test_who_a_key_admits(key: str, shown: str | None, admitted: bool):
    assert ApiKey(key).admits(shown) is admitted


async def test_a_key_of_other_letters_is_shown_in_utf_8():
    endpoint = Endpoint(host="127.0.0.1", port=0, surface="api")
    async with api_pop(ApiSettings(key=ApiKey("nyckel-ö"), endpoints=(endpoint,))) as pop, pop.client() as client:
        for shown, status in (("nyckel-ö".encode(), 200), (b"nyckel-\xf6", 404)):
            answer = await client.post("/api/v1/ping", headers={b"X-API-Key": shown}, content=b"{}")
            assert answer.status_code == status


async def test_an_actor_that_dies_takes_its_listeners_along_and_comes_back(free_port: Callable[[], int]):
    endpoint = Endpoint(host="127.0.0.1", port=free_port(), surface="api")
    async with api_pop(ApiSettings(key=ApiKey(KEY), endpoints=(endpoint,))) as pop:
        ref = pop.system.ref("api")
        await ref.tell(ConfigureApi(settings=None))  # type: ignore[arg-type]
        await until(lambda: pop.system.statistics().find("api").restarts == 1)
        status: ApiStatus = await ref.ask(GetApi())
        assert status.listeners[0].listening
        async with pop.client() as client:
            assert (await client.get("/healthz")).status_code == 200


async def test_the_stop_lets_an_answer_be_written():
    parts = Parts()
    async with api_pop(parts=parts) as pop, pop.client() as client, trio.open_nursery() as nursery:
        answers: list[int] = []

        async def ask() -> None:
            answers.append((await client.get("/readyz")).status_code)

        nursery.start_soon(ask)
        await until(lambda: bool(parts.heard))
        pop.system.request_stop()
    assert answers in ([200], [503])
