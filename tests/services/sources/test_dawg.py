"""DAWG files as lists: taken out, or left where they are; and whatever is damaged is refused."""

import contextlib
import os
from pathlib import Path
from typing import Any

import attrs
import dawg_oracle
import pytest

from tapir.codec.dawg import DawgError, encode_dawg, parse_dawg
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, LookupList
from tapir.model.names import ROOT, NameSyntaxError, format_name, is_wildcard, parse_name
from tapir.services.sources.content import (
    ListTornError,
    ListUnreadableError,
    ListUnusableError,
    Progress,
    ReadingSettings,
    look_at,
)
from tapir.services.sources.dawg import SIZE_LIMIT, read_dawg

CAMPAIGN = os.environ.get("TAPIR_CAMPAIGN") == "full"


@pytest.fixture
def settings(tmp_path: Path) -> ReadingSettings:
    return ReadingSettings(
        path=tmp_path / "list.dawg",
        kind=ListKind.DENY,
        zone=parse_name("rpz."),
        broad=False,
        size_limit=1 << 20,
        format="dawg",
        staging=tmp_path / "staging",
    )


def read(settings: ReadingSettings, data: bytes) -> Any:
    settings.path.write_bytes(data)
    return read_dawg(settings, look_at(settings.path), Progress())


def names_of(found: Any) -> list[str]:
    return sorted(format_name(name) for name, _ in found.content)


def test_a_denylist_is_taken_out_and_leaves_no_copy(settings: ReadingSettings) -> None:
    words = sorted([".example.com.", "bad.example.com.", "com.", "BAD.example.", "x.rpz-ip."])
    found = read(settings, encode_dawg(words))
    assert isinstance(found.content, ListBlock)
    assert names_of(found) == ["*.example.com.", "bad.example.com."]
    assert {refusal.reason: refusal.lines for refusal in found.refusals} == {
        "malformed": (2,), "too_broad": (4,), "rpz_trigger": (5,),
    }  # fmt: skip
    assert list((settings.path.parent / "staging").iterdir()) == []


def test_names_may_stand_for_subtrees(settings: ReadingSettings) -> None:
    found = read(attrs.evolve(settings, match="subtree"), encode_dawg([".b.example.", "a.example."]))
    assert names_of(found) == ["*.a.example.", "*.b.example.", "a.example."]


def test_an_allowlist_stays_in_its_copy(settings: ReadingSettings) -> None:
    data = encode_dawg(["*.x.", ".example.com.", "com."])
    found = read(attrs.evolve(settings, kind=ListKind.ALLOW), data)
    content = found.content
    assert isinstance(content, LookupList)
    assert (content.words, content.size, content.subtree) == (2, len(data), False)
    assert [(refusal.reason, refusal.lines) for refusal in found.refusals] == [("malformed", (1,))]
    assert Path(content.path).read_bytes() == data
    assert Path(content.path).parent == settings.staging
    deep = read(attrs.evolve(settings, kind=ListKind.ALLOW, match="subtree"), data)
    assert deep.content.subtree
    assert deep.digest != found.digest
    assert deep.content.path == content.path


@pytest.mark.parametrize("kind", list(ListKind))
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is no DAWG: 0 octets are no DAWG: it takes 11 at least"),
        (b"evil.example\n", "is no DAWG: it says that it has 1702259052 octets, and has 13"),
        (encode_dawg(["a.b."])[:-1], "is no DAWG: it says that it has 15 octets, and has 14"),
        (encode_dawg(["a", "b"]), "is no list: not one of its 2 words is a name"),
    ],
)
def test_what_is_no_list_is_refused(settings: ReadingSettings, kind: ListKind, data: bytes, reason: str) -> None:
    with pytest.raises(ListUnusableError) as caught:
        read(attrs.evolve(settings, kind=kind), data)
    assert caught.value.reason == reason
    assert settings.staging is not None
    assert list(settings.staging.iterdir()) == []


