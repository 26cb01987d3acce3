"""`tapir zone history` and `diff`, and `tapir pause`: what the zone was, and an empty one for a while."""

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tapir.app.cli import commands
from tapir.app.cli.client import ConsoleClient
from tapir.app.cli.overrides import DurationError, parse_duration
from tapir.model.messages.zone import MAX_PAUSE

SHOWN: Final = 500
"""names of a difference that are shown unless all are asked for"""
_PAGE: Final = 500


def pause(state_dir: Path, lasting: str, *, as_json: bool) -> int:
    """Have an empty zone published for `lasting`."""
    try:
        seconds = parse_duration(lasting)
    except DurationError as exc:
        print(f"tapir: {exc}", file=sys.stderr)
        return commands.WRONG_INPUT
    if seconds > MAX_PAUSE:
        print(f"tapir: a pause lasts {MAX_PAUSE // 86400} days at most", file=sys.stderr)
        return commands.WRONG_INPUT
    return commands.steer(state_dir, "zone-pause", as_json=as_json, seconds=seconds)


def history(state_dir: Path, *, count: int, as_json: bool) -> int:
    """Print the newest versions: when, how much, and why."""

    async def ask(client: ConsoleClient) -> int:
        answer = await client.request("zone-history", count=count)
        if as_json:
            print(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            commands.screen().print(render_history(answer))
        return commands.DONE

    return commands.with_console(state_dir, ask)


def diff(state_dir: Path, older: int, newer: int, *, everything: bool, as_json: bool) -> int:
    """Print what leads from one serial to the other: lines as they come, or one JSON document."""

    async def read(client: ConsoleClient) -> int:
        first: dict[str, Any] = {}
        collected: list[Any] = []
        offset: int | None = 0
        while offset is not None:
            count = _PAGE if everything else SHOWN
            page = await client.request("zone-diff", **{"from": older, "to": newer, "offset": offset, "count": count})
            changes, offset = page.pop("changes"), page.pop("next")
            if as_json:
                collected += changes
            else:
                if not first:
                    print(f"serial {older} to {newer}: -{page['removed']} +{page['added']} records")
                    for line in passed_lines(page.get("passed", {})):
                        print(line)
                for line in change_lines(changes):
                    print(line)
            first = first or page
            if not everything:
                break
        if as_json:
            print(json.dumps({**first, "changes": collected, "complete": offset is None}, ensure_ascii=False, indent=2))
        elif offset is not None:
            # Beside the lines: who counts or greps them is not to take it for one.
            print(f"and {first['names'] - offset} more names, with --all", file=sys.stderr)
        return commands.DONE

    return commands.with_console(state_dir, read)


def passed_lines(passed: Mapping[str, int]) -> Iterable[str]:
    """How much of what goes and comes is passed through from feeds, where any is."""
    removed, added = passed.get("removed", 0), passed.get("added", 0)
    if removed or added:
        yield f"of these passed through from feeds: -{removed} +{added}"


def change_lines(changes: Iterable[Mapping[str, str]]) -> Iterable[str]:
    """A line for each record that goes or comes."""
    for change in changes:
        if change["before"] != "NONE":
            yield f"- {change['name']} {change['before']}"
        if change["after"] != "NONE":
            yield f"+ {change['name']} {change['after']}"


def render_history(history: Mapping[str, Any]) -> RenderableType:
    """A row a version, the newest first."""
    if not history["steps"]:
        return Text(f"zone {history['zone']}: nothing is known of its versions yet")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("serial", "when (UTC)", "removed", "added"):
        table.add_column(heading, justify="right" if heading != "when (UTC)" else "left", no_wrap=True)
    table.add_column("why", overflow="fold")
    for step in history["steps"]:
        when = datetime.fromtimestamp(step["at"] / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(str(step["serial"]), when, str(step["removed"]), str(step["added"]), _why(step))
    if history["more"]:
        table.add_row("…", f"and {history['more']} more", "", "", "")
    elif history["journal_from"] not in {None, *(step["serial"] for step in history["steps"])}:
        table.add_row(str(history["journal_from"]), "", "", "", "the journal begins here")
    return table


def _why(step: Mapping[str, Any]) -> str:
    text, by = step["text"], f" by {step['user']}" if step["user"] else ""
    match step["kind"]:
        case "lists":
            return "lists or policy changed"
        case "first":
            return "the first version"
        case "pause":
            return f"paused {text}{by}"
        case "return":
            since = f", against serial {step['from_serial']}" if step["from_serial"] is not None else ""
            return f"back from the pause{by}{since}"
        case "rollback":
            return f"rolled back {text}{by}"
        case "set-serial":
            return f"serial set{by}" + (f" {text}" if text else "")
        case _:
            return f"a new serial{by}: {text}"
