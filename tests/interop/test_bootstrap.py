"""POPs that begin with what others hold: from the existing one, from one of ours, and from nobody who should not."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from certificates import Authority, Pair
from peers import Pop, free_port, wait_until

from tapir.codec.gob import decode_list, encode_list, export_list, import_list
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.names import Name, format_name, parse_name

KEY = "key-of-the-bootstrap-servers"
ENOUGH_TAGS = 0b111
HOUR = 3600 * 1_000_000
NAMES = {f"bad{number}.example." for number in range(200)}


def gob() -> bytes:
    """The list as the existing POP has it; one name has ended."""
    now = time.time_ns() // 1000
    observations = [(parse_name(name), ENOUGH_TAGS, now - HOUR, now + HOUR) for name in sorted(NAMES)]
    observations.append((parse_name("ended.example."), ENOUGH_TAGS, now - 2 * HOUR, now - HOUR))
    return encode_list(export_list(ObservationBlock.of(observations), source="dns-tapir", kind=ListKind.DOUBT))


class Upstream(BaseHTTPRequestHandler):
    """The existing POP's bootstrap server: no status worth the name, gob, and JSON behind it."""

    protocol_version = "HTTP/1.1"
    cut = 0
    """octets that an export lacks at its end"""

    def do_POST(self) -> None:
        post = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["X-API-Key"] != KEY or self.path not in ("/api/v1/ping", "/api/v1/bootstrap"):
            self._answer(b"404 page not found\n", status=404)
        elif self.path == "/api/v1/ping":
            self._answer(b'{"Time":"2025-03-01T12:00:00Z","Msg":"pong","Pings":1,"Pongs":1}\n')
        elif post["Command"] != "export-doubtlist" or post["ListName"] != "dns-tapir":
            self._answer(b"")
        elif post["Encoding"] != "gob":
            self._answer(b'{"Time":"0001-01-01T00:00:00Z","Error":true,"ErrorMsg":"unknown encoding"}\n')
        else:
            octets = gob()
            self._answer(octets[: len(octets) - self.cut] + b'{"Error":false}\n' * (not self.cut))

    def _answer(self, body: bytes, *, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def upstream(pair: Pair, *, cut: int = 0) -> Iterator[str]:
    """Where the existing POP listens, over TLS."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Cut", (Upstream,), {"cut": cut}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("pop.example")


@pytest.fixture
def make(make_pop: Callable[..., Pop], authority: Authority, pair: Pair, tmp_path: Path) -> Callable[..., Pop]:
    """Makes a product that bootstraps from `server`, and serves others; its broker never answers."""
    keystore = tmp_path / "keys.json"
    keystore.write_text('{"keys":[]}')

    def make(server: str, **keys: Any) -> Pop:
        pop: Pop = make_pop(
            extra={
                "apiserver": {"active": True, "name": "api", "key": KEY, "addresses": [], "tlsaddresses": []},
                "bootstrapserver": {
                    "active": True,
                    "name": "boot",
                    "addresses": [],
                    "tlsaddresses": [f"127.0.0.1:{free_port()}"],
                },
                "keystore": {"path": str(keystore)},
                "tapir": {"mqtt": {"server": "mqtt://127.0.0.1:1"}},
                "certs": {
                    "cacertfile": str(authority.ca),
                    "tapir-pop": {"cert": str(pair.certificate), "key": str(pair.key)},
                },
            }
        )
        pop.sources["core"] = {
            "active": True,
            "name": "dns-tapir",
            "description": "observations",
            "type": "doubtlist",
            "source": "mqtt",
            "format": "tapir-msg-v1",
            "topic": "observations/down/tapir-pop",
            "bootstrap": [server],
            "bootstrapurl": "https://%s/api/v1",
            "bootstrapkey": KEY,
            **keys,
        }
        return pop

    return make


def serves(pop: Pop, names: set[str]) -> Callable[[], bool]:
    return lambda: pop.serial() is not None and pop.axfr()[1].keys() == names


def bootstrap_address(pop: Pop) -> str:
    address: str = pop.extra["bootstrapserver"]["tlsaddresses"][0]
    return address


def test_a_pop_begins_with_an_existing_one_and_the_next_with_it(
    make: Callable[..., Pop], pair: Pair, authority: Authority
) -> None:
    with upstream(pair) as server:
        first = make(server)
        first.start()
        wait_until(serves(first, NAMES), what="the first to have what the existing one holds")
    second = make(bootstrap_address(first))
    second.start()
    wait_until(serves(second, NAMES), what="the second to have what the first one holds")
    assert second.daemon is not None
    assert "(export)" in second.daemon.output()
    # A POP of yesterday reads it as well, and learns no secret.
    body = ask(bootstrap_address(second), authority)
    value, rest = decode_list(body)
    assert {format_name(Name(name)) for name, *_ in import_list(value).observations} == NAMES
    assert json.loads(rest)["Error"] is False
    assert KEY.encode() not in body
    assert bootstrap_address(first).encode() not in body


def ask(address: str, authority: Authority) -> bytes:
    post = {"Command": "export-doubtlist", "ListName": "dns-tapir", "Encoding": "gob"}
    request = Request(
        f"https://{address}/api/v1/bootstrap",
        data=json.dumps(post).encode(),
        headers={"X-API-Key": KEY, "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=30, context=ssl.create_default_context(cafile=str(authority.ca))) as response:  # noqa: S310
        assert response.headers["Content-Type"] == "application/octet-stream"
        body: bytes = response.read()
    return body


def test_what_goes_wrong_leaves_the_old_list(
    make: Callable[..., Pop], pair: Pair, authority: Authority, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    stranger = Authority(other, "stranger").issue("pop.example")
    with upstream(pair) as server:
        pop = make(server)
        pop.start()
        wait_until(serves(pop, NAMES), what="the list")
        serial = pop.serial()

        def again(told: str, **keys: Any) -> None:
            """Restart with other keys of the source: it says `told`, and serves what it served."""
            assert pop.stop() == 0
            assert pop.daemon is not None
            before = len(pop.daemon.output())
            held = dict(pop.sources["core"])
            pop.sources["core"].update(keys)
            pop.start()
            daemon = pop.daemon
            wait_until(lambda: told in daemon.output()[before:], what=f"`{told}` in the log")
            assert serves(pop, NAMES)()
            assert pop.serial() == serial
            assert KEY not in daemon.output()
            pop.sources["core"] = held

        again("it refuses the key, or is no POP (404)", bootstrapkey="another-key-altogether")
        with upstream(stranger) as untrusted:
            again("its certificate is not trusted", bootstrap=[untrusted])
        with upstream(pair, cut=500) as cutting:
            again("what it sent is cut off or damaged", bootstrap=[cutting])
        again("no connection", bootstrap=["127.0.0.1:1"])


def test_a_wrong_key_learns_nothing(make: Callable[..., Pop], pair: Pair, authority: Authority) -> None:
    with upstream(pair) as server:
        pop = make(server)
        pop.start()
        wait_until(serves(pop, NAMES), what="the list")
    url = f"https://{bootstrap_address(pop)}/api/v1/bootstrap"
    for headers in ({}, {"X-API-Key": "guess"}):
        with pytest.raises(URLError, match="404"):
            urlopen(
                Request(url, data=b"{}", headers=headers),
                timeout=30,
                context=ssl.create_default_context(cafile=str(authority.ca)),
            )
