//! How values are spread: percentiles by nearest rank, exact while the values are few, and else from a sketch.
//!
//! The sketch is a DDSketch: counts in bins whose bounds grow geometrically, so that a bin's middle is off by at most
//! [`RELATIVE_ERROR`] of the value. Bins of different parts add up, and a database can count them by itself. Nearer to zero than all
//! bins, and beyond them, there is one each way for all values; of a percentile that falls there only this much is known, and said.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::LazyLock;

use super::table::Key;

/// A question's values are sorted while they are at most so many.
pub(crate) const MOST_EXACT: u64 = if cfg!(test) { 1_000 } else { 100_000 };
/// By how much a percentile of a sketch may be off, as a part of its value, while that lies between [`LEAST`] and [`GREATEST`].
pub(crate) const RELATIVE_ERROR: f64 = 0.01;

/// By how much it may be off outside.
const ERROR_OUTSIDE: f64 = 1.0;

const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);
/// Nearer to zero values are not told from each other,
const LEAST: f64 = 1e-6;
/// and neither are those from here on.
const GREATEST: f64 = 1e15;

/// The bounds of the bins of positive values.
static BOUNDS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let mut bounds = vec![LEAST];
    while let Some(last) = bounds.last().copied().filter(|last| *last < GREATEST) {
        bounds.push(last * GAMMA);
    }
    bounds
});

/// Returns the number of the bin that a value falls into: 0 for zero, 1 for what lies nearer to it than all bounds, and negative for
/// negative ones.
pub(crate) fn bin_of(value: f64) -> i64 {
    if value == 0.0 {
        return 0;
    }
    let bin = i64::try_from(BOUNDS.partition_point(|bound| *bound <= value.abs()) + 1).unwrap_or(i64::MAX);
    if value < 0.0 { -bin } else { bin }
}

/// Returns what a value of a bin is taken for, and by how much of itself it may be off: the middle; nearer to zero than all bounds it
/// is zero, and beyond the last one that.
fn middle_of(bin: i64) -> (f64, f64) {
    let sign = if bin < 0 { -1.0 } else { 1.0 };
    let bin = usize::try_from(bin.unsigned_abs()).unwrap_or(usize::MAX);
    match bin.checked_sub(2).map(|place| (BOUNDS.get(place), BOUNDS.get(place + 1))) {
        None if bin == 0 => (0.0, 0.0),
        None => (0.0, ERROR_OUTSIDE),
        Some((Some(bound), Some(_))) => (sign * bound * 2.0 * GAMMA / (1.0 + GAMMA), RELATIVE_ERROR),
        Some((bound, _)) => (sign * bound.copied().unwrap_or(GREATEST), ERROR_OUTSIDE),
    }
}

/// The bin of the column `s.x` in words of SQL: the same as [`bin_of`] says. Values that are looked up among a thousand bounds in ten
/// comparisons, since SQLite knows no logarithms.
pub(crate) static BIN_SQL: LazyLock<String> = LazyLock::new(|| {
    let mut sql = String::from("case when s.x = 0 then cast(0 as bigint) when s.x < 0 then -(");
    search(&mut sql, "-s.x", 0, BOUNDS.len());
    sql.push_str(") else (");
    search(&mut sql, "s.x", 0, BOUNDS.len());
    sql.push_str(") end");
    sql
});

/// Writes the bin of a value that lies above `low` of the bounds and below all from `high` on.
fn search(sql: &mut String, value: &str, low: usize, high: usize) {
    if low == high {
        // Writing to a string cannot fail.
        let _ = write!(sql, "cast({} as bigint)", low + 1);
        return;
    }
    let middle = usize::midpoint(low, high);
    let _ = write!(sql, "case when {value} < cast('{:e}' as double precision) then ", BOUNDS[middle]);
    search(sql, value, low, middle);
    sql.push_str(" else ");
    search(sql, value, middle + 1, high);
    sql.push_str(" end");
}

/// Returns the value of which `percent` of a hundred are at most; `values` are sorted.
pub(crate) fn nearest_rank(values: &[f64], percent: u8) -> Option<f64> {
    values.get(rank(values.len() as u64, percent)?).copied()
}

/// Returns the place of a percentile among `n` sorted values.
fn rank(n: u64, percent: u8) -> Option<usize> {
    let rank = (n * u64::from(percent)).div_ceil(100).max(1);
    usize::try_from(rank - 1).ok().filter(|_| n > 0)
}

/// The values of each key.
#[derive(Debug, Default)]
pub(crate) struct Spreads {
    exact: HashMap<Key, Vec<f64>>,
    sketches: HashMap<Key, BTreeMap<i64, u64>>,
    total: u64,
    is_sketched: bool,
    /// By how much the percentiles that were asked for may be off.
    error: f64,
}

impl Spreads {
    /// Adds a value.
    pub(crate) fn add(&mut self, key: Key, value: f64) {
        if self.is_sketched {
            self.add_bin(key, bin_of(value), 1);
            return;
        }
        self.total += 1;
        self.exact.entry(key).or_default().push(value);
        if self.total > MOST_EXACT {
            self.sketch();
        }
    }

