//! Figures of conversations.

use std::collections::BTreeMap;

use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::conversation::v1 as conversation_pb;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::conversation::Cost;
use super::json::Json;
use super::time::{Time, seconds};
use super::word;

/// What one conversation comes to. What could not be established is `null`, and `evidence` says why.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationAnalytics {
    /// UUID.
    conversation_id: String,
    /// The agent that led it.
    agent_id: Option<String>,
    /// Whether it is over, and everything known of it is in these figures.
    settled: bool,
    /// How long it lasted.
    duration_seconds: Option<f64>,
    /// Maximal same-speaker runs among spoken turns.
    turn_count: u32,
    /// Pairs of a person's turn and the agent's answer.
    exchanges: Option<u32>,
    /// `resolved`, `unresolved`, `escalated`, `transferred` or `unknown`.
    resolution_status: String,
    /// From 1 to 5: the callers' when they gave one, else inferred.
    satisfaction_score: Option<f64>,
    /// `caller` or `inferred`.
    satisfaction_source: Option<String>,
    /// From 1 to 5.
    satisfaction: Satisfaction,
    /// What it was about.
    topics: Vec<String>,
    /// The topics with where they come from.
    topic_details: Vec<Topic>,
    /// Words that mattered.
    keywords: Vec<String>,
    /// `positive`, `neutral` or `negative`.
    sentiment: Option<String>,
    /// From -1 to 1.
    sentiment_score: Option<f64>,
    /// Of each of the person's turns, in order.
    sentiment_by_turn: Vec<TurnSentiment>,
    /// How the person's mood went on.
    sentiment_course: SentimentCourse,
    /// What the person wanted.
    intent: Option<String>,
    /// BCP 47 code.
    language: Option<String>,
    /// Who talked how long.
    talk: TalkTimes,
    /// When nobody talked.
    silence: Pauses,
    /// When the person was kept waiting on purpose.
    hold: Option<Hold>,
    /// Who cut the other off.
    interruptions: BySide,
    /// Who spoke at the same time without cutting the other off.
    overlaps: BySide,
    /// In milliseconds.
    latency_ms: Latency,
    /// From 0 to 1.
    technical_quality: Option<f64>,
    /// How many errors there were.
    error_count: u32,
    /// What it cost.
    cost: Option<Cost>,
    /// Values extracted by name; `null` when one could not be established.
    #[schema(value_type = Object)]
    custom_analysis: BTreeMap<String, Json>,
    /// The same values with where they come from.
    custom_details: BTreeMap<String, CustomValue>,
    /// What each authority says: `provider`, `own`, `human`.
    judgements: BTreeMap<String, Judgement>,
    /// What made each figure, with its version.
    #[schema(value_type = Object)]
    analyzers: BTreeMap<String, String>,
    /// What each figure was made from.
    evidence: BTreeMap<String, Evidence>,
}

/// Satisfaction from 1 to 5, by where it comes from.
#[derive(Serialize, ToSchema)]
pub(crate) struct Satisfaction {
    /// What callers gave.
    caller: Option<f64>,
    /// What was inferred.
    inferred: Option<f64>,
}

/// What a conversation was about.
#[derive(Serialize, ToSchema)]
pub(crate) struct Topic {
    /// The topic.
    name: String,
    /// `taxonomy`, `discovered`, `provider` or `model`.
    source: String,
    /// UUIDs of turns that say so.
    turn_ids: Vec<String>,
}

/// The mood of one turn.
#[derive(Serialize, ToSchema)]
pub(crate) struct TurnSentiment {
    /// UUID of the turn.
    turn_id: String,
    /// `positive`, `neutral` or `negative`.
    sentiment: String,
    /// From -1 to 1.
    score: f64,
}

/// The mood over the course of a conversation, from -5 to 5: five times the mean of a quarter's turns, the more so the longer it goes on
/// in one direction.
#[derive(Serialize, ToSchema)]
pub(crate) struct SentimentCourse {
    /// The mean of the quarters.
    overall: Option<f64>,
    /// By quarters of the person's turns.
    quarters: [Option<f64>; 4],
    /// The last quarter less the first, from -10 to 10.
    shift: Option<f64>,
}

