"""Public suffixes (publicsuffix.org): the names under which anybody can register."""

import contextlib
from typing import Final

import attrs

from tapir.kernels.admission import SuffixRules
from tapir.model.blocks import NameBlock
from tapir.model.names import Name, NameSyntaxError, parse_name

_COMMENT: Final = "//"
_EXCEPTION: Final = "!"
_ANY_LABEL: Final = "*."

# As the kernel knows them.
_PUBLIC: Final = 1
_PUBLIC_BELOW: Final = 2


@attrs.frozen(eq=False)
class SuffixTest:
    """Whether a name is a public suffix; `rules` answers that for many names at once."""

    rules: SuffixRules

    def __call__(self, name: Name) -> bool:
        return self.rules.is_public(name)


def build_suffix_test(text: str) -> SuffixTest:
    """The test that the list in `text` (the format of `public_suffix_list.dat`) makes.

    Both its parts count, the registries' and the private one. A top-level domain that the list does not know
    is a public suffix; the root is none.
    """
    flags = _flags_by_name(text)
    names = NameBlock.of(flags)
    slots = memoryview(bytearray(4 << (2 * len(flags) + 1).bit_length())).cast("I")
    return SuffixTest(SuffixRules(names.data, memoryview(names.offsets).cast("I"), bytes(flags.values()), slots))


def _flags_by_name(text: str) -> dict[Name, int]:
    """What the rules say of the names that they name; nothing of one that an exception names."""
    flags: dict[Name, int] = {}
    exceptions: set[Name] = set()
    for line in text.splitlines():
        rule = line.split(maxsplit=1)[0] if line.strip() else _COMMENT
        if rule.startswith(_COMMENT):
            continue
        # A rule that is no name is the rule of no name.
        with contextlib.suppress(NameSyntaxError):
            name = parse_name(rule.removeprefix(_EXCEPTION).removeprefix(_ANY_LABEL))
            if rule.startswith(_EXCEPTION):
                exceptions.add(name)
                flags.setdefault(name, 0)
            elif rule.startswith(_ANY_LABEL):
                flags[name] = flags.get(name, 0) | _PUBLIC | _PUBLIC_BELOW  # the linter of the list wants it so
            else:
                flags[name] = flags.get(name, 0) | _PUBLIC
    return {name: 0 if name in exceptions else said for name, said in flags.items()}
