//! The state a stream begins with.

use std::time::Duration;

use colloquy_proto::conversation::v1 as conversation;
use colloquy_proto::conversation::v1::ConversationStatus::{InProgress, Initiated};
use colloquy_proto::transcript::v1 as transcript;
use colloquy_types::{ConversationId, Position};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Serialize;
use tonic::{Code, Status};

use super::Live;
use super::figures::figures_so_far;
use super::frame::Frame;
use super::mood::Mood;
use super::session::Listener;
use crate::problem::Refusal;
use crate::shape::conversation::Conversation;
use crate::shape::metrics::Metrics;
use crate::shape::turn::Turn;

const SNAPSHOT: &str = "snapshot";
/// How long a snapshot may wait until it is its turn to be read.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many conversations one has at most.
const MAX_CONVERSATIONS: i32 = 100;

#[derive(Serialize)]
struct OfConversation {
    conversation: Conversation,
    /// `null` for who may not read transcripts.
    turns: Option<Vec<Turn>>,
    metrics: Metrics,
}

#[derive(Serialize)]
struct OfOrganization {
    conversations: Vec<Conversation>,
    has_more: bool,
}

/// Reads the state with everything up to `position`, as the listener may see it.
///
/// # Errors
/// When it cannot be read, or not soon enough.
pub(super) async fn read(live: &Live, listener: &Listener, position: Position) -> Result<Frame, Refusal> {
    let busy = || {
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "too many streams begin at once");
        refusal.with(RETRY_AFTER, "1")
    };
    let turn = tokio::time::timeout(PATIENCE, live.snapshots.acquire()).await;
    let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
    match listener.topic.conversation_id {
        Some(id) => of_conversation(live, listener, id, position).await,
        None => of_organization(live, listener, position).await,
    }
}

async fn of_conversation(live: &Live, listener: &Listener, id: ConversationId, position: Position) -> Result<Frame, Refusal> {
    let calling = listener.seat.key.calling();
    let (conversation_id, min_position) = (id.to_string(), position.0);
    let record =
        conversation::GetConversationRequest { conversation_id: conversation_id.clone(), min_position, ..Default::default() };
    let turns = transcript::GetTranscriptRequest { conversation_id: conversation_id.clone(), min_position, ..Default::default() };
    let figures = transcript::GetFiguresRequest { conversation_id, min_position: Some(min_position) };
    let (mut conversations, mut transcripts, mut figures_of) =
        (live.conversations.clone(), live.transcripts.clone(), live.transcripts.clone());
    let (record, turns, figures, mood) = tokio::join!(
        conversations.get_conversation(calling.call(record)),
        async {
            if !listener.with_words {
                return Ok(None);
            }
            match transcripts.get_transcript(calling.call(turns)).await {
                Ok(answer) => Ok(Some(answer.into_inner().turns)),
                // Nothing was said yet.
                Err(status) if status.code() == Code::NotFound => Ok(Some(Vec::new())),
                Err(status) => Err::<_, Status>(status),
            }
        },
        figures_of.get_figures(calling.call(figures)),
        Mood::so_far(live, &calling, id),
    );
    let record = record?.into_inner().conversation.ok_or_else(Refusal::internal)?;
    if let Some(through) = mood.through
        && matches!(record.status(), Initiated | InProgress)
    {
        // What was said just before is still being analysed.
        live.figures.expect((listener.topic.organization_id.clone(), id), position, through);
    }
    let now = live.clock.now();
    let data = OfConversation {
        metrics: Metrics::of(&record, figures_so_far(figures)?, mood.judgement, now),
        turns: turns?.map(|turns| turns.into_iter().map(Turn::from).collect()),
        conversation: record.into(),
    };
    Frame::new(SNAPSHOT, Some(position), Some(id), now, data).ok_or_else(Refusal::internal)
}

async fn of_organization(live: &Live, listener: &Listener, position: Position) -> Result<Frame, Refusal> {
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let filter = conversation::ConversationFilter {
        agent_id: text(&listener.narrowing.agent_id),
        client_id: text(&listener.narrowing.client_id),
        statuses: vec![Initiated as i32, InProgress as i32],
        ..Default::default()
    };
    let request = conversation::ListConversationsRequest {
        filter: Some(filter),
        page_size: MAX_CONVERSATIONS,
        min_position: position.0,
        ..Default::default()
    };
    let calling = listener.seat.key.calling();
    let page = live.conversations.clone().list_conversations(calling.call(request)).await?.into_inner();
    let data = OfOrganization {
        has_more: !page.next_page_token.is_empty(),
        conversations: page.conversations.into_iter().map(Conversation::from).collect(),
    };
    Frame::new(SNAPSHOT, Some(position), None, live.clock.now(), data).ok_or_else(Refusal::internal)
}