/// Who talked how long.
#[derive(Serialize, ToSchema)]
pub(crate) struct TalkTimes {
    /// The agent's side.
    agent_ms: Option<i64>,
    /// The person.
    user_ms: Option<i64>,
    /// The agent's part of both, from 0 to 1.
    ratio: Option<f64>,
    /// Words a minute of speech.
    agent_words_per_minute: Option<f64>,
    /// Words a minute of speech.
    user_words_per_minute: Option<f64>,
}

/// When nobody talked.
#[derive(Serialize, ToSchema)]
pub(crate) struct Pauses {
    /// All of it.
    total_ms: Option<i64>,
    /// The longest.
    longest_ms: Option<i64>,
    /// How often.
    count: Option<u32>,
}

/// When the person was kept waiting on purpose.
#[derive(Serialize, ToSchema)]
pub(crate) struct Hold {
    /// All of it.
    total_ms: i64,
    /// How often.
    count: u32,
}

/// One side speaking while the other does.
#[derive(Serialize, ToSchema)]
pub(crate) struct BySide {
    /// The person.
    by_user: Option<Speaking>,
    /// The agent.
    by_agent: Option<Speaking>,
}

/// How often and how long.
#[derive(Serialize, ToSchema)]
pub(crate) struct Speaking {
    /// How often.
    count: u32,
    /// How long both talked.
    overlap_ms: i64,
}

/// Latencies in milliseconds.
#[derive(Serialize, ToSchema)]
pub(crate) struct Latency {
    /// From the end of the person's turn to the beginning of the agent's.
    response: Option<Distribution>,
    /// The provider's own, by stage.
    stages: BTreeMap<String, Distribution>,
}

/// How values are spread.
#[derive(Serialize, ToSchema)]
pub(crate) struct Distribution {
    /// How many there are.
    n: u32,
    /// The least.
    min: f64,
    /// The greatest.
    max: f64,
    /// The median.
    p50: f64,
    /// Nine of ten are at most this.
    p90: f64,
    /// 95 of a hundred are at most this.
    p95: f64,
    /// 99 of a hundred are at most this.
    p99: f64,
}

/// A value extracted by name.
#[derive(Serialize, ToSchema)]
pub(crate) struct CustomValue {
    /// The value; `null` when it could not be established.
    #[schema(value_type = Value)]
    value: Json,
    /// Why there is none.
    not_established_because: Option<String>,
    /// From 0 to 1.
    confidence: Option<f64>,
    /// UUIDs of the turns it follows from.
    turn_ids: Vec<String>,
    /// `provider`, or the analyzer's id.
    source: String,
    /// The analyzer's version.
    version: u32,
}

/// How one authority judges a conversation; what it does not say is `null`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Judgement {
    /// `success`, `failure` or `unknown`.
    call_successful: Option<String>,
    /// `positive`, `neutral` or `negative`.
    sentiment: Option<String>,
    /// From -1 to 1.
    sentiment_score: Option<f64>,
    /// What it was about.
    topics: Vec<String>,
    /// Words that mattered.
    keywords: Vec<String>,
    /// What the person wanted.
    intent: Option<String>,
    /// What became of it.
    resolution_status: Option<String>,
    /// From 1 to 5, inferred.
    satisfaction_score: Option<f64>,
    /// Values by name.
    #[schema(value_type = Object)]
    custom_analysis: Json,
}

/// What a figure was made from.
#[derive(Serialize, ToSchema)]
pub(crate) struct Evidence {
    /// What made it, with its version.
    analyzer: String,
    /// UUIDs of the turns it came from; at most 100.
    turn_ids: Vec<String>,
    /// How many turns it came from.
    turn_count: u32,
    /// Why it is absent; `null` when it is there.
    absent_because: Option<String>,
}

