"""Parquet files of EDM: columns to octets, in the schema that their readers know. The one module that needs pyarrow.

pyarrow calls every row `schema`. What the existing EDM's files are called by is put into the footer here: the footer
stands behind all that is addressed from it, so that it may be longer than it was.
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tapir.codec.edmfiles import Column, ColumnType, Layout, Rows, Strings

_TYPES: Final = {
    ColumnType.TIME: pa.timestamp("us", tz="UTC"),
    ColumnType.TEXT: pa.string(),
    ColumnType.OCTETS: pa.binary(),
    ColumnType.UINT8: pa.uint8(),
    ColumnType.UINT16: pa.uint16(),
    ColumnType.UINT32: pa.uint32(),
    ColumnType.UINT64: pa.uint64(),
}
_DTYPES: Final = {
    ColumnType.TIME: np.dtype(np.int64),
    ColumnType.UINT8: np.dtype(np.uint8),
    ColumnType.UINT16: np.dtype(np.uint16),
    ColumnType.UINT32: np.dtype(np.uint32),
    ColumnType.UINT64: np.dtype(np.uint64),
}
_MAGIC: Final = b"PAR1"
_TRAILER: Final = 8
"""octets behind the footer: its size, and the magic again"""
# As Thrift's compact protocol writes them in the first element of the schema, which is the row: its length, the text.
_ROOT: Final = b"\x06schema"
_ROOT_WITHIN: Final = 16


def encode_parquet(rows: Rows) -> tuple[memoryview, bytes]:
    """The file that holds `rows`, in two parts to be written one behind the other. Blocking; needs no interpreter.

    Raises ValueError when columns are missing that every row has, or are not as long as they should be.
    """
    arrays = [_array(column, rows) for column in rows.layout.columns]
    table = pa.Table.from_arrays(arrays, schema=_schema(rows.layout))
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="snappy",
        store_schema=False,
        write_page_index=True,
        row_group_size=max(rows.count, 1),
        # Worth it where few values come often; else the dictionary is as large as the column.
        use_dictionary=[column.name for column in rows.layout.columns if column.type is ColumnType.TEXT],
    )
    return _with_root(memoryview(sink.getvalue()), rows.layout.root)


def _schema(layout: Layout) -> pa.Schema:
    return pa.schema(
        [pa.field(column.name, _TYPES[column.type], nullable=not column.required) for column in layout.columns]
    )


def _array(column: Column, rows: Rows) -> pa.Array:
    values = rows.columns.get(column.name)
    if values is None:
        if column.required:
            raise ValueError(f"{column.name} has no values")
        return pa.nulls(rows.count, _TYPES[column.type])
    if values.valid is not None and (column.required or len(values.valid) != rows.count):
        raise ValueError(f"{column.name} is not valid as it should be")
    valid = None if values.valid is None else pa.py_buffer(np.packbits(values.valid != 0, bitorder="little"))
    if isinstance(values, Strings):
        if len(values.offsets) != rows.count + 1 or column.type not in (ColumnType.TEXT, ColumnType.OCTETS):
            raise ValueError(f"{column.name} does not have {rows.count} texts")
        buffers = [valid, pa.py_buffer(np.ascontiguousarray(values.offsets, np.int32)), pa.py_buffer(values.data)]
    else:
        if len(values.values) != rows.count or values.values.dtype != _DTYPES.get(column.type):
            raise ValueError(f"{column.name} does not have {rows.count} numbers of its type")
        buffers = [valid, pa.py_buffer(np.ascontiguousarray(values.values))]
    return pa.Array.from_buffers(_TYPES[column.type], rows.count, buffers)


def _with_root(file: memoryview, root: str) -> tuple[memoryview, bytes]:
    """The file in two parts, the rows of its schema called `root`."""
    size = int.from_bytes(file[-_TRAILER:-4], "little")
    footer = bytes(file[-_TRAILER - size : -_TRAILER])
    at = footer.find(_ROOT, 0, _ROOT_WITHIN + len(_ROOT))
    if at < 0:
        raise AssertionError("pyarrow writes the row's name elsewhere than it used to")
    name = root.encode("ascii")
    footer = footer[:at] + bytes((len(name),)) + name + footer[at + len(_ROOT) :]
    return file[: -_TRAILER - size], footer + len(footer).to_bytes(4, "little") + _MAGIC
