//! What queries, lists of figures and alert rules ask of a conversation: one flat row.

use std::collections::{BTreeMap, HashSet};

use colloquy_events::{CallSuccessful, JsonMap, ResolutionStatus};
use colloquy_types::{ConversationId, OrganizationId, Position, Timestamp};
use serde_json::Value;

use crate::analysis::{Analysis, Figure};
use crate::input::{Input, Judgement, Record};
use crate::judgement;

/// A row has at most this many words of a kind, and values by name.
pub const MOST_WORDS: usize = 256;
/// A word, a name, and any other text that is not a value, has at most this many bytes.
pub const LONGEST_WORD: usize = 512;
/// Numbers are at most so far from zero: whole ones are exact up to here, and whatever is made of a million of them is still a number.
/// What is beyond is no figure and no value of a row; the whole is in the analysis.
pub const LARGEST_NUMBER: f64 = 1e15;
/// A text extracted by name has at most this many bytes; the whole is in the analysis.
pub const LONGEST_VALUE: usize = 4_096;

/// The row of a conversation. What the names mean is said by the schema ([`crate::query::schema`]); the columns of the table
/// `features` are called the same.
#[derive(Clone, PartialEq, Debug)]
pub struct Features {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its id.
    pub conversation_id: ConversationId,
    /// Everything up to here is in it.
    pub position: Position,
    /// Whether the conversation is over.
    pub settled: bool,

    /// Who it runs on.
    pub provider: String,
    /// The provider's own id of it.
    pub external_id: String,
    /// The agent that led it.
    pub agent_id: Option<String>,
    /// The agent's version.
    pub agent_version_id: Option<String>,
    /// The organization's customer.
    pub client_id: Option<String>,
    /// The end user.
    pub user_id: Option<String>,
    /// The person's number.
    pub caller: Option<String>,
    /// `phone`, `web`, …
    pub channel: Option<String>,
    /// `inbound` or `outbound`.
    pub direction: Option<String>,
    /// Where it stands.
    pub status: String,
    /// Why it ended, in our words.
    pub end_reason: Option<String>,
    /// What failed, by code.
    pub failure_code: Option<String>,
    /// `success`, `failure` or `unknown`.
    pub call_successful: String,
    /// One word for what came of it.
    pub outcome: Option<String>,
    /// `resolved`, `unresolved`, `escalated`, `transferred` or `unknown`.
    pub resolution_status: String,
    /// `positive`, `neutral` or `negative`.
    pub sentiment: Option<String>,
    /// What the person wanted.
    pub intent: Option<String>,
    /// BCP 47 code.
    pub language: Option<String>,

    /// When it started, or was first seen.
    pub created_at: Timestamp,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,

    /// Milliseconds.
    pub duration_ms: Option<i64>,
    /// Maximal same-speaker runs.
    pub turn_count: i64,
    /// Pairs of a person's turn and the agent's answer.
    pub exchanges: Option<i64>,
    /// Milliseconds.
    pub agent_talk_ms: Option<i64>,
    /// Milliseconds.
    pub user_talk_ms: Option<i64>,
    /// The agent's part of both, from 0 to 1.
    pub talk_ratio: Option<f64>,
    /// Words a minute.
    pub agent_words_per_minute: Option<f64>,
    /// Words a minute.
    pub user_words_per_minute: Option<f64>,
    /// Milliseconds.
    pub silence_ms: Option<i64>,
    /// Milliseconds.
    pub longest_silence_ms: Option<i64>,
    /// How often.
    pub silence_count: Option<i64>,
    /// Milliseconds.
    pub hold_ms: Option<i64>,
    /// How often.
    pub interruptions_by_user: Option<i64>,
    /// How often.
    pub interruptions_by_agent: Option<i64>,
    /// The mean, in milliseconds.
    pub response_latency_ms: Option<f64>,
    /// Milliseconds.
    pub response_latency_p95_ms: Option<f64>,
    /// Milliseconds.
    pub response_latency_max_ms: Option<f64>,
    /// From -1 to 1.
    pub sentiment_score: Option<f64>,
    /// The last quarter less the first, from -10 to 10.
    pub sentiment_shift: Option<f64>,
    /// From 1 to 5: the callers' when they gave one, else inferred.
    pub satisfaction_score: Option<f64>,
    /// From 1 to 5: what callers gave.
    pub caller_rating: Option<f64>,
    /// From 1 to 5: inferred.
    pub inferred_satisfaction: Option<f64>,
    /// From 0 to 1.
    pub technical_quality: Option<f64>,
    /// How many errors.
    pub error_count: i64,
    /// Millionths of the currency unit.
    pub cost_micros: Option<i64>,
    /// ISO 4217 code.
    pub cost_currency: Option<String>,

