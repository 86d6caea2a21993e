//! What every mapper takes and gives.

use colloquy_events::Event;
use colloquy_types::{OrganizationId, Timestamp};

/// What a mapper has to know besides the body.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Whose delivery it is.
    pub organization_id: &'a OrganizationId,
    /// When it arrived: dates what the provider does not.
    pub received_at: Timestamp,
}

/// What a delivery means.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapped {
    /// What happened, in order. Empty when the delivery is understood and holds nothing to keep.
    pub events: Vec<Event>,
}

impl Mapped {
    /// Returns the meaning of a delivery that holds nothing to keep.
    pub(crate) const fn nothing() -> Self {
        Self { events: Vec::new() }
    }
}

/// Why a delivery cannot be mapped. The text is shown as the reason of its quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The body, or a field without which it means nothing, is not what it has to be.
    #[error("{0}")]
    Malformed(String),
    /// The body is of a type nobody has taught us.
    #[error("unknown event type '{0}'")]
    UnknownEvent(String),
    /// The body holds more events than a record may carry.
    #[error("holds {0} events, more than the 65536 a delivery may carry")]
    TooManyEvents(usize),
}

impl MapError {
    /// Returns the error of a field, by its path and what is wrong with it.
    pub(crate) fn field(path: &str, problem: &str) -> Self {
        Self::Malformed(format!("{path}: {problem}"))
    }

    /// Returns the error of an event type that is not known.
    pub(crate) fn unknown_event(name: &str) -> Self {
        Self::UnknownEvent(name.chars().filter(|letter| !letter.is_control()).take(100).collect())
    }
}
