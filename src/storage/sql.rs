//! Every statement that reads or writes rows, in one place, so that a test can have each explained by the query planner.

pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

// Reading.
pub(super) const LOAD: &str =
    "SELECT class, state, children, next_ordinal, bytes, rows, seq FROM objects WHERE path = ?1";
pub(super) const CLASS: &str = "SELECT class, seq FROM objects WHERE path = ?1";
pub(super) const OBJECT_PATHS: &str = "SELECT path FROM objects WHERE path > ?1 ORDER BY path LIMIT ?2";
pub(super) const CHILDREN: &str =
    "SELECT ordinal, name, class FROM agents WHERE parent = ?1 AND seq >= ?2 ORDER BY ordinal";
pub(super) const OBJECTS: &str =
    "SELECT path, class, children, seq FROM objects WHERE path >= ?1 AND path < ?2 AND seq >= ?3 ORDER BY path";
pub(super) const ROW: &str = "SELECT value FROM rows WHERE path = ?1 AND key = ?2 AND seq >= ?3";
pub(super) const ROWS: &str =
    "SELECT key, value FROM rows WHERE path = ?1 AND key >= ?2 AND key < ?3 AND seq >= ?4 ORDER BY key";
pub(super) const ROWS_REVERSE: &str =
    "SELECT key, value FROM rows WHERE path = ?1 AND key >= ?2 AND key < ?3 AND seq >= ?4 ORDER BY key DESC";
pub(super) const ROW_SEEK: &str = "SELECT key, CASE WHEN key = ?2 THEN value END FROM rows \
     WHERE path = ?1 AND key >= ?2 AND seq >= ?3 ORDER BY key LIMIT 1";
pub(super) const DUE: &str =
    "SELECT path, at, seq FROM wakes WHERE (at, path) > (?1, ?2) AND at <= ?3 ORDER BY at, path";
pub(super) const INBOX: &str = "SELECT seq, number, sender, message FROM sends \
     WHERE target = ?1 AND (seq, number) > (?2, ?3) ORDER BY seq, number";
pub(super) const OUTBOX: &str = "SELECT target, seq, length(message) FROM sends WHERE sender = ?1 AND seq >= ?2";
pub(super) const INBOX_NEXT: &str = "SELECT target FROM sends WHERE target > ?1 ORDER BY target LIMIT 1";
pub(super) const INBOX_SENDERS: &str = "SELECT sender, seq FROM sends WHERE target = ?1 AND seq >= ?2";
pub(super) const META: &str = "SELECT seq, objects FROM meta WHERE id = 1";
pub(super) const TOMBSTONES: &str = "SELECT prefix, seq FROM tombstones WHERE prefix > ?1 ORDER BY prefix LIMIT ?2";

// Committing write sets.
pub(super) const OBJECT_UPDATE: &str = "UPDATE objects SET class = ?2, state = ?3, children = ?4, next_ordinal = ?5, \
     bytes = ?6, rows = ?7, seq = ?8 WHERE path = ?1";
pub(super) const OBJECT_INSERT: &str = "INSERT INTO objects \
     (path, class, state, children, next_ordinal, bytes, rows, seq) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
     ON CONFLICT (path) DO NOTHING";
pub(super) const OBJECT_REVIVE: &str = "UPDATE objects SET class = ?2, state = NULL, children = 0, next_ordinal = 0, \
     bytes = 0, rows = 0, seq = ?3 WHERE path = ?1 AND seq < ?4";
pub(super) const AGENT_PUT: &str = "INSERT INTO agents (parent, ordinal, name, class, seq) VALUES (?1, ?2, ?3, ?4, ?5) \
     ON CONFLICT (parent, ordinal) DO UPDATE SET name = excluded.name, class = excluded.class, seq = excluded.seq";
pub(super) const AGENT_DELETE: &str = "DELETE FROM agents WHERE parent = ?1 AND ordinal = ?2";
pub(super) const ROW_PUT: &str = "INSERT INTO rows (path, key, value, seq) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (path, key) DO UPDATE SET value = excluded.value, seq = excluded.seq";
pub(super) const ROW_DELETE: &str = "DELETE FROM rows WHERE path = ?1 AND key = ?2";
pub(super) const WAKE_PUT: &str = "INSERT INTO wakes (path, at, seq) VALUES (?1, ?2, ?3) \
     ON CONFLICT (path) DO UPDATE SET at = excluded.at, seq = excluded.seq";
pub(super) const WAKE_DELETE: &str = "DELETE FROM wakes WHERE path = ?1";
pub(super) const SEND_PUT: &str =
    "INSERT INTO sends (target, seq, number, sender, message) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(super) const SEND_DELETE: &str =
    "DELETE FROM sends WHERE target = ?1 AND seq = ?2 AND number >= ?3 AND number <= ?4";
pub(super) const TOMBSTONE_PUT: &str = "INSERT INTO tombstones (prefix, seq) VALUES (?1, ?2) \
     ON CONFLICT (prefix) DO UPDATE SET seq = excluded.seq";
pub(super) const META_UPDATE: &str = "UPDATE meta SET seq = ?1, objects = ?2 WHERE id = 1";

