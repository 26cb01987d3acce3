"""Status as a person reads it: tables and a tree, made from the console's JSON."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from tapir.app.cli.render_api import render_api
from tapir.app.cli.render_edm_status import render_edm_status

_GOOD: Final = {"running", "fresh", "serving", "acknowledged", "current", "transferring", "connected"}
_BAD: Final = {"stuck", "failed", "held", "paused", "braked", "unsaved", "empty", "expired"}


def ago(microseconds: int | None, now: float) -> str:
    """How long ago that was, in the largest unit that says enough; `never` for None."""
    if microseconds is None:
        return "never"
    seconds = max(0.0, now - microseconds / 1_000_000)
    return f"{duration(seconds)} ago"


def duration(seconds: float) -> str:
    """A length of time in one or two units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days"


def age(microseconds: int | None, now: float) -> str:
    """How long ago that was in one unit, for a column of a table."""
    if microseconds is None:
        return "never"
    seconds = int(max(0.0, now - microseconds / 1_000_000))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 48 * 3600 else f"{seconds // 86400} days"


def render_status(status: Mapping[str, Any], *, now: float) -> RenderableType:
    """All of `tapir status`, most urgent first."""
    return Group(*_head(status, now=now), *_detail(status, now=now), Text(""), render_tree(status["runtime"]))


def render_top(status: Mapping[str, Any], *, now: float) -> RenderableType:
    """All of `tapir top`: as `status`, but the tree moves up, since a small terminal cuts off what comes last."""
    return Group(*_head(status, now=now), Text(""), render_tree(status["runtime"]), *_detail(status, now=now))


def _head(status: Mapping[str, Any], *, now: float) -> list[RenderableType]:
    return [
        render_process(status, now=now),
        render_health(status.get("health")),
        *render_urgent(status, now=now),
        *([render_zone(status["zone"], now=now)] if "zone" in status else []),
        *render_edm_status(status.get("edm"), now=now),
    ]


def _detail(status: Mapping[str, Any], *, now: float) -> list[RenderableType]:
    if "zone" not in status:
        return []  # no POP is run
    return [
        render_sources(status.get("sources"), status.get("health"), now=now),
        *render_broker(status, now=now),
        render_secondaries(status.get("secondaries"), status.get("zone"), now=now),
        render_server(status.get("server")),
        *render_api(status.get("api")),
    ]


def render_process(status: Mapping[str, Any], *, now: float) -> RenderableType:
    """Which process this is."""
    process = status["process"]
    return Text(
        f"tapir {process['version']} ({process['commit']}), pid {process['pid']}, "
        f"started {ago(process['started_at'], now)}, state in {process['state_dir']}"
    )


def render_health(health: Any) -> RenderableType:
    """Ready or not, why not, and what to look at."""
    if (failure := _failure(health)) is not None:
        return Text(f"health: {failure}", style="bold red")
    lines = [Text("ready", style="bold green") if health["ready"] else Text("not ready", style="bold red")]
    lines += [Text(f"  {reason}", style="red") for reason in health["reasons"]]
    lines += [Text(f"  {warning}", style="yellow") for warning in health["warnings"]]
    return Group(*lines)


def render_urgent(status: Mapping[str, Any], *, now: float) -> list[RenderableType]:
    """A line for each exceptional event that lasts, one while nothing expires; nothing where all is well."""
    lines: list[RenderableType] = []
    events = status.get("events")
    if (failure := _failure(events)) is not None and events is not None:
        lines.append(Text(f"  events: {failure}", style="red"))
    elif isinstance(events, list):
        for each in events:
            if each["cleared_at"] is None:
                text = f"  {each['kind']} {each['subject']}, for {age(each['at'], now)}: {each['text']} ({each['id']})"
                lines.append(Text(text, style="bold yellow"))
    clock = status.get("clock")
    if isinstance(clock, Mapping) and clock.get("held"):
        until = "" if clock["released_at"] is None else f" until {clock_time(clock['released_at'])[:8]} UTC"
        lines.append(Text(f"  no name expires{until}: the wall clock is in doubt", style="bold yellow"))
    return lines


