"""Five servers as secondaries of one product, each with an address, a key and a way of its own.

Knot, NSD, BIND and the PowerDNS recursor sign; NSD, BIND and unbound come over TLS. Each asks from its own address on
the loopback network, so the product's rules and its counters of refusals tell them apart.
"""

import base64
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.zone
from certificates import Authority
from peers import ZONE, Daemon, Pop, Resolver, free_port, rules_of, wait_until

Content = tuple[int, dict[str, str]]

# Where each asks from, and where it listens. unbound connects from no address in particular, and named listens on those
# that an interface has, which of 127.0.0.0/8 is one.
ADDRESSES: Final = {
    "knot": "127.0.53.1",
    "nsd": "127.0.53.2",
    "bind": "127.0.53.3",
    "pdns": "127.0.53.4",
    "unbound": "127.0.0.1",
}
LISTENS: Final = {**ADDRESSES, "bind": "127.0.0.1"}
OURS: Final = "127.0.53.53"
SIGNS: Final = {"knot": "hmac-sha512", "nsd": "hmac-sha384", "bind": "hmac-sha256", "pdns": "hmac-sha256"}
OVER_TLS: Final = frozenset({"nsd", "bind", "unbound"})
NOTIFIED: Final = frozenset({"knot", "nsd", "bind", "unbound"})
KEYED: Final = frozenset({"knot", "nsd"})
"""told of news by a signed NOTIFY, and answered by the rule of their output alone; the others by `dnsengine.access`"""
SERVER_NAME: Final = "pop.example"


def key_name(tool: str) -> str:
    """What both sides call the key of `tool`."""
    return f"{tool}.key.example"


def secret(seed: int) -> str:
    """A secret in base64; another one for another `seed`."""
    return base64.b64encode(bytes((seed + step) % 256 for step in range(64))).decode()


