//! From where each stretch of time is answered: totals of hours, segments of hours, or the rows themselves.
//!
//! Totals and segments say what the rows say, except of the hours that changed since ([`Hours::changed`]); those are read from the
//! rows, so that an answer is the same whichever way it was found.

use std::collections::BTreeSet;

use super::slots::Part;
use super::time::{Buckets, HOUR};

/// With more separate stretches than this the rows are read from end to end.
const MOST_STRETCHES: usize = 2_000;

/// What is known of the hours of a stretch of time.
#[derive(Debug)]
pub(crate) struct Hours {
    /// The stretch: what was asked for, as far as there are conversations. In milliseconds, half-open.
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The hours (since 1970) that changed and were not summed up since.
    pub(crate) changed: BTreeSet<i64>,
}

/// From where a stretch of time is answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Plan {
    /// Hours whose totals are added up, half-open.
    pub(crate) totals: Vec<(i64, i64)>,
    /// Hours whose segments are read, half-open.
    pub(crate) segments: Vec<(i64, i64)>,
    /// Times at which the rows themselves are read, half-open, in milliseconds.
    pub(crate) rows: Vec<(i64, i64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Totals,
    Segments,
    Rows,
}

impl Plan {
    /// Makes the plan for a part of a question.
    pub(crate) fn of(part: &Part, has_segments: bool, may_total: bool, hours: &Hours, buckets: &Buckets) -> Self {
        let only_rows = Self { rows: vec![(hours.from, hours.to)], ..Self::default() };
        if hours.from >= hours.to {
            return Self::default();
        }
        if !has_segments {
            return only_rows;
        }
        let (first, end) = (hours.from.div_euclid(HOUR), (hours.to - 1).div_euclid(HOUR) + 1);
        // Totals of an hour that a bucket or the stretch itself divides say nothing of its parts.
        let mut divided: BTreeSet<i64> = BTreeSet::new();
        let totalled = may_total && part.is_totalled();
        if totalled {
            divided.extend(buckets.divided_hours().filter(|hour| (first..end).contains(hour)));
            for edge in [buckets.from, buckets.to] {
                if edge.rem_euclid(HOUR) != 0 {
                    divided.insert(edge.div_euclid(HOUR));
                }
            }
        }
        let usual = if totalled { From::Totals } else { From::Segments };
        let mut plan = Self::default();
        let mut at = first;
        for special in hours.changed.range(first..end).chain(divided.range(first..end)).copied().collect::<BTreeSet<i64>>() {
            plan.add(usual, at, special, hours);
            plan.add(if hours.changed.contains(&special) { From::Rows } else { From::Segments }, special, special + 1, hours);
            at = special + 1;
        }
        plan.add(usual, at, end, hours);
        if plan.totals.len().max(plan.segments.len()).max(plan.rows.len()) > MOST_STRETCHES { only_rows } else { plan }
    }

    fn add(&mut self, from: From, first: i64, end: i64, hours: &Hours) {
        if first >= end {
            return;
        }
        let (list, stretch) = match from {
            From::Totals => (&mut self.totals, (first, end)),
            From::Segments => (&mut self.segments, (first, end)),
            From::Rows => (&mut self.rows, ((first * HOUR).max(hours.from), (end * HOUR).min(hours.to))),
        };
        match list.last_mut() {
            Some(last) if last.1 == stretch.0 => last.1 = stretch.1,
            _ => list.push(stretch),
        }
    }
}
