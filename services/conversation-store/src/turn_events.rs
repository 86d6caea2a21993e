//! The events about turns as this service keeps them: a turn's id, role and place, and when its words begin, never what they are.
//!
//! All of a conversation's turn events are one value, rewritten when one is added. A conversation of a dozen turns then costs one
//! row instead of a dozen, and is read, folded and written with three statements a batch, whatever the batch holds; only the
//! greatest event of each lane ([`colloquy_events::turn_set`]) is in it, so partial transcripts do not make it grow.

use std::cmp::Ordering;
use std::collections::HashMap;

use colloquy_events::{Data, Event, Role, Turn, Word, turn_set};
use colloquy_figures::Times;
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, EventId, Provider, Timestamp, TurnId};
use prost::Message;
use uuid::Uuid;

/// What stands for words that were spoken. Whether there were any is all that counts here.
const SPOKEN: &str = "x";

/// Something about turns, without their words.
#[derive(Clone, PartialEq, prost::Message)]
struct Row {
    #[prost(bytes = "vec", tag = "1")]
    event_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(int64, tag = "3")]
    occurred_at: i64,
    #[prost(uint32, tag = "4")]
    ordinal: u32,
    #[prost(uint32, tag = "5")]
    revision: u32,
    /// Milliseconds from `occurred_at` to the receipt.
    #[prost(sint64, tag = "6")]
    received_after: i64,
    #[prost(message, repeated, tag = "7")]
    turns: Vec<TurnRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TurnRow {
    #[prost(bytes = "vec", tag = "1")]
    turn_id: Vec<u8>,
    /// The role in the low four bits, then whether it is final, then two bits each for text and heard text.
    #[prost(uint32, tag = "2")]
    flags: u32,
    #[prost(uint32, optional, tag = "3")]
    index: Option<u32>,
    #[prost(sint64, optional, tag = "4")]
    start_ms: Option<i64>,
    /// Milliseconds from the event's `occurred_at`.
    #[prost(sint64, optional, tag = "5")]
    at_after: Option<i64>,
    #[prost(string, optional, tag = "6")]
    speaker: Option<String>,
    /// Where its words begin, which say so better than `start_ms`. Rows that v0.1.0 wrote do not have it.
    #[prost(sint64, optional, tag = "7")]
    words_start_ms: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Rows {
    #[prost(message, repeated, tag = "1")]
    rows: Vec<Row>,
}

const ADDED: u32 = 0;
const UPDATED: u32 = 1;
const SO_FAR: u32 = 2;
const COMPLETED: u32 = 3;

/// The turn events of one conversation: of each lane the greatest, and when it was received.
#[derive(Debug, Default)]
pub(crate) struct TurnEvents {
    kept: Vec<(Event, Timestamp)>,
    lanes: HashMap<Uuid, usize>,
}

impl TurnEvents {
    /// Adds an event without its words, unless a greater one of its lane is there. Returns whether it was added.
    pub(crate) fn add(&mut self, event: &Event, received_at: Timestamp) -> bool {
        let Some(lane) = turn_set::lane(event) else { return false };
        let Some(&place) = self.lanes.get(&lane) else {
            self.lanes.insert(lane, self.kept.len());
            self.kept.push((without_words(event), received_at));
            return true;
        };
        let known = &self.kept[place];
        // In a lane of its own an event is never greater than itself, even when a sender dated it anew: what was told first counts,
        // whichever of them a replica happens to hear first. In a shared lane its latest date counts: whatever it displaces by one
        // date must not displace it by another.
        let order = match lane == event.event_id.0 {
            true => Ordering::Equal,
            false => turn_set::lane_rank(event).cmp(&turn_set::lane_rank(&known.0)),
        };
        if order == Ordering::Less {
            return false;
        }
        let told = (without_words(event), received_at);
        let counts = order == Ordering::Greater || is_told_before(&told, known);
        if counts {
            self.kept[place] = told;
        }
        counts
    }

    /// Returns the events.
    pub(crate) fn into_events(self) -> impl Iterator<Item = (Event, Timestamp)> {
        self.kept.into_iter()
    }

    /// Returns the bytes they are kept as, the same for the same set.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut kept: Vec<&(Event, Timestamp)> = self.kept.iter().collect();
        kept.sort_unstable_by_key(|(event, _)| (event.occurred_at, event.ordinal, event.event_id));
        Rows { rows: kept.into_iter().map(|(event, received_at)| row(event, *received_at)).collect() }.encode_to_vec()
    }

    /// Reads what [`TurnEvents::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8], conversation: &Named) -> Result<Self, StoreError> {
        let corrupt = || StoreError::Corrupt("turn events".to_owned());
        let rows = Rows::decode(bytes).map_err(|_| corrupt())?.rows;
        let mut events = Self { kept: Vec::with_capacity(rows.len()), lanes: HashMap::with_capacity(rows.len()) };
        for row in rows {
            let (event, received_at) = event(row, conversation).ok_or_else(corrupt)?;
            if let Some(lane) = turn_set::lane(&event) {
                events.lanes.insert(lane, events.kept.len());
            }
            events.kept.push((event, received_at));
        }
        Ok(events)
    }
}

