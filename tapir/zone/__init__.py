"""The zone, pure: immutable versions, serials, the journal, and what to answer to a DNS message.

`version` is one state of the zone and `journal` the way from earlier ones to it; `view` is the pair that a
server answers from; `answers` decides. Nothing here waits, reads a clock or raises on what a peer sends.
"""
