//! Conversations as the other services have them now.

use std::time::Duration;

use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_proto::transcript::v1::transcript_service_client::TranscriptServiceClient;
use colloquy_service::Problem;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use tonic::{Code, Status};

use crate::store::Claimed;

/// When nobody says how long to wait.
const WAIT: Duration = Duration::from_secs(1);

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
}

impl Views {
    pub(super) fn new(conversations: Transport, transcripts: Transport) -> Self {
        Self {
            conversations: ConversationServiceClient::new(conversations).max_decoding_message_size(MAX_MESSAGE_BYTES),
            transcripts: TranscriptServiceClient::new(transcripts).max_decoding_message_size(MAX_MESSAGE_BYTES),
        }
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
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
            Unread::Later(Problem::from_status(status).retry_after.unwrap_or(WAIT))
        }
        code => Unread::Failed(code),
    }
}
