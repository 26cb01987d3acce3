"""`tapir allow`, `deny`, `doubt` and `overrides`: the operator's own lists, through the process that keeps them."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tapir.app.cli import commands
from tapir.app.cli.client import ConsoleClient
from tapir.app.cli.render import minute
from tapir.model.messages.local import MAX_SECONDS

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_PART: Final = re.compile(r"([0-9]{1,9})([smhdw])")


class DurationError(ValueError):
    """The text is no length of time."""


def parse_duration(text: str) -> int:
    """`2h`, `90m`, `1d12h` as seconds. Raises DurationError."""
    folded = text.strip().lower()
    parts = _PART.findall(folded)
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != folded or not 0 < seconds <= MAX_SECONDS:
        years = MAX_SECONDS // (366 * 86400)
        raise DurationError(f"{text!r} is no length of time; write 90m, 2h, 1d12h or 3w, at most {years} years")
    return seconds


def override(
    state_dir: Path, kind: str, name: str, *, lasting: str | None, reason: str, remove: bool, as_json: bool
) -> int:
    """Put `name` on a local list, or take it off, and print what that does."""
    arguments: dict[str, Any] = {"name": name, "list": kind}
    if remove and (lasting is not None or reason):
        print("tapir: --remove goes without --for and --reason", file=sys.stderr)
        return commands.WRONG_INPUT
    if not remove:
        try:
            arguments |= {"seconds": 0 if lasting is None else parse_duration(lasting), "reason": reason}
        except DurationError as exc:
            print(f"tapir: {exc}", file=sys.stderr)
            return commands.WRONG_INPUT

    async def order(client: ConsoleClient) -> int:
        answer = await client.request("override-remove" if remove else "override-set", **arguments)
        if as_json:
            print(json.dumps({"ok": True, **answer}, ensure_ascii=False, indent=2))
        else:
            print(answer["text"])
        return commands.DONE

    return commands.with_console(state_dir, order)


def overrides(state_dir: Path, *, as_json: bool) -> int:
    """Print what is allowed, denied and doubted by hand."""

    async def ask(client: ConsoleClient) -> int:
        answer = await client.request("overrides")
        if as_json:
            print(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            commands.screen().print(render_overrides(answer))
        return commands.DONE

    return commands.with_console(state_dir, ask)


def render_overrides(status: Mapping[str, Any]) -> RenderableType:
    """A row a name: on which list, by whom, since when, until when, why."""
    trouble = status["store_error"]
    if not status["overrides"]:
        return Text(f"overrides cannot be kept now: {trouble}", style="red") if trouble else Text("no overrides")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("list", "name", "by", "since", "until", "reason"):
        table.add_column(heading, no_wrap=heading != "reason", overflow="fold")
    for each in status["overrides"]:
        until = "removed" if each["until"] is None else minute(each["until"])
        table.add_row(each["kind"], each["entry"], each["user"], minute(each["at"]), until, Text(each["reason"]))
    if trouble:
        table.caption = f"overrides cannot be kept now: {trouble}"
    return table