impl From<pb::ConversationAnalytics> for ConversationAnalytics {
    fn from(given: pb::ConversationAnalytics) -> Self {
        let judged = given.judgement.unwrap_or_default();
        let course = given.sentiment_course.unwrap_or_default();
        let (talk, silence) = (given.talk, given.silence);
        Self {
            conversation_id: given.conversation_id,
            agent_id: given.agent_id,
            settled: given.settled,
            duration_seconds: seconds(given.duration_ms),
            turn_count: given.turn_count,
            exchanges: given.exchanges,
            resolution_status: word(judged.resolution_status).unwrap_or_else(|| "unknown".to_owned()),
            satisfaction_score: judged.satisfaction_score,
            satisfaction_source: judged.satisfaction_source,
            satisfaction: Satisfaction { caller: given.satisfaction_caller, inferred: given.satisfaction_inferred },
            topics: judged.topics,
            topic_details: given.topics.into_iter().map(Into::into).collect(),
            keywords: judged.keywords,
            sentiment: judged.sentiment,
            sentiment_score: judged.sentiment_score,
            sentiment_by_turn: given.sentiment_by_turn.into_iter().map(Into::into).collect(),
            sentiment_course: SentimentCourse {
                overall: course.overall,
                quarters: [course.first_quarter, course.second_quarter, course.third_quarter, course.last_quarter],
                shift: course.shift,
            },
            intent: judged.intent,
            language: given.language,
            talk: TalkTimes {
                agent_ms: talk.as_ref().map(|talk| talk.agent_ms),
                user_ms: talk.as_ref().map(|talk| talk.user_ms),
                ratio: talk.as_ref().and_then(|talk| talk.ratio),
                agent_words_per_minute: talk.as_ref().and_then(|talk| talk.agent_words_per_minute),
                user_words_per_minute: talk.as_ref().and_then(|talk| talk.user_words_per_minute),
            },
            silence: Pauses {
                total_ms: silence.as_ref().map(|silence| silence.total_ms),
                longest_ms: silence.as_ref().map(|silence| silence.longest_ms),
                count: silence.as_ref().map(|silence| silence.count),
            },
            hold: given.hold.map(|hold| Hold { total_ms: hold.total_ms, count: hold.count }),
            interruptions: BySide::of(given.interruptions_by_user, given.interruptions_by_agent),
            overlaps: BySide::of(given.overlaps_by_user, given.overlaps_by_agent),
            latency_ms: Latency {
                response: given.response_latency.map(Into::into),
                stages: given.latency_stages.into_iter().map(|(stage, spread)| (stage, spread.into())).collect(),
            },
            technical_quality: given.technical_quality,
            error_count: given.error_count,
            cost: given.cost.map(Into::into),
            custom_analysis: given
                .custom
                .iter()
                .map(|(name, value)| (name.clone(), Json::any(value.value_json.clone())))
                .collect(),
            custom_details: given.custom.into_iter().map(|(name, value)| (name, value.into())).collect(),
            judgements: given.judgements.into_iter().map(|(authority, judgement)| (authority, judgement.into())).collect(),
            analyzers: given.evidence.iter().map(|(figure, evidence)| (figure.clone(), evidence.analyzer.clone())).collect(),
            evidence: given.evidence.into_iter().map(|(figure, evidence)| (figure, evidence.into())).collect(),
        }
    }
}

impl From<pb::Topic> for Topic {
    fn from(given: pb::Topic) -> Self {
        Self { name: given.name, source: given.source, turn_ids: given.turn_ids }
    }
}

impl From<pb::TurnSentiment> for TurnSentiment {
    fn from(given: pb::TurnSentiment) -> Self {
        Self { turn_id: given.turn_id, sentiment: given.sentiment, score: given.score }
    }
}

impl BySide {
    fn of(by_user: Option<pb::Interruptions>, by_agent: Option<pb::Interruptions>) -> Self {
        let speaking = |given: pb::Interruptions| Speaking { count: given.count, overlap_ms: given.overlap_ms };
        Self { by_user: by_user.map(speaking), by_agent: by_agent.map(speaking) }
    }
}

impl From<pb::Distribution> for Distribution {
    fn from(given: pb::Distribution) -> Self {
        let pb::Distribution { n, min, max, p50, p90, p95, p99 } = given;
        Self { n, min, max, p50, p90, p95, p99 }
    }
}

impl From<pb::CustomValue> for CustomValue {
    fn from(given: pb::CustomValue) -> Self {
        Self {
            value: Json::any(given.value_json),
            not_established_because: word(given.not_established_because),
            confidence: given.confidence,
            turn_ids: given.turn_ids,
            source: given.source,
            version: given.version,
        }
    }
}

