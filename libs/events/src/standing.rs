//! Where a conversation stands, and when it began and ended, given the set of its events.
//!
//! The conversation store's record and the transcript both show it; the rules live here alone, so that the two never disagree.

use colloquy_types::Timestamp;

use crate::{Data, Ended, Event, LiveStatus, Status};

/// Where a conversation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The greatest real end's status; an inferred end's when there is no real one; else where it runs.
    pub status: Status,
    /// When it began; `None` when it never connected, or nobody said.
    pub started_at: Option<Timestamp>,
    /// When it ended. Nobody knows when an inferred end happened.
    pub ended_at: Option<Timestamp>,
    /// How long it lasted, in milliseconds.
    pub duration_ms: Option<i64>,
}

impl Standing {
    /// Returns where the conversation stands whose events these are, put in order by [`crate::order::rank`].
    pub fn of(ordered: &[&Event]) -> Self {
        let mut started_at = None;
        let mut runs = false;
        let mut ending: Option<Ending> = None;
        for event in ordered {
            runs |= shows_it_runs(&event.data);
            if let Some(facts) = event.data.facts() {
                started_at = facts.started_at.or(started_at);
            }
            if let Data::Ended(ended) = &event.data {
                // Inferred ends come before all real ones, which replace what they said altogether.
                let earlier = ending.take().filter(|earlier| ended.inferred || !earlier.inferred);
                ending = Some(Ending::after(earlier, ended, event.occurred_at));
            }
        }
        let Some(ending) = ending else {
            let status = if runs { Status::InProgress } else { Status::Initiated };
            return Self { status, started_at, ended_at: None, duration_ms: None };
        };
        let (ended_at, duration_ms) = ending.times(started_at);
        Self { status: ending.status, started_at, ended_at, duration_ms }
    }
}

/// Returns whether an event shows that its conversation has begun.
pub const fn shows_it_runs(data: &Data) -> bool {
    match data {
        Data::Updated(update) => matches!(update.status, Some(LiveStatus::InProgress)),
        Data::Ended(_)
        | Data::Patched(_)
        | Data::FeedbackGiven(_)
        | Data::ErrorRaised(_)
        | Data::ControlOffered(_)
        | Data::ControlAccepted(_)
        | Data::ControlApplied(_)
        | Data::ControlRejected(_)
        | Data::ControlLeaseChanged(_)
        | Data::AlertOpened(_)
        | Data::AlertAcknowledged(_)
        | Data::AlertResolved(_) => false,
        _ => true,
    }
}

/// What the ends so far say.
struct Ending {
    status: Status,
    inferred: bool,
    told_at: Timestamp,
    ended_at: Option<Timestamp>,
    duration_ms: Option<i64>,
}

impl Ending {
    fn after(earlier: Option<Self>, ended: &Ended, told_at: Timestamp) -> Self {
        let (known_end, known_duration) = earlier.map_or((None, None), |earlier| (earlier.ended_at, earlier.duration_ms));
        Self {
            status: ended.status.into(),
            inferred: ended.inferred,
            told_at,
            ended_at: ended.ended_at.or(known_end),
            duration_ms: ended.duration_ms.filter(|millis| *millis >= 0).or(known_duration),
        }
    }

    /// Returns when it ended and how long it lasted. Each follows from the other where only one was given; when nobody said when
    /// it ended, it was when the end was told.
    fn times(&self, started_at: Option<Timestamp>) -> (Option<Timestamp>, Option<i64>) {
        let told = (!self.inferred).then_some(self.told_at);
        let computed = started_at.zip(self.duration_ms).map(|(start, millis)| start.saturating_add_millis(millis));
        let ended_at = self.ended_at.or(computed).or(told);
        let lasted = started_at.zip(ended_at).map(|(start, end)| end.millis_since(start)).filter(|millis| *millis >= 0);
        (ended_at, self.duration_ms.or(lasted))
    }
}

#[cfg(test)]
mod tests {
    use colloquy_types::{ConversationId, EventId, Provider};
    use uuid::Uuid;

    use super::*;
    use crate::{EndStatus, Facts, order};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn event(millis: i64, data: Data) -> Event {
        let conversation_id = ConversationId(Uuid::nil());
        Event {
            event_id: EventId::derive(conversation_id, &[&format!("{millis} {data:?}")]),
            conversation_id,
            provider: Provider::Native,
            external_id: "c".to_owned(),
            occurred_at: at(millis),
            ordinal: 0,
            data,
        }
    }

    fn standing(events: &[Event]) -> Standing {
        let mut ordered: Vec<&Event> = events.iter().collect();
        ordered.sort_by_key(|event| order::rank(event));
        Standing::of(&ordered)
    }

    #[test]
    fn a_real_end_replaces_what_an_inferred_one_said() {
        let started = event(1_000, Data::Started(Facts { started_at: Some(at(1_000)), ..Facts::default() }));
        let inferred = Ended { inferred: true, ended_at: Some(at(99_000)), ..Ended::new(EndStatus::Failed) };
        let events = [event(90_000, Data::Ended(inferred)), started.clone()];
        assert_eq!(standing(&events).status, Status::Failed);
        let events = [events[0].clone(), started, event(5_000, Data::Ended(Ended::new(EndStatus::Completed)))];
        let expected = Standing {
            status: Status::Completed,
            started_at: Some(at(1_000)),
            ended_at: Some(at(5_000)),
            duration_ms: Some(4_000),
        };
        assert_eq!(standing(&events), expected);
    }

    #[test]
    fn a_conversation_is_only_announced_until_something_shows_that_it_runs() {
        assert_eq!(standing(&[]).status, Status::Initiated);
        let feedback = event(1, Data::FeedbackGiven(crate::Feedback::default()));
        assert_eq!(standing(std::slice::from_ref(&feedback)).status, Status::Initiated);
        let turn = event(2, Data::TranscriptUpdated { turns: Vec::new() });
        assert_eq!(standing(&[feedback, turn]).status, Status::InProgress);
    }
}
