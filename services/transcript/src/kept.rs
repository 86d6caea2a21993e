//! What is kept of an event.
//!
//! Of the events of one lane only the greatest counts, so one is kept a lane. Events that speak of turns have the lanes of
//! [`colloquy_events::turn_set`]; an event that says where the conversation stands, or something a transcript shows, has a lane
//! of its own; all others share two, which only say that there is such a conversation, and that it has begun.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use colloquy_events::standing::shows_it_runs;
use colloquy_events::{Data, Event, LiveStatus, Record, Update, turn_set};
use colloquy_types::{ConversationId, EventId, OrganizationId, Provider, Timestamp};
use uuid::Uuid;

use crate::payload::{self, Unreadable};

/// The lane of events that say nothing but that the conversation exists.
const MENTIONED: Uuid = Uuid::nil();
/// The lane of events that say nothing but that the conversation has begun.
const BEGUN: Uuid = Uuid::max();
/// How much of [`turn_set::lane_rank`] tells events of one id apart: their time and ordinal.
const OWN_RANK: std::ops::Range<usize> = 4..16;

/// An event as it is kept, within its conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The lane.
    pub lane: Uuid,
    /// Its rank within the lane: of two, the one with the greater bytes is kept, and of two equals the one with the greater data.
    /// Ranks of a lane are equally long.
    pub rank: Vec<u8>,
    /// What it says.
    pub data: Vec<u8>,
}

/// An event as it is kept, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The conversation it happened in.
    pub conversation_id: ConversationId,
    /// The event.
    pub kept: Kept,
}

/// Returns what is to be kept of `records`: one row a lane, in the order of the table's key.
pub fn rows(records: &[Record]) -> Vec<Row> {
    let mut lanes: HashMap<(&OrganizationId, ConversationId, Uuid), ([u8; 32], &Event)> = HashMap::new();
    let mut writer = payload::Writer::default();
    for record in records {
        // What is not of the record does not even show that there is such a conversation.
        for event in record.events.iter().filter(|event| event.data.is_of_the_record()) {
            let rank = turn_set::lane_rank(event);
            match lanes.entry((&record.organization_id, event.conversation_id, lane(event))) {
                Entry::Vacant(slot) => {
                    slot.insert((rank, event));
                }
                Entry::Occupied(mut slot) => {
                    let (known_rank, known) = *slot.get();
                    let is_greater = match rank.cmp(&known_rank) {
                        // One event told twice, differently: any rule will do, as long as every replica follows it.
                        Ordering::Equal => event.data != known.data && writer.write(&event.data) > writer.write(&known.data),
                        order => order == Ordering::Greater,
                    };
                    if is_greater {
                        slot.insert((rank, event));
                    }
                }
            }
        }
    }
    let mut lanes: Vec<_> = lanes.into_iter().collect();
    lanes.sort_unstable_by_key(|(key, _)| *key);
    lanes
        .into_iter()
        .map(|((organization_id, conversation_id, lane), (rank, event))| {
            let (rank, data) = match lane {
                MENTIONED | BEGUN => (Vec::new(), Vec::new()),
                own if own == event.event_id.0 => (rank[OWN_RANK].to_vec(), writer.write(&event.data)),
                _ => (rank.to_vec(), writer.write(&event.data)),
            };
            Row { organization_id: organization_id.clone(), conversation_id, kept: Kept { lane, rank, data } }
        })
        .collect()
}

fn lane(event: &Event) -> Uuid {
    match turn_set::lane(event) {
        Some(lane) => lane,
        None if payload::says_something(&event.data) => event.event_id.0,
        None if shows_it_runs(&event.data) => BEGUN,
        None => MENTIONED,
    }
}

/// Returns the events that were kept of a conversation, as far as a transcript needs them: who sent them is not kept.
///
/// # Errors
/// When one cannot be read.
pub fn events(conversation_id: ConversationId, kept: &[Kept]) -> Result<Vec<Event>, Unreadable> {
    let mut reader = payload::Reader::default();
    kept.iter().filter_map(|kept| event(&mut reader, conversation_id, kept).transpose()).collect()
}

