"""A product that takes feeds, as an operator configures it; what it says of them; and one who asks it all the while."""

import json
import subprocess
import sys
from typing import Any, Final

import attrs
import dns.message
from peers import ZONE, Pop, wait_until
from primaries import FEED, KEY_NAME, SECRET_TEXT, SERVER_NAME, Primary

_ASKER: Final = """
import json, socket, sys, threading, time
query, port = bytes.fromhex(sys.argv[1]), int(sys.argv[2])
stop, took, lost = threading.Event(), [], 0
threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
    asker.connect(("127.0.0.1", port))
    asker.settimeout(2)
    while not stop.wait(0.005):
        begun = time.perf_counter()
        try:
            asker.send(query)
            asker.recv(4096)
            took.append(time.perf_counter() - begun)
        except OSError:
            lost += 1
print(json.dumps([took, lost]))
"""


@attrs.define(kw_only=True)
class FeedPop(Pop):
    """A product with feeds among its sources."""

    def make_key(self) -> str:
        """Have the primaries' key in the configuration; what it is called."""
        file = self.directory / "feed.key"
        file.write_text(SECRET_TEXT)
        file.chmod(0o600)
        self.extra["keys"] = {KEY_NAME: {"algorithm": "hmac-sha256", "secret-file": str(file)}}
        return KEY_NAME

    def add_feed(self, source: str, kind: str, primary: Primary, *, tls: bool = False, **keys: Any) -> None:
        """The feed that `primary` gives, signed, and over TLS where that is wanted."""
        if tls:
            # NSD 4.6 takes whatever is offered without naming it.
            secured = {
                "hostname": SERVER_NAME,
                "ca": str(primary.folder / "ca.pem"),
                "require-alpn": primary.tool == "bind",
            }
            keys = {"tls": secured, **keys}
        port = primary.tls_port if tls else primary.port
        assert port is not None
        self.add_plain_feed(source, kind, FEED, port, **{"tsig-key": self.make_key(), **keys})

    def add_plain_feed(self, source: str, kind: str, zone: str, port: int, **keys: Any) -> None:
        """The feed `zone` of a primary at `port`, in clear."""
        self.sources[source] = {
            "active": True,
            "name": source,
            "description": source,
            "type": kind,
            "source": "xfr",
            "format": "rpz",
            "zone": f"{zone}.",
            "upstream": f"127.0.0.1:{port}",
            **keys,
        }

    def loosen(self) -> None:
        """However much of the zone changes at once, nobody is asked; of a source, that is its own `brake`."""
        self.extra["services"] = {
            "rpz": {
                "zonename": f"{ZONE}.",
                "serialcache": str(self.directory / "rpz-serial.yaml"),
                "brake": {"minimum": 1_000_000_000},
            },
            "reaper": {"interval": 60},
            "refreshengine": {"active": True},
        }

    def answers(self) -> bool:
        """Whether the console does."""
        return self.command("status", "--json", check=False).returncode == 0

    def feed(self, source: str) -> dict[str, Any]:
        """How the feed `source` stands."""

        def said() -> dict[str, Any] | None:
            found: dict[str, Any] = json.loads(self.command("sources", "--json").stdout)["details"][source]
            # It is waited for a second; what is late, as on a busy machine it may be, is asked again.
            return found if found.keys() != {"error"} else None

        document: dict[str, Any] = wait_until(said, what=f"the feed {source} to say how it stands")
        return document

    def serial_of(self, source: str) -> int | None:
        """The serial that we have of the feed."""
        serial: int | None = self.feed(source)["serial"]
        return serial

    def counters_of(self, source: str) -> dict[str, int]:
        """What was counted of the feed."""
        return dict(self.feed(source)["counters"])


@attrs.define
class Asker:
    """Asks for our SOA every few milliseconds, in a process of its own; how long each answer took, and those lost."""

    port: int
    took: list[float] = attrs.field(factory=list)
    lost: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Asker":
        query = dns.message.make_query(f"{ZONE}.", "SOA").to_wire()
        command = [sys.executable, "-c", _ASKER, query.hex(), str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self.took, self.lost = json.loads(self._process.communicate(timeout=60)[0])
