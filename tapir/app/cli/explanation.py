"""An explanation as a person reads it, made from the console's JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from tapir.app.cli.render import ago, minute
from tapir.codec.localdata import TYPES


def render_explanation(explanation: Mapping[str, Any], *, now: float) -> RenderableType:
    """Why a name is answered as it is, and since when, as sentences."""
    action = explanation["action"]
    stage, winner = explanation["stage"], explanation["winner"]
    # Under a wildcard that blocks, what is to pass has a record that says so.
    absent = "let through by the zone" if explanation["emitted"] else "not in the zone"
    passes = f"is allowed, and {absent}" if stage == "allowlist" else f"is {absent}"
    headline = f"{explanation['name']} {passes}" if action == "NONE" else f"{explanation['name']}: {action}"
    text = Text(headline, style="bold")
    if stage != "none":
        rule = "" if winner == stage else f", rule {winner}" if winner else ", and none of its rules fires"
        text.append(f"\ndecided by: {stage}{rule}")
    if explanation.get("why"):
        text.append(f"\nwhy: {explanation['why']}")
    if explanation["emitted"]:
        text.append(f"\nrecord: {explanation['emitted']}")
    for line in _published(explanation, now):
        text.append(f"\n{line}")
    for hit in explanation["hits"]:
        text.append(f"\non {hit['kind']} {hit['list_name']}{_hit_details(hit)}{_hit_age(hit, now)}")
    if not explanation["hits"]:
        text.append("\non no list")
    for fact in explanation.get("passed", ()):
        types = ", ".join(TYPES.get(each, f"TYPE{each}") for each in fact["types"])
        passes = f"not passed through: {fact['refused']}" if fact["refused"] else "passed through"
        text.append(f"\n{types} at {fact['owner']} by feed {fact['source']} is {passes}")
    for rule in explanation["rules"]:
        fired = "fires" if rule["fired"] else "does not fire"
        text.append(f"\nrule {rule['rule']} {fired}: {rule['detail']} → {rule['action']}")
    return text


def _hit_details(hit: Mapping[str, Any]) -> str:
    source = f" (source {hit['source']})" if hit.get("source") and hit["source"] != hit["list_name"] else ""
    entry = f", as {hit['entry']}"
    if hit.get("match") == "subtree":
        entry = f", as {hit['entry'].removeprefix('*.')} and all below"
    tags = f", tags {', '.join(hit['tags'])}" if hit["tags"] else ""
    weight = f", weight {hit['weight']}" if hit.get("weight", 1) != 1 else ""
    action = f", action {hit['action']}" if hit.get("action") else ""
    return f"{source}{entry}{tags}{weight}{action}"


def _hit_age(hit: Mapping[str, Any], now: float) -> str:
    """By whom and until when, for what was said by hand; since when, for what expires; else how old the list is."""
    override = hit.get("override")
    if override is None:
        if hit.get("note"):
            return f"; {hit['note']}"
        if hit.get("since") is not None:
            until = f", expires {minute(hit['expires'])}" if hit["expires"] is not None else ""
            return f"; observed {ago(hit['since'], now)}{until}"
        loaded_at = hit.get("loaded_at")
        return f"; loaded {ago(loaded_at, now)}" if loaded_at is not None else ""
    until = "until it is removed" if override["until"] is None else f"until {minute(override['until'])}"
    reason = f": {override['reason']}" if override["reason"] else ""
    return f"; by {override['user'] or 'somebody'}, {minute(override['at'])}, {until}{reason}"


def _published(explanation: Mapping[str, Any], now: float) -> Iterator[str]:
    """What the zone says of it, and since which serial."""
    record, publication = explanation.get("record"), explanation.get("publication")
    if record is not None:
        if record["owner"] is not None:
            since, before = record["since"], record["since_before"]
            what = f"in the zone as {record['owner']} {record['action']}"
            if since is not None:
                was = f", before that {since['before']}" if since["before"] != "NONE" else ""
                yield f"{what} since serial {since['serial']}, {ago(since['at'], now)}{was}"
            else:
                when = f", {ago(before['at'], now)}" if before["at"] is not None else ""
                yield f"{what} since serial {before['serial']} or earlier: there the journal begins{when}"
        elif (gone := record["withdrawn"]) is not None:
            was = f"was in the zone as {gone['owner']} {gone['before']}"
            yield f"{was} until serial {gone['serial']} withdrew it, {ago(gone['at'], now)}"
    if publication is not None and publication["pending"]:
        yield f"not published yet: {publication['why']}"
