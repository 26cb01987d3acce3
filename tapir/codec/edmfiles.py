"""What EDM's two kinds of files hold: their columns, in order, as edm.md §7.1 and §8 name them, and rows as columns.

Both are for readers that exist, which know columns by name and type; nothing here writes a file.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray


class ColumnType(enum.Enum):
    """The types that columns have."""

    TIME = "microseconds since the epoch, UTC"
    TEXT = "text"
    OCTETS = "octets"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"


@attrs.frozen
class Column:
    """One column: its name, its type, and whether each row has a value."""

    name: str
    type: ColumnType
    required: bool


@attrs.frozen(kw_only=True)
class Layout:
    """The columns of a kind of file, and what its schema calls a row."""

    root: str
    columns: tuple[Column, ...]


LABELS: Final = tuple(f"label{number}" for number in range(10))
COUNTERS: Final = (
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
"""In the order in which `tapir.kernels.counting` counts."""
EXACT: Final = 1
WILDCARD: Final = 2

HISTOGRAM: Final = Layout(
    root="histogramData",
    columns=(
        Column("start_time", ColumnType.TIME, required=True),
        *(Column(name, ColumnType.TEXT, required=False) for name in LABELS),
        *(Column(name, ColumnType.UINT64, required=True) for name in COUNTERS),
        Column("edm_status_bits", ColumnType.UINT64, required=True),
        Column("v4client_count", ColumnType.UINT64, required=True),
        Column("v6client_count", ColumnType.UINT64, required=True),
        Column("v4client_count_hll", ColumnType.OCTETS, required=False),
        Column("v6client_count_hll", ColumnType.OCTETS, required=False),
    ),
)

SESSIONS: Final = Layout(
    root="sessionData",
    columns=(
        Column("dest_ipv4", ColumnType.UINT32, required=False),
        Column("dest_ipv6_host", ColumnType.UINT64, required=False),
        Column("dest_ipv6_network", ColumnType.UINT64, required=False),
        Column("dest_port", ColumnType.UINT16, required=False),
        Column("dns_protocol", ColumnType.UINT8, required=False),
        *(Column(name, ColumnType.TEXT, required=False) for name in LABELS),
        Column("query_message", ColumnType.OCTETS, required=False),
        Column("query_time", ColumnType.TIME, required=False),
        Column("response_message", ColumnType.OCTETS, required=False),
        Column("response_time", ColumnType.TIME, required=False),
        Column("server_id", ColumnType.OCTETS, required=False),
        Column("source_ipv4", ColumnType.UINT32, required=False),
        Column("source_ipv6_host", ColumnType.UINT64, required=False),
        Column("source_ipv6_network", ColumnType.UINT64, required=False),
        Column("source_port", ColumnType.UINT16, required=False),
    ),
)


@attrs.frozen(eq=False, repr=False)
class Numbers:
    """A column of numbers; where `valid` is given, a row has one only where that is not 0."""

    values: NDArray[Any]
    valid: NDArray[np.uint8] | None = None


@attrs.frozen(eq=False, repr=False)
class Strings:
    """A column of octets: row i is `data[offsets[i]:offsets[i + 1]]`, offsets as int32; `valid` as of numbers."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int32]
    valid: NDArray[np.uint8] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Rows:
    """Rows of a file, by column; an optional column that is not there is empty in each row."""

    layout: Layout
    count: int
    columns: Mapping[str, Numbers | Strings]

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f"<Rows of {self.layout.root}: {self.count}>"
