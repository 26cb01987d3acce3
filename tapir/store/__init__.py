"""What survives a crash: one folder, small SQLite databases, no actors and no event loop.

The classes are synchronous and are called from worker threads: one call at a time per object, from any
thread. What may go wrong is in `errors`: `StoreFull` (nothing was written, what was there is intact),
`StoreCorrupt` (put it aside with `quarantine`), `StateLocked` (another process has the folder).

- `state`: the folder, its lock, its paths
- `zones`: one zone's content and the journal of its versions
- `lists`: what every source said last, and what the brake holds back
- `serialcache`: the serial, as the reference implementation keeps it
- `quarantine`: a corrupt database is moved aside, never deleted at once
- `database`, `blobs`, `packing`, `fold`, `files`: what these are made of
"""
