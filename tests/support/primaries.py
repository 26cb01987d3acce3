"""Knot, BIND and NSD as primaries of a feed: signed, and over TLS where the server can; edited as operators do."""

import base64
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import dns.update
from certificates import Authority
from peers import Daemon, free_port

FEED: Final = "feed.example"
SERVER_NAME: Final = "primary.example"
KEY_NAME: Final = "feed.key.example"
SECRET: Final = bytes(range(32))
SECRET_TEXT: Final = base64.b64encode(SECRET).decode()
TARGETS: Final = {
    "NXDOMAIN": ".",
    "NODATA": "*.",
    "PASSTHRU": "rpz-passthru.",
    "DROP": "rpz-drop.",
    "TCP_ONLY": "rpz-tcp-only.",
}
OTHERS: Final = (
    "32.1.2.0.192.rpz-client-ip CNAME .",
    "24.0.2.0.192.rpz-ip CNAME rpz-drop.",
    "ns.bad.example.rpz-nsdname CNAME .",
    "garden CNAME walled.example.net.",
    "local A 192.0.2.1",
    'local TXT "some text"',
)
"""What POP does not evaluate."""


@attrs.define(kw_only=True)
class Primary:
    """A server that has the feed, and how to change what that says."""

    tool: str
    daemon: Daemon
    folder: Path
    port: int
    tls_port: int | None
    serial: int
    rules: dict[str, str]

    def change(self, rules: Mapping[str, str]) -> None:
        """Let the feed say `rules`, with the next serial."""
        gone = [name for name in self.rules if rules.get(name) != self.rules[name]]
        come = [name for name in rules if rules[name] != self.rules.get(name)]
        self.serial += 1
        if self.tool == "nsd":
            write_zone(self.folder, rules, self.serial)
            self.daemon.process.send_signal(signal.SIGHUP)
        else:
            key = dns.tsig.Key(KEY_NAME, SECRET, "hmac-sha256")
            update = dns.update.UpdateMessage(FEED, keyring=key)
            for name in gone:
                update.delete(name, "CNAME")
            for name in come:
                update.add(name, 60, "CNAME", TARGETS[rules[name]])
            said = dns.query.tcp(update, "127.0.0.1", port=self.port, timeout=10)
            assert said.rcode() == dns.rcode.NOERROR, said
        self.rules = dict(rules)


def write_zone(folder: Path, rules: Mapping[str, str], serial: int) -> None:
    """The zone file of the feed."""
    lines = [
        f"$ORIGIN {FEED}.",
        "$TTL 60",
        f"@ SOA ns hostmaster {serial} 60 20 86400 60",
        "@ NS ns.example.net.",
        *OTHERS,
    ]
    lines += [f"{name} CNAME {TARGETS[action]}" for name, action in rules.items()]
    path = folder / f"{FEED}.zone"
    with path.with_suffix(".new").open("w") as file:
        file.writelines(f"{line}\n" for line in lines)
    path.with_suffix(".new").replace(path)


def start_primary(
    tool: str,
    folder: Path,
    daemons: list[Daemon],
    require_peer: Callable[[str], str],
    rules: Mapping[str, str],
    *,
    downstream: int | None = None,
) -> Primary:
    """The server `tool`, with the feed saying `rules`; it sends a signed NOTIFY of each change to the `downstream`."""
    folder.mkdir()
    port, tls_port = free_port(), free_port()
    write_zone(folder, rules, 1)
    pair = Authority(folder).issue(SERVER_NAME) if tool != "knot" else None
    if tool == "knot":
        (folder / "knot.conf").write_text(
            f'server:\n    rundir: {folder}\n    listen: 127.0.0.1@{port}\n    identity: ""\n'
            "    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"
            f"control:\n    listen: {folder}/knot.sock\ndatabase:\n    storage: {folder}\n"
            "log:\n  - target: stderr\n    any: info\n"
            f"key:\n  - id: {KEY_NAME}\n    algorithm: hmac-sha256\n    secret: {SECRET_TEXT}\n"
            f"remote:\n  - id: down\n    address: 127.0.0.1@{downstream or free_port()}\n    key: {KEY_NAME}\n"
            f"acl:\n  - id: all\n    key: {KEY_NAME}\n    action: [transfer, update]\n"
            f"zone:\n  - domain: {FEED}.\n    storage: {folder}\n    file: {FEED}.zone\n    acl: all\n"
            "    zonefile-load: difference\n    zonefile-sync: -1\n    journal-content: changes\n"
            f"    {'notify: down' if downstream else ''}\n"
        )
        command = [require_peer("knotd"), "-c", "knot.conf"]
    elif tool == "bind":
        assert pair is not None
        (folder / "named.conf").write_text(
            f'key "{KEY_NAME}" {{ algorithm hmac-sha256; secret "{SECRET_TEXT}"; }};\n'
            f'tls ours {{ cert-file "{pair.certificate}"; key-file "{pair.key}"; }};\n'
            "options {\n"
            f'    directory "{folder}"; pid-file none; session-keyfile none; lock-file none;\n'
            f"    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n"
            f"    listen-on port {tls_port} tls ours {{ 127.0.0.1; }};\n"
            "    recursion no; dnssec-validation no; empty-zones-enable no; notify no; max-ixfr-ratio unlimited;\n"
            "};\ncontrols { };\n"
            f'zone "{FEED}" {{ type primary; file "{FEED}.zone"; check-names ignore;\n'
            f'    allow-transfer {{ key "{KEY_NAME}"; }}; allow-update {{ key "{KEY_NAME}"; }};\n'
            f"    notify-delay 0; {'notify explicit;' if downstream else ''}\n"
            f'    also-notify {{ 127.0.0.1 port {downstream or free_port()} key "{KEY_NAME}"; }}; }};\n'
        )
        command = [require_peer("named"), "-g", "-c", "named.conf", "-n", "1", "-U", "1"]
    else:
        assert pair is not None
        (folder / "nsd.conf").write_text(
            f"server:\n    ip-address: 127.0.0.1@{port}\n    ip-address: 127.0.0.1@{tls_port}\n    server-count: 1\n"
            f'    username: ""\n    chroot: ""\n    database: ""\n    zonesdir: {folder}\n'
            f"    pidfile: {folder}/nsd.pid\n    verbosity: 3\n    xfrdfile: {folder}/xfrd.state\n"
            f"    xfrdir: {folder}\n    zonelistfile: {folder}/zone.list\n"
            f"    tls-service-key: {pair.key}\n    tls-service-pem: {pair.certificate}\n    tls-port: {tls_port}\n"
            "remote-control:\n    control-enable: no\n"
            f"key:\n    name: {KEY_NAME}\n    algorithm: hmac-sha256\n    secret: {SECRET_TEXT}\n"
            f"zone:\n    name: {FEED}\n    zonefile: {FEED}.zone\n    provide-xfr: 127.0.0.1 {KEY_NAME}\n"
            "    store-ixfr: yes\n    create-ixfr: yes\n    ixfr-number: 20\n"
            f"    {f'notify: 127.0.0.1@{downstream} {KEY_NAME}' if downstream else ''}\n"
        )
        command = [require_peer("nsd"), "-d", "-c", "nsd.conf"]
    daemon = Daemon.start(tool, command, directory=folder)
    daemons.append(daemon)
    return Primary(
        tool=tool,
        daemon=daemon,
        folder=folder,
        port=port,
        tls_port=tls_port if tool != "knot" else None,
        serial=1,
        rules=dict(rules),
    )
