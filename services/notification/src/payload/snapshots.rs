//! Makes the bodies that show a whole conversation, of what the views say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use colloquy_events::JsonMap;
use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_proto::transcript::v1::transcript_service_client::TranscriptServiceClient;
use colloquy_service::Problem;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_types::OrganizationId;
use moka::Expiry;
use tonic::{Code, Status};

use super::agent_session::{self, Phase, Told};
use crate::message::Message;

/// A version's settings do not change.
const SETTINGS_KEPT: Duration = Duration::from_secs(60);
/// A version without settings may get them with its next event.
const ABSENCE_KEPT: Duration = Duration::from_secs(2);
const VERSIONS_KEPT: u64 = 1_000;
/// When nobody says how long to wait.
const WAIT: Duration = Duration::from_secs(1);
/// What an installation must be mended for does not pass in a second.
const LONG_WAIT: Duration = Duration::from_secs(30);

/// Makes the bodies of messages that show a whole conversation.
#[async_trait]
pub trait Snapshots: Send + Sync + 'static {
    /// Returns the body of a message: the conversation as it is once every view has reached the message's position.
    async fn body(&self, message: &Message) -> Result<Bytes, SnapshotError>;
}

/// Why a body could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A view has not come far enough, or is away: it may be asked again after this time.
    #[error("the conversation cannot be read yet")]
    Later(Duration),
    /// There is no such conversation any more.
    #[error("the conversation does not exist any more")]
    Gone,
}

/// The views of this installation, called as itself.
pub struct Views {
    conversations: ConversationServiceClient<Transport>,
    transcripts: TranscriptServiceClient<Transport>,
    agent_versions: moka::future::Cache<VersionName, Settings>,
}

type VersionName = (OrganizationId, String, String);
type Settings = Option<Arc<JsonMap>>;

struct ByPresence;

impl Expiry<VersionName, Settings> for ByPresence {
    fn expire_after_create(&self, _: &VersionName, settings: &Settings, _: Instant) -> Option<Duration> {
        Some(if settings.is_some() { SETTINGS_KEPT } else { ABSENCE_KEPT })
    }
}

impl Views {
    /// Returns the views behind these transports, which carry the service token.
    pub fn new(conversations: Transport, transcripts: Transport) -> Self {
        Self {
            conversations: ConversationServiceClient::new(conversations).max_decoding_message_size(MAX_MESSAGE_BYTES),
            transcripts: TranscriptServiceClient::new(transcripts).max_decoding_message_size(MAX_MESSAGE_BYTES),
            agent_versions: moka::future::Cache::builder().max_capacity(VERSIONS_KEPT).expire_after(ByPresence).build(),
        }
    }

    async fn conversation(&self, message: &Message) -> Result<conversation_pb::Conversation, SnapshotError> {
        let request = conversation_pb::GetConversationRequest {
            conversation_id: message.conversation_id.to_string(),
            as_of: None,
            min_position: min_position(message),
            organization_id: message.organization_id.to_string(),
        };
        let answer = self.conversations.clone().get_conversation(request).await.map_err(failure)?;
        answer.into_inner().conversation.ok_or(SnapshotError::Gone)
    }

    async fn turns(&self, message: &Message) -> Result<Vec<transcript_pb::Turn>, SnapshotError> {
        let request = transcript_pb::GetTranscriptRequest {
            conversation_id: message.conversation_id.to_string(),
            min_position: min_position(message),
            organization_id: message.organization_id.to_string(),
        };
        match self.transcripts.clone().get_transcript(request).await {
            Ok(answer) => Ok(answer.into_inner().turns),
            // Nothing was said yet, or more than an answer holds: what else there is is told all the same.
            Err(status) if matches!(status.code(), Code::NotFound | Code::ResourceExhausted) => Ok(Vec::new()),
            Err(status) => Err(failure(status)),
        }
    }

