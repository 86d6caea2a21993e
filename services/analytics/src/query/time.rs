//! Time in steps: where buckets begin and end in a time zone, with days of 23 and 25 hours.

use colloquy_types::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::{Offset, TimeZone};

/// An answer has at most this many buckets.
pub(crate) const MOST_BUCKETS: usize = 10_000;
/// `auto` takes the finest step that makes at most this many.
const AUTO_BUCKETS: i64 = 200;

/// Milliseconds.
pub(crate) const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * HOUR;

/// From the first day of the year 1, a Monday, to 1970: added to a time, it makes it positive and moves no hour and no weekday.
pub(crate) const SINCE_YEAR_ONE: i64 = 719_162 * DAY + 7 * DAY;

/// How long a bucket is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Sixty seconds.
    Minute,
    /// An hour of the clock on the wall.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday.
    Week,
    /// Of the calendar.
    Month,
    /// Three months, from January.
    Quarter,
    /// Of the calendar.
    Year,
}

/// The steps by name, the finest first, with their usual length.
const STEPS: [(&str, Step, i64); 7] = [
    ("minute", Step::Minute, MINUTE),
    ("hour", Step::Hour, HOUR),
    ("day", Step::Day, DAY),
    ("week", Step::Week, 7 * DAY),
    ("month", Step::Month, 30 * DAY),
    ("quarter", Step::Quarter, 91 * DAY),
    ("year", Step::Year, 365 * DAY),
];

impl Step {
    /// Reads a step for a stretch of time of `length` milliseconds; empty is none.
    pub(crate) fn parse(text: &str, length: i64) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        if text == "auto" {
            let fits = STEPS.into_iter().find(|(_, _, usual)| length / usual < AUTO_BUCKETS);
            return Ok(Some(fits.map_or(Self::Year, |(_, step, _)| step)));
        }
        let found = STEPS.into_iter().find(|(name, ..)| *name == text);
        found.map(|(_, step, _)| Some(step)).ok_or_else(|| {
            "must be minute, hour, day, week, month, quarter, year or auto, or be left out for one bucket".to_owned()
        })
    }

    /// Returns its name.
    pub(crate) fn name(self) -> &'static str {
        STEPS.into_iter().find(|(_, step, _)| *step == self).map_or("", |(name, ..)| name)
    }

    /// Returns the next coarser step's name, for advice.
    fn coarser(self) -> &'static str {
        let at = STEPS.iter().position(|(_, step, _)| *step == self).unwrap_or_default();
        STEPS[(at + 1).min(STEPS.len() - 1)].0
    }
}

/// Finds a time zone; empty is UTC.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    if name.is_empty() || name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    // Nothing longer is a zone; and its name goes into an error message of the library, which knows a zone for unknown ones.
    if name.len() <= 64
        && !name.eq_ignore_ascii_case("Etc/Unknown")
        && let Ok(zone) = TimeZone::get(name)
    {
        return Ok(zone);
    }
    Err("there is no such time zone; use an IANA name such as Europe/Berlin, or UTC".to_owned())
}

/// A half-open stretch of time, divided into buckets.
#[derive(Clone, Debug)]
pub(crate) struct Buckets {
    /// The zone whose clock and calendar count.
    pub(crate) zone: TimeZone,
    /// How it is divided; one bucket without.
    pub(crate) step: Option<Step>,
    /// Inclusive, in milliseconds.
    pub(crate) from: i64,
    /// Exclusive.
    pub(crate) to: i64,
    /// Where each bucket begins by clock and calendar: the first at or before `from`, and at the end where the last one ends, at or
    /// after `to`. Without steps `from` and `to`.
    edges: Vec<i64>,
}

/// Buckets of the same length, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// Where the first begins.
    pub(crate) start: i64,
    /// How long each is.
    pub(crate) width: i64,
    /// The number of the first.
    pub(crate) first: usize,
}

