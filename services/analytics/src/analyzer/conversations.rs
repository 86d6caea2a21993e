//! Conversations as the services that keep them know them.

use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_proto::transcript::v1::transcript_service_client::TranscriptServiceClient;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_types::{ConversationId, OrganizationId};
use tonic::{Code, Status};

use crate::input::Input;
use crate::upstream::retry_after;

/// The other services, called as this installation itself. Cheap to clone.
#[derive(Clone)]
pub(super) struct Conversations {
    conversations: ConversationServiceClient<Transport>,
    transcripts: TranscriptServiceClient<Transport>,
}

/// Why a conversation cannot be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is none.
    Gone,
    /// Somebody is away, or was too slow; it may be read later.
    Later(Status),
    /// It will never be read like this.
    Never(Status),
}

impl From<Status> for Unread {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::NotFound => Self::Gone,
            _ if retry_after(&status).is_some() => Self::Later(status),
            _ => Self::Never(status),
        }
    }
}

/// A page of conversations, oldest first.
pub(super) struct Listed {
    pub(super) conversations: Vec<conversation_pb::Conversation>,
    pub(super) next: String,
    pub(super) total: Option<u64>,
}

impl Conversations {
    pub(super) fn new(conversations: Transport, transcripts: Transport) -> Self {
        Self {
            conversations: ConversationServiceClient::new(conversations).max_decoding_message_size(MAX_MESSAGE_BYTES),
            transcripts: TranscriptServiceClient::new(transcripts).max_decoding_message_size(MAX_MESSAGE_BYTES),
        }
    }

    /// Reads a conversation as it is now.
    pub(super) async fn read(&self, organization: &OrganizationId, id: ConversationId) -> Result<Input, Unread> {
        let (conversation_id, organization_id) = (id.to_string(), organization.to_string());
        let request = conversation_pb::GetConversationRequest {
            conversation_id: conversation_id.clone(),
            organization_id: organization_id.clone(),
            ..Default::default()
        };
        let record = self.conversations.clone().get_conversation(request).await?.into_inner();
        let record = record.conversation.ok_or(Unread::Gone)?;
        let request = transcript_pb::GetTranscriptRequest { conversation_id, organization_id, ..Default::default() };
        let turns = match self.transcripts.clone().get_transcript(request).await {
            Ok(answer) => answer.into_inner().turns,
            // Nothing was said.
            Err(status) if status.code() == Code::NotFound => Vec::new(),
            Err(status) => return Err(status.into()),
        };
        Input::of(&record, turns)
            .map_err(|bad| Unread::Never(Status::internal(format!("its field '{}' cannot be read", bad.field))))
    }

    /// Lists conversations, oldest first.
    pub(super) async fn page(
        &self,
        organization: &OrganizationId,
        filter: conversation_pb::ConversationFilter,
        token: String,
        size: i32,
        with_total: bool,
    ) -> Result<Listed, Status> {
        let request = conversation_pb::ListConversationsRequest {
            filter: Some(filter),
            order_by: "created_at".to_owned(),
            page_size: size,
            page_token: token,
            include_total: with_total,
            organization_id: organization.to_string(),
            ..Default::default()
        };
        let page = self.conversations.clone().list_conversations(request).await?.into_inner();
        let total = page.total_size.map(|total| u64::try_from(total).unwrap_or_default());
        Ok(Listed { conversations: page.conversations, next: page.next_page_token, total })
    }
}