    /// Returns the settings of the version of the agent that led the conversation, if its provider ever sent them.
    async fn agent_version(
        &self,
        organization: &OrganizationId,
        conversation: &conversation_pb::Conversation,
    ) -> Result<Settings, SnapshotError> {
        let (Some(agent_id), Some(version_id)) = (&conversation.agent_id, &conversation.agent_version_id) else {
            return Ok(None);
        };
        let name = (organization.clone(), agent_id.clone(), version_id.clone());
        let ask = self.ask_for_version(&name);
        self.agent_versions.try_get_with(name.clone(), ask).await.map_err(|error| *error)
    }

    async fn ask_for_version(&self, (organization, agent_id, version_id): &VersionName) -> Result<Settings, SnapshotError> {
        let request = conversation_pb::GetAgentRequest { agent_id: agent_id.clone(), organization_id: organization.to_string() };
        let agent = match self.conversations.clone().get_agent(request).await {
            Ok(answer) => answer.into_inner().agent.unwrap_or_default(),
            Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => return Ok(None),
            Err(status) => return Err(failure(status)),
        };
        let version = agent.versions.into_iter().find(|version| version.agent_version_id == *version_id);
        Ok(version.and_then(|version| serde_json::from_str(&version.snapshot_json).ok()).map(Arc::new))
    }
}

#[async_trait]
impl Snapshots for Views {
    async fn body(&self, message: &Message) -> Result<Bytes, SnapshotError> {
        // Only these types have such bodies; a newer release's are for a newer release.
        let phase = Phase::of(&message.event_type).ok_or(SnapshotError::Later(LONG_WAIT))?;
        let (conversation, turns) = tokio::try_join!(self.conversation(message), self.turns(message))?;
        let agent_version = self.agent_version(&message.organization_id, &conversation).await?;
        let told = Told {
            phase,
            message_id: message.message_id,
            at: message.at,
            conversation: &conversation,
            turns: &turns,
            agent_version: agent_version.as_deref(),
        };
        Ok(agent_session::body(&told).into())
    }
}

/// Returns the position a view must have reached; what has no place in the log waits for nothing.
fn min_position(message: &Message) -> u64 {
    if message.position.sequence() == 0 { 0 } else { message.position.0 }
}