/// Returns the event; `None` when a newer release has kept it and this one does not know what it says.
fn event(reader: &mut payload::Reader, conversation_id: ConversationId, kept: &Kept) -> Result<Option<Event>, Unreadable> {
    let (times, event_id) = match kept.rank.len() {
        0 => (None, EventId(kept.lane)),
        12 => (Some(&kept.rank[..]), EventId(kept.lane)),
        32 => (Some(&kept.rank[OWN_RANK]), EventId(Uuid::from_slice(&kept.rank[16..]).map_err(Unreadable::new)?)),
        other => return Err(Unreadable::new(format!("a rank of {other} bytes"))),
    };
    let (occurred_at, ordinal) = match times {
        None => (Timestamp::default(), 0),
        Some(bytes) => {
            let (millis, ordinal) = bytes.split_at(8);
            let millis = (be_u64(millis) ^ 1 << 63) as i64;
            (Timestamp::from_millis(millis).map_err(Unreadable::new)?, be_u64(ordinal) as u32)
        }
    };
    let data = match kept.lane {
        MENTIONED => Some(Data::Updated(Update::default())),
        BEGUN => Some(Data::Updated(Update { status: Some(LiveStatus::InProgress), ..Update::default() })),
        _ => reader.read(&kept.data)?,
    };
    let (provider, external_id) = (Provider::Native, String::new());
    Ok(data.map(|data| Event { event_id, conversation_id, provider, external_id, occurred_at, ordinal, data }))
}

