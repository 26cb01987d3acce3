"""Public suffixes: our quick look never differs from the library's answer."""

from pathlib import Path

import publicsuffixlist
import pytest
from hypothesis import given
from hypothesis import strategies as st
from publicsuffixlist import PublicSuffixList

from tapir.codec.suffixes import SuffixTest, build_suffix_test
from tapir.model.names import ROOT, format_name, parse_name

TEXT = Path(publicsuffixlist.PSLFILE).read_text(encoding="utf-8")
LIBRARY = PublicSuffixList(TEXT)
RULES = [line.split()[0] for line in TEXT.splitlines() if line.strip() and not line.startswith("//")]
SMALL = "// a comment\n\ncom\n*.ck\n!www.ck\nco.uk  and a note\ngithub.io\nåland.fi\nno name at/all\nbad/rule\n"


@pytest.fixture(scope="module")
def full() -> SuffixTest:
    return build_suffix_test(TEXT)


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("com", True),
        ("example.com", False),
        ("unknown", True),
        ("example.unknown", False),
        ("co.uk", True),
        ("uk", True),
        ("example.co.uk", False),
        ("ck", True),
        ("any.ck", True),
        ("www.ck", False),
        ("example.any.ck", False),
        ("github.io", True),
        ("tapir.github.io", False),
        ("åland.fi", True),
        ("xn--land-poa.fi", True),
    ],
)
def test_rules(name: str, public: bool) -> None:
    assert build_suffix_test(SMALL)(parse_name(name)) is public


def test_the_root_is_none(full: SuffixTest) -> None:
    assert not full(ROOT)


@pytest.mark.slow
def test_every_rule_is_answered_as_the_library_answers(full: SuffixTest) -> None:
    for rule in RULES:
        base = parse_name(rule.removeprefix("!").removeprefix("*."))
        for text in (format_name(base), "x." + format_name(base), "x.y." + format_name(base)):
            assert full(parse_name(text)) == LIBRARY.is_public(text), text


@given(st.sampled_from(RULES), st.lists(st.sampled_from(["a", "www", "city", "com"]), max_size=3))
def test_names_around_rules(rule: str, labels: list[str]) -> None:
    text = format_name(parse_name(".".join([*labels, rule.removeprefix("!").removeprefix("*.")])))
    assert _FULL(parse_name(text)) == LIBRARY.is_public(text)


_FULL = build_suffix_test(TEXT)
