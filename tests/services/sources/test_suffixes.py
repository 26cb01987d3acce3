import pytest

from tapir.model.names import parse_name
from tapir.services.sources.suffixes import load_public_suffixes, make_predicate

RULES = """
// a comment
com
co.uk
*.ck  and words behind it
!www.ck
рф
bad..rule
""".splitlines()


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("com", True),
        ("co.uk", True),
        ("uk", False),
        ("example.co.uk", False),
        ("ck", False),
        ("any.ck", True),
        ("www.ck", False),
        ("x.any.ck", False),
        ("xn--p1ai", True),
        (".", False),
    ],
)
def test_rules(name: str, suffix: bool) -> None:
    assert make_predicate(RULES)(parse_name(name)) is suffix


def test_the_list_of_the_package_has_both_sections() -> None:
    is_public_suffix = load_public_suffixes()
    assert is_public_suffix(parse_name("co.uk"))
    assert is_public_suffix(parse_name("github.io"))
    assert not is_public_suffix(parse_name("example.github.io"))
    assert load_public_suffixes() is is_public_suffix, "built once a process"
