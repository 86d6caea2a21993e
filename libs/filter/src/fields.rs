//! The fields of conversations that can be filtered by.

use crate::expression::Field;

/// Where a filter is applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// To the list of conversations.
    Conversations,
    /// To figures of conversations, and in rules of alerts.
    Analytics,
}

impl View {
    /// Returns what the view is called in messages.
    const fn name(self) -> &'static str {
        match self {
            Self::Conversations => "the list of conversations",
            Self::Analytics => "analytics",
        }
    }
}

/// What kind of values a field has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// A telephone number, kept in E.164.
    Phone,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any number of texts.
    Words,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A length of time, in seconds; kept in milliseconds.
    Seconds,
    /// A length of time, in milliseconds.
    Millis,
    /// An amount of money, in units of the currency; kept in millionths.
    Money,
    /// A time; kept in milliseconds since 1970.
    Time,
    /// A truth.
    Bool,
    /// Whatever was extracted: a text, a number or a truth.
    Extracted,
}

/// What a field is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Its name in filters.
    pub name: &'static str,
    /// What it is called where it is kept: a column, or a kind of words.
    pub column: &'static str,
    /// What values it has.
    pub kind: Kind,
    /// Whether lists of conversations can be filtered by it. Analytics can by every field.
    pub listed: bool,
    /// What it says, for people.
    pub about: &'static str,
}

impl Spec {
    /// Returns whether a filter of the view may name it.
    pub const fn is_in(&self, view: View) -> bool {
        self.listed || matches!(view, View::Analytics)
    }

    /// Returns how many of what is kept make one of what filters say.
    pub(crate) const fn kept_per_unit(&self) -> f64 {
        match self.kind {
            Kind::Seconds => 1_000.0,
            Kind::Money => 1_000_000.0,
            _ => 1.0,
        }
    }
}

const PROVIDERS: &[&str] = &["elevenlabs", "retell", "vapi", "agent_session", "native"];
const DIRECTIONS: &[&str] = &["inbound", "outbound"];
const STATUSES: &[&str] = &["initiated", "in_progress", "completed", "failed", "abandoned"];
const SUCCESS: &[&str] = &["success", "failure", "unknown"];
const RESOLUTIONS: &[&str] = &["resolved", "unresolved", "escalated", "transferred", "unknown"];
const SENTIMENTS: &[&str] = &["positive", "neutral", "negative"];

const fn listed(name: &'static str, kind: Kind, about: &'static str) -> Spec {
    Spec { name, column: name, kind, listed: true, about }
}

const fn analysed(name: &'static str, kind: Kind, about: &'static str) -> Spec {
    Spec { name, column: name, kind, listed: false, about }
}

/// Every field but the values extracted by name.
const FIELDS: &[Spec] = &[
    listed("agent_id", Kind::Text, "the agent that led it"),
    listed("agent_version_id", Kind::Text, "the agent's version"),
    listed("client_id", Kind::Text, "the organization's customer"),
    listed("user_id", Kind::Text, "the end user"),
    listed("caller", Kind::Phone, "the person's number"),
    listed("provider", Kind::Word(PROVIDERS), "who it runs on"),
    listed("channel", Kind::Text, "phone, web, chat, sms, …"),
    listed("status", Kind::Word(STATUSES), "where it stands"),
    listed("call_successful", Kind::Word(SUCCESS), "whether it reached its goal"),
    listed("resolution_status", Kind::Word(RESOLUTIONS), "what became of it"),
    listed("outcome", Kind::Text, "one word for what came of it"),
    listed("sentiment", Kind::Word(SENTIMENTS), "the person's mood"),
    listed("language", Kind::Text, "the language spoken, as a BCP 47 code"),
    listed("topic", Kind::Words, "what it was about"),
    listed("tag", Kind::Words, "its tags"),
    listed("created_at", Kind::Time, "when it started, or was first seen"),
    Spec { column: "duration_ms", ..listed("duration_seconds", Kind::Seconds, "how long it lasted, in seconds") },
    listed("duration_ms", Kind::Millis, "how long it lasted, in milliseconds"),
    listed("turn_count", Kind::Integer, "how often the speaker changed"),
    listed("satisfaction_score", Kind::Number, "how content the person was, from 1 to 5"),
    listed("external_id", Kind::Text, "the provider's own id of it"),
    listed("direction", Kind::Word(DIRECTIONS), "which way it went"),
    listed("end_reason", Kind::Text, "why it ended"),
    listed("failure_code", Kind::Text, "what failed"),
    listed("intent", Kind::Text, "what the person wanted"),
    listed("keyword", Kind::Words, "words that mattered"),
    Spec { column: "error", ..listed("error_code", Kind::Words, "codes of errors during it") },
    listed("started_at", Kind::Time, "when it started"),
    listed("ended_at", Kind::Time, "when it ended"),
    Spec { column: "cost_micros", ..listed("cost", Kind::Money, "what it cost, in units of the currency") },
    listed("cost_micros", Kind::Integer, "what it cost, in millionths of the currency unit"),
    listed("cost_currency", Kind::Text, "the currency, as an ISO 4217 code"),
    analysed("settled", Kind::Bool, "whether it is over and everything known of it is in its figures"),
    analysed("exchanges", Kind::Integer, "pairs of a person's turn and the agent's answer"),
    analysed("agent_talk_ms", Kind::Millis, "how long the agent talked"),
    analysed("user_talk_ms", Kind::Millis, "how long the person talked"),
    analysed("talk_ratio", Kind::Number, "the agent's part of what was spoken, from 0 to 1"),
    analysed("agent_words_per_minute", Kind::Number, "how fast the agent talked"),
    analysed("user_words_per_minute", Kind::Number, "how fast the person talked"),
    analysed("silence_ms", Kind::Millis, "how long nobody talked"),
    analysed("longest_silence_ms", Kind::Millis, "the longest silence"),
    analysed("silence_count", Kind::Integer, "how often nobody talked"),
    analysed("hold_ms", Kind::Millis, "how long the person was kept waiting"),
    analysed("interruptions_by_user", Kind::Integer, "how often the person cut the agent off"),
    analysed("interruptions_by_agent", Kind::Integer, "how often the agent cut the person off"),
    analysed("response_latency_ms", Kind::Number, "how long the agent took to answer, on average"),
    analysed("response_latency_p95_ms", Kind::Number, "95 of a hundred answers took at most this long"),
    analysed("response_latency_max_ms", Kind::Number, "the longest time to an answer"),
    analysed("sentiment_score", Kind::Number, "the person's mood, from -1 to 1"),
    analysed("sentiment_shift", Kind::Number, "the mood of the last quarter less that of the first, from -10 to 10"),
    analysed("caller_rating", Kind::Number, "what the person gave, from 1 to 5"),
    analysed("inferred_satisfaction", Kind::Number, "what was inferred, from 1 to 5"),
    analysed("technical_quality", Kind::Number, "from 0 to 1"),
    analysed("error_count", Kind::Integer, "how many errors there were"),
];

