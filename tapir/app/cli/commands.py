"""What each command does; every function returns its exit code: 0 done, 1 not done, 2 the input is wrong."""

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
from rich.console import Console
from rich.live import Live

from tapir.app.cli import render
from tapir.app.cli.client import ConsoleClient, ConsoleRefusedError, ConsoleUnreachableError, answers, open_console
from tapir.app.cli.explanation import render_explanation
from tapir.app.config import (
    Component,
    Config,
    ConfigErrors,
    EdmConfig,
    Setup,
    SourceConfig,
    candidate_state_dirs,
    load_setup,
)
from tapir.model.actions import ListKind
from tapir.model.names import format_name
from tapir.policy.settings import PolicySettings

DONE: Final = 0
NOT_DONE: Final = 1
WRONG_INPUT: Final = 2


def find_state_dir(config_dir: Path, state_dir: Path | None, *, first: Component = Component.POP) -> Path:
    """The state directory that was named, else the one that is configured, else the default.

    A configuration that is broken, or not ours to read, keeps nobody from asking the process that runs. Where a POP and
    EDM may run from one folder in a process each, the `first` of them is asked whose console is there to answer.
    """
    if state_dir is not None:
        return state_dir
    folders = candidate_state_dirs(config_dir, first=first)
    return next((folder for folder in folders if len(folders) > 1 and answers(folder)), folders[0])


def parse_flags(written: Sequence[str]) -> dict[str, str]:
    """Keys of EDM from the command line, as KEY=VALUE; a KEY alone is true, as in the existing EDM."""
    pairs = [each.partition("=") for each in written]
    return {key.lstrip("-"): value if equals else "true" for key, equals, value in pairs}


def check(
    config_dir: Path,
    state_dir: Path | None,
    *,
    as_json: bool,
    only: Component | None = None,
    flags: Mapping[str, str] | None = None,
) -> int:
    """Print every error and notice of the configuration; 0 when it would start."""
    try:
        setup = load_setup(config_dir, state_dir, only=only, flags=flags)
    except ConfigErrors as exc:
        errors = [str(error) for error in exc.errors]
        notices = [str(notice) for notice in exc.notices]
        if as_json:
            _print_json({"ok": False, "errors": errors, "notices": notices})
        else:
            for line in [*notices, *errors]:
                print(line, file=sys.stderr)
            print(f"{len(errors)} error{'s' if len(errors) != 1 else ''}; nothing was changed", file=sys.stderr)
        return WRONG_INPUT
    notices = [str(notice) for notice in setup.notices]
    notices += _canary_notices(setup.pop) if setup.pop is not None else []
    notices += _missing_files(setup.edm) if setup.edm is not None else []
    summary = summarise_setup(setup)
    if as_json:
        components = [component.value for component in setup.components]
        _print_json({"ok": True, "errors": [], "notices": notices, "components": components, "summary": summary})
        return DONE
    for line in notices:
        print(line, file=sys.stderr)
    for line in summary:
        print(line)
    print("configuration ok")
    return DONE


def _canary_notices(config: Config) -> list[str]:
    """That an allowlist keeps the canary out of the zone, if one does."""
    if config.canary is None:
        return []
    from tapir.app.plan import lists_allowing_canary  # it reads lists, as the process does

    lists = ", ".join(lists_allowing_canary(config))
    place = config.config_dir / "dnstapir-pop.yaml"
    text = f"{format_name(config.canary)} is on an allowlist ({lists}), so it is not in the zone"
    return [f"{place}: services.rpz.canary: {text}"] if lists else []


def _missing_files(edm: EdmConfig) -> list[str]:
    """The files that EDM is to read and that are not there, by key; none of them keeps it from starting."""
    groups = (
        (True, ("well-known-domains-file", "ignored-client-ips-file", "ignored-question-names-file")),
        (edm.input_tls is not None, ("input-tls-cert-file", "input-tls-key-file", "input-tls-client-ca-file")),
        (
            not edm.disable_mqtt,
            ("mqtt-signing-key-file", "mqtt-client-cert-file", "mqtt-client-key-file", "mqtt-ca-file"),
        ),
        (edm.telemetry is not None, ("telemetry-signing-key-file",)),
        (
            not edm.disable_histogram_sender,
            ("http-signing-key-file", "http-client-cert-file", "http-client-key-file", "http-ca-file"),
        ),
    )
    found = []
    for key in (key for used, keys in groups if used for key in keys):
        path: Path | None = getattr(edm, key.replace("-", "_"))
        if path is not None and not os.access(path, os.R_OK):
            found.append(f"{edm.config_file}: {key}: {path} is not there, or not ours to read")
    dump = edm.debug_dnstap_filename
    if dump is not None and not os.access(dump if dump.exists() else dump.parent, os.W_OK):
        found.append(f"{edm.config_file}: debug-dnstap-filename: {dump} cannot be written")
    return found


def summarise_setup(setup: Setup) -> list[str]:
    """What the configuration of all components comes to, a line each."""
    lines = summarise(setup.pop) if setup.pop is not None else [f"state is kept in {setup.state_dir}"]
    return lines + (summarise_edm(setup.edm) if setup.edm is not None else [])


def summarise_edm(edm: EdmConfig) -> list[str]:
    """What the configuration of EDM comes to, a line each; no key of pseudonyms is in it."""
    listening = edm.input_unix or edm.input_tcp or f"{edm.input_tls} over TLS"
    sessions = "no sessions" if edm.disable_session_files else "sessions of everything else"
    events = f"to {edm.broker}" if edm.broker is not None else "nowhere (disable-mqtt)"
    return [
        f"EDM takes dnstap on {listening}",
        f"EDM counts the names of {edm.well_known_domains_file}, and keeps {sessions} in {edm.data_dir}",
        f"EDM sends histograms to {edm.aggregate_url or 'nowhere (disable-histogram-sender)'}, and new names {events}",
    ]