impl From<conversation_pb::Judgement> for Judgement {
    fn from(given: conversation_pb::Judgement) -> Self {
        let said = given.analytics.unwrap_or_default();
        Self {
            call_successful: word(given.call_successful),
            sentiment: said.sentiment,
            sentiment_score: said.sentiment_score,
            topics: said.topics,
            keywords: said.keywords,
            intent: said.intent,
            resolution_status: word(said.resolution_status),
            satisfaction_score: said.satisfaction_score,
            custom_analysis: Json::object(said.custom_analysis_json),
        }
    }
}

impl From<pb::Evidence> for Evidence {
    fn from(given: pb::Evidence) -> Self {
        Self {
            analyzer: given.analyzer,
            turn_ids: given.turn_ids,
            turn_count: given.turn_count,
            absent_because: word(given.absent_because),
        }
    }
}

/// The answer to a question over many conversations.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalyticsAnswer {
    /// One a bucket and combination of dimensions: `bucket`, the dimensions and the aliases by name; of a rate also `ALIAS_numerator` and
    /// `ALIAS_denominator`; `conversations_url` lists the conversations of the row where the list has names for them.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Map<String, Value>>,
    /// Everything received until then is in the answer.
    data_through: Time,
    /// The step that was used: what `auto` came to; `null` without steps.
    step: Option<String>,
    /// Whether there are more rows than `limit`.
    truncated: bool,
    /// By how much a percentile may be off, as a part of its value; 0 when all are exact.
    relative_error: f64,
}

impl AnalyticsAnswer {
    /// Returns the answer to `dimensions` and `aliases`: each is in every row, be it `null`.
    pub(crate) fn new(given: pb::QueryAnalyticsResponse, dimensions: &[String], aliases: &[String]) -> Self {
        Self {
            rows: given.rows.into_iter().map(|row| flat_row(row, dimensions, aliases)).collect(),
            data_through: given.data_through.into(),
            step: word(given.step),
            truncated: given.truncated,
            relative_error: given.relative_error,
        }
    }
}

fn flat_row(mut given: pb::Row, dimensions: &[String], aliases: &[String]) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("bucket".to_owned(), word(given.bucket).into());
    for dimension in dimensions {
        row.insert(dimension.clone(), given.dimensions.remove(dimension).into());
    }
    for alias in aliases {
        let value = given.values.remove(alias);
        let shown = match &value {
            Some(value) if !value.histogram.is_empty() => {
                let mut bins: Vec<(f64, &String, u64)> =
                    value.histogram.iter().map(|(bin, count)| (bin.parse().unwrap_or_default(), bin, *count)).collect();
                bins.sort_by(|a, b| a.0.total_cmp(&b.0));
                Value::Object(bins.into_iter().map(|(_, bin, count)| (bin.clone(), count.into())).collect())
            }
            Some(value) => number(value.number),
            None => Value::Null,
        };
        row.insert(alias.clone(), shown);
        if let Some(pb::Value { numerator: Some(numerator), denominator: Some(denominator), .. }) = value {
            row.insert(format!("{alias}_numerator"), json!(numerator));
            row.insert(format!("{alias}_denominator"), json!(denominator));
        }
    }
    let url = word(given.conversations_query).map(|query| format!("/v1/conversations?{query}"));
    row.insert("conversations_url".to_owned(), url.into());
    row
}

/// Counts are written as whole numbers.
fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 { json!(number as i64) } else { json!(number) }
}

/// What can be asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalyticsSchema {
    /// What can be computed.
    measures: Vec<SchemaField>,
    /// What it can be computed by.
    dimensions: Vec<SchemaField>,
}

/// A measure or dimension.
#[derive(Serialize, ToSchema)]
pub(crate) struct SchemaField {
    /// Its name in requests.
    name: String,
    /// What it means, with its unit.
    description: String,
    /// What its values are.
    kind: String,
    /// The operations a measure has.
    ops: Vec<String>,
    /// Every value there may be, where there are few.
    values: Vec<String>,
    /// Its name in `filter=`; `null` when it cannot be filtered by.
    filter_name: Option<String>,
}

impl From<pb::GetAnalyticsSchemaResponse> for AnalyticsSchema {
    fn from(given: pb::GetAnalyticsSchemaResponse) -> Self {
        let field = |given: pb::SchemaField| SchemaField {
            name: given.name,
            description: given.description,
            kind: given.kind,
            ops: given.ops,
            values: given.values,
            filter_name: word(given.filter_name),
        };
        Self {
            measures: given.measures.into_iter().map(field).collect(),
            dimensions: given.dimensions.into_iter().map(field).collect(),
        }
    }
}

