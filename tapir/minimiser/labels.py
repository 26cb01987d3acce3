"""Names as ten columns of labels (edm.md §7.3): the rightmost first, what is more than ten joined in the last.

A wildcard's first label is the empty text; the root has no labels. Text is in the field's presentation form.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

import tapir.kernels.labels
from tapir.codec.edmfiles import LABELS, Strings

_COLUMNS: Final = len(LABELS)


def split_labels(data: NDArray[np.uint8], offsets: NDArray[np.uint32], wild: NDArray[np.uint8]) -> dict[str, Strings]:
    """The columns `label0` to `label9` of the names `data[offsets[i]:offsets[i + 1]]`, wire form in the case it has.

    Where `wild[i]` is not 0 the name's first label is a star that stands for a wildcard. Blocking, without the
    interpreter. Raises OverflowError when a column would have 2 GiB.
    """
    count = len(wild)
    ends = np.empty(_COLUMNS * (count + 1), np.int32)
    valid = np.empty(_COLUMNS * count, np.uint8)
    if tapir.kernels.labels.measure(data.data, offsets.data, wild.data, ends.data, valid.data) < count:
        raise OverflowError("a column of labels would have 2 GiB")
    columns = ends.reshape(_COLUMNS, count + 1)
    bases = np.zeros(_COLUMNS + 1, np.int64)
    np.cumsum(columns[:, -1], out=bases[1:])
    text = np.empty(int(bases[-1]), np.uint8)
    tapir.kernels.labels.split(data.data, offsets.data, wild.data, ends.data, bases.data, text.data)
    return {
        name: Strings(text[bases[number] : bases[number + 1]], columns[number], valid[number * count :][:count])
        for number, name in enumerate(LABELS)
    }
