//! Which turns a conversation has, given the set of events that speak of turns.
//!
//! The transcript service folds whole turns with it, the conversation store folds turns without their words: both get the same
//! turns in the same order, because the rules live here alone.
//!
//! Events fall into lanes. Of a lane, only the greatest event counts, so a store keeps one row a lane and thousands of partial
//! transcripts of a running call cost one row (see [`lane`] and [`lane_rank`]):
//!
//! - every final transcript shares one lane, by revision and then time;
//! - every transcript so far shares another, by time;
//! - partial turns of one role share one lane, by time;
//! - every other turn event has a lane of its own.

use std::collections::HashMap;

use colloquy_types::{EventId, Timestamp, TurnId};
use uuid::Uuid;

use crate::{Data, Event, Message, Role, Turn};

/// Returns the lane an event about turns belongs to, as an id unique within its conversation; `None` when it is not about turns.
pub fn lane(event: &Event) -> Option<Uuid> {
    const FINAL_TRANSCRIPT: u128 = 1;
    const TRANSCRIPT_SO_FAR: u128 = 2;
    const PARTIAL: u128 = 16;
    match &event.data {
        Data::TranscriptCompleted { .. } => Some(Uuid::from_u128(FINAL_TRANSCRIPT)),
        Data::TranscriptUpdated { .. } => Some(Uuid::from_u128(TRANSCRIPT_SO_FAR)),
        Data::TurnAdded(turn) | Data::TurnUpdated(turn) if !turn.is_final => Some(Uuid::from_u128(PARTIAL + turn.role as u128)),
        Data::TurnAdded(_) | Data::TurnUpdated(_) => Some(event.event_id.0),
        _ => None,
    }
}

/// Returns the event's rank within its lane, as bytes that compare as the ranks do; of two events of a lane the greater counts.
pub fn lane_rank(event: &Event) -> [u8; 32] {
    let revision = match &event.data {
        Data::TranscriptCompleted { revision, .. } => *revision,
        _ => 0,
    };
    let mut rank = [0; 32];
    rank[..4].copy_from_slice(&revision.to_be_bytes());
    // Flipping the sign bit makes the bytes of signed numbers compare as the numbers do.
    rank[4..12].copy_from_slice(&(event.occurred_at.as_millis() as u64 ^ 1 << 63).to_be_bytes());
    rank[12..16].copy_from_slice(&event.ordinal.to_be_bytes());
    rank[16..].copy_from_slice(event.event_id.as_bytes());
    rank
}

/// Returns the turns of a conversation, in order, from its events in any order. Events that are not about turns are ignored.
///
/// A final transcript decides which turns exist. Before there is one, the latest transcript so far stands, followed by single
/// turns that are younger than it; a partial turn shows only while nothing of its role is younger.
pub fn resolve(events: &[Event]) -> Vec<Turn> {
    let singles = Singles::collect(events);
    if let Some((_, completed)) = greatest(events, |data| matches!(data, Data::TranscriptCompleted { .. })) {
        let Data::TranscriptCompleted { turns, .. } = &completed.data else { return Vec::new() };
        return turns.iter().map(|turn| singles.complete(turn, completed.occurred_at)).collect();
    }

    let so_far = greatest(events, |data| matches!(data, Data::TranscriptUpdated { .. })).map(|(_, event)| event);
    let mut turns = match so_far.map(|event| &event.data) {
        Some(Data::TranscriptUpdated { turns }) => turns.clone(),
        _ => Vec::new(),
    };
    let covered_until = so_far.map(|event| event.occurred_at);
    turns.extend(singles.after(covered_until));
    turns.extend(singles.partials_after(covered_until));
    turns
}

/// Returns the number of maximal same-speaker runs among the spoken turns.
pub fn count_runs<'a>(turns: impl IntoIterator<Item = &'a Turn>) -> u32 {
    let mut runs = 0;
    let mut previous = None;
    for turn in turns.into_iter().filter(|turn| turn.is_spoken()) {
        let speaker = (turn.role, turn.speaker.as_deref());
        if previous != Some(speaker) {
            runs += 1;
            previous = Some(speaker);
        }
    }
    runs
}

fn greatest(events: &[Event], wanted: impl Fn(&Data) -> bool) -> Option<([u8; 32], &Event)> {
    events.iter().filter(|event| wanted(&event.data)).map(|event| (lane_rank(event), event)).max_by_key(|(rank, _)| *rank)
}

/// One turn made of the events that speak of it alone.
struct Single {
    turn: Turn,
    /// When it was first spoken of: where it stands when nothing better says so.
    first: (Timestamp, u32),
    /// When it was last spoken of.
    last: Timestamp,
}

/// The turns that events speak of one at a time.
struct Singles {
    finals: Vec<Single>,
    by_id: HashMap<TurnId, usize>,
    partials: Vec<(Timestamp, (u32, EventId), Turn)>,
}

