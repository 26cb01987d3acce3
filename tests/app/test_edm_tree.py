"""The tree with EDM in it: its shape, what it is told, and what a part of it that crashes for ever costs the others."""

import itertools
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors import (
    Actor,
    ActorError,
    ActorSpec,
    ActorSystem,
    Context,
    ManualClock,
    StartFailed,
    Strategy,
    SupervisorSpec,
    SystemSettings,
)
from actors.testing import Probe, probe, run_system
from tapir.app import mapping_edm
from tapir.app.config import CertificatesConfig, EdmConfig, Setup, load_setup
from tapir.app.edm import EdmTree
from tapir.app.tree import Tree
from tapir.app.watchers import Watchers
from tapir.minimiser.account import Fate
from tapir.model.messages.control import HealthStatus
from tapir.services.control.status import ProcessFacts
from tapir.services.ingest.minimiser import ConfigureMinimiser
from tapir.services.ingest.novelty import ConfigureNovelty
from tapir.services.uplink.aggregates import ConfigureAggregates
from tapir.services.uplink.newnames import ConfigureNewNames
from tapir.services.uplink.session_messages import ConfigureSession
from tapir.services.uplink.telemetry import ConfigureTelemetry
from tapir.store.errors import FolderInUse
from tapir.store.hold import FolderHold
from tapir.store.seen import Retention
from tapir.store.state import StateDirectory

