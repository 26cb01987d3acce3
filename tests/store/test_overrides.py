"""The stored overrides: what was acknowledged is there, and nothing else."""

import contextlib
import random
from pathlib import Path
from typing import Any

import attrs
import pytest

from tapir.model.actions import ListKind
from tapir.model.messages.local import Override
from tapir.store.errors import StoreCorrupt, StoreError
from tapir.store.overrides import OverrideStore


def override(entry: str, kind: ListKind = ListKind.DENY, **fields: Any) -> Override:
    return attrs.evolve(Override(entry=entry, kind=kind, user="ops", at=7, until=None, reason="why ☂"), **fields)


def test_what_was_changed_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "overrides.db"
    one, two = override("a.example."), override("b.example.", ListKind.ALLOW, until=9)
    with contextlib.closing(OverrideStore.open(path)) as store:
        assert store.load() == ()
        store.change(upserted=[one, two], removed=[])
        store.change(upserted=[attrs.evolve(one, kind=ListKind.DOUBT)], removed=["b.example.", "unknown.example."])
    with contextlib.closing(OverrideStore.open(path)) as store:
        assert store.load() == (attrs.evolve(one, kind=ListKind.DOUBT),)
        store.replace([two])
        assert store.load() == (two,)


def test_a_thousand_random_changes_are_what_a_dictionary_says(tmp_path: Path) -> None:
    # Long reasons, so that the log is folded into the snapshot some times.
    rng = random.Random(3)
    oracle: dict[str, Override] = {}
    path = tmp_path / "overrides.db"
    store = OverrideStore.open(path)
    for step in range(400):
        entry = f"n{rng.randrange(60)}.example."
        if rng.random() < 0.3:
            oracle.pop(entry, None)
            store.change(upserted=[], removed=[entry])
        else:
            oracle[entry] = override(entry, rng.choice(list(ListKind)), reason=rng.randbytes(400).hex(), at=step)
            store.change(upserted=[oracle[entry]], removed=[])
        if step % 100 == 99:
            store.close()
            store = OverrideStore.open(path)
    assert {each.entry: each for each in store.load()} == oracle
    store.close()


def test_a_flipped_octet_anywhere_in_a_blob_is_found(tmp_path: Path) -> None:
    path = tmp_path / "overrides.db"
    with contextlib.closing(OverrideStore.open(path)) as store:
        store.change(upserted=[override("a.example.")], removed=[])
    whole = path.read_bytes()
    at = whole.index(b"TPRB", whole.index(b"TPRB") + 1) + 60
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(StoreCorrupt), contextlib.closing(OverrideStore.open(path)) as store:
        store.load()


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {each.name: (each.stat().st_size, each.stat().st_mtime_ns) for each in folder.iterdir()}


def test_looking_into_it_writes_nothing_whether_or_not_a_process_has_it(tmp_path: Path) -> None:
    path = tmp_path / "overrides.db"
    one = override("a.example.")
    store = OverrideStore.open(path)
    store.change(upserted=[one], removed=[])
    before = listing(tmp_path)
    assert "overrides.db-wal" in before
    with contextlib.closing(OverrideStore.open_reading(path)) as reader:
        assert reader.load() == (one,)
        # A writer goes on while somebody looks.
        store.change(upserted=[], removed=["a.example."])
        assert reader.load() == ()
        before = listing(tmp_path)
        with pytest.raises(StoreError):
            reader.change(upserted=[one], removed=[])
    assert listing(tmp_path) == before
    store.close()
    before = listing(tmp_path)
    assert "overrides.db-wal" not in before
    with contextlib.closing(OverrideStore.open_reading(path)) as reader:
        assert reader.load() == ()
    assert listing(tmp_path) == before


def test_what_a_killed_process_left_behind_can_be_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "overrides.db"
    one = override("a.example.")
    store = OverrideStore.open(path)
    store.change(upserted=[one], removed=[])
    left = tmp_path / "left"
    left.mkdir()
    for side in ("", "-wal", "-shm"):
        (left / f"overrides.db{side}").write_bytes(path.with_name(f"overrides.db{side}").read_bytes())
    store.close()
    before = listing(left)
    with contextlib.closing(OverrideStore.open_reading(left / "overrides.db")) as reader:
        assert reader.load() == (one,)
    assert listing(left) == before
