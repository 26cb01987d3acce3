"""The whole tree on the virtual clock: real configuration files, list files and databases, and no sockets.

Fixtures
    pop       one installation, with no source yet; `async with pop.run() as life` is one life of its process, and a
              second `run` finds what the first one stored
    four      the same with four lists
    trouble   makes actors crash on the next message that they handle: `pop.run(trouble=trouble)`

In the zone server's place is a `Secondary`: it takes every version that is published, as a real one that is never
late, and notes what no secondary may ever see. The notifier's place holds a probe; the console, which listens on a real
socket, is left out. Everything else is what `tapir run` runs.
"""

import contextlib
import json
import logging
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors import (
    Actor,
    ActorSpec,
    ActorSystem,
    Context,
    MailboxSpec,
    ManualClock,
    Overflow,
    SupervisorSpec,
    SystemSettings,
)
from actors.testing import InjectedFault, Probe, probe
from tapir.app.config import Config, ConfigErrors, Setup, load
from tapir.app.tree import Tree
from tapir.model.messages.control import GetHealth, HealthStatus
from tapir.model.messages.lists import GetSources, SourcesStatus, SourceStatus
from tapir.model.messages.zone import GetSecondaries, GetServer, GetZone, ServerStatus, ZoneStatus
from tapir.model.names import format_name
from tapir.services.authority.keeper import KeeperSettings, ZoneKeeper
from tapir.services.authority.messages import GetView, Publish
from tapir.services.authority.server import ConfigureServer, ServerSettings
from tapir.services.control.status import ProcessFacts
from tapir.store.state import StateDirectory
from tapir.store.zones import ZoneStore
from tapir.zone.serial import is_newer, next_serial
from tapir.zone.view import ZoneView

ZONE: Final = "dnstapir."
FACTS: Final = ProcessFacts(version="0", commit="", pid=1, started_at=0, config_dir="", state_dir="")

Rules = dict[str, str]
"""Owner without the zone's name, and action: what a zone says."""

Factory = Callable[[], Actor[Any]]


def answer(rules: Rules, name: str) -> str:
    """What a resolver does with `name` by `rules`: NONE for nothing (RFC 4592 §3.3.1; a pass is nothing)."""
    exists = {owner[index:] for owner in rules for index in _label_starts(owner)}
    found = rules.get(name)
    if found is None and name not in exists:
        above = next((name[index:] for index in _label_starts(name) if name[index:] in exists), "")
        found = rules.get(f"*.{above}")
    return "NONE" if found in (None, "PASSTHRU") else found


def _label_starts(name: str) -> Iterable[int]:
    return [0] + [index + 1 for index, character in enumerate(name[:-1]) if character == "."]


@attrs.frozen(kw_only=True)
class Seen:
    """A version as a secondary sees it, `at` seconds of virtual time."""

    at: float
    serial: int
    rules: Rules


