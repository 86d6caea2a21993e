//! Reads sums of whole hours.

use colloquy_storage::engine::Columns;

use super::{Found, Run, ordinals};
use crate::query::error::Error;
use crate::query::slots::Part;
use crate::query::statement::{Dialect, Ranges, Statement};
use crate::query::time::HOUR;

impl<E: Dialect> Run<'_, E> {
    pub(super) async fn read_totals(
        &mut self,
        part: &Part,
        ranges: &Ranges,
        from: i64,
        to: i64,
        found: &mut Found,
    ) -> Result<(), Error> {
        let mut statement = Statement::about(self.organization);
        // The first hour of what is asked for may have begun before it.
        let keys = self.keys(&mut statement, &format!("(t.hour * {HOUR})"), from.div_euclid(HOUR) * HOUR, to);
        let source = statement.from("rollup_totals", "t", "hour", ranges);
        let sql = format!(
            "{}select {}, {} from {} where {} group by {}",
            source.with,
            keys.join(", "),
            part.write_totals().join(", "),
            source.tables,
            source.condition,
            ordinals(keys.len()),
        );
        for row in &statement.run::<E>(self.connection, &sql, ranges).await? {
            let mut columns = Columns::<E>::of(row);
            let key = self.read_key(&mut columns)?;
            part.read(&mut columns, found.partials.at(key))?;
        }
        Ok(())
    }
}
