"""The public-suffix test of this process, built when the first list needs it."""

import functools
from importlib import resources

from tapir.codec.suffixes import SuffixTest, build_suffix_test


@functools.cache
def load_suffix_test() -> SuffixTest:
    """The test over the list that the package publicsuffixlist carries; shared by all sources.

    Blocks for some tens of milliseconds when it is called first: call it in a worker.
    """
    return build_suffix_test(
        resources.files("publicsuffixlist").joinpath("public_suffix_list.dat").read_text(encoding="utf-8")
    )