@attrs.define(kw_only=True)
class SecurePop(Pop):
    """A product that gives the zone to each secondary of `ports` as it is secured, and to us."""

    tls_port: int
    ports: dict[str, int]
    authority: Authority
    own_transfers: int = 0

    @classmethod
    def make(cls, directory: Path, tools: tuple[str, ...]) -> "SecurePop":
        """A product in `directory`, not yet started, for the secondaries `tools`."""
        directory.mkdir()
        pop = cls(
            directory=directory,
            port=free_port(),
            tls_port=free_port(),
            ports={tool: free_port() for tool in tools},
            authority=Authority(directory),
        )
        pair = pop.authority.issue(SERVER_NAME)
        for seed, tool in enumerate(SIGNS):
            pop.write_key(tool, secret(seed))
        pop.extra = {
            "keys": {
                key_name(tool): {"algorithm": algorithm, "secret-file": str(pop.key_file(tool))}
                for tool, algorithm in SIGNS.items()
            },
            "dnsengine": {
                "addresses": [f"127.0.0.1:{pop.port}"],
                "access": [{"from": OURS}, *(rule for tool in tools if tool not in KEYED for rule in pop.rules(tool))],
                "tls": {
                    "addresses": [f"127.0.0.1:{pop.tls_port}"],
                    "certificate": str(pair.certificate),
                    "key": str(pair.key),
                    "require-alpn": False,  # unbound names none
                },
            },
        }
        return pop

    def rules(self, tool: str) -> list[dict[str, Any]]:
        """What `tool` may ask, if no output says it."""
        rule: dict[str, Any] = {"from": ADDRESSES[tool], "tls": tool in OVER_TLS}
        if tool in SIGNS:
            return [{**rule, "key": key_name(tool)}]
        # Whether there is news, unbound asks in clear.
        return [rule, {"from": ADDRESSES[tool], "allow": "soa"}]

    def key_file(self, tool: str) -> Path:
        """Where our side of the key of `tool` is."""
        return self.directory / f"{tool}.key"

    def write_key(self, tool: str, text: str) -> None:
        """Our side of the key of `tool`; counts from the next start or reload."""
        path = self.key_file(tool)
        path.write_text(text)
        path.chmod(0o600)

    def write_config(self) -> None:
        """As `Pop`, with an output for each secondary that listens to NOTIFY."""
        super().write_config()
        outputs = {
            tool: {
                "active": True,
                "name": tool,
                "format": "rpz",
                "downstream": f"{LISTENS[tool]}:{port}",
                **({"key": key_name(tool)} if tool in KEYED else {}),
                **({"tls": True} if tool in KEYED & OVER_TLS else {}),
            }
            for tool, port in self.ports.items()
            if tool in NOTIFIED
        }
        (self.config_dir / "pop-outputs.yaml").write_text(json.dumps({"outputs": outputs}))

    def ask(self, name: str, rdtype: str = "SOA", *, tcp: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(query, "127.0.0.1", port=self.port, timeout=30, source=OURS)

    def axfr(self) -> Content:
        self.own_transfers += 1
        content = transferred("127.0.0.1", self.port)
        assert content is not None
        return content


@attrs.define(kw_only=True)
class Secondary(Resolver):
    """One of the five, running."""

    tool: str
    address: str

    def ask(self, name: str, rdtype: str = "A") -> dns.message.Message:
        """A client's question; SERVFAIL or silence is asked again."""
        query = dns.message.make_query(name, rdtype)

        def answer() -> dns.message.Message | None:
            with contextlib.suppress(dns.exception.Timeout):
                answered = dns.query.udp(query, self.address, port=self.port, timeout=5)
                return answered if answered.rcode() != dns.rcode.SERVFAIL else None
            return None

        found: dns.message.Message = wait_until(answer, what=f"{self.tool} to answer {name} {rdtype}")
        return found


class Starter:
    """Starts secondaries of `pop`, each in a folder of its own below `folder`."""

    def __init__(
        self, folder: Path, daemons: list[Daemon], program: Callable[[str], str], *, internet: int | None
    ) -> None:
        self._folder = folder
        self._daemons = daemons
        self._program = program
        self._internet = internet

    def start(self, pop: SecurePop, tool: str, *, text: str | None = None) -> Secondary:
        """The secondary `tool`, with its key's secret, or with `text` for one."""
        folder = self._folder / tool
        folder.mkdir()
        text = secret(list(SIGNS).index(tool)) if text is None and tool in SIGNS else text
        secondary: Secondary = getattr(self, f"_{tool}")(pop, folder, text)
        return secondary

    def _run(
        self, tool: str, folder: Path, command: list[str], *, port: int,
        read_zone: Callable[[], Content | None],
    ) -> Secondary:  # fmt: skip
        daemon = Daemon.start(tool, command, directory=folder)
        self._daemons.append(daemon)
        return Secondary(
            daemon=daemon, port=port, read_zone=read_zone, tool=tool, address=LISTENS[tool],
        )  # fmt: skip

    def _knot(self, pop: SecurePop, folder: Path, text: str) -> Secondary:
        address, port, key = ADDRESSES["knot"], pop.ports["knot"], key_name("knot")
        (folder / "knot.conf").write_text(
            f'server:\n    rundir: {folder}\n    listen: {address}@{port}\n    identity: ""\n'
            f"    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"
            f"control:\n    listen: {folder}/knot.sock\n"
            f"database:\n    storage: {folder}\n"
            "log:\n  - target: stderr\n    any: info\n"
            f"key:\n  - id: {key}\n    algorithm: {SIGNS['knot']}\n    secret: {text}\n"
            f"remote:\n  - id: pop\n    address: 127.0.0.1@{pop.port}\n    via: {address}\n    key: {key}\n"
            f"acl:\n  - id: pop\n    address: 127.0.0.1\n    key: {key}\n    action: notify\n"
            "  - id: test\n    address: 127.0.0.0/8\n    action: transfer\n"
            f"zone:\n  - domain: {ZONE}.\n    storage: {folder}\n    master: pop\n    acl: [pop, test]\n"
        )
        return self._run(
            "knot", folder, [self._program("knot"), "-c", "knot.conf"], port=port,
            read_zone=lambda: transferred(address, port),
        )  # fmt: skip

    def _nsd(self, pop: SecurePop, folder: Path, text: str) -> Secondary:
        address, port, key = ADDRESSES["nsd"], pop.ports["nsd"], key_name("nsd")
        (folder / "nsd.conf").write_text(
            f'server:\n    ip-address: {address}@{port}\n    server-count: 1\n    username: ""\n    chroot: ""\n'
            f'    database: ""\n    zonesdir: {folder}\n    pidfile: {folder}/nsd.pid\n    verbosity: 3\n'
            f"    xfrdfile: {folder}/xfrd.state\n    xfrdir: {folder}\n    zonelistfile: {folder}/zone.list\n"
            f"    xfrd-reload-timeout: 0\n    tls-cert-bundle: {pop.authority.ca}\n"
            f"remote-control:\n    control-enable: yes\n    control-interface: {folder}/nsd.sock\n"
            f"key:\n    name: {key}\n    algorithm: {SIGNS['nsd']}\n    secret: {text}\n"
            f"tls-auth:\n    name: pop\n    auth-domain-name: {SERVER_NAME}\n"
            f"zone:\n    name: {ZONE}\n    zonefile: {ZONE}.zone\n"
            f"    request-xfr: 127.0.0.1@{pop.tls_port} {key} pop\n    allow-notify: 127.0.0.1 {key}\n"
            f"    outgoing-interface: {address}\n    provide-xfr: 127.0.0.0/8 NOKEY\n"
        )
        return self._run(
            "nsd", folder, [self._program("nsd"), "-d", "-c", "nsd.conf"], port=port,
            read_zone=lambda: transferred(address, port),
        )  # fmt: skip

    def _bind(self, pop: SecurePop, folder: Path, text: str) -> Secondary:
        address, port, key = LISTENS["bind"], pop.ports["bind"], key_name("bind")
        (folder / "named.conf").write_text(
            f'key "{key}" {{ algorithm {SIGNS["bind"]}; secret "{text}"; }};\n'
            f'tls pop {{ ca-file "{pop.authority.ca}"; remote-hostname "{SERVER_NAME}"; }};\n'
            "options {\n"
            f'    directory "{folder}"; pid-file none; session-keyfile none; lock-file none;\n'
            f"    listen-on port {port} {{ {address}; }}; listen-on-v6 {{ none; }};\n"
            f"    recursion yes; allow-query {{ any; }}; forwarders port {self._internet} {{ 127.0.0.1; }};\n"
            "    forward only; dnssec-validation no; empty-zones-enable no; minimal-responses yes;\n"
            f'    response-policy {{ zone "{ZONE}" min-update-interval 1; }} qname-wait-recurse no;\n'
            "};\ncontrols { };\n"
            f'zone "{ZONE}" {{ type secondary; file "dnstapir.zone"; masterfile-format text; notify no;\n'
            f'    primaries {{ 127.0.0.1 port {pop.tls_port} key "{key}" tls pop; }};\n'
            f"    transfer-source {ADDRESSES['bind']};\n"
            "    allow-transfer { 127.0.0.0/8; }; allow-notify { 127.0.0.1; }; };\n"
        )
        return self._run(
            "bind", folder, [self._program("bind"), "-g", "-c", "named.conf", "-n", "1", "-U", "1"], port=port,
            read_zone=lambda: transferred(address, port),
        )  # fmt: skip

    def _unbound(self, pop: SecurePop, folder: Path, _text: str | None) -> Secondary:
        address, port, zonefile = ADDRESSES["unbound"], pop.ports["unbound"], folder / "dnstapir.zone"
        (folder / "unbound.conf").write_text(
            f'server:\n    directory: "{folder}"\n    chroot: ""\n    username: ""\n    pidfile: ""\n'
            "    use-syslog: no\n    verbosity: 2\n    num-threads: 1\n    do-not-query-localhost: no\n"
            f"    interface: {address}@{port}\n"
            # What comes over TLS is asked for in clear first, at `port` when the primary's is `tls-port`.
            f"    port: {pop.port}\n    tls-port: {pop.tls_port}\n    tls-cert-bundle: {pop.authority.ca}\n"
            '    access-control: 127.0.0.0/8 allow\n    module-config: "respip validator iterator"\n'
            f'forward-zone:\n    name: "."\n    forward-addr: 127.0.0.1@{self._internet}\n'
            f"rpz:\n    name: {ZONE}\n    primary: 127.0.0.1@{pop.tls_port}#{SERVER_NAME}\n"
            f"    allow-notify: 127.0.0.1\n    zonefile: {zonefile}\n"
            f"remote-control:\n    control-enable: yes\n    control-interface: {folder}/unbound.sock\n"
        )
        return self._run(
            "unbound", folder, [self._program("unbound"), "-d", "-p", "-c", "unbound.conf"], port=port,
            read_zone=lambda: from_file(zonefile),
        )  # fmt: skip

    def _pdns(self, pop: SecurePop, folder: Path, text: str) -> Secondary:
        address, port, dump = ADDRESSES["pdns"], pop.ports["pdns"], folder / "dnstapir.zone"
        (folder / "rpz.lua").write_text(
            f'rpzPrimary("127.0.0.1:{pop.port}", "{ZONE}", {{ refresh = 1, localAddress = "{address}",\n'
            f'    tsigname = "{key_name("pdns")}", tsigalgo = "{SIGNS["pdns"]}", tsigsecret = "{text}",\n'
            f'    dumpFile = "{dump}" }})\n'
        )
        settings = {
            "config-dir": folder, "socket-dir": folder, "lua-config-file": folder / "rpz.lua", "write-pid": "no",
            "local-address": address, "local-port": port, "allow-from": "127.0.0.0/8", "dont-query": "",
            "forward-zones-recurse": f".=127.0.0.1:{self._internet}", "dnssec": "off", "threads": 1,
            "distributor-threads": 0,
            "packetcache-ttl": 0, "disable-packetcache": "yes", "security-poll-suffix": "", "daemon": "no",
            "disable-syslog": "yes", "loglevel": 6, "hint-file": "no", "max-cache-ttl": 15,
        }  # fmt: skip
        command = [self._program("pdns-recursor"), *(f"--{key}={value}" for key, value in settings.items())]
        return self._run("pdns", folder, command, port=port, read_zone=lambda: from_file(dump))


def transferred(address: str, port: int) -> Content | None:
    """What the server at `address` gives in a full transfer, or None while it gives nothing."""
    try:
        messages = dns.query.xfr(address, f"{ZONE}.", port=port, timeout=30, lifetime=60, relativize=False, source=OURS)
        return rules_of(dns.zone.from_xfr(messages, relativize=False))
    except (OSError, dns.exception.DNSException):
        return None


def from_file(path: Path) -> Content | None:
    """What a zone file holds, or None while there is none, or half of one."""
    try:
        return rules_of(dns.zone.from_file(str(path), origin=f"{ZONE}.", relativize=False, check_origin=False))
    except (OSError, dns.exception.DNSException):
        return None