impl Singles {
    fn collect(events: &[Event]) -> Self {
        let mut singles: Vec<&Event> =
            events.iter().filter(|event| matches!(event.data, Data::TurnAdded(_) | Data::TurnUpdated(_))).collect();
        // An update may overtake the turn it updates, so additions come first whatever their time.
        singles.sort_unstable_by_key(|event| {
            (matches!(event.data, Data::TurnUpdated(_)), event.occurred_at, event.ordinal, event.event_id)
        });
        let mut collected = Self { finals: Vec::with_capacity(singles.len()), by_id: HashMap::new(), partials: Vec::new() };
        for event in singles {
            let (Data::TurnAdded(turn) | Data::TurnUpdated(turn)) = &event.data else { continue };
            if turn.is_final {
                collected.add(turn, event);
            } else {
                collected.partials.push((event.occurred_at, (event.ordinal, event.event_id), turn.clone()));
            }
        }
        collected
    }

    fn add(&mut self, turn: &Turn, event: &Event) {
        match self.by_id.get(&turn.turn_id) {
            Some(&at) => {
                let single = &mut self.finals[at];
                overlay(&mut single.turn, turn);
                single.last = single.last.max(event.occurred_at);
            }
            None => {
                self.by_id.insert(turn.turn_id, self.finals.len());
                let first = (event.occurred_at, event.ordinal);
                self.finals.push(Single { turn: turn.clone(), first, last: event.occurred_at });
            }
        }
    }

    /// Returns a turn of the final transcript with what only single events know of it; a younger event overrides it.
    fn complete(&self, turn: &Turn, completed_at: Timestamp) -> Turn {
        let Some(single) = self.by_id.get(&turn.turn_id).map(|&at| &self.finals[at]) else { return turn.clone() };
        let (mut base, over) =
            if single.last > completed_at { (turn.clone(), &single.turn) } else { (single.turn.clone(), turn) };
        overlay(&mut base, over);
        base
    }

    /// Returns the single turns younger than `covered_until`, in order.
    fn after(&self, covered_until: Option<Timestamp>) -> Vec<Turn> {
        let mut younger: Vec<&Single> =
            self.finals.iter().filter(|single| covered_until.is_none_or(|until| single.first.0 > until)).collect();
        let all_offsets = younger.iter().all(|single| single.turn.start_ms.is_some());
        younger.sort_by_key(|single| {
            let turn = &single.turn;
            let offset = if all_offsets { turn.start_ms } else { None };
            let at = turn.at.unwrap_or(single.first.0);
            (turn.index.is_none(), turn.index, offset, at, single.first, turn.turn_id)
        });
        younger.into_iter().map(|single| single.turn.clone()).collect()
    }

    /// Returns the youngest partial turn of each role, where nothing final of that role is younger.
    fn partials_after(&self, covered_until: Option<Timestamp>) -> Vec<Turn> {
        let mut latest: HashMap<Role, &(Timestamp, (u32, EventId), Turn)> = HashMap::new();
        for partial in &self.partials {
            let slot = latest.entry(partial.2.role).or_insert(partial);
            if (partial.0, partial.1) > (slot.0, slot.1) {
                *slot = partial;
            }
        }
        let mut shown: Vec<_> = latest
            .into_values()
            .filter(|(at, _, partial)| {
                covered_until.is_none_or(|until| *at > until)
                    && !self.by_id.contains_key(&partial.turn_id)
                    && !self.finals.iter().any(|single| single.turn.role == partial.role && single.last >= *at)
            })
            .collect();
        shown.sort_unstable_by_key(|(at, event_id, _)| (*at, *event_id));
        shown.into_iter().map(|(_, _, turn)| turn.clone()).collect()
    }
}

/// Puts what `over` knows over what `base` knows; what it does not know stays.
fn overlay(base: &mut Turn, over: &Turn) {
    fn set<T: Clone>(base: &mut Option<T>, over: &Option<T>) {
        if over.is_some() {
            base.clone_from(over);
        }
    }
    base.role = over.role;
    base.is_final = base.is_final || over.is_final;
    set(&mut base.index, &over.index);
    set(&mut base.speaker, &over.speaker);
    set(&mut base.text, &over.text);
    set(&mut base.heard_text, &over.heard_text);
    set(&mut base.translated_text, &over.translated_text);
    set(&mut base.start_ms, &over.start_ms);
    set(&mut base.end_ms, &over.end_ms);
    set(&mut base.tool_call, &over.tool_call);
    set(&mut base.tool_result, &over.tool_result);
    set(&mut base.at, &over.at);
    if !over.words.is_empty() {
        base.words.clone_from(&over.words);
    }
    if let Some(message) = &over.message {
        overlay_message(base.message.get_or_insert_default(), message);
    }
}

fn overlay_message(base: &mut Message, over: &Message) {
    let fields = [
        (&mut base.kind, &over.kind),
        (&mut base.from, &over.from),
        (&mut base.to, &over.to),
        (&mut base.delivery_status, &over.delivery_status),
    ];
    for (base, over) in fields {
        if over.is_some() {
            base.clone_from(over);
        }
    }
    base.direction = over.direction.or(base.direction);
    if !over.attachments.is_empty() {
        base.attachments.clone_from(&over.attachments);
    }
}

