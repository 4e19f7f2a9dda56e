//! Every statement that reads or writes rows, in one place, so that a test can have each explained by the query planner.

pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

// Reading.
pub(super) const LOAD: &str = "SELECT class, state, children, next_ordinal, bytes, seq FROM objects WHERE path = ?1";
pub(super) const CHILDREN: &str =
    "SELECT ordinal, name, class FROM agents WHERE parent = ?1 AND seq >= ?2 ORDER BY ordinal";
pub(super) const OBJECTS: &str =
    "SELECT path, class, children, seq FROM objects WHERE path >= ?1 AND path < ?2 AND seq >= ?3 ORDER BY path";
pub(super) const META: &str = "SELECT seq, objects FROM meta WHERE id = 1";
pub(super) const TOMBSTONES: &str = "SELECT prefix, seq FROM tombstones WHERE prefix > ?1 ORDER BY prefix LIMIT ?2";

// Committing write sets.
pub(super) const OBJECT_UPDATE: &str = "UPDATE objects SET class = ?2, state = ?3, children = ?4, next_ordinal = ?5, \
     bytes = ?6, seq = ?7 WHERE path = ?1";
pub(super) const OBJECT_INSERT: &str = "INSERT INTO objects (path, class, state, children, next_ordinal, bytes, seq) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (path) DO NOTHING";
pub(super) const OBJECT_REVIVE: &str = "UPDATE objects SET class = ?2, state = NULL, children = 0, next_ordinal = 0, \
     bytes = 0, seq = ?3 WHERE path = ?1 AND seq < ?4";
pub(super) const AGENT_PUT: &str = "INSERT INTO agents (parent, ordinal, name, class, seq) VALUES (?1, ?2, ?3, ?4, ?5) \
     ON CONFLICT (parent, ordinal) DO UPDATE SET name = excluded.name, class = excluded.class, seq = excluded.seq";
pub(super) const AGENT_DELETE: &str = "DELETE FROM agents WHERE parent = ?1 AND ordinal = ?2";
pub(super) const TOMBSTONE_PUT: &str = "INSERT INTO tombstones (prefix, seq) VALUES (?1, ?2) \
     ON CONFLICT (prefix) DO UPDATE SET seq = excluded.seq";
pub(super) const META_UPDATE: &str = "UPDATE meta SET seq = ?1, objects = ?2 WHERE id = 1";

// Reaping: where a chunk ends, then what is dead within it.
pub(super) const OBJECT_CHUNK: &str = "SELECT path, ifnull(length(state), 0) FROM objects \
     WHERE path >= ?1 AND path < ?2 ORDER BY path LIMIT ?3";
pub(super) const OBJECT_REAP: &str = "DELETE FROM objects WHERE path >= ?1 AND path < ?2 AND seq < ?3";
pub(super) const AGENT_CHUNK: &str = "SELECT parent, ordinal FROM agents \
     WHERE (parent, ordinal) >= (?1, ?2) AND parent < ?3 ORDER BY parent, ordinal LIMIT 1 OFFSET ?4";
pub(super) const AGENT_REAP: &str = "DELETE FROM agents \
     WHERE (parent, ordinal) >= (?1, ?2) AND (parent, ordinal) < (?3, ?4) AND seq < ?5";
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
        CHILDREN,
        OBJECTS,
        META,
        TOMBSTONES,
        OBJECT_UPDATE,
        OBJECT_INSERT,
        OBJECT_REVIVE,
        AGENT_PUT,
        AGENT_DELETE,
        TOMBSTONE_PUT,
        META_UPDATE,
        OBJECT_CHUNK,
        OBJECT_REAP,
        AGENT_CHUNK,
        AGENT_REAP,
        TOMBSTONE_CHUNK,
        TOMBSTONE_DELETE,
    ];

    #[test]
    fn no_statement_scans_a_table_or_sorts() {
        let declared = include_str!("sql.rs").matches("pub(super) const ").count() - 1;
        assert_eq!(ALL.len(), declared, "a statement is missing from the list");
        let dir = tempfile::tempdir().unwrap();
        let connection = super::super::schema::open(&dir.path().join("db"), std::time::Duration::ZERO).unwrap();
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
