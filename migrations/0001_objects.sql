-- Rows are keyed by ObjectPath::key(), which ends in a slash, so that a subtree is one range of keys in every table.
-- `seq` is the number of the write set that wrote the row: a row below a tombstone with a higher number is dead.

CREATE TABLE objects (
    path         TEXT    NOT NULL PRIMARY KEY,
    class        TEXT    NOT NULL,
    state        BLOB,
    children     INTEGER NOT NULL,
    next_ordinal INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    seq          INTEGER NOT NULL
) WITHOUT ROWID;

-- The list of children of an object, in the order of their creation.
CREATE TABLE agents (
    parent  TEXT    NOT NULL,
    ordinal INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    class   TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (parent, ordinal)
) WITHOUT ROWID;

-- Deleted subtrees whose rows have not all been removed yet.
CREATE TABLE tombstones (
    prefix TEXT    NOT NULL PRIMARY KEY,
    seq    INTEGER NOT NULL
) WITHOUT ROWID;

-- One row: the highest number given to a write set, and how many rows `objects` has.
CREATE TABLE meta (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seq     INTEGER NOT NULL,
    objects INTEGER NOT NULL
);
INSERT INTO meta (id, seq, objects) VALUES (1, 0, 0);
