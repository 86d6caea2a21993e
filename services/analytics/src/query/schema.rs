//! What can be asked: every measure and dimension, once. The answers of GetAnalyticsSchema, the messages about unknown names, the
//! columns that are read and what the hours' totals hold all follow from here.

use std::sync::LazyLock;

use colloquy_filter::{Expression, Field, Kind, View, fields, parse};

/// What a measure is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Count,
    /// From 0 to 1.
    Ratio,
    /// From -1 to 1.
    Score,
    /// A difference of two scores from -5 to 5.
    Shift,
    /// From 1 to 5.
    Rating,
    WordsPerMinute,
    Money,
    /// Of a value extracted by name: anything.
    Unknown,
}

impl Unit {
    /// Returns the lower bounds of a histogram's bins; what lies below the first is in the first, and the last has no end.
    pub(crate) const fn bins(self) -> &'static [f64] {
        match self {
            Self::Seconds => &[0., 5., 10., 20., 30., 60., 90., 120., 180., 300., 450., 600., 900., 1200., 1800., 3600., 7200.],
            Self::Milliseconds => &[
                0., 100., 200., 300., 400., 500., 600., 800., 1000., 1250., 1500., 2000., 2500., 3000., 4000., 5000., 7500.,
                10_000., 20_000., 30_000., 60_000., 120_000., 300_000.,
            ],
            Self::Count => &[0., 1., 2., 3., 4., 5., 6., 8., 10., 15., 20., 30., 40., 50., 75., 100., 200., 500., 1000.],
            Self::Ratio => &[0., 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
            Self::Score => &[-1., -0.8, -0.6, -0.4, -0.2, 0., 0.2, 0.4, 0.6, 0.8],
            Self::Shift => &[-10., -8., -6., -4., -2., -1., 0., 1., 2., 4., 6., 8.],
            Self::Rating => &[1., 1.5, 2., 2.5, 3., 3.5, 4., 4.5],
            Self::WordsPerMinute => &[0., 40., 60., 80., 100., 120., 140., 160., 180., 200., 220., 240., 260., 300.],
            Self::Money => &[0., 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1., 2., 5., 10., 20., 50., 100.],
            Self::Unknown => {
                &[-1e6, -1e5, -1e4, -1e3, -100., -10., -1., 0., 1., 2., 5., 10., 20., 50., 100., 200., 500., 1e3, 1e4, 1e5, 1e6]
            }
        }
    }
}

/// A measure that is a number of each conversation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Number {
    pub(crate) name: &'static str,
    /// Of the table `features`.
    pub(crate) column: &'static str,
    /// How many of what the column holds make one of the unit.
    pub(crate) per_unit: f64,
    pub(crate) unit: Unit,
    pub(crate) about: &'static str,
}

/// What the measure of cost is called: amounts of several currencies have no sum.
pub(crate) const COST: &str = "cost_micros";

const fn number(name: &'static str, unit: Unit, about: &'static str) -> Number {
    Number { name, column: name, per_unit: 1.0, unit, about }
}

const fn seconds(name: &'static str, column: &'static str, about: &'static str) -> Number {
    Number { name, column, per_unit: 1_000.0, unit: Unit::Seconds, about }
}

const fn millis(name: &'static str, about: &'static str) -> Number {
    number(name, Unit::Milliseconds, about)
}

