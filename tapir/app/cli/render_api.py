"""The management API's lines of `tapir status`."""

from typing import Any

from rich.console import RenderableType
from rich.text import Text


def render_api(api: Any) -> list[RenderableType]:
    """Where it listens, and what it cannot have; nothing where nobody configured it."""
    if not isinstance(api, dict) or not api.get("listeners"):
        return []
    names = [
        f"{each['address']} ({each['surface']}{', tls' if each['tls'] else ''})"
        for each in api["listeners"]
        if each["listening"]
    ]
    lines: list[RenderableType] = [Text(f"management API: {', '.join(names) or 'listens nowhere'}")]
    lines += [
        Text(f"  cannot listen on {each['address']}: {each['error']}", style="red")
        for each in api["listeners"]
        if not each["listening"]
    ]
    if api["certificate_error"]:
        lines.append(Text(f"  {api['certificate_error']}", style="red"))
    return lines
