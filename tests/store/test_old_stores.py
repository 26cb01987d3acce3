"""What an earlier tapir stored is read, served and written on."""

import shutil
from pathlib import Path

import pytest

from tapir.model.actions import Action
from tapir.model.blocks import EMPTY_RECORDS, RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import parse_name
from tapir.store import zones
from tapir.store.zones import ZoneStore

# One base in the order of the list, two deltas behind it, all compressed; from before bases had parts.
FORMAT_1 = Path(__file__).parents[1] / "vectors" / "store" / "zone-format-1.db"
CONTENT = {
    "n1.example": Action.DROP,
    "a.n3.example": Action.NODATA,
    "n5.example": Action.DROP,
    "n7.example": Action.DROP,
    "n9.example": Action.NXDOMAIN,
}


def records(content: dict[str, Action]) -> RecordBlock:
    return RecordBlock.of((parse_name(name), action) for name, action in content.items())


@pytest.mark.parametrize("moved", [False, True])
def test_a_store_of_the_first_format_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool) -> None:
    path = tmp_path / "zone.db"
    shutil.copy(FORMAT_1, path)
    path.chmod(0o640)
    store = ZoneStore.open(path)
    stored = store.load()
    assert stored is not None
    assert (stored.serial, stored.held, stored.extra, stored.steering) == (12, True, {"encoding": "digest"}, "")
    assert list(stored.records) == list(records(CONTENT)), "in canonical order"
    assert [(delta.from_serial, delta.to_serial, delta.at) for delta in stored.deltas] == [
        (10, 11, 2000),
        (11, 12, 3000),
    ]
    if moved:
        monkeypatch.setattr(zones, "_SMALL", 0)
    more = {f"m{number}.example": Action.DROP for number in range(100)}
    store.commit(VersionDelta(12, 13, 4000, RecordDelta(removed=EMPTY_RECORDS, added=records(more))))
    store.close()
    store = ZoneStore.open(path)
    again = store.load()
    store.close()
    assert again is not None
    assert dict(again.records) == dict(records(CONTENT | more))
    assert len(again.deltas) == 3


def test_a_base_in_parts_is_one_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it becomes smaller, and where deltas change the ends of parts."""
    monkeypatch.setattr(zones, "_PART", 7)
    store = ZoneStore.open(tmp_path / "zone.db")
    names = [f"n{number:02}.example" for number in range(40)]
    store.reset(1, records(dict.fromkeys(names, Action.DROP)), 0)
    gone = {*names[:8], names[14], names[20], names[21], *names[33:]}
    store.commit(
        VersionDelta(
            1,
            2,
            0,
            RecordDelta(
                removed=records(dict.fromkeys(sorted(gone), Action.DROP)),
                added=records({"a.n06.example": Action.NODATA, "zz.example": Action.DROP}),
            ),
        )
    )
    expected = dict(
        records(
            {name: Action.DROP for name in names if name not in gone}
            | {"a.n06.example": Action.NODATA, "zz.example": Action.DROP}
        )
    )
    stored = store.load()
    assert stored is not None
    assert len(stored.parts) > 3
    assert dict(stored.records) == expected
    store.reset(3, records({"a.example": Action.DROP}), 0)
    stored = store.load()
    assert stored is not None
    assert dict(stored.records) == dict(records({"a.example": Action.DROP}))
    store.close()
