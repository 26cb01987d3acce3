"""From a feed in the files to what its actor is told: two of one zone are two, and only what changed is restarted."""

import base64
from pathlib import Path

import pytest

from tapir.app.config import Config, load
from tapir.app.mapping import source_settings
from tapir.app.origins import origin_settings
from tapir.model.actions import ListKind
from tapir.model.names import parse_name
from tapir.services.sources.transfersettings import TransferSettings
from tapir.store.state import StateDirectory

MAIN = """
services: { rpz: { zonename: rpz.example. } }
dnsengine: { addresses: ["127.0.0.1:0"] }
keys: { k.test: { secret-file: k.key } }
service: { maxrefresh: 20 }
"""
POLICY = """
policy:
  allowlist: { action: passthru }
  denylist: { action: nxdomain }
  doubtlist:
    numsources: { limit: 2, action: nxdomain }
    numtapirtags: { limit: 3, action: nxdomain }
    denytapir: { tags: [], action: nxdomain }
"""
FEEDS = """
sources:
  one:
    {{ active: true, name: o, type: denylist, source: xfr, zone: feed.example, upstream: 192.0.2.1, tsig-key: k.test }}
  two: {{ active: true, name: two, type: allowlist, source: xfr, zone: feed.example, upstream: "{upstream}" }}
"""


@pytest.fixture
def state(tmp_path: Path):
    directory = StateDirectory.open(tmp_path / "state")
    yield directory
    directory.close()


def config(folder: Path, *, upstream: str = "192.0.2.2", secret: bytes = bytes(32)) -> Config:
    for name, text in (
        ("dnstapir-pop.yaml", MAIN),
        ("pop-policy.yaml", POLICY),
        ("pop-outputs.yaml", "outputs: {}\n"),
        ("pop-sources.yaml", FEEDS.format(upstream=upstream)),
        ("k.key", base64.b64encode(secret).decode()),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return load(folder, folder / "state")


def settings(config: Config, state: StateDirectory) -> dict[str, TransferSettings]:
    found = origin_settings(config, zone=config.zone.name, state=state)
    assert all(isinstance(each, TransferSettings) for each in found.values())
    return found  # type: ignore[return-value]


def test_two_feeds_of_one_zone_are_two(tmp_path: Path, state: StateDirectory) -> None:
    found = settings(config(tmp_path), state)
    one, two = found["one"], found["two"]
    assert one.feed.zone == two.feed.zone == parse_name("feed.example")
    assert (one.id, one.feed.kind, two.feed.kind) == ("one", ListKind.DENY, ListKind.ALLOW)
    assert one.store_path != two.store_path
    (primary,) = one.primaries
    assert (primary.host, primary.secured) == ("192.0.2.1", "tsig")
    assert one.bounds.refresh == (20, 20)


def test_only_what_changed_is_another(tmp_path: Path, state: StateDirectory) -> None:
    before = settings(config(tmp_path), state)
    assert settings(config(tmp_path), state) == before
    moved = settings(config(tmp_path, upstream="192.0.2.3"), state)
    assert (moved["one"] == before["one"], moved["two"] == before["two"]) == (True, False)
    rekeyed = settings(config(tmp_path, secret=bytes(range(32))), state)
    assert (rekeyed["one"] == before["one"], rekeyed["two"] == before["two"]) == (False, True)


def test_the_list_keeper_knows_what_each_feed_says(tmp_path: Path) -> None:
    known = {each.id: each for each in source_settings(config(tmp_path))}
    assert known["one"].origin == "xfr feed.example. from 192.0.2.1:53"
    assert (known["one:allow"].name, known["one:allow"].kind) == ("allow_catchall", ListKind.ALLOW)
    assert (known["two:doubt"].name, known["two:doubt"].kind) == ("doubt_catchall", ListKind.DOUBT)
    assert (known["one"].required, known["two"].required, known["one:allow"].required) == (False, True, False)