def summarise(config: Config) -> list[str]:
    """What a configuration comes to, a line each."""
    listening = ", ".join(map(str, config.server.addresses)) if config.server.active else "nowhere (not active)"
    allowed = ", ".join(map(str, config.server.allow_transfer))
    outputs = ", ".join(str(output.address) for output in config.outputs) or "nobody"
    lines = [
        f"zone {format_name(config.zone.name)} served on {listening}, to {allowed}",
        f"NOTIFY goes to {outputs}",
        f"state is kept in {config.state_dir}",
    ]
    for source in config.sources:
        use = "" if source.active else " (not active)"
        use = use or ("" if source.supported else " (not run by this version)")
        effect = _effect(source, config.policy) if source.active else ""
        if effect and source.match == "subtree":
            effect = f", each name with all below{effect}"
        lines.append(
            f"source {source.id}: {source.kind.value} {source.name} from {source.path or source.origin}{effect}{use}"
        )
    return lines


def _effect(source: SourceConfig, policy: PolicySettings) -> str:
    """What comes of being on the list of `source`."""
    own = source.action
    match source.kind:
        case ListKind.ALLOW:
            return ", left alone"
        case ListKind.DENY:
            return f", action {own.label}, its own" if own else f", action {policy.denylist_action.label}"
        case ListKind.DOUBT:
            return f", weight {source.weight}" + (f", action {own.label} where a rule fires" if own else "")


def status(state_dir: Path, *, as_json: bool) -> int:
    """Print one look at everything."""

    async def show(client: ConsoleClient) -> int:
        answer = await client.request("status")
        if as_json:
            _print_json(answer)
        else:
            screen().print(render.render_status(answer, now=time.time()))
        return DONE

    return with_console(state_dir, show)


def top(state_dir: Path, *, interval: int, as_json: bool) -> int:
    """Print look after look; JSON: one document a line."""

    async def watch(client: ConsoleClient) -> int:
        if as_json:
            async for item in client.stream("watch", interval=interval):
                print(json.dumps(item["data"], ensure_ascii=False), flush=True)
            return DONE
        with Live(console=screen(), screen=sys.stdout.isatty(), auto_refresh=False) as live:
            async for item in client.stream("watch", interval=interval):
                live.update(render.render_top(item["data"], now=time.time()), refresh=True)
        return DONE

    return until_interrupted(state_dir, watch)


def trace(state_dir: Path, actor: str, *, count: int, as_json: bool) -> int:
    """Print what happens to the messages of one actor."""

    async def follow(client: ConsoleClient) -> int:
        seen = 0
        async with aclosing(client.stream("trace", actor=actor)) as stream:
            async for item in stream:
                _print_entry(item, as_json=as_json)
                seen += 1
                if seen == count:
                    break
        return DONE

    return until_interrupted(state_dir, follow)


def _print_entry(item: Any, *, as_json: bool) -> None:
    entry = item["data"]
    if as_json:
        print(json.dumps(entry, ensure_ascii=False), flush=True)
        return
    lost = f"  ({item['lost']} lost)" if item["lost"] else ""
    took = f"  {entry['seconds'] * 1000:.1f} ms" if entry["kind"] != "received" else ""
    print(f"{render.clock_time(entry['at'])} {entry['kind']:8} {entry['message']}{took}{lost}", flush=True)


def explain(state_dir: Path, name: str, *, as_json: bool) -> int:
    """Print why a name is answered as it is."""

    async def ask(client: ConsoleClient) -> int:
        answer = await client.request("explain", name=name)
        if as_json:
            _print_json(answer)
        else:
            screen().print(render_explanation(answer, now=time.time()))
        return DONE

    return with_console(state_dir, ask)


def steer(state_dir: Path, op: str, *, as_json: bool, **arguments: object) -> int:
    """Have the process do `op`, and print what it says."""

    async def ask(client: ConsoleClient) -> int:
        answer = await client.request(op, **arguments)
        if as_json:
            _print_json({"ok": True, "text": answer})
        else:
            print(answer)
        return DONE

    return with_console(state_dir, ask)


def with_console(state_dir: Path, use: Callable[[ConsoleClient], Awaitable[int]]) -> int:
    """What `use` returns with an open console; 1, and the reason on stderr, where there is none or it refuses."""

    async def connected() -> int:
        async with open_console(state_dir) as client:
            return await use(client)
        raise AssertionError("open_console yields exactly once")

    try:
        return trio.run(partial(connected))
    except (ConsoleUnreachableError, ConsoleRefusedError) as exc:
        print(f"tapir: {exc}", file=sys.stderr)
        return NOT_DONE


def until_interrupted(state_dir: Path, use: Callable[[ConsoleClient], Awaitable[int]]) -> int:
    """As `with_console`, for what has no end: Ctrl-C is how one leaves it."""
    try:
        return with_console(state_dir, use)
    except KeyboardInterrupt:
        return DONE


class _Screen(Console):
    """A reader that goes away is the caller's to handle: Rich would leave through whatever waits around us."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def screen() -> Console:
    """What tables are printed on."""
    # Off a terminal, lines are not folded at 80 columns: they are for grep.
    return _Screen(highlight=False, soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 200)


def _print_json(document: Any) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2))
