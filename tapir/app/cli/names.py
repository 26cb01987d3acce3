"""`tapir names`: the names of all lists, as the Seed's filterlists shows them, page by page however many there are."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tapir.app.cli import commands
from tapir.app.cli.client import ConsoleClient

_PAGE: Final = 1000
_ROW: Final = "{:<75}|{:<20}|{:<20}|{:<10}|{:<10}"
"""Wide enough for most; what is longer is not cut."""


def names(state_dir: Path, source: str, *, suffix: str, containing: str, limit: int, as_json: bool) -> int:
    """Print a line a name, or a JSON object a line; of `source` or of all, `limit` of them or (0) all.

    Printed as they come, so that a million names take no memory, and a reader may leave when it has seen enough.
    """

    async def ask(client: ConsoleClient) -> int:
        left, cursor, begun = limit, "", False
        while True:
            count = min(_PAGE, left) if limit else _PAGE
            page = await client.request(
                "names", source=source, suffix=suffix, containing=containing, limit=count, cursor=cursor
            )
            if not begun:
                begun = True
                _begin(page, as_json=as_json)
            for row in page["rows"]:
                print(json.dumps(row, ensure_ascii=False) if as_json else _line(row))
            left, cursor = left - len(page["rows"]), page["next"]
            if not cursor or (limit and left <= 0):
                return commands.DONE

    return commands.with_console(state_dir, ask)


def _begin(page: Mapping[str, Any], *, as_json: bool) -> None:
    if page["unlisted"]:
        # On stderr: what reads the table gets nothing but names.
        ids = ", ".join(page["unlisted"])
        print(f"tapir: not listed, for names are looked up in the file: {ids}; see `tapir dawg list`", file=sys.stderr)
    if not as_json:
        print(_ROW.format("Domain", "Source", "Src Fmt", "Filter", "Flags").rstrip())
        print("-" * 135)


def _line(row: Mapping[str, Any]) -> str:
    # As the Seed has it, only a doubtlist has flags.
    flags = str(row["tags"]) if row["filter"] == "doubt" else "-"
    return _ROW.format(row["name"], row["list"], row["format"], row["filter"], flags).rstrip()