// Reaping: where a chunk ends (the key and the bytes of each row), then what is dead within it.
pub(super) const OBJECT_CHUNK: &str = "SELECT path, ifnull(length(state), 0) FROM objects \
     WHERE path >= ?1 AND path < ?2 ORDER BY path LIMIT ?3";
pub(super) const OBJECT_REAP: &str = "DELETE FROM objects WHERE path >= ?1 AND path < ?2 AND seq < ?3";
pub(super) const AGENT_CHUNK: &str = "SELECT parent, ordinal, 0 FROM agents \
     WHERE (parent, ordinal) >= (?1, ?2) AND parent < ?3 ORDER BY parent, ordinal LIMIT ?4";
pub(super) const AGENT_REAP: &str = "DELETE FROM agents \
     WHERE (parent, ordinal) >= (?1, ?2) AND (parent, ordinal) < (?3, ?4) AND seq < ?5";
pub(super) const ROW_CHUNK: &str = "SELECT path, key, length(value) FROM rows \
     WHERE (path, key) >= (?1, ?2) AND path < ?3 ORDER BY path, key LIMIT ?4";
pub(super) const ROW_REAP: &str =
    "DELETE FROM rows WHERE (path, key) >= (?1, ?2) AND (path, key) < (?3, ?4) AND seq < ?5";
pub(super) const WAKE_CHUNK: &str = "SELECT path, 0 FROM wakes WHERE path >= ?1 AND path < ?2 ORDER BY path LIMIT ?3";
pub(super) const WAKE_REAP: &str = "DELETE FROM wakes WHERE path >= ?1 AND path < ?2 AND seq < ?3";
pub(super) const INBOX_CHUNK: &str = "SELECT target, seq, number, length(message) FROM sends \
     WHERE (target, seq, number) >= (?1, ?2, ?3) AND target < ?4 ORDER BY target, seq, number LIMIT ?5";
pub(super) const INBOX_REAP: &str = "DELETE FROM sends \
     WHERE (target, seq, number) >= (?1, ?2, ?3) AND (target, seq, number) < (?4, ?5, ?6) AND seq < ?7";
pub(super) const OUTBOX_CHUNK: &str = "SELECT sender, seq, target, number, length(message) FROM sends \
     WHERE (sender, seq, target, number) >= (?1, ?2, ?3, ?4) AND sender < ?5 \
     ORDER BY sender, seq, target, number LIMIT ?6";
pub(super) const OUTBOX_REAP: &str = "DELETE FROM sends \
     WHERE (sender, seq, target, number) >= (?1, ?2, ?3, ?4) AND (sender, seq, target, number) < (?5, ?6, ?7, ?8) \
     AND seq < ?9";
pub(super) const TOMBSTONE_CHUNK: &str = "SELECT prefix, seq FROM tombstones \
     WHERE prefix >= ?1 AND prefix < ?2 ORDER BY prefix LIMIT ?3";
pub(super) const TOMBSTONE_DELETE: &str = "DELETE FROM tombstones WHERE prefix = ?1 AND seq = ?2";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[&str] = &[
        BEGIN,
        COMMIT,
        ROLLBACK,
        LOAD,
        CLASS,
        OBJECT_PATHS,
        CHILDREN,
        OBJECTS,
        ROW,
        ROWS,
        ROWS_REVERSE,
        ROW_SEEK,
        DUE,
        INBOX,
        OUTBOX,
        INBOX_NEXT,
        INBOX_SENDERS,
        META,
        TOMBSTONES,
        OBJECT_UPDATE,
        OBJECT_INSERT,
        OBJECT_REVIVE,
        AGENT_PUT,
        AGENT_DELETE,
        ROW_PUT,
        ROW_DELETE,
        WAKE_PUT,
        WAKE_DELETE,
        SEND_PUT,
        SEND_DELETE,
        TOMBSTONE_PUT,
        META_UPDATE,
        OBJECT_CHUNK,
        OBJECT_REAP,
        AGENT_CHUNK,
        AGENT_REAP,
        ROW_CHUNK,
        ROW_REAP,
        WAKE_CHUNK,
        WAKE_REAP,
        INBOX_CHUNK,
        INBOX_REAP,
        OUTBOX_CHUNK,
        OUTBOX_REAP,
        TOMBSTONE_CHUNK,
        TOMBSTONE_DELETE,
    ];

    #[test]
    fn no_statement_scans_a_table_or_sorts() {
        let declared = include_str!("sql.rs").matches("pub(super) const ").count() - 1;
        assert_eq!(ALL.len(), declared, "a statement is missing from the list");
        let dir = tempfile::tempdir().unwrap();
        let connection = super::super::schema::open(&dir.path().join("db"), std::time::Duration::ZERO, true).unwrap();
        for sql in &ALL[3..] {
            let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            // Parameters are left NULL: the plan does not depend on them.
            let mut rows = explained.raw_query();
            while let Some(row) = rows.next().unwrap() {
                let detail: String = row.get(3).unwrap();
                assert!(detail.starts_with("SEARCH"), "{sql}: {detail}");
            }
        }
    }
}
