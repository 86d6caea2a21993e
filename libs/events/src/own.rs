//! Our own judgement among the events of a conversation.

use crate::{Data, Event, order};

/// Returns whether an event tells what our analysers found. The facts in it, such as the language that was detected, count only where
/// nobody else tells them.
pub fn is_own(event: &Event) -> bool {
    matches!(&event.data, Data::Analyzed(analysis) if analysis.authority.is_own())
}

/// Returns which of our own judgements counts: the one told last, with whatever weight. Each says all that our analysers find, so
/// that what a later one does not say is not so any more.
pub fn told_last<'e>(events: &[&'e Event]) -> Option<&'e Event> {
    events.iter().copied().filter(|event| is_own(event)).max_by_key(|event| (event.occurred_at, order::rank(event)))
}