def render_broker(status: Mapping[str, Any], *, now: float) -> list[RenderableType]:
    """A line on the broker, where there is one."""
    mqtt = status.get("mqtt")
    if mqtt is None:
        return []
    if (failure := _failure(mqtt)) is not None:
        return [Text(f"\nmqtt: {failure}", style="red")]
    text = Text(f"\nmqtt {mqtt['broker']}  ")
    text.append(mqtt["state"], style=style(mqtt["state"]))
    text.append(f" {age(mqtt['since'], now)}" if mqtt["since"] is not None else "")
    messages = sum(topic["messages"] for topic in mqtt["topics"])
    text.append(f"; {len(mqtt['topics'])} topics, {messages} messages, {mqtt['unacknowledged']} not stored yet")
    if mqtt["trouble"]:
        text.append(f"\nmqtt: {mqtt['trouble']}", style="red")
    return [text]


def render_zone(zone: Any, *, now: float) -> RenderableType:
    """Serial, size, and how far back the journal reaches."""
    if (failure := _failure(zone)) is not None:
        return Text(f"\nzone: {failure}", style="red")
    text = Text(f"\nzone {zone['zone']}  ")
    text.append(zone["state"], style=style(zone["state"]))
    if zone["serial"] is None:
        text.append("  no version yet: queries are answered SERVFAIL, secondaries keep what they have")
    else:
        published = ago(zone["published_at"], now)
        text.append(f"  serial {zone['serial']}, {zone['records']} records, published {published}")
    if zone["serial"] is not None and zone["journal_from"] is None:
        text.append("\njournal: empty, every secondary takes a full transfer")
    elif zone["journal_from"] is not None:
        text.append(
            f"\njournal: IXFR from serial {zone['journal_from']}, "
            f"{zone['journal_deltas']} changes, {zone['journal_octets']} octets"
        )
    if zone["held_change"]:
        removed, added = zone["held_change"]
        text.append(f"\nheld back: -{removed} +{added} records", style="yellow")
    if zone["store_error"]:
        text.append(f"\nstore: {zone['store_error']}", style="red")
    return text


def render_sources(sources: Any, health: Any, *, now: float) -> RenderableType:
    """A row a source, then a line for each that refused lines, is held back or fails.

    An id is never cut, since `tapir accept` wants it whole; what `health` says already is not said again.
    """
    if (failure := _failure(sources)) is not None:
        return Text(f"\nsources: {failure}", style="red")
    # The operator's own lists are there always; they are worth a row when they say something.
    shown = [each for each in sources["sources"] if not each.get("internal") or each["names"] or each["error"]]
    if not shown:
        return Text("\nsources: none configured")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("source", "state", "kind", "list"):
        table.add_column(heading, no_wrap=heading != "list", overflow="fold")
    for heading in ("names", "loaded", "looked at"):
        table.add_column(heading, justify="right", no_wrap=True)
    said = " ".join(health.get("warnings", ())) if isinstance(health, Mapping) else ""
    notes: list[Text] = []
    for source in shown:
        if source["refusals"]:
            refused = ", ".join(_refusal(refusal) for refusal in source["refusals"])
            notes.append(Text(f"{source['id']} refused {refused}", style="yellow"))
        if source["error"] and source["error"] not in said:
            trouble = "is held" if source["state"] == "held" else "fails"
            notes.append(Text(f"{source['id']} {trouble}: {source['error']}", style="red"))
        table.add_row(
            source["id"],
            Text(source["state"], style=style(source["state"])),
            source["kind"],
            source["name"],
            str(source["names"]),
            age(source["loaded_at"], now),
            age(source["checked_at"], now),
        )
    return Group(Text(""), table, *notes)


def _refusal(refusal: Mapping[str, Any]) -> str:
    lines = ",".join(str(line) for line in refusal["lines"][:5])
    more = ",…" if refusal["count"] > min(5, len(refusal["lines"])) else ""
    return f"{refusal['count']} {refusal['reason']} (line {lines}{more})"


