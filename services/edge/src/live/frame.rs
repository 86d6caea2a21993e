//! What is sent: JSON, made once and shared by everybody who gets it.

use bytes::Bytes;
use colloquy_events::{Data, Event};
use colloquy_types::{ConversationId, Position, Timestamp};
use serde::Serialize;

use super::words;

/// One message of a stream.
#[derive(Clone)]
pub(super) struct Frame {
    /// Where it stands; figures stand nowhere.
    pub(super) position: Option<Position>,
    /// What it is about.
    pub(super) conversation_id: Option<ConversationId>,
    /// JSON, and so UTF-8.
    pub(super) text: Bytes,
}

#[derive(Serialize)]
struct OfEvent<'a> {
    position: u64,
    conversation_id: Option<ConversationId>,
    at: Timestamp,
    /// Its kind is `type`, and what it says `data`.
    #[serde(flatten)]
    data: &'a Data,
}

#[derive(Serialize)]
struct Other<'a, T> {
    position: Option<u64>,
    r#type: &'a str,
    conversation_id: Option<ConversationId>,
    at: Timestamp,
    data: T,
}

impl Frame {
    /// Returns the frame of an event that may be shown; `None` when it cannot be written.
    pub(super) fn of_event(position: Position, event: &Event) -> Option<Self> {
        let conversation_id = (!event.is_about_no_conversation()).then_some(event.conversation_id);
        let frame = OfEvent { position: position.0, conversation_id, at: event.occurred_at, data: &event.data };
        Some(Self { position: Some(position), conversation_id, text: write(&frame)? })
    }

    /// Returns another frame; `None` when it cannot be written.
    pub(super) fn new(
        kind: &str,
        position: Option<Position>,
        conversation_id: Option<ConversationId>,
        at: Timestamp,
        data: impl Serialize,
    ) -> Option<Self> {
        let frame = Other { position: position.map(|position| position.0), r#type: kind, conversation_id, at, data };
        Some(Self { position, conversation_id, text: write(&frame)? })
    }
}

fn write(frame: &impl Serialize) -> Option<Bytes> {
    match serde_json::to_vec(frame) {
        Ok(text) => Some(text.into()),
        Err(error) => {
            tracing::error!("a frame could not be written: {error}");
            None
        }
    }
}

/// An event and its frames, each made when somebody first needs it.
pub(super) struct Frames {
    position: Position,
    event: Event,
    whole: Option<Option<Frame>>,
    wordless: Option<Option<Frame>>,
}

impl Frames {
    pub(super) fn new(position: Position, mut event: Event) -> Self {
        words::without_places(&mut event.data);
        Self { position, event, whole: None, wordless: None }
    }

    /// Returns whether they are about no conversation.
    pub(super) fn are_about_no_conversation(&self) -> bool {
        self.event.is_about_no_conversation()
    }

    /// Returns what the frames are made of.
    pub(super) fn data(&self) -> &Data {
        &self.event.data
    }

    /// Returns the frame for who may, or may not, read words.
    pub(super) fn get(&mut self, with_words: bool) -> Option<&Frame> {
        if with_words {
            return self.whole.get_or_insert_with(|| Frame::of_event(self.position, &self.event)).as_ref();
        }
        let (position, event) = (self.position, &self.event);
        let make = || {
            let mut event = event.clone();
            words::without_words(&mut event.data);
            Frame::of_event(position, &event)
        };
        self.wordless.get_or_insert_with(make).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::{Alert, Analysis, Authority, Recording, RecordingChannel, Role, Severity, ToolCall, Turn, Word};
    use colloquy_types::{EventId, Provider, TurnId};
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    fn frames(data: Data) -> [Value; 2] {
        let event = Event {
            event_id: EventId::generate(),
            conversation_id: ConversationId::generate(),
            provider: Provider::Vapi,
            external_id: "secret-external".to_owned(),
            occurred_at: Timestamp::from_millis(5).unwrap(),
            ordinal: 0,
            data,
        };
        let mut frames = Frames::new(Position::new(3, 1), event);
        [true, false].map(|with_words| serde_json::from_slice(&frames.get(with_words).unwrap().text).unwrap())
    }

    #[test]
    fn an_alert_about_a_window_names_no_conversation() {
        let rule_id = Uuid::from_u128(7);
        let alert = Alert {
            alert_id: Uuid::from_u128(8),
            rule_id,
            rule_name: "r".to_owned(),
            severity: Severity::Warning,
            evidence: None,
        };
        let event = |external_id: String| Event {
            event_id: EventId::generate(),
            conversation_id: ConversationId(Uuid::from_u128(9)),
            provider: Provider::Native,
            external_id,
            occurred_at: Timestamp::default(),
            ordinal: 0,
            data: Data::AlertOpened(alert.clone()),
        };
        for (external_id, shown) in [
            (Event::external_id_of_alert_rule(rule_id), Value::Null),
            ("call-1".to_owned(), Uuid::from_u128(9).to_string().into()),
        ] {
            let mut frames = Frames::new(Position::new(3, 1), event(external_id));
            let frame: Value = serde_json::from_slice(&frames.get(true).unwrap().text).unwrap();
            assert_eq!(frame["conversation_id"], shown);
            assert_eq!(frames.are_about_no_conversation(), shown.is_null());
        }
    }

    #[test]
    fn a_frame_says_where_it_stands_and_what_happened() {
        let turn = Turn { text: Some("marked".to_owned()), ..Turn::new(TurnId::generate(), Role::User) };
        let [whole, _] = frames(Data::TurnAdded(turn));
        assert_eq!((whole["position"].as_u64(), whole["type"].as_str()), (Some(3 << 16 | 1), Some("turn.added")));
        assert_eq!((whole["at"].as_str(), whole["data"]["text"].as_str()), (Some("1970-01-01T00:00:00.005Z"), Some("marked")));
        assert_eq!((whole["data"]["final"].as_bool(), whole["data"]["role"].as_str()), (Some(true), Some("user")));
    }

    #[test]
    fn who_may_not_read_words_gets_none() {
        let marked = || Some("marked".to_owned());
        let word = Word { text: "marked".to_owned(), start_ms: 0, end_ms: 1 };
        let call = ToolCall { id: None, name: Some("book".to_owned()), arguments: Some(Value::from("marked")) };
        let turn = Turn {
            text: marked(),
            heard_text: marked(),
            translated_text: marked(),
            words: vec![word],
            tool_call: Some(call),
            ..Turn::new(TurnId::generate(), Role::User)
        };
        let analysis = Analysis { summary: marked(), ..Analysis::by(Authority::Own) };
        let turns = vec![turn.clone()];
        for data in
            [Data::TurnAdded(turn.clone()), Data::TurnUpdated(turn), Data::TranscriptUpdated { turns }, Data::Analyzed(analysis)]
        {
            let [whole, wordless] = frames(data);
            assert!(whole.to_string().contains("marked"), "{whole}");
            assert!(!wordless.to_string().contains("marked"), "{wordless}");
            assert_eq!(whole["position"], wordless["position"]);
        }
    }

    #[test]
    fn where_a_recording_lies_is_shown_to_nobody() {
        let recording = Recording {
            url: Some("https://marked".to_owned()),
            object_key: Some("marked".to_owned()),
            sha256: Some("abc".to_owned()),
            size_bytes: Some(1),
            content_type: None,
            duration_ms: None,
            channel: RecordingChannel::Mixed,
        };
        for frame in frames(Data::RecordingAvailable(recording)) {
            assert!(!frame.to_string().contains("marked") && frame["data"]["sha256"] == "abc", "{frame}");
        }
    }
}
