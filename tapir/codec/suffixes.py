"""Public suffixes (publicsuffix.org): the names under which anybody can register."""

import contextlib
from collections.abc import Callable
from typing import Final

from publicsuffixlist import PublicSuffixList

from tapir.model.names import ROOT, Name, NameSyntaxError, parent_of, parse_name, split_labels

SuffixTest = Callable[[Name], bool]
"""Whether a name is a public suffix."""

_COMMENT: Final = "//"
_EXCEPTION: Final = "!"
_ANY_LABEL: Final = "*."


def build_suffix_test(text: str) -> SuffixTest:
    """The test that the list in `text` (the format of `public_suffix_list.dat`) makes.

    Both its parts count, the registries' and the private one. A top-level domain that the list does not know
    is a public suffix; the root is none.
    """
    suffixes = PublicSuffixList(text, accept_unknown=True)
    named, wild = _rule_names(text)

    def is_public_suffix(name: Name) -> bool:
        # The library knows the rules and takes microseconds; nearly all names are none that a rule speaks of.
        parent = parent_of(name)
        if name in named or parent in wild:
            return bool(suffixes.is_public(tuple(split_labels(name))))
        return parent == ROOT and name != ROOT

    return is_public_suffix


def _rule_names(text: str) -> tuple[frozenset[Name], frozenset[Name]]:
    """The names that rules name, and those below which a rule takes any label."""
    named: set[Name] = set()
    wild: set[Name] = set()
    for line in text.splitlines():
        rule = line.split(maxsplit=1)[0] if line.strip() else _COMMENT
        if rule.startswith(_COMMENT):
            continue
        # A rule that is no name is the rule of no name.
        with contextlib.suppress(NameSyntaxError):
            name = parse_name(rule.removeprefix(_EXCEPTION).removeprefix(_ANY_LABEL))
            named.add(name)
            if rule.startswith(_ANY_LABEL):
                wild.add(name)
    return frozenset(named), frozenset(wild)
