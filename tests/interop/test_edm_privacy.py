"""Marked clients take every way through EDM that there is; then all that came out of it is searched for them."""

import base64
import contextlib
import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dnstap_frames import (
    CLIENT_RESPONSE,
    dns_message,
    envelope,
    frame,
    message_fields,
    number,
    octets,
    opt,
    question,
    record,
)
from edm import SERVER, Edm, Stream, answer_frame, send
from edm_core import Core, refuse
from edm_marks import Search, address, forms_of
from framestreams import file_octets
from peers import wait_until

from tapir.app.cli.client import ConsoleRefusedError
from tapir.codec.dawg import encode_dawg

FOUR: Final = [address("185.61.237.94"), address("91.203.177.46")]
SIX: Final = [address("2a0d:9f31:c2b7:5e84:d16b:e93a:7cf5:48d2"), address("2c0f:b3e1:94a7:d862:f15c:a9b4:6e37:83da")]
SUBNETS: Final = [address("178.93.214.107"), address("2803:c7d4:a1f9:3b6e:95e2:cd48:b07a:f613")]
"""of clients whose questions a resolver passed on, in options of RFC 7871"""
MARKS: Final = [*FOUR, *SIX, *SUBNETS]
TRACED: Final = (
    "edm/input",
    "edm/minimiser",
    "edm/novelty",
    "edm/metrics",
    "edm-uplink/mqtt",
    "edm-uplink/newnames",
    "edm-uplink/aggregates",
    "control/events",
    "control/console",
)


def subnet(mark: bytes, *, length: int | None = None) -> bytes:
    """An option of RFC 7871 with a whole address; `length` is one that lies."""
    body = struct.pack("!HBB", 1 if len(mark) == 4 else 2, len(mark) * 8, 0) + mark
    return struct.pack("!HH", 8, len(body) if length is None else length) + body


def messages(name: bytes) -> Iterator[bytes | None]:
    """Responses for `name`: with clients in options, cut short, and wrong in every part."""
    answer = record(b"\xc0\x0c", 1, b"\xc0\0\2\1")
    plain = dns_message([question(name)], [answer], (), [opt()])
    yield plain
    for mark in SUBNETS:
        told = dns_message([question(name)], [answer], (), [opt(options=subnet(mark))])
        yield told
        yield dns_message([question(name)], [opt(options=subnet(mark) + subnet(mark))], [opt(options=subnet(mark))], ())
        yield dns_message([question(name)], [answer], (), [opt(options=subnet(mark, length=40))])
        yield dns_message([], (), (), [opt(options=subnet(mark))])
        yield dns_message([question(name)], [answer], (), [opt(options=subnet(mark))], counts=(1, 9, 9, 9))
        yield from (told[:end] for end in (3, 12, 17, len(told) - 1, len(told) - len(mark)))
        yield dns_message([question(b"\xc0\x0c")], [answer], (), [opt(options=subnet(mark))])
        yield dns_message([question(name), question(name, 28)], (), (), [opt(options=subnet(mark))])
        yield mark
    yield None


def frames() -> Iterator[bytes]:
    """Everything that a sender might say of the marked clients, right and wrong."""
    asked = dns_message([question(b"\x05known\0")], (), (), [opt(options=subnet(SUBNETS[0]))])
    tell = [b"\x05known\0", b"\x03new\x07example\0", b"\x07ignored\x07example\0", b"\x02\xff\x00\x03com\0"]
    clients = [*FOUR, *SIX, bytes(10) + b"\xff\xff" + FOUR[0]]
    for client in clients:
        for name in tell:
            for message in messages(name):
                yield frame(
                    query_address=client,
                    response_address=SERVER,
                    response_message=message,
                    query_message=asked,
                    query_time=(1_790_000_000, 0),
                )
        known: dict[str, Any] = {"response_message": dns_message([question(b"\x05known\0")])}
        for kind in (None, 0, 1, 3, 5, 14, 99):
            yield frame(query_address=client, message_type=kind, query_message=asked, **known)
        for family in (1, 2, 99):
            yield frame(query_address=client, response_address=client, family=family, **known)
        for wrong in (client + b"!", client[:-1], client * 2, b""):
            yield frame(query_address=wrong, response_address=wrong, **known)
        yield frame(query_address=client, query_port=1 << 33, response_time=None, **known)
        body = message_fields(query_address=client, response_address=SERVER, **known)
        yield envelope(body + octets(77, client), version=client.hex().encode()[:2]) + octets(3, client)
        yield octets(3, client) + number(15, 1)
        yield envelope(None) + octets(3, client)
        whole = frame(query_address=client, **known)
        yield from (whole[:end] for end in range(1, len(whole), 7))
        yield whole + client
        yield client
        yield octets(14, octets(4, client))
        yield number(1, CLIENT_RESPONSE) + client