    /// What it was about; at most 256, of at most 512 bytes each, as all words here.
    pub topics: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Words that mattered.
    pub keywords: Vec<String>,
    /// Codes of errors.
    pub error_codes: Vec<String>,
    /// Values by name: what `custom.NAME` asks for. Only what was established; texts, numbers and truths.
    pub custom: BTreeMap<String, Value>,
}

impl Features {
    /// Returns the row of a conversation: of each fact the one that leads. Texts are cut and counted so that any database takes
    /// them; numbers are at most [`LARGEST_NUMBER`] from zero.
    pub fn of(input: &Input, analysis: &Analysis, position: Position) -> Self {
        let Record { organization_id, conversation_id, provider, status, created_at, started_at, ended_at, .. } = &input.record;
        let record = &input.record;
        let leading = &analysis.leading;
        let talk = analysis.talk.value;
        let silence = analysis.silence.value;
        let latency = analysis.response_latency.value;
        let mood = analysis.sentiment.value.as_ref();
        let caller_rating = score(analysis.satisfaction_caller.value, 1.0, 5.0);
        let inferred = score(leading.satisfaction_score.or(analysis.satisfaction_inferred.value), 1.0, 5.0);
        let resolution = leading.resolution_status.or(analysis.resolution.value);
        let topics = || analysis.topics.value.iter().flatten().map(|topic| topic.name.as_str());
        let keywords = leading.keywords.as_ref().or(analysis.keywords.value.as_ref());
        let cost = analysis.cost.value.as_ref();
        Self {
            organization_id: organization_id.clone(),
            conversation_id: *conversation_id,
            position,
            settled: analysis.settled,
            provider: provider.to_string(),
            external_id: cut(&record.external_id, LONGEST_WORD),
            agent_id: word(&record.agent_id),
            agent_version_id: word(&record.agent_version_id),
            client_id: word(&record.client_id),
            user_id: word(&record.user_id),
            caller: word(&record.caller),
            channel: word(&record.channel),
            direction: word(&record.direction),
            status: status.to_string(),
            end_reason: word(&record.end_reason),
            failure_code: word(&record.failure_code),
            call_successful: leading.call_successful.unwrap_or(CallSuccessful::Unknown).to_string(),
            outcome: word(&record.outcome),
            resolution_status: resolution.unwrap_or(ResolutionStatus::Unknown).to_string(),
            sentiment: leading.sentiment.or(mood.map(|mood| mood.label)).map(|mood| mood.to_string()),
            intent: word(&leading.intent).or_else(|| word(&analysis.intent.value)),
            language: word(&record.language).or_else(|| word(&analysis.language.value)),
            created_at: *created_at,
            started_at: *started_at,
            ended_at: *ended_at,
            duration_ms: analysis.duration_ms.value.or(record.duration_ms),
            turn_count: analysis.turn_count.value.map_or(0, i64::from),
            exchanges: analysis.exchanges.value.map(i64::from),
            agent_talk_ms: talk.map(|talk| talk.agent_ms),
            user_talk_ms: talk.map(|talk| talk.user_ms),
            talk_ratio: talk.and_then(|talk| finite(talk.ratio)),
            agent_words_per_minute: talk.and_then(|talk| finite(talk.agent_words_per_minute)),
            user_words_per_minute: talk.and_then(|talk| finite(talk.user_words_per_minute)),
            silence_ms: silence.map(|silence| silence.total_ms),
            longest_silence_ms: silence.map(|silence| silence.longest_ms),
            silence_count: silence.map(|silence| i64::from(silence.count)),
            hold_ms: analysis.hold.value.map(|hold| hold.total_ms),
            interruptions_by_user: analysis.interruptions_by_user.value.map(|by_user| i64::from(by_user.count)),
            interruptions_by_agent: analysis.interruptions_by_agent.value.map(|by_agent| i64::from(by_agent.count)),
            response_latency_ms: latency.and_then(|latency| finite(Some(latency.mean))),
            response_latency_p95_ms: latency.and_then(|latency| finite(Some(latency.p95))),
            response_latency_max_ms: latency.and_then(|latency| finite(Some(latency.max))),
            sentiment_score: score(leading.sentiment_score.or(mood.map(|mood| mood.score)), -1.0, 1.0),
            sentiment_shift: mood.and_then(|mood| finite(mood.shift)),
            satisfaction_score: caller_rating.or(inferred),
            caller_rating,
            inferred_satisfaction: inferred,
            technical_quality: score(analysis.technical_quality.value, 0.0, 1.0),
            error_count: error_count(&analysis.errors, record),
            cost_micros: cost.map(|cost| cost.amount_micros),
            cost_currency: cost.map(|cost| cut(&cost.currency, LONGEST_WORD)),
            topics: match &leading.topics {
                Some(leading) => words(leading.iter().map(String::as_str)),
                None => words(topics()),
            },
            tags: words(record.tags.iter().map(String::as_str)),
            keywords: words(keywords.into_iter().flatten().map(String::as_str)),
            error_codes: words(record.errors.iter().map(|error| error.code.as_str())),
            custom: custom(analysis, record),
        }
    }
}