impl Buckets {
    /// Divides `[from, to)`; `from` lies before `to`.
    ///
    /// # Errors
    /// When there would be more than [`MOST_BUCKETS`], with advice.
    pub(crate) fn new(zone: TimeZone, step: Option<Step>, from: Timestamp, to: Timestamp) -> Result<Self, String> {
        let (from, to) = (from.as_millis(), to.as_millis());
        let edges = match step {
            None => vec![from, to],
            Some(step) => {
                let walk = Walk { zone: &zone, step };
                let mut edges = vec![walk.start_of(from)];
                while let Some(last) = edges.last().copied().filter(|last| *last < to) {
                    if edges.len() > MOST_BUCKETS {
                        return Err(format!(
                            "more than {MOST_BUCKETS} buckets; take a coarser step such as {}, or less time",
                            step.coarser()
                        ));
                    }
                    edges.push(walk.after(last));
                }
                edges
            }
        };
        Ok(Self { zone, step, from, to, edges })
    }

    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.edges.len() - 1
    }

    /// Returns which one an instant of the stretch is in.
    pub(crate) fn bucket_of(&self, at: i64) -> usize {
        self.edges.partition_point(|edge| *edge <= at).saturating_sub(1).min(self.len() - 1)
    }

    /// Returns a bucket as far as it lies within the stretch.
    pub(crate) fn within(&self, bucket: usize) -> (i64, i64) {
        (self.edges[bucket].max(self.from), self.edges[bucket + 1].min(self.to))
    }

    /// Returns what a bucket is called: its beginning by clock and calendar, with the zone's offset; empty without steps.
    pub(crate) fn label(&self, bucket: usize) -> String {
        if self.step.is_none() {
            return String::new();
        }
        let at = instant(self.edges[bucket]);
        at.display_with_offset(self.zone.to_offset(at)).to_string()
    }

    /// Returns the buckets that touch `[from, to)`, as runs of equal length; the first edge may lie before `from`.
    pub(crate) fn runs(&self, from: i64, to: i64) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for bucket in self.bucket_of(from)..=self.bucket_of(to - 1) {
            let (start, width) = (self.edges[bucket], self.edges[bucket + 1] - self.edges[bucket]);
            if runs.last().is_none_or(|last| last.width != width) {
                runs.push(Run { start, width, first: bucket });
            }
        }
        runs
    }

    /// Returns the hours since 1970 (UTC) that an edge divides, in order.
    pub(crate) fn divided_hours(&self) -> impl Iterator<Item = i64> {
        self.edges.iter().filter(|edge| edge.rem_euclid(HOUR) != 0).map(|edge| edge.div_euclid(HOUR))
    }

    /// Returns from when on the zone has which offset, within `[from, to)`; the first begins at `from`. Over thousands of years there
    /// are tens of thousands: take no more than are needed.
    pub(crate) fn offsets(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, i64)> {
        let changes = self.zone.following(instant(from)).map(|change| (since_epoch(change.timestamp()), millis(change.offset())));
        std::iter::once((from, offset_at(&self.zone, from))).chain(changes.take_while(move |(at, _)| *at < to))
    }
}

/// Returns the instant; ours all lie in what the library can say.
pub(crate) fn instant(millis: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX })
}

fn since_epoch(instant: jiff::Timestamp) -> i64 {
    instant.as_millisecond()
}

fn millis(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * 1000
}

/// Returns by how much a zone's clock is ahead of UTC.
fn offset_at(zone: &TimeZone, at: i64) -> i64 {
    millis(zone.to_offset(instant(at)))
}

/// Finds where buckets begin.
struct Walk<'a> {
    zone: &'a TimeZone,
    step: Step,
}