fn be_u64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use colloquy_events::{
        Alert, Analysis, Authority, CommandDone, CommandKind, ControlOffer, EndStatus, Ended, Facts, Feedback, Role, Severity,
        Speech, SpeechState, Transfer, TransferState, Turn,
    };
    use colloquy_types::{RecordId, TurnId};
    use proptest::prelude::*;

    use super::*;
    use crate::fold::fold;

    fn conversation() -> ConversationId {
        ConversationId(Uuid::from_u128(7))
    }

    fn event_of(number: u64, at: i64, data: Data) -> Event {
        Event {
            event_id: EventId::derive(conversation(), &[&number.to_string()]),
            conversation_id: conversation(),
            provider: Provider::Vapi,
            external_id: "call".to_owned(),
            occurred_at: Timestamp::from_millis(at).unwrap(),
            ordinal: (number % 3) as u32,
            data,
        }
    }

    fn record(events: Vec<Event>) -> Record {
        Record {
            record_id: RecordId::generate(),
            organization_id: "acme".parse().unwrap(),
            source_id: None,
            received_at: Timestamp::default(),
            events,
            traceparent: String::new(),
            sequence: 1,
        }
    }

    fn kept_of(events: Vec<Event>) -> Vec<Kept> {
        rows(&[record(events)]).into_iter().map(|row| row.kept).collect()
    }

    #[test]
    fn thousands_of_partial_turns_of_a_role_are_one_row() {
        let partial = |at: i64| {
            let turn = Turn { is_final: false, ..Turn::new(TurnId(Uuid::from_u128(at as u128)), Role::User) };
            event_of(at as u64, at, Data::TurnAdded(Turn { text: Some(format!("so far {at}")), ..turn }))
        };
        let kept = kept_of((0..5_000).map(partial).collect());
        assert_eq!(kept.len(), 1);
        let turns = fold(&events(conversation(), &kept).unwrap()).turns;
        assert_eq!(turns[0].text.as_deref(), Some("so far 4999"));
    }

    #[test]
    fn what_a_transcript_does_not_show_costs_two_rows_a_conversation() {
        let kept = kept_of(vec![
            event_of(1, 1, Data::FeedbackGiven(Feedback::default())),
            event_of(2, 2, Data::Updated(Update::default())),
            event_of(3, 3, Data::Analyzed(Analysis { summary: Some("long".to_owned()), ..Analysis::by(Authority::Provider) })),
            event_of(4, 4, Data::Updated(Update { status: Some(LiveStatus::InProgress), ..Update::default() })),
        ]);
        assert_eq!(kept, [MENTIONED, BEGUN].map(|lane| Kept { lane, rank: Vec::new(), data: Vec::new() }));
    }

    /// What is not of the record.
    fn passing() -> [Data; 3] {
        let alert = Alert {
            alert_id: Uuid::from_u128(1),
            rule_id: Uuid::from_u128(2),
            rule_name: "angry".to_owned(),
            severity: Severity::Critical,
            evidence: None,
        };
        [
            Data::SpeechUpdated(Speech { role: Role::User, state: SpeechState::Started }),
            Data::ControlOffered(ControlOffer { url: "https://voice.example/control".to_owned() }),
            Data::AlertOpened(alert),
        ]
    }

    #[test]
    fn what_is_not_of_the_record_is_not_kept() {
        let events = passing().into_iter().enumerate().map(|(number, data)| event_of(number as u64, 1, data)).collect();
        assert_eq!(kept_of(events), []);
    }

    #[test]
    fn a_command_shows_no_more_than_that_there_is_a_conversation() {
        let done = CommandDone { command_id: Uuid::from_u128(9), command: CommandKind::Mute };
        let kept = kept_of(vec![event_of(1, 1, Data::ControlApplied(done))]);
        assert_eq!(kept, [Kept { lane: MENTIONED, rank: Vec::new(), data: Vec::new() }]);
    }

    #[test]
    fn what_a_newer_release_has_kept_is_not_shown_and_harms_nothing() {
        let mut kept =
            kept_of(vec![event_of(1, 1, Data::Started(Facts { agent_name: Some("Ann".to_owned()), ..Facts::default() }))]);
        // Plain, with a field that no release has yet.
        let newer = Kept { lane: Uuid::from_u128(9), rank: kept[0].rank.clone(), data: vec![0, 0xfa, 0x01, 0x01, b'x'] };
        assert_eq!(kept[0].data[0], newer.data[0], "both are plain");
        kept.push(newer);
        let events = events(conversation(), &kept).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].event_id.0, kept[0].lane);
    }

    fn any_facts() -> impl Strategy<Value = Facts> {
        let word = || prop::option::of("[a-c]{1,2}");
        (word(), word(), word(), word(), prop::option::of(0..9_i64)).prop_map(
            |(agent_name, caller_name, language, translation_language, started_at)| Facts {
                agent_name,
                caller_name,
                language,
                translation_language,
                started_at: started_at.map(|at| Timestamp::from_millis(at).unwrap()),
                // What is not kept must not be missed.
                tags: vec!["tag".to_owned()],
                ..Facts::default()
            },
        )
    }

    fn any_data() -> impl Strategy<Value = Data> {
        let turn = (0..4_u128, prop_oneof![Just(Role::User), Just(Role::Agent)], any::<bool>(), "[ab]{0,2}").prop_map(
            |(id, role, is_final, text)| Turn { is_final, text: Some(text), ..Turn::new(TurnId(Uuid::from_u128(id)), role) },
        );
        let status = prop_oneof![Just(EndStatus::Completed), Just(EndStatus::Failed)];
        prop_oneof![
            any_facts().prop_map(Data::Started),
            (any_facts(), prop::option::of(prop::sample::select(LiveStatus::ALL)))
                .prop_map(|(facts, status)| Data::Updated(Update { facts, status })),
            (any_facts(), status, any::<bool>(), prop::option::of(0..9_i64)).prop_map(
                |(facts, status, inferred, duration_ms)| {
                    Data::Ended(Ended { facts, inferred, duration_ms, ..Ended::new(status) })
                }
            ),
            (any_facts(), prop::sample::select(Authority::ALL))
                .prop_map(|(facts, authority)| Data::Analyzed(Analysis { facts, ..Analysis::by(authority) })),
            Just(Data::FeedbackGiven(Feedback::default())),
            prop::sample::select(passing().to_vec()),
            Just(Data::ControlApplied(CommandDone { command_id: Uuid::nil(), command: CommandKind::Mute })),
            Just(Data::TransferUpdated(Transfer { state: TransferState::Started, destination: None })),
            turn.clone().prop_map(Data::TurnAdded),
            turn.clone().prop_map(Data::TurnUpdated),
            prop::collection::vec(turn.clone(), 0..3).prop_map(|turns| Data::TranscriptUpdated { turns }),
            (prop::collection::vec(turn, 0..3), 0..3_u32)
                .prop_map(|(turns, revision)| Data::TranscriptCompleted { turns, revision }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_kept_gives_the_same_transcript_as_everything(
            events_in in prop::collection::vec((any::<u64>(), -3..5_i64, any_data()), 1..14)
        ) {
            let all: Vec<Event> = events_in.into_iter().map(|(number, at, data)| event_of(number, at, data)).collect();
            let kept = kept_of(all.clone());
            prop_assert_eq!(fold(&events(conversation(), &kept).unwrap()), fold(&all));
        }

        #[test]
        fn bytes_that_were_never_written_are_an_error_and_not_a_panic(
            rank in prop::collection::vec(any::<u8>(), 0..40), data in prop::collection::vec(any::<u8>(), 0..60)
        ) {
            let _ = events(conversation(), &[Kept { lane: Uuid::from_u128(1), rank, data }]);
        }
    }
}
