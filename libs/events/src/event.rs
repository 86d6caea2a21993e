//! What happened, in one language for all providers.

use colloquy_types::{ConversationId, EventId, OrganizationId, Position, Provider, RecordId, SourceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Authority, CallSuccessful, CommandKind, Direction, EndStatus, LeaseState, LiveStatus, RecordingChannel, ResolutionStatus,
    Role, Sentiment, Severity, SpeechState, Thumbs, TransferState, Turn,
};

/// A JSON object.
pub type JsonMap = serde_json::Map<String, Value>;

/// One delivery, as the log hands it to readers.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// What identifies the delivery; a repeat has the same.
    pub record_id: RecordId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The source it came through; none for native events and commands.
    pub source_id: Option<SourceId>,
    /// When Colloquy received it.
    pub received_at: Timestamp,
    /// What happened.
    pub events: Vec<Event>,
    /// W3C `traceparent` of the request that brought it; empty when there was none.
    pub traceparent: String,
    /// Its number in the log; 0 before it is there.
    pub sequence: u64,
}

impl Record {
    /// Returns the position of event `index`.
    pub fn position_of(&self, index: usize) -> Position {
        Position::new(self.sequence, u16::try_from(index).unwrap_or(u16::MAX))
    }
}

/// One thing that happened in a conversation.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Derived from what identifies the event at its provider; a repeat has the same.
    pub event_id: EventId,
    /// The conversation it happened in.
    pub conversation_id: ConversationId,
    /// Who the conversation runs on.
    pub provider: Provider,
    /// The provider's own id of the conversation.
    pub external_id: String,
    /// When it happened by the provider's clock; the time of receipt when the provider does not say.
    pub occurred_at: Timestamp,
    /// Its place among the events of its delivery: what orders events of one instant.
    pub ordinal: u32,
    /// What happened.
    pub data: Data,
}

/// How the external ids begin under which alerts are told of that are about no conversation.
const ALERT_RULE: &str = "alert-rule:";

impl Event {
    /// Returns the external id under which a rule's alerts are told of that are about no conversation. Every event stands in a
    /// conversation: those stand in one of the rule's own, that nobody ever had and no service keeps.
    pub fn external_id_of_alert_rule(rule_id: Uuid) -> String {
        format!("{ALERT_RULE}{rule_id}")
    }

    /// Returns whether the event is about no conversation, and the one it stands in is not to be shown.
    pub fn is_about_no_conversation(&self) -> bool {
        match &self.data {
            Data::AlertOpened(alert) | Data::AlertAcknowledged(alert) | Data::AlertResolved(alert) => {
                let rule_id = self.external_id.strip_prefix(ALERT_RULE).and_then(|rule| Uuid::try_parse(rule).ok());
                self.provider == Provider::Native && rule_id == Some(alert.rule_id)
            }
            _ => false,
        }
    }
}

/// What happened. The serialised form is what `GET /v1/conversations/{id}/events` shows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Data {
    /// The conversation began, or became known.
    #[serde(rename = "conversation.started")]
    Started(Facts),
    /// Something about a running conversation changed.
    #[serde(rename = "conversation.updated")]
    Updated(Update),
    /// The conversation is over.
    #[serde(rename = "conversation.ended")]
    Ended(Ended),
    /// Somebody or something judged the conversation.
    #[serde(rename = "conversation.analyzed")]
    Analyzed(Analysis),
    /// A person changed the record through the API.
    #[serde(rename = "conversation.patched")]
    Patched(Patch),
    /// One turn was spoken, written or made by a tool.
    #[serde(rename = "turn.added")]
    TurnAdded(Turn),
    /// What is known of one turn changed; absent fields keep their value.
    #[serde(rename = "turn.updated")]
    TurnUpdated(Turn),
    /// The whole transcript so far.
    #[serde(rename = "transcript.updated")]
    TranscriptUpdated {
        /// Every turn so far, in order.
        turns: Vec<Turn>,
    },
    /// The final transcript, which decides which turns exist.
    #[serde(rename = "transcript.completed")]
    TranscriptCompleted {
        /// Every turn, in order.
        turns: Vec<Turn>,
        /// How far the provider had processed it: of several final transcripts the highest wins.
        revision: u32,
    },
    /// One agent began its part.
    #[serde(rename = "session.started")]
    SessionStarted(Session),
    /// One agent ended its part.
    #[serde(rename = "session.ended")]
    SessionEnded(SessionEnd),
    /// A transfer changed state.
    #[serde(rename = "transfer.updated")]
    TransferUpdated(Transfer),
    /// A recording exists, at a URL or in the object store.
    #[serde(rename = "recording.available")]
    RecordingAvailable(Recording),
    /// A recording could not be fetched and will not be tried again.
    #[serde(rename = "recording.failed")]
    RecordingFailed(RecordingFailed),
    /// A person rated the conversation.
    #[serde(rename = "feedback.given")]
    FeedbackGiven(Feedback),
    /// Something went wrong inside the conversation.
    #[serde(rename = "error.raised")]
    ErrorRaised(ErrorRaised),
    /// Somebody began or ceased to speak.
    #[serde(rename = "speech.updated")]
    SpeechUpdated(Speech),
    /// The provider said where a running conversation can be steered. Shown to nobody.
    #[serde(rename = "control.offered")]
    ControlOffered(ControlOffer),
    /// A command was taken and will be carried out.
    #[serde(rename = "control.accepted")]
    ControlAccepted(Command),
    /// A command was carried out.
    #[serde(rename = "control.applied")]
    ControlApplied(CommandDone),
    /// A command was not carried out, or nobody knows whether it was.
    #[serde(rename = "control.rejected")]
    ControlRejected(CommandRefused),
    /// Who holds the conversation changed.
    #[serde(rename = "control.lease_changed")]
    ControlLeaseChanged(LeaseChange),
    /// An alert was raised.
    #[serde(rename = "alert.opened")]
    AlertOpened(Alert),
    /// Somebody looks into an alert.
    #[serde(rename = "alert.acknowledged")]
    AlertAcknowledged(Alert),
    /// An alert is dealt with.
    #[serde(rename = "alert.resolved")]
    AlertResolved(Alert),
}

