//! Reads conversations themselves: of hours that are not summed up yet, and what sums and columns do not say.

use std::collections::HashMap;

use colloquy_storage::engine::Columns;

use super::{Bins, Found, MOST_GROUPS, Run, check_groups, ordinals};
use crate::query::error::Error;
use crate::query::measure::{Measure, NumberOf, Op, Subject};
use crate::query::slots::{Part, value_of};
use crate::query::spread::{BIN_SQL, Spreads};
use crate::query::statement::{Dialect, Ranges, Statement};
use crate::query::table::{Key, Partials};

impl<E: Dialect> Run<'_, E> {
    pub(super) async fn read_rows(&mut self, part: &Part, ranges: &Ranges, found: &mut Found) -> Result<(), Error> {
        let (Some((from, _)), Some((_, to))) = (ranges.first().copied(), ranges.last().copied()) else { return Ok(()) };
        let mut statement = Statement::about(self.organization);
        let keys = self.keys(&mut statement, "f.created_at", from, to)?;
        let figures = part.write(&mut statement);
        let source = statement.from("features", "f", "created_at", ranges);
        let condition = statement.condition(&part.condition);
        let sql = format!(
            "{}select {}, {} from {}{} where {} and {condition} group by {} limit {}",
            source.with,
            keys.join(", "),
            figures.join(", "),
            source.tables,
            statement.joins(),
            source.condition,
            ordinals(keys.len()),
            MOST_GROUPS + 1,
        );
        let rows = statement.run::<E>(self.connection, &sql, ranges).await?;
        check_groups(rows.len())?;
        let mut of_rows = Partials::new(part.slots.len());
        for row in &rows {
            let mut columns = Columns::<E>::of(row);
            let key = self.read_key(&mut columns)?;
            part.read(&mut columns, of_rows.at(key))?;
        }
        for key in of_rows.keys() {
            for (known, more) in found.partials.at(key).iter_mut().zip(of_rows.get(key).unwrap_or_default()) {
                known.merge(more);
            }
        }
        for (number, spread) in part.spreads.iter().zip(&mut found.spreads) {
            let measure = Measure { subject: Subject::Number(number.clone()), op: Op::Avg };
            let count = of_rows.total(part.slot_of(&measure));
            self.read_spread(part, number, ranges, (from, to), count, spread).await?;
        }
        for (number, histogram) in part.histograms.iter().zip(&mut found.histograms) {
            let (of, bins) = Bins::of(&self.question.measures[*number].0);
            self.read_histogram(part, of, &bins, ranges, (from, to), histogram).await?;
        }
        Ok(())
    }

    /// Reads the values themselves while they are few, and else counts them by bins.
    async fn read_spread(
        &mut self,
        part: &Part,
        number: &NumberOf,
        ranges: &Ranges,
        span: (i64, i64),
        count: u64,
        spread: &mut Spreads,
    ) -> Result<(), Error> {
        if count == 0 {
            return Ok(());
        }
        let (statement, inner, keys) = self.values_of(part, number, ranges, span)?;
        if spread.has_room_for(count) {
            for row in &statement.run::<E>(self.connection, &inner, ranges).await? {
                let mut columns = Columns::<E>::of(row);
                let key = self.read_key(&mut columns)?;
                spread.add(key, columns.real()?);
            }
            return Ok(());
        }
        let named = named(keys);
        let sql = format!("select {named}, {} as bin, count(*) from ({inner}) s group by {}", *BIN_SQL, ordinals(keys + 1));
        for row in &statement.run::<E>(self.connection, &sql, ranges).await? {
            let mut columns = Columns::<E>::of(row);
            let key = self.read_key(&mut columns)?;
            let bin = columns.int()?;
            spread.add_bin(key, bin, columns.int()?.unsigned_abs());
        }
        Ok(())
    }

    async fn read_histogram(
        &mut self,
        part: &Part,
        number: &NumberOf,
        bins: &Bins,
        ranges: &Ranges,
        span: (i64, i64),
        histogram: &mut HashMap<Key, Vec<u64>>,
    ) -> Result<(), Error> {
        let (mut statement, inner, keys) = self.values_of(part, number, ranges, span)?;
        let bin = statement.bin("s.x", &bins.bounds, 0);
        let sql = format!("select {}, {bin} as bin, count(*) from ({inner}) s group by {}", named(keys), ordinals(keys + 1));
        for row in &statement.run::<E>(self.connection, &sql, ranges).await? {
            let mut columns = Columns::<E>::of(row);
            let key = self.read_key(&mut columns)?;
            let bin = usize::try_from(columns.int()?).unwrap_or_default().min(bins.bounds.len() - 1);
            histogram.entry(key).or_insert_with(|| vec![0; bins.bounds.len()])[bin] += columns.int()?.unsigned_abs();
        }
        Ok(())
    }

    /// Writes a query for the values of a number, as `x` after the columns of the key, which are called `k0`, `k1`, …
    fn values_of(
        &self,
        part: &Part,
        number: &NumberOf,
        ranges: &Ranges,
        (from, to): (i64, i64),
    ) -> Result<(Statement, String, usize), Error> {
        let mut statement = Statement::about(self.organization);
        let keys = self.keys(&mut statement, "f.created_at", from, to)?;
        let value = value_of(number, &mut statement);
        let source = statement.from("features", "f", "created_at", ranges);
        let condition = statement.condition(&part.condition);
        let named: Vec<String> = keys.iter().enumerate().map(|(number, key)| format!("{key} as k{number}")).collect();
        let sql = format!(
            "{}select {}, cast({value} as double precision) as x from {}{} where {} and {condition} and {value} is not null",
            source.with,
            named.join(", "),
            source.tables,
            statement.joins(),
            source.condition,
        );
        Ok((statement, sql, keys.len()))
    }
}

fn named(keys: usize) -> String {
    (0..keys).map(|number| format!("s.k{number}")).collect::<Vec<_>>().join(", ")
}
