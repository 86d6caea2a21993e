//! Conversations.

use colloquy_proto::conversation::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::event::ConversationEvent;
use super::json::Json;
use super::time::{Time, seconds};
use super::turn::Turn;

/// One conversation, whoever sent it. Every key is there; what is not known is `null`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Conversation {
    /// UUID.
    conversation_id: String,
    /// The provider's own id.
    external_id: String,
    /// `elevenlabs`, `retell`, `vapi`, `agent_session` or `native`.
    provider: String,
    /// The message thread it is one session of.
    thread_id: Option<String>,
    /// Whose it is.
    organization_id: String,
    /// The organization's customer.
    client_id: Option<String>,
    /// The end user.
    user_id: Option<String>,
    /// The agent that led it.
    agent_id: Option<String>,
    /// The agent's name at the time.
    agent_name: Option<String>,
    /// The agent's version.
    agent_version_id: Option<String>,
    /// `phone`, `web`, `chat`, `sms`, `whatsapp`, …
    channel: Option<String>,
    /// `inbound` or `outbound`.
    direction: Option<String>,
    /// The person, in both directions.
    caller: Caller,
    /// `initiated`, `in_progress`, `completed`, `failed` or `abandoned`.
    status: Option<&'static str>,
    /// Why it ended, in Colloquy's words.
    end_reason: Option<String>,
    /// Why it ended, in the provider's words.
    end_reason_detail: Option<String>,
    /// What failed.
    failure: Option<Failure>,
    /// When it started, or was first seen when it never connected.
    created_at: Time,
    /// When it started.
    started_at: Time,
    /// When it ended.
    ended_at: Time,
    /// How long it lasted.
    duration_seconds: Option<f64>,
    /// Maximal same-speaker runs among spoken turns.
    turn_count: u32,
    /// `success`, `failure` or `unknown`.
    call_successful: String,
    /// In prose; `null` without the scope `transcripts:read`, and in lists unless `summary_mode=include`.
    summary: Option<String>,
    /// BCP 47 code of the language spoken.
    language: Option<String>,
    /// BCP 47 code of the language it was translated to.
    translation_language: Option<String>,
    /// How it went.
    analytics: Analytics,
    /// What came of it.
    outcome: Outcome,
    /// How it was carried.
    technical: Technical,
    /// Its recording.
    recording: Recording,
    /// What it cost.
    cost: Option<Cost>,
    /// Tags.
    tags: Vec<String>,
    /// The provider's own fields, untouched, with what was patched into them.
    #[schema(value_type = Object)]
    metadata: Json,
    /// What people said of it.
    feedback: Vec<Feedback>,
}

/// One conversation with all that belongs to it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationDetail {
    #[serde(flatten)]
    pub(crate) conversation: Conversation,
    /// The turns in order; `null` without the scope `transcripts:read`, and for a past state (`as_of`).
    pub(crate) transcript: Option<Vec<Turn>>,
    /// The parts agents had in it, in order.
    pub(crate) sessions: Vec<Session>,
    /// What happened to it, oldest first.
    pub(crate) history: Vec<ConversationEvent>,
}

/// A page of conversations.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationPage {
    /// The conversations.
    pub(crate) conversations: Vec<Conversation>,
    /// Whether there are more.
    pub(crate) has_more: bool,
    /// Where the next page begins; `null` on the last.
    pub(crate) cursor: Option<String>,
    /// How many match in all; only with `include_total=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<i64>,
}

/// The person on the other side.
#[derive(Serialize, ToSchema)]
pub(crate) struct Caller {
    /// In E.164 where it can be written so.
    number: Option<String>,
    /// Their name.
    name: Option<String>,
}

/// What failed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Failure {
    /// By code.
    code: Option<String>,
    /// For people.
    message: Option<String>,
}

/// How a conversation went.
#[derive(Serialize, ToSchema)]
pub(crate) struct Analytics {
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
    /// `resolved`, `unresolved`, `escalated`, `transferred` or `unknown`.
    resolution_status: String,
    /// From 1 to 5.
    satisfaction_score: Option<f64>,
    /// `caller` when a person gave it, `inferred` when it was judged.
    satisfaction_source: Option<String>,
    /// Values extracted by name.
    #[schema(value_type = Object)]
    custom_analysis: Json,
}

/// What came of a conversation.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outcome {
    /// One word for the result.
    result: Option<String>,
    /// What was done.
    #[schema(value_type = Vec<Object>)]
    actions: Json,
    /// What is left to do.
    #[schema(value_type = Vec<Object>)]
    follow_up_tasks: Json,
    /// What other systems were told.
    #[schema(value_type = Vec<Object>)]
    integrations: Json,
}

/// How a conversation was carried.
#[derive(Serialize, ToSchema)]
pub(crate) struct Technical {
    /// For example `twilio`.
    voice_platform: Option<String>,
    /// Milliseconds by stage.
    #[schema(value_type = Object)]
    latency_ms: Json,
    /// Figures of quality.
    #[schema(value_type = Object)]
    quality: Json,
    /// Figures of the network.
    #[schema(value_type = Object)]
    network: Json,
    /// What went wrong on the way.
    errors: Vec<ConversationError>,
}

/// Something that went wrong inside a conversation.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationError {
    /// By code.
    code: String,
    /// For people.
    message: Option<String>,
    /// Where.
    component: Option<String>,
    /// When.
    at: Time,
}

/// What is known of the recordings.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recording {
    /// Whether one can be read now.
    available: bool,
    /// Media type of the mixed one, or of the first.
    content_type: Option<String>,
    /// Its length.
    duration_seconds: Option<f64>,
    /// `mixed`, `user`, `agent`.
    channels: Vec<String>,
}

