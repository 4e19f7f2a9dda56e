-- What a class stores, when objects are to be woken, and messages between them. As in the tables before, paths end in a
-- slash, and `seq` is the number of the write set that wrote the row.

-- How many rows of its own the class has, so that an object without any needs no query.
ALTER TABLE objects ADD COLUMN rows INTEGER NOT NULL DEFAULT 0;

-- Key/value pairs: the runtime's at the path of the object, the class's at that path with another slash behind it. No
-- object has an empty name, so that is a subtree with nothing else in it, and dropping them all is a tombstone.
-- What tells dead from alive stands before the value, which may be large.
CREATE TABLE rows (
    path  TEXT    NOT NULL,
    key   TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    value BLOB    NOT NULL,
    PRIMARY KEY (path, key)
) WITHOUT ROWID;

-- When an object is to be woken, in milliseconds since the epoch.
CREATE TABLE wakes (
    path TEXT    NOT NULL PRIMARY KEY,
    at   INTEGER NOT NULL,
    seq  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX wakes_at ON wakes (at, path, seq);

-- Messages that were not handled yet, in the order of each inbox; `seq` is the number of the sender's write set.
CREATE TABLE sends (
    target  TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    sender  TEXT    NOT NULL,
    message BLOB    NOT NULL,
    PRIMARY KEY (target, seq, number)
) WITHOUT ROWID;
CREATE INDEX sends_sender ON sends (sender, seq, target, number);
