"""The supervisor process: configuration and state in, a running tree, signals, an exit code.

    read configuration ─▶ lock state ─▶ start the tree ─▶ serve ─┬─ SIGHUP ─▶ read, judge, swap ─▶ serve
                                                                 └─ SIGTERM, SIGINT ─▶ stop in order ─▶ exit 0

Exit codes: 0 stopped as asked, 1 gave up or could not start, 2 the configuration is wrong.
"""

import gc
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import trio

from actors import ActorError, ActorSystem, Status, SupervisorStopped, SystemClock, SystemSettings
from tapir.app.config import (
    Component,
    ConfigErrors,
    Notice,
    Setup,
    load_setup,
    setup_after_reload,
    setup_changes_needing_restart,
    wants_json_log,
)
from tapir.app.logs import LogSettings, configure_logging
from tapir.app.memory import give_memory_back
from tapir.app.systemd import ServiceManager
from tapir.app.tree import Tree
from tapir.kernels import uncompiled
from tapir.model.messages.control import HealthStatus
from tapir.services.control.status import ProcessFacts
from tapir.store.errors import FolderInUse, StoreError
from tapir.store.state import StateDirectory
from tapir.version import commit, version

DONE: Final = 0
FAILED: Final = 1
WRONG_CONFIGURATION: Final = 2

log = logging.getLogger("tapir")

# The loop answers DNS while workers decide and commit: each answer takes the interpreter back some four times (epoll,
# receive, send), and with its 5 ms a worker could keep it waiting for tens of milliseconds. Measured while 100,000 of a
# million names change: SOA p99 3.3 ms with 0.5 ms, 1.3-1.8 ms with 0.1 ms, no better below that.
_SWITCH_INTERVAL: Final = 0.0001
# A worker in a kernel keeps its processor for a whole slice, some milliseconds, and where processors are few an answer
# waits for that. Ten steps give the event loop nine times a worker's share.
_WORKER_NICENESS: Final = 10

_WORKERS_APART: Final = frozenset({"edm", "edm-uplink"})
"""whose folders may be on a disk that hangs, while a POP decides and commits"""

_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0

_LAST_WAIT: Final = 20.0
"""seconds past its deadline that a stop has: less than TimeoutStopSec of the units, so that its end has a line"""

_UP: Final = frozenset({Status.STARTING, Status.RUNNING, Status.STUCK, Status.DRAINING, Status.STOPPING})

# What upstream logs where, by our loggers.
_FILE_LOGGERS: Final = {
    "main": "",
    "dnsengine": "actors.authority",
    "mqtt": "actors.uplink",
    "policy": "actors.evaluator",
}


def run_process(
    *,
    config_dir: Path,
    state_dir: Path | None,
    only: Component | None = None,
    flags: Mapping[str, str] | None = None,
) -> int:
    """Run until told to stop; returns the exit code. Everything that goes wrong is logged before it returns.

    Run is what the folder configures, or of it `only` that component; `flags` are keys of EDM with their values.
    """
    configure_logging(LogSettings(json=only is not Component.EDM and wants_json_log(config_dir)))
    try:
        setup = load_setup(config_dir, state_dir, only=only, flags=flags)
    except ConfigErrors as exc:
        _say_version()
        for notice in exc.notices:
            log.warning("%s", notice)
        for line in exc.lines:
            log.error("%s", line)
        log.error("the configuration cannot be used; nothing was started")
        return WRONG_CONFIGURATION
    problems = _set_up_logging(setup)
    _say_version()  # here, so that it is the first line of log files as well
    log.info("%s", _say_components(setup, only))
    if slow := uncompiled():
        log.warning("not compiled: %s; everything works, and large lists take long", ", ".join(slow))
    _log_notices(problems, setup.notices)
    if setup.edm is not None and (missing := _missing_for_edm()):
        log.error("EDM needs %s, which is not installed: pip install 'tapir[edm]'; nothing was started", missing)
        return FAILED
    try:
        state = StateDirectory.open(setup.state_dir)
    except StoreError as exc:
        log.error("%s; nothing was started", exc)
        return FAILED
    sys.setswitchinterval(_SWITCH_INTERVAL)
    give_memory_back()
    code = DONE
    process = Process(setup=setup, state=state, state_dir=state_dir, only=only, flags=flags)
    try:
        trio.run(process.run)
        log.info("stopped")
    except* (ActorError, StoreError) as group:
        for exception in _leaves(group):
            log.error("gave up: %s", exception)
        code = FAILED
    finally:
        process.close()
        state.close()
    return code