/// Other spellings of fields.
const ALIASES: &[(&str, &str)] = &[("topics", "topic"), ("tags", "tag"), ("keywords", "keyword"), ("error_codes", "error_code")];

/// What the names of extracted values begin with.
pub const EXTRACTED: &str = "custom.";
/// The greatest length of a name of an extracted value, in bytes.
const LONGEST_NAME: usize = 128;

const EXTRACTED_VALUE: Spec =
    listed("custom.NAME", Kind::Extracted, "a value extracted by the organization's own definitions, or by the provider");

/// Returns the fields a filter of the view may name; `custom.NAME` stands for all extracted values.
pub fn all(view: View) -> impl Iterator<Item = &'static Spec> {
    FIELDS.iter().chain([&EXTRACTED_VALUE]).filter(move |spec| spec.is_in(view))
}

/// Returns what a field is.
pub fn spec(field: &Field) -> Option<&'static Spec> {
    match field {
        Field::Known(name) => named(name),
        Field::Custom(_) => Some(&EXTRACTED_VALUE),
    }
}

fn named(name: &str) -> Option<&'static Spec> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| *name);
    FIELDS.iter().find(|spec| spec.name == name)
}

/// Finds the field a filter of the view names so.
///
/// # Errors
/// Why there is none, for people: which there are, or that it can be asked for elsewhere.
pub fn find(name: &str, view: View) -> Result<(Field, &'static Spec), String> {
    let (field, spec) = match name.strip_prefix(EXTRACTED) {
        Some(value) if value.is_empty() || value.len() > LONGEST_NAME || value.contains('\0') => {
            return Err(format!("the name of a value is missing or longer than {LONGEST_NAME} bytes: custom.NAME"));
        }
        Some(value) => (Field::Custom(value.to_owned()), &EXTRACTED_VALUE),
        None => match named(name) {
            Some(spec) => (Field::Known(spec.name), spec),
            None => return Err(format!("there is no field '{}'; {}", shown(name), allowed(view))),
        },
    };
    if spec.is_in(view) {
        return Ok((field, spec));
    }
    Err(format!("'{}' is known to {} only, not to {}; {}", shown(name), View::Analytics.name(), view.name(), allowed(view)))
}

fn allowed(view: View) -> String {
    let names: Vec<&str> = all(view).map(|spec| spec.name).collect();
    format!("the fields are {}", names.join(", "))
}

/// Returns as much of a text as a message repeats.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 40;
    let mut shown: String = text.chars().filter(|letter| !letter.is_control()).take(MOST).collect();
    if text.chars().count() > MOST {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use colloquy_events::{CallSuccessful, Direction, ResolutionStatus, Sentiment, Status};
    use colloquy_types::Provider;

    use super::*;

    #[test]
    fn words_are_those_that_conversations_have() {
        assert_eq!(PROVIDERS, Provider::ALL.map(Provider::as_str));
        assert_eq!(DIRECTIONS, Direction::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>());
        assert_eq!(STATUSES, Status::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>());
        assert_eq!(SUCCESS, CallSuccessful::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>());
        assert_eq!(RESOLUTIONS, ResolutionStatus::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>());
        assert_eq!(SENTIMENTS, Sentiment::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>());
    }

    #[test]
    fn names_and_aliases_are_told_apart() {
        for (number, spec) in FIELDS.iter().enumerate() {
            assert!(FIELDS[..number].iter().all(|other| other.name != spec.name), "{}", spec.name);
        }
        for (alias, name) in ALIASES {
            assert!(FIELDS.iter().all(|spec| spec.name != *alias) && FIELDS.iter().any(|spec| spec.name == *name), "{alias}");
        }
    }

    #[test]
    fn a_field_of_the_other_view_is_told_from_one_that_does_not_exist() {
        assert_eq!(find("tags", View::Conversations).unwrap().0, Field::Known("tag"));
        for view in [View::Conversations, View::Analytics] {
            assert!(find("custom.plan", view).is_ok() && find("intent", view).is_ok());
        }
        let elsewhere = find("talk_ratio", View::Conversations).unwrap_err();
        assert!(elsewhere.contains("known to analytics only") && elsewhere.contains("agent_id, "), "{elsewhere}");
        let nowhere = find("mood", View::Analytics).unwrap_err();
        assert!(nowhere.contains("no field 'mood'") && nowhere.contains("custom.NAME"), "{nowhere}");
        assert!(find("custom.", View::Analytics).is_err());
    }
}