fn failure(status: Status) -> SnapshotError {
    match status.code() {
        Code::NotFound => SnapshotError::Gone,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted | Code::ResourceExhausted => {
            SnapshotError::Later(Problem::from_status(&status).retry_after.unwrap_or(WAIT))
        }
        code => {
            tracing::warn!(grpc.code = ?code, "a view refused to show a conversation: {}", status.message());
            SnapshotError::Later(LONG_WAIT)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use colloquy_proto::conversation::v1::conversation_service_server::ConversationServiceServer;
    use colloquy_proto::transcript::v1::transcript_service_server::TranscriptServiceServer;
    use colloquy_service::transport::LocalSlot;
    use colloquy_types::{ConversationId, Position, Timestamp};
    use serde_json::{Value, json};
    use tonic::service::Routes;
    use uuid::Uuid;

    use super::*;
    use crate::message::Body;
    use crate::testing::{Conversations, Transcripts};

    struct Scene {
        conversations: Arc<Conversations>,
        transcripts: Arc<Transcripts>,
        views: Views,
    }

    const CONVERSATION: ConversationId = ConversationId(Uuid::from_u128(5));

    fn scene() -> Scene {
        let (conversations, transcripts) = (Arc::new(Conversations::default()), Arc::new(Transcripts::default()));
        let (records, turns) = (LocalSlot::new(), LocalSlot::new());
        records.fill(Routes::new(ConversationServiceServer::from_arc(conversations.clone())).into_axum_router());
        turns.fill(Routes::new(TranscriptServiceServer::from_arc(transcripts.clone())).into_axum_router());
        let conversation = conversation_pb::Conversation {
            conversation_id: CONVERSATION.to_string(),
            organization_id: "acme".to_owned(),
            agent_id: Some("agent".to_owned()),
            agent_version_id: Some("v2".to_owned()),
            ..Default::default()
        };
        conversations.all.lock().unwrap().push((conversation, Vec::new()));
        let version = |id: &str, settings: &str| conversation_pb::AgentVersion {
            agent_version_id: id.to_owned(),
            snapshot_json: settings.to_owned(),
            ..Default::default()
        };
        let versions = vec![version("v1", ""), version("v2", r#"{"voice": "x"}"#)];
        let agent = conversation_pb::Agent { agent_id: "agent".to_owned(), versions, ..Default::default() };
        *conversations.agent.lock().unwrap() = Some(agent);
        conversations.position.store(Position::end_of(7).0, Ordering::SeqCst);
        Scene { views: Views::new(records.transport(), turns.transport()), conversations, transcripts }
    }

    fn message(organization: &str, sequence: u64) -> Message {
        Message {
            organization_id: organization.parse().unwrap(),
            message_id: Uuid::from_u128(3),
            event_type: Phase::Ended.event_type().to_owned(),
            conversation_id: CONVERSATION,
            position: Position::new(sequence, 1),
            at: Timestamp::default(),
            body: Body::Snapshot,
        }
    }

    #[tokio::test]
    async fn a_body_is_made_of_what_every_view_says_of_the_organizations_conversation() {
        let scene = scene();
        let turn = transcript_pb::Turn {
            role: transcript_pb::TurnRole::User.into(),
            text: Some("hello".to_owned()),
            ..Default::default()
        };
        *scene.transcripts.answer.lock().unwrap() = Some(Ok(vec![turn]));
        for _ in 0..2 {
            let body: Value = serde_json::from_slice(&scene.views.body(&message("acme", 7)).await.unwrap()).unwrap();
            assert_eq!(body["data"]["chat_transcript"], "User: hello");
            assert_eq!(body["data"]["agent_version"]["provider_settings"], json!({"voice": "x"}));
        }
        assert_eq!(scene.conversations.agents_asked.load(Ordering::SeqCst), 1, "settings are remembered");
        let asked = scene.transcripts.asked.lock().unwrap()[0].clone();
        assert_eq!((asked.organization_id.as_str(), asked.min_position), ("acme", Position::new(7, 1).0));
    }

    #[tokio::test]
    async fn a_view_that_has_not_come_so_far_is_asked_again_when_it_says() {
        let scene = scene();
        let later = SnapshotError::Later(Duration::from_secs(3));
        assert_eq!(scene.views.body(&message("acme", 8)).await, Err(later));
        *scene.transcripts.answer.lock().unwrap() = Some(Err(Status::unavailable("away")));
        assert_eq!(scene.views.body(&message("acme", 7)).await, Err(SnapshotError::Later(WAIT)));
        *scene.transcripts.answer.lock().unwrap() = Some(Err(Status::permission_denied("no")));
        assert_eq!(scene.views.body(&message("acme", 7)).await, Err(SnapshotError::Later(LONG_WAIT)));
    }

    #[tokio::test]
    async fn what_has_no_place_in_the_log_waits_for_nothing() {
        let scene = scene();
        scene.conversations.position.store(0, Ordering::SeqCst);
        assert!(scene.views.body(&message("acme", 0)).await.is_ok());
    }

    #[tokio::test]
    async fn a_conversation_that_is_not_there_is_gone_and_one_without_turns_is_told_all_the_same() {
        let scene = scene();
        assert_eq!(scene.views.body(&message("other", 7)).await, Err(SnapshotError::Gone));
        for status in [Status::not_found("no turns"), Status::resource_exhausted("too long")] {
            *scene.transcripts.answer.lock().unwrap() = Some(Err(status));
            let body: Value = serde_json::from_slice(&scene.views.body(&message("acme", 7)).await.unwrap()).unwrap();
            assert_eq!(body["data"]["messages"], json!([]));
        }
    }
}
