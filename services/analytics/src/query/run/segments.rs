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

impl<E: Dialect> Run<'_, E> {
    pub(super) async fn read_segments(
        &mut self,
        part: &Part,
        columns: &[&'static str],
        (first, end): (i64, i64),
        (from, to): (i64, i64),
        found: &mut Found,
    ) -> Result<(), Error> {
        let named: String = columns.iter().map(|column| format!(", {column}")).collect();
        let sql = format!(
            "select hour, n, created_at{named} from rollup_segments where organization_id = $1 and hour >= $2 and hour < $3"
        );
        let values = [Given::Text(self.organization.as_str()), Given::Int(first), Given::Int(end)];
        let offsets = self.question.buckets.offsets(from, to);
        for row in &E::query(self.connection, &sql, &values, None).await? {
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
        Ok(())
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
        let mut dimensions: Vec<Coded<'_>> = (question.dimensions.iter().enumerate())
            .map(|(number, dimension)| self.coded(number, &dimension.source, segment))
            .collect();
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
                    Coded::Text { codes, numbers } => numbers[codes[row] as usize],
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

    fn coded<'s>(&mut self, number: usize, source: &Source, segment: &'s Segment) -> Coded<'s> {
        let column = match source {
            Source::Column(column) => segment.columns.get(column),
            source => return Coded::Clock { source: source.clone(), numbers: HashMap::new() },
        };
        match column {
            Some(Column::Text { words, codes }) => {
                let mut numbers = vec![u32::MAX; words.len() + 1];
                // Only what is there is given a number: how many values a dimension has decides whether it is refused.
                for code in codes {
                    let code = *code as usize;
                    if numbers[code] == u32::MAX {
                        let word = code.checked_sub(1).map_or("", |word| words[word].as_str());
                        numbers[code] = self.names.number(number, word);
                    }
                }
                Coded::Text { codes, numbers }
            }
            // Dimensions of segments are texts; see `schema`.
            _ => Coded::Clock { source: source.clone(), numbers: HashMap::new() },
        }
    }
}

/// A dimension over the rows of a segment.
enum Coded<'a> {
    /// The rows' codes, and the number of each word.
    Text { codes: &'a [u32], numbers: Vec<u32> },
    /// The number of each local hour or day that was met.
    Clock { source: Source, numbers: HashMap<i64, u32> },
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
            Coded::Text { codes, numbers } => place * numbers.len() + codes[row] as usize,
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
