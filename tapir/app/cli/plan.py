"""`tapir plan`: what the configuration on disk would change in the zone, as sentences or as JSON."""

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from tapir.app.cli import commands
from tapir.app.cli.client import ConsoleForbiddenError, ConsoleRefusedError, ConsoleUnreachableError, open_console
from tapir.app.config import Component, Config, ConfigErrors, find_components, load
from tapir.app.config.inforce import ForeignConfigError, restore_in_force
from tapir.app.plan import Plan, RecordChange, RecordChanges, make_plan
from tapir.model.actions import Action
from tapir.services.control.protocol import to_plain
from tapir.store.errors import StoreError

CHANGES: Final = 3
"""The exit code that says that something would change"""
_FIRST: Final = 20


def plan(config_dir: Path, state_dir: Path | None, *, show_all: bool, as_json: bool) -> int:
    """Print what would change.

    Returns 0 for nothing, 3 for something, 1 when that cannot be known, 2 for a wrong configuration.
    """
    try:
        if find_components(config_dir) == (Component.EDM,):
            print(f"tapir: {config_dir} configures EDM alone, and a plan is about the zone of a POP", file=sys.stderr)
            return commands.WRONG_INPUT
        config = load(config_dir, state_dir)
    except ConfigErrors as exc:
        for line in exc.lines:
            print(line, file=sys.stderr)
        return commands.WRONG_INPUT
    # The state directory in which a process runs, if one does: a new one in the files takes a restart.
    folder = commands.find_state_dir(config_dir, state_dir)
    try:
        running, why = _ask_running(folder, config)
        most = None if show_all else _FIRST
        found = make_plan(config, running=running, state_dir=folder, now=time.time_ns() // 1000, most=most)
    except (StoreError, ForeignConfigError, ConsoleForbiddenError) as exc:
        print(f"tapir: {exc}", file=sys.stderr)
        return commands.NOT_DONE
    if as_json:
        print(json.dumps({**to_plain(found), "changes": found.changes}, ensure_ascii=False, indent=2))
    else:
        for line in render_plan(found, why):
            print(line)
    return CHANGES if found.changes else commands.DONE


def _ask_running(state_dir: Path, new: Config) -> tuple[Config | None, str]:
    """What the process that runs goes by; None, and why, when there is none to ask.

    Raises ForeignConfigError, and ConsoleForbiddenError where one may run that we are not to ask.
    """

    async def ask() -> Any:
        async with open_console(state_dir) as client:
            return await client.request("config")
        raise AssertionError("open_console yields exactly once")

    try:
        return restore_in_force(trio.run(partial(ask)), new), ""
    except ConsoleForbiddenError:
        raise
    except ConsoleUnreachableError as exc:
        return None, str(exc)
    except ConsoleRefusedError as exc:
        raise ForeignConfigError(f"the process that runs does not say what it goes by: {exc}") from exc


def render_plan(plan: Plan, why: str) -> Iterator[str]:
    """The lines for people; `why` says why no process was asked."""
    if plan.running:
        at = "no version yet" if plan.serial is None else f"at serial {plan.serial}"
        yield f"zone {plan.zone} {at}; a reload would do this:"
    else:
        stored = "of which nothing is stored" if plan.serial is None else f"stored at serial {plan.serial}"
        yield f"zone {plan.zone}, {stored}; {why}; so this is what a start would do:"
    for source in plan.sources:
        keys = f": {', '.join(source.keys)}" if source.keys else ""
        change = f" {source.change}{keys}" if source.change != "same" else ""
        yield f"source {source.id}{change}{f' ({source.note})' if source.note else ''}"
    for key in plan.settings:
        yield f"{key} changed"
    for key in plan.needs_restart:
        yield f"{key} changed, which takes a restart"
    yield from _render_changes("-", plan.removed)
    yield from _render_changes("+", plan.added)
    yield from _render_changes("~", plan.changed)
    counts = f"-{plan.removed.count} +{plan.added.count} names, {plan.changed.count} with another action"
    yield f"{counts}; {plan.records} records" if plan.changes else "nothing would change"
    for reason in plan.held:
        yield f"not published at once: {reason}"


def _render_changes(sign: str, changes: RecordChanges) -> Iterator[str]:
    for change in changes.first:
        yield f"  {sign} {change.name} {_actions(change)}"
    if changes.count > len(changes.first):
        yield f"  {sign} … and {changes.count - len(changes.first)} more: --all"


def _actions(change: RecordChange) -> str:
    return " → ".join(action.label for action in (change.before, change.after) if action is not Action.NONE)
