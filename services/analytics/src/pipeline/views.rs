//! Conversations as the other services have them now.

use std::collections::HashMap;
use std::time::Duration;

use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_proto::transcript::v1::transcript_service_client::TranscriptServiceClient;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use tonic::{Code, Status};

use crate::store::Claimed;
use crate::upstream::retry_after;

/// The views of this installation, called as itself.
#[derive(Clone)]
pub(super) struct Views {
    conversations: ConversationServiceClient<Transport>,
    transcripts: TranscriptServiceClient<Transport>,
}

/// A conversation as it is now.
pub(super) struct Read {
    pub(super) record: conversation_pb::Conversation,
    pub(super) turns: Vec<transcript_pb::Turn>,
}

/// Why a conversation could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// There is none any more.
    Gone,
    /// A view has not come far enough, or is away.
    Later(Duration),
    /// It will not work like this; the code says why.
    Failed(Code),
    /// Not together with others: there was no room for it, or one of them is at fault.
    Together,
}

/// What was found, by the ids of conversations.
type Found<T> = HashMap<String, Result<T, Unread>>;

/// What is asked of conversations together.
struct Together {
    conversation_ids: Vec<String>,
    min_position: u64,
    organization_id: String,
}

impl Together {
    fn of(claimed: &[Claimed]) -> Self {
        Self {
            conversation_ids: claimed.iter().map(|claimed| claimed.conversation_id.to_string()).collect(),
            min_position: claimed.iter().map(|claimed| claimed.position.0).max().unwrap_or_default(),
            organization_id: claimed.first().map(|claimed| claimed.organization_id.to_string()).unwrap_or_default(),
        }
    }
}

/// Unless a view is away or behind, each is read alone: of several one may be at fault or too much, and an older release of a view
/// knows no such method.
fn together(status: &Status) -> Unread {
    match status.code() {
        Code::Unavailable => unread(status),
        _ => Unread::Together,
    }
}

impl Views {
    pub(super) fn new(conversations: Transport, transcripts: Transport) -> Self {
        Self {
            conversations: ConversationServiceClient::new(conversations).max_decoding_message_size(MAX_MESSAGE_BYTES),
            transcripts: TranscriptServiceClient::new(transcripts).max_decoding_message_size(MAX_MESSAGE_BYTES),
        }
    }

    /// Reads conversations of one organization together, each with everything up to its position.
    /// Returns them in their order.
    pub(super) async fn read_together(&self, claimed: &[Claimed]) -> Vec<Result<Read, Unread>> {
        let read = tokio::try_join!(self.records(claimed), self.all_turns(claimed));
        let (mut records, mut turns) = match read {
            Ok(read) => read,
            Err(unread) => return claimed.iter().map(|_| Err(unread.clone())).collect(),
        };
        let read = |claimed: &Claimed| {
            let id = claimed.conversation_id.to_string();
            let record = records.remove(&id).unwrap_or(Err(Unread::Gone))?;
            // Of those that are missing nothing was said.
            let turns = turns.remove(&id).unwrap_or(Ok(Vec::new()))?;
            Ok(Read { record, turns })
        };
        claimed.iter().map(read).collect()
    }

    async fn records(&self, claimed: &[Claimed]) -> Result<Found<conversation_pb::Conversation>, Unread> {
        let Together { conversation_ids, min_position, organization_id } = Together::of(claimed);
        let request = conversation_pb::BatchGetConversationsRequest { conversation_ids, min_position, organization_id };
        let answer = self.conversations.clone().batch_get_conversations(request).await.map_err(|status| together(&status))?;
        let conversation_pb::BatchGetConversationsResponse { conversations, left_out_ids } = answer.into_inner();
        let found = conversations.into_iter().map(|conversation| (conversation.conversation_id.clone(), Ok(conversation)));
        Ok(found.chain(left_out_ids.into_iter().map(|id| (id, Err(Unread::Together)))).collect())
    }

    async fn all_turns(&self, claimed: &[Claimed]) -> Result<Found<Vec<transcript_pb::Turn>>, Unread> {
        let Together { conversation_ids, min_position, organization_id } = Together::of(claimed);
        let request = transcript_pb::BatchGetTranscriptsRequest { conversation_ids, min_position, organization_id };
        let answer = self.transcripts.clone().batch_get_transcripts(request).await.map_err(|status| together(&status))?;
        let transcript_pb::BatchGetTranscriptsResponse { transcripts, left_out_ids } = answer.into_inner();
        let found = transcripts.into_iter().map(|transcript| (transcript.conversation_id, Ok(transcript.turns)));
        Ok(found.chain(left_out_ids.into_iter().map(|id| (id, Err(Unread::Together)))).collect())
    }

    /// Reads a conversation, with everything up to its position.
    pub(super) async fn read(&self, claimed: &Claimed) -> Result<Read, Unread> {
        let (record, turns) = tokio::try_join!(self.record(claimed), self.turns(claimed))?;
        Ok(Read { record, turns })
    }

    async fn record(&self, claimed: &Claimed) -> Result<conversation_pb::Conversation, Unread> {
        let request = conversation_pb::GetConversationRequest {
            conversation_id: claimed.conversation_id.to_string(),
            as_of: None,
            min_position: claimed.position.0,
            organization_id: claimed.organization_id.to_string(),
        };
        match self.conversations.clone().get_conversation(request).await {
            Ok(answer) => answer.into_inner().conversation.ok_or(Unread::Gone),
            Err(status) if status.code() == Code::NotFound => Err(Unread::Gone),
            Err(status) => Err(unread(&status)),
        }
    }

    async fn turns(&self, claimed: &Claimed) -> Result<Vec<transcript_pb::Turn>, Unread> {
        let request = transcript_pb::GetTranscriptRequest {
            conversation_id: claimed.conversation_id.to_string(),
            min_position: claimed.position.0,
            organization_id: claimed.organization_id.to_string(),
        };
        match self.transcripts.clone().get_transcript(request).await {
            Ok(answer) => Ok(answer.into_inner().turns),
            // Nothing was said.
            Err(status) if status.code() == Code::NotFound => Ok(Vec::new()),
            Err(status) => Err(unread(&status)),
        }
    }
}

fn unread(status: &Status) -> Unread {
    retry_after(status).map_or_else(|| Unread::Failed(status.code()), Unread::Later)
}
