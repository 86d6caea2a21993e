//! Finds conversations: in the view this service keeps, or, while the log has not told of them here, at the conversation-store.

use std::sync::Arc;

use colloquy_proto::conversation::v1 as pb;
use colloquy_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use colloquy_service::Problem;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_types::{Clock, ConversationId, ConversationName, OrganizationId};
use tonic::Code;

use crate::conversation::Conversation;
use crate::error::Error;
use crate::store::ControlStore;

/// Finds conversations.
pub struct Lookup {
    store: Arc<dyn ControlStore>,
    conversations: ConversationServiceClient<Transport>,
    clock: Arc<dyn Clock>,
}

impl Lookup {
    /// Returns a lookup in `store` first and in `conversations` then.
    pub fn new(store: Arc<dyn ControlStore>, conversations: Transport, clock: Arc<dyn Clock>) -> Self {
        let conversations = ConversationServiceClient::new(conversations).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { store, conversations, clock }
    }

    /// Returns the conversation that is called `name`.
    ///
    /// # Errors
    /// When there is none, or it cannot be found out.
    pub async fn find(&self, organization_id: &OrganizationId, name: &ConversationName) -> Result<Conversation, Error> {
        let id = name.id(organization_id);
        if let Some(conversation) = self.store.conversation(organization_id, id).await? {
            return Ok(conversation);
        }
        let conversation = self.ask(organization_id, id).await?.ok_or_else(|| Error::NotFound(written(name)))?;
        // One that is over has no place among those that run; nothing is given to it.
        if !conversation.ended {
            self.store.learn(&conversation, self.clock.now()).await?;
        }
        Ok(conversation)
    }

    async fn ask(&self, organization_id: &OrganizationId, id: ConversationId) -> Result<Option<Conversation>, Error> {
        let request = pb::GetConversationRequest {
            conversation_id: id.to_string(),
            organization_id: organization_id.to_string(),
            ..Default::default()
        };
        let found = match self.conversations.clone().get_conversation(request).await {
            Ok(answer) => answer.into_inner().conversation.unwrap_or_default(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(Error::Upstream(Problem::from_status(&status))),
        };
        let ended = !matches!(found.status(), pb::ConversationStatus::Initiated | pb::ConversationStatus::InProgress);
        // A release that knows more providers than this one answered: to this one the conversation is not there.
        let Ok(provider) = found.provider.parse() else { return Ok(None) };
        Ok(Some(Conversation {
            organization_id: organization_id.clone(),
            conversation_id: id,
            provider,
            external_id: found.external_id,
            source_id: None,
            agent_id: found.agent_id,
            channel: found.channel,
            control_url: None,
            ended,
        }))
    }
}

/// Returns a name as the caller wrote it.
fn written(name: &ConversationName) -> String {
    match name {
        ConversationName::Id(id) => id.to_string(),
        ConversationName::External(provider, external_id) => format!("{provider}:{external_id}"),
    }
}
