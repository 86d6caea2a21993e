//! The way back from a figure to its conversations: the query string of `GET /v1/conversations` that lists them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use colloquy_filter::{Expression, Field, Op, Value, View, fields, parse, to_text};
use colloquy_proto::conversation::v1 as pb;
use colloquy_types::Timestamp;

use super::question::began_within;
use super::schema::{Dimension, Source};
use super::time::{Buckets, HOUR, SINCE_YEAR_ONE};

const DAY: i64 = 24 * HOUR;
/// Hours of the day and days of the week are listed as stretches of time, at most this many: a month of days.
const MOST_STRETCHES: usize = 31;

/// How the list is narrowed to what a question looks at.
pub(crate) struct Link<'a> {
    /// The question's filter as it was asked.
    filter: Option<&'a pb::ConversationFilter>,
    /// The same, read.
    read: &'a Expression,
    /// Whether the list can be filtered so.
    is_listed: bool,
}

impl<'a> Link<'a> {
    /// Returns the link of a question with this filter.
    pub(crate) fn of(filter: Option<&'a pb::ConversationFilter>, read: &'a Expression) -> Self {
        Self { filter, read, is_listed: is_listed(read) }
    }

    /// Returns the query string for a bucket and values of dimensions. It is empty where the list cannot be narrowed to them: by
    /// figures that only analytics has, by more stretches of time than a filter should name, by a text too long for filters.
    pub(crate) fn query(
        &self,
        buckets: &Buckets,
        bucket: usize,
        dimensions: &[Dimension],
        values: &BTreeMap<String, String>,
    ) -> String {
        if !self.is_listed {
            return String::new();
        }
        let value_of = |dimension: &Dimension| values.get(&dimension.name).map_or("", String::as_str);
        let (from, to) = buckets.within(bucket);
        let (from, to) = began_within(self.read, from, to);
        let clock: Vec<(&Source, i64)> = dimensions
            .iter()
            .filter(|dimension| matches!(dimension.source, Source::HourOfDay | Source::DayOfWeek))
            .map(|dimension| (&dimension.source, value_of(dimension).parse().unwrap_or(-1)))
            .collect();
        let Some(stretches) = stretches(buckets, from, to, &clock) else { return String::new() };
        let (Some((from, _)), Some((_, to))) = (stretches.first(), stretches.last()) else { return String::new() };
        let mut query = Query::default();
        query.add("started_after", &time(*from));
        query.add("started_before", &time(*to));
        let mut conditions = Vec::new();
        if let Some(filter) = self.filter {
            query.add_filter(filter);
            match statuses(filter).as_slice() {
                [] => {}
                [one] => query.add("status", one),
                several => {
                    let several = several.iter().map(|status| is(Field::Known("status"), status)).collect();
                    conditions.push(format!("({})", to_text(&Expression::Any(several))));
                }
            }
            if !filter.expression.trim().is_empty() {
                conditions.push(format!("({})", filter.expression.trim()));
            }
        }
        for dimension in dimensions {
            let value = value_of(dimension);
            match condition(dimension, value) {
                Some(condition) => match parameter(dimension).filter(|_| !value.is_empty() && !query.has(&dimension.name)) {
                    Some(name) => query.add(name, value),
                    None if matches!(condition, Expression::Any(_)) => conditions.push(format!("({})", to_text(&condition))),
                    None => conditions.push(to_text(&condition)),
                },
                None if matches!(dimension.source, Source::HourOfDay | Source::DayOfWeek) => {}
                None => return String::new(),
            }
        }
        if stretches.len() > 1 {
            conditions.push(format!("({})", to_text(&Expression::Any(stretches.into_iter().map(lies_within).collect()))));
        }
        if !conditions.is_empty() {
            let filter = conditions.join(" AND ");
            // Together they may be more than a filter holds.
            if parse(&filter, View::Conversations).is_err() {
                return String::new();
            }
            query.add("filter", &filter);
        }
        query.text
    }
}

fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn time(millis: i64) -> String {
    instant(millis).to_string()
}

fn is_listed(expression: &Expression) -> bool {
    match expression {
        Expression::All(parts) | Expression::Any(parts) => parts.iter().all(is_listed),
        Expression::Not(part) => is_listed(part),
        Expression::Present(field) | Expression::Compare { field, .. } => is_listed_field(field),
    }
}

fn is_listed_field(field: &Field) -> bool {
    fields::spec(field).is_some_and(|spec| spec.is_in(View::Conversations))
}

/// Returns the parameter of the list that a dimension has of its own.
fn parameter(dimension: &Dimension) -> Option<&'static str> {
    const PARAMETERS: [&str; 11] = [
        "agent_id",
        "client_id",
        "provider",
        "channel",
        "status",
        "call_successful",
        "resolution_status",
        "outcome",
        "sentiment",
        "language",
        "topic",
    ];
    PARAMETERS.into_iter().find(|name| *name == dimension.name)
}

