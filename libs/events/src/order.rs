//! How the set of a conversation's events is put in order.
//!
//! Deliveries arrive late, twice and shuffled, and their times are not always to be trusted (an agent-session envelope can be
//! dated before its own messages). So an event's phase counts first, its time only among its like, and its id decides the rest:
//! the order is total and depends on nothing but the events themselves (design.md, decision 3).

use colloquy_types::{EventId, Timestamp};

use crate::{Authority, Data, Event};

/// An event's place in the order; greater is later, and later facts win.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank {
    phase: u8,
    occurred_at: Timestamp,
    ordinal: u32,
    event_id: EventId,
}

/// Returns the place of `event` in the order.
pub fn rank(event: &Event) -> Rank {
    Rank { phase: phase(&event.data), occurred_at: event.occurred_at, ordinal: event.ordinal, event_id: event.event_id }
}

/// Returns how far along its conversation an event of this kind is. What a provider knows at the end is better than what it knew
/// at the start; an inferred end knows less than anything; a person knows best.
pub const fn phase(data: &Data) -> u8 {
    match data {
        Data::Ended(ended) if ended.inferred => 0,
        Data::Started(_) => 1,
        Data::Updated(_)
        | Data::TurnAdded(_)
        | Data::TurnUpdated(_)
        | Data::TranscriptUpdated { .. }
        | Data::SessionStarted(_)
        | Data::SessionEnded(_)
        | Data::TransferUpdated(_)
        | Data::ErrorRaised(_)
        | Data::RecordingFailed(_)
        | Data::RecordingAvailable(_)
        | Data::SpeechUpdated(_)
        | Data::ControlOffered(_)
        | Data::ControlAccepted(_)
        | Data::ControlApplied(_)
        | Data::ControlRejected(_)
        | Data::ControlLeaseChanged(_)
        | Data::AlertOpened(_)
        | Data::AlertAcknowledged(_)
        | Data::AlertResolved(_) => 2,
        Data::Ended(_) | Data::TranscriptCompleted { .. } => 3,
        Data::Analyzed(analysis) => match analysis.authority {
            Authority::Own => 4,
            Authority::Provider => 5,
            Authority::OwnLeading => 6,
            Authority::Human => 7,
        },
        Data::FeedbackGiven(_) => 8,
        Data::Patched(_) => 9,
    }
}
