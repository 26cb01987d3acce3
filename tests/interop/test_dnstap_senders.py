"""unbound and BIND as senders: however they may be told to connect, each answer of theirs comes in as a frame."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest
import trio
import trio.testing
from certificates import Authority
from peers import Daemon, wait_until

from tapir.codec.framestream import Ending
from tapir.model.blocks import FrameBlock
from tapir.transport.framelisteners import FrameListener, listen_tcp, listen_unix
from tapir.transport.frameserver import Listeners
from tapir.transport.framestream import FrameStreamSettings
from tapir.transport.tls import server_context

QUESTIONS: Final = 500

NAME: Final = re.compile(rb"name\d+\x07example")
UNBOUND: Final = """
server:
    interface: 127.0.0.1@{port}
    do-daemonize: no
    use-syslog: no
    username: ""
    chroot: ""
    directory: "{directory}"
    pidfile: ""
    local-zone: "example." redirect
    local-data: "example. A 192.0.2.1"
remote-control:
    control-enable: no
dnstap:
    dnstap-enable: yes
    dnstap-log-client-response-messages: yes
    {output}
"""
BIND: Final = """
options {{
    directory "{directory}";
    pid-file none;
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnstap {{ client response; }};
    dnstap-output {output};
}};
controls {{ }};
zone "example" {{ type primary; file "zone"; }};
"""
ZONE: Final = """$TTL 60
@ SOA a. b. 1 60 60 60 60
@ NS a.
* A 192.0.2.1
"""


def ask(port: int) -> None:
    """QUESTIONS questions, each with its answer."""
    for number in range(QUESTIONS):
        query = dns.message.make_query(f"name{number}.example.", "A")
        assert dns.query.udp(query, "127.0.0.1", port=port, timeout=20).rcode() == dns.rcode.NOERROR


def answers(port: int) -> bool:
    try:
        dns.query.udp(dns.message.make_query("up.example.", "A"), "127.0.0.1", port=port, timeout=0.2)
    except (dns.exception.Timeout, OSError):
        return False
    return True


async def receive_from(listener: FrameListener, start: Callable[[], Daemon], port: int) -> Listeners:
    """Serve while the sender runs, asks and stops; the names that were asked must all be in what came."""
    received: list[bytes] = []
    names = set()

    async def deliver(block: FrameBlock) -> None:
        await trio.lowlevel.checkpoint()
        received.extend(block)
        names.update([match[0] for frame in block if (match := NAME.search(frame))])

    serving = Listeners([listener], deliver, FrameStreamSettings())
    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving.serve)
            daemon = await trio.to_thread.run_sync(start)
            await trio.to_thread.run_sync(
                functools.partial(wait_until, functools.partial(answers, port), what="an answer")
            )
            # What is asked before its stream is open, a server may drop.
            while not serving.statistics().control_frames:
                await trio.testing.wait_all_tasks_blocked(0.01)
            await trio.to_thread.run_sync(ask, port)
            # What it has not written yet, unbound drops when it stops. Names are counted and not frames, some of which
            # are of what it was asked before.
            while len(names) < QUESTIONS:
                await trio.testing.wait_all_tasks_blocked(0.01)
            await trio.to_thread.run_sync(daemon.stop)
            while serving.statistics().open:
                await trio.testing.wait_all_tasks_blocked(0.01)
            serving.stop()
    assert names == {f"name{number}\x07example".encode() for number in range(QUESTIONS)}
    assert QUESTIONS <= len(received) < QUESTIONS + 100
    return serving


@pytest.mark.parametrize("bidirectional", ["yes", "no"])
@pytest.mark.parametrize("how", ["unix", "tcp", "tls"])
async def test_unbound(
    how: str,
    bidirectional: str,
    tmp_path: Path,
    require_peer: Callable[[str], str],
    free_port: Callable[[], int],
    daemons: list[Daemon],
) -> None:
    program, port = require_peer("unbound"), free_port()
    if how == "unix":
        listener = listen_unix(tmp_path / "sock")
        output = f'dnstap-socket-path: "{tmp_path}/sock"'
    elif how == "tcp":
        listener = listen_tcp(("127.0.0.1", 0))
        output = f'dnstap-ip: "127.0.0.1@{listener.address[1]}"\n    dnstap-tls: no'
    else:
        authority = Authority(tmp_path)
        ours, theirs = authority.issue("edm.example"), authority.issue("resolver.example")
        context = server_context(
            certificate=ours.certificate,
            key=ours.key,
            client_ca=authority.ca,
            require_client_certificate=True,
            # unbound (1.17.1, and later ones by their source) looks by a recv() below TLS whether its connection is
            # closed: tickets that are there by then it throws away, cannot decrypt our ACCEPT, and begins anew.
            tickets=False,
        )
        listener = listen_tcp(("127.0.0.1", 0), tls=context)
        output = (
            f'dnstap-ip: "127.0.0.1@{listener.address[1]}"\n    dnstap-tls: yes\n'
            f'    dnstap-tls-server-name: "edm.example"\n    dnstap-tls-cert-bundle: "{authority.ca}"\n'
            f'    dnstap-tls-client-key-file: "{theirs.key}"\n    dnstap-tls-client-cert-file: "{theirs.certificate}"'
        )
    output += f"\n    dnstap-bidirectional: {bidirectional}"
    (tmp_path / "unbound.conf").write_text(UNBOUND.format(port=port, directory=tmp_path, output=output))

    def start() -> Daemon:
        daemon = Daemon.start("unbound", [program, "-d", "-c", "unbound.conf"], directory=tmp_path)
        daemons.append(daemon)
        return daemon

    serving = await receive_from(listener, start, port)
    assert serving.statistics().ended == {Ending.STOPPED: 1}
    assert serving.statistics().control_frames == {"yes": 3, "no": 2}[bidirectional]


async def test_bind(
    tmp_path: Path,
    require_peer: Callable[[str], str],
    free_port: Callable[[], int],
    daemons: list[Daemon],
) -> None:
    program, port = require_peer("bind"), free_port()
    (tmp_path / "zone").write_text(ZONE)
    output = f'unix "{tmp_path}/sock"'
    (tmp_path / "named.conf").write_text(BIND.format(port=port, directory=tmp_path, output=output))

    def start() -> Daemon:
        daemon = Daemon.start("named", [program, "-g", "-c", "named.conf"], directory=tmp_path)
        daemons.append(daemon)
        return daemon

    serving = await receive_from(listen_unix(tmp_path / "sock"), start, port)
    assert serving.statistics().ended == {Ending.STOPPED: 1}