/// Returns how many errors there were; what the analysis does not know, the record does.
fn error_count(errors: &Figure<BTreeMap<String, u32>>, record: &Record) -> i64 {
    let counted = errors.value.as_ref().map(|by_code| by_code.values().map(|count| i64::from(*count)).sum());
    counted.unwrap_or_else(|| i64::try_from(record.errors.len()).unwrap_or(i64::MAX))
}

/// Returns what was extracted by name and established: what a person says of it, else what was found, else what any judgement says
/// of names that nobody looked for.
fn custom(analysis: &Analysis, record: &Record) -> BTreeMap<String, Value> {
    let nothing = JsonMap::new();
    let human = record.judgements.get(judgement::HUMAN).map_or(&nothing, |judgement: &Judgement| &judgement.custom_analysis);
    let mut by_name: BTreeMap<&str, Option<&Value>> =
        analysis.leading.custom_analysis.iter().map(|(name, value)| (name.as_str(), Some(value))).collect();
    by_name.extend(analysis.custom.iter().map(|(name, custom)| (name.as_str(), custom.value.as_ref())));
    by_name.extend(human.iter().map(|(name, value)| (name.as_str(), Some(value))));
    let established = by_name.into_iter().filter_map(|(name, value)| Some((word_of(name)?, plain(value?)?)));
    established.take(MOST_WORDS).collect()
}

/// Returns a text, a number or a truth as a row has it; anything else is no such value.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(_) => Some(value.clone()),
        Value::Number(number) => finite(number.as_f64()).map(|_| value.clone()),
        Value::String(text) => Some(cut(text, LONGEST_VALUE)).filter(|text| !text.is_empty()).map(Value::String),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns a number as a row has it.
fn finite(number: Option<f64>) -> Option<f64> {
    number.filter(|number| number.abs() <= LARGEST_NUMBER)
}

fn score(number: Option<f64>, least: f64, greatest: f64) -> Option<f64> {
    number.filter(|number| (least..=greatest).contains(number))
}

fn word(text: &Option<String>) -> Option<String> {
    text.as_deref().and_then(word_of)
}

fn word_of(text: &str) -> Option<String> {
    Some(cut(text, LONGEST_WORD)).filter(|text| !text.is_empty())
}

/// Returns the first words, each once.
fn words<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = HashSet::new();
    words.filter_map(word_of).filter(|word| seen.insert(word.clone())).take(MOST_WORDS).collect()
}

/// Returns the beginning of a text that has at most so many bytes, without NUL, which PostgreSQL does not take.
fn cut(text: &str, bytes: usize) -> String {
    let mut cut = String::with_capacity(text.len().min(bytes));
    for letter in text.chars().filter(|letter| *letter != '\0') {
        if cut.len() + letter.len_utf8() > bytes {
            break;
        }
        cut.push(letter);
    }
    cut
}

#[cfg(test)]
pub(crate) mod tests;