/// Returns that a dimension has a value (empty: has none); `None` where the list knows no such field.
fn condition(dimension: &Dimension, value: &str) -> Option<Expression> {
    let field = match &dimension.source {
        Source::Column(_) | Source::Words(_) => fields::find(&dimension.name, View::Conversations).ok()?.0,
        Source::Extracted(name) => Field::Custom(name.clone()),
        Source::HourOfDay | Source::DayOfWeek => return None,
    };
    Some(match value {
        "" => Expression::Not(Box::new(Expression::Present(field))),
        // Texts and numbers that are written alike are one value.
        value => match number(value).filter(|_| matches!(field, Field::Custom(_))) {
            Some(number) => {
                let is_number = Expression::Compare { field: field.clone(), op: Op::Eq, value: Value::Number(number) };
                Expression::Any(vec![is(field, value), is_number])
            }
            None => is(field, value),
        },
    })
}

/// Returns the number that analytics writes so.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && number.to_string() == text)
}

/// Returns the parts of `[from, to)` in which the hour of the day and the day of the week are these by the zone's clock; all of it
/// where neither is asked for, `None` where they are too many. It looks no further than that: of ten thousand years and one of their
/// hours it sees the first weeks, whatever becomes of the clock later.
fn stretches(buckets: &Buckets, from: i64, to: i64, clock: &[(&Source, i64)]) -> Option<Vec<(i64, i64)>> {
    if clock.is_empty() {
        return Some(vec![(from, to)]);
    }
    if from >= to {
        return Some(Vec::new());
    }
    let wanted = |of: Source| clock.iter().find(|(source, _)| **source == of).map(|(_, wanted)| *wanted);
    let wanted = Wanted { hour: wanted(Source::HourOfDay), day: wanted(Source::DayOfWeek) };
    let mut stretches: Vec<(i64, i64)> = Vec::new();
    let mut offsets = buckets.offsets(from, to).peekable();
    while let Some((start, offset)) = offsets.next() {
        let end = offsets.peek().map_or(to, |(next, _)| *next);
        let ahead = offset + SINCE_YEAR_ONE;
        let mut at = start;
        while at < end {
            let (is_wanted, until) = wanted.until(at + ahead);
            let until = (until - ahead).min(end);
            if is_wanted {
                let count = stretches.len();
                match stretches.last_mut().filter(|last| last.1 == at) {
                    Some(last) => last.1 = until,
                    None if count == MOST_STRETCHES => return None,
                    None => stretches.push((at, until)),
                }
            }
            at = until;
        }
    }
    Some(stretches)
}

/// The hour of the day and the day of the week that are looked for.
struct Wanted {
    hour: Option<i64>,
    day: Option<i64>,
}

impl Wanted {
    /// Returns whether it is them at a local time, and until when that stays so.
    fn until(&self, local: i64) -> (bool, i64) {
        let midnight = local.div_euclid(DAY) * DAY;
        if self.day.is_some_and(|day| local.div_euclid(DAY).rem_euclid(7) + 1 != day) {
            return (false, midnight + DAY);
        }
        let Some(hour) = self.hour else { return (true, midnight + DAY) };
        let begins = midnight + hour * HOUR;
        match local {
            local if local < begins => (false, begins),
            local if local < begins + HOUR => (true, begins + HOUR),
            _ => (false, midnight + DAY),
        }
    }
}

fn lies_within((from, to): (i64, i64)) -> Expression {
    let is = |op, millis| Expression::Compare { field: Field::Known("created_at"), op, value: Value::Time(instant(millis)) };
    Expression::All(vec![is(Op::Gte, from), is(Op::Lt, to)])
}

fn is(field: Field, value: &str) -> Expression {
    Expression::Compare { field, op: Op::Eq, value: Value::Text(value.to_owned()) }
}

/// Returns the states a filter asks for, as the list calls them.
fn statuses(filter: &pb::ConversationFilter) -> Vec<String> {
    let named = filter.statuses.iter().filter_map(|status| pb::ConversationStatus::try_from(*status).ok());
    named.filter_map(|status| Some(status.as_str_name().strip_prefix("CONVERSATION_STATUS_")?.to_lowercase())).collect()
}

#[derive(Default)]
struct Query {
    text: String,
    names: Vec<String>,
}

