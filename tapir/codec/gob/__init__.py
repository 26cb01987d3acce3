"""The list that POPs hand one another for bootstrap, in Go's encoding gob: exactly `WBGlist` and what it is made of.

A stream is messages, each a length and then a type definition or the value:

    uint      below 128 one octet; else the octet 256 - n and n octets, big-endian
    int       a uint with the sign in bit 0, and the bits inverted where it is set
    string    length and octets; a slice: count and elements; a map: count, then key and element in turn
    struct    pairs of how far the field's number lies behind the last one, and its value; then 0. A field that is zero
              is left out
    time      opaque to gob: Go's own binary form, see `times`

Types are numbered by the process that sends, so definitions are read, and fields are matched by their names, as Go's
decoder does: a sender may have fields that we do not know, other numbers, another order, and leave any out. What a
stream may claim is bounded by what it has: no count is believed beyond the octets that follow, types nest `MAX_DEPTH`
deep at most, and interfaces (a DAWG in a list) are refused.

`encode_list` writes what Go writes with the same type numbers, octet for octet, but for the order of maps, which Go
draws at random and we keep.
"""

from tapir.codec.gob.columns import encode_in_pieces, encode_start, read_list
from tapir.codec.gob.exchange import export_list, import_list
from tapir.codec.gob.reading import MAX_NAMES, MAX_STREAM, decode_list
from tapir.codec.gob.times import GobTime
from tapir.codec.gob.values import MqttDetails, TapirName, WbgList
from tapir.codec.gob.wire import GobError
from tapir.codec.gob.writing import encode_list

__all__ = [
    "MAX_NAMES",
    "MAX_STREAM",
    "GobError",
    "GobTime",
    "MqttDetails",
    "TapirName",
    "WbgList",
    "decode_list",
    "encode_in_pieces",
    "encode_list",
    "encode_start",
    "export_list",
    "import_list",
    "read_list",
]
