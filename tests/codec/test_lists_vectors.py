"""The lists that the field publishes: read as they are, every line used or refused."""

from pathlib import Path

import list_oracle
import pytest

from tapir.codec.lists import parse_domains
from tapir.codec.suffixes import build_suffix_test
from tapir.model.actions import ListKind
from tapir.model.names import format_name, parse_name
from tapir.policy.admission import admit

LISTS = Path(__file__).resolve().parents[3] / "shared/vectors/lists"
WILDCARDS = ["core-allow-list-wildcard", "core-well-known-list-wildcard", "edge-protected-domain-wildcard-list"]
EXACT = ["core-allow-list-exact", "core-well-known-list-exact", "edge-protected-domain-exact-list"]

pytestmark = pytest.mark.skipif(not LISTS.is_dir(), reason="the published lists are not beside the repository")


def octets(name: str) -> bytes:
    return (LISTS / f"{name}.txt").read_bytes()


@pytest.mark.parametrize("name", [*WILDCARDS, *EXACT, "edge-opt-out-ip-list"])
@pytest.mark.parametrize("subtree", [False, True])
def test_a_published_list_is_read_as_by_the_oracle(name: str, subtree: bool) -> None:
    parsed, expected = (module(octets(name), subtree=subtree) for module in (parse_domains, list_oracle.parse_domains))
    assert (list(parsed.names), parsed.lines, parsed.refusals) == (
        list(expected.names),
        expected.lines,
        expected.refusals,
    )


@pytest.mark.parametrize(("name", "subtree"), [(name, True) for name in WILDCARDS] + [(name, False) for name in EXACT])
def test_nothing_of_a_published_list_is_refused(name: str, subtree: bool) -> None:
    """The lists called `wildcard` name the tops of subtrees."""
    names = {line.split()[0] for line in octets(name).decode().splitlines() if line.strip() and line[0] != "#"}
    parsed = parse_domains(octets(name), subtree=subtree)
    suffixes = build_suffix_test("com\n")
    admitted = admit(parsed, kind=ListKind.ALLOW, zone=parse_name("dnstapir."), is_public_suffix=suffixes)
    wanted = names | {f"*.{each}" for each in names if subtree}
    assert admitted.refusals == ()
    assert {format_name(each) for each in admitted.content.names} == wanted


def test_addresses_are_no_names() -> None:
    assert len(parse_domains(octets("edge-opt-out-ip-list"))) == 0