def test_what_is_too_large_is_refused(settings: ReadingSettings) -> None:
    sign = attrs.evolve(look_at(Path(__file__)), size=SIZE_LIMIT + 1)
    with pytest.raises(ListUnusableError, match=f"is {SIZE_LIMIT + 1} octets long, {SIZE_LIMIT} are allowed"):
        read_dawg(attrs.evolve(settings, size_limit=1 << 40), sign, Progress())
    words = [f"{number:013b}.example." for number in range(1 << 13)]
    data = encode_dawg(words)
    assert len(data) < 1000
    with pytest.raises(ListUnusableError, match="would be more than 1000 octets long as text"):
        read(attrs.evolve(settings, size_limit=1000), data)


def test_a_file_that_changes_or_that_nobody_waits_for_is_torn(settings: ReadingSettings) -> None:
    settings.path.write_bytes(encode_dawg(["a.b."]))
    sign = look_at(settings.path)
    with pytest.raises(ListTornError):
        read_dawg(settings, attrs.evolve(sign, size=sign.size + 1), Progress())
    with pytest.raises(ListTornError):
        read_dawg(settings, sign, Progress(abandoned=True))


def test_what_cannot_be_copied_is_said_with_its_place(settings: ReadingSettings) -> None:
    settings.path.write_bytes(encode_dawg(["a.b."]))
    assert settings.staging is not None
    settings.staging.write_text("in the way")
    with pytest.raises(ListUnreadableError, match=r"cannot be copied: .*staging"):
        read_dawg(settings, look_at(settings.path), Progress())
    settings.path.unlink()
    with pytest.raises(ListUnreadableError):
        look_at(settings.path)


def oracle(data: bytes) -> set[str] | None:
    """The names in a DAWG, read by the decoder in Python and spelt by hand; None for what is none."""
    try:
        dawg_oracle.check(data)
    except DawgError:
        return None
    found = set()
    for word in parse_dawg(data):
        base = word[1:] if word.startswith(".") and word != "." else word
        try:
            name = parse_name(base)
        except NameSyntaxError:
            continue
        if format_name(name) == base and name != ROOT and not is_wildcard(name):
            found.add(("*." if base != word else "") + base)
    return found


@pytest.mark.campaign
@pytest.mark.parametrize("kind", [ListKind.ALLOW, ListKind.DENY])
@pytest.mark.parametrize("size", [3, 1000])
def test_a_file_cut_and_flipped_at_every_octet(settings: ReadingSettings, kind: ListKind, size: int) -> None:
    words = sorted({f"{'.' if number % 7 == 0 else ''}n{number * 7919 % 100_003}.example." for number in range(size)})
    data = encode_dawg(words)
    # Python takes a second for each file of a thousand words that is whole, and few are.
    step = 1 if size < 100 or CAMPAIGN else 23
    settings = attrs.evolve(settings, kind=kind, broad=True)
    whole = 0
    for place in range(0, len(data), step):
        variants = [data[:place], place.to_bytes(4, "big") + data[4:place] if place > 4 else b""]
        for mask in (*(1 << bit for bit in range(8)), 0xFF) if size < 100 else (1 << place % 8,):
            flipped = bytearray(data)
            flipped[place] ^= mask
            variants.append(bytes(flipped))
        for octets in variants:
            expected = oracle(octets)
            with contextlib.suppress(ListUnusableError):
                found = read(settings, octets)
                assert expected is not None
                whole += 1
                if isinstance(found.content, LookupList):
                    dawg = parse_dawg(Path(found.content.path).read_bytes())
                    assert {format_name(name) for block, _ in dawg.names() for name in block} >= expected
                    assert found.content.words >= len(expected)
                else:
                    assert {format_name(name) for name, _ in found.content} >= expected - {"*.example."}
                continue
            assert not expected, "refused, though there are names in it"
    assert whole < 3 * len(data)
