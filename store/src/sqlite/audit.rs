//! Whether each index has every row of its table, and no other: what SQLite's `integrity_check` looks at beyond its
//! `quick_check`. It goes a piece at a time, each in a transaction of its own: as long as one lasts, the log cannot be
//! written from its beginning again, and every commit has to make it longer, which takes half as long again.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::rows::{corrupt, database_error};
use crate::StoreError;

/// So many rows are looked up at a time: some ten milliseconds, or a tenth of a second where sales leave no more.
const PIECE: i64 = 10_000;

/// A table, whose rows are numbered by `id`, and its indexes. Names are quoted.
struct Table {
    name: String,
    indexes: Vec<Index>,
}

struct Index {
    name: String,
    columns: Vec<String>,
    /// Which rows it has; `TRUE` for all.
    rows: String,
    is_unique: bool,
}

/// Looks at all indexes. After each piece of it `rest` is told how long that took, and reads nothing for a while: so
/// that a writer finds the log free, and begins it again.
///
/// # Errors
/// [`StoreError::Corrupt`] with the first one that is not right.
pub(super) fn run(connection: &Connection, rest: &dyn Fn(Duration)) -> Result<(), StoreError> {
    for table in tables(connection).map_err(database_error)? {
        let lost = table.lost_row(connection, rest).map_err(database_error)?;
        if let Some(id) = lost {
            return Err(corrupt(format!("an index of table {} has lost row {id}", table.name)));
        }
        if let Some(index) = table.index_with_others(connection, rest).map_err(database_error)? {
            return Err(corrupt(format!("index {index} has rows that table {} has not", table.name)));
        }
    }
    Ok(())
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<Table>> {
    let names: Vec<String> = connection
        .prepare(
            "SELECT name FROM sqlite_schema AS owner
             WHERE type = 'table' AND 'id' IN (
                 SELECT name FROM pragma_table_info(owner.name) WHERE pk = 1 AND type = 'INTEGER')",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut tables = Vec::new();
    for name in names {
        let indexes = indexes(connection, &name)?;
        if !indexes.is_empty() {
            tables.push(Table { name: quoted(&name), indexes });
        }
    }
    Ok(tables)
}

/// Those of a table that the schema makes: they have its name before theirs. What somebody added is left alone.
fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Index>> {
    let mut listed = connection.prepare(
        "SELECT listed.name, iif(listed.partial, substr(own.sql, instr(own.sql, ' WHERE ') + 7), 'TRUE'),
             listed.\"unique\"
         FROM pragma_index_list(?1) AS listed, sqlite_schema AS own
         WHERE own.type = 'index' AND own.name = listed.name
             AND (listed.origin <> 'c' OR listed.name GLOB ?1 || '_*')
             AND (NOT listed.partial OR instr(own.sql, ' WHERE ') > 0)",
    )?;
    let mut columns = connection.prepare("SELECT name FROM pragma_index_info(?1)")?;
    let mut indexes = Vec::new();
    let mut rows = listed.query([table])?;
    while let Some(row) = rows.next()? {
        let (name, rows, is_unique): (String, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let columns: Vec<Option<String>> =
            columns.query_map([&name], |column| column.get(0))?.collect::<Result<_, _>>()?;
        // One of expressions is somebody else's.
        if let Some(columns) = columns.iter().map(|column| column.as_deref().map(quoted)).collect() {
            indexes.push(Index { name: quoted(&name), columns, rows, is_unique });
        }
    }
    Ok(indexes)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Table {
    /// A row that one of the indexes should have, and has not, or has for another one as well.
    fn lost_row(&self, connection: &Connection, rest: &dyn Fn(Duration)) -> rusqlite::Result<Option<i64>> {
        let Self { name, indexes } = self;
        let is_lost: Vec<_> = indexes.iter().map(|index| index.has_lost(name)).collect();
        let is_lost = is_lost.join(" OR ");
        let mut lost = connection.prepare(&format!(
            "SELECT min(id) FROM {name} AS whole NOT INDEXED WHERE id BETWEEN ?1 AND ?2 AND ({is_lost})"
        ))?;
        // Those that are added later go into the indexes of now.
        let end = |of: &str| format!("(SELECT {of}(id) FROM {name} NOT INDEXED)");
        let ends = format!("SELECT coalesce({}, 1), coalesce({}, 0)", end("min"), end("max"));
        let (mut first, last): (i64, i64) =
            connection.query_row(&ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        while first <= last {
            let until = first.saturating_add(PIECE - 1).min(last);
            let began = Instant::now();
            let found: Option<i64> = lost.query_row([first, until], |row| row.get(0))?;
            if found.is_some() {
                return Ok(found);
            }
            rest(began.elapsed());
            let Some(next) = until.checked_add(1) else { break };
            first = next;
        }
        Ok(None)
    }

    /// An index that has more rows, or fewer, than the table has for it.
    fn index_with_others(
        &self,
        connection: &Connection,
        rest: &dyn Fn(Duration),
    ) -> rusqlite::Result<Option<&str>> {
        let Self { name: table, indexes } = self;
        // Sums: SQLite would count the rows of whichever index is the smallest.
        let sums = indexes.iter().map(|Index { rows, .. }| format!("coalesce(sum({rows}), 0)"));
        let own = indexes.iter().map(|Index { name, rows, .. }| {
            format!("(SELECT coalesce(sum(1), 0) FROM {table} INDEXED BY {name} WHERE {rows})")
        });
        let columns: Vec<_> = sums.chain(own).collect();
        let all = format!("SELECT {} FROM {table} NOT INDEXED", columns.join(", "));
        let began = Instant::now();
        let counts: Vec<i64> = connection
            .query_row(&all, [], |row| (0..columns.len()).map(|column| row.get(column)).collect())?;
        let (of_table, of_indexes) = counts.split_at(indexes.len());
        let wrong = of_table.iter().zip(of_indexes).position(|(table, index)| table != index);
        rest(began.elapsed());
        Ok(wrong.and_then(|position| indexes.get(position)).map(|index| index.name.as_str()))
    }
}

impl Index {
    /// The condition under which a row of the table, `whole`, is missing here, or is one of two that must not be equal.
    fn has_lost(&self, table: &str) -> String {
        let Self { name, columns, rows, is_unique } = self;
        let all = |relation| {
            let columns = columns.iter().map(|column| format!("entry.{column} {relation} whole.{column}"));
            columns.collect::<Vec<_>>().join(" AND ")
        };
        let entry = |which: String| {
            format!("EXISTS (SELECT 1 FROM {table} AS entry INDEXED BY {name} WHERE {which} AND ({rows}))")
        };
        let own = entry(format!("{} AND entry.id = whole.id", all("IS")));
        let lost = format!("NOT {own}");
        let wrong = if *is_unique {
            // Nothing is equal to a null.
            let twin = entry(format!("{} AND entry.id <> whole.id", all("=")));
            format!("({lost} OR {twin})")
        } else {
            lost
        };
        format!("(({rows}) AND {wrong})")
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::super::vault::Vault;
    use super::*;
    use crate::MasterKey;

    /// A table and its indexes, as SQLite thinks that they are.
    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let sql =
            "CREATE TABLE key (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, age INTEGER, sold INTEGER);
             CREATE INDEX key_age ON key (age, name);
             CREATE INDEX key_unsold ON key (age) WHERE sold IS NULL;
             WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 110000)
             INSERT INTO key (id, name, age, sold)
             SELECT i, randomblob(16), nullif(i % 7, 0), nullif(i % 3, 0) FROM n;";
        connection.execute_batch(sql).unwrap();
        connection
    }

    /// Takes an index out of the schema while something is changed, so that SQLite does not keep it up to date.
    fn behind(connection: &Connection, index: &str, change: &str) {
        let hidden = format!(
            "PRAGMA writable_schema = ON;
             CREATE TEMP TABLE hidden AS SELECT * FROM sqlite_schema WHERE name = '{index}';
             DELETE FROM sqlite_schema WHERE name = '{index}';
             PRAGMA writable_schema = RESET;
             {change};
             PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema SELECT * FROM temp.hidden;
             PRAGMA writable_schema = RESET;"
        );
        connection.execute_batch(&hidden).unwrap();
    }

    fn integrity(connection: &Connection) -> String {
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_is_sound_is_found_sound() {
        let connection = database();
        assert_eq!(indexes(&connection, "key").unwrap().len(), 3);
        assert_eq!(run(&connection, &|_| {}), Ok(()));
        let added = "CREATE INDEX somebodys ON key (lower(name)); CREATE INDEX others ON key (name COLLATE NOCASE);
             CREATE INDEX key_of_others ON key (age)\nWHERE sold = 1; CREATE TABLE theirs (id TEXT, what UNIQUE);
             INSERT INTO theirs VALUES ('a', 1), ('b', 2);";
        connection.execute_batch(added).unwrap();
        assert_eq!(indexes(&connection, "key").unwrap().len(), 3, "what somebody added is left alone");
        assert_eq!(run(&connection, &|_| {}), Ok(()));
        connection.execute_batch("DELETE FROM key").unwrap();
        assert_eq!(run(&connection, &|_| {}), Ok(()), "nothing is no damage");
    }

    #[test]
    fn every_index_of_a_store_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seller.db");
        let mut connection = Connection::open(&path).unwrap();
        let vault = Vault::new(MasterKey::from_bytes([7; 32]));
        schema::prepare(&mut connection, &vault).unwrap();
        let all = "SELECT count(*) FROM sqlite_schema WHERE type = 'index'";
        let all: u32 = connection.query_row(all, [], |row| row.get(0)).unwrap();
        let looked_at: usize = tables(&connection).unwrap().iter().map(|table| table.indexes.len()).sum();
        assert_eq!(u32::try_from(looked_at), Ok(all));
        assert_eq!(run(&connection, &|_| {}), Ok(()));
    }

    #[test]
    fn two_rows_that_must_not_be_equal_are_found() {
        for (columns, is_sound) in [("age, name", true), ("sold, age", false), ("blank", true)] {
            let connection = database();
            connection.execute_batch("ALTER TABLE key ADD COLUMN blank").unwrap();
            let made = format!(
                "CREATE INDEX key_made ON key ({columns}); PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(sql, 'CREATE INDEX', 'CREATE UNIQUE INDEX')
                 WHERE name = 'key_made'; PRAGMA writable_schema = RESET;"
            );
            connection.execute_batch(&made).unwrap();
            assert_eq!(integrity(&connection) == "ok", is_sound, "{columns}");
            assert_eq!(run(&connection, &|_| {}).is_ok(), is_sound, "{columns}");
        }
    }

    #[test]
    fn an_index_that_has_lost_a_row_or_has_another_is_named() {
        let changes = [
            "INSERT INTO key VALUES (110001, zeroblob(16), 3, NULL)",
            "UPDATE key SET age = 8, sold = NULL WHERE id = 20000",
            "UPDATE key SET sold = NULL WHERE sold = 2 AND id > 109990",
            "DELETE FROM key WHERE id % 3 = 0 AND id > 109990",
        ];
        for index in ["key_age", "key_unsold"] {
            for change in changes {
                let connection = database();
                behind(&connection, index, change);
                let is_sound = index == "key_age" && change.contains("SET sold");
                let is_overlooked_by_sqlite = index == "key_unsold" && change.contains("DELETE");
                assert_eq!(integrity(&connection) == "ok", is_sound || is_overlooked_by_sqlite);
                match run(&connection, &|_| {}) {
                    Ok(()) => assert!(is_sound, "{index}: {change}"),
                    Err(StoreError::Corrupt { what }) => assert!(!is_sound && what.contains("key"), "{what}"),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}
