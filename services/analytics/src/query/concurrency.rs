//! How many conversations there were at once: `start <= t < end`.

use super::time::Buckets;

/// How many at once, in one bucket.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Concurrency {
    /// At most.
    pub(crate) peak: u64,
    /// On average; `None` for a bucket that lies in the future.
    pub(crate) average: Option<f64>,
}

/// Returns how many of `intervals` there were at once in each bucket; nothing is known of what comes after `now`.
pub(crate) fn sweep(intervals: &[(i64, i64)], buckets: &Buckets, now: i64) -> Vec<Concurrency> {
    let lasting = intervals.iter().filter(|(start, end)| start < end);
    let (mut starts, mut ends): (Vec<i64>, Vec<i64>) = lasting.copied().unzip();
    starts.sort_unstable();
    ends.sort_unstable();
    let (mut started, mut ended) = (0, 0);
    let mut found = Vec::with_capacity(buckets.len());
    for bucket in 0..buckets.len() {
        let (from, to) = buckets.within(bucket);
        let to_known = to.min(now.max(from));
        // Those that ended by the beginning are not in it, those that began by then are.
        started += starts[started..].partition_point(|start| *start <= from);
        ended += ends[ended..].partition_point(|end| *end <= from);
        let mut level = started - ended;
        let (mut peak, mut area, mut at) = (level, 0_i128, from);
        loop {
            let next_start = starts.get(started).copied().filter(|start| *start < to);
            let next_end = ends.get(ended).copied().filter(|end| *end < to);
            let Some(next) = [next_start, next_end].into_iter().flatten().min() else { break };
            area += weighed(level, at, next.min(to_known));
            at = next;
            if next_end == Some(next) {
                ended += 1;
                level -= 1;
            } else {
                started += 1;
                level += 1;
                peak = peak.max(level);
            }
        }
        area += weighed(level, at, to_known);
        let average = (to_known > from).then(|| area as f64 / (to_known - from) as f64);
        found.push(Concurrency { peak: peak as u64, average });
    }
    found
}

fn weighed(level: usize, from: i64, to: i64) -> i128 {
    level as i128 * i128::from((to - from).max(0))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::super::time::Step;
    use super::*;

    fn buckets(minutes: i64) -> Buckets {
        let at = |millis| colloquy_types::Timestamp::from_millis(millis).unwrap();
        Buckets::new(TimeZone::UTC, Some(Step::Minute), at(0), at(minutes * 60_000)).unwrap()
    }

    #[test]
    fn one_that_ends_as_another_begins_is_not_at_once_with_it() {
        let found = sweep(&[(0, 30_000), (30_000, 60_000), (45_000, 75_000), (50_000, 50_000)], &buckets(3), i64::MAX);
        let peaks: Vec<u64> = found.iter().map(|found| found.peak).collect();
        assert_eq!(peaks, [2, 1, 0]);
        assert_eq!(found[0].average, Some(1.25));
        assert_eq!(found[1].average, Some(0.25));
        assert_eq!(found[2].average, Some(0.0));
    }

    #[test]
    fn what_goes_on_is_counted_in_every_bucket_and_the_future_in_none() {
        let found = sweep(&[(-90_000, 150_000)], &buckets(4), 90_000);
        assert_eq!(found.iter().map(|found| found.peak).collect::<Vec<_>>(), [1, 1, 1, 0]);
        assert_eq!(found.iter().map(|found| found.average).collect::<Vec<_>>(), [Some(1.0), Some(1.0), None, None]);
    }

    #[test]
    fn it_agrees_with_counting_each_instant() {
        let mut random = 3_u64;
        let mut next = |bound: i64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from(random >> 33).unwrap() % bound
        };
        let mut interval = || {
            let start = next(200) * 1_000;
            (start, start + next(90) * 1_000)
        };
        let intervals: Vec<(i64, i64)> = (0..60).map(|_| interval()).collect();
        let found = sweep(&intervals, &buckets(4), i64::MAX);
        for (bucket, found) in found.iter().enumerate() {
            let from = i64::try_from(bucket).unwrap() * 60_000;
            let levels: Vec<usize> = (0..60)
                .map(|second| from + second * 1_000)
                .map(|at| intervals.iter().filter(|(start, end)| *start <= at && at < *end).count())
                .collect();
            assert_eq!(found.peak, *levels.iter().max().unwrap() as u64);
            let average = levels.iter().sum::<usize>() as f64 / 60.0;
            assert!((found.average.unwrap() - average).abs() < 1e-9);
        }
    }
}
