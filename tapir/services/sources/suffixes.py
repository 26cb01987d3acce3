"""The public suffixes (publicsuffix.org), as a predicate on names.

Both sections count, ICANN's and the private one: `github.io` on a denylist takes thousands of strangers with it as
surely as `co.uk` does. A rule of the list is a name, `*.` over a name, or `!` before an exception to such a wildcard.
"""

import functools
from collections.abc import Callable, Iterable
from importlib import resources

from tapir.model.names import Name, NameSyntaxError, parent_of, parse_name

IsPublicSuffix = Callable[[Name], bool]


@functools.cache
def load_public_suffixes() -> IsPublicSuffix:
    """The predicate over the list that the package publicsuffixlist carries; read once a process.

    Blocks for some tens of milliseconds when it is called first: call it in a worker.
    """
    text = resources.files("publicsuffixlist").joinpath("public_suffix_list.dat").read_text(encoding="utf-8")
    return make_predicate(text.splitlines())


def make_predicate(lines: Iterable[str]) -> IsPublicSuffix:
    """The predicate that the rules in `lines` make; the default rule `*` is not among them.

    A rule that is not a name is passed over, as the list's own format asks for unknown rules.
    """
    exact: set[Name] = set()
    below: set[Name] = set()
    exceptions: set[Name] = set()
    for line in lines:
        rule = line.split(maxsplit=1)[0] if line.strip() else ""
        if not rule or rule.startswith("//"):
            continue
        target, text = exact, rule
        if rule.startswith("!"):
            target, text = exceptions, rule[1:]
        elif rule.startswith("*."):
            target, text = below, rule[2:]
        try:
            target.add(parse_name(text))
        except NameSyntaxError:
            continue

    def is_public_suffix(name: Name) -> bool:
        return name in exact or (parent_of(name) in below and name not in exceptions)

    return is_public_suffix
