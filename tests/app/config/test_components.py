"""Which components a folder has, and what is wrong with all of them at once."""

import socket
from pathlib import Path

import attrs
import pytest

from tapir.app.cli import commands
from tapir.app.cli.plan import plan
from tapir.app.config import (
    Component,
    ConfigErrors,
    Setup,
    candidate_state_dirs,
    load_setup,
    setup_after_reload,
    setup_changes_needing_restart,
)
from tapir.model.messages.events import EDM_CERTIFICATES

EDM = """\
input-unix = "dnstap.sock"
cryptopan-key = "a key of a test"
data-dir = "data"
disable-mqtt = true
disable-histogram-sender = true
"""
POP = {
    "dnstapir-pop.yaml": "services: { rpz: { zonename: dnstapir. } }\ndnsengine: { addresses: ['127.0.0.1:0'] }\n",
    "pop-sources.yaml": "sources: {}\n",
    "pop-outputs.yaml": "outputs: {}\n",
    "pop-policy.yaml": """\
policy:
  denylist: { action: nxdomain }
  doubtlist:
    numsources: { limit: 2, action: nxdomain }
    numtapirtags: { limit: 3, action: nxdomain }
    denytapir: { tags: [], action: drop }
""",
}


def write_pop(folder: Path) -> None:
    for name, text in POP.items():
        (folder / name).write_text(text)


def write_edm(folder: Path, text: str = EDM) -> None:
    (folder / "dnstapir-edm.toml").write_text(text)


def load(folder: Path, **how: object) -> Setup:
    return load_setup(folder, environment={}, **how)  # type: ignore[arg-type]


def faults(folder: Path, **how: object) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(folder, **how)
    return list(caught.value.lines)


def test_a_pop_alone_is_as_ever(tmp_path: Path) -> None:
    write_pop(tmp_path)
    setup = load(tmp_path)
    assert setup.components == (Component.POP,)
    assert setup.edm is None
    assert setup.pop is not None
    assert setup.state_dir == setup.pop.state_dir
    assert setup.log == setup.pop.log


def test_edm_alone_keeps_its_state_below_its_data(tmp_path: Path) -> None:
    write_edm(tmp_path)
    setup = load(tmp_path)
    assert setup.components == (Component.EDM,)
    assert setup.state_dir == tmp_path / "data" / "tapir"
    assert load(tmp_path, state_dir=tmp_path / "other").state_dir == tmp_path / "other"
    assert not setup.notices


def test_both_share_the_state_folder_of_the_pop(tmp_path: Path) -> None:
    write_pop(tmp_path)
    write_edm(tmp_path)
    setup = load(tmp_path)
    assert setup.components == (Component.POP, Component.EDM)
    assert setup.pop is not None
    assert setup.state_dir == setup.pop.state_dir
    assert load(tmp_path, only=Component.EDM).components == (Component.EDM,)
    assert load(tmp_path, only=Component.POP).components == (Component.POP,)


def test_where_there_is_neither_both_are_named(tmp_path: Path) -> None:
    (text,) = faults(tmp_path)
    assert "neither dnstapir-pop.yaml for a POP nor dnstapir-edm.toml for EDM" in text


def test_where_the_main_file_alone_is_missing_it_is_named(tmp_path: Path) -> None:
    write_pop(tmp_path)
    (tmp_path / "dnstapir-pop.yaml").unlink()
    (text,) = faults(tmp_path)
    assert text.startswith(f"{tmp_path / 'dnstapir-pop.yaml'}: there is no such file")
    write_edm(tmp_path)
    (notice,) = load(tmp_path).notices
    assert "without dnstapir-pop.yaml no POP is run" in notice.text


def test_what_is_asked_for_and_missing_is_named(tmp_path: Path) -> None:
    write_pop(tmp_path)
    assert faults(tmp_path, only=Component.EDM) == [f"{tmp_path / 'dnstapir-edm.toml'}: there is no such file"]


def test_all_faults_of_both_are_told_at_once(tmp_path: Path) -> None:
    write_pop(tmp_path)
    (tmp_path / "pop-policy.yaml").write_text("policy: {}\n")
    write_edm(tmp_path, EDM + "input-tcp = 'nowhere'\n")
    found = faults(tmp_path)
    assert any("pop-policy.yaml" in line and "policy.denylist.action" in line for line in found)
    assert any("dnstapir-edm.toml:6: input-tcp" in line for line in found)
    assert not any("edm" in line for line in faults(tmp_path, only=Component.POP))


def test_the_environment_reaches_edm(tmp_path: Path) -> None:
    write_edm(tmp_path)
    setup = load_setup(tmp_path, environment={"DNSTAPIR_EDM_DATA_DIR": "/elsewhere"})
    assert setup.state_dir == Path("/elsewhere/tapir")


def test_the_command_line_counts_most(tmp_path: Path) -> None:
    write_edm(tmp_path)
    flags = commands.parse_flags(["--data-dir=/there", "debug", "cryptopan-key=a=b"])
    assert flags == {"data-dir": "/there", "debug": "true", "cryptopan-key": "a=b"}
    setup = load_setup(tmp_path, environment={"DNSTAPIR_EDM_DATA_DIR": "/elsewhere"}, flags=flags)
    assert setup.state_dir == Path("/there/tapir")
    assert setup.edm is not None
    assert setup.edm.debug
    assert setup.edm.cryptopan_key == "a=b"
    assert faults(tmp_path, flags={"inputunix": "x"}) == [
        "command line: --inputunix: unknown flag; did you mean `input-unix`?"
    ]
    assert faults(tmp_path, flags={"mqtt-sign-workers": "1"}) == [
        "command line: --mqtt-sign-workers: this key stands in the file only"
    ]
    write_pop(tmp_path)
    assert faults(tmp_path, only=Component.POP, flags=flags) == [
        "command line: sets keys of EDM, which is not run: data-dir, debug, cryptopan-key"
    ]


