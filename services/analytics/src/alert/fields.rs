//! What a rule on one conversation may ask of it: the figures and the names of the list filters, each read from its row.

use colloquy_events::{CallSuccessful, ResolutionStatus, Sentiment, Status};
use colloquy_filter::{Expression, Field, FieldValue, Op as Compare};
use colloquy_types::Timestamp;
use serde_json::Value;

use crate::features::Features;

/// What is seen of a field.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Seen<'a> {
    /// There is nothing.
    Absent,
    /// A number.
    Number(f64),
    /// A word or a text.
    Text(&'a str),
    /// Several words.
    Words(&'a [String]),
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Numbers.
    Number,
    /// One word, of these; of any when there are none.
    Word(fn() -> Vec<&'static str>),
    /// Several words.
    Words,
}

/// When what is seen of a field counts, while a conversation still runs. Nothing half heard raises an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// It is known from the beginning, or from when it is first said, and stays: it counts at once.
    Fixed,
    /// It comes to be so while the conversation goes on, or one more comes to those there are: that it is so counts at once, that it is not
    /// only in the end.
    Comes,
    /// It only grows: that it is more than something counts at once, that it is less only in the end.
    Grows,
    /// It may still turn: it counts once the conversation is over.
    Settles,
}

/// A field.
#[derive(Debug)]
pub struct Figure {
    /// Its name in conditions.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// When it counts.
    pub course: Course,
    /// Whether it names a person: such values are not repeated in evidence.
    pub personal: bool,
    read: fn(&Features) -> Seen<'_>,
}

/// The field every conversation has while it runs, without anything being heard of it.
pub const DURATION: &str = "duration_seconds";

impl Figure {
    /// Returns the field of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
        FIGURES.iter().find(|figure| figure.name == name)
    }

    /// Returns the names there are, for people.
    pub fn names() -> String {
        FIGURES.iter().map(|figure| figure.name).collect::<Vec<_>>().join(", ")
    }

    /// Returns whether its words are taken from what people said.
    pub fn is_said(&self) -> bool {
        matches!(self.name, "keyword" | "topic")
    }

    /// Returns whether it is how long a conversation lasted.
    pub fn is_duration(&self) -> bool {
        self.name == DURATION
    }

    /// Returns what is seen at `now`: a conversation that runs lasts until now, whatever was heard of it.
    pub fn read<'a>(&self, features: &'a Features, now: Timestamp) -> Seen<'a> {
        if self.is_duration() && !features.settled {
            let running = now.millis_since(started(features)).max(0);
            return seconds(Some(features.duration_ms.unwrap_or_default().max(running)));
        }
        (self.read)(features)
    }
}

/// Lengths of time that conditions ask for in seconds, and what filters call them.
const IN_SECONDS: [(&str, &str); 5] = [
    ("agent_talk_seconds", "agent_talk_ms"),
    ("user_talk_seconds", "user_talk_ms"),
    ("silence_seconds", "silence_ms"),
    ("longest_silence_seconds", "longest_silence_ms"),
    ("hold_seconds", "hold_ms"),
];

impl Figure {
    /// Returns what filters call it, and how many of theirs make one of its.
    pub fn in_filters(&self) -> (&'static str, f64) {
        IN_SECONDS.iter().find(|(name, _)| *name == self.name).map_or((self.name, 1.0), |(_, name)| (*name, 1000.0))
    }
}

/// Returns whether what a filter asks for stays so once it is, while a conversation goes on.
pub fn is_fixed(expression: &Expression) -> bool {
    stays(expression, true)
}

/// Returns whether an expression stays as `wanted` once it is.
fn stays(expression: &Expression, wanted: bool) -> bool {
    let (field, asks_for) = match expression {
        Expression::All(parts) | Expression::Any(parts) => return parts.iter().all(|part| stays(part, wanted)),
        Expression::Not(part) => return stays(part, !wanted),
        Expression::Compare { field, op, .. } => (field, *op == Compare::Eq),
        Expression::Present(field) => (field, true),
    };
    match field {
        Field::Known("created_at" | "started_at" | "external_id" | "settled") => true,
        Field::Known(name) => Figure::named(name).is_some_and(|figure| match figure.course {
            Course::Fixed => true,
            Course::Comes => asks_for == wanted,
            Course::Grows | Course::Settles => false,
        }),
        Field::Custom(_) => false,
    }
}

