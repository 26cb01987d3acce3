"""EDM as the operator and the service manager meet it: start, frames in, files out, reload, stop, and being killed."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnstap_frames import frame
from edm import CLIENT, Edm, Stream, answer_frame, read_histograms, responses_in, send, sessions_in
from peers import EXAMPLES, Daemon, wait_until

from tapir.app.config.edmsettings import KEYS
from tapir.codec.dawg import encode_dawg

KNOWN = "known.example."


def said(edm: Edm, text: str) -> bool:
    assert edm.daemon is not None
    return text in edm.daemon.output()


def wait_said(edm: Edm, text: str, times: int = 1) -> None:
    assert edm.daemon is not None
    daemon = edm.daemon
    wait_until(lambda: daemon.output().count(text) >= times, what=repr(text), seconds=60)


def positions(edm: Edm, *texts: str) -> list[int]:
    assert edm.daemon is not None
    output = edm.daemon.output()
    return [output.index(text) for text in texts]


def test_from_frames_to_files_and_an_ordered_stop(edm: Edm) -> None:
    edm.start()
    wait_said(edm, "ready edm input=unix:")
    frames = [
        answer_frame(KNOWN),
        answer_frame(KNOWN, missing=True),
        answer_frame("www.other.example."),
        b"\xff",
        b"\x00",
    ]
    edm.wait_young_minute()
    with Stream(edm.socket) as stream:
        stream.send(frames)
        account = edm.settled(len(frames))
        assert account.settled["minimised.histogram"] == 2
        assert account.settled["minimised.other"] == 1
        assert account.total("malformed") == 2, account
        rotated = edm.ask("edm-rotate")
        assert not rotated["trouble"]
        assert read_histograms([Path(rotated["histogram"])])[KNOWN]["nx_count"] == 1
        # What is sent when the stop comes is taken as far as the kernel has it.
        stream.send([answer_frame(KNOWN)] * 1000)
        assert edm.stop() == 0
    assert responses_in(edm.histograms()) == 1002
    assert said(edm, "frames: 1005 received = 1003 minimised + 0 ignored + 2 malformed + 0 dropped")
    (session,) = sessions_in(edm.files("sessions"))
    assert [session["label0"], session["label1"], session["label2"]] == ["example", "other", "www"]
    assert session["source_ipv4"] % 2**32 != int.from_bytes(CLIENT, "big")
    order = positions(
        edm,
        "stopped edm/input",
        "stopped edm/minimiser",
        "stopped edm/novelty",
        "stopped edm-uplink/aggregates",
        "stopped control/console",
        "stopped control/events",
    )
    assert order == sorted(order)
    assert not edm.socket.exists()


def test_a_reload_takes_every_key_that_it_may_and_names_the_others(edm: Edm) -> None:
    edm.keys |= {"disable-mqtt": False, "mqtt-server": "tcp://127.0.0.1:1", "input-unix": str(edm.socket)}
    (edm.directory / "clients").write_text("203.0.113.0/24\n")
    (edm.directory / "names.dawg").write_bytes(encode_dawg(["ignored.example."]))
    (edm.directory / "other.dawg").write_bytes(encode_dawg(["fresh.example."]))
    edm.start()
    before = answer_frame("www.example.")
    send(edm.socket, [answer_frame(KNOWN), answer_frame("fresh.example."), before])
    edm.settled(3)
    edm.ask("edm-rotate")
    (old,) = [row for row in sessions_in(edm.files("sessions")) if row["label1"] == "www"]
    changes: dict[str, Any] = {
        "cryptopan-key": "another key of these tests",
        "cryptopan-key-salt": "another salt of these tests",
        "well-known-domains-file": str(edm.directory / "other.dawg"),
        "ignored-client-ips-file": str(edm.directory / "clients"),
        "ignored-question-names-file": str(edm.directory / "names.dawg"),
        "histogram-hll-explicit-threshold": 1,
        "disable-session-files": False,
        "disable-histogram-sender": False,
        "pebble-sync": True,
        "debug": True,
        "mqtt-client-cert-file": "/nowhere/mqtt.pem",
        "mqtt-client-key-file": "/nowhere/mqtt-key.pem",
        "http-client-cert-file": "/nowhere/http.pem",
        "http-client-key-file": "/nowhere/http-key.pem",
    }
    own: dict[str, Any] = {
        "sessions-retention": 3600,
        "sessions-octets": 1 << 20,
        "sent-retention": 3600,
        "sent-octets": 1 << 20,
        "seen-retention": 86400,
        "new-qname-rate": 7,
        "new-qname-outbox": 77,
        "telemetry-topic": "status/edge/edm",
        "telemetry-signing-key-file": "/nowhere/key.json",
        "telemetry-interval": 5,
        "telemetry-heartbeat": 50,
    }
    assert set(changes) | set(own) == {name for name, key in KEYS.items() if key.reload}, "each is tried here"
    edm.keys |= changes
    edm.own |= {**own, "input-connections": 7}
    edm.reload()
    wait_said(edm, "reload: in effect, but for what waits for a restart: input-connections")
    minimiser = edm.part("minimiser")
    assert minimiser["well_known"]["path"] == str(edm.directory / "other.dawg")
    assert minimiser["ignored_clients"]["entries"] == 1
    assert minimiser["ignored_names"]["entries"] == 1
    assert edm.part("aggregates")["enabled"]
    edm.wait_young_minute()
    send(
        edm.socket,
        [
            answer_frame("fresh.example."),
            answer_frame(KNOWN),
            answer_frame("ignored.example."),
            answer_frame("fresh.example.", client=bytes((203, 0, 113, 9))),
            before,
        ],
    )
    account = edm.settled(8)
    assert account.settled["ignored.client"] == 1
    assert account.settled["ignored.question-name"] == 1
    rotated = edm.ask("edm-rotate")
    assert list(read_histograms([Path(rotated["histogram"])])) == ["fresh.example."]
    rows = sessions_in(map(Path, rotated["sessions"]))
    assert [row["label1"] for row in rows] == ["known", "www"]
    assert rows[1]["source_ipv4"] != old["source_ipv4"], "other pseudonyms from the reload on"

    edm.keys["disable-session-files"] = True
    edm.own["input-connections"] = 1000
    edm.reload()
    wait_said(edm, "reload: the new configuration is in effect")
    send(edm.socket, [before])
    edm.settled(9)
    assert not edm.ask("edm-rotate")["sessions"]
    assert edm.stop() == 0


def test_a_wrong_configuration_changes_nothing(edm: Edm) -> None:
    edm.start()
    edm.keys |= {"cryptopan-key": "", "input-tcp": "127.0.0.1:5300", "well-known-domains-file": "/elsewhere"}
    edm.reload()
    wait_said(edm, "reload: the configuration cannot be used; the one in effect stays")
    assert said(edm, "dnstapir-edm.toml:2: cryptopan-key: is empty; it is needed always")
    assert edm.part("minimiser")["well_known"]["path"] == str(edm.well_known)
    send(edm.socket, [answer_frame(KNOWN)])
    assert edm.settled(1).settled["minimised.histogram"] == 1
    assert edm.stop() == 0


def test_killed_it_starts_again_and_knows_what_it_saw(edm: Edm) -> None:
    edm.own["durable"] = True
    edm.keys |= {"disable-mqtt": False, "mqtt-server": "tcp://127.0.0.1:1"}
    edm.start()
    edm.wait_young_minute()
    send(edm.socket, [answer_frame(KNOWN)] * 50 + [answer_frame(f"n{number}.example.") for number in range(20)])
    edm.settled(70)
    wait_until(lambda: edm.part("new_names")["waiting"] == 20, what="the events to be queued", seconds=30)
    edm.kill()
    edm.start()
    wait_until(lambda: edm.part("minimiser")["replayed"] == 50, what="what the spool has to be counted", seconds=30)
    send(edm.socket, [answer_frame(f"n{number}.example.") for number in range(21)])
    edm.settled(21)
    wait_until(lambda: edm.part("new_names")["waiting"] == 21, what="one more event", seconds=30)
    assert edm.stop() == 0
    assert responses_in(edm.histograms()) == 50, "recovered from the spool, once"


def test_the_environment_counts_more_than_the_file(edm: Edm) -> None:
    other = edm.directory / "other.sock"
    edm.environment = {**os.environ, "DNSTAPIR_EDM_INPUT_UNIX": str(other)}
    edm.start()
    assert edm.part("input")["addresses"] == [f"unix:{other}"]
    send(other, [answer_frame(KNOWN)])
    edm.settled(1)
    edm.reload()
    wait_said(edm, "reload: the new configuration is in effect")
    assert edm.part("input")["addresses"] == [f"unix:{other}"]
    assert edm.stop() == 0


def test_what_is_wrong_outside_is_said_and_ends_nothing(edm: Edm) -> None:
    edm.well_known.write_bytes(b"no list")
    edm.socket.mkdir()
    edm.start(wait=False)
    wait_said(edm, "still not ready: ")
    health = edm.ask("status")["health"]
    assert not health["ready"]
    assert any("the dnstap input is not open" in reason for reason in health["reasons"])
    edm.socket.rmdir()
    edm.write_well_known([KNOWN])
    edm.reload()
    wait_until(edm.is_ready, what="the socket", seconds=90)
    wait_until(lambda: edm.ask("status")["health"]["ready"], what="readiness", seconds=60)
    send(edm.socket, [answer_frame(KNOWN)])
    edm.settled(1)
    assert edm.stop() == 0


def test_commands_find_it_and_those_of_a_pop_are_refused(edm: Edm) -> None:
    edm.own["metrics-address"] = ""
    edm.start()
    shown = edm.command("status").stdout
    assert f"input on unix:{edm.socket}" in shown
    assert "0 received = 0 minimised + 0 ignored + 0 malformed + 0 dropped + 0 in flight" in shown
    assert "zone" not in shown
    for words in (("sources",), ("explain", KNOWN), ("zone", "hold"), ("deny", "bad.example"), ("accept", "zone")):
        refused = edm.command(*words, check=False)
        assert refused.returncode == 1
        assert "this process runs EDM alone" in refused.stderr
    assert "nothing in the configuration needs a connection" in edm.command("mqtt").stdout
    assert edm.stop() == 0


def test_beside_a_pop(make_edm: Callable[..., Edm]) -> None:
    edm = make_edm(keys={"disable-mqtt": True})
    for file in (EXAMPLES / "standalone").iterdir():
        shutil.copy(file, edm.config_dir)
    main = edm.config_dir / "dnstapir-pop.yaml"
    main.write_text(main.read_text().replace("127.0.0.1:5359", "127.0.0.1:0"))
    edm.write_config()
    checked = edm.command("check", "--config-dir", str(edm.config_dir)).stdout
    assert "zone dnstapir." in checked
    assert f"EDM takes dnstap on {edm.socket}" in checked
    command = [sys.executable, "-m", "tapir", "run", "--config-dir", str(edm.config_dir)]
    edm.daemon = Daemon.start("tapir", [*command, "--state-dir", str(edm.state_dir)], directory=edm.directory, env=None)
    wait_until(edm.is_ready, what="EDM to be ready", seconds=60)
    wait_said(edm, "ready zone=dnstapir.")
    send(edm.socket, [answer_frame(KNOWN), frame()])
    edm.settled(2)
    status = edm.ask("status")
    assert status["health"]["ready"]
    assert status["zone"]["serial"]
    assert json.loads(edm.command("sources", "--json").stdout)

    edm.keys["cryptopan-key"] = ""
    edm.reload()
    wait_said(edm, "reload: the configuration cannot be used; the one in effect stays")
    edm.keys["cryptopan-key"] = "another key of these tests"
    main.write_text(main.read_text().replace("zonename: dnstapir.", "zonename: other."))
    edm.keys["data-dir"] = str(edm.directory / "elsewhere")
    edm.reload()
    wait_said(edm, "reload: in effect, but for what waits for a restart: services.rpz.zonename, data-dir")
    send(edm.socket, [answer_frame(KNOWN)])
    edm.settled(3)

    # What EDM lacks is a warning here: the zone is served.
    edm.well_known.write_bytes(b"no list")
    edm.reload()
    wait_until(
        lambda: any(text.startswith("EDM: well-known names: ") for text in edm.ask("status")["health"]["warnings"]),
        what="the warning",
        seconds=30,
    )
    assert edm.ask("status")["health"]["ready"]
    assert edm.stop() == 0
    order = positions(
        edm,
        "stopped edm/input",
        "stopped edm-uplink/aggregates",
        "stopped supervisor sources",
        "stopped authority/server",
    )
    assert order == sorted(order)


def test_one_process_at_a_time_is_in_a_data_folder(make_edm: Callable[..., Edm], tmp_path: Path) -> None:
    first = make_edm(own={"durable": True})
    first.start()
    first.wait_young_minute(30)  # a process is started in it
    send(first.socket, [answer_frame(KNOWN)])
    first.settled(1)
    (spool,) = (first.data_dir / "spool").iterdir()

    second = make_edm(keys={"data-dir": str(first.data_dir)}, own={"durable": True})
    second.start(wait=False)
    assert second.daemon is not None
    assert second.daemon.process.wait(60) == 1
    assert f"{first.data_dir}: the folder is in use by another process" in second.daemon.output()
    assert spool.exists(), "the running minute of the first"
    rotated = first.ask("edm-rotate")
    assert list(read_histograms([Path(rotated["histogram"])])) == [KNOWN]

    # Beside a POP it waits, and the POP serves.
    for file in (EXAMPLES / "standalone").iterdir():
        shutil.copy(file, second.config_dir)
    main = second.config_dir / "dnstapir-pop.yaml"
    main.write_text(main.read_text().replace("127.0.0.1:5359", "127.0.0.1:0"))
    command = [sys.executable, "-m", "tapir", "run", "--config-dir", str(second.config_dir)]
    command += ["--state-dir", str(second.state_dir)]
    second.daemon = Daemon.start("tapir", command, directory=second.directory, env=None)
    wait_said(second, "EDM does not start: ")
    wait_said(second, "ready zone=dnstapir.")
    assert first.stop() == 0
    wait_said(second, "EDM starts now")
    wait_until(second.is_ready, what="EDM to be ready", seconds=60)
    assert second.daemon.output().count("EDM does not start: ") == 1
    assert second.stop() == 0