/// The numbers.
pub(crate) const NUMBERS: &[Number] = &[
    seconds("duration_seconds", "duration_ms", "how long it lasted, in seconds"),
    millis("duration_ms", "how long it lasted, in milliseconds"),
    number("turn_count", Unit::Count, "maximal same-speaker runs among spoken turns"),
    number("exchanges", Unit::Count, "pairs of a person's turn and the agent's answer"),
    seconds("agent_talk_seconds", "agent_talk_ms", "how long the agent talked, in seconds"),
    millis("agent_talk_ms", "how long the agent talked, in milliseconds"),
    seconds("user_talk_seconds", "user_talk_ms", "how long the person talked, in seconds"),
    millis("user_talk_ms", "how long the person talked, in milliseconds"),
    number("talk_ratio", Unit::Ratio, "the agent's part of what was spoken, from 0 to 1"),
    number("agent_words_per_minute", Unit::WordsPerMinute, "how fast the agent talked, in words a minute"),
    number("user_words_per_minute", Unit::WordsPerMinute, "how fast the person talked, in words a minute"),
    seconds("silence_seconds", "silence_ms", "how long nobody talked, in seconds"),
    millis("silence_ms", "how long nobody talked, in milliseconds"),
    seconds("longest_silence_seconds", "longest_silence_ms", "the longest silence, in seconds"),
    millis("longest_silence_ms", "the longest silence, in milliseconds"),
    number("silence_count", Unit::Count, "how often nobody talked"),
    seconds("hold_seconds", "hold_ms", "how long the person was kept waiting on purpose, in seconds"),
    millis("hold_ms", "how long the person was kept waiting on purpose, in milliseconds"),
    number("interruptions_by_user", Unit::Count, "how often the person cut the agent off"),
    number("interruptions_by_agent", Unit::Count, "how often the agent cut the person off"),
    millis("response_latency_ms", "how long the agent took to answer: the conversation's mean, in milliseconds"),
    millis("response_latency_p95_ms", "95 of a hundred answers of the conversation took at most this long, in milliseconds"),
    millis("response_latency_max_ms", "the longest time to an answer, in milliseconds"),
    number("sentiment_score", Unit::Score, "the person's mood, from -1 to 1"),
    number(
        "sentiment_shift",
        Unit::Shift,
        "the mood of the last quarter less that of the first, each from -5 to 5: from -10 to 10",
    ),
    number("satisfaction_score", Unit::Rating, "from 1 to 5: what callers gave, else what was inferred"),
    number("caller_rating", Unit::Rating, "from 1 to 5: what callers gave, of several ratings of one conversation the last"),
    number("inferred_satisfaction", Unit::Rating, "from 1 to 5: what was inferred"),
    number("technical_quality", Unit::Ratio, "technical quality, from 0 to 1"),
    number("error_count", Unit::Count, "errors during the conversation"),
    Number {
        name: "cost",
        column: COST,
        per_unit: 1_000_000.0,
        unit: Unit::Money,
        about: "what it cost, in units of the currency; without a value where several currencies meet: filter or group by cost_currency",
    },
];

/// The columns whose figures the hours' totals hold, for questions over all time.
pub(crate) const TOTALLED: &[&str] = &[
    "duration_ms",
    "turn_count",
    "response_latency_ms",
    "sentiment_score",
    "satisfaction_score",
    "caller_rating",
    "talk_ratio",
    "silence_ms",
    "interruptions_by_user",
    "interruptions_by_agent",
    "error_count",
];

/// A measure that is a part of the conversations: how many hold of those that could.
#[derive(Debug)]
pub struct Rate {
    pub(crate) name: &'static str,
    /// Which of the denominator's hold.
    pub(crate) numerator: Expression,
    /// Which could.
    pub(crate) denominator: Expression,
    pub(crate) about: &'static str,
}

const IS_OVER: &str = r#"status = "completed" OR status = "failed" OR status = "abandoned""#;