/// Returns the value a conversation has of a field of filters.
pub fn value_of<'a>(row: &'a Features, field: &Field) -> FieldValue<'a> {
    let text = |text: &'a Option<String>| text.as_deref().map_or(FieldValue::Absent, FieldValue::Text);
    let whole = |number: Option<i64>| number.map_or(FieldValue::Absent, FieldValue::Integer);
    let real = |number: Option<f64>| number.map_or(FieldValue::Absent, FieldValue::Number);
    let name = match field {
        Field::Custom(name) => {
            return match row.custom.get(name) {
                Some(Value::String(text)) => FieldValue::Text(text),
                Some(Value::Bool(truth)) => FieldValue::Bool(*truth),
                Some(Value::Number(number)) => real(number.as_f64()),
                _ => FieldValue::Absent,
            };
        }
        Field::Known(name) => *name,
    };
    match name {
        "agent_id" => text(&row.agent_id),
        "agent_version_id" => text(&row.agent_version_id),
        "client_id" => text(&row.client_id),
        "user_id" => text(&row.user_id),
        "caller" => text(&row.caller),
        "provider" => FieldValue::Text(&row.provider),
        "channel" => text(&row.channel),
        "status" => FieldValue::Text(&row.status),
        "call_successful" => FieldValue::Text(&row.call_successful),
        "resolution_status" => FieldValue::Text(&row.resolution_status),
        "outcome" => text(&row.outcome),
        "sentiment" => text(&row.sentiment),
        "language" => text(&row.language),
        "topic" => FieldValue::Words(&row.topics),
        "tag" => FieldValue::Words(&row.tags),
        "keyword" => FieldValue::Words(&row.keywords),
        "error_code" => FieldValue::Words(&row.error_codes),
        "created_at" => FieldValue::Time(row.created_at),
        "started_at" => row.started_at.map_or(FieldValue::Absent, FieldValue::Time),
        "ended_at" => row.ended_at.map_or(FieldValue::Absent, FieldValue::Time),
        "duration_seconds" | "duration_ms" => whole(row.duration_ms),
        "turn_count" => FieldValue::Integer(row.turn_count),
        "satisfaction_score" => real(row.satisfaction_score),
        "external_id" => FieldValue::Text(&row.external_id),
        "direction" => text(&row.direction),
        "end_reason" => text(&row.end_reason),
        "failure_code" => text(&row.failure_code),
        "intent" => text(&row.intent),
        "settled" => FieldValue::Bool(row.settled),
        "exchanges" => whole(row.exchanges),
        "agent_talk_ms" => whole(row.agent_talk_ms),
        "user_talk_ms" => whole(row.user_talk_ms),
        "talk_ratio" => real(row.talk_ratio),
        "agent_words_per_minute" => real(row.agent_words_per_minute),
        "user_words_per_minute" => real(row.user_words_per_minute),
        "silence_ms" => whole(row.silence_ms),
        "longest_silence_ms" => whole(row.longest_silence_ms),
        "silence_count" => whole(row.silence_count),
        "hold_ms" => whole(row.hold_ms),
        "interruptions_by_user" => whole(row.interruptions_by_user),
        "interruptions_by_agent" => whole(row.interruptions_by_agent),
        "response_latency_ms" => real(row.response_latency_ms),
        "response_latency_p95_ms" => real(row.response_latency_p95_ms),
        "response_latency_max_ms" => real(row.response_latency_max_ms),
        "sentiment_score" => real(row.sentiment_score),
        "sentiment_shift" => real(row.sentiment_shift),
        "caller_rating" => real(row.caller_rating),
        "inferred_satisfaction" => real(row.inferred_satisfaction),
        "technical_quality" => real(row.technical_quality),
        "error_count" => FieldValue::Integer(row.error_count),
        "cost" | "cost_micros" => whole(row.cost_micros),
        "cost_currency" => text(&row.cost_currency),
        _ => FieldValue::Absent,
    }
}