impl Query {
    fn add(&mut self, name: &str, value: &str) {
        if !self.text.is_empty() {
            self.text.push('&');
        }
        self.names.push(name.to_owned());
        self.text.push_str(name);
        self.text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => self.text.push(char::from(byte)),
                // Writing to a string cannot fail.
                byte => _ = write!(self.text, "%{byte:02X}"),
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// Adds the plain parameters of a filter, but for the times.
    fn add_filter(&mut self, filter: &pb::ConversationFilter) {
        let texts = [
            ("agent_id", &filter.agent_id),
            ("client_id", &filter.client_id),
            ("user_id", &filter.user_id),
            ("caller", &filter.caller),
            ("provider", &filter.provider),
            ("channel", &filter.channel),
            ("call_successful", &filter.call_successful),
            ("resolution_status", &filter.resolution_status),
            ("outcome", &filter.outcome),
            ("sentiment", &filter.sentiment),
            ("language", &filter.language),
            ("topic", &filter.topic),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                self.add(name, value);
            }
        }
        for tag in &filter.tags {
            self.add("tag", tag);
        }
        for (name, millis) in [("duration_min_seconds", filter.duration_min_ms), ("duration_max_seconds", filter.duration_max_ms)]
        {
            if let Some(millis) = millis {
                self.add(name, &(millis as f64 / 1000.0).to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    const HOUR_OF_DAY: (&Source, i64) = (&Source::HourOfDay, 2);

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millis()
    }

    fn found(zone: &str, from: &str, to: &str, clock: &[(&Source, i64)]) -> Option<Vec<(String, String)>> {
        let zone = TimeZone::get(zone).unwrap();
        let buckets = Buckets::new(zone, None, from.parse().unwrap(), to.parse().unwrap()).unwrap();
        let found = stretches(&buckets, at(from), at(to), clock)?;
        Some(found.into_iter().map(|(from, to)| (time(from), time(to))).collect())
    }

    fn pairs(expected: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(expected.iter().map(|(from, to)| (format!("2026-{from}:00.000Z"), format!("2026-{to}:00.000Z"))).collect())
    }

    #[test]
    fn an_hour_of_the_day_is_there_twice_in_autumn_and_not_at_all_in_spring() {
        let (from, to) = ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
        assert_eq!(found("Europe/Berlin", from, to, &[HOUR_OF_DAY]), pairs(&[("10-25T00:00", "10-25T02:00")]));
        let (from, to) = ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        assert_eq!(found("Europe/Berlin", from, to, &[HOUR_OF_DAY]), pairs(&[]));
        assert_eq!(found("Asia/Kolkata", from, to, &[HOUR_OF_DAY]), pairs(&[("03-29T20:30", "03-29T21:30")]));
    }

    #[test]
    fn days_are_cut_where_the_question_ends_and_joined_where_the_clock_is_changed() {
        let (from, to) = ("2026-03-29T10:00:00Z", "2026-04-05T10:00:00Z");
        let sunday = (&Source::DayOfWeek, 7);
        let expected = pairs(&[("03-29T10:00", "03-29T22:00"), ("04-04T22:00", "04-05T10:00")]);
        assert_eq!(found("Europe/Berlin", from, to, &[sunday]), expected);
        let whole = found("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-30T22:00:00Z", &[sunday]);
        assert_eq!(whole, pairs(&[("03-28T23:00", "03-29T22:00")]));
        assert_eq!(found("Europe/Berlin", from, to, &[sunday, HOUR_OF_DAY]), pairs(&[("04-05T00:00", "04-05T01:00")]));
    }

    #[test]
    fn more_stretches_than_a_month_has_days_are_too_many() {
        assert_eq!(found("UTC", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", &[HOUR_OF_DAY]).unwrap().len(), 31);
        assert_eq!(found("UTC", "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z", &[HOUR_OF_DAY]), None);
    }

    #[test]
    fn what_is_too_much_is_seen_before_it_is_looked_through() {
        let (from, to) = ("0001-01-01T00:00:00Z", "9999-12-30T21:00:00Z");
        let began = std::time::Instant::now();
        for _ in 0..2_000 {
            for hour in [0, 23] {
                let clock = [(&Source::HourOfDay, hour), (&Source::DayOfWeek, 7)];
                assert_eq!(found("Europe/Berlin", from, to, &clock[..1]), None);
                assert_eq!(found("Europe/Berlin", from, to, &clock), None);
            }
        }
        // All changes of the clock alone would take minutes.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

    #[test]
    fn a_value_by_name_is_the_text_and_the_number_that_are_written_so() {
        let plan = Dimension { name: "custom.a b".to_owned(), source: Source::Extracted("a b".to_owned()) };
        let written = |value: &str| to_text(&condition(&plan, value).unwrap());
        assert_eq!(written("gold"), "custom.\"a b\" = \"gold\"");
        assert_eq!(written("2.5"), "custom.\"a b\" = \"2.5\" OR custom.\"a b\" = 2.5");
        assert_eq!(written("1"), "custom.\"a b\" = \"1\" OR custom.\"a b\" = 1.0");
        assert_eq!(written("2.50"), "custom.\"a b\" = \"2.50\"");
        assert_eq!(written(""), "NOT custom.\"a b\":*");
    }
}