class Secondary(Actor[Any]):
    """Takes every version that is published, over all lives of the process, and notes what must never be seen.

    A serial never goes back and means one content for ever; it steps by one exactly when the content changes, unless
    this secondary `may_miss` versions, or serials are left out; the journal leads from the version before to this one
    (`whole_transfers` counts where it does not reach back).
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.never: set[str] = set()
        """names that no version may block"""
        self.always: set[str] = set()
        """names that every version must block"""
        self.may_miss = False
        self.whole_transfers = 0
        self.configured: ServerSettings | None = None
        """what the zone server was last reconfigured to"""
        self.wrong: list[str] = []
        self._news = trio.Event()
        self._by_serial: dict[int, Rules] = {}
        self._keeper: Any = None

    def at_the_server_of(self, system: ActorSystem) -> "Secondary":
        self._keeper = system.ref("authority/keeper")
        return self

    async def started(self, ctx: Context[Any]) -> None:
        self._take(await self._keeper.ask(GetView()))

    async def receive(self, ctx: Context[Any], message: Publish | GetServer | ConfigureServer) -> None:
        match message:
            case Publish():
                self._take(message.view)
            case GetServer():
                ctx.reply(ServerStatus(listening=("here",), counters=(), refusals=(), connections=0))
            case ConfigureServer():
                self.configured = message.settings

    @property
    def serial(self) -> int | None:
        return self.seen[-1].serial if self.seen else None

    @property
    def rules(self) -> Rules:
        assert self.seen, "no version is published yet"
        return self.seen[-1].rules

    async def wait_versions(self, count: int, seconds: float = 600) -> Seen:
        """Wait for `count` versions in all, and return the last of them."""
        with trio.fail_after(seconds):
            while len(self.seen) < count:
                await self._news.wait()
        return self.seen[count - 1]

    def _take(self, view: ZoneView | None) -> None:
        if view is None:
            return
        rules = {format_name(name): action.label for name, action in view.version}
        known = self._by_serial.setdefault(view.serial, rules)
        self._check(known == rules, f"serial {view.serial} means two contents: {known} and {rules}")
        before = self.seen[-1] if self.seen else None
        if before is not None and before.serial == view.serial:
            return
        if before is not None:
            self._check_step(before, view, rules)
        for name in self.never:
            self._check(answer(rules, name) == "NONE", f"serial {view.serial} blocks {name}")
        for name in self.always:
            self._check(answer(rules, name) != "NONE", f"serial {view.serial} does not block {name}")
        self.seen.append(Seen(at=trio.current_time(), serial=view.serial, rules=rules))
        self._news.set()
        self._news = trio.Event()

    def _check_step(self, before: Seen, view: ZoneView, rules: Rules) -> None:
        self._check(is_newer(view.serial, than=before.serial), f"serial {view.serial} goes back from {before.serial}")
        if not self.may_miss:
            follows = view.serial == next_serial(before.serial)
            self._check(follows, f"serial {view.serial} comes after {before.serial}")
            self._check(rules != before.rules, f"serial {view.serial} changes nothing")
        net = view.journal.net(before.serial)
        if net is None:
            self.whole_transfers += 1
            return
        after = dict(before.rules)
        for name, action in net.removed:
            self._check(
                after.pop(format_name(name), None) == action.label, f"an IXFR removes {format_name(name)} twice"
            )
        for name, action in net.added:
            added = after.setdefault(format_name(name), action.label)
            self._check(added == action.label, f"an IXFR adds {format_name(name)} twice")
        self._check(after == rules, f"the IXFR {before.serial}→{view.serial} leads elsewhere")

    def _check(self, right: bool, what: str) -> None:
        if not right:
            self.wrong.append(f"{what} (at {trio.current_time():g} s)")


class Trouble:
    """Crashes actors, by path: the next message that is handled, before or after its handling."""

    def __init__(self) -> None:
        self._armed: dict[str, list[str]] = {}
        self.crashes = 0

    def arm(self, path: str, *when: str) -> None:
        """The next messages of the actor at `path` crash it, each `before` or `after` it is handled."""
        self._armed.setdefault(path, []).extend(when)

    def disarm(self) -> None:
        self._armed.clear()

    def wrap(self, path: str, factory: Factory) -> Factory:
        trouble = self

        class Crashing(Actor[Any]):
            def __init__(self) -> None:
                self._inner = factory()

            async def started(self, ctx: Context[Any]) -> None:
                await self._inner.started(ctx)

            async def receive(self, ctx: Context[Any], message: Any) -> None:
                armed = trouble._armed.get(path)
                when = armed.pop(0) if armed else ""
                if when == "before":
                    trouble.crash(message)
                await self._inner.receive(ctx, message)
                if when == "after":
                    trouble.crash(message)

            async def stopping(self, ctx: Context[Any], reason: Any) -> None:
                await self._inner.stopping(ctx, reason)

        return Crashing

    def crash(self, message: object) -> None:
        self.crashes += 1
        raise InjectedFault(f"on {type(message).__name__}")


@attrs.frozen(kw_only=True, eq=False)
class Life:
    """One life of the process."""

    pop: "Pop"
    system: ActorSystem
    tree: Tree
    secondary: Secondary
    notifier: Probe
    reports: list[HealthStatus]
    began: float
    _state: dict[str, Any]
    _scope: trio.CancelScope

    @property
    def now(self) -> float:
        """Virtual seconds of this life."""
        return trio.current_time() - self.began

    async def until(self, seconds: float) -> None:
        """Sleep until that second of this life."""
        await trio.sleep_until(self.began + seconds)

    async def zone(self) -> ZoneStatus:
        status: ZoneStatus = await self.ask("authority/keeper", GetZone())
        return status

    async def sources(self) -> SourcesStatus:
        status: SourcesStatus = await self.ask("evaluator/lists", GetSources())
        return status

    async def source(self, name: str) -> SourceStatus:
        (found,) = [source for source in (await self.sources()).sources if source.id == name]
        return found

    async def health(self) -> HealthStatus:
        status: HealthStatus = await self.ask("control/health", GetHealth())
        return status

    async def ask(self, path: str, request: Any) -> Any:
        return await self.system.ref(path).ask(request)

    async def reload(self) -> tuple[str, ...]:
        """What SIGHUP does: read, judge, swap. Returns what is wrong, and then nothing has changed."""
        self.pop.write_configuration()
        try:
            config = load(self.pop.config_dir, self.pop.state_dir)
        except ConfigErrors as exc:
            return exc.lines
        await self.tree.reconfigure(as_setup(self._state["config"]), as_setup(config))
        self._state["config"] = config
        return ()

    def kill(self) -> None:
        """End as by `kill -9`: nothing is drained, nothing is closed; the next life finds the disk as it is now."""
        self.pop.freeze_state()
        self._scope.cancel()

    def stop(self) -> None:
        self.system.request_stop("the scenario says so")


@attrs.define(kw_only=True, eq=False)
class Pop:
    """An installation in a folder: configuration, list files, state."""

    folder: Path
    policy: dict[str, Any] = attrs.field(factory=dict)
    rpz: dict[str, Any] = attrs.field(factory=dict)
    top: dict[str, Any] = attrs.field(factory=dict)
    sources: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    outputs: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    secondary: Secondary = attrs.field(factory=Secondary)
    clock: ManualClock = attrs.field(factory=ManualClock)
    """the wall, which goes on from one life to the next"""
    _stamp: int = 0
    _states: int = 0

    @property
    def config_dir(self) -> Path:
        return self.folder / "config"

    @property
    def state_dir(self) -> Path:
        return self.folder / f"state-{self._states}"

    @property
    def serial_cache(self) -> Path:
        return self.folder / "rpz-serial.yaml"

    @property
    def zone_db(self) -> Path:
        return self.state_dir / "zones" / "dnstapir" / "zone.db"

    def path(self, source: str) -> Path:
        return self.folder / "lists" / f"{source}.txt"

    def add(self, source: str, kind: str, *names: str, missing: bool = False, **keys: Any) -> None:
        """A list file source that says `names`; or whose file is `missing`."""
        self.sources[source] = {
            "active": True,
            "name": source,
            "type": kind,
            "source": "file",
            "format": "domains",
            "filename": str(self.path(source)),
            **keys,
        }
        if not missing:
            self.say(source, *names)

    def say(self, source: str, *names: str) -> None:
        """Replace a list by renaming, as a careful tool does: it is read at the next look."""
        self.put(source, "".join(f"{name}\n" for name in names).encode())

    def put(self, source: str, octets: bytes) -> None:
        """Replace a list's octets by renaming."""
        self.clear(source, only_folder=True)
        path = self.path(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_bytes(octets)
        # Older than the rename for certain, and never twice the same: file systems round times and reuse inodes.
        self._stamp += 1
        stamp = (1_500_000_000 + self._stamp) * 1_000_000_000
        os.utime(temporary, ns=(stamp, stamp))
        temporary.rename(path)

    def append(self, source: str, octets: bytes) -> None:
        """Write on at the end of a list in place, as a careless tool does."""
        path = self.path(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(octets)

    async def write_slowly(self, source: str, lines: Iterable[str], interval: float = 0.5) -> None:
        """Write a list in place, a line every `interval` seconds; it is whole with the last one."""
        for line in lines:
            self.append(source, f"{line}\n".encode())
            await trio.sleep(interval)

    def ruin(self, source: str, how: str) -> None:
        """Make of a list what no list can be: `absent`, `directory`, `garbage`, `loop` or `forbidden`."""
        if how == "garbage":
            self.put(source, random.Random(source).randbytes(4096))
            return
        self.clear(source)
        path = self.path(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        match how:
            case "absent":
                pass
            case "directory":
                path.mkdir()
            case "loop":
                path.symlink_to(path)
            case "forbidden":
                if os.geteuid() == 0:
                    pytest.skip("root may read everything")
                self.put(source, b"forbidden.example\n")
                path.chmod(0)
            case _:
                raise AssertionError(how)

    def clear(self, source: str, *, only_folder: bool = False) -> None:
        """Nothing is in the list's place any more."""
        path = self.path(source)
        if path.is_symlink() or (path.is_file() and not only_folder):
            path.unlink()
        elif path.is_dir():
            path.rmdir()

    def write_configuration(self) -> None:
        """Write the four files. JSON is YAML, and no second YAML library could agree with the first by being it."""
        self.config_dir.mkdir(parents=True, exist_ok=True)
        policy = {
            "logfile": "",
            "allowlist": {"action": "passthru"},
            "denylist": {"action": "nxdomain"},
            "doubtlist": {
                "numsources": {"limit": 2, "action": "nodata"},
                "numtapirtags": {"limit": 3, "action": "nxdomain"},
                "denytapir": {"tags": [], "action": "drop"},
            },
            **self.policy,
        }
        main = {
            "log": {},
            "services": {"rpz": {"zonename": ZONE, "serialcache": str(self.serial_cache), **self.rpz}},
            "dnsengine": {"active": True, "addresses": ["127.0.0.1:5359"]},
            **self.top,
        }
        for file, document in (
            ("dnstapir-pop.yaml", main),
            ("pop-sources.yaml", {"sources": self.sources}),
            ("pop-outputs.yaml", {"outputs": self.outputs}),
            ("pop-policy.yaml", {"policy": policy}),
        ):
            (self.config_dir / file).write_text(json.dumps(document, indent=1))

    def freeze_state(self) -> None:
        """The state folder becomes a copy of what it is now; who has the old one open writes on in vain."""
        old = self.state_dir
        self._states += 1
        shutil.copytree(old, self.state_dir)

    @contextlib.asynccontextmanager
    async def run(
        self,
        *,
        trouble: Trouble | None = None,
        wrap: Mapping[str, Callable[[Factory], Factory]] | None = None,
        open_store: Callable[[Path], ZoneStore] | None = None,
        settings: SystemSettings | None = None,
        real_notifier: bool = False,
    ) -> AsyncIterator[Life]:
        """One life of the process, from ready to stopped; `wrap` puts something around actors, by path.

        A `real_notifier` opens sockets as soon as there are outputs and a version to tell of.

        After it, nothing that no secondary may ever see was seen.
        """
        # pytest-trio finds a clock among a test's own arguments only.
        assert isinstance(trio.lowlevel.current_clock(), MockClock), "a scenario takes `autojump_clock`"
        self.write_configuration()
        config = load(self.config_dir, self.state_dir)
        system = ActorSystem(clock=self.clock, settings=settings or SystemSettings(seed=0))
        reports: list[HealthStatus] = []

        async def report(status: HealthStatus) -> None:
            reports.append(status)

        with contextlib.closing(StateDirectory.open(self.state_dir)) as state:
            tree = Tree(system=system, state=state, facts=FACTS, report=report)
            notifier = probe({GetSecondaries: ()})
            around = dict(wrap or {})
            if open_store is not None:
                around["authority/keeper"] = _keeper_with(open_store, config, system, self.zone_db)
            spec = _without_sockets(tree.specify(as_setup(config)), self.secondary.at_the_server_of(system), notifier)
            if real_notifier:
                spec = _with_own_notifier(spec, tree.specify(as_setup(config)))
            spec = _wrapped(spec, around, trouble)
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                await nursery.start(system.run, spec)
                yield Life(
                    pop=self,
                    system=system,
                    tree=tree,
                    secondary=self.secondary,
                    notifier=notifier,
                    reports=reports,
                    began=began,
                    state={"config": config},
                    scope=nursery.cancel_scope,
                )
                system.request_stop("the scenario is over")
        assert not self.secondary.wrong, "\n".join(self.secondary.wrong)


def as_setup(config: Config) -> Setup:
    """What a process runs whose only component is this POP."""
    return Setup(config_dir=config.config_dir, state_dir=config.state_dir, pop=config, edm=None)


def _without_sockets(spec: SupervisorSpec, secondary: Secondary, notifier: Probe) -> SupervisorSpec:
    """The tree without its console, and with `secondary` and `notifier` where the zone server and notifier are."""
    latest = MailboxSpec(16, Overflow.DROP_OLDEST)
    groups = {group.name: group for group in spec.children if isinstance(group, SupervisorSpec)}
    keeper, *_ = groups["authority"].children
    server: ActorSpec[Any] = ActorSpec(name="server", factory=lambda: secondary, mailbox=latest)
    groups["authority"] = attrs.evolve(
        groups["authority"], children=(keeper, notifier.spec("notifier", mailbox=latest), server)
    )
    control = groups["control"]
    groups["control"] = attrs.evolve(
        control, children=tuple(child for child in control.children if child.name != "console")
    )
    return attrs.evolve(spec, children=tuple(groups.values()))


def _with_own_notifier(spec: SupervisorSpec, original: SupervisorSpec) -> SupervisorSpec:
    authority, *rest = spec.children
    first, *_ = original.children
    assert isinstance(authority, SupervisorSpec)
    assert isinstance(first, SupervisorSpec)
    keeper, _, server = authority.children
    return attrs.evolve(spec, children=(attrs.evolve(authority, children=(keeper, first.children[1], server)), *rest))


def _keeper_with(
    open_store: Callable[[Path], ZoneStore], config: Config, system: ActorSystem, path: Path
) -> Callable[[Factory], Factory]:
    settings = KeeperSettings(
        zone=config.zone,
        store_path=path,
        serial_cache=config.serial_cache,
        brake_change=config.zone_brake.change,
        brake_minimum=config.zone_brake.minimum,
    )

    def make() -> ZoneKeeper:
        return ZoneKeeper(
            settings,
            policy=system.ref("evaluator/policy"),
            server=system.ref("authority/server"),
            notifier=system.ref("authority/notifier"),
            health=system.ref("control/health"),
            open_store=open_store,
        )

    return lambda _: make


def _wrapped(
    spec: Any, wrap: Mapping[str, Callable[[Factory], Factory]], trouble: Trouble | None, path: str = ""
) -> Any:
    if isinstance(spec, SupervisorSpec):
        children = (
            _wrapped(child, wrap, trouble, f"{path}/{child.name}" if path else child.name) for child in spec.children
        )
        return attrs.evolve(spec, children=tuple(children))
    factory = spec.factory
    if path in wrap:
        factory = wrap[path](factory)
    if trouble is not None:
        factory = trouble.wrap(path, factory)
    return attrs.evolve(spec, factory=factory)


@pytest.fixture
def pop(tmp_path: Path) -> Pop:
    """One installation, with no source yet."""
    return Pop(folder=tmp_path)


@pytest.fixture
def four(pop: Pop) -> Pop:
    """An installation with an allowlist, a denylist and two doubtlists, each with something to say.

    `allowed.example` is on all of them; two names are to be blocked, one of them because both doubtlists agree.
    """
    pop.add("allow", "allowlist", "allowed.example")
    pop.add("deny", "denylist", "denied.example", "allowed.example")
    pop.add("north", "doubtlist", "doubted.example", "allowed.example", "northern.example")
    pop.add("south", "doubtlist", "doubted.example", "allowed.example", "southern.example")
    pop.secondary.never = {"allowed.example."}
    return pop


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
def resolve() -> Callable[[Rules, str], str]:
    """`resolve(rules, name)` is what a resolver does with a name."""
    return answer


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that are the same each time for one test."""
    return random.Random(request.node.name)