/// Returns when a conversation began, as far as it is known.
pub fn started(features: &Features) -> Timestamp {
    features.started_at.unwrap_or(features.created_at)
}

fn seconds(millis: Option<i64>) -> Seen<'static> {
    millis.map_or(Seen::Absent, |millis| Seen::Number(millis as f64 / 1000.0))
}

fn whole(number: Option<i64>) -> Seen<'static> {
    number.map_or(Seen::Absent, |number| Seen::Number(number as f64))
}

fn real(number: Option<f64>) -> Seen<'static> {
    number.map_or(Seen::Absent, Seen::Number)
}

fn text(text: Option<&String>) -> Seen<'_> {
    text.map_or(Seen::Absent, |text| Seen::Text(text))
}

fn any() -> Vec<&'static str> {
    Vec::new()
}

fn statuses() -> Vec<&'static str> {
    Status::ALL.iter().map(|word| word.as_str()).collect()
}

fn successes() -> Vec<&'static str> {
    CallSuccessful::ALL.iter().map(|word| word.as_str()).collect()
}

fn resolutions() -> Vec<&'static str> {
    ResolutionStatus::ALL.iter().map(|word| word.as_str()).collect()
}

fn moods() -> Vec<&'static str> {
    Sentiment::ALL.iter().map(|word| word.as_str()).collect()
}

const fn number(name: &'static str, course: Course, read: fn(&Features) -> Seen<'_>) -> Figure {
    Figure { name, kind: Kind::Number, course, personal: false, read }
}

const fn word(name: &'static str, course: Course, read: fn(&Features) -> Seen<'_>) -> Figure {
    Figure { name, kind: Kind::Word(any), course, personal: false, read }
}

const fn one_of(name: &'static str, words: fn() -> Vec<&'static str>, course: Course, read: fn(&Features) -> Seen<'_>) -> Figure {
    Figure { name, kind: Kind::Word(words), course, personal: false, read }
}

const fn words(name: &'static str, course: Course, read: fn(&Features) -> Seen<'_>) -> Figure {
    Figure { name, kind: Kind::Words, course, personal: false, read }
}

const fn person(name: &'static str, read: fn(&Features) -> Seen<'_>) -> Figure {
    Figure { name, kind: Kind::Word(any), course: Course::Fixed, personal: true, read }
}

/// Other names of the same.
const ALIASES: [(&str, &str); 6] = [
    ("tags", "tag"),
    ("topics", "topic"),
    ("keywords", "keyword"),
    ("error_codes", "error_code"),
    ("duration", DURATION),
    ("agent_version", "agent_version_id"),
];

use Course::{Comes, Fixed, Grows, Settles};

