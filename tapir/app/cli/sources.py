"""`tapir sources`: every source, and what feeds and observed lists say of themselves."""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tapir.app.cli import commands
from tapir.app.cli.client import ConsoleClient
from tapir.app.cli.render import age, ago, duration, minute, style


def sources(state_dir: Path, *, as_json: bool) -> int:
    """Print all sources, of every origin."""

    async def ask(client: ConsoleClient) -> int:
        answer = await client.request("sources")
        if as_json:
            print(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            commands.screen().print(render_listing(answer, now=time.time()))
        return commands.DONE

    return commands.with_console(state_dir, ask)


def render_listing(answer: Mapping[str, Any], *, now: float) -> RenderableType:
    """A row a source, then a paragraph for each that has more to say."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("source", "origin", "state", "kind", "list", "format"):
        table.add_column(heading, no_wrap=heading != "list", overflow="fold")
    for heading in ("names", "loaded", "looked at"):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = [each for each in answer["sources"] if not each["internal"] or each["names"] or each["error"]]
    for source in shown:
        table.add_row(
            source["id"],
            source["origin"].split(" ")[0],
            Text(source["state"], style=style(source["state"])),
            source["kind"],
            source["name"],
            source["format"] or "-",
            str(source["names"]),
            age(source["loaded_at"], now),
            age(source["checked_at"], now),
        )
    notes = [note for source in shown for note in _notes(source, answer["details"].get(source["id"]), now=now)]
    return Group(table, *notes) if shown else Text("no sources are configured")


def _notes(source: Mapping[str, Any], detail: Mapping[str, Any] | None, *, now: float) -> list[Text]:
    lines: list[Text] = []
    if source["error"]:
        lines.append(Text(f"  {source['error']}", style="red"))
    if detail is not None and set(detail) == {"error"}:
        lines.append(Text(f"  it does not say more: {detail['error']}", style="yellow"))
    elif detail is not None and "primaries" in detail:
        lines += _feed(detail, now=now)
    elif detail is not None:
        lines += _observed(detail, now=now)
    return [Text(f"\n{source['id']}"), *lines] if lines else []


def _feed(feed: Mapping[str, Any], *, now: float) -> list[Text]:
    serial = "no serial yet" if feed["serial"] is None else f"serial {feed['serial']}"
    line = Text(f"  zone {feed['zone']}  ")
    line.append(feed["state"], style=style(feed["state"]))
    line.append(f"  {serial}, checked {ago(feed['checked_at'], now)}")
    line.append(_ahead(", next", feed["next_check_at"], now))
    line.append(_ahead(", expires", feed["expires_at"], now))
    lines = [line]
    for primary in feed["primaries"]:
        trouble = f": {primary['error']} ({primary['failures']} in a row)" if primary["error"] else ""
        secured = "" if primary["secured"] == "no" else f" ({primary['secured']})"
        answered = f"answered {ago(primary['answered_at'], now)}"
        lines.append(
            Text(f"  primary {primary['address']}{secured} {answered}{trouble}", style="yellow" if trouble else "")
        )
    return [*lines, *_counted(feed["counters"])]


def _observed(status: Mapping[str, Any], *, now: float) -> list[Text]:
    line = Text(f"  topics {', '.join(status['topics'])}; last message {ago(status['latest_at'], now)}")
    if status["next_expiry"] is not None:
        line.append(f"; the next name leaves at {minute(status['next_expiry'])}")
    lines = [line]
    if status["held"]:
        lines.append(Text("  no name expires: the clock is in doubt; tapir accept clock", style="bold yellow"))
    if status["trouble"]:
        lines.append(Text(f"  {status['trouble']}", style="red"))
    if status["waiting"]:
        lines.append(Text(f"  {status['waiting']} messages are not stored yet"))
    if status["bootstrap"] not in ("no", "done"):
        lines.append(Text(f"  bootstrap: {status['bootstrap']}", style="yellow"))
    keys = "the keystore cannot be read" if status["keys"] is None else f"{status['keys']} keys may sign"
    lines.append(Text(f"  {keys}", style="red" if status["keys"] is None else ""))
    return [*lines, *_counted(status["counters"])]


def _counted(counters: Iterable[Iterable[Any]]) -> list[Text]:
    told = ", ".join(f"{name} {count}" for name, count in counters if count)
    return [Text(f"  counted: {told}", style="dim")] if told else []


def _ahead(what: str, microseconds: int | None, now: float) -> str:
    if microseconds is None:
        return ""
    seconds = microseconds / 1_000_000 - now
    return f"{what} in {duration(seconds)}" if seconds > 0 else f"{what} now"
