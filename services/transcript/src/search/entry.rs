//! What is indexed of a conversation: one entry a turn, made of the folded transcript and of nothing else, so that it is the same on
//! every replica and whatever way the events came.

use std::collections::{HashMap, HashSet};

use colloquy_events::{Data, Event, Role};
use colloquy_figures::Times;
use colloquy_types::{ConversationId, Timestamp, TurnId};
use uuid::Uuid;

use super::tokens::{self, tokens};
use crate::fold::fold;
use crate::kept::{self, Kept};
use crate::payload::Unreadable;

/// Times beyond (the year 2109) are mistakes; ids of the index have no room for them.
pub const LATEST_MS: i64 = (1 << 42) - 1;
/// Of one turn, a word is indexed this many times at most; what is left over takes up room, so that phrases stay what they are.
/// It is PostgreSQL's limit.
const MAX_TIMES: u32 = 255;

/// A turn as it is indexed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The turn.
    pub turn_id: TurnId,
    /// Its place in the transcript, from 0.
    pub number: u32,
    /// Who it is by.
    pub role: Role,
    /// The agent that leads the conversation.
    pub agent_id: Option<String>,
    /// When it was said, in milliseconds, from 1970 to [`LATEST_MS`]: the turn's own time; else that of the conversation's start and
    /// its offset; else when it was told of. Where the start is not known, the telling of the first turn, or of the transcript, stands
    /// for it. Nothing that is estimated, which would change with every turn that follows.
    pub at: i64,
    /// How many tokens it has.
    pub length: u32,
    /// Stands for the tokens.
    pub hash: i64,
    /// The tokens in their order; `None` takes up the room of one that is not indexed.
    pub tokens: Vec<Option<String>>,
}

/// Returns what is to be indexed of a conversation: turns with words in them that will not change by themselves.
///
/// # Errors
/// When what is kept cannot be read.
pub fn entries(conversation_id: ConversationId, kept: &[Kept], agent_id: Option<&str>) -> Result<Vec<Entry>, Unreadable> {
    let events = kept::events(conversation_id, kept)?;
    let told = Told::of(&events);
    let transcript = fold(&events);
    let begun = transcript.started_at.or(told.first_turn).or(told.transcript).unwrap_or_default();
    let turns = transcript.turns.into_iter().enumerate().filter(|(_, turn)| turn.is_final);
    let entries = turns.filter_map(|(number, turn)| {
        let text = turn.heard()?;
        let found = tokens(text);
        if found.is_empty() {
            return None;
        }
        let by_offset = || Times::of(&turn).start.map(|start_ms| begun.saturating_add_millis(start_ms));
        let at = turn.at.or_else(by_offset).or_else(|| told.turns.get(&turn.turn_id).copied()).unwrap_or(begun);
        let mut times: HashMap<&str, u32> = HashMap::new();
        let tokens: Vec<Option<String>> = found
            .iter()
            .map(|token| {
                let times = times.entry(&token.text).or_default();
                *times += 1;
                (*times <= MAX_TIMES).then(|| token.text.clone().into_owned())
            })
            .collect();
        Some(Entry {
            turn_id: turn.turn_id,
            number: u32::try_from(number).unwrap_or(u32::MAX),
            role: turn.role,
            agent_id: agent_id.map(str::to_owned),
            at: at.as_millis().clamp(0, LATEST_MS),
            length: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            hash: hash(text),
            tokens,
        })
    });
    let mut seen = HashSet::new();
    // A provider may give two turns one id; the first is found.
    Ok(entries.filter(|entry| seen.insert(entry.turn_id)).collect())
}

/// When turns were told. Only what has a conversation indexed anew counts (`may_change_the_index`), so that the index is the same
/// however the events came.
struct Told {
    /// The first single turn: the events of those all stay, so while they come in order this stays as well.
    first_turn: Option<Timestamp>,
    /// The transcript as a whole, for want of anything better: the final one, else the one so far.
    transcript: Option<Timestamp>,
    /// Of single turns, when each was first told.
    turns: HashMap<TurnId, Timestamp>,
}

impl Told {
    fn of(events: &[Event]) -> Self {
        let mut told = Self { first_turn: None, transcript: None, turns: HashMap::new() };
        let mut transcript: Option<(bool, Timestamp)> = None;
        for event in events {
            let at = event.occurred_at;
            match &event.data {
                Data::TurnAdded(turn) if turn.is_final => {
                    told.first_turn = Some(told.first_turn.map_or(at, |first| first.min(at)));
                    told.turns.entry(turn.turn_id).and_modify(|first| *first = at.min(*first)).or_insert(at);
                }
                Data::TranscriptUpdated { .. } => transcript = transcript.max(Some((false, at))),
                Data::TranscriptCompleted { .. } => transcript = transcript.max(Some((true, at))),
                _ => {}
            }
        }
        told.transcript = transcript.map(|(_, at)| at);
        told
    }
}