def test_files_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_edm(
        tmp_path,
        EDM.replace("disable-mqtt = true", "")
        + "ignored-client-ips-file = 'clients'\ndebug-dnstap-filename = 'none/x'\n",
    )
    (tmp_path / "tapir-edm.toml").write_text("telemetry-topic = 'status/x'\ntelemetry-signing-key-file = 'none.json'\n")
    (tmp_path / "clients").write_text("")
    assert commands.check(tmp_path, None, as_json=False) == commands.DONE
    out, err = capsys.readouterr()
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        "well-known-domains-file",
        "mqtt-signing-key-file",
        "mqtt-client-cert-file",
        "mqtt-client-key-file",
        "telemetry-signing-key-file",
        "debug-dnstap-filename",
    ]
    assert out.splitlines()[-1] == "configuration ok"


def test_a_plan_is_about_a_zone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_edm(tmp_path)
    assert plan(tmp_path, None, show_all=False, as_json=False) == commands.WRONG_INPUT
    assert "configures EDM alone" in capsys.readouterr().err


def test_debug_of_edm_asks_for_more_of_the_log(tmp_path: Path) -> None:
    write_edm(tmp_path)
    assert load(tmp_path).log.level == "info"
    write_edm(tmp_path, EDM + "debug = true\n")
    assert load(tmp_path).log.level == "debug"


def test_debug_is_in_effect_with_a_reload_and_so_waits_for_no_restart(tmp_path: Path) -> None:
    write_edm(tmp_path)
    old = load(tmp_path)
    write_edm(tmp_path, EDM + "debug = true\n")
    new = load(tmp_path)
    assert setup_changes_needing_restart(old, new) == ()
    assert setup_after_reload(old, new).log.level == "debug"


def test_a_component_that_is_new_waits_for_a_restart(tmp_path: Path) -> None:
    write_edm(tmp_path)
    running = load(tmp_path).components
    write_pop(tmp_path)
    setup = load(tmp_path, running=running)
    assert setup.components == (Component.EDM,)
    (notice,) = setup.notices
    assert "a POP is configured now, and is run from the next restart on" in notice.text


def test_a_reload_takes_of_both_what_it_can(tmp_path: Path) -> None:
    write_pop(tmp_path)
    write_edm(tmp_path)
    old = load(tmp_path)
    write_edm(tmp_path, EDM.replace("a key of a test", "another key").replace("dnstap.sock", "other.sock"))
    (tmp_path / "dnstapir-pop.yaml").write_text(POP["dnstapir-pop.yaml"].replace("dnstapir.", "other."))
    new = load(tmp_path, running=old.components)
    assert setup_changes_needing_restart(old, new) == ("services.rpz.zonename", "input-unix")
    taken = setup_after_reload(old, new)
    assert old.edm is not None
    assert taken.edm is not None
    assert taken.edm.cryptopan_key == "another key"
    assert taken.edm.input_unix == old.edm.input_unix


def test_certificates_of_both_are_looked_after_each_once(tmp_path: Path) -> None:
    write_edm(tmp_path, EDM.replace("disable-mqtt = true", "").replace("disable-histogram-sender = true", ""))
    edm = load(tmp_path)
    assert [each.label for each in edm.certificates.watched] == ["mqtt-client-cert-file", "http-client-cert-file"]
    assert edm.edm is not None
    shared = attrs.evolve(edm.edm, http_client_cert_file=edm.edm.mqtt_client_cert_file)
    assert [each.label for each in attrs.evolve(edm, edm=shared).certificates.watched] == ["mqtt-client-cert-file"]


def test_each_certificate_of_edm_is_known_as_its_own_where_events_are_told(tmp_path: Path) -> None:
    text = EDM.replace("disable-mqtt = true", "").replace("disable-histogram-sender = true", "")
    text = text.replace('input-unix = "dnstap.sock"', 'input-tls = "127.0.0.1:6000"\ninput-tls-key-file = "k"')
    files = {key: f'{key} = "{number}.pem"\n' for number, key in enumerate(sorted(EDM_CERTIFICATES))}
    write_edm(tmp_path, text + "".join(files.values()))
    assert {each.label for each in load(tmp_path).certificates.watched} == EDM_CERTIFICATES


def test_the_commands_look_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_edm(tmp_path)
    edm = tmp_path / "data" / "tapir"
    assert candidate_state_dirs(tmp_path) == (edm,)
    assert commands.find_state_dir(tmp_path, None) == edm
    # Of the environment it is from where we are, as for the process; of the file from where that is.
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("DNSTAPIR_EDM_DATA_DIR", "run/edm")
    assert candidate_state_dirs(tmp_path) == (load_setup(tmp_path).state_dir,) == (here / "run/edm/tapir",)
    monkeypatch.delenv("DNSTAPIR_EDM_DATA_DIR")
    write_pop(tmp_path)
    (tmp_path / "dnstapir-pop.yaml").write_text(POP["dnstapir-pop.yaml"] + "state-dir: state\n")
    pop = tmp_path / "state"
    assert candidate_state_dirs(tmp_path) == (pop, edm)
    assert candidate_state_dirs(tmp_path, first=Component.EDM) == (edm, pop)
    assert commands.find_state_dir(tmp_path, None) == pop, "nobody answers: where the POP would be"
    edm.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(edm / "console.sock"))
        listener.listen()
        assert commands.find_state_dir(tmp_path, None) == edm
        assert commands.find_state_dir(tmp_path, tmp_path) == tmp_path