def test_the_search_finds_an_address_in_every_form() -> None:
    for mark in MARKS:
        for name, form in forms_of(mark).items():
            search = Search(MARKS)
            search.through("there", b"... " + form + b" ...")
            assert any(mark.hex() in finding for finding in search.findings), name
    search = Search(MARKS)
    search.through("there", answer_frame("known.", client=FOUR[0]) + answer_frame("known.", client=SIX[0]))
    assert len({finding.split()[1] for finding in search.findings}) == 2
    file = io.BytesIO()
    table = {"four": pa.array([int.from_bytes(FOUR[0])], pa.uint32()), "raw": pa.array([b"x" + SIX[0]], pa.binary())}
    pq.write_table(pa.table(table), file)
    search = Search(MARKS)
    search.through("there", file.getvalue())
    assert any("as a value" in finding for finding in search.findings)
    clean = Search(MARKS)
    clean.through("there", answer_frame("known."))
    assert not clean.findings


@contextlib.contextmanager
def watching(edm: Edm, folder: Path) -> Iterator[None]:
    """Every command that shows what passes by, each into a file."""
    words = [["trace", path] for path in TRACED] + [["edm", "watch", "--json"], ["top", "--json"]]
    with contextlib.ExitStack() as stack:
        running = []
        for number_of, each in enumerate(words):
            out = stack.enter_context((folder / f"watched{number_of}").open("wb"))
            command = [sys.executable, "-m", "tapir", *each, "--state-dir", str(edm.state_dir)]
            running.append(subprocess.Popen(command, stdout=out, stderr=out))
        wait_until(
            lambda: all((folder / f"watched{number_of}").stat().st_size for number_of in (len(TRACED),)),
            what="those who watch",
        )
        yield
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def look(edm: Edm, folder: Path, label: str, *commands: str) -> None:
    """Keep all that may be asked for, and what these commands print."""
    for words in commands:
        done = edm.command(*words.split(), check=False)
        (folder / f"{label}-{words}").write_text(done.stdout + done.stderr)
    for op in ("status", "edm", "mqtt", "actors", "dead-letters"):
        with contextlib.suppress(ConsoleRefusedError):
            (folder / f"{label}-{op}.json").write_text(json.dumps(edm.ask(op)))
    (folder / f"{label}-metrics").write_bytes(edm.fetch("/metrics")[1])
    (folder / f"{label}-refused").write_bytes(b"".join(edm.fetch(path)[1] for path in ("/nothing", "/debug")))


