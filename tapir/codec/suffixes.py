"""Public suffixes (publicsuffix.org): the names under which anybody can register."""

from collections.abc import Callable

from publicsuffixlist import PublicSuffixList

from tapir.model.names import ROOT, Name, split_labels

SuffixTest = Callable[[Name], bool]
"""Whether a name is a public suffix."""


def build_suffix_test(text: str) -> SuffixTest:
    """The test that the list in `text` (the format of `public_suffix_list.dat`) makes.

    Both its parts count, the registries' and the private one. A top-level domain that the list does not know
    is a public suffix; the root is none.
    """
    suffixes = PublicSuffixList(text, accept_unknown=True)

    def is_public_suffix(name: Name) -> bool:
        return name != ROOT and bool(suffixes.is_public(tuple(split_labels(name))))

    return is_public_suffix