/// What every event of a conversation repeats, and is therefore not kept with each.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) conversation_id: ConversationId,
    pub(crate) provider: Provider,
    pub(crate) external_id: String,
}

fn is_told_before(one: &(Event, Timestamp), other: &(Event, Timestamp)) -> bool {
    match one.1.cmp(&other.1) {
        Ordering::Equal => one.0 != other.0 && row(&one.0, one.1).encode_to_vec() < row(&other.0, other.1).encode_to_vec(),
        order => order == Ordering::Less,
    }
}

fn without_words(event: &Event) -> Event {
    let strip = |turns: &[Turn]| turns.iter().map(stripped).collect();
    let data = match &event.data {
        Data::TurnAdded(turn) => Data::TurnAdded(stripped(turn)),
        Data::TurnUpdated(turn) => Data::TurnUpdated(stripped(turn)),
        Data::TranscriptUpdated { turns } => Data::TranscriptUpdated { turns: strip(turns) },
        Data::TranscriptCompleted { turns, revision } => Data::TranscriptCompleted { turns: strip(turns), revision: *revision },
        other => other.clone(),
    };
    Event { data, external_id: event.external_id.clone(), ..*event }
}

fn stripped(turn: &Turn) -> Turn {
    let times = Times::of(turn);
    Turn {
        words: times.start.filter(|_| times.from_words).map(word_at).into_iter().collect(),
        index: turn.index,
        start_ms: turn.start_ms,
        at: turn.at,
        speaker: turn.speaker.clone(),
        text: marker(turn.text.as_deref()),
        heard_text: marker(turn.heard_text.as_deref()),
        is_final: turn.is_final,
        ..Turn::new(turn.turn_id, turn.role)
    }
}

/// Returns what stands for words that begin at `start_ms`.
fn word_at(start_ms: i64) -> Word {
    Word { text: SPOKEN.to_owned(), start_ms, end_ms: start_ms }
}

fn marker(text: Option<&str>) -> Option<String> {
    text.map(|text| if text.trim().is_empty() { String::new() } else { SPOKEN.to_owned() })
}

fn row(event: &Event, received_at: Timestamp) -> Row {
    let (kind, turns, revision) = match &event.data {
        Data::TurnAdded(turn) => (ADDED, std::slice::from_ref(turn), 0),
        Data::TurnUpdated(turn) => (UPDATED, std::slice::from_ref(turn), 0),
        Data::TranscriptUpdated { turns } => (SO_FAR, turns.as_slice(), 0),
        Data::TranscriptCompleted { turns, revision } => (COMPLETED, turns.as_slice(), *revision),
        _ => (SO_FAR, [].as_slice(), 0),
    };
    Row {
        event_id: event.event_id.as_bytes().to_vec(),
        kind,
        occurred_at: event.occurred_at.as_millis(),
        ordinal: event.ordinal,
        revision,
        received_after: received_at.millis_since(event.occurred_at),
        turns: turns.iter().map(|turn| turn_row(turn, event.occurred_at)).collect(),
    }
}

fn turn_row(turn: &Turn, occurred_at: Timestamp) -> TurnRow {
    let words = |text: &Option<String>| match text.as_deref() {
        None => 0,
        Some("") => 1,
        Some(_) => 2,
    };
    let role = Role::ALL.iter().position(|role| *role == turn.role).unwrap_or_default() as u32;
    let flags = role | u32::from(turn.is_final) << 4 | words(&turn.text) << 5 | words(&turn.heard_text) << 7;
    TurnRow {
        turn_id: turn.turn_id.as_bytes().to_vec(),
        flags,
        index: turn.index,
        start_ms: turn.start_ms,
        at_after: turn.at.map(|at| at.millis_since(occurred_at)),
        speaker: turn.speaker.clone(),
        words_start_ms: turn.words.first().map(|word| word.start_ms),
    }
}

fn event(row: Row, conversation: &Named) -> Option<(Event, Timestamp)> {
    let occurred_at = Timestamp::from_millis(row.occurred_at).ok()?;
    let mut turns = row.turns.into_iter().map(|turn| turn_of(turn, occurred_at)).collect::<Option<Vec<Turn>>>()?;
    let data = match row.kind {
        ADDED => Data::TurnAdded(turns.pop()?),
        UPDATED => Data::TurnUpdated(turns.pop()?),
        SO_FAR => Data::TranscriptUpdated { turns },
        COMPLETED => Data::TranscriptCompleted { turns, revision: row.revision },
        _ => return None,
    };
    let event = Event {
        event_id: EventId(Uuid::from_slice(&row.event_id).ok()?),
        conversation_id: conversation.conversation_id,
        provider: conversation.provider,
        external_id: conversation.external_id.clone(),
        occurred_at,
        ordinal: row.ordinal,
        data,
    };
    Some((event, occurred_at.saturating_add_millis(row.received_after)))
}

