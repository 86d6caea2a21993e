//! The small vocabulary every Colloquy crate shares: identifiers and how they are derived, time and the clock it is read
//! through, organizations, scopes and telephone numbers. Nothing here does I/O.

mod clock;
mod conversation_name;
mod id;
mod organization;
mod phone;
mod position;
mod provider;
mod scope;
mod timestamp;

pub use clock::{Clock, ManualClock, SystemClock};
pub use conversation_name::{BadName, ConversationName};
pub use id::{ConversationId, EventId, KeyId, QuarantineId, RecordId, SourceId, TurnId};
pub use organization::{OrganizationId, OrganizationIdError};
pub use phone::normalize as normalize_phone_number;
pub use position::Position;
pub use provider::{Provider, UnknownProvider};
pub use scope::{Scope, ScopeSet, UnknownScope};
pub use timestamp::{Timestamp, TimestampError};
