//! The events of a conversation's course as they are kept: whole, without what their key says already, and compressed.

use colloquy_events::Event;
use colloquy_proto::log::v1 as pb;
use colloquy_storage::StoreError;
use prost::Message;

use crate::compression;
use crate::turn_events::Named;

/// Returns the bytes `event` is kept as.
pub(crate) fn encode(event: &Event) -> Vec<u8> {
    let mut message = pb::Event::from(event.clone());
    message.event_id.clear();
    message.conversation_id.clear();
    message.provider.clear();
    message.external_id.clear();
    compression::pack(message.encode_to_vec())
}

/// Reads what [`encode`] wrote for the event `event_id`.
pub(crate) fn decode(bytes: &[u8], event_id: uuid::Uuid, conversation: &Named) -> Result<Event, StoreError> {
    let bytes = compression::unpack(bytes)?;
    let corrupt = |what: String| StoreError::Corrupt(format!("event {event_id}: {what}"));
    let mut message = pb::Event::decode(bytes.as_slice()).map_err(|error| corrupt(error.to_string()))?;
    message.event_id = event_id.to_string();
    message.conversation_id = conversation.conversation_id.to_string();
    message.provider = conversation.provider.to_string();
    message.external_id.clone_from(&conversation.external_id);
    Event::try_from(message).map_err(|error| corrupt(error.to_string()))
}
