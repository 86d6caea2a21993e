//! Requests of the recording service as the domain has them.

use colloquy_events::RecordingChannel;
use colloquy_proto::conversation::v1 as pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{ConversationId, ConversationName, OrganizationId};

use super::media_type;
use super::service::{Outgoing, Wanted};

/// What an upload begins with.
pub(super) struct Head {
    pub(super) conversation_id: ConversationId,
    pub(super) channel: RecordingChannel,
    pub(super) content_type: String,
}

pub(super) fn head(organization: &OrganizationId, head: pb::UploadRecordingHead) -> Result<Head, Problem> {
    let mut errors = FieldErrors::new();
    let conversation = errors.parse::<ConversationName>("head.conversation_id", &head.conversation_id);
    let channel = channel(&mut errors, "head.channel", &head.channel);
    let content_type = match media_type::essence(&head.content_type) {
        Some(essence) if essence == media_type::UNKNOWN || media_type::named(&essence).is_some() => Some(essence),
        _ => {
            errors
                .add("head.content_type", "must be audio/…, video/mp4, video/webm, application/ogg or application/octet-stream");
            None
        }
    };
    errors.finish()?;
    match (conversation, content_type) {
        (Some(conversation), Some(content_type)) => {
            let conversation_id = conversation.id(organization);
            Ok(Head { conversation_id, channel: channel.unwrap_or(RecordingChannel::Mixed), content_type })
        }
        // What is missing was noted as an error.
        _ => Err(Problem::invalid(Vec::new())),
    }
}

pub(super) fn wanted(
    organization: &OrganizationId,
    request: pb::ReadRecordingRequest,
) -> Result<(ConversationId, Wanted), Problem> {
    let mut errors = FieldErrors::new();
    let conversation = errors.parse::<ConversationName>("conversation_id", &request.conversation_id);
    let channel = channel(&mut errors, "channel", &request.channel);
    errors.finish()?;
    let conversation = conversation.ok_or_else(|| Problem::invalid(Vec::new()))?;
    Ok((
        conversation.id(organization),
        Wanted { channel, range: request.range, head_only: request.head_only, min_position: request.min_position },
    ))
}

fn channel(errors: &mut FieldErrors, field: &str, text: &str) -> Option<RecordingChannel> {
    if text.is_empty() { None } else { errors.parse(field, text) }
}

pub(super) fn outgoing_head(outgoing: &Outgoing) -> pb::ReadRecordingHead {
    pb::ReadRecordingHead {
        content_type: outgoing.content_type.clone(),
        sha256: outgoing.sha256.clone(),
        size_bytes: outgoing.size,
        first: outgoing.first,
        length: outgoing.length,
    }
}
