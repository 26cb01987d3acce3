"""Operators copy what stands in deploy/ and docs/configuration.md, so every file and every block of it works."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from certificates import Authority

from tapir.app.config import Component, load, load_setup
from tapir.app.config.files import Files, key_of
from tapir.app.config.keys import _section_of

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "deploy/examples"
PAGE = (ROOT / "docs/configuration.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


WANTED = [
    "log.file",
    "log.verbose",
    "log.debug",
    "services.rpz.zonename",
    "services.rpz.serialcache",
    "services.reaper.interval",
    "services.refreshengine.active",
    "dnsengine.active",
    "dnsengine.name",
    "dnsengine.addresses",
    "dnsengine.logfile",
    "apiserver.active",
    "apiserver.name",
    "apiserver.key",
    "apiserver.addresses",
    "apiserver.tlsaddresses",
    "bootstrapserver.active",
    "bootstrapserver.name",
    "bootstrapserver.addresses",
    "bootstrapserver.tlsaddresses",
    "policy.allowlist.action",
    "policy.denylist.action",
    "policy.doubtlist.numsources.limit",
    "policy.doubtlist.numsources.action",
    "policy.doubtlist.numtapirtags.limit",
    "policy.doubtlist.numtapirtags.action",
    "policy.doubtlist.denytapir.tags",
    "policy.doubtlist.denytapir.action",
]


def test_the_standalone_example_loads_and_has_its_lists():
    config = load(EXAMPLES / "standalone")
    assert [str(notice) for notice in config.notices if notice.warning] == []
    assert [str(address) for address in config.server.addresses] == ["127.0.0.1:5359"]
    assert len(config.sources) == 4
    assert all(source.supported and source.path is not None and source.path.is_file() for source in config.sources)
    assert {file.name for file in (EXAMPLES / "standalone").iterdir()} == {
        "dnstapir-pop.yaml",
        "pop-sources.yaml",
        "pop-outputs.yaml",
        "pop-policy.yaml",
        *(source.path.name for source in config.sources if source.path is not None),
    }


def test_the_standalone_example_has_all_that_the_existing_pop_wants():
    """Its validator: text not empty, numbers not 0, bools and lists present."""
    tree: dict[str, Any] = {}
    for name in ("dnstapir-pop", "pop-sources", "pop-outputs", "pop-policy"):
        tree |= yaml.safe_load((EXAMPLES / f"standalone/{name}.yaml").read_text())
    for path in WANTED:
        value: Any = tree
        for step in path.split("."):
            value = value[step]
        assert value not in ("", 0, None) or value is False, path
    assert tree["services"]["rpz"]["zonename"].endswith(".")
    for source in tree["sources"].values():
        assert {"active", "name", "description", "type", "format", "source", "filename"} <= set(source)


def test_the_edge_example_loads_and_says_that_its_key_is_to_be_replaced():
    setup = load_setup(EXAMPLES / "edge", environment={})
    assert setup.components == (Component.POP, Component.EDM)
    (warning,) = [str(notice) for notice in setup.notices if notice.warning]
    assert "dnstapir-edm.toml:9: cryptopan-key: it is short" in warning
    assert "change-me" not in warning
    better = {"DNSTAPIR_EDM_CRYPTOPAN_KEY": "as long as what openssl prints"}
    assert not [notice for notice in load_setup(EXAMPLES / "edge", environment=better).notices if notice.warning]
    assert setup.pop is not None
    assert all(source.path is not None and source.path.is_file() for source in setup.pop.sources)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """The files that the page names beside the configuration."""
    folder = tmp_path_factory.mktemp("secrets")
    key = folder / "transfer.key"
    key.write_text("c2l4dGVlbiBvY3RldHMgb3IgbW9yZSBvZiBpdAo=\n")
    key.chmod(0o600)
    authority = Authority(folder, "secondaries")
    authority.issue("pop.example", file="pop")
    return folder


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_of_the_page_loads(write_config, secrets, block):
    name = re.match(r"# (?:dnstapir-pop|pop-(sources|outputs|policy))\.yaml", block)
    assert name, "a block begins with the name of its file"
    texts = {name[1] or "main": block}
    if "keys" in block and name[1] == "outputs":
        texts["main"] = next(other for other in BLOCKS if "keys:" in other)
    if "source: mqtt" in block:
        texts["main"] = next(other for other in BLOCKS if "keystore:" in other)
    folder = write_config(**texts)
    shutil.copytree(secrets, folder, dirs_exist_ok=True)
    config = load(folder)
    warnings = [str(notice) for notice in config.notices if notice.warning]
    assert [line for line in warnings if "there is no file" not in line] == []


def test_the_page_has_every_key():
    words = set(re.findall(r"[\w-]+", PAGE))
    missing = {key for key in _all_keys(Files) if key not in words}
    assert missing == set()


def _all_keys(model: type[Any]) -> set[str]:
    keys: set[str] = set()
    for attribute in attrs.fields(model):
        keys.add(key_of(attribute))
        kind = _section_of(attribute.type)
        if getattr(kind, "__origin__", None) is dict:
            kind = kind.__args__[1]
        if attrs.has(kind):
            keys |= _all_keys(kind)
    return keys


CHECKS = {
    "unbound/dnstapir.conf": ("unbound-checkconf",),
    "unbound/dnstap.conf": ("unbound-checkconf",),
    "bind/named.conf.dnstapir": ("named-checkconf",),
    "bind/named.conf.dnstap": ("named-checkconf",),
    "knot/knot.conf": ("knotc", "-c", "{}", "conf-check"),
    "nsd/nsd.conf": ("nsd-checkconf",),
}


@pytest.mark.interop
@pytest.mark.parametrize("sample", CHECKS)
def test_a_sample_passes_the_servers_own_check(require_peer, sample):
    program, *arguments = CHECKS[sample]
    path = str(EXAMPLES / sample)
    command = [require_peer(program), *([word.format(path) for word in arguments] or [path])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_example_is_named_in_the_readme():
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"]({folder.name})" in readme for folder in EXAMPLES.iterdir() if folder.is_dir())


def test_the_unit_speaks_to_its_manager_and_is_hardened():
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(ROOT / "deploy/systemd/tapir.service")
    service = dict(unit["Service"])
    assert service["Type"] == "notify"
    assert service["NotifyAccess"] == "main"
    assert service["WatchdogSec"]
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["StateDirectory"] == "dnstapir/tapir"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert "/etc/dnstapir/pop" in service["ReadWritePaths"]
    assert (service["User"], service["Group"]) == ("dnstapir-pop", "dnstapir")


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "tapir.service"
    # Where tapir is installed is the packager's to say; the verifier wants a program that is there.
    text = (ROOT / "deploy/systemd/tapir.service").read_text()
    unit.write_text(text.replace("/usr/bin/tapir", "/bin/true"))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=120, check=False)
    # It loads what the unit leans on as well, and what it says of that is this machine's.
    assert [line for line in done.stderr.splitlines() if "tapir" in line] == []
