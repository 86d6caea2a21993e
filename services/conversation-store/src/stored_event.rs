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

/// Reads what [`encode`] wrote for the event `event_id`; `None` when a newer release wrote it and this one does not know what it
/// says.
pub(crate) fn decode(bytes: &[u8], event_id: uuid::Uuid, conversation: &Named) -> Result<Option<Event>, StoreError> {
    let bytes = compression::unpack(bytes)?;
    let corrupt = |what: String| StoreError::Corrupt(format!("event {event_id}: {what}"));
    let mut message = pb::Event::decode(bytes.as_slice()).map_err(|error| corrupt(error.to_string()))?;
    message.event_id = event_id.to_string();
    message.conversation_id = conversation.conversation_id.to_string();
    message.provider = conversation.provider.to_string();
    message.external_id.clone_from(&conversation.external_id);
    Ok(Event::try_from(message).ok())
}

/// Returns what [`encode`] wrote as the bytes of a whole event, also when this release does not know what it says.
pub(crate) fn whole(bytes: &[u8], event_id: uuid::Uuid, conversation: &Named) -> Result<Vec<u8>, StoreError> {
    let mut bytes = compression::unpack(bytes)?;
    let head = pb::Event {
        event_id: event_id.to_string(),
        conversation_id: conversation.conversation_id.to_string(),
        provider: conversation.provider.to_string(),
        external_id: conversation.external_id.clone(),
        ..pb::Event::default()
    };
    // A protobuf message may be extended by appending fields.
    bytes.extend(head.encode_to_vec());
    Ok(bytes)
}