FACTS = ProcessFacts(version="1.2.3", commit="c", pid=1, started_at=7, config_dir="", state_dir="")
NONE = CertificatesConfig()
TOML = """\
input-tls = "127.0.0.1:5353"
input-tls-cert-file = "cert.pem"
input-tls-key-file = "key.pem"
cryptopan-key = "a key of a test"
data-dir = "data"
mqtt-server = "broker.example"
http-url = "https://core.example/api"
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    with closing(StateDirectory.open(tmp_path / "state")) as opened:
        yield opened


def load(folder: Path, more: str = "", own: str = "") -> Setup:
    (folder / "dnstapir-edm.toml").write_text(TOML + more)
    (folder / "tapir-edm.toml").write_text(own)
    return load_setup(folder, folder / "state", environment={})


def edm_of(setup: Setup) -> EdmConfig:
    assert setup.edm is not None
    return setup.edm


def make_system() -> ActorSystem:
    return ActorSystem(clock=ManualClock(), settings=SystemSettings(seed=0))


def shape(spec: SupervisorSpec) -> dict[str, list[str]]:
    return {
        group.name: [child.name for child in group.children]
        for group in spec.children
        if isinstance(group, SupervisorSpec)
    }


async def no_report(_: HealthStatus) -> None:
    """Nobody listens."""


def make_tree(system: ActorSystem, state: StateDirectory) -> Tree:
    return Tree(system=system, state=state, facts=FACTS, report=no_report)


def test_edm_alone_has_no_part_of_a_pop(tmp_path: Path, state: StateDirectory) -> None:
    tree = make_tree(make_system(), state)
    assert list(shape(tree.specify(load(tmp_path))).items()) == [
        ("control", ["events", "clock", "certificates", "health", "console"]),
        ("edm-uplink", ["mqtt", "newnames", "aggregates", "telemetry"]),
        ("edm", ["novelty", "minimiser", "input", "metrics"]),
    ]
    tree.close()


def test_without_mqtt_there_is_no_session(tmp_path: Path, state: StateDirectory) -> None:
    tree = make_tree(make_system(), state)
    assert shape(tree.specify(load(tmp_path, "disable-mqtt = true\n")))["edm-uplink"] == ["aggregates", "telemetry"]


def test_settings_are_what_the_files_say(tmp_path: Path, state: StateDirectory) -> None:
    config = edm_of(load(tmp_path, "disable-session-files = true\npebble-sync = true\n", "seen-retention = 60\n"))
    taken = mapping_edm.input_settings(config, connections=config.input_connections)
    assert (taken.unix, taken.tcp, taken.tls) == (None, None, ("127.0.0.1", 5353))
    assert taken.tls_certificate == tmp_path / "cert.pem"
    minimising = mapping_edm.minimiser_settings(config)
    assert not minimising.sessions
    assert "a key of a test" not in repr(minimising)
    novelty = mapping_edm.novelty_settings(config)
    assert novelty.path == tmp_path / "data" / "seen"
    assert novelty.sync
    assert novelty.retention == Retention(age=60_000_000)
    assert mapping_edm.refresh_names(config) == 7_500_000
    assert mapping_edm.refresh_names(attrs.evolve(config, seen_retention=0.0)) == 86_400_000_000
    assert mapping_edm.novelty_settings(attrs.evolve(config, seen_retention=0.0)).retention.age is None
    session = mapping_edm.broker_settings(config, state)
    assert session is not None
    assert (str(session.broker), session.role) == ("mqtts://broker.example:8883", "edm")
    assert session.state_path == tmp_path / "state" / "edm-mqtt.json"
    sending = mapping_edm.aggregate_settings(config, "1.2.3")
    assert sending.enabled
    assert sending.agent.startswith("edm/1.2.3 ")
    assert not mapping_edm.aggregate_settings(attrs.evolve(config, disable_histogram_sender=True), "1").enabled


def test_more_names_than_memory_has_are_not_remembered(
    tmp_path: Path, state: StateDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(tmp_path, "qname-seen-entries = 9223372036854775807\n")
    make_tree(make_system(), state).specify(config)
    assert [record.message for record in caplog.records] == [
        "qname-seen-entries is 9223372036854775807; 268435456 names are remembered"
    ]


def test_a_shorter_retention_has_names_in_use_noted_more_often(tmp_path: Path) -> None:
    settings = mapping_edm.novelty_settings(edm_of(load(tmp_path, own="seen-retention = 3600\n")))
    assert settings.retention.age == 3_600_000_000
    assert settings.refresh == 450_000_000


def test_there_are_no_more_senders_than_descriptors(
    tmp_path: Path, state: StateDirectory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapir.app.edm.allow_descriptors", lambda: 1024)
    (tmp_path / "tapir-edm.toml").write_text("input-connections = 1000\n")
    system = make_system()
    watchers = Watchers(system=system, state=state, version="1")
    (_, ingest) = EdmTree(system=system, state=state, facts=FACTS, watchers=watchers).specify(edm_of(load(tmp_path)))
    (spec,) = [child for child in ingest.children if child.name == "input"]
    assert isinstance(spec, ActorSpec)
    assert spec.factory()._settings.connections == 768  # type: ignore[attr-defined]
    assert [record.message for record in caplog.records] == [
        "input-connections is 1000; 768 senders may be connected, as there may be 1024 descriptors (ulimit -n)"
    ]


def test_what_a_stop_left_is_in_the_account(
    tmp_path: Path, state: StateDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    system = make_system()
    edm = EdmTree(system=system, state=state, facts=FACTS, watchers=Watchers(system=system, state=state, version="1"))
    edm._ledger.receive(5)
    edm._ledger.settle({Fate.QUERY: 2})
    edm.close()
    (record,) = caplog.records
    assert record.message == "frames: 5 received = 0 minimised + 2 ignored + 0 malformed + 3 dropped"


def stand_ins(specs: tuple[SupervisorSpec, ...], parts: dict[str, Probe]) -> tuple[SupervisorSpec, ...]:
    """The supervisors with a probe in each actor's place."""
    return tuple(
        attrs.evolve(
            group,
            children=tuple(parts[child.name].spec(child.name, mailbox=child.mailbox) for child in group.children),
        )
        for group in specs
    )


async def test_a_reload_asks_each_of_them(tmp_path: Path, state: StateDirectory, autojump_clock: MockClock) -> None:
    system = make_system()
    edm = EdmTree(system=system, state=state, facts=FACTS, watchers=Watchers(system=system, state=state, version="1"))
    old, new = edm_of(load(tmp_path)), edm_of(load(tmp_path, own="new-qname-rate = 9\nsent-retention = 5\n"))
    asked = (
        ConfigureSession,
        ConfigureNewNames,
        ConfigureAggregates,
        ConfigureTelemetry,
        ConfigureNovelty,
        ConfigureMinimiser,
    )
    answers: dict[Any, Any] = dict.fromkeys(asked)
    specs = edm.specify(old)
    parts = {child.name: probe(answers) for group in specs for child in group.children}
    tree = SupervisorSpec(name="tapir", strategy=Strategy.ONE_FOR_ONE, children=stand_ins(specs, parts))
    async with run_system(tree, system=system):
        await edm.reconfigure(new)
    heard = {name: [type(message) for message in part.messages] for name, part in parts.items()}
    assert heard == {
        "mqtt": [ConfigureSession],
        "newnames": [ConfigureNewNames],
        "aggregates": [ConfigureAggregates],
        "telemetry": [ConfigureTelemetry],
        "novelty": [ConfigureNovelty],
        "minimiser": [ConfigureMinimiser],
        "input": [],
        "metrics": [],
    }
    assert parts["newnames"].messages[0].settings.rate == 9
    # A crash must not undo the reload.
    newnames = specs[0].children[1]
    assert isinstance(newnames, ActorSpec)
    assert newnames.factory()._settings.rate == 9  # type: ignore[attr-defined]


