"""`tapir`: the command line, mapped onto one function a command."""

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from tapir.app.cli import broker, commands, overrides, zone
from tapir.app.cli.dawg import dawg_app
from tapir.app.cli.edm import edm_app
from tapir.app.config import Component
from tapir.version import commit, version

DEFAULT_CONFIG_DIR: Final = Path("/etc/dnstapir")

app = typer.Typer(
    name="tapir",
    help="DNS TAPIR: protects the users of a DNS resolver without reporting on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
zone_app = typer.Typer(help="Show what the zone was, hold it, and lead it back.", no_args_is_help=True)
app.add_typer(zone_app, name="zone")
app.add_typer(dawg_app, name="dawg")
app.add_typer(edm_app, name="edm")

# Not `readable`: who may not look into the folder gets our own words, or does without it.
ConfigDir = Annotated[Path, typer.Option("--config-dir", readable=False, help="Where the configuration files are.")]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", readable=False, help="Where state is kept; default: as configured.")
]
Only = Annotated[Component | None, typer.Option("--only", help="This component alone; default: all that are there.")]
EdmSet = Annotated[list[str] | None, typer.Option("--edm-set", metavar="KEY=VALUE", help="A key of EDM; counts most.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tapir {version()} ({commit()})")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """DNS TAPIR: protects the users of a DNS resolver without reporting on them."""


@app.command()
def run(
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR, state_dir: StateDir = None, only: Only = None, edm_set: EdmSet = None
) -> None:
    """Run the service in the foreground: a POP, EDM, or both. SIGTERM ends it, SIGHUP reloads the configuration."""
    # Until signals are listened to there is nothing to reload, and a hangup must not end the start.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # The process is imported here: the other commands start without it.
    from tapir.app.process import run_process

    flags = commands.parse_flags(edm_set or ())
    raise typer.Exit(run_process(config_dir=config_dir, state_dir=state_dir, only=only, flags=flags))


@app.command()
def check(
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    only: Only = None,
    edm_set: EdmSet = None,
    as_json: AsJson = False,
) -> None:
    """Say all that is wrong with the configuration, or what it means."""
    flags = commands.parse_flags(edm_set or ())
    raise typer.Exit(commands.check(config_dir, state_dir, only=only, flags=flags, as_json=as_json))


@app.command()
def plan(
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
    show_all: Annotated[bool, typer.Option("--all", help="Name every record, not only the first of them.")] = False,
) -> None:
    """Say what a reload would change in the zone.

    The exit code is 3 when it would change something. Without a process: what a start would do. Nothing is written.
    """
    from tapir.app.cli.plan import plan as make_plan  # it takes half of the process along

    raise typer.Exit(make_plan(config_dir, state_dir, show_all=show_all, as_json=as_json))


@app.command()
def status(config_dir: ConfigDir = DEFAULT_CONFIG_DIR, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show sources, zone, secondaries and actors of the process."""
    raise typer.Exit(commands.status(commands.find_state_dir(config_dir, state_dir), as_json=as_json))


@app.command()
def top(
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
    interval: Annotated[int, typer.Option(min=1, max=3600, help="Seconds between two looks.")] = 1,
) -> None:
    """Watch the running process live, until Ctrl-C."""
    raise typer.Exit(commands.top(commands.find_state_dir(config_dir, state_dir), interval=interval, as_json=as_json))


@app.command()
def trace(
    actor: Annotated[str, typer.Argument(help="The actor's path, as `tapir status` shows it: evaluator/lists")],
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
    count: Annotated[int, typer.Option(min=0, help="End after so many messages; 0: never.")] = 0,
) -> None:
    """Watch the messages of one actor, until Ctrl-C. Shown are their kinds, never what they say."""
    raise typer.Exit(
        commands.trace(commands.find_state_dir(config_dir, state_dir), actor, count=count, as_json=as_json)
    )


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="A domain name.")],
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Say why a name is blocked, or not, and since when."""
    raise typer.Exit(commands.explain(commands.find_state_dir(config_dir, state_dir), name, as_json=as_json))


@app.command()
def mqtt(config_dir: ConfigDir = DEFAULT_CONFIG_DIR, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show the connection with the broker, what is subscribed to, and the global configuration."""
    raise typer.Exit(broker.mqtt(commands.find_state_dir(config_dir, state_dir), as_json=as_json))


@app.command()
def accept(
    what: Annotated[str, typer.Argument(help="`zone`, `clock`, or the id of a source.")],
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Accept a change that the brake holds back, or that the wall clock is right after it was set."""
    raise typer.Exit(
        commands.steer(commands.find_state_dir(config_dir, state_dir), "accept", as_json=as_json, what=what)
    )


@app.command()
def names(
    source: Annotated[str, typer.Argument(help="The id of a source, or the name of its list; default: all.")] = "",
    below: Annotated[str, typer.Option("--below", metavar="NAME", help="Only NAME and what is below it.")] = "",
    filter_: Annotated[str, typer.Option("--filter", metavar="TEXT", help="Only names in which TEXT stands.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="How many names; 0: all.")] = 0,
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the names on lists: domain, list, format, filter, flags. With --json, an object a line."""
    from tapir.app.cli import names as listing

    folder = commands.find_state_dir(config_dir, state_dir)
    raise typer.Exit(listing.names(folder, source, suffix=below, containing=filter_, limit=limit, as_json=as_json))


@app.command()
def sources(config_dir: ConfigDir = DEFAULT_CONFIG_DIR, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show every source: files, feeds and observed lists, and what is wrong with them."""
    from tapir.app.cli import sources as listing

    raise typer.Exit(listing.sources(commands.find_state_dir(config_dir, state_dir), as_json=as_json))


@app.command()
def refresh(
    source: Annotated[str, typer.Argument(help="The id of a source.")],
    whole: Annotated[
        bool,
        typer.Option(
            "--whole",
            help="Of a feed: transfer all of its zone, also if its serial went back. Of observations: bootstrap again.",
        ),
    ] = False,
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Have a source look now whether there is something new."""
    from tapir.app.cli import refresh as refreshing

    folder = commands.find_state_dir(config_dir, state_dir)
    raise typer.Exit(refreshing.refresh(folder, source, whole=whole, as_json=as_json))


@app.command()
def events(config_dir: ConfigDir = DEFAULT_CONFIG_DIR, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show the exceptional events: what lasts, and what was lately."""
    from tapir.app.cli import refresh as refreshing

    raise typer.Exit(refreshing.events(commands.find_state_dir(config_dir, state_dir), as_json=as_json))


Lasting = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="End by itself after that: 90m, 2h, 1d12h, 3w.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever asks later.")]
Remove = Annotated[bool, typer.Option("--remove", help="Take it back.")]
Entry = Annotated[str, typer.Argument(metavar="NAME", help="As in a list: name, '*.name' or '||name^'.")]


@app.command()
def allow(
    name: Entry,
    lasting: Lasting = None,
    reason: Reason = "",
    remove: Remove = False,
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Keep a name out of the zone, whatever other lists say."""
    _override("allowlist", name, lasting, reason, remove, config_dir, state_dir, as_json)


@app.command()
def deny(
    name: Entry,
    lasting: Lasting = None,
    reason: Reason = "",
    remove: Remove = False,
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a name into the zone, unless an allowlist has it."""
    _override("denylist", name, lasting, reason, remove, config_dir, state_dir, as_json)


@app.command()
def doubt(
    name: Entry,
    lasting: Lasting = None,
    reason: Reason = "",
    remove: Remove = False,
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Count a name as on one more doubtlist."""
    _override("doubtlist", name, lasting, reason, remove, config_dir, state_dir, as_json)


def _override(
    kind: str,
    name: str,
    lasting: str | None,
    reason: str,
    remove: bool,
    config_dir: Path,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    folder = commands.find_state_dir(config_dir, state_dir)
    raise typer.Exit(
        overrides.override(folder, kind, name, lasting=lasting, reason=reason, remove=remove, as_json=as_json)
    )


@app.command("overrides")
def list_overrides(
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR, state_dir: StateDir = None, as_json: AsJson = False
) -> None:
    """Show what is allowed, denied and doubted by hand."""
    raise typer.Exit(overrides.overrides(commands.find_state_dir(config_dir, state_dir), as_json=as_json))


@app.command()
def pause(
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 90s, 10m, 2h; at most 7d.")],
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Publish an empty zone for a while. It comes back by itself, or with `tapir resume`."""
    raise typer.Exit(zone.pause(commands.find_state_dir(config_dir, state_dir), lasting, as_json=as_json))


@zone_app.command("hold")
def zone_hold(config_dir: ConfigDir = DEFAULT_CONFIG_DIR, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Publish nothing new until `tapir resume`."""
    raise typer.Exit(commands.steer(commands.find_state_dir(config_dir, state_dir), "zone-hold", as_json=as_json))


@app.command("resume")
@zone_app.command("resume")
def zone_resume(
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR, state_dir: StateDir = None, as_json: AsJson = False
) -> None:
    """End a pause, a hold and a rollback. What was held back is published."""
    raise typer.Exit(commands.steer(commands.find_state_dir(config_dir, state_dir), "zone-resume", as_json=as_json))


Serial = Annotated[int, typer.Argument(min=0, max=2**32 - 1)]


@zone_app.command("rollback")
def zone_rollback(
    serial: Serial, config_dir: ConfigDir = DEFAULT_CONFIG_DIR, state_dir: StateDir = None, as_json: AsJson = False
) -> None:
    """Publish again what the zone was at SERIAL. It gets a new serial, and is held until `tapir resume`."""
    raise typer.Exit(
        commands.steer(commands.find_state_dir(config_dir, state_dir), "zone-rollback", as_json=as_json, serial=serial)
    )


@zone_app.command("history")
def zone_history(
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many versions.")] = 20,
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the zone's versions: when, how much changed, and why."""
    raise typer.Exit(zone.history(commands.find_state_dir(config_dir, state_dir), count=count, as_json=as_json))


@zone_app.command("diff")
def zone_diff(
    older: Annotated[int, typer.Argument(metavar="M", min=0, max=2**32 - 1)],
    newer: Annotated[int, typer.Argument(metavar="N", min=0, max=2**32 - 1)],
    everything: Annotated[bool, typer.Option("--all", help="Show all of it, not the first 500 names.")] = False,
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed from serial M to serial N."""
    folder = commands.find_state_dir(config_dir, state_dir)
    raise typer.Exit(zone.diff(folder, older, newer, everything=everything, as_json=as_json))


@zone_app.command("set-serial")
def zone_set_serial(
    serial: Serial,
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Publish the present content under SERIAL. For secondaries that are ahead of us."""
    raise typer.Exit(
        commands.steer(
            commands.find_state_dir(config_dir, state_dir), "zone-set-serial", as_json=as_json, serial=serial
        )
    )


def main() -> None:
    """The entry point of the `tapir` command."""
    if sys.stdout is None:
        # `>&-`: what is said has nowhere to go, what is done is done.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where what fails has a name
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # `tapir status | head`: the reader has seen enough, and what is still buffered has nowhere to go.
        _drop_output()
        sys.exit(0)
    except OSError as exc:
        if exc.errno not in _CANNOT_WRITE:
            raise
        _drop_output()
        print(f"tapir: the answer cannot be written: {exc.strerror}", file=sys.stderr)
        sys.exit(1)


_CANNOT_WRITE: Final = frozenset({errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT})


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
