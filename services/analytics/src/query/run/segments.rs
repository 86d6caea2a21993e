//! Reads hours in columns.

use std::collections::HashMap;

use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Value as Given};

use super::{Bins, Found, Run, check_groups, local};
use crate::query::error::Error;
use crate::query::measure::NumberOf;
use crate::query::schema::Source;
use crate::query::segment::{Column, Segment};
use crate::query::slots::{Filled, Part};
use crate::query::statement::Dialect;
use crate::query::table::Key;
use crate::query::time::HOUR;

impl<E: Dialect> Run<'_, E> {
    /// Reads the segments of hours; returns whether there are any.
    pub(super) async fn read_segments(
        &mut self,
        part: &Part,
        columns: &[&'static str],
        (first, end): (i64, i64),
        (from, to): (i64, i64),
        found: &mut Found,
    ) -> Result<bool, Error> {
        let named: String = columns.iter().map(|column| format!(", {column}")).collect();
        let sql = format!(
            "select hour, n, created_at{named} from rollup_segments where organization_id = $1 and hour >= $2 and hour < $3"
        );
        let values = [Given::Text(self.organization.as_str()), Given::Int(first), Given::Int(end)];
        let offsets = self.clock(from.max(first * HOUR), to.min(end * HOUR));
        let rows = E::query(self.connection, &sql, &values, None).await?;
        for row in &rows {
            let mut read = Columns::<E>::of(row);
            let (hour, rows, created) = (read.int()?, read.int()?, read.bytes()?);
            let mut bytes = Vec::with_capacity(columns.len());
            for column in columns {
                bytes.push((*column, read.bytes()?));
            }
            let rows = usize::try_from(rows).unwrap_or_default();
            let segment = Segment::read(hour, rows, &created, bytes)
                .ok_or_else(|| StoreError::Corrupt("a segment of an hour".to_owned()))?;
            self.add_segment(part, &segment, (from, to), &offsets, found)?;
        }
        Ok(!rows.is_empty())
    }

    /// Returns the first hour of `[first, end)` that has a segment.
    pub(super) async fn next_segment(&mut self, first: i64, end: i64) -> Result<Option<i64>, Error> {
        let sql = "select min(hour) from rollup_segments where organization_id = $1 and hour >= $2 and hour < $3";
        let values = [Given::Text(self.organization.as_str()), Given::Int(first), Given::Int(end)];
        let rows = E::query(self.connection, sql, &values, None).await?;
        let hour = rows.first().map(|row| Columns::<E>::of(row).opt_int()).transpose()?;
        Ok(hour.flatten())
    }

    fn add_segment(
        &mut self,
        part: &Part,
        segment: &Segment,
        (from, to): (i64, i64),
        offsets: &[(i64, i64)],
        found: &mut Found,
    ) -> Result<(), Error> {
        let question = self.question;
        let mut dimensions: Vec<Coded<'_>> =
            question.dimensions.iter().map(|dimension| Coded::of(&dimension.source, segment)).collect();
        let holds = segment.holds(&part.condition);
        let slots: Vec<Filled<'_>> = part.slots.iter().map(|slot| Filled::of(slot, segment)).collect();
        let spreads: Vec<&[f64]> = part.spreads.iter().map(|number| numbers(segment, number)).collect();
        let histograms: Vec<(&[f64], Bins)> = (part.histograms.iter())
            .map(|number| Bins::of(&question.measures[*number].0))
            .map(|(number, bins)| (numbers(segment, number), bins))
            .collect();
        let mut met = Met::of(&dimensions);
        for (row, at) in segment.created_at.iter().copied().enumerate() {
            if !holds[row] || at < from || at >= to {
                continue;
            }
            let mut key = Key { bucket: u32::try_from(question.buckets.bucket_of(at)).unwrap_or(u32::MAX), ..Key::default() };
            for (number, coded) in dimensions.iter_mut().enumerate() {
                key.values[number] = match coded {
                    Coded::Text { words, codes, numbers } => {
                        let code = codes[row] as usize;
                        if numbers[code] == UNNUMBERED {
                            let word = code.checked_sub(1).map_or("", |word| words[word].as_str());
                            numbers[code] = self.names.number(number, word);
                        }
                        numbers[code]
                    }
                    Coded::Clock { source, numbers } => {
                        let local = local(source, at, offsets);
                        *numbers.entry(local).or_insert_with(|| self.names.number(number, &local.to_string()))
                    }
                };
            }
            let partials = &mut found.partials;
            let place = met.row_of(key, &dimensions, row, |key| partials.row_of(key));
            for (slot, known) in slots.iter().zip(partials.row(place)) {
                slot.add(row, known);
            }
            for (values, spread) in spreads.iter().zip(&mut found.spreads) {
                if let Some(value) = values.get(row).filter(|value| !value.is_nan()) {
                    spread.add(key, *value);
                }
            }
            for ((values, bins), histogram) in histograms.iter().zip(&mut found.histograms) {
                if let Some(value) = values.get(row).filter(|value| !value.is_nan()) {
                    histogram.entry(key).or_insert_with(|| vec![0; bins.bounds.len()])[bins.of_value(*value)] += 1;
                }
            }
        }
        check_groups(found.partials.len())
    }
}

