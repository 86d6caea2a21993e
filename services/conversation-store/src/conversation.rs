//! The record of one conversation, as plain Rust. What [`crate::fold`] makes and [`crate::convert`] writes down.

use colloquy_events::{
    Authority, CallSuccessful, Cost, Direction, JsonMap, Outcome, RecordingChannel, ResolutionStatus, Sentiment, Status, Thumbs,
};
use colloquy_types::{ConversationId, Provider, Timestamp};

/// One conversation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Conversation {
    /// Its id.
    pub(crate) conversation_id: ConversationId,
    /// The provider's own id.
    pub(crate) external_id: String,
    /// Who it runs on.
    pub(crate) provider: Provider,
    /// The message thread it is one session of.
    pub(crate) thread_id: Option<String>,
    /// The organization's customer.
    pub(crate) client_id: Option<String>,
    /// The end user.
    pub(crate) user_id: Option<String>,
    /// The agent that led it.
    pub(crate) agent: Agent,
    /// `phone`, `web`, `chat`, …
    pub(crate) channel: Option<String>,
    /// Which way it went.
    pub(crate) direction: Option<Direction>,
    /// The person's number.
    pub(crate) caller_number: Option<String>,
    /// The person's name.
    pub(crate) caller_name: Option<String>,
    /// Where it stands.
    pub(crate) status: Status,
    /// Why it ended, in Colloquy's words.
    pub(crate) end_reason: Option<String>,
    /// Why it ended, in the provider's words.
    pub(crate) end_reason_detail: Option<String>,
    /// What failed, by code.
    pub(crate) failure_code: Option<String>,
    /// What failed, for people.
    pub(crate) failure_message: Option<String>,
    /// When it started, or was first seen.
    pub(crate) created_at: Timestamp,
    /// When it started.
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended.
    pub(crate) ended_at: Option<Timestamp>,
    /// How long it lasted.
    pub(crate) duration_ms: Option<i64>,
    /// Maximal same-speaker runs among spoken turns.
    pub(crate) turn_count: u32,
    /// The language spoken.
    pub(crate) language: Option<String>,
    /// Whether our analysers found it out, since nobody told.
    pub(crate) language_is_detected: bool,
    /// The language it was translated to.
    pub(crate) translation_language: Option<String>,
    /// How it went.
    pub(crate) analytics: Analytics,
    /// How it went by each authority alone, in ascending order of weight.
    pub(crate) judgements: Vec<(Authority, Analytics)>,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// How it was carried.
    pub(crate) technical: Technical,
    /// Its recordings, by channel.
    pub(crate) recordings: Vec<Recording>,
    /// What it cost.
    pub(crate) cost: Option<Cost>,
    /// Tags, in the order they came.
    pub(crate) tags: Vec<String>,
    /// The provider's own fields.
    pub(crate) metadata: JsonMap,
    /// The parts agents had in it, in order.
    pub(crate) sessions: Vec<Session>,
    /// What people said of it.
    pub(crate) feedback: Vec<Feedback>,
}

/// An agent, as one conversation knows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Agent {
    /// The provider's id of it.
    pub(crate) id: Option<String>,
    /// Its name at the time.
    pub(crate) name: Option<String>,
    /// Its version.
    pub(crate) version_id: Option<String>,
    /// Its settings at the time, as the provider sent them.
    pub(crate) version: Option<JsonMap>,
}

/// How a conversation went.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Analytics {
    /// Whether it reached its goal.
    pub(crate) call_successful: CallSuccessful,
    /// In prose.
    pub(crate) summary: Option<String>,
    /// The person's mood.
    pub(crate) sentiment: Option<Sentiment>,
    /// From -1 to 1.
    pub(crate) sentiment_score: Option<f64>,
    /// What it was about.
    pub(crate) topics: Vec<String>,
    /// Words that mattered.
    pub(crate) keywords: Vec<String>,
    /// What the person wanted.
    pub(crate) intent: Option<String>,
    /// What became of it.
    pub(crate) resolution_status: ResolutionStatus,
    /// How content the person was.
    pub(crate) satisfaction: Option<Satisfaction>,
    /// Values extracted by name.
    pub(crate) custom_analysis: JsonMap,
}

/// How content the person was, from 1 to 5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Satisfaction {
    /// A person said so.
    Caller(f64),
    /// It was judged.
    Inferred(f64),
}

impl Satisfaction {
    /// Returns the score.
    pub(crate) const fn score(self) -> f64 {
        match self {
            Self::Caller(score) | Self::Inferred(score) => score,
        }
    }

    /// Returns who says so: `caller` or `inferred`.
    pub(crate) const fn source(self) -> &'static str {
        match self {
            Self::Caller(_) => "caller",
            Self::Inferred(_) => "inferred",
        }
    }
}

/// How a conversation was carried.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Technical {
    /// For example `twilio`.
    pub(crate) voice_platform: Option<String>,
    /// Milliseconds by stage.
    pub(crate) latency_ms: JsonMap,
    /// Quality figures.
    pub(crate) quality: JsonMap,
    /// Network facts.
    pub(crate) network: JsonMap,
    /// What went wrong on the way.
    pub(crate) errors: Vec<TechnicalError>,
}

/// Something that went wrong inside a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TechnicalError {
    /// By code.
    pub(crate) code: String,
    /// For people.
    pub(crate) message: Option<String>,
    /// Where.
    pub(crate) component: Option<String>,
    /// When.
    pub(crate) at: Timestamp,
}

/// One agent's part of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// What identifies it within the conversation.
    pub(crate) session_id: String,
    /// The agent.
    pub(crate) agent_id: Option<String>,
    /// The agent's version.
    pub(crate) agent_version_id: Option<String>,
    /// When it began.
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended.
    pub(crate) ended_at: Option<Timestamp>,
    /// Why it ended.
    pub(crate) reason: Option<String>,
}

/// A person's rating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Feedback {
    /// From 1 to 5.
    pub(crate) rating: Option<u32>,
    /// A thumb instead.
    pub(crate) thumbs: Option<Thumbs>,
    /// In their words.
    pub(crate) comment: Option<String>,
    /// When.
    pub(crate) at: Timestamp,
}

/// What is known of the recording of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recording {
    /// Whose voice it holds.
    pub(crate) channel: RecordingChannel,
    /// Where it is.
    pub(crate) place: RecordingPlace,
    /// Media type.
    pub(crate) content_type: Option<String>,
    /// Length.
    pub(crate) duration_ms: Option<i64>,
}

/// Where a recording is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordingPlace {
    /// In the object store: it can be read.
    Stored {
        /// The key in the object store.
        object_key: String,
        /// Hex SHA-256 of the bytes.
        sha256: Option<String>,
        /// Size in bytes.
        size_bytes: Option<u64>,
    },
    /// At a URL, still to be fetched.
    Remote {
        /// Where to fetch it from.
        url: String,
    },
    /// It could not be fetched and will not be tried again.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

impl Recording {
    /// Returns whether it can be read.
    pub(crate) const fn is_stored(&self) -> bool {
        matches!(self.place, RecordingPlace::Stored { .. })
    }
}