def _missing_for_edm() -> str:
    """The library without which EDM cannot be run; empty when all are there."""
    try:
        importlib.import_module("tapir.app.edm")
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.split(".")[0] in ("tapir", "actors"):
            raise
        return exc.name
    return ""


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for exception in group.exceptions:
        found += _leaves(exception) if isinstance(exception, BaseExceptionGroup) else [exception]
    return found


def _say_version() -> None:
    log.info("tapir %s (%s), pid %d", version(), commit(), os.getpid())


def _say_components(setup: Setup, only: Component | None) -> str:
    """What is run, and by which word of whom."""
    titles = " and ".join(component.label for component in setup.components)
    if only is not None:
        return f"runs {titles}: --only {only.value} says so; from {setup.config_dir}"
    files = " and ".join(component.file for component in setup.components)
    return f"runs {titles}: {files} {'say' if len(setup.components) > 1 else 'says'} so; from {setup.config_dir}"


def _set_up_logging(setup: Setup) -> tuple[str, ...]:
    """Log as `setup` wants; returns a sentence for each file that cannot be opened."""
    wanted = setup.log
    files = {_FILE_LOGGERS[name]: path for name, path in wanted.files} if wanted.to_files else {}
    settings = LogSettings(
        level=wanted.level, json=wanted.format == "json", source_lines=wanted.source_lines, files=files
    )
    return configure_logging(settings)


def _log_notices(problems: tuple[str, ...], notices: tuple[Notice, ...], *, said: tuple[Notice, ...] = ()) -> None:
    """Log what is wrong with the log files, and the configuration's notices, but for those that were `said` before."""
    for problem in problems:
        log.warning("%s", problem)
    texts = {(notice.key, notice.text) for notice in said}  # a line may have moved
    for notice in notices:
        if (notice.key, notice.text) in texts:
            continue
        log.log(logging.WARNING if notice.warning else logging.INFO, "%s", notice)