async def test_beside_a_pop_edm_starts_later_and_as_often_as_it_takes(
    tmp_path: Path, state: StateDirectory, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = make_system()
    tree = make_tree(system, state)
    setup = load(tmp_path)
    parts = {name: probe() for name in ("novelty", "minimiser", "input", "metrics")}
    failing = [True]

    def begin() -> Actor[Any]:
        if failing[0]:
            raise RuntimeError("the disk is on fire")
        return parts["minimiser"]

    def specify(self: EdmTree, config: EdmConfig) -> tuple[SupervisorSpec, ...]:
        specs = [part.spec(name) for name, part in parts.items()]
        specs[1] = attrs.evolve(specs[1], factory=begin)
        uplink = probe().spec("mqtt")
        if failing[0]:
            uplink = attrs.evolve(uplink, factory=begin)
        return tuple(
            SupervisorSpec(name=name, strategy=Strategy.ONE_FOR_ONE, children=children)
            for name, children in (("edm-uplink", (uplink,)), ("edm", tuple(specs)))
        )

    monkeypatch.setattr(EdmTree, "specify", specify)
    monkeypatch.setattr("tapir.app.pop.PopTree.specify", lambda self, config: ())
    monkeypatch.setattr("tapir.app.pop.PopTree.management_api", lambda self, config, refs: probe().spec("api"))
    pop: Any = SimpleNamespace(start_deadline=1, certificates=NONE)
    groups = tree.specify(attrs.evolve(setup, pop=pop)).children[-2:]
    async with run_system(SupervisorSpec(name="tapir", strategy=Strategy.ONE_FOR_ONE, children=groups), system=system):
        assert system.supervisor("edm").children() == ()
        with pytest.raises(StartFailed, match="edm-uplink/mqtt"):
            await tree.begin()
        assert system.supervisor("edm-uplink").children() == ()
        assert system.supervisor("edm").children() == ("novelty",)
        failing[0] = False
        await tree.begin()
        assert system.supervisor("edm").children() == ("novelty", "minimiser", "input", "metrics")


async def test_a_part_that_is_down_keeps_no_other_from_a_reload(
    tmp_path: Path, state: StateDirectory, autojump_clock: MockClock
) -> None:
    system = make_system()
    edm = EdmTree(system=system, state=state, facts=FACTS, watchers=Watchers(system=system, state=state, version="1"))
    (_, ingest) = edm.specify(edm_of(load(tmp_path)))
    parts = {child.name: probe({ConfigureNovelty: None, ConfigureMinimiser: None}) for child in ingest.children}
    (ingest,) = stand_ins((ingest,), parts)
    tree = SupervisorSpec(name="tapir", strategy=Strategy.ONE_FOR_ONE, children=(ingest,))
    async with run_system(tree, system=system):
        with pytest.raises(ActorError, match="edm-uplink/mqtt"):
            await edm.reconfigure(edm_of(load(tmp_path, "histogram-hll-explicit-threshold = 7\n")))
    assert parts["minimiser"].messages[0].settings.threshold == 7


class Hanging(Actor[Any]):
    """Takes a message, and is never done with it."""

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        await trio.sleep_forever()


async def test_a_reload_waits_once_however_many_hang(
    tmp_path: Path, state: StateDirectory, autojump_clock: MockClock
) -> None:
    system = make_system()
    edm = EdmTree(system=system, state=state, facts=FACTS, watchers=Watchers(system=system, state=state, version="1"))
    hanging = tuple(
        attrs.evolve(
            group,
            children=tuple(
                ActorSpec(name=child.name, factory=Hanging, mailbox=child.mailbox) for child in group.children
            ),
        )
        for group in edm.specify(edm_of(load(tmp_path)))
    )
    tree = SupervisorSpec(name="tapir", strategy=Strategy.ONE_FOR_ONE, children=hanging)
    async with run_system(tree, system=system):
        began = trio.current_time()
        with pytest.raises(ActorError):
            await edm.reconfigure(edm_of(load(tmp_path)))
        assert trio.current_time() - began <= 60


async def test_a_component_that_is_down_keeps_no_other_from_a_reload(
    tmp_path: Path, state: StateDirectory, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here all of them are: the keeper of certificates, the POP and EDM."""
    tree = make_tree(make_system(), state)
    setup = load(tmp_path)
    told: list[str] = []

    def fail(name: str) -> Any:
        async def reconfigure(*_: object) -> None:
            told.append(name)
            raise ActorError(f"{name} is down")

        return reconfigure

    monkeypatch.setattr("tapir.app.pop.PopTree.reconfigure", fail("pop"))
    monkeypatch.setattr(EdmTree, "reconfigure", fail("edm"))
    monkeypatch.setattr(Watchers, "reconfigure", fail("certificates"))
    with closing(tree):
        tree.specify(setup)
        pop: Any = SimpleNamespace(certificates=NONE)
        both = attrs.evolve(setup, pop=pop)
        with pytest.raises(ActorError, match="certificates is down"):
            await tree.reconfigure(both, both)
    assert told == ["certificates", "pop", "edm"]


async def test_a_reload_while_another_process_is_in_its_folder_is_taken_at_the_start(
    tmp_path: Path, state: StateDirectory, autojump_clock: MockClock
) -> None:
    system = make_system()
    edm = EdmTree(system=system, state=state, facts=FACTS, watchers=Watchers(system=system, state=state, version="1"))
    config = edm_of(load(tmp_path))
    (_, ingest) = edm.specify(config)
    held = FolderHold.take(mapping_edm.data_dir(config))
    with pytest.raises(FolderInUse):
        edm.hold(config)
    await edm.reconfigure(edm_of(load(tmp_path, "histogram-hll-explicit-threshold = 7\n")))  # nobody is there to ask
    held.close()
    edm.hold(config)
    (minimiser,) = [child for child in ingest.children if child.name == "minimiser"]
    assert isinstance(minimiser, ActorSpec)
    assert minimiser.factory()._settings.threshold == 7  # type: ignore[attr-defined]
    with pytest.raises(ActorError):
        await edm.reconfigure(config)
    edm.close()


class Broken(Actor[Any]):
    """Starts, and crashes a moment later, for ever."""

    begun: list[float]

    def __init__(self, begun: list[float]) -> None:
        self.begun = begun

    async def started(self, ctx: Context[Any]) -> None:
        self.begun.append(trio.current_time())
        ctx.start_soon(self._fail, name="fail")

    async def _fail(self) -> None:
        await trio.sleep(0.01)
        raise RuntimeError("again")

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        """Nothing is ever handled."""


async def test_one_that_crashes_for_ever_costs_the_others_nothing(
    tmp_path: Path, state: StateDirectory, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    system = make_system()
    edm = EdmTree(system=system, state=state, facts=FACTS, watchers=Watchers(system=system, state=state, version="1"))
    specs = edm.specify(edm_of(load(tmp_path)))
    begun: list[float] = []
    parts = {child.name: probe() for group in specs for child in group.children}
    uplink, ingest = stand_ins(specs, parts)
    broken = tuple(
        attrs.evolve(original, factory=lambda: Broken(begun)) if original.name == "minimiser" else child  # type: ignore[arg-type]
        for original, child in zip(specs[1].children, ingest.children, strict=True)
    )
    pop = probe()
    tree = SupervisorSpec(
        name="tapir",
        strategy=Strategy.ONE_FOR_ONE,
        children=(pop.spec("pop"), uplink, attrs.evolve(ingest, children=broken)),
    )
    caplog.set_level(logging.CRITICAL)
    async with run_system(tree, system=system):
        await trio.sleep(3600)
        nodes = {node.path: node for node in system.statistics().root.walk()}
    assert {path: node.restarts for path, node in nodes.items() if node.restarts} == {
        "edm/minimiser": nodes["edm/minimiser"].restarts
    }
    assert 100 < len(begun) < 2000
    assert max(later - earlier for earlier, later in itertools.pairwise(begun)) < 31
    assert not caplog.records, "nobody gave up"