/// How two sets of conversations differ.
#[derive(Serialize, ToSchema)]
pub(crate) struct Comparisons {
    /// One a measure, in the order asked for.
    comparisons: Vec<Comparison>,
}

/// How two sets differ in one measure.
#[derive(Serialize, ToSchema)]
pub(crate) struct Comparison {
    /// The measure's alias.
    alias: String,
    /// In the baseline.
    baseline: Option<f64>,
    /// In the candidate.
    candidate: Option<f64>,
    /// How many conversations the baseline's value comes from.
    baseline_n: u64,
    /// How many conversations the candidate's value comes from.
    candidate_n: u64,
    /// `(candidate - baseline) / baseline`.
    relative_change: Option<f64>,
    /// Why there is no relative change: `no_baseline` or `no_candidate`.
    absent_because: Option<String>,
    /// `welch_t` for means, `two_proportions_z` for rates.
    test: Option<String>,
    /// How likely a difference as great is by chance alone, from 0 to 1.
    p_value: Option<f64>,
    /// Whether `p_value` is below 0.05.
    significant: bool,
}

impl From<pb::CompareAnalyticsResponse> for Comparisons {
    fn from(given: pb::CompareAnalyticsResponse) -> Self {
        let comparison = |given: pb::Comparison| Comparison {
            alias: given.alias,
            baseline: given.baseline,
            candidate: given.candidate,
            baseline_n: given.baseline_n,
            candidate_n: given.candidate_n,
            relative_change: given.relative_change,
            absent_because: word(given.absent_because),
            test: word(given.test),
            p_value: given.p_value,
            significant: given.significant,
        };
        Self { comparisons: given.comparisons.into_iter().map(comparison).collect() }
    }
}

/// The agents, busiest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentTable {
    /// The agents.
    agents: Vec<AgentPerformance>,
    /// Whether there are more.
    truncated: bool,
}

/// What an agent's conversations come to.
#[derive(Serialize, ToSchema)]
pub(crate) struct AgentPerformance {
    /// The agent; `null` for conversations without one.
    agent_id: Option<String>,
    /// How many conversations.
    conversations: u64,
    /// Their mean length.
    avg_duration_seconds: Option<f64>,
    /// The part that was resolved, of those that were judged.
    resolution_rate: Option<f64>,
    /// The part that was successful, of those that were judged.
    success_rate: Option<f64>,
    /// The part that was escalated or transferred.
    escalation_rate: Option<f64>,
    /// The part that failed.
    failure_rate: Option<f64>,
    /// From 1 to 5.
    avg_satisfaction: Option<f64>,
    /// Ratings of 4 and 5, of all ratings from 1 to 5.
    csat: Option<f64>,
    /// From -1 to 1.
    avg_sentiment: Option<f64>,
    /// Nine of ten conversations answer within this on average, in milliseconds.
    p90_response_latency_ms: Option<f64>,
    /// Mean interruptions by the agent.
    avg_interruptions_by_agent: Option<f64>,
}

impl From<pb::ListAgentPerformanceResponse> for AgentTable {
    fn from(given: pb::ListAgentPerformanceResponse) -> Self {
        let agent = |given: pb::AgentPerformance| AgentPerformance {
            agent_id: word(given.agent_id),
            conversations: given.conversations,
            avg_duration_seconds: given.avg_duration_ms.map(|millis| millis / 1000.0),
            resolution_rate: given.resolution_rate,
            success_rate: given.success_rate,
            escalation_rate: given.escalation_rate,
            failure_rate: given.failure_rate,
            avg_satisfaction: given.avg_satisfaction,
            csat: given.csat,
            avg_sentiment: given.avg_sentiment,
            p90_response_latency_ms: given.p90_response_latency_ms,
            avg_interruptions_by_agent: given.avg_interruptions_by_agent,
        };
        Self { agents: given.agents.into_iter().map(agent).collect(), truncated: given.truncated }
    }
}

