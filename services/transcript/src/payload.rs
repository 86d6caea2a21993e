//! What an event says, as bytes: compact, since most of a transcript's disk is this.
//!
//! One byte says how the rest is written: `PLAIN`, or `ZSTD` with the length of the plain form before it. The plain form is
//! a protobuf message of its own rather than the wire's: ids are 16 bytes, not 36 characters, roles are numbers, and of
//! lifecycle events only what a transcript needs is there. Field numbers are never used for something else.

use std::fmt;

use colloquy_events::{
    Analysis, Authority, Data, Direction, EndStatus, Ended, Facts, LiveStatus, Message, Role, ToolCall, ToolResult, Turn, Update,
    Word,
};
use colloquy_types::{Timestamp, TurnId};
use prost::Message as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// Shorter payloads hardly shrink.
const COMPRESS_FROM: usize = 300;
/// Good compression at a speed that costs nothing beside the disk.
const LEVEL: i32 = 3;
/// No payload is longer when it is unpacked: the events of one message of the log.
const MAX_PLAIN: usize = 64 << 20;

/// Why stored bytes cannot be read. It quotes none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

impl Unreadable {
    /// Returns the error with its cause.
    pub fn new(cause: impl fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kept event: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Returns whether an event that is not about turns says anything a transcript shows, apart from that the conversation has
/// begun.
pub fn says_something(data: &Data) -> bool {
    let known = |facts: &Facts| {
        facts.agent_name.is_some()
            || facts.caller_name.is_some()
            || facts.language.is_some()
            || facts.translation_language.is_some()
            || facts.started_at.is_some()
    };
    match data {
        Data::Ended(_) => true,
        Data::Started(facts) => known(facts),
        Data::Updated(update) => known(&update.facts),
        // Of our own, the last counts: also one that no longer says what an earlier one did.
        Data::Analyzed(analysis) => analysis.authority.is_own() || known(&analysis.facts),
        _ => false,
    }
}

/// Writes payloads; reuses what compression needs.
#[derive(Default)]
pub struct Writer {
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl Writer {
    /// Returns the bytes that keep `data`; none for what is not kept.
    pub fn write(&mut self, data: &Data) -> Vec<u8> {
        let Some(kind) = Kind::of(data) else { return Vec::new() };
        let payload = Payload { kind: Some(kind) };
        let mut plain = Vec::with_capacity(payload.encoded_len() + 1);
        plain.push(PLAIN);
        payload.encode_raw(&mut plain);
        self.compress(&plain[1..]).unwrap_or(plain)
    }

    /// Returns the compressed form of `plain` when it is the shorter one.
    fn compress(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() < COMPRESS_FROM {
            return None;
        }
        if self.compressor.is_none() {
            self.compressor = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        let packed = self.compressor.as_mut()?.compress(plain).ok()?;
        if packed.len() + 4 >= plain.len() {
            return None;
        }
        let mut bytes = Vec::with_capacity(packed.len() + 5);
        bytes.push(ZSTD);
        bytes.extend_from_slice(&u32::try_from(plain.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(&packed);
        Some(bytes)
    }
}

/// Reads payloads; reuses what decompression needs.
#[derive(Default)]
pub struct Reader {
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

impl Reader {
    /// Returns what [`Writer::write`] kept; `None` when it is of a kind that only a newer release knows.
    ///
    /// # Errors
    /// When the bytes are none of its.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Data>, Unreadable> {
        let payload = match bytes.split_first() {
            Some((&PLAIN, plain)) => Payload::decode(plain),
            Some((&ZSTD, packed)) => Payload::decode(self.decompress(packed)?.as_slice()),
            _ => return Err(Unreadable::new("an unknown form")),
        };
        payload.map_err(Unreadable::new)?.kind.map(TryInto::try_into).transpose()
    }

    fn decompress(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let (length, packed) = bytes.split_first_chunk::<4>().ok_or_else(|| Unreadable::new("no length"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_PLAIN {
            return Err(Unreadable::new("an absurd length"));
        }
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(zstd::bulk::Decompressor::new().map_err(Unreadable::new)?),
        };
        decompressor.decompress(packed, length).map_err(Unreadable::new)
    }
}

/// Returns how long a payload is once unpacked, without unpacking it.
pub fn plain_len(bytes: &[u8]) -> usize {
    match bytes {
        [ZSTD, a, b, c, d, ..] => u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        _ => bytes.len(),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    TurnAdded(StoredTurn),
    #[prost(message, tag = "2")]
    TurnUpdated(StoredTurn),
    #[prost(message, tag = "3")]
    TranscriptUpdated(StoredTurns),
    #[prost(message, tag = "4")]
    TranscriptCompleted(StoredTurns),
    #[prost(message, tag = "5")]
    Started(StoredFacts),
    #[prost(message, tag = "6")]
    Updated(StoredFacts),
    #[prost(message, tag = "7")]
    Ended(StoredFacts),
    #[prost(message, tag = "8")]
    Analyzed(StoredFacts),
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredTurns {
    #[prost(message, repeated, tag = "1")]
    turns: Vec<StoredTurn>,
    #[prost(uint32, tag = "2")]
    revision: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredFacts {
    #[prost(string, optional, tag = "1")]
    agent_name: Option<String>,
    #[prost(string, optional, tag = "2")]
    caller_name: Option<String>,
    #[prost(string, optional, tag = "3")]
    language: Option<String>,
    #[prost(string, optional, tag = "4")]
    translation_language: Option<String>,
    #[prost(sint64, optional, tag = "5")]
    started_at: Option<i64>,
    /// The word, of an update or an end.
    #[prost(string, optional, tag = "6")]
    status: Option<String>,
    #[prost(sint64, optional, tag = "7")]
    ended_at: Option<i64>,
    #[prost(sint64, optional, tag = "8")]
    duration_ms: Option<i64>,
    #[prost(bool, tag = "9")]
    inferred: bool,
    /// The word, of an analysis.
    #[prost(string, optional, tag = "10")]
    authority: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredTurn {
    #[prost(bytes = "vec", tag = "1")]
    turn_id: Vec<u8>,
    #[prost(uint32, optional, tag = "2")]
    index: Option<u32>,
    #[prost(uint32, tag = "3")]
    role: u32,
    #[prost(string, optional, tag = "4")]
    speaker: Option<String>,
    #[prost(string, optional, tag = "5")]
    text: Option<String>,
    #[prost(string, optional, tag = "6")]
    heard_text: Option<String>,
    #[prost(string, optional, tag = "7")]
    translated_text: Option<String>,
    #[prost(sint64, optional, tag = "8")]
    start_ms: Option<i64>,
    #[prost(sint64, optional, tag = "9")]
    end_ms: Option<i64>,
    #[prost(message, repeated, tag = "10")]
    words: Vec<StoredWord>,
    #[prost(message, optional, tag = "11")]
    tool_call: Option<StoredTool>,
    #[prost(message, optional, tag = "12")]
    tool_result: Option<StoredTool>,
    #[prost(message, optional, tag = "13")]
    message: Option<StoredMessage>,
    #[prost(sint64, optional, tag = "14")]
    at: Option<i64>,
    /// So that a final turn, the usual one, spends no bytes on being final.
    #[prost(bool, tag = "15")]
    partial: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredWord {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(sint64, tag = "2")]
    start_ms: i64,
    #[prost(sint64, tag = "3")]
    length_ms: i64,
}

/// A call or a result.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredTool {
    #[prost(string, optional, tag = "1")]
    id: Option<String>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    /// Arguments or content, as JSON.
    #[prost(string, optional, tag = "3")]
    json: Option<String>,
    #[prost(bool, optional, tag = "4")]
    is_error: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredMessage {
    #[prost(string, optional, tag = "1")]
    kind: Option<String>,
    #[prost(string, optional, tag = "2")]
    direction: Option<String>,
    #[prost(string, optional, tag = "3")]
    from: Option<String>,
    #[prost(string, optional, tag = "4")]
    to: Option<String>,
    #[prost(string, optional, tag = "5")]
    delivery_status: Option<String>,
    #[prost(string, optional, tag = "6")]
    attachments_json: Option<String>,
}

impl Kind {
    /// Returns what is kept of `data`, when anything is.
    fn of(data: &Data) -> Option<Self> {
        Some(match data {
            Data::TurnAdded(turn) => Self::TurnAdded(turn.into()),
            Data::TurnUpdated(turn) => Self::TurnUpdated(turn.into()),
            Data::TranscriptUpdated { turns } => Self::TranscriptUpdated(StoredTurns::of(turns, 0)),
            Data::TranscriptCompleted { turns, revision } => Self::TranscriptCompleted(StoredTurns::of(turns, *revision)),
            Data::Started(facts) => Self::Started(facts.into()),
            Data::Updated(update) => Self::Updated(StoredFacts {
                status: update.status.map(|status| status.as_str().to_owned()),
                ..StoredFacts::from(&update.facts)
            }),
            Data::Ended(ended) => Self::Ended(StoredFacts {
                status: Some(ended.status.as_str().to_owned()),
                ended_at: ended.ended_at.map(Timestamp::as_millis),
                duration_ms: ended.duration_ms,
                inferred: ended.inferred,
                ..StoredFacts::from(&ended.facts)
            }),
            Data::Analyzed(analysis) => Self::Analyzed(StoredFacts {
                authority: Some(analysis.authority.as_str().to_owned()),
                ..StoredFacts::from(&analysis.facts)
            }),
            _ => return None,
        })
    }
}

impl TryFrom<Kind> for Data {
    type Error = Unreadable;

    fn try_from(kind: Kind) -> Result<Self, Unreadable> {
        Ok(match kind {
            Kind::TurnAdded(turn) => Self::TurnAdded(turn.try_into()?),
            Kind::TurnUpdated(turn) => Self::TurnUpdated(turn.try_into()?),
            Kind::TranscriptUpdated(stored) => Self::TranscriptUpdated { turns: stored.turns()? },
            Kind::TranscriptCompleted(stored) => Self::TranscriptCompleted { revision: stored.revision, turns: stored.turns()? },
            Kind::Started(stored) => Self::Started(stored.facts()?),
            Kind::Updated(stored) => {
                let status = stored.status.as_deref().map(str::parse::<LiveStatus>).transpose().map_err(Unreadable::new)?;
                Self::Updated(Update { status, facts: stored.facts()? })
            }
            Kind::Ended(stored) => {
                let status: EndStatus = stored.status.as_deref().unwrap_or_default().parse().map_err(Unreadable::new)?;
                Self::Ended(Ended {
                    ended_at: stored.ended_at.map(instant).transpose()?,
                    duration_ms: stored.duration_ms,
                    inferred: stored.inferred,
                    facts: stored.facts()?,
                    ..Ended::new(status)
                })
            }
            Kind::Analyzed(stored) => {
                let authority: Authority = stored.authority.as_deref().unwrap_or_default().parse().map_err(Unreadable::new)?;
                Self::Analyzed(Analysis { facts: stored.facts()?, ..Analysis::by(authority) })
            }
        })
    }
}

impl StoredTurns {
    fn of(turns: &[Turn], revision: u32) -> Self {
        Self { turns: turns.iter().map(Into::into).collect(), revision }
    }

    fn turns(self) -> Result<Vec<Turn>, Unreadable> {
        self.turns.into_iter().map(Turn::try_from).collect()
    }
}

impl From<&Facts> for StoredFacts {
    fn from(facts: &Facts) -> Self {
        Self {
            agent_name: facts.agent_name.clone(),
            caller_name: facts.caller_name.clone(),
            language: facts.language.clone(),
            translation_language: facts.translation_language.clone(),
            started_at: facts.started_at.map(Timestamp::as_millis),
            ..Self::default()
        }
    }
}

impl StoredFacts {
    fn facts(self) -> Result<Facts, Unreadable> {
        Ok(Facts {
            agent_name: self.agent_name,
            caller_name: self.caller_name,
            language: self.language,
            translation_language: self.translation_language,
            started_at: self.started_at.map(instant).transpose()?,
            ..Facts::default()
        })
    }
}

impl From<&Turn> for StoredTurn {
    fn from(turn: &Turn) -> Self {
        Self {
            turn_id: turn.turn_id.as_bytes().to_vec(),
            index: turn.index,
            role: role_number(turn.role),
            speaker: turn.speaker.clone(),
            text: turn.text.clone(),
            heard_text: turn.heard_text.clone(),
            translated_text: turn.translated_text.clone(),
            start_ms: turn.start_ms,
            end_ms: turn.end_ms,
            words: turn.words.iter().map(Into::into).collect(),
            tool_call: turn.tool_call.as_ref().map(|call| StoredTool {
                id: call.id.clone(),
                name: call.name.clone(),
                json: call.arguments.as_ref().map(json),
                is_error: None,
            }),
            tool_result: turn.tool_result.as_ref().map(|result| StoredTool {
                id: result.id.clone(),
                name: None,
                json: result.content.as_ref().map(json),
                is_error: result.is_error,
            }),
            message: turn.message.as_ref().map(Into::into),
            at: turn.at.map(Timestamp::as_millis),
            partial: !turn.is_final,
        }
    }
}

impl TryFrom<StoredTurn> for Turn {
    type Error = Unreadable;

    fn try_from(stored: StoredTurn) -> Result<Self, Unreadable> {
        Ok(Self {
            turn_id: TurnId(Uuid::from_slice(&stored.turn_id).map_err(Unreadable::new)?),
            index: stored.index,
            role: role_of(stored.role)?,
            speaker: stored.speaker,
            text: stored.text,
            heard_text: stored.heard_text,
            translated_text: stored.translated_text,
            start_ms: stored.start_ms,
            end_ms: stored.end_ms,
            words: stored.words.into_iter().map(Into::into).collect(),
            tool_call: match stored.tool_call {
                Some(call) => Some(ToolCall { id: call.id, name: call.name, arguments: from_json(call.json)? }),
                None => None,
            },
            tool_result: match stored.tool_result {
                Some(result) => Some(ToolResult { id: result.id, content: from_json(result.json)?, is_error: result.is_error }),
                None => None,
            },
            message: stored.message.map(Message::try_from).transpose()?,
            at: stored.at.map(instant).transpose()?,
            is_final: !stored.partial,
        })
    }
}

impl From<&Word> for StoredWord {
    fn from(word: &Word) -> Self {
        // Wrapping, so that absurd times come back as they were.
        Self { text: word.text.clone(), start_ms: word.start_ms, length_ms: word.end_ms.wrapping_sub(word.start_ms) }
    }
}

impl From<StoredWord> for Word {
    fn from(stored: StoredWord) -> Self {
        Self { text: stored.text, start_ms: stored.start_ms, end_ms: stored.start_ms.wrapping_add(stored.length_ms) }
    }
}

impl From<&Message> for StoredMessage {
    fn from(message: &Message) -> Self {
        Self {
            kind: message.kind.clone(),
            direction: message.direction.map(|direction| direction.as_str().to_owned()),
            from: message.from.clone(),
            to: message.to.clone(),
            delivery_status: message.delivery_status.clone(),
            attachments_json: (!message.attachments.is_empty()).then(|| json(&message.attachments)),
        }
    }
}

impl TryFrom<StoredMessage> for Message {
    type Error = Unreadable;

    fn try_from(stored: StoredMessage) -> Result<Self, Unreadable> {
        Ok(Self {
            kind: stored.kind,
            direction: stored.direction.as_deref().map(str::parse::<Direction>).transpose().map_err(Unreadable::new)?,
            from: stored.from,
            to: stored.to,
            delivery_status: stored.delivery_status,
            attachments: from_json(stored.attachments_json)?.unwrap_or_default(),
        })
    }
}

const fn role_number(role: Role) -> u32 {
    match role {
        Role::Agent => 1,
        Role::User => 2,
        Role::HumanAgent => 3,
        Role::Tool => 4,
        Role::System => 5,
    }
}

fn role_of(number: u32) -> Result<Role, Unreadable> {
    Role::ALL.iter().copied().find(|role| role_number(*role) == number).ok_or_else(|| Unreadable::new("an unknown role"))
}

fn instant(millis: i64) -> Result<Timestamp, Unreadable> {
    Timestamp::from_millis(millis).map_err(Unreadable::new)
}

fn json(value: &impl Serialize) -> String {
    // JSON values always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

fn from_json<T: DeserializeOwned>(text: Option<String>) -> Result<Option<T>, Unreadable> {
    text.map(|text| serde_json::from_str(&text)).transpose().map_err(Unreadable::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_turn() -> Turn {
        Turn {
            index: Some(3),
            speaker: Some("Ana".to_owned()),
            text: Some("Hello there, how are you?".to_owned()),
            heard_text: Some("Hello there".to_owned()),
            translated_text: Some(String::new()),
            start_ms: Some(-5),
            end_ms: Some(i64::MAX),
            words: vec![Word { text: "Hello".to_owned(), start_ms: i64::MIN, end_ms: i64::MAX }],
            tool_call: Some(ToolCall {
                id: Some("1".to_owned()),
                name: Some("book".to_owned()),
                arguments: Some(serde_json::json!({"at": 0.1, "n": 12345678901234567_u64})),
            }),
            tool_result: Some(ToolResult { id: None, content: Some("text".into()), is_error: Some(false) }),
            message: Some(Message {
                kind: Some("sms".to_owned()),
                direction: Some(Direction::Outbound),
                delivery_status: Some("delivered".to_owned()),
                attachments: vec![serde_json::json!({"url": "x"})],
                ..Message::default()
            }),
            at: Timestamp::from_millis(-1).ok(),
            is_final: false,
            ..Turn::new(TurnId(Uuid::from_u128(9)), Role::HumanAgent)
        }
    }

    #[test]
    fn every_fact_of_a_turn_reads_back() {
        for role in Role::ALL {
            let data = Data::TurnUpdated(Turn { role: *role, ..full_turn() });
            let bytes = Writer::default().write(&data);
            assert_eq!(Reader::default().read(&bytes).unwrap(), Some(data));
        }
    }

    #[test]
    fn long_payloads_shrink_and_read_back() {
        let turns: Vec<Turn> = (0..40).map(|_| full_turn()).collect();
        let data = Data::TranscriptCompleted { turns, revision: 2 };
        let bytes = Writer::default().write(&data);
        assert_eq!(bytes[0], ZSTD);
        assert!(bytes.len() * 4 < plain_len(&bytes), "{} of {}", bytes.len(), plain_len(&bytes));
        assert_eq!(Reader::default().read(&bytes).unwrap(), Some(data));
    }

    #[test]
    fn a_turn_of_a_sentence_costs_little_more_than_its_text() {
        let text = "I would like to move my appointment to Thursday afternoon if that is possible.";
        let turn = Turn {
            index: Some(4),
            text: Some(text.to_owned()),
            start_ms: Some(12_000),
            end_ms: Some(16_400),
            ..Turn::new(TurnId(Uuid::from_u128(9)), Role::User)
        };
        let overhead = Writer::default().write(&Data::TurnAdded(turn)).len() - text.len();
        assert!(overhead <= 40, "{overhead} bytes");
    }

    #[test]
    fn an_absurd_length_is_refused_before_anything_is_allocated() {
        let mut bytes = vec![ZSTD];
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(Reader::default().read(&bytes).is_err());
    }
}
