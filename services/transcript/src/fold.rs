//! A transcript as a pure function of the set of a conversation's events (design decision 3).
//!
//! It is made when it is read, not when an event arrives: the words are then stored once and written once, and a dozen small
//! messages fold in microseconds. Status, language and length follow the rules by which the conversation store makes its record,
//! so that the two never disagree.

use colloquy_events::standing::Standing;
use colloquy_events::{Event, Facts, Status, Turn, order, own, turn_set};
use colloquy_types::Timestamp;

/// What was said, and what of the conversation one has to know to show it.
#[derive(Clone, PartialEq, Debug)]
pub struct Transcript {
    /// Where the conversation stands.
    pub status: Status,
    /// BCP 47 code of the language spoken.
    pub language: Option<String>,
    /// BCP 47 code of the language it was translated to.
    pub translation_language: Option<String>,
    /// What the agent is called.
    pub agent_name: Option<String>,
    /// What the person is called.
    pub caller_name: Option<String>,
    /// When it began, when somebody said so.
    pub started_at: Option<Timestamp>,
    /// How long the conversation lasted.
    pub duration_ms: Option<i64>,
    /// What was said, in order.
    pub turns: Vec<Turn>,
}

/// Returns the transcript that `events`, in any order, make. Those that are not of the record count as none.
pub fn fold(events: &[Event]) -> Transcript {
    let mut ordered: Vec<&Event> = events.iter().filter(|event| event.data.is_of_the_record()).collect();
    ordered.sort_unstable_by_key(|event| order::rank(event));
    let standing = Standing::of(&ordered);
    let mut transcript = Transcript {
        status: standing.status,
        language: None,
        translation_language: None,
        agent_name: None,
        caller_name: None,
        started_at: standing.started_at,
        duration_ms: standing.duration_ms,
        turns: turn_set::resolve(events),
    };
    let own = own::told_last(&ordered).into_iter();
    for event in own.chain(ordered.iter().copied().filter(|event| !own::is_own(event))) {
        event.data.facts().into_iter().for_each(|facts| transcript.learn(facts));
    }
    place_by_the_clock(&mut transcript.turns, standing.started_at);
    transcript
}

/// Gives turns their places by when they were said, where that is all that is known: messages carry the time of day, not the
/// milliseconds since the start. The two are not mixed, since their clocks may differ.
fn place_by_the_clock(turns: &mut [Turn], started_at: Option<Timestamp>) {
    let Some(started_at) = started_at else { return };
    if turns.iter().any(|turn| turn.start_ms.is_some() || turn.end_ms.is_some() || !turn.words.is_empty()) {
        return;
    }
    for turn in turns {
        turn.start_ms = turn.at.map(|at| at.millis_since(started_at)).filter(|millis| *millis >= 0);
    }
}

fn learn<T: Clone>(known: &mut Option<T>, said: Option<&T>) {
    if let Some(said) = said {
        *known = Some(said.clone());
    }
}