/// The ways conversations go, and where they fail.
#[derive(Serialize, ToSchema)]
pub(crate) struct Patterns {
    /// The most frequent first.
    paths: Vec<PatternPath>,
    /// Where conversations that failed or stayed unresolved ended or broke, the most frequent first.
    failure_points: Vec<FailurePoint>,
}

/// A way that conversations go.
#[derive(Serialize, ToSchema)]
pub(crate) struct PatternPath {
    /// What it was about.
    topic: Option<String>,
    /// What the person wanted.
    intent: Option<String>,
    /// What came of it.
    outcome: Option<String>,
    /// How many went that way.
    count: u64,
    /// The part of all conversations, from 0 to 1.
    share: f64,
    /// Some of them, newest first.
    conversation_ids: Vec<String>,
}

/// A place where conversations fail.
#[derive(Serialize, ToSchema)]
pub(crate) struct FailurePoint {
    /// `error`, `negative_turn`, `unanswered`, `escalation` or `silence`.
    kind: String,
    /// The error's code, or the topic.
    detail: Option<String>,
    /// How many failed there.
    count: u64,
    /// The mean place among the turns, from 0 (the first) to 1 (the last).
    mean_position: Option<f64>,
    /// Some of the places, newest first.
    examples: Vec<FailureExample>,
}

/// One place where one conversation failed.
#[derive(Serialize, ToSchema)]
pub(crate) struct FailureExample {
    /// UUID of the conversation.
    conversation_id: String,
    /// UUID of the turn; `null` when no turn marks it.
    turn_id: Option<String>,
}

impl From<pb::FindPatternsResponse> for Patterns {
    fn from(given: pb::FindPatternsResponse) -> Self {
        let path = |given: pb::Path| PatternPath {
            topic: word(given.topic),
            intent: word(given.intent),
            outcome: word(given.outcome),
            count: given.count,
            share: given.share,
            conversation_ids: given.conversation_ids,
        };
        let example =
            |given: pb::FailureExample| FailureExample { conversation_id: given.conversation_id, turn_id: word(given.turn_id) };
        let point = |given: pb::FailurePoint| FailurePoint {
            kind: given.kind,
            detail: word(given.detail),
            count: given.count,
            mean_position: given.mean_position,
            examples: given.examples.into_iter().map(example).collect(),
        };
        Self {
            paths: given.paths.into_iter().map(path).collect(),
            failure_points: given.failure_points.into_iter().map(point).collect(),
        }
    }
}

/// How an organization's conversations are analysed.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalysisSettings {
    /// From when on a pause is silence, in milliseconds.
    silence_ms: u32,
    /// Whose analysis leads where both have one: `provider` or `own`.
    leading: String,
    /// The organization's own topics.
    taxonomy: Vec<TaxonomyTopic>,
}

/// A topic of an organization's own.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaxonomyTopic {
    /// What it is called.
    name: String,
    /// What is said when it is the topic.
    phrases: Vec<String>,
}

impl From<pb::AnalysisSettings> for AnalysisSettings {
    fn from(given: pb::AnalysisSettings) -> Self {
        let topic = |given: pb::TaxonomyTopic| TaxonomyTopic { name: given.name, phrases: given.phrases };
        Self { silence_ms: given.silence_ms, leading: given.leading, taxonomy: given.taxonomy.into_iter().map(topic).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_every_name_that_was_asked_for() {
        let rate = pb::Value { number: 0.5, numerator: Some(1), denominator: Some(2), ..Default::default() };
        let bins = [("10".to_owned(), 2), ("9".to_owned(), 1)].into();
        let row = pb::Row {
            bucket: "2026-03-02T00:00:00+01:00".to_owned(),
            dimensions: [("agent_id".to_owned(), "a".to_owned())].into(),
            values: [("r".to_owned(), rate), ("h".to_owned(), pb::Value { histogram: bins, ..Default::default() })].into(),
            conversations_query: "agent_id=a".to_owned(),
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let row = flat_row(row, &names(&["agent_id", "outcome"]), &names(&["r", "h", "gone"]));
        let expected = json!({"bucket": "2026-03-02T00:00:00+01:00", "agent_id": "a", "outcome": null, "r": 0.5, "r_numerator": 1,
            "r_denominator": 2, "h": {"9": 1, "10": 2}, "gone": null, "conversations_url": "/v1/conversations?agent_id=a"});
        assert_eq!(Value::Object(row), expected);
    }
}
