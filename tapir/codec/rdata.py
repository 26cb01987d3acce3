"""What the rdata of each type is made of, as far as the DNS library of the existing EDM checks it (edm.md §3.4).

A record whose rdata is not so spoils its message there, and is counted, so it has to be the same here. The library is
miekg/dns 1.1.72; types that are not named here hold anything there.
"""

from typing import Final

NAME: Final = 32
STRING: Final = 33
STRINGS: Final = 34
REST: Final = 35
BITMAP: Final = 36
OPTIONS: Final = 37
PARAMETERS: Final = 38
PREFIXES: Final = 39
GATEWAY: Final = 40
COUNTED: Final = 41
COUNTED_LONG: Final = 42
HOST_IDENTITY: Final = 43

_KEY: Final = (2, 1, 1, REST)
_SIGNATURE: Final = (2, 1, 1, 4, 4, 4, 2, NAME, REST)
_PREFERENCE: Final = (2, NAME)
_CERTIFICATE: Final = (1, 1, 1, REST)

FIELDS: Final[dict[int, tuple[int, ...]]] = {
    1: (4,),  # A
    2: (NAME,),  # NS
    3: (NAME,),  # MD
    4: (NAME,),  # MF
    5: (NAME,),  # CNAME
    6: (NAME, NAME, 4, 4, 4, 4, 4),  # SOA
    7: (NAME,),  # MB
    8: (NAME,),  # MG
    9: (NAME,),  # MR
    12: (NAME,),  # PTR
    13: (STRING, STRING),  # HINFO
    14: (NAME, NAME),  # MINFO
    15: _PREFERENCE,  # MX
    16: (STRINGS,),  # TXT
    17: (NAME, NAME),  # RP
    18: _PREFERENCE,  # AFSDB
    19: (STRING,),  # X25
    20: (STRING, STRING),  # ISDN
    21: _PREFERENCE,  # RT
    23: (NAME,),  # NSAP-PTR
    24: _SIGNATURE,  # SIG
    25: _KEY,  # KEY
    26: (2, NAME, NAME),  # PX
    27: (STRING, STRING, STRING),  # GPOS
    28: (16,),  # AAAA
    29: (1, 1, 1, 1, 4, 4, 4),  # LOC
    30: (NAME, BITMAP),  # NXT
    33: (2, 2, 2, NAME),  # SRV
    35: (2, 2, STRING, STRING, STRING, NAME),  # NAPTR
    36: _PREFERENCE,  # KX
    37: (2, 2, 1, REST),  # CERT
    39: (NAME,),  # DNAME
    41: (OPTIONS,),  # OPT
    42: (PREFIXES,),  # APL
    43: _KEY,  # DS, and what looks like it: CDS, TA, DLV
    44: (1, 1, REST),  # SSHFP
    45: (1, 1, 1, GATEWAY, REST),  # IPSECKEY
    46: _SIGNATURE,  # RRSIG
    47: (NAME, BITMAP),  # NSEC
    48: _KEY,  # DNSKEY
    50: (1, 1, 2, 1, COUNTED, 1, COUNTED, BITMAP),  # NSEC3
    51: (1, 1, 2, 1, COUNTED),  # NSEC3PARAM
    52: _CERTIFICATE,  # TLSA
    53: _CERTIFICATE,  # SMIMEA
    55: (1, 1, 2, HOST_IDENTITY),  # HIP
    56: (STRINGS,),  # NINFO
    57: _KEY,  # RKEY
    58: (NAME, NAME),  # TALINK
    59: _KEY,  # CDS
    60: _KEY,  # CDNSKEY
    62: (4, 2, BITMAP),  # CSYNC
    63: (4, 1, 1, REST),  # ZONEMD
    64: (2, NAME, PARAMETERS),  # SVCB
    65: (2, NAME, PARAMETERS),  # HTTPS
    99: (STRINGS,),  # SPF
    100: (STRING,),  # UINFO
    101: (4,),  # UID
    102: (4,),  # GID
    104: (2, 8),  # NID
    105: (2, 4),  # L32
    106: (2, 8),  # L64
    107: _PREFERENCE,  # LP
    108: (6,),  # EUI48
    109: (8,),  # EUI64
    128: (),  # NXNAME: none at all
    249: (NAME, 4, 4, 2, 2, 2, COUNTED_LONG, 2, COUNTED_LONG),  # TKEY
    250: (NAME, 6, 2, 2, COUNTED_LONG, 2, 2, 2, COUNTED_LONG),  # TSIG
    255: (),  # ANY
    256: (2, 2, REST),  # URI
    257: (1, STRING, REST),  # CAA
    258: (STRINGS,),  # AVC
    260: (1, 1, GATEWAY),  # AMTRELAY
    261: (STRINGS,),  # RESINFO
}
"""fields of the rdata of each type: so many octets up to 16, or one of the above, in the order that they come in"""


def _laid_out() -> tuple[memoryview, memoryview]:
    layouts = bytearray(1)
    starts = memoryview(bytearray(2 * (max(FIELDS) + 1))).cast("H")
    for rdtype, fields in FIELDS.items():
        starts[rdtype] = len(layouts)
        layouts += bytes(fields) + b"\0"
    return memoryview(bytes(layouts)), memoryview(starts.tobytes()).cast("H")


LAYOUTS, STARTS = _laid_out()
"""as the kernel takes them: all fields, each type's behind a zero; and where each type's are, 0 for none"""