    /// Adds so many values of a bin.
    pub(crate) fn add_bin(&mut self, key: Key, bin: i64, count: u64) {
        self.sketch();
        *self.sketches.entry(key).or_default().entry(bin).or_default() += count;
    }

    /// Returns whether so many more values could still be sorted.
    pub(crate) const fn has_room_for(&self, more: u64) -> bool {
        !self.is_sketched && self.total + more <= MOST_EXACT
    }

    fn sketch(&mut self) {
        self.is_sketched = true;
        self.error = RELATIVE_ERROR;
        for (key, values) in self.exact.drain() {
            let sketch = self.sketches.entry(key).or_default();
            for value in values {
                *sketch.entry(bin_of(value)).or_default() += 1;
            }
        }
    }

    /// Ends the collection.
    pub(crate) fn finish(mut self) -> Self {
        for values in self.exact.values_mut() {
            values.sort_unstable_by(f64::total_cmp);
        }
        self
    }

    /// Returns by how much the percentiles that were asked for may be off, as a part of their values.
    pub(crate) const fn relative_error(&self) -> f64 {
        self.error
    }

    /// Returns a percentile of a key's values, which lie between `min` and `max`.
    pub(crate) fn percentile(&mut self, key: Key, percent: u8, min: f64, max: f64) -> Option<f64> {
        if !self.is_sketched {
            return nearest_rank(self.exact.get(&key)?, percent);
        }
        let bins = self.sketches.get(&key)?;
        let mut left = rank(bins.values().sum(), percent)? as u64;
        for (bin, count) in bins {
            if left < *count {
                let (middle, error) = middle_of(*bin);
                // Where all are the same, it is that.
                self.error = if min < max { self.error.max(error) } else { self.error };
                return Some(middle.clamp(min, max));
            }
            left -= count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        let of = |percent| nearest_rank(&ten, percent);
        assert_eq!([of(50), of(75), of(90), of(95), of(99)], [Some(5.0), Some(8.0), Some(9.0), Some(10.0), Some(10.0)]);
        assert_eq!(nearest_rank(&[7.0], 50), Some(7.0));
        assert_eq!(nearest_rank(&[], 50), None);
    }

    #[test]
    fn a_sketch_is_off_by_no_more_than_it_says() {
        let mut spreads = Spreads::default();
        let mut values = Vec::new();
        let mut random = 42_u64;
        for number in 0..=MOST_EXACT {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = (random >> 40) as f64 / if number % 3 == 0 { -1e4 } else { 7.0 };
            values.push(value);
            spreads.add(Key::default(), value);
        }
        values.sort_unstable_by(f64::total_cmp);
        let mut spreads = spreads.finish();
        for percent in [50, 75, 90, 95, 99] {
            let wanted = nearest_rank(&values, percent).unwrap();
            let found = spreads.percentile(Key::default(), percent, values[0], values[values.len() - 1]).unwrap();
            assert!((found - wanted).abs() <= RELATIVE_ERROR * 1.0001 * wanted.abs(), "p{percent}: {found} for {wanted}");
        }
        assert_eq!(spreads.relative_error(), RELATIVE_ERROR);
    }

    #[test]
    fn each_value_lies_near_the_middle_of_its_bin() {
        for value in [1e-6, 0.5, 1.0, 3.25, 1234.5, 9.9e14, -0.7, -4e6] {
            let (middle, error) = middle_of(bin_of(value));
            assert!(error == RELATIVE_ERROR && (middle - value).abs() <= error * 1.0001 * value.abs(), "{value}: {middle}");
        }
        assert_eq!([bin_of(0.0), bin_of(-0.0)].map(middle_of), [(0.0, 0.0); 2]);
    }

    #[test]
    fn what_lies_outside_all_bins_is_off_by_as_much_as_is_said() {
        for (values, wanted) in [([3e-9, 5e-9], 0.0), ([-4e-9, 4e-9], 0.0), ([2e16, 7e18], 2e16), ([-7e18, -2e16], -2e16)] {
            let mut spreads = Spreads::default();
            let key = Key::default();
            for value in values {
                spreads.add_bin(key, bin_of(value), 5);
            }
            assert_eq!(spreads.relative_error(), RELATIVE_ERROR, "nothing was asked yet");
            let found = spreads.percentile(key, 99, values[0], values[1]).unwrap();
            assert!((found - wanted).abs() <= spreads.relative_error() * values[1].abs(), "{values:?}: {found}");
            assert_eq!(spreads.relative_error(), 1.0, "{values:?}");
        }
        let mut same = Spreads::default();
        same.add_bin(Key::default(), bin_of(3e-9), 5);
        assert_eq!((same.percentile(Key::default(), 50, 3e-9, 3e-9), same.relative_error()), (Some(3e-9), RELATIVE_ERROR));
    }
}