/// The names of all kinds of events, those that only services may see among them.
pub const KINDS: [&str; 25] = [
    "conversation.started",
    "conversation.updated",
    "conversation.ended",
    "conversation.analyzed",
    "conversation.patched",
    "turn.added",
    "turn.updated",
    "transcript.updated",
    "transcript.completed",
    "session.started",
    "session.ended",
    "transfer.updated",
    "recording.available",
    "recording.failed",
    "feedback.given",
    "error.raised",
    "speech.updated",
    "control.offered",
    "control.accepted",
    "control.applied",
    "control.rejected",
    "control.lease_changed",
    "alert.opened",
    "alert.acknowledged",
    "alert.resolved",
];

impl Data {
    /// Returns the kind's name, for example `turn.added`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Started(_) => "conversation.started",
            Self::Updated(_) => "conversation.updated",
            Self::Ended(_) => "conversation.ended",
            Self::Analyzed(_) => "conversation.analyzed",
            Self::Patched(_) => "conversation.patched",
            Self::TurnAdded(_) => "turn.added",
            Self::TurnUpdated(_) => "turn.updated",
            Self::TranscriptUpdated { .. } => "transcript.updated",
            Self::TranscriptCompleted { .. } => "transcript.completed",
            Self::SessionStarted(_) => "session.started",
            Self::SessionEnded(_) => "session.ended",
            Self::TransferUpdated(_) => "transfer.updated",
            Self::RecordingAvailable(_) => "recording.available",
            Self::RecordingFailed(_) => "recording.failed",
            Self::FeedbackGiven(_) => "feedback.given",
            Self::ErrorRaised(_) => "error.raised",
            Self::SpeechUpdated(_) => "speech.updated",
            Self::ControlOffered(_) => "control.offered",
            Self::ControlAccepted(_) => "control.accepted",
            Self::ControlApplied(_) => "control.applied",
            Self::ControlRejected(_) => "control.rejected",
            Self::ControlLeaseChanged(_) => "control.lease_changed",
            Self::AlertOpened(_) => "alert.opened",
            Self::AlertAcknowledged(_) => "alert.acknowledged",
            Self::AlertResolved(_) => "alert.resolved",
        }
    }

    /// Returns what the event says of the conversation as a whole, when it says anything.
    pub const fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Started(facts) => Some(facts),
            Self::Updated(update) => Some(&update.facts),
            Self::Ended(ended) => Some(&ended.facts),
            Self::Analyzed(analysis) => Some(&analysis.facts),
            _ => None,
        }
    }

    /// Returns what the event says of the conversation as a whole, to be completed.
    pub const fn facts_mut(&mut self) -> Option<&mut Facts> {
        match self {
            Self::Started(facts) => Some(facts),
            Self::Updated(update) => Some(&mut update.facts),
            Self::Ended(ended) => Some(&mut ended.facts),
            Self::Analyzed(analysis) => Some(&mut analysis.facts),
            _ => None,
        }
    }

    /// Returns whether the event speaks of turns: what the transcript is made of.
    pub const fn is_about_turns(&self) -> bool {
        matches!(
            self,
            Self::TurnAdded(_) | Self::TurnUpdated(_) | Self::TranscriptUpdated { .. } | Self::TranscriptCompleted { .. }
        )
    }

    /// Returns whether the event belongs to the course of its conversation, and so to its record and history. What passes (who
    /// speaks right now), what only services may know and what others think of the conversation does not.
    pub const fn is_of_the_record(&self) -> bool {
        !matches!(
            self,
            Self::SpeechUpdated(_)
                | Self::ControlOffered(_)
                | Self::AlertOpened(_)
                | Self::AlertAcknowledged(_)
                | Self::AlertResolved(_)
        )
    }

    /// Returns whether the event may be shown to people outside of Colloquy.
    pub const fn is_public(&self) -> bool {
        !matches!(self, Self::ControlOffered(_))
    }
}

