"""`tapir edm replay`: what a file holds arrives, and what is wrong is said, with the exit code that scripts look at."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest
import trio
from edm import CLIENT, Edm, answer_frame, read_histograms, responses_in, sessions_in
from framestreams import file_octets, write_file
from peers import Daemon, wait_until

import tapir.app.cli.edm_sending
from tapir.app.cli.edm_into import INTERRUPTED
from tapir.app.cli.edm_replay import ReplayError, choose_receiver, parse_receiver, replay
from tapir.app.cli.edm_sending import Receiver
from tapir.model.blocks import FrameBlock
from tapir.store.hold import FolderHold
from tapir.transport.framelisteners import FrameListener, listen_tcp, listen_unix
from tapir.transport.frameserver import Listeners
from tapir.transport.framestream import FrameStreamSettings

FRAMES: Final = [b"frame %d" % number for number in range(3000)]
ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if not name.startswith("DNSTAPIR_")}


@attrs.define
class Input:
    """An input that runs in a thread; `frames` is what it took."""

    listener: FrameListener
    frames: list[bytes]


@contextmanager
def listening(listener: FrameListener) -> Iterator[Input]:
    frames: list[bytes] = []

    async def deliver(block: FrameBlock) -> None:
        await trio.lowlevel.checkpoint()
        frames.extend(block)

    serving = Listeners([listener], deliver, FrameStreamSettings())
    tokens: list[trio.lowlevel.TrioToken] = []

    async def main() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        await serving.serve()

    thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
    thread.start()
    wait_until(lambda: bool(tokens), what="the event loop")
    yield Input(listener, frames)
    tokens[0].run_sync_soon(serving.stop)
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dnstap.sock"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_file(tmp_path / "frames.fstrm", FRAMES)
    return tmp_path / "frames.fstrm"


def run(*words: object, stdin: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "tapir", "edm", "replay", *map(str, words)]
    return subprocess.run(
        command, input=stdin, capture_output=True, timeout=120, check=False, env=ENVIRONMENT, **options
    )


def test_a_file_goes_to_the_configured_input(file: Path, path: Path, tmp_path: Path) -> None:
    (tmp_path / "dnstapir-edm.toml").write_text(
        f'input-unix = "{path}"\ncryptopan-key = "secret"\ndisable-mqtt = true\ndisable-histogram-sender = true\n'
    )
    with listening(listen_unix(path)) as taking:
        done = run(file, "--config-dir", tmp_path)
        assert taking.frames == FRAMES  # it ended, so all of it was taken
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(f"unix:{path} took 3,000 frames from {file}".encode())


def test_standard_input_goes_where_it_is_told_to(path: Path) -> None:
    with listening(listen_unix(path)) as taking:
        done = run("-", "--to", f"unix:{path}", "--json", stdin=file_octets(FRAMES))
        assert taking.frames == FRAMES
    document = json.loads(done.stdout)
    assert document.pop("seconds") >= 0
    assert document == {
        "to": f"unix:{path}",
        "file": "-",
        "frames": 3000,
        "octets": len(file_octets(FRAMES)),
        "unread": 0,
        "ending": "stopped",
        "trouble": "",
        "remark": "",
    }


def test_over_tcp(file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    listener = listen_tcp(("127.0.0.1", 0))
    with listening(listener) as taking:
        assert replay(file, tmp_path, to=f"tcp:127.0.0.1:{listener.address[1]}", as_json=False) == 0
        assert taking.frames == FRAMES
    assert capsys.readouterr().out.startswith("tcp:127.0.0.1:")


def test_what_fstrm_capture_wrote(
    require_peer: Callable[[str], str], file: Path, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the other way round: the reference implementation takes what the command sends."""
    program = require_peer("fstrm_capture")
    written, sock = tmp_path / "written.fstrm", tmp_path / "capture.sock"
    capture = subprocess.Popen([program, "-t", "protobuf:dnstap.Dnstap", "-u", sock, "-w", written])
    try:
        wait_until(sock.exists, what="the socket")
        assert replay(file, tmp_path, to=f"unix:{sock}", as_json=False) == 0
    finally:
        capture.terminate()
        capture.wait(30)
    with listening(listen_unix(path)) as taking:
        assert replay(written, tmp_path, to=f"unix:{path}", as_json=False) == 0
        assert taking.frames == FRAMES
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("octets", "frames", "said"),
    [
        (b"", 0, "it is empty"),
        (file_octets([])[:10], 0, "it is cut short: it ends before the first frame"),
        (b"\x1f\x8b\x08 gzip", 0, "it is no stream of dnstap frames: the stream does not begin with a control frame"),
        (file_octets([b"x"], content_type=b"other"), 0, "it is no stream of dnstap frames: START with no content type"),
        (
            file_octets(FRAMES[:3])[:-15],
            2,
            "it is cut short: the last 8 octets are no whole frame; the 2 frames before",
        ),
        (
            file_octets(FRAMES[:2])[:-12] + b"\xff" * 8,
            2,
            "what follows the first 2 frames is no stream of frames: a frame of 4294967295 octets",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_the_rest_is_used(
    octets: bytes, frames: int, said: str, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").write_bytes(octets)
    with listening(listen_unix(path)) as taking:
        assert replay(tmp_path / "bad", tmp_path, to=f"unix:{path}", as_json=False) == 2
        assert taking.frames == FRAMES[:frames]
    assert f"tapir: {tmp_path}/bad: {said}" in capsys.readouterr().err


@pytest.mark.parametrize(("tail", "said"), [(-12, "ends without STOP"), (None, "something follows")])
def test_what_is_only_odd_is_said_and_no_failure(
    tail: int | None, said: str, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd").write_bytes(file_octets(FRAMES[:2])[:tail] + (b"" if tail else b"more"))
    with listening(listen_unix(path)) as taking:
        assert replay(tmp_path / "odd", tmp_path, to=f"unix:{path}", as_json=False) == 0
        assert taking.frames == FRAMES[:2]
    assert said in capsys.readouterr().out


def test_there_must_be_a_file(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, why in (("none", "No such file or directory"), (".", "Is a directory")):
        assert replay(tmp_path / name, tmp_path, to=f"unix:{path}", as_json=False) == 1
        assert why in capsys.readouterr().err


def test_standard_input_must_be_something(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tapir", "edm", "replay", "-", "--to", "unix:/none"],
            stdin=theirs,
            capture_output=True,
            timeout=120,
            check=False,
            env=ENVIRONMENT,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stderr) == (1, b"tapir: -: standard input is a terminal, where nobody types frames\n")
    closed = f'exec "{sys.executable}" -m tapir edm replay - --to unix:/none <&-'
    done = subprocess.run(["sh", "-c", closed], capture_output=True, timeout=120, check=False, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (1, b"tapir: -: standard input is closed\n")


def test_somebody_must_listen(file: Path, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(file, tmp_path, to=f"unix:{path}", as_json=False) == 1
    assert capsys.readouterr().err == f"tapir: nobody listens on unix:{path}: No such file or directory\n"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert replay(file, tmp_path, to=f"tcp:127.0.0.1:{port}", as_json=False) == 1
    assert capsys.readouterr().err == f"tapir: nobody listens on tcp:127.0.0.1:{port}: Connection refused\n"
    assert replay(file, tmp_path, to="unix:" + "x" * 200, as_json=False) == 1
    assert "too long" in capsys.readouterr().err


def test_one_who_refuses_or_goes_away(
    file: Path, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()

    def answering(act: Callable[[socket.socket], object]) -> str:
        path.unlink(missing_ok=True)
        done.clear()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()

            def serve() -> None:
                with server.accept()[0] as connection:
                    act(connection)

            thread = threading.Thread(target=serve)
            thread.start()
            assert replay(file, tmp_path, to=f"unix:{path}", as_json=False) == 1
            done.set()
            thread.join(30)
        return capsys.readouterr().err.removeprefix(f"tapir: unix:{path}: ")

    accept = bytes.fromhex("00000000 00000022 00000001 00000001 00000016") + b"protobuf:dnstap.Dnstap"
    assert answering(lambda peer: peer.recv(4096)).startswith("it closed the connection before the stream began: ")

    def speak_otherwise(peer: socket.socket) -> None:
        peer.recv(4096)  # who is told that the connection is closed while it sends does not hear it
        peer.sendall(b"HTTP/1.1 400")

    assert answering(speak_otherwise).startswith("it does not speak Frame Streams as it ")

    def accept_and_go(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(accept)
        peer.recv(4096)

    gone = answering(accept_and_go)
    assert gone.startswith("it closed the connection")
    monkeypatch.setattr(tapir.app.cli.edm_sending, "_PATIENCE", 0.1)
    assert answering(lambda peer: done.wait(60)) == "it took and said nothing for 0.1 s\n"


def test_where_to(tmp_path: Path) -> None:
    assert parse_receiver("unix:/run/a:b") == Receiver(unix=Path("/run/a:b"))
    assert parse_receiver("tcp:[::1]:6000") == Receiver(tcp=("::1", 6000))
    assert str(parse_receiver("tcp:[::1]:6000")) == "tcp:[::1]:6000"
    for wrong in ("", "unix:", "tcp:", "tcp:1.2.3.4", "tcp:1.2.3.4:0", "tcp:1.2.3.4:x", "tls:1.2.3.4:1", "/run/sock"):
        with pytest.raises(ReplayError, match="allowed is unix:PATH or tcp:HOST:PORT"):
            parse_receiver(wrong)
    with pytest.raises(ReplayError, match=r"dnstapir-edm\.toml"):
        choose_receiver(None, tmp_path)
    common = 'cryptopan-key = "secret"\ndisable-mqtt = true\ndisable-histogram-sender = true\n'
    (tmp_path / "dnstapir-edm.toml").write_text('input-tcp = "127.0.0.1:6000"\n' + common)
    assert choose_receiver(None, tmp_path)[0] == Receiver(tcp=("127.0.0.1", 6000))
    tls = 'input-tls = "127.0.0.1:6000"\ninput-tls-cert-file = "a"\ninput-tls-key-file = "b"\n'
    (tmp_path / "dnstapir-edm.toml").write_text(tls + common)
    with pytest.raises(ReplayError, match="takes TLS"):
        choose_receiver(None, tmp_path)


def test_the_bar_is_for_terminals_only(file: Path, path: Path) -> None:
    program = shutil.which("script")
    if program is None:
        pytest.skip("script(1) is not there to make a terminal")
    command = f"{sys.executable} -m tapir edm replay {file} --to unix:{path}"
    with listening(listen_unix(path)) as taking:
        done = subprocess.run(
            [program, "-qec", command, "/dev/null"], capture_output=True, timeout=120, check=False, env=ENVIRONMENT
        )
        assert taking.frames == FRAMES
    assert done.returncode == 0
    assert b"replay" in done.stdout
    assert b"\x1b[" in done.stdout


# Into files of one's own


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Answers for a known name and two others, a query, and one that is no dnstap."""
    frames = [
        *(answer_frame("known.example") for _ in range(1000)),
        *(answer_frame(f"new{number}.example") for number in (1, 2, 1, 2, 1)),
        b"no dnstap",
    ]
    write_file(tmp_path / "answers.fstrm", frames)
    return tmp_path / "answers.fstrm"


def into(edm: Edm, file: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    edm.write_config()
    return run(file, "--config-dir", edm.config_dir, "--into", folder, *words)


def test_into_a_folder_it_does_what_the_service_does(edm: Edm, answers: Path, tmp_path: Path) -> None:
    folder = tmp_path / "replayed"
    done = into(edm, answers, folder, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    assert document["account"] == {
        "received": 1006,
        "minimised.histogram": 1000,
        "minimised.other": 5,
        "malformed.protobuf": 1,
    }
    assert (document["frames"], document["ending"], document["outcome"]) == (1006, "stopped", "")
    written = [folder / name for name in document["files"]]
    assert sorted(written) == sorted(folder.rglob("*.parquet"))
    histograms = [path for path in written if path.name.startswith("dns_histogram")]
    assert read_histograms(histograms)["known.example."]["a_count"] == 1000
    sessions = sessions_in(path for path in written if path not in histograms)
    assert len(sessions) == 5
    assert CLIENT not in {row["source_ipv4"] for row in sessions}
    names = [json.loads(line) for line in (folder / "new-names.jsonl").read_text().splitlines()]
    assert sorted(event["qname"] for event in names) == ["new1.example.", "new2.example."]
    assert document["new_names"] == 2
    assert not edm.data_dir.exists()
    # What it has seen it remembers.
    again = into(edm, answers, folder)
    assert again.returncode == 0
    lines = again.stdout.decode().splitlines()
    assert lines[0] == f"1,006 frames from {answers}"
    assert ["minimised", "histogram", "1,000"] in [line.split() for line in lines]
    assert f"0 new names in {folder}/new-names.jsonl" in lines
    assert len((folder / "new-names.jsonl").read_text().splitlines()) == 2


def test_into_a_folder_says_what_is_wrong(edm: Edm, answers: Path, tmp_path: Path) -> None:
    def wrong(file: Path, folder: Path, *words: str) -> tuple[int, str]:
        done = into(edm, file, folder, *words)
        return done.returncode, done.stderr.decode()

    assert wrong(answers, edm.data_dir) == (
        2,
        f"tapir: {edm.data_dir} is the data-dir of the service; name another folder\n",
    )
    with contextlib.closing(FolderHold.take(tmp_path / "held")):
        text = f"tapir: {tmp_path}/held: the folder is in use by another process; name another one\n"
        assert wrong(answers, tmp_path / "held") == (2, text)
    assert wrong(answers, tmp_path / "out", "--to", "unix:/x") == (2, "tapir: --to and --into exclude each other\n")
    assert wrong(answers, answers / "below") == (1, f"tapir: {answers}/below: Not a directory\n")
    assert wrong(tmp_path / "none", tmp_path / "out") == (1, f"tapir: {tmp_path}/none: No such file or directory\n")
    answers.write_bytes(answers.read_bytes()[:-15])
    code, text = wrong(answers, tmp_path / "out")
    assert code == 2
    assert "cut short: the last 10 octets are no whole frame; the 1005 frames before that were used" in text
    edm.well_known.unlink()
    code, text = wrong(answers, tmp_path / "out")
    assert code == 2
    assert f"tapir: lists of EDM: {edm.well_known}" in text or str(edm.well_known) in text
    edm.keys["cryptopan-key"] = ""
    code, text = wrong(answers, tmp_path / "out")
    assert code == 2
    assert "cryptopan-key" in text


def test_what_was_read_before_an_interruption_is_minimised(edm: Edm, tmp_path: Path) -> None:
    edm.write_config()
    folder = tmp_path / "replayed"
    command = [sys.executable, "-m", "tapir", "edm", "replay", "-", "--config-dir", str(edm.config_dir)]
    with subprocess.Popen(
        [*command, "--into", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        octets = file_octets([answer_frame("known.example.")] * 20_000)
        process.stdin.write(octets[:-100])  # and it waits for the rest
        process.stdin.flush()
        pipe = process.stdin.fileno()
        wait_until(lambda: not unread(pipe), what="all that there is to be read")
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert process.stdout is not None
        assert process.stderr is not None
        said, trouble = process.stdout.read().decode(), process.stderr.read().decode()
    assert process.returncode == 2, trouble
    used = responses_in(folder.rglob("dns_histogram*.parquet"))
    assert 10_000 < used < 20_000
    assert said.startswith(f"{used:,} frames from -")
    assert f"tapir: -: {INTERRUPTED}; the {used} frames before that were used" in trouble


def unread(pipe: int) -> int:
    """Octets in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


BIND: Final = """
options {{
    directory "{directory}";
    pid-file none;
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnstap {{ client response; }};
    dnstap-output file "{directory}/bind.tap";
}};
controls {{ }};
zone "example" {{ type primary; file "zone"; }};
"""


def test_a_file_that_bind_wrote(
    edm: Edm,
    tmp_path: Path,
    require_peer: Callable[[str], str],
    free_port: Callable[[], int],
    daemons: list[Daemon],
) -> None:
    """And BIND's own reader sees in it what the account says."""
    program, reader, port, folder = require_peer("bind"), require_peer("dnstap-read"), free_port(), tmp_path / "bind"
    folder.mkdir()
    (folder / "zone").write_text("$TTL 60\n@ SOA a. b. 1 60 60 60 60\n@ NS a.\n* A 192.0.2.1\n")
    (folder / "named.conf").write_text(BIND.format(port=port, directory=folder))
    daemon = Daemon.start("named", [program, "-g", "-c", "named.conf"], directory=folder)
    daemons.append(daemon)
    edm.write_well_known([".known.example."])
    wait_until(lambda: asked(port, "up.example.", patience=0.2), what="an answer")
    for number in range(200):
        assert asked(port, f"{number}.known.example.")
        assert asked(port, f"{number % 50}.new.example.")
    assert daemon.stop() == 0
    done = into(edm, folder / "bind.tap", tmp_path / "out", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    shown = subprocess.run([reader, folder / "bind.tap"], capture_output=True, timeout=120, check=True).stdout
    kinds = [line.split()[2] for line in shown.decode().splitlines()]
    assert set(kinds) == {"CR"}
    assert document["account"] == {
        "received": len(kinds),
        "minimised.histogram": 200,
        "minimised.other": len(kinds) - 200,
    }
    assert len(kinds) > 400
    (entry,) = read_histograms((tmp_path / "out").rglob("dns_histogram*.parquet")).values()
    assert entry["a_count"] == 200
    names = [json.loads(line)["qname"] for line in (tmp_path / "out" / "new-names.jsonl").read_text().splitlines()]
    assert sorted(names) == sorted([f"{number}.new.example." for number in range(50)] + ["up.example."])


def asked(port: int, name: str, *, patience: float = 5) -> bool:
    """Whether there is an answer."""
    query = dns.message.make_query(name, "A")
    try:
        return dns.query.udp(query, "127.0.0.1", port=port, timeout=patience).rcode() == dns.rcode.NOERROR
    except (dns.exception.Timeout, OSError):
        return False
