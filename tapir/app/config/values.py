"""What single values may be: each function takes what a file says and returns what it means, or raises Invalid."""

import os
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Final

from tapir.app.config.report import Invalid
from tapir.app.config.settings import Prefix, SocketAddress
from tapir.app.config.strict import shown
from tapir.model.actions import Action
from tapir.model.names import ROOT, Name, NameSyntaxError, is_wildcard, parse_name
from tapir.model.tags import ALIASES, TAGS, UnknownTagError, parse_tags

ACTIONS: Final = {
    "nxdomain": Action.NXDOMAIN,
    "nodata": Action.NODATA,
    "drop": Action.DROP,
    "redirect": Action.REDIRECT,
    "tcp-only": Action.TCP_ONLY,
    "passthru": Action.PASSTHRU,
    "allowlist": Action.PASSTHRU,
}


def between(lowest: int, highest: int | None = None, *, unit: str = "") -> Callable[[int], int]:
    """A parser of whole numbers in a range."""
    allowed = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"

    def parse(value: int) -> int:
        if value < lowest or (highest is not None and value > highest):
            raise Invalid(f"{value} is out of range; allowed is {allowed}{' ' + unit if unit else ''}")
        return value

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """A parser of one word out of `words`, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise Invalid(f"{shown(text)} is not allowed; allowed is {listed(words)}")
        return text.lower()

    return parse


def listed(words: tuple[str, ...] | list[str]) -> str:
    """`words` as a sentence has them: `a, b or c`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def path_in(folder: Path) -> Callable[[str], Path]:
    """A parser of paths; relative ones start at `folder`."""

    def parse(text: str) -> Path:
        if "\0" in text or not _is_encodable(text):
            raise Invalid(f"{shown(text)} is no path; allowed is anything without NUL")
        return folder / text

    return parse


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def parse_action(text: str) -> Action:
    """The action that `text` names, in any case; `allowlist` is PASSTHRU."""
    return ACTIONS[one_of(*ACTIONS)(text)]


def parse_tag(text: str) -> int:
    """The bit of the observation tag that `text` names."""
    try:
        return parse_tags([text])
    except UnknownTagError:
        raise Invalid(f"{shown(text)} is not a tag; allowed is {listed([*TAGS, *ALIASES])}") from None


def parse_share(value: object) -> float:
    """`25%`, `25` or `25.0` as 0.25."""
    text = str(value).removesuffix("%").strip()
    if not text.isascii() or not text.replace(".", "", 1).isdecimal():
        raise Invalid(f"{shown(value)} is not a percentage; allowed is one such as 25%")
    percent = float(text)
    if 0 < percent < 1 and not str(value).endswith("%"):
        raise Invalid(f"{value} is under one percent; if that is meant, write {value}%, else {percent:.0%}")
    return percent / 100


def parse_domain(text: str) -> Name:
    """A domain name, with or without its trailing dot."""
    try:
        name = parse_name(text)
    except NameSyntaxError as exc:
        raise Invalid(str(exc)) from exc
    if name == ROOT or is_wildcard(name):
        raise Invalid(f"{shown(text)} is too wide; allowed is a domain name, such as rpz.pop.example.")
    return name


def parse_listen(text: str) -> SocketAddress:
    """An address to listen on; port 0 lets the system choose."""
    host, port = _split(text, example="127.0.0.1:5359 or [::1]:5359")
    if not host:
        raise Invalid(
            f"{shown(text)} names no address; allowed is IP:port, for every address 0.0.0.0:{port} and [::]:{port}"
        )
    if not port:
        raise Invalid(f"{shown(text)} names no port; allowed is IP:port, such as 127.0.0.1:5359 or [::1]:5359")
    return SocketAddress(_literal(host, text), _port(port, text, lowest=0))


def parse_downstream(text: str) -> SocketAddress:
    """A secondary's address; without a port it is 53."""
    host, port = _split(text, example="192.0.2.53:53 or [2001:db8::53]:53")
    return SocketAddress(_literal(host, text), _port(port or "53", text, lowest=1))


def parse_prefix(text: str) -> Prefix:
    """An address or a prefix, such as 192.0.2.0/24."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        inside = ip_network(text, strict=False)
    except ValueError as exc:
        raise Invalid(
            f"{shown(text)} is no prefix; allowed is an IP address or one with a length, 192.0.2.0/24"
        ) from exc
    raise Invalid(f"{shown(text)} has bits set past its length; allowed is {inside} or {text.partition('/')[0]}")


def _split(text: str, *, example: str) -> tuple[str, str]:
    """Host and port of `text`; either may be empty."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if bracket and (not rest or rest.startswith(":")):
            return host, rest[1:]
    elif text.count(":") <= 1:
        host, _, port = text.partition(":")
        return host, port
    elif _is_literal(text):
        raise Invalid(f"{shown(text)} may end in a port or not; allowed is an IPv6 address in brackets, [{text}]:53")
    raise Invalid(f"{shown(text)} is no address; allowed is IP:port, such as {example}")


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _literal(host: str, text: str) -> str:
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError as exc:
        raise Invalid(f"{shown(text)} has no IP address; allowed is IP:port, names are not looked up") from exc
    return str(address)


def _port(port: str, text: str, *, lowest: int) -> int:
    if not port.isascii() or not port.isdecimal() or len(port) > 5 or not lowest <= int(port) <= 65535:
        raise Invalid(f"{shown(text)} has no such port; allowed is {lowest} to 65535")
    return int(port)
