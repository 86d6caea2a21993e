//! What was said, for rules that are applied when it is not at hand.

use std::collections::HashSet;

use async_trait::async_trait;
use colloquy_events::Turn;
use colloquy_proto::transcript::v1 as pb;
use colloquy_proto::transcript::v1::transcript_service_client::TranscriptServiceClient;
use colloquy_service::Problem;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_types::{ConversationId, OrganizationId, Position};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::convert::input::read_turn;

/// Knows what was said.
#[async_trait]
pub trait Transcripts: Send + Sync + 'static {
    /// Returns the turns of a conversation; none when there is no transcript.
    async fn turns(&self, organization: &OrganizationId, conversation: ConversationId) -> Result<Vec<Turn>, Problem>;

    /// Returns those of the conversations, at most [`MOST_AT_ONCE`], in which the words of the phrase may stand in their order by
    /// `position`; `None` when that cannot be told.
    async fn saying(
        &self,
        organization: &OrganizationId,
        phrase: &str,
        among: &[ConversationId],
        position: Position,
    ) -> Result<Option<HashSet<ConversationId>>, Problem>;
}

/// One question is about at most this many conversations.
pub const MOST_AT_ONCE: usize = 1_000;
/// No phrase of more words can be searched for.
const MOST_WORDS: usize = 20;
/// No longer phrase can be searched for, in characters.
const LONGEST: usize = 400;

/// The transcript service.
#[derive(Clone)]
pub struct Remote {
    client: TranscriptServiceClient<Transport>,
}

impl Remote {
    /// Returns the service behind a transport.
    pub fn new(transport: Transport) -> Self {
        Self { client: TranscriptServiceClient::new(transport).max_decoding_message_size(MAX_MESSAGE_BYTES) }
    }
}

#[async_trait]
impl Transcripts for Remote {
    async fn turns(&self, organization: &OrganizationId, conversation: ConversationId) -> Result<Vec<Turn>, Problem> {
        let request = pb::GetTranscriptRequest {
            conversation_id: conversation.to_string(),
            min_position: 0,
            organization_id: organization.to_string(),
        };
        match self.client.clone().get_transcript(request).await {
            // A turn of a newer release says nothing to this one.
            Ok(answer) => Ok(answer.into_inner().turns.into_iter().filter_map(|turn| read_turn(turn).ok()).collect()),
            Err(status) if status.code() == Code::NotFound => Ok(Vec::new()),
            Err(status) => Err(Problem::from_status(&status)),
        }
    }

    async fn saying(
        &self,
        organization: &OrganizationId,
        phrase: &str,
        among: &[ConversationId],
        position: Position,
    ) -> Result<Option<HashSet<ConversationId>>, Problem> {
        let words = super::phrases::Words::of(phrase);
        let text = words.iter().collect::<Vec<_>>().join(" ");
        if words.len() > MOST_WORDS || text.chars().count() > LONGEST {
            return Ok(None);
        }
        let request = pb::MatchConversationsRequest {
            query: format!("\"{text}\""),
            conversation_ids: among.iter().map(ToString::to_string).collect(),
            organization_id: organization.to_string(),
            min_position: position.0,
            ..pb::MatchConversationsRequest::default()
        };
        match self.client.clone().match_conversations(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let found = answer.conversation_ids.iter().filter_map(|id| id.parse().ok()).collect();
                Ok((!answer.truncated).then_some(found))
            }
            // Words that cannot be searched for, an earlier release, or an installation that searches nothing.
            Err(status) if matches!(status.code(), Code::InvalidArgument | Code::Unimplemented | Code::FailedPrecondition) => {
                Ok(None)
            }
            // What is searched lies behind what was heard.
            Err(status) if is_behind(&status) => Ok(None),
            Err(status) => Err(Problem::from_status(&status)),
        }
    }
}

/// Returns whether a view has not read as far as it was asked to.
fn is_behind(status: &Status) -> bool {
    status.get_error_details().error_info().is_some_and(|info| info.reason == "POSITION_NOT_REACHED")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use tower::service_fn;

    use super::*;
    use crate::testing::{acme, conversation};

    /// A transcript service that answers nothing else.
    fn failing(status: Status) -> Remote {
        Remote::new(Transport::new(service_fn(move |_| std::future::ready(Ok::<_, Infallible>(status.clone().into_http())))))
    }

    #[tokio::test]
    async fn where_nothing_can_be_searched_transcripts_are_to_be_read() {
        let among = [conversation(1)];
        for code in [Code::FailedPrecondition, Code::InvalidArgument, Code::Unimplemented] {
            let saying = failing(Status::new(code, "no search")).saying(&acme(), "my money back", &among, Position(7)).await;
            assert_eq!(saying.unwrap(), None, "{code:?}");
        }
        let behind = Problem::unavailable("POSITION_NOT_REACHED", "not yet", Duration::from_secs(1));
        let saying = failing(behind.into()).saying(&acme(), "my money back", &among, Position(7)).await;
        assert_eq!(saying.unwrap(), None);
        for code in [Code::Unavailable, Code::PermissionDenied] {
            let saying = failing(Status::new(code, "no answer")).saying(&acme(), "my money back", &among, Position(7)).await;
            assert!(saying.is_err(), "{code:?}");
        }
    }
}