/// What may be known of a conversation at any time. `None` says nothing; it never clears a value.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The agent that led the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The agent's name at the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    /// The provider's id of the agent's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version_id: Option<String>,
    /// The agent's settings at the time, as the provider sent them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<JsonMap>,
    /// `phone`, `web`, `chat`, `sms`, `whatsapp`, `email`, or another word a provider uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Which way it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The person's number, in E.164 where it can be written so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_number: Option<String>,
    /// The person's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_name: Option<String>,
    /// The organization's customer this conversation belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The end user, as the organization calls them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The message thread this conversation is one session of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// BCP 47 code of the language spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// BCP 47 code of the language it was translated to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translation_language: Option<String>,
    /// When it began; absent when it never connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Tags from the provider or the sender.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The provider's own fields, untouched. Objects of several events are merged key by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JsonMap>,
    /// The platform that carried it, for example `twilio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice_platform: Option<String>,
    /// Latencies in milliseconds, by stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<JsonMap>,
    /// Quality figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<JsonMap>,
    /// Network facts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<JsonMap>,
}

/// Something about a running conversation changed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Update {
    /// What is known.
    #[serde(flatten)]
    pub facts: Facts,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<LiveStatus>,
}

/// The conversation is over.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// What is known.
    #[serde(flatten)]
    pub facts: Facts,
    /// How it ended.
    pub status: EndStatus,
    /// Why, in the words of [`crate::end_reason`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<String>,
    /// Why, in the provider's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason_detail: Option<String>,
    /// What failed, by code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_code: Option<String>,
    /// What failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_message: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How long it lasted, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// What it cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Where it was transferred to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred_to: Option<String>,
    /// Whether a machine answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voicemail: Option<bool>,
    /// True when Colloquy closed it because nothing was heard any more: any real end overrides this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inferred: bool,
}

impl Ended {
    /// Returns an end of which only the status is known.
    pub fn new(status: EndStatus) -> Self {
        Self {
            facts: Facts::default(),
            status,
            end_reason: None,
            end_reason_detail: None,
            failure_code: None,
            failure_message: None,
            ended_at: None,
            duration_ms: None,
            cost: None,
            transferred_to: None,
            voicemail: None,
            inferred: false,
        }
    }
}

/// Money.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cost {
    /// Millionths of the currency unit.
    pub amount_micros: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Who says so.
    pub source: String,
}

impl Cost {
    /// Returns what a provider charged, `amount` in units of `currency`; `None` when it is not a sum of money.
    pub fn from_provider(amount: f64, currency: &str) -> Option<Self> {
        let micros = (amount * 1e6).round();
        (micros.is_finite() && micros.abs() < 9e18).then(|| Self {
            amount_micros: micros as i64,
            currency: currency.to_owned(),
            source: "provider".to_owned(),
        })
    }
}

/// Somebody or something judged the conversation. `None` says nothing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Analysis {
    /// What is known.
    #[serde(flatten)]
    pub facts: Facts,
    /// Whose judgement it is.
    pub authority: Authority,
    /// Whether it reached its goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_successful: Option<CallSuccessful>,
    /// A summary in prose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The person's mood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<Sentiment>,
    /// From -1 (negative) to 1 (positive).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentiment_score: Option<f64>,
    /// What it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<String>>,
    /// Words that mattered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keywords: Option<Vec<String>>,
    /// What the person wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution_status: Option<ResolutionStatus>,
    /// From 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub satisfaction_score: Option<f64>,
    /// What came of the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Values extracted by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_analysis: Option<JsonMap>,
}

impl Analysis {
    /// Returns an analysis that says nothing yet.
    pub fn by(authority: Authority) -> Self {
        Self {
            facts: Facts::default(),
            authority,
            call_successful: None,
            summary: None,
            sentiment: None,
            sentiment_score: None,
            topics: None,
            keywords: None,
            intent: None,
            resolution_status: None,
            satisfaction_score: None,
            outcome: None,
            custom_analysis: None,
        }
    }
}

/// What came of a conversation.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// One word for the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<Value>>,
    /// What remains to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow_up_tasks: Option<Vec<Value>>,
    /// What other systems were told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrations: Option<Vec<Value>>,
}

