"""`tapir edm`: look at EDM, live or once, and have it write its files now."""

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from tapir.app.cli import commands
from tapir.app.cli.client import ConsoleClient
from tapir.app.cli.render_edm import pace_of, render_rotated, render_watch
from tapir.app.cli.render_edm_status import render_edm_status
from tapir.app.config import Component

_CONFIG_DIR: Final = Path("/etc/dnstapir")
_ABOVE: Final = 24
"""lines of a screen that are not for names"""
_NAMES: Final = 20

edm_app = typer.Typer(help="Look at EDM, and have it write its files now.", no_args_is_help=True)

ConfigDir = Annotated[Path, typer.Option("--config-dir", readable=False, help="Where the configuration files are.")]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", readable=False, help="Where state is kept; default: as configured.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@edm_app.command("status")
def status_command(config_dir: ConfigDir = _CONFIG_DIR, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show what came in, what became of it, and what waits to be sent."""
    raise typer.Exit(status(_find(config_dir, state_dir), as_json=as_json))


@edm_app.command("watch")
def watch_command(
    config_dir: ConfigDir = _CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a document a line.")] = False,
    interval: Annotated[int, typer.Option(min=1, max=3600, help="Seconds between two looks.")] = 1,
) -> None:
    """Watch rates, busy well-known names and the newest names live, until Ctrl-C. Nothing of clients is shown."""
    raise typer.Exit(watch(_find(config_dir, state_dir), interval=interval, as_json=as_json))


@edm_app.command("rotate")
def rotate_command(config_dir: ConfigDir = _CONFIG_DIR, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """End the running interval now, and print the files that it became. The exit code is 1 when one is missing."""
    raise typer.Exit(rotate(_find(config_dir, state_dir), as_json=as_json))


@edm_app.command("replay")
def replay_command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", readable=False, allow_dash=True, help="A .fstrm file, or - for standard input."),
    ],
    config_dir: ConfigDir = _CONFIG_DIR,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="INPUT", help="unix:PATH or tcp:HOST:PORT; default: the configured input."),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="Minimise here instead, into files below DIR; nothing is sent."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send the frames of a file to an EDM that runs, or minimise them into files.

    The exit code is 2 when not all of the file could be used.
    """
    from tapir.app.cli.edm_replay import replay  # the other commands start without these

    if into is None:
        raise typer.Exit(replay(file, config_dir, to=to, as_json=as_json))
    if to is not None:
        print("tapir: --to and --into exclude each other", file=sys.stderr)
        raise typer.Exit(commands.WRONG_INPUT)
    from tapir.app.cli.edm_into import replay_into

    raise typer.Exit(replay_into(file, config_dir, into, as_json=as_json))


def _find(config_dir: Path, state_dir: Path | None) -> Path:
    return commands.find_state_dir(config_dir, state_dir, first=Component.EDM)


def status(state_dir: Path, *, as_json: bool) -> int:
    """Print one look at EDM."""

    async def show(client: ConsoleClient) -> int:
        answer = await client.request("edm")
        if as_json:
            print(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            _, *lines = render_edm_status(answer, now=time.time())  # without the heading
            commands.screen().print(Group(*lines))
        return commands.DONE

    return commands.with_console(state_dir, show)


def watch(state_dir: Path, *, interval: int, as_json: bool) -> int:
    """Print look after look; JSON: one document a line."""

    async def follow(client: ConsoleClient) -> int:
        if as_json:
            async for item in client.stream("edm-watch", interval=interval):
                print(json.dumps(item["data"], ensure_ascii=False), flush=True)
            return commands.DONE
        before: dict[str, Any] | None = None
        screen = commands.screen()
        with Live(console=screen, screen=True, auto_refresh=False) if screen.is_terminal else nullcontext() as live:
            async for item in client.stream("edm-watch", interval=interval):
                document = item["data"]
                rows = max(3, min(_NAMES, screen.size.height - _ABOVE)) if live else _NAMES
                look = render_watch(document, pace_of(document, before), rows=rows, width=screen.width)
                if live:
                    live.update(look, refresh=True)
                else:
                    screen.print(look, Text(""))  # look after look, for who keeps them
                before = document
        return commands.DONE

    return commands.until_interrupted(state_dir, follow)


def rotate(state_dir: Path, *, as_json: bool) -> int:
    """Have EDM end its interval, and print what files that is."""

    async def order(client: ConsoleClient) -> int:
        answer = await client.request("edm-rotate")
        if as_json:
            print(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            commands.screen().print(render_rotated(answer))
        if not answer["trouble"]:
            return commands.DONE
        print(f"tapir: {answer['trouble']}", file=sys.stderr)
        return commands.NOT_DONE

    return commands.with_console(state_dir, order)
