"""EDM's lines of `tapir status`: what came in, what became of it, and what is still to be sent."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

_KINDS: Final = ("minimised", "ignored", "malformed", "dropped")
_DETAILED: Final = frozenset({"ignored", "malformed", "dropped"})
_STYLES: Final = {"connected": "green", "off": "dim"}


def render_edm_status(status: Any, *, now: float) -> list[RenderableType]:
    """A line for each part of EDM, what is wrong with it in red below; nothing where none is run."""
    if not isinstance(status, Mapping):
        return []
    lines: list[RenderableType] = [Text("\nEDM", style="bold")]
    for name, render in _PARTS:
        part = status.get(name)
        if part is None:
            continue
        if isinstance(part, Mapping) and set(part) == {"error"}:
            lines.append(Text(f"  {name.replace('_', ' ')}: {part['error']}", style="red"))
            continue
        lines += render(part, now)
        if part.get("trouble") and part["trouble"] not in _told(part):
            lines.append(Text(f"    {part['trouble']}", style="red"))
    return lines


def account_line(account: Mapping[str, Any]) -> str:
    """The account of frames as the equation that it is; reasons are named where frames were not minimised."""
    parts = []
    for kind in _KINDS:
        reasons = [(reason, count) for each, reason, count in account["settled"] if each == kind and count]
        text = f"{sum(count for _, count in reasons):,} {kind}"
        if kind in _DETAILED and reasons:
            text += f" ({', '.join(f'{reason} {count:,}' for reason, count in reasons)})"
        parts.append(text)
    return f"{account['received']:,} received = {' + '.join(parts)} + {account['in_flight']:,} in flight"


def _input(part: Mapping[str, Any], now: float) -> Iterable[RenderableType]:
    where = ", ".join(part["addresses"])
    if not where:
        return [Text("  input is not open", style="red")]
    failed = ", ".join(f"{reason} {count:,}" for reason, count in part["failed"] if count)
    more = f"; given up: {failed}" if failed else ""
    more += f"; refused {part['refused']:,}" if part["refused"] else ""
    text = f"  input on {where}: {part['open']:,} connections of {part['accepted']:,}, {part['frames']:,} frames{more}"
    return [Text(text)]


def _told(part: Mapping[str, Any]) -> Iterable[str]:
    """What its own lines say to be wrong."""
    return [file["trouble"] for file in part.values() if isinstance(file, Mapping) and "trouble" in file]


def _minimiser(part: Mapping[str, Any], now: float) -> Iterable[RenderableType]:
    lines: list[RenderableType] = [Text(f"  {account_line(part['account'])}"), Text(f"  {_minute(part)}")]
    if part["rows_lost"]:
        lines.append(Text(f"    {part['rows_lost']:,} rows were lost: no disk took them", style="red"))
    lists = (
        ("well-known names", part["well_known"]),
        ("clients to ignore", part["ignored_clients"]),
        ("names to ignore", part["ignored_names"]),
    )
    for what, file in lists:
        if not file["path"]:
            continue
        loaded = "not loaded" if file["loaded_at"] is None else f"read {_age(file['loaded_at'], now)} ago"
        lines.append(Text(f"  {what}: {file['entries']:,} of {file['path']}, {loaded}"))
        if file["trouble"]:
            lines.append(Text(f"    {file['trouble']}", style="red"))
    return lines


def _minute(part: Mapping[str, Any]) -> str:
    if not part["interval_started_at"]:
        return "nothing is minimised yet: frames wait until all lists can be read"
    began = datetime.fromtimestamp(part["interval_started_at"] / 1_000_000, UTC).strftime("%H:%M:%S UTC")
    return (
        f"since {began}: {part['interval_responses']:,} responses for {part['interval_names']:,} well-known "
        f"names, {part['session_rows']:,} session rows; written: {part['histograms_written']:,} histograms, "
        f"{part['session_files_written']:,} session files"
    )


def _novelty(part: Mapping[str, Any], now: float) -> Iterable[RenderableType]:
    put_off = f", {part['put_off']:,} put off" if part["put_off"] else ""
    return [Text(f"  new names: {part['new']:,} of {part['asked']:,} asked for{put_off}")]


def _new_names(part: Mapping[str, Any], now: float) -> Iterable[RenderableType]:
    waiting = _waiting(part["waiting"], part["oldest_at"], now)
    dropped = f", {part['dropped']:,} dropped" if part["dropped"] else ""
    where = f" to {part['topic']}" if part["topic"] else ""
    text = f"  events{where}: {part['sent']:,} sent, {waiting}{dropped}; {part['names']:,} names were seen"
    return [Text(text)]


def _aggregates(part: Mapping[str, Any], now: float) -> Iterable[RenderableType]:
    waiting = _waiting(part["waiting"], part["oldest_at"], now)
    if not part["enabled"]:
        return [Text(f"  histograms are not sent (disable-histogram-sender), {waiting}")]
    failures = ", ".join(f"{reason} {count:,}" for reason, count in part["failures"] if count)
    failed = f"; failed: {failures}" if failures else ""
    text = f"  histograms to {part['url']}: {part['sent']:,} sent, {waiting}, {part['kept']:,} kept{failed}"
    return [Text(text)]


def _mqtt(part: Mapping[str, Any], now: float) -> Iterable[RenderableType]:
    text = Text(f"  broker {part['broker']}  ")
    text.append(part["state"], style=_STYLES.get(part["state"], "yellow"))
    text.append(f" {_age(part['since'], now)}" if part["since"] is not None else "")
    return [text]


def _metrics(part: Mapping[str, Any], now: float) -> Iterable[RenderableType]:
    if not part["address"]:
        return []
    verb = "at" if part["listening"] else "cannot be asked for at"
    return [Text(f"  metrics {verb} {part['address']}", style="" if part["listening"] else "red")]


def _telemetry(part: Mapping[str, Any], now: float) -> Iterable[RenderableType]:
    if not part["topic"]:
        return []
    published = f"published {part['published']:,} times"
    if part["published_at"] is not None:
        published += f", last {_age(part['published_at'], now)} ago"
    return [Text(f"  status to {part['topic']}: {published}, {part['pending_events']:,} events pending")]


def _waiting(count: int, oldest_at: int | None, now: float) -> str:
    return f"{count:,} waiting" + (f", the oldest for {_age(oldest_at, now)}" if oldest_at is not None else "")


def _age(microseconds: int, now: float) -> str:
    seconds = int(max(0.0, now - microseconds / 1_000_000))
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


_PARTS: Final[tuple[tuple[str, Callable[[Mapping[str, Any], float], Iterable[RenderableType]]], ...]] = (
    ("input", _input),
    ("minimiser", _minimiser),
    ("novelty", _novelty),
    ("new_names", _new_names),
    ("aggregates", _aggregates),
    ("mqtt", _mqtt),
    ("metrics", _metrics),
    ("telemetry", _telemetry),
)