impl Transcript {
    fn learn(&mut self, facts: &Facts) {
        learn(&mut self.language, facts.language.as_ref());
        learn(&mut self.translation_language, facts.translation_language.as_ref());
        learn(&mut self.agent_name, facts.agent_name.as_ref());
        learn(&mut self.caller_name, facts.caller_name.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::{Analysis, Authority, Data, EndStatus, Ended, LiveStatus, Role, Update};
    use colloquy_types::{ConversationId, EventId, Provider, TurnId};
    use uuid::Uuid;

    use super::*;

    fn event(at: i64, data: Data) -> Event {
        let conversation_id = ConversationId(Uuid::nil());
        Event {
            event_id: EventId::generate(),
            conversation_id,
            provider: Provider::Native,
            external_id: String::new(),
            occurred_at: Timestamp::from_millis(at).unwrap(),
            ordinal: 0,
            data,
        }
    }

    fn status(events: &[Event]) -> &'static str {
        fold(events).status.as_str()
    }

    #[test]
    fn the_language_is_the_one_that_was_told_and_the_one_that_was_detected_where_none_was() {
        let in_language = |language: &str| Facts { language: Some(language.to_owned()), ..Facts::default() };
        let ours = Analysis { facts: in_language("de"), ..Analysis::by(Authority::Own) };
        let ours = event(9, Data::Analyzed(ours));
        let told = event(1, Data::Started(in_language("nl")));
        assert_eq!(fold(std::slice::from_ref(&ours)).language.as_deref(), Some("de"));
        assert_eq!(fold(&[ours, told]).language.as_deref(), Some("nl"));
    }

    fn ended(at: i64, status: EndStatus, inferred: bool) -> Event {
        event(at, Data::Ended(Ended { inferred, ..Ended::new(status) }))
    }

    #[test]
    fn a_conversation_is_initiated_until_something_shows_that_it_runs() {
        let update = |status| event(1, Data::Updated(Update { status, ..Update::default() }));
        assert_eq!(status(&[]), "initiated");
        assert_eq!(status(&[update(None)]), "initiated");
        assert_eq!(status(&[update(Some(LiveStatus::Initiated))]), "initiated");
        assert_eq!(status(&[update(Some(LiveStatus::InProgress))]), "in_progress");
        assert_eq!(status(&[event(1, Data::Started(Facts::default()))]), "in_progress");
        assert_eq!(status(&[event(1, Data::TurnAdded(Turn::new(TurnId::generate(), Role::User)))]), "in_progress");
    }

    #[test]
    fn a_real_end_beats_an_inferred_one_and_the_later_real_one_counts() {
        let inferred = ended(9, EndStatus::Failed, true);
        assert_eq!(status(std::slice::from_ref(&inferred)), "failed");
        let events = [ended(2, EndStatus::Completed, false), inferred, ended(1, EndStatus::Abandoned, false)];
        assert_eq!(status(&events), "completed");
    }

    #[test]
    fn a_later_poorer_event_clears_nothing() {
        let named = Facts { agent_name: Some("Ana".to_owned()), language: Some("en".to_owned()), ..Facts::default() };
        let poorer = Facts { language: Some("de".to_owned()), ..Facts::default() };
        let update = |facts| Data::Updated(Update { facts, status: None });
        let transcript = fold(&[event(2, update(poorer)), event(1, update(named))]);
        assert_eq!((transcript.agent_name.as_deref(), transcript.language.as_deref()), (Some("Ana"), Some("de")));
    }

    #[test]
    fn turns_known_by_the_time_of_day_alone_are_placed_by_it() {
        let at = |millis| Timestamp::from_millis(millis).ok();
        let started = event(0, Data::Started(Facts { started_at: at(1_000), ..Facts::default() }));
        let said = |millis| Turn { at: at(millis), ..Turn::new(TurnId::generate(), Role::User) };
        let completed = |turns| event(9, Data::TranscriptCompleted { turns, revision: 0 });
        let starts = |events: &[Event]| fold(events).turns.iter().map(|turn| turn.start_ms).collect::<Vec<_>>();
        assert_eq!(starts(&[started.clone(), completed(vec![said(900), said(3_500)])]), [None, Some(2_500)]);
        let offset = Turn { start_ms: Some(7), ..said(900) };
        assert_eq!(starts(&[started, completed(vec![offset, said(3_500)])]), [Some(7), None]);
    }

    #[test]
    fn the_duration_is_the_time_between_start_and_end_when_nobody_says_it() {
        let at = |millis| Some(Timestamp::from_millis(millis).unwrap());
        let started = event(1, Data::Started(Facts { started_at: at(1_000), ..Facts::default() }));
        let mut end = Ended { ended_at: at(61_000), ..Ended::new(EndStatus::Completed) };
        assert_eq!(fold(&[started.clone(), event(2, Data::Ended(end.clone()))]).duration_ms, Some(60_000));
        end.ended_at = None;
        assert_eq!(fold(&[started.clone(), event(91_000, Data::Ended(end.clone()))]).duration_ms, Some(90_000));
        end.duration_ms = Some(55_000);
        assert_eq!(fold(&[started, event(2, Data::Ended(end))]).duration_ms, Some(55_000));
    }
}
