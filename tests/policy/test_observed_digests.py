"""Payloads that came before: so many, the last ones, also after a restart."""

from tapir.model.observed import DIGEST
from tapir.policy.observed_digests import Digests, digest_of


def test_the_last_ones_are_known() -> None:
    digests = Digests(most=3)
    found = [digest_of(b"%d" % number) for number in range(5)]
    for digest in [*found, found[-1]]:
        digests.add(digest)
    assert [digest in digests for digest in found] == [False, False, True, True, True]
    assert len(digests) == 3
    assert {len(digest) for digest in found} == {DIGEST}


def test_they_survive_in_their_order() -> None:
    digests, again = Digests(most=3), Digests(most=2)
    for number in range(3):
        digests.add(digest_of(b"%d" % number))
    again.restore(digests.pack())
    assert again.pack() == digests.pack()[DIGEST:]
