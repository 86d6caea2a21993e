//! How values are spread.

/// How values are spread; percentiles by nearest rank: the least value that so many are not above.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Distribution {
    /// How many there are.
    pub n: u32,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// 95 of a hundred are at most this.
    pub p95: f64,
    /// 99 of a hundred are at most this.
    pub p99: f64,
}

impl Distribution {
    /// Returns how values are spread; `None` of none. What is not a finite number is no value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let n = sorted.len();
        // Each part is divided before it is added, so that no sum of finite values is infinite.
        let mean = sorted.iter().map(|value| value / n as f64).sum::<f64>().clamp(min, max);
        let at = |percent: usize| sorted[(n * percent).div_ceil(100).clamp(1, n) - 1];
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        Some(Self { n, min, max, mean, p50: at(50), p90: at(90), p95: at(95), p99: at(99) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen_by_nearest_rank() {
        let five = Distribution::of([15.0, 20.0, 35.0, 40.0, 50.0]).unwrap();
        assert_eq!((five.n, five.min, five.max, five.mean), (5, 15.0, 50.0, 32.0));
        assert_eq!((five.p50, five.p90, five.p95, five.p99), (35.0, 50.0, 50.0, 50.0));
        let hundred = Distribution::of((1..=100).rev().map(f64::from)).unwrap();
        assert_eq!((hundred.p50, hundred.p90, hundred.p95, hundred.p99), (50.0, 90.0, 95.0, 99.0));
        let two = Distribution::of([7.0, 3.0]).unwrap();
        assert_eq!((two.p50, two.p90), (3.0, 7.0));
    }

    #[test]
    fn of_nothing_there_is_no_distribution_and_what_is_no_number_is_nothing() {
        assert_eq!(Distribution::of([]), None);
        assert_eq!(Distribution::of([f64::NAN, f64::INFINITY]), None);
        assert_eq!(Distribution::of([f64::NAN, 2.0]).unwrap().n, 1);
    }

    proptest! {
        #[test]
        fn percentiles_ascend_between_the_least_and_the_greatest(values in prop::collection::vec(any::<f64>(), 0..50)) {
            if let Some(spread) = Distribution::of(values) {
                let steps = [spread.min, spread.p50, spread.p90, spread.p95, spread.p99, spread.max];
                prop_assert!(steps.is_sorted(), "{spread:?}");
                prop_assert!(spread.mean.is_finite() && (spread.min..=spread.max).contains(&spread.mean));
            }
        }
    }
}