fn turn_of(row: TurnRow, occurred_at: Timestamp) -> Option<Turn> {
    let words = |bits: u32| match bits & 3 {
        0 => None,
        1 => Some(String::new()),
        _ => Some(SPOKEN.to_owned()),
    };
    Some(Turn {
        index: row.index,
        start_ms: row.start_ms,
        at: row.at_after.map(|millis| occurred_at.saturating_add_millis(millis)),
        speaker: row.speaker,
        text: words(row.flags >> 5),
        heard_text: words(row.flags >> 7),
        words: row.words_start_ms.map(word_at).into_iter().collect(),
        is_final: row.flags & 16 != 0,
        ..Turn::new(TurnId(Uuid::from_slice(&row.turn_id).ok()?), *Role::ALL.get((row.flags & 15) as usize)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> Named {
        Named { conversation_id: ConversationId(Uuid::nil()), provider: Provider::Native, external_id: "c".to_owned() }
    }

    fn added(number: u8, at: i64, turn: Turn) -> Event {
        let Named { conversation_id, provider, external_id } = named();
        let event_id = EventId(Uuid::from_u128(u128::from(number)));
        let occurred_at = Timestamp::from_millis(at).unwrap();
        Event { event_id, conversation_id, provider, external_id, occurred_at, ordinal: 0, data: Data::TurnAdded(turn) }
    }

    #[test]
    fn words_are_not_kept_but_whether_there_were_any_is() {
        let turn = |number, text: &str| Turn {
            text: Some(text.to_owned()),
            translated_text: Some("secret".to_owned()),
            at: Timestamp::from_millis(77).ok(),
            index: Some(3),
            ..Turn::new(TurnId(Uuid::from_u128(number)), Role::User)
        };
        let mut events = TurnEvents::default();
        assert!(events.add(&added(1, 5, turn(1, "secret")), Timestamp::from_millis(9).unwrap()));
        assert!(events.add(&added(2, 6, turn(2, " ")), Timestamp::from_millis(9).unwrap()));
        let bytes = events.encode();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        let read: Vec<_> = TurnEvents::decode(&bytes, &named()).unwrap().into_events().collect();
        let kept: Vec<_> = events.into_events().collect();
        assert_eq!(read, kept);
        let spoken: Vec<bool> = read
            .iter()
            .map(|(event, _)| matches!(&event.data, Data::TurnAdded(turn) if turn.is_spoken() && turn.index == Some(3)))
            .collect();
        assert_eq!(spoken, [true, false]);
    }

    #[test]
    fn turns_are_counted_alike_with_their_words_and_without() {
        let said = |number, role, start_ms, end_ms| Turn {
            text: Some("secret".to_owned()),
            words: vec![Word { text: "secret".to_owned(), start_ms, end_ms }],
            ..Turn::new(TurnId(Uuid::from_u128(number)), role)
        };
        // The agent goes on speaking while the person says something, and is told when it is over.
        let turns = vec![
            said(1, Role::User, 2_000, 2_500),
            said(2, Role::Agent, 0, 3_000),
            said(3, Role::User, 4_000, 5_000),
            Turn { start_ms: Some(9_000), ..said(4, Role::Agent, 1_000, 1_500) },
        ];
        let whole = Event { data: Data::TranscriptCompleted { turns, revision: 1 }, ..added(1, 9, said(9, Role::User, 0, 0)) };
        let mut events = TurnEvents::default();
        events.add(&whole, Timestamp::default());
        let bytes = events.encode();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        let count = |events: &[Event]| colloquy_figures::turn_count(&turn_set::resolve(events));
        let kept = TurnEvents::decode(&bytes, &named()).unwrap().into_events().map(|(event, _)| event);
        assert_eq!((count(&kept.collect::<Vec<_>>()), count(&[whole])), (2, 2));
    }

    #[test]
    fn an_event_that_is_dated_anew_counts_alike_whatever_comes_first() {
        let partial = |number: u128| Turn { is_final: false, ..Turn::new(TurnId(Uuid::from_u128(number)), Role::User) };
        let told = [(1, 10, 1), (1, 20, 2), (2, 15, 3)].map(|(number, at, received): (u8, i64, i64)| {
            (added(number, at, partial(u128::from(number))), Timestamp::from_millis(received).unwrap())
        });
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut events = TurnEvents::default();
            for place in order {
                let (event, received_at) = &told[place];
                events.add(event, *received_at);
            }
            let kept: Vec<_> =
                events.into_events().map(|(event, at)| (event.event_id.0.as_u128(), event.occurred_at, at)).collect();
            assert_eq!(kept, [(1, told[1].0.occurred_at, told[1].1)], "{order:?}");
        }
    }

    #[test]
    fn of_many_partial_turns_one_is_kept() {
        let mut events = TurnEvents::default();
        for number in 1..=200 {
            let turn = Turn { is_final: false, ..Turn::new(TurnId(Uuid::from_u128(number)), Role::User) };
            events.add(&added(number as u8, number as i64, turn), Timestamp::default());
        }
        assert_eq!(events.into_events().count(), 1);
    }
}
