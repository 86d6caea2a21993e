//! The store in a PostgreSQL schema, written and read by any number of processes.

use sqlx::{PgPool, Postgres};

use super::SqlStore;
use super::history::Walks;

/// Returns the store in the schema.
pub(super) fn store(pool: &PgPool) -> SqlStore<Postgres> {
    SqlStore { writer: pool.clone(), readers: pool.clone(), walks: Walks::in_the_database() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    /// Returns the name behind `before`, of a table or an index.
    fn name_after<'s>(statement: &'s str, before: &str) -> Option<&'s str> {
        let (_, rest) = statement.split_once(before)?;
        rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').find(|word| !word.is_empty())
    }

    #[test]
    fn an_index_over_what_is_there_is_built_in_a_migration_of_its_own() {
        // The third one is as it is: what it alters has few rows.
        for migration in sqlx::migrate!("migrations/postgres").iter().filter(|migration| migration.version > 3) {
            let sql: String =
                migration.sql.as_str().lines().map(|line| line.split("--").next().unwrap_or("").to_owned() + " ").collect();
            let statements: Vec<&str> = sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()).collect();
            let new: HashSet<&str> = statements.iter().filter_map(|statement| name_after(statement, "create table ")).collect();
            let waits = |statement: &&&str| {
                statement.starts_with("create index") && name_after(statement, " on ").is_some_and(|table| !new.contains(table))
            };
            let indexes = statements.iter().filter(waits).count();
            assert!(indexes == 0 || statements.len() == 1, "{}: others wait while it is built", migration.version);
        }
    }
}
