//! Finds out how many conversations there were at once.

use std::collections::HashMap;

use colloquy_filter::Expression;
use colloquy_service::Problem;
use colloquy_storage::engine::Columns;

use super::{Run, check_groups, check_pieces};
use crate::query::concurrency::{Concurrency, sweep};
use crate::query::error::Error;
use crate::query::statement::{Dialect, Statement};
use crate::query::table::Key;
use crate::query::time::Buckets;

/// How many conversations may overlap a stretch of time for which it is asked how many there were at once.
const MOST_INTERVALS: usize = 500_000;

impl<E: Dialect> Run<'_, E> {
    /// Finds out how many conversations there were at once.
    pub(super) async fn concurrency(&mut self, condition: &Expression) -> Result<HashMap<Key, Concurrency>, Error> {
        let question = self.question;
        let Buckets { from, to, .. } = question.buckets;
        let Some((began_first, began_last)) = self.began else { return Ok(HashMap::new()) };
        let mut statement = Statement::about(self.organization);
        let keys: Vec<String> = {
            // They may have begun before the time that is asked for.
            let offsets = self.clock(began_first, began_last.saturating_add(1));
            check_pieces(offsets.len())?;
            let dimensions = question.dimensions.iter();
            dimensions.flat_map(|dimension| statement.dimension(dimension, "f.created_at", &offsets)).collect()
        };
        let (first, end, now) = (statement.int(from), statement.int(to), statement.int(self.now));
        let condition = statement.condition(condition);
        let start = "coalesce(f.started_at, f.created_at)";
        let over = format!(
            "coalesce(f.ended_at, case when f.status in ('initiated', 'in_progress') then {now} end, {start} + f.duration_ms, {start})"
        );
        let keys: String = keys.iter().map(|key| format!("{key}, ")).collect();
        let sql = format!(
            "select {keys}{start}, {over} from features f{} where f.organization_id = $1 and {start} < {end} and {over} > {first} \
             and (f.created_at >= {first} or f.ended_at > {first} or f.ended_at is null) and {condition} limit {}",
            statement.joins(),
            MOST_INTERVALS + 1,
        );
        let rows = statement.run::<E>(self.connection, &sql, &[(from, to)]).await?;
        if rows.len() > MOST_INTERVALS {
            let message =
                format!("more than {MOST_INTERVALS} conversations to lay side by side; take less time, or a narrower filter");
            return Err(Problem::invalid_field("time", message).into());
        }
        let mut intervals: HashMap<[u32; 3], Vec<(i64, i64)>> = HashMap::new();
        for row in &rows {
            let mut columns = Columns::<E>::of(row);
            let values = self.read_values(&mut columns)?;
            intervals.entry(values).or_default().push((columns.int()?, columns.int()?));
        }
        check_groups(intervals.len().saturating_mul(question.buckets.len()))?;
        let mut found = HashMap::new();
        for (values, intervals) in intervals {
            for (bucket, concurrency) in (0_u32..).zip(sweep(&intervals, &question.buckets, self.now)) {
                if concurrency.peak > 0 {
                    found.insert(Key { bucket, values }, concurrency);
                }
            }
        }
        Ok(found)
    }
}