/// The number of a word that no row has had yet.
const UNNUMBERED: u32 = u32::MAX;

/// A dimension over the rows of a segment. Only words of rows that count are given a number: how many values a dimension has decides
/// whether it is refused, and those the question leaves out are none of its values.
enum Coded<'a> {
    /// The words, the rows' codes, and the number of each word that was met; the first is that of having none.
    Text { words: &'a [String], codes: &'a [u32], numbers: Vec<u32> },
    /// The number of each local hour or day that was met.
    Clock { source: Source, numbers: HashMap<i64, u32> },
}

impl<'a> Coded<'a> {
    fn of(source: &Source, segment: &'a Segment) -> Self {
        let column = match source {
            Source::Column(column) => segment.columns.get(column),
            _ => None,
        };
        match column {
            Some(Column::Text { words, codes }) => Self::Text { words, codes, numbers: vec![UNNUMBERED; words.len() + 1] },
            // Dimensions of segments that are no texts are of the clock; see `schema`.
            _ => Self::Clock { source: source.clone(), numbers: HashMap::new() },
        }
    }
}

/// The rows of figures that were met in a segment, by the codes of its words: most rows of an hour share their key with another, and
/// finding it by its codes is quicker than by its hash.
struct Met {
    bucket: u32,
    /// Empty where there are too many combinations, or a dimension has no codes.
    rows: Vec<Option<usize>>,
}

impl Met {
    const MOST: usize = 16_384;

    fn of(dimensions: &[Coded<'_>]) -> Self {
        let mut widths = dimensions.iter().map(|coded| match coded {
            Coded::Text { numbers, .. } => Some(numbers.len()),
            Coded::Clock { .. } => None,
        });
        let combinations = widths.try_fold(1_usize, |all, width| all.checked_mul(width?));
        Self { bucket: u32::MAX, rows: vec![None; combinations.filter(|count| *count <= Self::MOST).unwrap_or(0)] }
    }

    fn row_of(&mut self, key: Key, dimensions: &[Coded<'_>], row: usize, find: impl FnOnce(Key) -> usize) -> usize {
        if self.rows.is_empty() {
            return find(key);
        }
        if self.bucket != key.bucket {
            self.bucket = key.bucket;
            self.rows.fill(None);
        }
        let place = dimensions.iter().fold(0, |place, coded| match coded {
            Coded::Text { codes, numbers, .. } => place * numbers.len() + codes[row] as usize,
            Coded::Clock { .. } => place,
        });
        *self.rows[place].get_or_insert_with(|| find(key))
    }
}

fn numbers<'a>(segment: &'a Segment, number: &NumberOf) -> &'a [f64] {
    match number {
        NumberOf::Known(number) => segment.numbers(number.column),
        NumberOf::Extracted(_) => &[],
    }
}
