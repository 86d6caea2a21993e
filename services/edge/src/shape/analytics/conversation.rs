//! What one conversation comes to.

use std::collections::BTreeMap;

use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::conversation::v1 as conversation_pb;
use serde::Serialize;
use utoipa::ToSchema;

use crate::shape::conversation::Cost;
use crate::shape::json::Json;
use crate::shape::time::seconds;
use crate::shape::word;

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
    /// What the caller gave; of several ratings the last.
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
    /// The mean of the quarters there are.
    overall: Option<f64>,
    /// By quarters of the time from the first start of a turn to the last end; `null` where the person said nothing in one.
    quarters: [Option<f64>; 4],
    /// The last quarter there is less the first, from -10 to 10.
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

/// How values are spread; of a provider's own figures, those it does not tell are `null`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Distribution {
    /// How many there are.
    n: Option<u32>,
    /// The least.
    min: Option<f64>,
    /// The greatest.
    max: Option<f64>,
    /// The mean.
    mean: Option<f64>,
    /// The median.
    p50: Option<f64>,
    /// Nine of ten are at most this.
    p90: Option<f64>,
    /// 95 of a hundred are at most this.
    p95: Option<f64>,
    /// 99 of a hundred are at most this.
    p99: Option<f64>,
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
        let pb::Distribution { n, min, max, p50, p90, p95, p99, mean } = given;
        Self { n, min, max, mean, p50, p90, p95, p99 }
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