#[cfg(test)]
mod tests {
    use colloquy_types::{ConversationId, Provider};
    use proptest::prelude::*;

    use super::*;

    fn event(number: u64, at: i64, data: Data) -> Event {
        let conversation_id = ConversationId(Uuid::nil());
        Event {
            event_id: EventId::derive(conversation_id, &[&number.to_string()]),
            conversation_id,
            provider: Provider::Native,
            external_id: "c".to_owned(),
            occurred_at: Timestamp::from_millis(at).unwrap(),
            ordinal: 0,
            data,
        }
    }

    fn turn(name: &str, role: Role, text: &str) -> Turn {
        Turn { text: Some(text.to_owned()), ..Turn::new(TurnId::derive(ConversationId(Uuid::nil()), name), role) }
    }

    fn texts(turns: &[Turn]) -> Vec<&str> {
        turns.iter().filter_map(|turn| turn.text.as_deref()).collect()
    }

    #[test]
    fn a_final_transcript_decides_which_turns_exist() {
        let events = [
            event(1, 10, Data::TurnAdded(turn("a", Role::User, "helo"))),
            event(2, 20, Data::TranscriptUpdated { turns: vec![turn("b", Role::User, "hello the")] }),
            event(3, 5, Data::TranscriptCompleted { turns: vec![turn("c", Role::User, "hello there")], revision: 1 }),
            event(4, 50, Data::TranscriptCompleted { turns: vec![turn("d", Role::User, "poorer")], revision: 0 }),
        ];
        assert_eq!(texts(&resolve(&events)), ["hello there"]);
    }

    #[test]
    fn a_partial_turn_gives_way_to_the_final_one_of_its_role() {
        let partial = |at, text| event(at as u64, at, Data::TurnAdded(Turn { is_final: false, ..turn("p", Role::User, text) }));
        let mut events = vec![partial(1, "he"), partial(2, "hello")];
        assert_eq!(texts(&resolve(&events)), ["hello"]);
        events.push(event(9, 3, Data::TurnAdded(turn("f", Role::User, "Hello."))));
        assert_eq!(texts(&resolve(&events)), ["Hello."]);
    }

    #[test]
    fn an_update_that_overtook_its_turn_still_counts() {
        let update = Turn { text: None, translated_text: Some("hallo".to_owned()), ..turn("a", Role::User, "") };
        let events = [event(1, 1, Data::TurnUpdated(update)), event(2, 2, Data::TurnAdded(turn("a", Role::User, "hello")))];
        let turns = resolve(&events);
        assert_eq!(texts(&turns), ["hello"]);
        assert_eq!(turns[0].translated_text.as_deref(), Some("hallo"));
    }

    #[test]
    fn runs_count_changes_of_speaker_among_spoken_turns() {
        let turns = [
            turn("1", Role::Agent, "a"),
            turn("2", Role::Agent, "b"),
            turn("3", Role::Tool, "t"),
            turn("4", Role::Agent, "c"),
            turn("5", Role::User, " "),
            turn("6", Role::User, "d"),
        ];
        assert_eq!(count_runs(&turns), 2);
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let any_turn = (0..4_u8, prop_oneof![Just(Role::User), Just(Role::Agent)], any::<bool>(), "[ab]{0,2}")
            .prop_map(|(name, role, is_final, text)| Turn { is_final, ..turn(&name.to_string(), role, &text) });
        let data = prop_oneof![
            any_turn.clone().prop_map(Data::TurnAdded),
            any_turn.clone().prop_map(Data::TurnUpdated),
            prop::collection::vec(any_turn.clone(), 0..3).prop_map(|turns| Data::TranscriptUpdated { turns }),
            (prop::collection::vec(any_turn, 0..3), 0..3_u32)
                .prop_map(|(turns, revision)| Data::TranscriptCompleted { turns, revision }),
        ];
        (any::<u64>(), 0..5_i64, 0..3_u32, data)
            .prop_map(|(number, at, ordinal, data)| Event { ordinal, ..event(number, at, data) })
    }

    proptest! {
        #[test]
        fn neither_order_nor_keeping_one_event_a_lane_changes_the_turns(
            (events, shuffled) in prop::collection::vec(any_event(), 0..12)
                .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()))
        ) {
            let mut lanes: HashMap<Uuid, &Event> = HashMap::new();
            for event in &shuffled {
                let slot = lanes.entry(lane(event).unwrap()).or_insert(event);
                if lane_rank(event) > lane_rank(slot) {
                    *slot = event;
                }
            }
            let kept: Vec<Event> = lanes.into_values().cloned().collect();
            prop_assert_eq!(resolve(&events), resolve(&shuffled));
            prop_assert_eq!(resolve(&events), resolve(&kept));
        }
    }
}
