"""Files have the schema of the existing EDM to the letter, and hold what they were given, as two readers see it."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.edmfiles import (
    COUNTERS,
    HISTOGRAM,
    LABELS,
    SESSIONS,
    Column,
    ColumnType,
    Layout,
    Numbers,
    Rows,
    Strings,
)
from tapir.codec.parquet import encode_parquet

TIME = ("INT64", "Timestamp(isAdjustedToUTC=true, timeUnit=microseconds", "TIMESTAMP_MICROS")
TEXT = ("BYTE_ARRAY", "String", "UTF8")
OCTETS = ("BYTE_ARRAY", "None", "NONE")
UINT = {
    bits: ("INT64" if bits == 64 else "INT32", f"Int(bitWidth={bits}, isSigned=false)", f"UINT_{bits}")
    for bits in (8, 16, 32, 64)
}

COUNTED = (
    "a_count",
    "aaaa_count",
    "mx_count",
    "ns_count",
    "other_type_count",
    "non_in_count",
    "ok_count",
    "nx_count",
    "fail_count",
    "other_rcode_count",
)

# Written out, not made of what is tested: edm.md §7.1 and §8.
HISTOGRAM_SCHEMA = [
    ("start_time", TIME, "REQUIRED"),
    *((f"label{number}", TEXT, "OPTIONAL") for number in range(10)),
    *((name, UINT[64], "REQUIRED") for name in (*COUNTED, "edm_status_bits", "v4client_count", "v6client_count")),
    ("v4client_count_hll", OCTETS, "OPTIONAL"),
    ("v6client_count_hll", OCTETS, "OPTIONAL"),
]
SESSION_SCHEMA = [
    (name, kind, "OPTIONAL")
    for name, kind in (
        ("dest_ipv4", UINT[32]),
        ("dest_ipv6_host", UINT[64]),
        ("dest_ipv6_network", UINT[64]),
        ("dest_port", UINT[16]),
        ("dns_protocol", UINT[8]),
        *((f"label{number}", TEXT) for number in range(10)),
        ("query_message", OCTETS),
        ("query_time", TIME),
        ("response_message", OCTETS),
        ("response_time", TIME),
        ("server_id", OCTETS),
        ("source_ipv4", UINT[32]),
        ("source_ipv6_host", UINT[64]),
        ("source_ipv6_network", UINT[64]),
        ("source_port", UINT[16]),
    )
]


def strings(values: list[bytes | None]) -> Strings:
    parts = [value or b"" for value in values]
    return Strings(
        np.frombuffer(b"".join(parts), np.uint8),
        np.cumsum([0, *map(len, parts)]).astype(np.int32),
        np.array([value is not None for value in values], np.uint8),
    )


def histogram(more: Mapping[str, Numbers | Strings] | None = None, *, count: int = 1) -> Rows:
    columns: dict[str, Numbers | Strings] = {"start_time": Numbers(np.full(count, 10, np.int64))}
    for place, name in enumerate(COUNTERS):
        columns[name] = Numbers(np.full(count, 11 + place, np.uint64))
    for name, value in (("edm_status_bits", 21), ("v4client_count", 22), ("v6client_count", 2**64 - 1)):
        columns[name] = Numbers(np.full(count, value, np.uint64))
    return Rows(layout=HISTOGRAM, count=count, columns=columns | dict(more or {}))


def written(rows: Rows) -> bytes:
    return b"".join(encode_parquet(rows))


@pytest.mark.parametrize(
    ("rows", "root", "schema"),
    [
        (histogram(), "histogramData", HISTOGRAM_SCHEMA),
        (histogram(count=0), "histogramData", HISTOGRAM_SCHEMA),
        (Rows(layout=SESSIONS, count=3, columns={}), "sessionData", SESSION_SCHEMA),
    ],
    ids=["histogram", "no rows", "sessions"],
)
def test_schema_to_the_letter(rows: Rows, root: str, schema: list[Any], tmp_path: Path) -> None:
    content = written(rows)
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    file = pq.ParquetFile(io.BytesIO(content))
    assert str(file.schema).splitlines()[1] == f"required group field_id=-1 {root} {{"
    assert file.metadata.metadata is None, "no notes of the writer's"
    for place, (name, (physical, logical, converted), repetition) in enumerate(schema):
        column = file.schema.column(place)
        assert (column.name, column.path) == (name, name)
        assert (column.physical_type, column.converted_type) == (physical, converted)
        assert str(column.logical_type).startswith(logical)
        assert column.max_definition_level == (repetition == "OPTIONAL")
        if len(rows):
            assert file.metadata.row_group(0).column(place).compression == "SNAPPY"
    seen = duckdb.sql(
        f"select name, type, converted_type, repetition_type from parquet_schema('{path}')"  # noqa: S608 - our own path
    ).fetchall()
    assert seen == [
        (root, None, None, "REQUIRED"),
        *(
            (name, physical, None if converted == "NONE" else converted, repetition)
            for name, (physical, _, converted), repetition in schema
        ),
    ]


def test_a_row_as_the_existing_edm_writes_one(tmp_path: Path) -> None:
    labels = {name: strings([value]) for name, value in zip(LABELS, (b"com", b"example", b"www"), strict=False)}
    path = tmp_path / "row.parquet"
    path.write_bytes(written(histogram({**labels, "v4client_count_hll": strings([b"\x13\x6a\x44"])})))
    (row,) = duckdb.sql(f"select epoch_us(start_time), * exclude (start_time) from '{path}'").fetchall()  # noqa: S608
    assert row == (
        10,
        *("com", "example", "www", *[None] * 7),
        *range(11, 21),
        *(21, 22, 2**64 - 1, b"\x13\x6a\x44", None),
    )


VALUES = {
    ColumnType.TIME: (st.integers(-(2**63), 2**63 - 1), np.int64),
    ColumnType.UINT8: (st.integers(0, 2**8 - 1), np.uint8),
    ColumnType.UINT16: (st.integers(0, 2**16 - 1), np.uint16),
    ColumnType.UINT32: (st.integers(0, 2**32 - 1), np.uint32),
    ColumnType.UINT64: (st.integers(0, 2**64 - 1), np.uint64),
}


@given(st.data(), st.integers(0, 20))
def test_what_is_written_is_read(data: st.DataObject, count: int) -> None:
    columns: dict[str, Numbers | Strings] = {}
    expected: dict[str, list[Any]] = {}
    for column in SESSIONS.columns:
        if column.type in VALUES:
            strategy, dtype = VALUES[column.type]
            cells = data.draw(st.lists(st.none() | strategy, min_size=count, max_size=count))
            valid = np.array([cell is not None for cell in cells], np.uint8)
            columns[column.name] = Numbers(np.array([cell or 0 for cell in cells], dtype), valid)
            expected[column.name] = cells
        else:
            octets = st.binary(max_size=5) if column.type is ColumnType.OCTETS else st.sampled_from([b"", b"a", b"bc"])
            values = data.draw(st.lists(st.none() | octets, min_size=count, max_size=count))
            columns[column.name] = strings(values)
            expected[column.name] = [
                value.decode() if value is not None and column.type is ColumnType.TEXT else value for value in values
            ]
    table = pq.read_table(io.BytesIO(written(Rows(layout=SESSIONS, count=count, columns=columns))))
    for name in ("query_time", "response_time"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table.column(name).cast(pa.int64()))
    assert table.to_pydict() == expected


@pytest.mark.parametrize(
    "columns",
    [
        {"start_time": Numbers(np.zeros(2, np.int64))},
        {"a_count": Numbers(np.zeros(1, np.uint32))},
        {"a_count": Numbers(np.zeros(1, np.uint64), np.ones(1, np.uint8))},
        {"a_count": strings([b""])},
        {"label0": strings([b"a", b"b"])},
        {"label0": Numbers(np.zeros(1, np.uint64))},
        {"label0": Strings(np.zeros(0, np.uint8), np.zeros(2, np.int32), np.ones(2, np.uint8))},
    ],
)
def test_columns_of_the_wrong_shape_are_refused(columns: dict[str, Numbers | Strings]) -> None:
    with pytest.raises(ValueError, match=next(iter(columns))):
        encode_parquet(histogram(columns))


def test_a_column_that_every_row_has_must_be_there() -> None:
    with pytest.raises(ValueError, match="start_time has no values"):
        encode_parquet(Rows(layout=HISTOGRAM, count=1, columns={}))


def test_a_long_name_of_a_row_moves_nothing() -> None:
    layout = Layout(root="r" * 100, columns=(Column("x", ColumnType.UINT64, required=True),))
    content = written(Rows(layout=layout, count=3, columns={"x": Numbers(np.arange(3, dtype=np.uint64))}))
    assert pq.read_table(io.BytesIO(content)).to_pydict() == {"x": [0, 1, 2]}
    assert repr(Rows(layout=layout, count=3, columns={})) == f"<Rows of {layout.root}: 3>"
