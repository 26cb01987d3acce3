"""EDM live, as a person watches it: how fast frames come and what becomes of them, busy names and new ones."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tapir.app.cli.figures import count, octets, rate
from tapir.app.cli.render import age, clock_time, duration, minute, style

_LABEL: Final = 12
_SHORTEST: Final = 22
_FIGURES: Final = 40
"""what stands beside the names of both lists in a line"""


@attrs.frozen(kw_only=True)
class Pace:
    """What changed since the look `before`, `seconds` ago; after the first look nothing is known."""

    before: Mapping[str, Any] | None = None
    seconds: float = 0.0

    def of(self, edm: Mapping[str, Any], part: str, key: str) -> float | None:
        """How much a counter grows a second; None where that is not known, as after a restart of its actor."""
        return self._between(_number(self.before, part, key), _number(edm, part, key))

    def of_frames(self, edm: Mapping[str, Any]) -> float | None:
        """How many frames a second come."""
        return self._between(_account(self.before).get("received"), _account(edm).get("received"))

    def of_fate(self, edm: Mapping[str, Any], fate: tuple[str, str]) -> float | None:
        """How many frames a second have this fate, a kind and a reason."""
        then = _fates(self.before).get(fate, 0) if _account(self.before) else None
        return self._between(then, _fates(edm).get(fate))

    def _between(self, then: float | None, now: float | None) -> float | None:
        if then is None or now is None or now < then or self.seconds <= 0:
            return None
        return (now - then) / self.seconds


def pace_of(document: Mapping[str, Any], before: Mapping[str, Any] | None) -> Pace:
    """How fast things go between two looks."""
    if before is None:
        return Pace()
    return Pace(before=before["edm"], seconds=(document["at"] - before["at"]) / 1_000_000)


def render_watch(document: Mapping[str, Any], pace: Pace, *, rows: int, width: int = 80) -> RenderableType:
    """All of `tapir edm watch`, with `rows` names in each list at most, which are cut to fit into `width`."""
    edm, now = document["edm"], document["at"] / 1_000_000
    head = f"tapir {document['process']['version']}, pid {document['process']['pid']}, "
    head += f"{clock_time(document['at'])[:8]} UTC, event loop lag p99 {document['lag']['p99'] * 1000:.1f} ms"
    names = Table.grid(padding=(0, 4, 0, 0))
    room = max(_SHORTEST, (width - _FIGURES) // 2)
    names.add_row(_busy(edm, rows, room, now=now), _newest(edm, rows, room, now=now))
    lines: list[RenderableType] = []
    for name, label, tell in _PARTS:
        part = edm.get(name)
        if part is None:
            continue
        if set(part) == {"error"}:
            lines.append(_line(label, Text(str(part["error"]), style="red")))
            continue
        lines.append(_line(label, tell(edm, pace, now)))
        if part["trouble"]:
            lines.append(_line("", Text(part["trouble"], style="red")))
    return Group(Text(head, style="dim"), *lines, Text(""), _frames(edm, pace), Text(""), names)


def render_rotated(answer: Mapping[str, Any]) -> RenderableType:
    """The files that were written, a path a line."""
    files = [path for path in (answer["histogram"], *answer["sessions"]) if path]
    if not files and not answer["trouble"]:
        return Text(f"nothing came since {minute(answer['start'])}: there is no file")
    return Group(*map(Text, files))


# A line for each part


def _line(label: str, text: Text) -> Text:
    return Text.assemble((f"{label:<{_LABEL}}", "dim"), text)


def _input(edm: Mapping[str, Any], pace: Pace, now: float) -> Text:
    part = edm["input"]
    connections = f"{count(part['open'])} connection{'' if part['open'] == 1 else 's'}"
    frames, size = pace.of(edm, "input", "frames"), pace.of(edm, "input", "octets")
    text = Text.assemble((f"{rate(frames)} frames/s, {octets(size)}/s", "bold"), f" from {connections}")
    wrong = [*part["failed"], ("refused", part["refused"]), ("abandoned frames", part["abandoned"])]
    if told := ", ".join(f"{reason} {count(number)}" for reason, number in wrong if number):
        text.append(f"; {told}", style="yellow")
    return text


def _interval(edm: Mapping[str, Any], pace: Pace, now: float) -> Text:
    part = edm["minimiser"]
    if not part["interval_started_at"]:
        return Text("none yet: frames wait until all lists can be read", style="yellow")
    text = Text(
        f"{duration(max(0.0, now - part['interval_started_at'] / 1_000_000))}: {count(part['interval_responses'])}"
        f" responses for {count(part['interval_names'])} well-known names, {count(part['session_rows'])} session rows"
    )
    text.append(f"; {count(part['rows_lost'])} rows lost" if part["rows_lost"] else "", style="red")
    return text


def _novelty(edm: Mapping[str, Any], pace: Pace, now: float) -> Text:
    part = edm["novelty"]
    new, asked = pace.of(edm, "novelty", "new"), pace.of(edm, "novelty", "asked")
    text = Text(f"{rate(new)}/s of {rate(asked)}/s looked for; {count(part['new'])} since the start")
    text.append(f", {count(part['gathered'])} wait for the store" if part["gathered"] else "")
    text.append(f", {count(part['put_off'])} put off" if part["put_off"] else "", style="yellow")
    return text


def _events(edm: Mapping[str, Any], pace: Pace, now: float) -> Text:
    part = edm["new_names"]
    text = Text(f"{rate(pace.of(edm, 'new_names', 'sent'))}/s sent, {_waiting(part, now)}")
    text.append(f", {count(part['dropped'])} dropped" if part["dropped"] else "", style="red")
    return text.append(f"; {count(part['names'])} names seen")


def _broker(edm: Mapping[str, Any], pace: Pace, now: float) -> Text:
    part = edm["mqtt"]
    text = Text.assemble((part["state"], style(part["state"])))
    return text.append(f" for {age(part['since'], now)}" if part["since"] is not None else "")


def _aggregates(edm: Mapping[str, Any], pace: Pace, now: float) -> Text:
    part = edm["aggregates"]
    text = Text(f"{_waiting(part, now)}; " if part["enabled"] else f"not sent, {_waiting(part, now)}; ")
    text.append(f"{count(part['sent'])} sent")
    text.append(f", the last {age(part['last_sent_at'], now)} ago" if part["last_sent_at"] is not None else "")
    if told := ", ".join(f"{reason} {count(number)}" for reason, number in part["failures"] if number):
        text.append(f"; failed: {told}", style="yellow")
    return text


def _waiting(part: Mapping[str, Any], now: float) -> str:
    oldest = f", the oldest for {age(part['oldest_at'], now)}" if part["oldest_at"] is not None else ""
    return f"{count(part['waiting'])} waiting{oldest}"


_PARTS: Final[tuple[tuple[str, str, Callable[[Mapping[str, Any], Pace, float], Text]], ...]] = (
    ("input", "input", _input),
    ("minimiser", "interval", _interval),
    ("novelty", "new names", _novelty),
    ("new_names", "events", _events),
    ("mqtt", "broker", _broker),
    ("aggregates", "histograms", _aggregates),
)


# Tables


def _frames(edm: Mapping[str, Any], pace: Pace) -> RenderableType:
    """What became of the frames: a row for each fate that any frame had."""
    account = _account(edm)
    table = _table(("frames", ""), ("a second", "since the start"))
    if account:
        table.add_row("received", "", rate(pace.of_frames(edm)), count(account["received"]))
        for (kind, reason), number in _fates(edm).items():
            if number:
                look = "yellow" if kind in {"malformed", "dropped"} else ""
                table.add_row(kind, reason, rate(pace.of_fate(edm, (kind, reason))), count(number), style=look)
        table.add_row("in flight", "", "", count(account["in_flight"]))
    return table


def _busy(edm: Mapping[str, Any], rows: int, room: int, *, now: float) -> RenderableType:
    table = _table(("busy well-known names",), ("a second", "responses"))
    began = _number(edm, "minimiser", "interval_started_at")
    if isinstance(edm.get("busy"), list) and began:
        elapsed = now - began / 1_000_000
        for each in edm["busy"][:rows]:
            pace = each["responses"] / elapsed if elapsed >= 1 else None
            table.add_row(_cut(each["name"], room), rate(pace), count(each["responses"]))
    return table


def _newest(edm: Mapping[str, Any], rows: int, room: int, *, now: float) -> RenderableType:
    table = _table(("newest names",), ("ago",))
    for each in (edm.get("novelty") or {}).get("newest", ())[:rows]:
        table.add_row(_cut(each["name"], room), age(each["at"], now))
    return table


def _cut(name: str, room: int) -> Text:
    text = Text(name)
    text.truncate(room, overflow="ellipsis")
    return text


def _table(words: Iterable[str], figures: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in words:
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    for heading in figures:
        table.add_column(heading, no_wrap=True, justify="right")
    return table


# Looking into what was told


def _account(edm: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The account of frames; empty where the minimiser did not answer."""
    minimiser = None if edm is None else edm.get("minimiser")
    account = minimiser.get("account") if isinstance(minimiser, Mapping) else None
    return account or {}


def _fates(edm: Mapping[str, Any] | None) -> dict[tuple[str, str], int]:
    return {(kind, reason): number for kind, reason, number in _account(edm).get("settled", ())}


def _number(edm: Mapping[str, Any] | None, part: str, key: str) -> float | None:
    told = None if edm is None else edm.get(part)
    return told.get(key) if isinstance(told, Mapping) else None