def test_nothing_that_comes_out_tells_of_a_client(edm: Edm, core: Core, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    core.serve(edm)
    ignored, names = edm.directory / "ignored-clients", edm.directory / "ignored.dawg"
    edm.keys |= {
        "debug": True,
        "debug-dnstap-filename": str(edm.directory / "debug.jsonl"),
        "ignored-client-ips-file": str(ignored),
        "ignored-question-names-file": str(names),
        "histogram-hll-explicit-threshold": 2,
        "enable-manual-parquet-rotation": True,
    }
    edm.own |= {"durable": True, "new-qname-rate": 100_000}
    edm.own["telemetry-topic"] = "status/up/{EdgeId}/edm"
    edm.write_well_known(["known."])
    ignored.write_text("91.203.177.0/24\n2c0f:b3e1:94a7:d862::/64\n")
    names.write_bytes(encode_dawg(["ignored.example."]))
    all_frames = list(frames())

    edm.start()
    with watching(edm, outside):
        count = send(edm.socket, all_frames)
        account = edm.settled(count)
        look(edm, outside, "first")
        edm.rotate()

        # Connections that break in the middle of a frame, or before they are any.
        for client in (*FOUR, *SIX):
            with Stream(edm.socket) as stream:
                stream.send_octets(struct.pack("!I", 5000) + client)
            with contextlib.suppress(ConnectionError):
                send(edm.socket, [b"x" * 98_305 + client])
        count += edm.account().received - count

        # Broken lists, and a new key: what is in force stays, and then changes within one stream.
        ignored.write_text("91.203.177.46\n185.61.237.94/33\n")
        names.write_bytes(b"no DAWG " + FOUR[0])
        edm.well_known.write_bytes(edm.well_known.read_bytes()[:-3])
        with Stream(edm.socket) as stream:
            stream.send(all_frames)
            edm.keys["cryptopan-key"] = "another key"
            edm.reload()
            stream.send(all_frames)
            look(edm, outside, "broken", "status", "edm status")
            ignored.write_text("91.203.177.0/24\n")
            names.write_bytes(encode_dawg(["ignored.example."]))
            edm.write_well_known(["known.", ".example."])
            edm.reload()
            stream.send(all_frames)
            stream.finish()
        edm.fetch("/debug/rotate-parquet", method="POST")

        # Core is gone, and says no.
        core.mood = refuse(500)
        core.broker.stop()
        send(edm.socket, [*all_frames, *(answer_frame(f"n{one}.example.", client=FOUR[0]) for one in range(200))])
        edm.settled()
        edm.rotate()
        look(edm, outside, "alone")

    # What is in the spool, and in what a crash leaves.
    send(edm.socket, all_frames)
    edm.settled()
    edm.kill()
    leftovers = Search(MARKS)
    leftovers.through_folder(edm.directory, but=[ignored, names])
    edm.start()
    send(edm.socket, all_frames)
    edm.settled()
    assert edm.stop() == 0

    # A file of frames that ends in the middle of one, and what the command makes and says of it.
    file = tmp_path / "frames.fstrm"
    file.write_bytes(file_octets(all_frames)[:-60])
    replay = ["edm", "replay", str(file), "--into", str(outside / "replayed"), "--config-dir", str(edm.config_dir)]
    done = subprocess.run([sys.executable, "-m", "tapir", *replay], capture_output=True, timeout=120, check=False)
    (outside / "replay").write_bytes(done.stdout + done.stderr)
    assert list((outside / "replayed").rglob("*.parquet"))

    # All of this happened; otherwise nothing is shown by what was not found.
    for fate in ("ignored.query", "ignored.client", "ignored.client-error", "ignored.question-name"):
        assert account.settled[fate], fate
    for kind in ("minimised", "ignored", "malformed"):
        assert account.total(kind) > 20, kind
    assert edm.files("sessions")
    assert (edm.directory / "debug.jsonl").stat().st_size > 1000
    assert core.events
    assert core.requests
    assert any(topic == "status/up/edge.example/edm" for topic, _ in core.messages)

    search = Search(MARKS)
    search.through_folder(edm.directory, but=[ignored, names])
    search.through_folder(outside)
    for topic, payload in core.messages:
        search.through(topic, payload)
        search.through(topic, base64.urlsafe_b64decode(json.loads(payload)["payload"] + "==="))
    for request in core.requests:
        search.through("upload", request)
        search.through("upload", request.partition(b"\r\n\r\n")[2])
    assert not search.findings + leftovers.findings
    assert search.octets > 100_000


SMALL: Final = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


def test_a_full_disk_tells_of_no_client(make_edm: Callable[..., Edm], tmp_path: Path) -> None:
    edm = make_edm()
    edm.data_dir.mkdir()
    mount = f'mount -t tmpfs -o size=1m none "{edm.data_dir}"'
    if subprocess.run([*SMALL, mount], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no test mount a file system")
    kept = tmp_path / "kept"
    kept.mkdir()
    # What is on the small disk is gone with its name space: it is copied while it is there.
    edm.prefix = (*SMALL, f'{mount} && exec "$@"', "sh")
    edm.keys |= {"debug": True, "debug-dnstap-filename": str(edm.data_dir / "debug.jsonl")}
    edm.own["durable"] = True
    edm.write_well_known(["known."])
    edm.start()
    all_frames = list(frames())
    sent = 0
    for turn in range(6):
        sent += send(edm.socket, all_frames)
        sent += send(
            edm.socket,
            [answer_frame(f"t{turn}n{one}.example.", client=SIX[0]) for one in range(1000)],
        )
    account = edm.settled(sent)
    edm.rotate()
    assert edm.part("minimiser")["trouble"]
    look(edm, kept, "full", "edm rotate")
    assert edm.daemon is not None
    disk = Path(f"/proc/{edm.daemon.process.pid}/root{edm.data_dir}")
    search = Search(MARKS)
    search.through_folder(disk)
    edm.stop()
    assert account.balance == 0
    search.through_folder(edm.directory)
    search.through_folder(kept)
    assert not search.findings