def render_secondaries(secondaries: Any, zone: Any, *, now: float) -> RenderableType:
    """A row a secondary: what it has, how far it lags, how it answered NOTIFY."""
    if secondaries is None:
        return Text("\nsecondaries: no zone server is configured")
    if (failure := _failure(secondaries)) is not None:
        return Text(f"\nsecondaries: {failure}", style="red")
    if not secondaries:
        return Text("\nsecondaries: none configured, none seen")
    serial = zone.get("serial") if isinstance(zone, Mapping) else None
    table = Table("secondary", "has serial", "lag", "last query", "NOTIFY", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for secondary in secondaries:
        has = secondary["last_serial"]
        query = secondary["last_query"] or "-"
        if secondary["last_query_at"] is not None:
            query += f" {ago(secondary['last_query_at'], now)}"
        notify = secondary["notify_state"] or "-"
        if secondary["notify_serial"] is not None:
            notify += f" ({secondary['notify_serial']}, {ago(secondary['notify_at'], now)})"
        table.add_row(
            secondary["address"] + ("" if secondary["configured"] else " (not in outputs)"),
            "unknown" if has is None else str(has),
            _lag(has, serial, ahead=secondary["ahead"]),
            query,
            notify,
        )
    return Group(Text(""), table)


def _lag(has: int | None, serial: int | None, *, ahead: bool) -> Text:
    if ahead:
        return Text("AHEAD: tapir zone set-serial", style="red")
    if has is None or serial is None:
        return Text("-")
    behind = (serial - has) % 2**32
    return Text("none", style="green") if behind == 0 else Text(f"{behind} serials", style="yellow")


def render_server(server: Any) -> RenderableType:
    """Where the zone is served, and what was refused."""
    if server is None:
        return Text("\nzone server: not active (dnsengine.active is false)")
    if (failure := _failure(server)) is not None:
        return Text(f"\nzone server: {failure}", style="red")
    text = Text(f"\nlistening on {', '.join(server['listening'])}; {server['connections']} connections\n")
    text.append(f"answered: {_pairs(server['counters'])}\nrefused: {_pairs(server['refusals'])}")
    return text


def _pairs(pairs: Iterable[Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in pairs if count) or "nothing"


def render_tree(runtime: Mapping[str, Any]) -> RenderableType:
    """The actors, with what each does now."""
    root = runtime["root"]
    tree = Tree(node_line(root))
    _grow(tree, root)
    lag = runtime["lag"]
    return Group(
        tree,
        Text(
            f"event loop lag: median {lag['p50'] * 1000:.1f} ms, p99 {lag['p99'] * 1000:.1f} ms, "
            f"worst {lag['maximum'] * 1000:.1f} ms; dead letters: {runtime['dead_letters']}"
        ),
    )


def _grow(tree: Tree, node: Mapping[str, Any]) -> None:
    for child in node.get("children", ()):
        _grow(tree.add(node_line(child)), child)


def node_line(node: Mapping[str, Any]) -> Text:
    """One actor or supervisor on one line."""
    line = Text(f"{node['name']}  ")
    line.append(node["status"], style=style(node["status"]))
    if node.get("strategy"):
        line.append(f"  {node['strategy']}", style="dim")
    if node.get("current"):
        line.append(f"  handles {node['current']} for {duration(node.get('current_seconds') or 0.0)}", style="cyan")
    mailbox = node.get("mailbox")
    if mailbox:
        line.append(f"  mailbox {mailbox['depth']}/{mailbox['capacity']} (high {mailbox['high_water']})", style="dim")
        drops = {reason: count for reason, count in mailbox["drops"].items() if count}
        if coalesced := drops.pop("coalesced", 0):
            line.append(f"  coalesced {coalesced}", style="dim")  # not lost: a newer message says it, too
        if drops:
            line.append(f"  dropped {_pairs(drops.items())}", style="yellow")
    if node.get("processed"):
        line.append(f"  handled {node['processed']}", style="dim")
    if node.get("restarts"):
        line.append(f"  restarts {node['restarts']}", style="yellow")
    if node.get("last_error"):
        line.append(f"  last error: {node['last_error']}", style="red")
    return line


def _failure(part: Any) -> str | None:
    if part is None:
        return "unknown"
    if isinstance(part, Mapping) and set(part) == {"error"}:
        return str(part["error"])
    return None


def style(state: str) -> str:
    """How a word for a state is shown."""
    if state in _GOOD:
        return "green"
    return "bold red" if state in _BAD else "yellow"


def clock_time(microseconds: int) -> str:
    """A wall-clock time for traces, in UTC."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).strftime("%H:%M:%S.%f")[:-3]


def minute(microseconds: int) -> str:
    """A wall-clock time to the minute, in UTC; an observation may hold for longer than calendars have years."""
    try:
        return datetime.fromtimestamp(microseconds / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):
        return "no time of this calendar"