static FIGURES: &[Figure] = &[
    number(DURATION, Grows, |row| seconds(row.duration_ms)),
    number("turn_count", Grows, |row| whole(Some(row.turn_count))),
    number("exchanges", Grows, |row| whole(row.exchanges)),
    number("agent_talk_seconds", Grows, |row| seconds(row.agent_talk_ms)),
    number("user_talk_seconds", Grows, |row| seconds(row.user_talk_ms)),
    number("agent_talk_ms", Grows, |row| whole(row.agent_talk_ms)),
    number("user_talk_ms", Grows, |row| whole(row.user_talk_ms)),
    number("talk_ratio", Settles, |row| real(row.talk_ratio)),
    number("agent_words_per_minute", Settles, |row| real(row.agent_words_per_minute)),
    number("user_words_per_minute", Settles, |row| real(row.user_words_per_minute)),
    number("silence_seconds", Grows, |row| seconds(row.silence_ms)),
    number("longest_silence_seconds", Grows, |row| seconds(row.longest_silence_ms)),
    number("silence_ms", Grows, |row| whole(row.silence_ms)),
    number("longest_silence_ms", Grows, |row| whole(row.longest_silence_ms)),
    number("silence_count", Grows, |row| whole(row.silence_count)),
    number("hold_seconds", Grows, |row| seconds(row.hold_ms)),
    number("hold_ms", Grows, |row| whole(row.hold_ms)),
    number("interruptions_by_user", Grows, |row| whole(row.interruptions_by_user)),
    number("interruptions_by_agent", Grows, |row| whole(row.interruptions_by_agent)),
    number("response_latency_ms", Settles, |row| real(row.response_latency_ms)),
    number("response_latency_p95_ms", Settles, |row| real(row.response_latency_p95_ms)),
    number("response_latency_max_ms", Grows, |row| real(row.response_latency_max_ms)),
    number("sentiment_score", Settles, |row| real(row.sentiment_score)),
    number("sentiment_shift", Settles, |row| real(row.sentiment_shift)),
    number("satisfaction_score", Settles, |row| real(row.satisfaction_score)),
    number("caller_rating", Settles, |row| real(row.caller_rating)),
    number("inferred_satisfaction", Settles, |row| real(row.inferred_satisfaction)),
    number("technical_quality", Settles, |row| real(row.technical_quality)),
    number("error_count", Grows, |row| whole(Some(row.error_count))),
    number("cost", Settles, |row| real(row.cost_micros.map(|micros| micros as f64 / 1e6))),
    word("provider", Fixed, |row| Seen::Text(&row.provider)),
    word("agent_id", Fixed, |row| text(row.agent_id.as_ref())),
    word("agent_version_id", Fixed, |row| text(row.agent_version_id.as_ref())),
    word("client_id", Fixed, |row| text(row.client_id.as_ref())),
    person("user_id", |row| text(row.user_id.as_ref())),
    person("caller", |row| text(row.caller.as_ref())),
    word("channel", Fixed, |row| text(row.channel.as_ref())),
    word("direction", Fixed, |row| text(row.direction.as_ref())),
    one_of("status", statuses, Comes, |row| Seen::Text(&row.status)),
    word("end_reason", Comes, |row| text(row.end_reason.as_ref())),
    word("failure_code", Comes, |row| text(row.failure_code.as_ref())),
    one_of("call_successful", successes, Settles, |row| Seen::Text(&row.call_successful)),
    word("outcome", Settles, |row| text(row.outcome.as_ref())),
    one_of("resolution_status", resolutions, Settles, |row| Seen::Text(&row.resolution_status)),
    one_of("sentiment", moods, Settles, |row| text(row.sentiment.as_ref())),
    word("intent", Settles, |row| text(row.intent.as_ref())),
    word("language", Settles, |row| text(row.language.as_ref())),
    words("topic", Settles, |row| Seen::Words(&row.topics)),
    words("keyword", Settles, |row| Seen::Words(&row.keywords)),
    words("tag", Comes, |row| Seen::Words(&row.tags)),
    words("error_code", Comes, |row| Seen::Words(&row.error_codes)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_filters_ask_for_is_found_in_the_row() {
        let row = crate::alert::samples::features(1);
        for spec in colloquy_filter::fields::all(colloquy_filter::fields::View::Analytics) {
            let field = match spec.name {
                "custom.NAME" => Field::Custom("plan".to_owned()),
                name => Field::Known(name),
            };
            assert_ne!(value_of(&row, &field), FieldValue::Absent, "{}", spec.name);
        }
        for figure in FIGURES {
            let (name, _) = figure.in_filters();
            assert!(colloquy_filter::fields::find(name, colloquy_filter::fields::View::Analytics).is_ok(), "{name}");
            assert_ne!(figure.read(&row, row.created_at), Seen::Absent, "{}", figure.name);
        }
    }

    #[test]
    fn every_field_stands_once_and_is_found_by_its_other_names() {
        let mut names: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for (alias, name) in ALIASES {
            assert_eq!(Figure::named(alias).unwrap().name, name);
        }
        assert!(Figure::named("transcript").is_none());
    }
}
