//! Deliveries: one message for one endpoint, and the attempts at it.

use colloquy_types::{ConversationId, OrganizationId, Position, Timestamp};
use uuid::Uuid;

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Not attempted yet, or to be attempted again.
    Pending,
    /// The endpoint took it.
    Succeeded,
    /// It was given up before its schedule ended: the endpoint is gone, disabled or removed from it.
    Failed,
    /// Every attempt of its schedule failed.
    Exhausted,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Succeeded, Self::Failed, Self::Exhausted];

    /// Returns the name used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Exhausted => "exhausted",
        }
    }
}

/// One message for one endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Derived from endpoint and message: an endpoint is told a thing once.
    pub delivery_id: Uuid,
    /// For whom.
    pub endpoint_id: Uuid,
    /// What.
    pub message_id: Uuid,
    /// The message's type.
    pub event_type: String,
    /// The message's conversation.
    pub conversation_id: ConversationId,
    /// The message's position.
    pub position: Position,
    /// Where it stands.
    pub status: Status,
    /// How many attempts of the present schedule were made; a manual retry begins a new schedule.
    pub schedule_attempts: u32,
    /// How many attempts were made in all.
    pub attempt_count: u32,
    /// When it is due; `None` when it is not.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The newest 20 attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

/// One try at a delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// What was answered; `None` when nothing was.
    pub status_code: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// What went wrong, for people; without anything of what was sent.
    pub error: Option<String>,
    /// The beginning of the answer's body, at most 1 KiB of text.
    pub response: Option<String>,
}

impl Delivery {
    /// Returns the id of the delivery of a message to an endpoint.
    pub fn id_of(endpoint_id: Uuid, message_id: Uuid) -> Uuid {
        Uuid::new_v5(&endpoint_id, message_id.as_bytes())
    }
}