/// Returns a number that stands for the tokens of `text`: another text has another, as good as always.
fn hash(text: &str) -> i64 {
    let namespace = Uuid::from_u128(u128::from(tokens::VERSION));
    let digest = Uuid::new_v5(&namespace, text.as_bytes());
    digest.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use colloquy_events::{EndStatus, Ended, Facts, Record, Turn};
    use colloquy_types::{EventId, Provider, RecordId};

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn entries_of(data: Vec<(i64, Data)>) -> Vec<Entry> {
        let conversation_id = ConversationId(Uuid::from_u128(1));
        let events = data.into_iter().enumerate().map(|(number, (millis, data))| Event {
            event_id: EventId(Uuid::from_u128(number as u128 + 10)),
            conversation_id,
            provider: Provider::Native,
            external_id: "c".to_owned(),
            occurred_at: at(millis),
            ordinal: 0,
            data,
        });
        let record = Record {
            record_id: RecordId::generate(),
            organization_id: "acme".parse().unwrap(),
            source_id: None,
            received_at: Timestamp::default(),
            events: events.collect(),
            traceparent: String::new(),
            sequence: 1,
        };
        let kept: Vec<Kept> = kept::rows(&[record]).into_iter().map(|row| row.kept).collect();
        entries(conversation_id, &kept, Some("ana")).unwrap()
    }

    fn turn(id: u128, text: &str) -> Turn {
        Turn { text: Some(text.to_owned()), ..Turn::new(TurnId(Uuid::from_u128(id)), Role::User) }
    }

    #[test]
    fn a_turn_is_placed_by_its_own_time_else_by_the_start_and_its_offset() {
        let started = |started_at| Data::Started(Facts { started_at, ..Facts::default() });
        let completed = |turns| Data::TranscriptCompleted { turns, revision: 0 };
        let own = Turn { at: Some(at(7_000)), ..turn(1, "own") };
        let offset = Turn { start_ms: Some(2_000), ..turn(2, "offset") };
        let times = |data| entries_of(data).iter().map(|entry| entry.at).collect::<Vec<_>>();
        let all = vec![offset.clone(), turn(3, "neither"), own];
        assert_eq!(times(vec![(1, started(Some(at(1_000)))), (2, completed(all))]), [3_000, 1_000, 7_000]);
        let first_told = (50, Data::TurnAdded(turn(8, "replaced")));
        assert_eq!(times(vec![first_told, (90, completed(vec![offset]))]), [2_050]);
        assert_eq!(times(vec![(50, started(None)), (90, Data::TurnAdded(turn(4, "live")))]), [90]);
        let named = Data::Started(Facts { agent_name: Some("Ana".to_owned()), ..Facts::default() });
        let so_far = Data::TranscriptUpdated { turns: vec![turn(6, "so far")] };
        let final_one = completed(vec![turn(6, "so far")]);
        let partial = Data::TurnAdded(Turn { is_final: false, ..turn(7, "so f") });
        let unheeded = [(30, named), (40, partial), (400, Data::Ended(Ended::new(EndStatus::Completed)))];
        let with = |told: Vec<(i64, Data)>| times(unheeded.iter().cloned().chain(told).collect());
        assert_eq!(with(vec![(60, so_far.clone())]), [60]);
        assert_eq!(with(vec![(90, so_far), (80, final_one)]), [80]);
        let absurd = Turn { at: Some(at(253_000_000_000_000)), ..turn(5, "late") };
        assert_eq!(times(vec![(1, Data::TurnAdded(absurd))]), [LATEST_MS]);
    }

    #[test]
    fn partial_turns_and_turns_without_words_are_not_indexed() {
        let partial = Turn { is_final: false, ..turn(1, "so far") };
        let unheard = Turn { heard_text: Some("what was heard".into()), ..turn(2, "what was heard and what was not") };
        let data = vec![
            (1, Data::TurnAdded(turn(3, "👍"))),
            (2, Data::TurnAdded(unheard)),
            (3, Data::TurnAdded(Turn { role: Role::Tool, ..turn(4, "Done") })),
            (4, Data::TurnAdded(partial)),
        ];
        let entries = entries_of(data);
        let seen: Vec<_> = entries.iter().map(|entry| (entry.number, entry.role, entry.length)).collect();
        assert_eq!(seen, [(1, Role::User, 3), (2, Role::Tool, 1)]);
        assert_eq!(entries[0].agent_id.as_deref(), Some("ana"));
    }

    #[test]
    fn a_word_said_hundreds_of_times_is_indexed_so_often_and_no_more() {
        let entries = entries_of(vec![(1, Data::TurnAdded(turn(1, &format!("{}end", "la ".repeat(300)))))]);
        let tokens = &entries[0].tokens;
        assert_eq!((tokens.len(), tokens.iter().flatten().count()), (301, 256));
        assert_eq!(tokens[300].as_deref(), Some("end"));
    }

    #[test]
    fn the_hash_is_that_of_the_words() {
        let hashes: Vec<i64> = ["a", "b", "a"].iter().map(|text| hash(text)).collect();
        assert_eq!(hashes[0], hashes[2]);
        assert_ne!(hashes[0], hashes[1]);
    }
}
