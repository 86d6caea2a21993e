//! Figures of a conversation so far.

use colloquy_proto::conversation::v1 as conversation;
use colloquy_proto::transcript::v1 as pb;
use colloquy_types::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::time::{Time, seconds};

/// Figures of a conversation so far.
#[derive(Serialize, ToSchema)]
pub(crate) struct Metrics {
    /// How long it has lasted.
    duration_seconds: Option<f64>,
    /// Maximal same-speaker runs among spoken turns.
    turn_count: u32,
    /// Who spoke how long.
    talk: Talk,
    /// When nobody spoke, for three seconds or longer.
    silence: Silence,
    /// Who spoke into the other's turn.
    interruptions: Interruptions,
    /// `positive`, `neutral` or `negative`.
    sentiment: Option<String>,
    /// From -1 to 1.
    sentiment_score: Option<f64>,
    /// What it is about.
    topics: Vec<String>,
}

/// Who spoke how long.
#[derive(Serialize, ToSchema)]
pub(crate) struct Talk {
    /// The agent's side.
    agent_ms: i64,
    /// The person.
    user_ms: i64,
    /// The agent's share of what was spoken, from 0 to 1.
    ratio: Option<f64>,
    /// Words a minute of speech.
    agent_words_per_minute: Option<f64>,
    /// Words a minute of speech.
    user_words_per_minute: Option<f64>,
}

/// When nobody spoke.
#[derive(Serialize, ToSchema)]
pub(crate) struct Silence {
    /// All of it.
    total_ms: i64,
    /// The longest.
    longest_ms: i64,
    /// How often.
    count: u32,
}

/// Who spoke into the other's turn.
#[derive(Serialize, ToSchema)]
pub(crate) struct Interruptions {
    /// The person into the agent's.
    by_user: Interruption,
    /// The agent into the person's.
    by_agent: Interruption,
}

/// One side speaking into the other's turn.
#[derive(Serialize, ToSchema)]
pub(crate) struct Interruption {
    /// How often.
    count: u32,
    /// How long both spoke.
    overlap_ms: i64,
}

impl Metrics {
    /// Returns the figures of a conversation as they are `now`. What the record does not say of mood and topics, analysers may have said
    /// so far.
    pub(crate) fn of(
        record: &conversation::Conversation,
        figures: pb::GetFiguresResponse,
        so_far: Option<conversation::Analytics>,
        now: Timestamp,
    ) -> Self {
        let talk = figures.talk.unwrap_or_default();
        let silence = figures.silence.unwrap_or_default();
        let interruption = |figures: Option<pb::InterruptionFigures>| {
            let figures = figures.unwrap_or_default();
            Interruption { count: figures.count, overlap_ms: figures.overlap_ms }
        };
        let (known, so_far) = (record.analytics.clone().unwrap_or_default(), so_far.unwrap_or_default());
        let (sentiment, sentiment_score) = match known.sentiment {
            Some(sentiment) => (Some(sentiment), known.sentiment_score),
            None => (so_far.sentiment, so_far.sentiment_score),
        };
        Self {
            duration_seconds: seconds(record.duration_ms.or_else(|| running_ms(record, now)).or(figures.duration_ms)),
            turn_count: figures.turn_count,
            talk: Talk {
                agent_ms: talk.agent_ms,
                user_ms: talk.user_ms,
                ratio: talk.ratio,
                agent_words_per_minute: talk.agent_words_per_minute,
                user_words_per_minute: talk.user_words_per_minute,
            },
            silence: Silence { total_ms: silence.total_ms, longest_ms: silence.longest_ms, count: silence.count },
            interruptions: Interruptions {
                by_user: interruption(figures.interruptions_by_user),
                by_agent: interruption(figures.interruptions_by_agent),
            },
            sentiment,
            sentiment_score,
            topics: if known.topics.is_empty() { so_far.topics } else { known.topics },
        }
    }
}

/// How long a conversation has been running.
fn running_ms(record: &conversation::Conversation, now: Timestamp) -> Option<i64> {
    use conversation::ConversationStatus::{InProgress, Initiated};
    let Time(started_at) = Time::from(record.started_at);
    let runs = matches!(record.status(), Initiated | InProgress);
    started_at.filter(|_| runs).map(|started_at| now.millis_since(started_at).max(0))
}