/// The rates: name, numerator, denominator (empty means all), about. Their numerators and denominators are in the hours' totals.
const RATES_WRITTEN: [(&str, &str, &str, &str); 12] = [
    ("success", r#"call_successful = "success""#, r#"call_successful != "unknown""#, "successful, of those that were judged"),
    ("resolved", r#"resolution_status = "resolved""#, r#"resolution_status != "unknown""#, "resolved, of those that were judged"),
    ("escalated", r#"resolution_status = "escalated""#, IS_OVER, "escalated, of those that are over"),
    ("transferred", r#"resolution_status = "transferred""#, IS_OVER, "transferred, of those that are over"),
    (
        "handed_over",
        r#"resolution_status = "escalated" OR resolution_status = "transferred""#,
        IS_OVER,
        "escalated or transferred, of those that are over",
    ),
    ("completed", r#"status = "completed""#, IS_OVER, "completed, of those that are over"),
    ("failed", r#"status = "failed""#, IS_OVER, "failed, of those that are over"),
    ("abandoned", r#"status = "abandoned""#, IS_OVER, "abandoned, of those that are over"),
    (
        "csat",
        "caller_rating >= 4",
        "caller_rating >= 1 AND caller_rating <= 5",
        "ratings of 4 and 5, of callers' ratings from 1 to 5; a thumb up is 5, a thumb down 1",
    ),
    ("negative_sentiment", r#"sentiment = "negative""#, "sentiment:*", "in a negative mood, of those whose mood is known"),
    (
        "interrupted",
        "interruptions_by_user > 0",
        "interruptions_by_user:*",
        "with an interruption by the person, where that is known",
    ),
    ("with_errors", "error_count > 0", "", "with an error, of all"),
];

/// The rates.
pub(crate) static RATES: LazyLock<Vec<Rate>> = LazyLock::new(|| {
    let read = |text: &str| parse(text, View::Analytics).expect("the filters of rates are ours, and read by a test");
    let written = RATES_WRITTEN.into_iter();
    let rates = written.map(|(name, numerator, denominator, about)| Rate {
        name,
        numerator: read(numerator),
        denominator: read(denominator),
        about,
    });
    rates.collect()
});

/// Where the values of a dimension come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A column of the table `features`.
    Column(&'static str),
    /// Words of this kind; a conversation counts for each of its words.
    Words(&'static str),
    /// A value extracted by name.
    Extracted(String),
    /// The hour by the zone's clock, 0 to 23.
    HourOfDay,
    /// The day by the zone's calendar, 1 (Monday) to 7.
    DayOfWeek,
}

/// The dimensions: name, where from, about.
const DIMENSIONS: &[(&str, Source, &str)] = &[
    ("agent_id", Source::Column("agent_id"), "the agent that led it"),
    ("agent_version_id", Source::Column("agent_version_id"), "the agent's version"),
    ("client_id", Source::Column("client_id"), "the organization's customer"),
    ("provider", Source::Column("provider"), "who it runs on"),
    ("channel", Source::Column("channel"), "phone, web, chat, sms, …"),
    ("direction", Source::Column("direction"), "which way it went"),
    ("status", Source::Column("status"), "where it stands"),
    ("end_reason", Source::Column("end_reason"), "why it ended"),
    ("failure_code", Source::Column("failure_code"), "what failed"),
    ("call_successful", Source::Column("call_successful"), "whether it reached its goal"),
    ("outcome", Source::Column("outcome"), "one word for what came of it"),
    ("resolution_status", Source::Column("resolution_status"), "what became of it"),
    ("sentiment", Source::Column("sentiment"), "the person's mood"),
    ("intent", Source::Column("intent"), "what the person wanted"),
    ("language", Source::Column("language"), "the language spoken, as a BCP 47 code"),
    ("cost_currency", Source::Column("cost_currency"), "the currency of its cost, as an ISO 4217 code"),
    ("topic", Source::Words("topic"), "what it was about; it counts for each of its topics"),
    ("tag", Source::Words("tag"), "its tags; it counts for each of them"),
    ("keyword", Source::Words("keyword"), "words that mattered; it counts for each of them"),
    ("error_code", Source::Words("error"), "codes of errors during it; it counts for each of them"),
    ("hour_of_day", Source::HourOfDay, "the hour in which it began by the question's time zone, 0 to 23"),
    ("day_of_week", Source::DayOfWeek, "the day on which it began by the question's time zone, 1 (Monday) to 7"),
];

/// A dimension.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dimension {
    /// Its name in requests.
    pub(crate) name: String,
    /// Where its values come from.
    pub(crate) source: Source,
}

impl Dimension {
    /// Finds a dimension by name.
    ///
    /// # Errors
    /// Which there are, for people.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        if let Some(extracted) = extracted(name)? {
            return Ok(Self { name: name.to_owned(), source: Source::Extracted(extracted) });
        }
        let found = DIMENSIONS.iter().find(|(known, ..)| *known == name);
        found.map(|(known, source, _)| Self { name: (*known).to_owned(), source: source.clone() }).ok_or_else(|| {
            let names: Vec<&str> = DIMENSIONS.iter().map(|(known, ..)| *known).collect();
            format!("there is no dimension '{}'; there are {} and custom.NAME", shown(name), names.join(", "))
        })
    }
}

/// Returns the name of an extracted value where one is asked for.
pub(crate) fn extracted(name: &str) -> Result<Option<String>, String> {
    if !name.starts_with(fields::EXTRACTED) {
        return Ok(None);
    }
    match fields::find(name, View::Analytics)? {
        (Field::Custom(value), _) => Ok(Some(value)),
        (Field::Known(_), _) => Ok(None),
    }
}

/// Returns as much of a name as a message repeats.
pub(crate) fn shown(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(40).collect()
}

/// A line of the schema, for its readers outside.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) ops: &'static [&'static str],
    pub(crate) kind: &'static str,
    pub(crate) values: &'static [&'static str],
    pub(crate) filter_name: &'static str,
}

/// What numbers can be asked for.
pub(crate) const NUMBER_OPS: &[&str] = &["count", "sum", "avg", "min", "max", "p50", "p75", "p90", "p95", "p99", "histogram"];
/// What conversations themselves can be asked for.
pub(crate) const COUNT_OPS: &[&str] = &["count", "concurrency_peak", "concurrency_avg"];
/// What rates can be asked for.
pub(crate) const RATE_OPS: &[&str] = &["rate"];
/// What is measured without a field.
pub(crate) const CONVERSATIONS: &str = "conversations";
const EXTRACTED_NAME: &str = "custom.NAME";

/// Returns all measures.
pub(crate) fn measures() -> Vec<Line> {
    let line = |name, about, ops, kind| Line { name, about, ops, kind, values: &[], filter_name: filter_name(name) };
    let mut lines = vec![line(CONVERSATIONS, "the conversations themselves; the field may be left out", COUNT_OPS, "integer")];
    lines.extend(NUMBERS.iter().map(|number| {
        let is_whole =
            matches!(number.unit, Unit::Count) || (number.unit == Unit::Milliseconds && !number.name.contains("latency"));
        line(number.name, number.about, NUMBER_OPS, if is_whole { "integer" } else { "number" })
    }));
    lines.extend(RATES.iter().map(|rate| line(rate.name, rate.about, RATE_OPS, "bool")));
    lines.push(Line {
        ops: &["count", "sum", "avg", "min", "max", "p50", "p75", "p90", "p95", "p99", "histogram", "rate"],
        ..line(
            EXTRACTED_NAME,
            "a value extracted by name: a number of at most 1e15 either way, or with `rate` a truth",
            NUMBER_OPS,
            "number",
        )
    });
    lines
}

/// Returns all dimensions.
pub(crate) fn dimensions() -> Vec<Line> {
    const HOURS: &[&str] = &[
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21",
        "22", "23",
    ];
    const DAYS: &[&str] = &["1", "2", "3", "4", "5", "6", "7"];
    let mut lines: Vec<Line> = (DIMENSIONS.iter())
        .map(|(name, source, about)| {
            let words = match fields::all(View::Analytics).find(|spec| spec.name == *name).map(|spec| spec.kind) {
                Some(Kind::Word(words)) => words,
                _ => &[],
            };
            let (kind, values) = match source {
                Source::Words(_) => ("words", words),
                Source::HourOfDay => ("integer", HOURS),
                Source::DayOfWeek => ("integer", DAYS),
                _ if words.is_empty() => ("text", words),
                _ => ("word", words),
            };
            Line { name, about, ops: &[], kind, values, filter_name: filter_name(name) }
        })
        .collect();
    let about = "a value extracted by name: a text, a number, or 1 and 0 for a truth";
    lines.push(Line { name: EXTRACTED_NAME, about, ops: &[], kind: "text", values: &[], filter_name: EXTRACTED_NAME });
    lines
}

fn filter_name(name: &'static str) -> &'static str {
    if fields::all(View::Analytics).any(|spec| spec.name == name) { name } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_as_they_are_written() {
        assert_eq!(RATES.len(), RATES_WRITTEN.len());
    }

    #[test]
    fn every_name_stands_once_and_is_filtered_by_as_it_is_called() {
        for lines in [measures(), dimensions()] {
            for (number, line) in lines.iter().enumerate() {
                assert!(lines[..number].iter().all(|other| other.name != line.name), "{}", line.name);
            }
        }
        let named = |lines: Vec<Line>, name: &str| lines.into_iter().find(|line| line.name == name).unwrap();
        assert_eq!(named(measures(), "duration_seconds").filter_name, "duration_seconds");
        assert_eq!(named(dimensions(), "hour_of_day").filter_name, "");
        assert!(named(dimensions(), "status").values.contains(&"abandoned"));
    }

    #[test]
    fn bins_ascend() {
        for unit in
            [Unit::Seconds, Unit::Milliseconds, Unit::Count, Unit::Ratio, Unit::Score, Unit::Shift, Unit::Rating, Unit::Unknown]
        {
            assert!(unit.bins().windows(2).all(|pair| pair[0] < pair[1]), "{unit:?}");
        }
    }

    #[test]
    fn an_unknown_dimension_is_answered_with_those_there_are() {
        let error = Dimension::parse("mood\n").unwrap_err();
        assert!(error.contains("'mood'") && error.contains("agent_id") && error.contains("custom.NAME"), "{error}");
        assert!(Dimension::parse("custom.").is_err());
        assert_eq!(Dimension::parse("custom.plan").unwrap().source, Source::Extracted("plan".to_owned()));
    }
}