impl Walk<'_> {
    /// Returns where the bucket begins that `at` is in.
    fn start_of(&self, at: i64) -> i64 {
        if let Some(width) = self.clock() {
            return self.tick(at, width);
        }
        let start = self.midnight(self.first_day(self.date(at)));
        // Midnight may come twice, and `at` be before the second.
        if start <= at { start } else { self.midnight(self.back(self.first_day(self.date(at)))) }
    }

    /// Returns where the bucket after the one that begins at `start` begins.
    fn after(&self, start: i64) -> i64 {
        if let Some(width) = self.clock() {
            return self.next_tick(start, width);
        }
        let mut day = self.first_day(self.date(start));
        // A zone that moved across the date line has days that never were.
        for _ in 0..4 {
            day = self.forth(day);
            let next = self.midnight(day);
            if next > start {
                return next;
            }
        }
        start + DAY
    }

    /// Returns how long a step of the clock is; steps of the calendar have no one length.
    const fn clock(&self) -> Option<i64> {
        match self.step {
            Step::Minute => Some(MINUTE),
            Step::Hour => Some(HOUR),
            _ => None,
        }
    }

    /// Returns the last full hour or minute by the clock on the wall, or when that was changed since: where it goes back by half an
    /// hour, the same hour begins again.
    fn tick(&self, at: i64, width: i64) -> i64 {
        let offset = offset_at(self.zone, at);
        let full = (at + offset).div_euclid(width) * width - offset;
        let changes = self.zone.preceding(instant(at + 1)).map(|change| since_epoch(change.timestamp()));
        changes.take_while(|change| *change > full).find(|change| self.is_changed(*change)).unwrap_or(full)
    }

    /// Returns the next full hour or minute by the clock on the wall, or when that is changed before.
    fn next_tick(&self, start: i64, width: i64) -> i64 {
        let offset = offset_at(self.zone, start);
        let full = ((start + offset).div_euclid(width) + 1) * width - offset;
        let changes = self.zone.following(instant(start)).map(|change| since_epoch(change.timestamp()));
        changes.take_while(|change| *change < full).find(|change| self.is_changed(*change)).unwrap_or(full)
    }

    /// Returns whether the clock shows another time from an instant on; a zone may also only be called otherwise.
    fn is_changed(&self, at: i64) -> bool {
        offset_at(self.zone, at - 1) != offset_at(self.zone, at)
    }

    fn date(&self, at: i64) -> Date {
        self.zone.to_datetime(instant(at)).date()
    }

    /// Returns the first instant of a day: where midnight is left out, what comes instead of it.
    fn midnight(&self, day: Date) -> i64 {
        let zoned = day.to_zoned(self.zone.clone());
        zoned.map_or(Timestamp::MAX.as_millis() + DAY, |zoned| zoned.timestamp().as_millisecond())
    }

    fn first_day(&self, day: Date) -> Date {
        match self.step {
            Step::Week => saturating_days(day, -i64::from(day.weekday().since(Weekday::Monday))),
            Step::Month => day.first_of_month(),
            Step::Quarter => month(day, (day.month() - 1) / 3 * 3 + 1),
            Step::Year => day.first_of_year(),
            _ => day,
        }
    }

    fn forth(&self, day: Date) -> Date {
        match self.step {
            Step::Week => saturating_days(day, 7),
            Step::Month => saturating_months(day, 1),
            Step::Quarter => saturating_months(day, 3),
            Step::Year => saturating_months(day, 12),
            _ => saturating_days(day, 1),
        }
    }

    fn back(&self, day: Date) -> Date {
        match self.step {
            Step::Week => saturating_days(day, -7),
            Step::Month => saturating_months(day, -1),
            Step::Quarter => saturating_months(day, -3),
            Step::Year => saturating_months(day, -12),
            _ => saturating_days(day, -1),
        }
    }
}

fn month(day: Date, month: i8) -> Date {
    Date::new(day.year(), month, 1).unwrap_or(day)
}

fn saturating_days(day: Date, days: i64) -> Date {
    day.saturating_add(jiff::Span::new().days(days))
}

