"""`tapir refresh` and `tapir events`: have a source look now, and what an operator must hear of."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tapir.app.cli import commands
from tapir.app.cli.client import ConsoleClient
from tapir.app.cli.render import ago, minute


def refresh(state_dir: Path, source: str, *, whole: bool, as_json: bool) -> int:
    """Have `source` look now, and print what that comes to."""
    return commands.steer(state_dir, "refresh", as_json=as_json, source=source, whole=whole)


def events(state_dir: Path, *, as_json: bool) -> int:
    """Print the last exceptional events, those that last first."""

    async def ask(client: ConsoleClient) -> int:
        answer = await client.request("exceptional-events")
        if as_json:
            print(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            commands.screen().print(render_events(answer, now=time.time()))
        return commands.DONE

    return commands.with_console(state_dir, ask)


def render_events(found: Sequence[Mapping[str, Any]], *, now: float) -> RenderableType:
    """A row an event; the newest first, those that last before those that are over."""
    if not found:
        return Text("no exceptional events")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("event", "kind", "subject", "since", "over", "what"):
        table.add_column(heading, no_wrap=heading != "what", overflow="fold")
    for each in sorted(found, key=lambda event: event["cleared_at"] is not None):
        over = Text("lasts", style="bold yellow") if each["cleared_at"] is None else Text(minute(each["cleared_at"]))
        table.add_row(each["id"], each["kind"], Text(each["subject"]), ago(each["at"], now), over, Text(each["text"]))
    return table