/// A person changed the record. Later patches win over earlier ones, and over every provider.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Patch {
    /// The new tags, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// A JSON merge patch (RFC 7396) for the metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JsonMap>,
    /// The new client.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub client_id: Change,
    /// The new end user.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub user_id: Change,
}

/// What a patch does to one text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Change {
    /// Nothing.
    #[default]
    Keep,
    /// A new value, or none.
    To(Option<String>),
}

impl Change {
    /// Returns whether nothing changes.
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl Serialize for Change {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::To(None) => serializer.serialize_none(),
            Self::To(Some(text)) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<String>::deserialize(deserializer).map(Self::To)
    }
}

/// One agent began its part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// What identifies the part within its conversation.
    pub session_id: String,
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The agent's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version_id: Option<String>,
}

/// One agent ended its part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SessionEnd {
    /// Whose part.
    #[serde(flatten)]
    pub session: Session,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A transfer changed state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transfer {
    /// Where it stands.
    pub state: TransferState,
    /// A number or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

/// A recording exists.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// Where to fetch it from; absent once it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The key in the object store; absent until it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_key: Option<String>,
    /// Hex SHA-256 of the bytes; known once it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Size in bytes; known once it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Length in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// Whose voice it holds.
    pub channel: RecordingChannel,
}

/// A recording could not be fetched and will not be tried again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordingFailed {
    /// Which one.
    pub channel: RecordingChannel,
    /// Why, for people.
    pub reason: String,
}

/// A person rated the conversation.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Feedback {
    /// From 1 to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating: Option<u32>,
    /// A thumb instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbs: Option<Thumbs>,
    /// In the person's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Something went wrong inside the conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErrorRaised {
    /// What, by code.
    pub code: String,
    /// What, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
}

/// Somebody began or ceased to speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Speech {
    /// Who.
    pub role: Role,
    /// Which.
    pub state: SpeechState,
}

/// Where a running conversation can be steered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlOffer {
    /// The provider's address for commands to this conversation. Who knows it can steer the call.
    pub url: String,
}

impl std::fmt::Debug for ControlOffer {
    /// Shows nothing.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlOffer")
    }
}

/// A command to a running conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Command {
    /// The command.
    pub command_id: Uuid,
    /// What is to be done.
    pub command: CommandKind,
    /// What to say or to inject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where to transfer to: a number in E.164, or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Whether the agent is to be muted, or heard again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    /// Who gave it: the name the holder of the lease goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

/// A command was carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommandDone {
    /// The command.
    pub command_id: Uuid,
    /// What was done.
    pub command: CommandKind,
}

/// A command was not carried out, or nobody knows whether it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommandRefused {
    /// The command.
    pub command_id: Uuid,
    /// What was to be done.
    pub command: CommandKind,
    /// Why, by code: `unsupported`, `conversation_ended`, `vendor_refused`, `vendor_unavailable`, `outcome_unknown`,
    /// `agent_refused`, `no_answer`, or another word.
    pub reason: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Who holds a conversation changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseChange {
    /// What became of the lease.
    pub state: LeaseState,
    /// Who holds it now, or held it: the name they go by.
    pub holder: String,
    /// When it runs out unless it is renewed; `None` when nobody holds it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What an alert is about.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// The alert.
    pub alert_id: Uuid,
    /// The rule that raised it.
    pub rule_id: Uuid,
    /// What people call the rule.
    pub rule_name: String,
    /// How much it matters.
    pub severity: Severity,
    /// What the rule saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<JsonMap>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_of_a_rule_in_its_own_place_is_about_no_conversation() {
        let rule_id = Uuid::from_u128(1);
        let alert = |rule_id| Alert {
            alert_id: Uuid::from_u128(2),
            rule_id,
            rule_name: "r".to_owned(),
            severity: Severity::Info,
            evidence: None,
        };
        let of_rule = || Event::external_id_of_alert_rule(rule_id);
        for (external_id, data, expected) in [
            (of_rule(), Data::AlertOpened(alert(rule_id)), true),
            (of_rule(), Data::AlertAcknowledged(alert(rule_id)), true),
            (of_rule(), Data::AlertResolved(alert(rule_id)), true),
            // A sender may call its conversations what it likes.
            (of_rule(), Data::AlertOpened(alert(Uuid::from_u128(3))), false),
            (of_rule(), Data::Started(Facts::default()), false),
            ("c".to_owned(), Data::AlertOpened(alert(rule_id)), false),
        ] {
            let event = Event {
                event_id: EventId(Uuid::nil()),
                conversation_id: ConversationId(Uuid::nil()),
                provider: Provider::Native,
                external_id,
                occurred_at: Timestamp::default(),
                ordinal: 0,
                data,
            };
            assert_eq!(event.is_about_no_conversation(), expected, "{event:?}");
        }
    }
}
