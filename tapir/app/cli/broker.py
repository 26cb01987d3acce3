"""`tapir mqtt`: the connection with the broker, what is subscribed to, and the global configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tapir.app.cli import commands
from tapir.app.cli.client import ConsoleClient
from tapir.app.cli.render import minute

_STYLES: Final = {"connected": "green", "off": "dim"}


def mqtt(state_dir: Path, *, as_json: bool) -> int:
    """Print how the connection stands."""

    async def ask(client: ConsoleClient) -> int:
        answer = await client.request("mqtt")
        if as_json:
            print(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            commands.screen().print(render_mqtt(answer))
        return commands.DONE

    return commands.with_console(state_dir, ask)


def render_mqtt(answer: Mapping[str, Any]) -> RenderableType:
    """The connection in a few lines, a row a subscription, and what the global configuration says; EDM's own last."""
    status, edm = answer["mqtt"], answer.get("edm")
    if status is None and edm is None:
        return Text("no MQTT: nothing in the configuration needs a connection")
    parts: list[RenderableType] = _connection(status) if status is not None else []
    if answer["global"] is not None:
        parts += [Text(), _global(answer["global"])]
    if edm is not None:
        parts += [*([Text()] if parts else []), Text("EDM", style="bold"), *_connection(edm)]
    return Group(*parts)


def _connection(status: Mapping[str, Any]) -> list[RenderableType]:
    parts: list[RenderableType] = [_heading(status)]
    if status["topics"]:
        parts += [Text(), _topics(status["topics"])]
    counters = ", ".join(f"{name} {value}" for name, value in status["counters"] if value)
    parts += [Text(), Text(f"counters  {counters or 'none'}")]
    return parts


def _heading(status: Mapping[str, Any]) -> Text:
    state = status["state"]
    text = Text.assemble("broker    ", status["broker"], ", ", (state, _STYLES.get(state, "yellow")))
    if state == "connected":
        text.append(f" by MQTT {status['version']}")
    if status["since"] is not None:
        text.append(f" since {minute(status['since'])}")
    if status["trouble"]:
        text.append(f"\ntrouble   {status['trouble']}", style="red")
    if status["retry_at"] is not None:
        text.append(f"\nretry     {minute(status['retry_at'])}")
    text.append(f"\nclient    {status['client_id'] or 'not known yet'}")
    text.append(f"\nmessages  {status['unacknowledged']} not settled, {status['published']} published")
    return text


def _topics(topics: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("topic", "for", "QoS", "granted", "messages", "latest"):
        table.add_column(heading, no_wrap=heading != "granted", overflow="fold")
    for each in topics:
        granted = {True: "yes", False: each["refused"] or "no", None: "not yet"}[each["granted"]]
        latest = "never" if each["latest_at"] is None else minute(each["latest_at"])
        table.add_row(
            Text(each["filter"]), each["consumer"], str(each["qos"]), Text(granted), str(each["messages"]), latest
        )
    return table


def _global(status: Mapping[str, Any]) -> Text:
    if status["version"]:
        text = Text(f"global    version {status['version']} of {minute(status['received_at'])}")
        text.append(f", observations from {status['observation_topic'] or 'the configured topics'}")
        if status["bootstrap_servers"]:
            text.append(f", bootstrap from {', '.join(status['bootstrap_servers'])}")
    else:
        text = Text(f"global    nothing received on {status['topic']}, the configuration files hold")
    refused = ", ".join(f"{reason} {count}" for reason, count in status["refused"])
    if refused:
        text.append(f"\nrefused   {refused}")
    if status["error"]:
        text.append(f"\nerror     {status['error']}", style="red")
    return text
