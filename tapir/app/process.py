"""The supervisor process: configuration and state in, a running tree, signals, an exit code.

    read configuration ─▶ lock state ─▶ start the tree ─▶ serve ─┬─ SIGHUP ─▶ read, judge, swap ─▶ serve
                                                                 └─ SIGTERM, SIGINT ─▶ stop in order ─▶ exit 0

Exit codes: 0 stopped as asked, 1 gave up or could not start, 2 the configuration is wrong.
"""

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import trio

from actors import ActorError, ActorSystem, SystemClock, SystemSettings
from tapir.app.config import Config, ConfigErrors, Notice, after_reload, changes_needing_restart, load, wants_json_log
from tapir.app.logs import LogSettings, configure_logging
from tapir.app.memory import give_memory_back
from tapir.app.systemd import ServiceManager
from tapir.app.tree import Tree
from tapir.kernels import uncompiled
from tapir.model.messages.control import HealthStatus
from tapir.services.control.status import ProcessFacts
from tapir.store.errors import StoreError
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

# What upstream logs where, by our loggers.
_FILE_LOGGERS: Final = {
    "main": "",
    "dnsengine": "actors.authority",
    "mqtt": "actors.uplink",
    "policy": "actors.evaluator",
}


def run_process(*, config_dir: Path, state_dir: Path | None) -> int:
    """Run until told to stop; returns the exit code. Everything that goes wrong is logged before it returns."""
    configure_logging(LogSettings(json=wants_json_log(config_dir)))
    try:
        config = load(config_dir, state_dir)
    except ConfigErrors as exc:
        _say_version()
        for notice in exc.notices:
            log.warning("%s", notice)
        for line in exc.lines:
            log.error("%s", line)
        log.error("the configuration cannot be used; nothing was started")
        return WRONG_CONFIGURATION
    problems = _set_up_logging(config)
    _say_version()  # here, so that it is the first line of log files as well
    if slow := uncompiled():
        log.warning("not compiled: %s; everything works, and large lists take long", ", ".join(slow))
    _log_notices(problems, config.notices)
    try:
        state = StateDirectory.open(config.state_dir)
    except StoreError as exc:
        log.error("%s; nothing was started", exc)
        return FAILED
    sys.setswitchinterval(_SWITCH_INTERVAL)
    give_memory_back()
    code = DONE
    try:
        trio.run(Process(config=config, state=state, state_dir=state_dir).run)
        log.info("stopped")
    except* (ActorError, StoreError) as group:
        for exception in _leaves(group):
            log.error("gave up: %s", exception)
        code = FAILED
    finally:
        state.close()
    return code


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for exception in group.exceptions:
        found += _leaves(exception) if isinstance(exception, BaseExceptionGroup) else [exception]
    return found


def _say_version() -> None:
    log.info("tapir %s (%s), pid %d", version(), commit(), os.getpid())


def _set_up_logging(config: Config) -> tuple[str, ...]:
    """Log as `config` wants; returns a sentence for each file that cannot be opened."""
    files = {_FILE_LOGGERS[name]: path for name, path in config.log.files} if config.log.to_files else {}
    settings = LogSettings(
        level=config.log.level,
        json=config.log.format == "json",
        source_lines=config.log.source_lines,
        files=files,
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
        config: Config,
        state: StateDirectory,
        state_dir: Path | None,
        manager: ServiceManager | None = None,
    ) -> None:
        self._config = config
        self._said = config.notices
        self._state = state
        self._state_dir = state_dir
        self._manager = manager if manager is not None else ServiceManager.from_environment()
        self._system = ActorSystem(clock=SystemClock(), settings=SystemSettings(worker_niceness=_WORKER_NICENESS))
        self._hangup = trio.Event()
        self._health = "started"
        self._reload_trouble = ""
        facts = ProcessFacts(
            version=version(),
            commit=commit(),
            pid=os.getpid(),
            started_at=time.time_ns() // 1000,
            config_dir=str(config.config_dir),
            state_dir=str(config.state_dir),
        )
        self._tree = Tree(system=self._system, state=state, facts=facts, report=self._report)

    async def run(self) -> None:
        """Start the tree, serve, and stop it in order. Raises ActorError when the tree cannot start or gives up.

        Raises StoreError when the zone has no folder to be kept in.
        """
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as helpers:
                # Signals are heard from the first moment: a stop during the start is obeyed, too.
                helpers.start_soon(self._obey, signals)
                helpers.start_soon(self._stay_alive)
                self._manager.status("starting")
                async with trio.open_nursery() as nursery:
                    await nursery.start(self._system.run, self._tree.specify(self._config))
                    self._manager.ready(self._health)
                    log.info("started")
                    # What has been loaded by now stays: a full collection need not look at it again, which would
                    # hold the interpreter for ten milliseconds in the middle of a large change.
                    gc.collect()
                    gc.freeze()
                    helpers.start_soon(self._reload_on_hangup)
                helpers.cancel_scope.cancel()

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async for signum in signals:
            if signum == signal.SIGHUP:
                # Noted, not done here: a stop is heard while a reload waits for a disk or for a large decision.
                self._hangup.set()
                continue
            log.info("stopping: got %s", signal.Signals(signum).name)
            self._manager.stopping()
            self._system.request_stop(signal.Signals(signum).name)

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
            config = await trio.to_thread.run_sync(
                load, self._config.config_dir, self._state_dir, abandon_on_cancel=True
            )
        except ConfigErrors as exc:
            for line in exc.lines:
                log.error("%s", line)
            log.error("reload: the configuration cannot be used; the one in effect stays")
            return "the last reload failed, the old configuration stays"
        _log_notices(_set_up_logging(config), config.notices, said=self._said)
        self._said = config.notices
        waiting = changes_needing_restart(self._config, config)
        taken = after_reload(self._config, config)
        try:
            await self._tree.reconfigure(self._config, taken)
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
            self._config = taken

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
