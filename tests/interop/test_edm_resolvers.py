"""unbound and BIND ask, answer and tell; what comes out is what an oracle makes of the list of questions."""

import io
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
import pytest
from edm import Edm, read_histograms
from edm_core import Core
from edm_resolvers import PROBE, Questions, Tapped, make_questions, start_tapped, world
from peers import free_port, wait_until

from tapir.codec.framestream import DNSTAP

__all__ = ["start_tapped", "world"]

RATE: Final = 4000
"""questions a second: what a resolver cannot hand over in time, it drops"""


def questions_of(campaign: Any, *, refused: bool) -> Questions:
    return make_questions(campaign.rounds(100_000) // (1 if campaign.full else 2), campaign.random(), refused=refused)


@pytest.mark.parametrize(("peer", "how"), [("unbound", "unix"), ("unbound", "tcp"), ("bind", "unix")])
def test_what_a_resolver_answers_is_counted_and_told_once(
    peer: str,
    how: str,
    edm: Edm,
    core: Core,
    start_tapped: Callable[[str, str], Tapped],
    require_peer: Callable[[str], str],
    campaign: Any,
) -> None:
    dnsperf = require_peer("dnsperf")
    questions = questions_of(campaign, refused=peer == "unbound")
    edm.write_well_known(questions.well_known)
    edm.own["new-qname-rate"] = 100_000
    core.serve(edm)
    if how == "tcp":
        port = free_port()
        del edm.keys["input-unix"]
        edm.keys["input-tcp"] = f"127.0.0.1:{port}"
        output = f'dnstap-ip: "127.0.0.1@{port}"\n    dnstap-tls: no'
    else:
        output = f'dnstap-socket-path: "{edm.socket}"' if peer == "unbound" else f'unix "{edm.socket}"'
    edm.start()
    resolver = start_tapped(peer, output)
    wait_until(lambda: resolver.probe() and edm.account().received, what="the first frame")

    edm.wait_young_minute(20 + len(questions.asked) / RATE)
    resolver.ask_all(dnsperf, questions, rate=RATE)

    def arrived() -> bool:
        # How many frames there are is nothing to go by: a probe may be answered after it was given up.
        return edm.account().settled["minimised.histogram"] >= questions.counted and questions.new <= set(core.names())

    wait_until(arrived, what="every answer")
    resolver.daemon.stop()
    account = edm.settled()
    assert account.settled["minimised.histogram"] == questions.counted
    assert account.received == account.total("minimised")
    assert "dns_histogram-" in edm.command("edm", "rotate").stdout
    wait_until(lambda: not edm.files("histograms/outbox"), what="every aggregate to be sent")

    bodies = [io.BytesIO(stored.body) for stored in core.receiver.stored]
    assert read_histograms(bodies) == questions.histogram
    rows = [row for body in bodies for row in pq.read_table(body).to_pylist()]
    assert {(row["v4client_count"], row["v6client_count"]) for row in rows} == {(1, 0)}
    assert {row["edm_status_bits"] for row in rows if row["label1"] != ""} == {1}
    assert {row["edm_status_bits"] for row in rows if row["label1"] == ""} == {2}

    expected = Counter(dict.fromkeys((*questions.new, PROBE), 1))
    wait_until(lambda: core.names().total() >= expected.total(), what="every event")
    assert edm.stop() == 0
    assert core.names() == expected
    assert {event["type"] for event in core.events} == {"new_qname"}


def replay(file: Path, edm: Edm, into: Path) -> dict[str, Counter[str]]:
    """What `tapir edm replay` makes of a file with the configuration of `edm`."""
    edm.write_config()
    words = ["edm", "replay", str(file), "--into", str(into), "--config-dir", str(edm.config_dir)]
    subprocess.run([sys.executable, "-m", "tapir", *words], check=True, capture_output=True, timeout=300)
    return read_histograms(into.rglob("dns_histogram-*.parquet"))


def test_files_of_bind_and_of_fstrm_capture_replay_to_the_same(
    edm: Edm,
    start_tapped: Callable[[str, str], Tapped],
    require_peer: Callable[[str], str],
    campaign: Any,
    tmp_path: Path,
) -> None:
    dnsperf, capture = require_peer("dnsperf"), require_peer("fstrm")
    questions = questions_of(campaign, refused=False)
    edm.write_well_known(questions.well_known)

    written = tmp_path / "bind.fstrm"
    resolver = start_tapped("bind", f'file "{written}"')
    resolver.ask_all(dnsperf, questions, rate=RATE)
    resolver.daemon.stop()

    captured, sock = tmp_path / "captured.fstrm", tmp_path / "capture.sock"
    words = [capture, "-t", DNSTAP.decode(), "-u", str(sock), "-w", str(captured)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(sock.exists, what="the socket of fstrm_capture")
            resolver = start_tapped("bind", f'unix "{sock}"')
            resolver.ask_all(dnsperf, questions, rate=RATE)
            resolver.daemon.stop()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    assert replay(written, edm, tmp_path / "one") == questions.histogram
    assert replay(captured, edm, tmp_path / "two") == questions.histogram