/// Money.
#[derive(Serialize, ToSchema)]
pub(crate) struct Cost {
    /// Millionths of the currency unit.
    amount_micros: i64,
    /// ISO 4217 code.
    currency: String,
    /// Who says so.
    source: String,
}

/// One agent's part of a conversation.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// What identifies it within the conversation.
    session_id: String,
    /// The agent.
    agent_id: Option<String>,
    /// The agent's version.
    agent_version_id: Option<String>,
    /// When it began.
    started_at: Time,
    /// When it ended.
    ended_at: Time,
    /// Why it ended.
    reason: Option<String>,
}

/// A person's rating.
#[derive(Serialize, ToSchema)]
pub(crate) struct Feedback {
    /// From 1 to 5.
    rating: Option<u32>,
    /// `up` or `down`.
    thumbs: Option<String>,
    /// In their words.
    comment: Option<String>,
    /// When.
    at: Time,
}

/// Returns the word for a state.
pub(crate) fn status_word(status: pb::ConversationStatus) -> Option<&'static str> {
    match status {
        pb::ConversationStatus::Unspecified => None,
        pb::ConversationStatus::Initiated => Some("initiated"),
        pb::ConversationStatus::InProgress => Some("in_progress"),
        pb::ConversationStatus::Completed => Some("completed"),
        pb::ConversationStatus::Failed => Some("failed"),
        pb::ConversationStatus::Abandoned => Some("abandoned"),
    }
}

fn or_unknown(word: String) -> String {
    if word.is_empty() { "unknown".to_owned() } else { word }
}

impl From<pb::Cost> for Cost {
    fn from(given: pb::Cost) -> Self {
        Self { amount_micros: given.amount_micros, currency: given.currency, source: given.source }
    }
}

impl From<pb::Conversation> for Conversation {
    fn from(given: pb::Conversation) -> Self {
        let status = status_word(given.status());
        Self {
            conversation_id: given.conversation_id,
            external_id: given.external_id,
            provider: given.provider,
            thread_id: given.thread_id,
            organization_id: given.organization_id,
            client_id: given.client_id,
            user_id: given.user_id,
            agent_id: given.agent_id,
            agent_name: given.agent_name,
            agent_version_id: given.agent_version_id,
            channel: given.channel,
            direction: given.direction,
            caller: given.caller.unwrap_or_default().into(),
            status,
            end_reason: given.end_reason,
            end_reason_detail: given.end_reason_detail,
            failure: given.failure.map(|failure| Failure { code: failure.code, message: failure.message }),
            created_at: given.created_at.into(),
            started_at: given.started_at.into(),
            ended_at: given.ended_at.into(),
            duration_seconds: seconds(given.duration_ms),
            turn_count: given.turn_count,
            call_successful: or_unknown(given.call_successful),
            summary: given.summary,
            language: given.language,
            translation_language: given.translation_language,
            analytics: given.analytics.unwrap_or_default().into(),
            outcome: given.outcome.unwrap_or_default().into(),
            technical: given.technical.unwrap_or_default().into(),
            recording: given.recording.unwrap_or_default().into(),
            cost: given.cost.map(Cost::from),
            tags: given.tags,
            metadata: Json::object(given.metadata_json),
            feedback: given.feedback.into_iter().map(Feedback::from).collect(),
        }
    }
}

impl From<pb::Caller> for Caller {
    fn from(given: pb::Caller) -> Self {
        Self { number: given.number, name: given.name }
    }
}

impl From<pb::Analytics> for Analytics {
    fn from(given: pb::Analytics) -> Self {
        Self {
            sentiment: given.sentiment,
            sentiment_score: given.sentiment_score,
            topics: given.topics,
            keywords: given.keywords,
            intent: given.intent,
            resolution_status: or_unknown(given.resolution_status),
            satisfaction_score: given.satisfaction_score,
            satisfaction_source: given.satisfaction_source,
            custom_analysis: Json::object(given.custom_analysis_json),
        }
    }
}

impl From<pb::Outcome> for Outcome {
    fn from(given: pb::Outcome) -> Self {
        Self {
            result: given.result,
            actions: Json::array(given.actions_json),
            follow_up_tasks: Json::array(given.follow_up_tasks_json),
            integrations: Json::array(given.integrations_json),
        }
    }
}

impl From<pb::Technical> for Technical {
    fn from(given: pb::Technical) -> Self {
        let error = |error: pb::ConversationError| ConversationError {
            code: error.code,
            message: error.message,
            component: error.component,
            at: error.at.into(),
        };
        Self {
            voice_platform: given.voice_platform,
            latency_ms: Json::object(given.latency_ms_json),
            quality: Json::object(given.quality_json),
            network: Json::object(given.network_json),
            errors: given.errors.into_iter().map(error).collect(),
        }
    }
}

impl From<pb::RecordingSummary> for Recording {
    fn from(given: pb::RecordingSummary) -> Self {
        Self {
            available: given.available,
            content_type: given.content_type,
            duration_seconds: seconds(given.duration_ms),
            channels: given.channels,
        }
    }
}

impl From<pb::Session> for Session {
    fn from(given: pb::Session) -> Self {
        Self {
            session_id: given.session_id,
            agent_id: given.agent_id,
            agent_version_id: given.agent_version_id,
            started_at: given.started_at.into(),
            ended_at: given.ended_at.into(),
            reason: given.reason,
        }
    }
}

impl From<pb::Feedback> for Feedback {
    fn from(given: pb::Feedback) -> Self {
        Self { rating: given.rating, thumbs: given.thumbs, comment: given.comment, at: given.at.into() }
    }
}
