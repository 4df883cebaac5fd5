-- The log and, beside it, the state that it leads to.

-- Single values: `epoch` (16 bytes); `floor`, the place before the oldest change (8 bytes, big-endian) and the chain
-- hash there (32 bytes).
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
    seq    INTEGER PRIMARY KEY,
    kind   INTEGER NOT NULL,
    schema INTEGER NOT NULL,
    must   INTEGER NOT NULL,
    key    BLOB NOT NULL,
    body   BLOB,
    rest   INTEGER NOT NULL,
    who    TEXT NOT NULL,
    why    TEXT NOT NULL,
    at_ms  INTEGER NOT NULL,
    chain  BLOB NOT NULL
) STRICT;

-- Slots are dense and reused, and there is no index: a random key in an ordered table would dirty a page per row.
-- The writer keeps the map from key to slot in memory; everyone else scans.
CREATE TABLE current (
    slot   INTEGER PRIMARY KEY,
    kind   INTEGER NOT NULL,
    schema INTEGER NOT NULL,
    must   INTEGER NOT NULL,
    key    BLOB NOT NULL,
    seq    INTEGER NOT NULL,
    body   BLOB NOT NULL
) STRICT;