fn saturating_months(day: Date, months: i64) -> Date {
    day.saturating_add(jiff::Span::new().months(months))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(zone_name: &str, step: &str, from: &str, to: &str) -> Buckets {
        let (from, to): (Timestamp, Timestamp) = (from.parse().unwrap(), to.parse().unwrap());
        let step = Step::parse(step, to.millis_since(from)).unwrap();
        Buckets::new(zone(zone_name).unwrap(), step, from, to).unwrap()
    }

    fn labels(buckets: &Buckets) -> Vec<String> {
        (0..buckets.len()).map(|bucket| buckets.label(bucket)).collect()
    }

    fn hours(buckets: &Buckets) -> Vec<i64> {
        buckets.edges.windows(2).map(|pair| (pair[1] - pair[0]) / HOUR).collect()
    }

    #[test]
    fn a_day_in_spring_has_23_hours_and_one_in_autumn_25() {
        let spring = buckets("Europe/Berlin", "day", "2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z");
        assert_eq!(labels(&spring), ["2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"]);
        assert_eq!(hours(&spring), [24, 23, 24]);
        let autumn = buckets("Europe/Berlin", "day", "2026-10-24T00:00:00+02:00", "2026-10-27T00:00:00+01:00");
        assert_eq!(hours(&autumn), [24, 25, 24]);
        let hourly = buckets("Europe/Berlin", "hour", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00");
        assert_eq!(hourly.len(), 25);
        assert_eq!(labels(&hourly)[2..4], ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]);
    }

    #[test]
    fn hours_and_days_begin_where_the_clock_on_the_wall_says() {
        let kolkata = buckets("Asia/Kolkata", "hour", "2026-01-01T00:00:00Z", "2026-01-01T02:00:00Z");
        assert_eq!(labels(&kolkata), ["2026-01-01T05:00:00+05:30", "2026-01-01T06:00:00+05:30", "2026-01-01T07:00:00+05:30"]);
        let st_johns = buckets("America/St_Johns", "day", "2026-03-08T03:30:00Z", "2026-03-09T02:30:00Z");
        assert_eq!(labels(&st_johns), ["2026-03-08T00:00:00-03:30"]);
        assert_eq!(hours(&st_johns), [23]);
        assert_eq!(st_johns.divided_hours().count(), 2);
        let utc = buckets("", "day", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
        assert_eq!(labels(&utc), ["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"]);
        assert_eq!(utc.divided_hours().count(), 0);
    }

    #[test]
    fn weeks_begin_on_monday_and_quarters_in_january() {
        let weeks = buckets("Europe/Berlin", "week", "2026-03-25T12:00:00Z", "2026-04-06T00:00:00Z");
        assert_eq!(labels(&weeks), ["2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00", "2026-04-06T00:00:00+02:00"]);
        assert_eq!(weeks.within(0).0, weeks.from);
        let quarters = buckets("UTC", "quarter", "2025-12-31T23:59:59Z", "2026-04-01T00:00:00Z");
        assert_eq!(labels(&quarters), ["2025-10-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"]);
        let years = buckets("UTC", "year", "2024-02-01T00:00:00Z", "2026-02-01T00:00:00Z");
        assert_eq!(years.len(), 3);
    }

    #[test]
    fn a_midnight_that_is_left_out_and_a_day_that_never_was_are_no_trouble() {
        let cairo = buckets("Africa/Cairo", "day", "2024-04-25T00:00:00+02:00", "2024-04-28T00:00:00+03:00");
        assert_eq!(hours(&cairo), [24, 23, 24]);
        let apia = buckets("Pacific/Apia", "day", "2011-12-29T00:00:00-10:00", "2012-01-01T00:00:00+14:00");
        assert_eq!(hours(&apia), [24, 24]);
        let havana = buckets("America/Havana", "day", "2025-11-02T00:30:00-05:00", "2025-11-03T00:00:00-05:00");
        assert_eq!(hours(&havana), [25], "midnight came twice");
    }

    #[test]
    fn an_hour_begins_again_where_the_clock_goes_back_by_half_of_one() {
        let (from, to) = ("2025-04-05T14:10:00Z", "2025-04-05T16:00:00Z");
        let back = buckets("Australia/Lord_Howe", "hour", from, to);
        assert_eq!(labels(&back), ["2025-04-06T01:00:00+11:00", "2025-04-06T01:30:00+10:30", "2025-04-06T02:00:00+10:30"]);
        for inside in ["2025-04-05T15:00:00Z", "2025-04-05T15:10:00Z"] {
            let first = buckets("Australia/Lord_Howe", "hour", inside, to).edges[0];
            assert_eq!(instant(first).to_string(), "2025-04-05T15:00:00Z");
        }
        let ahead = buckets("Australia/Lord_Howe", "hour", "2025-10-04T14:30:00Z", "2025-10-04T17:00:00Z");
        assert_eq!(labels(&ahead), ["2025-10-05T01:00:00+10:30", "2025-10-05T02:30:00+11:00", "2025-10-05T03:00:00+11:00"]);
        let minutes = buckets("Australia/Lord_Howe", "minute", from, to);
        assert_eq!(minutes.len(), 110);
        assert!(minutes.edges.windows(2).all(|pair| pair[1] - pair[0] == MINUTE));
        let days = buckets("Australia/Lord_Howe", "day", "2025-04-04T13:00:00Z", "2025-04-06T13:30:00Z");
        assert_eq!(labels(&days), ["2025-04-05T00:00:00+11:00", "2025-04-06T00:00:00+11:00"]);
        assert_eq!(days.edges[2] - days.edges[1], 24 * HOUR + HOUR / 2);
        // A minute past midnight, to a minute past one.
        let goose_bay = buckets("America/Goose_Bay", "hour", "2010-03-14T03:00:00Z", "2010-03-14T06:00:00Z");
        let labels = labels(&goose_bay);
        assert_eq!(
            labels,
            ["2010-03-13T23:00:00-04:00", "2010-03-14T00:00:00-04:00", "2010-03-14T01:01:00-03:00", "2010-03-14T02:00:00-03:00"]
        );
    }

    #[test]
    fn auto_makes_neither_few_nor_many() {
        for (days, name) in [(1, "hour"), (7, "hour"), (30, "day"), (365, "week"), (3_650, "month")] {
            assert_eq!(Step::parse("auto", days * DAY).unwrap().unwrap().name(), name, "{days}");
        }
        assert_eq!(Step::parse("auto", 3 * HOUR).unwrap(), Some(Step::Minute));
    }

    #[test]
    fn a_million_buckets_are_refused_with_advice() {
        let (from, to) = ("2020-01-01T00:00:00Z".parse().unwrap(), "2026-01-01T00:00:00Z".parse().unwrap());
        let error = Buckets::new(TimeZone::UTC, Some(Step::Minute), from, to).unwrap_err();
        assert!(error.contains("10000 buckets") && error.contains("hour"), "{error}");
        let everything = Buckets::new(TimeZone::UTC, Some(Step::Year), Timestamp::MIN, Timestamp::MAX).unwrap();
        assert_eq!(everything.len(), 9_999);
    }

    #[test]
    fn zones_that_do_not_exist_are_refused() {
        for name in ["Mars/Olympus", "Etc/Unknown", "../../etc/passwd", "\0", &"a".repeat(10_000)] {
            assert!(zone(name).is_err());
        }
        assert!(zone("America/Argentina/ComodRivadavia").is_ok());
    }

    #[test]
    fn every_instant_lies_in_one_bucket_whatever_the_zone_and_step() {
        let mut random = 7_u64;
        for zone_name in ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"] {
            for step in ["hour", "day", "week", "month", "quarter", "year"] {
                let all = buckets(zone_name, step, "2025-02-03T04:05:06Z", "2026-03-04T05:06:07Z");
                let runs = all.runs(all.from, all.to);
                assert!(all.edges.windows(2).all(|pair| pair[0] < pair[1]), "{zone_name} {step}");
                assert!(all.edges[0] <= all.from && all.edges[all.len()] >= all.to);
                for _ in 0..200 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = all.from + i64::try_from(random >> 1).unwrap() % (all.to - all.from);
                    let bucket = all.bucket_of(at);
                    assert!(all.within(bucket).0 <= at && at < all.within(bucket).1);
                    let run = runs[runs.partition_point(|run| run.start <= at) - 1];
                    let by_run = run.first + usize::try_from((at - run.start) / run.width).unwrap();
                    assert_eq!(by_run, bucket, "{zone_name} {step}");
                }
            }
        }
    }
}