class Process:
    """One life of the process, from its start to its stop."""

    def __init__(
        self,
        *,
        setup: Setup,
        state: StateDirectory,
        state_dir: Path | None,
        only: Component | None = None,
        flags: Mapping[str, str] | None = None,
        manager: ServiceManager | None = None,
    ) -> None:
        self._setup = setup
        self._only = only
        self._flags = flags
        self._said = setup.notices
        self._state = state
        self._state_dir = state_dir
        self._manager = manager if manager is not None else ServiceManager.from_environment()
        apart = _WORKERS_APART if setup.edm is not None else frozenset[str]()
        self._settings = SystemSettings(worker_niceness=_WORKER_NICENESS, workers_apart=apart)
        self._system = ActorSystem(clock=SystemClock(), settings=self._settings)
        self._stopping = False
        self._hangup = trio.Event()
        self._health = "started"
        self._reload_trouble = ""
        facts = ProcessFacts(
            version=version(),
            commit=commit(),
            pid=os.getpid(),
            started_at=time.time_ns() // 1000,
            config_dir=str(setup.config_dir),
            state_dir=str(setup.state_dir),
        )
        self._tree = Tree(system=self._system, state=state, facts=facts, report=self._report)

    async def run(self) -> None:
        """Start the tree, serve, and stop it in order. Raises ActorError when the tree cannot start or gives up.

        Raises StoreError when the zone has no folder to be kept in.
        """
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as helpers:
                # Signals are heard from the first moment: a stop during the start is obeyed, too.
                helpers.start_soon(self._obey, helpers, signals)
                helpers.start_soon(self._stay_alive)
                self._manager.status("starting")
                async with trio.open_nursery() as nursery:
                    await nursery.start(self._system.run, self._tree.specify(self._setup))
                    self._manager.ready(self._health)
                    log.info("started")
                    # What has been loaded by now stays: a full collection need not look at it again, which would
                    # hold the interpreter for ten milliseconds in the middle of a large change.
                    gc.collect()
                    gc.freeze()
                    helpers.start_soon(self._begin_the_rest)
                    helpers.start_soon(self._reload_on_hangup)
                helpers.cancel_scope.cancel()

    def close(self) -> None:
        """Give back what outlived the tree. Blocks."""
        self._tree.close()

    async def _obey(self, helpers: trio.Nursery, signals: AsyncIterator[int]) -> None:
        async for signum in signals:
            if signum == signal.SIGHUP:
                # Noted, not done here: a stop is heard while a reload waits for a disk or for a large decision.
                self._hangup.set()
                continue
            log.info("stopping: got %s", signal.Signals(signum).name)
            self._manager.stopping()
            self._system.request_stop(signal.Signals(signum).name)
            if not self._stopping:
                self._stopping = True
                helpers.start_soon(self._insist)

    async def _insist(self) -> None:
        """End the process although some thread never comes back from its disk: a stop waits for what may be writing.

        What is stored is as after any other end without a stop.
        """
        await trio.sleep(self._settings.stop_deadline + _LAST_WAIT)
        nodes = self._system.statistics().root.walk()
        left = [node.path for node in nodes if not node.children and node.status in _UP]
        log.critical("the stop hangs, and the process ends without it: still there are %s", ", ".join(left) or "none")
        logging.shutdown()
        os._exit(FAILED)

    async def _begin_the_rest(self) -> None:
        """Start EDM where it stands beside a POP, which serves whatever comes of that."""
        wait, said = _FIRST_WAIT, ""
        while True:
            try:
                await self._tree.begin()
            except SupervisorStopped:
                return
            except (ActorError, FolderInUse) as exc:
                if str(exc) != said:
                    log.error("EDM does not start: %s; it is tried again, and the POP goes on", exc)
                said = str(exc)
            else:
                if said:
                    log.info("EDM starts now")
                return
            await trio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _reload_on_hangup(self) -> None:
        while True:
            await self._hangup.wait()
            self._hangup = trio.Event()  # hangups that come while one is dealt with are one more reload
            self._manager.reloading()
            self._reload_trouble = await self._reload()
            self._manager.ready(self._status())

    async def _reload(self) -> str:
        """Take the new configuration, or log what is wrong with it and keep the old one; returns the trouble or ""."""
        try:
            # A configuration directory can hang as any file system can: a stop does not wait for it.
            loaded = await trio.to_thread.run_sync(self._load, abandon_on_cancel=True)
        except ConfigErrors as exc:
            for line in exc.lines:
                log.error("%s", line)
            log.error("reload: the configuration cannot be used; the one in effect stays")
            return "the last reload failed, the old configuration stays"
        _log_notices(_set_up_logging(loaded), loaded.notices, said=self._said)
        self._said = loaded.notices
        waiting = setup_changes_needing_restart(self._setup, loaded)
        taken = setup_after_reload(self._setup, loaded)
        try:
            await self._tree.reconfigure(self._setup, taken)
        except ActorError as exc:
            # What was handed over is remembered by nobody, so the next reload hands over all of it again.
            log.error("reload: not all of it could be handed over: %s; reload again or restart", exc)
            return "the last reload was taken in part"
        else:
            if waiting:
                log.warning("reload: in effect, but for what waits for a restart: %s", ", ".join(waiting))
            else:
                log.info("reload: the new configuration is in effect")
            return ""
        finally:
            self._setup = taken

    def _load(self) -> Setup:
        running = self._setup.components
        return load_setup(self._setup.config_dir, self._state_dir, only=self._only, running=running, flags=self._flags)

    async def _stay_alive(self) -> None:
        if self._manager.watchdog is None:
            return
        while True:
            self._manager.alive()
            await trio.sleep(self._manager.watchdog)

    async def _report(self, status: HealthStatus) -> None:
        text = "ready" if status.ready else "not ready: " + "; ".join(status.reasons)
        self._health = "; ".join((text, *status.warnings))
        self._manager.status(self._status())

    def _status(self) -> str:
        return "; ".join(filter(None, (self._reload_trouble, self._health)))
