//! Replays: what happened in conversations, told to one endpoint again.
//!
//! A replay is kept as what was asked for and how far it has come, and any replica goes on with it. Messages are made of the
//! history that conversation-store has, with the ids they have when they are made of the log, so that a receiver can tell that it
//! knows them. What was said turn by turn is not in that history, nor are alerts and who spoke when
//! ([`crate::payload::catalogue::is_replayed`]); the messages that show a whole conversation tell what was said.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use colloquy_events::convert::{timestamp_from_pb, timestamp_to_pb};
use colloquy_events::{Data, Event};
use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use colloquy_proto::notification::v1 as pb;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_storage::StoreError;
use colloquy_types::{Clock, OrganizationId, Position, Timestamp};
use prost::Message as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::delivery::Delivery;
use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::error::Error;
use crate::matching;
use crate::message::Message;
use crate::payload::messages_of_event;
use crate::store::{Known, Replay, Store};

/// How long a worker holds a replay without a sign of life.
const HELD_FOR_MILLIS: i64 = 60_000;
/// How often it is looked whether there is one.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many conversations a page has.
const PAGE: i32 = 20;
/// What is told now must not wait behind what is told again: so long after each page.
const PAUSE: Duration = Duration::from_millis(100);
/// How long to wait when a page could not be had or kept.
const WAIT: Duration = Duration::from_secs(5);
/// How many deliveries are added at once.
const BATCH: usize = 200;

/// Begins replays, and carries them out.
#[derive(Clone)]
pub struct Replays {
    store: Arc<dyn Store>,
    endpoints: Endpoints,
    conversations: ConversationServiceClient<Transport>,
    clock: Arc<dyn Clock>,
}

/// How far a replay has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Place {
    /// From when on the list was begun that is being gone through, when it was begun anew: a list cannot be gone on with for ever.
    from: Option<Timestamp>,
    /// Where that list goes on.
    token: String,
    /// When the last conversation of it began.
    reached: Option<Timestamp>,
}

/// What came of a step.
enum Step {
    /// There is more.
    Next(Place),
    /// There is no more, or nobody to tell.
    Done,
    /// The endpoint is disabled: it is looked again later.
    Held,
}

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("conversations cannot be listed: {} ({:?})", .0.message(), .0.code())]
    Conversations(Status),
    #[error("storage failed: {0}")]
    Store(#[from] StoreError),
}

impl Place {
    fn read(text: &str) -> Self {
        let mut parts = text.splitn(3, ' ');
        let mut time = || parts.next()?.parse().ok().and_then(|millis| Timestamp::from_millis(millis).ok());
        let (from, reached) = (time(), time());
        Self { from, token: parts.next().unwrap_or_default().to_owned(), reached }
    }

    fn write(&self) -> String {
        let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.as_millis().to_string());
        format!("{} {} {}", time(self.from), time(self.reached), self.token)
    }

    /// Returns the place to begin the list anew without what was told already.
    fn anew(&self) -> Self {
        Self { from: self.reached, token: String::new(), reached: self.reached }
    }
}

impl Replays {
    /// Returns the replays in `store`, of conversations that `conversations`, a transport with the service token, leads to.
    pub fn new(store: Arc<dyn Store>, endpoints: Endpoints, conversations: Transport, clock: Arc<dyn Clock>) -> Self {
        let conversations = ConversationServiceClient::new(conversations).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { store, endpoints, conversations, clock }
    }

    /// Begins a replay. Returns its id.
    ///
    /// # Errors
    /// When there is no such endpoint, it is disabled, or conversations cannot be listed by such a filter.
    pub async fn begin(
        &self,
        organization: &OrganizationId,
        endpoint_id: Uuid,
        request: pb::ReplayWebhookDeliveriesRequest,
    ) -> Result<Uuid, Error> {
        self.endpoints.enabled(organization, endpoint_id).await?;
        // Only who lists them can tell whether the filter is good.
        let probe = list_request(organization, request.filter.clone().unwrap_or_default(), &Place::default(), 1);
        self.conversations.clone().list_conversations(probe).await.map_err(Error::Conversations)?;
        let replay = Replay {
            organization_id: organization.clone(),
            replay_id: Uuid::now_v7(),
            endpoint_id,
            request: Bytes::from(request.encode_to_vec()),
            page_token: String::new(),
        };
        self.store.create_replay(&replay).await?;
        Ok(replay.replay_id)
    }

    /// Carries out replays, one after the other, until `stop`.
    ///
    /// # Errors
    /// Never: what fails is tried again.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let wait = match self.store.claim_replay(self.clock.now(), self.held_until()).await {
                Ok(Some(replay)) => {
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = self.carry_out(&replay) => continue,
                    }
                }
                Ok(None) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!("replays cannot be read: {error}");
                    WAIT
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn held_until(&self) -> Timestamp {
        self.clock.now().saturating_add_millis(HELD_FOR_MILLIS)
    }

    /// Goes on with a replay until it is done, or cannot be gone on with now: then whoever claims it next does.
    async fn carry_out(&self, replay: &Replay) {
        let mut place = Place::read(&replay.page_token);
        loop {
            match self.step(replay, &place).await {
                Ok(Step::Next(next)) => {
                    place = next;
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(Step::Done) => {
                    tracing::info!(replay.id = %replay.replay_id, endpoint.id = %replay.endpoint_id, "a replay is done");
                    return;
                }
                Ok(Step::Held) => return,
                Err(failure) => {
                    tracing::warn!(replay.id = %replay.replay_id, "a replay waits: {failure}");
                    tokio::time::sleep(WAIT).await;
                    return;
                }
            }
        }
    }

    /// Sends one page, and notes it.
    async fn step(&self, replay: &Replay, place: &Place) -> Result<Step, Failure> {
        let (organization, id) = (&replay.organization_id, replay.replay_id);
        let endpoint = self.store.endpoint(organization, replay.endpoint_id).await?;
        let request = pb::ReplayWebhookDeliveriesRequest::decode(&*replay.request);
        let (Some(endpoint), Ok(request)) = (endpoint, request) else {
            // Nobody to tell, or nothing that this release understands.
            self.store.advance_replay(organization, id, None, self.held_until()).await?;
            return Ok(Step::Done);
        };
        if !endpoint.enabled {
            return Ok(Step::Held);
        }
        let page = match self.page(organization, request.filter.unwrap_or_default(), place).await {
            Ok(page) => page,
            // The list is older than lists may become: it is begun anew from where it was.
            Err(status) if status.code() == Code::InvalidArgument && !place.token.is_empty() => {
                let anew = place.anew();
                self.store.advance_replay(organization, id, Some(&anew.write()), self.held_until()).await?;
                return Ok(Step::Next(anew));
            }
            Err(status) if status.code() == Code::InvalidArgument => {
                // It was good when the replay was begun; no waiting makes it good again.
                tracing::warn!(replay.id = %id, "a replay ends: its filter is not one any more: {}", status.message());
                self.store.advance_replay(organization, id, None, self.held_until()).await?;
                return Ok(Step::Done);
            }
            Err(status) => return Err(Failure::Conversations(status)),
        };
        let wants = |event_type: &str| {
            endpoint.listens_to(event_type) && (request.event_types.is_empty() || listed(&request.event_types, event_type))
        };
        let mut messages = Vec::new();
        let mut reached = place.reached;
        for conversation in &page.conversations {
            reached = conversation.created_at.and_then(|at| timestamp_from_pb("created_at", at).ok()).or(reached);
            if endpoint.filter.admits(&known(conversation)) {
                messages.extend(self.messages(organization, conversation, wants).await.map_err(Failure::Conversations)?);
            }
            if messages.len() >= BATCH {
                self.add(&endpoint, &mut messages).await?;
            }
        }
        self.add(&endpoint, &mut messages).await?;
        let next = (!page.next_page_token.is_empty()).then_some(Place { from: place.from, token: page.next_page_token, reached });
        let written = next.as_ref().map(Place::write);
        self.store.advance_replay(organization, id, written.as_deref(), self.held_until()).await?;
        Ok(next.map_or(Step::Done, Step::Next))
    }

    async fn page(
        &self,
        organization: &OrganizationId,
        filter: conversation_pb::ConversationFilter,
        place: &Place,
    ) -> Result<conversation_pb::ListConversationsResponse, Status> {
        let request = list_request(organization, filter, place, PAGE);
        Ok(self.conversations.clone().list_conversations(request).await?.into_inner())
    }

    /// Returns what there is to tell of a conversation.
    async fn messages(
        &self,
        organization: &OrganizationId,
        conversation: &conversation_pb::Conversation,
        wants: impl Fn(&str) -> bool,
    ) -> Result<Vec<Message>, Status> {
        let request = conversation_pb::ListConversationEventsRequest {
            conversation_id: conversation.conversation_id.clone(),
            min_position: 0,
            organization_id: organization.to_string(),
        };
        let events = match self.conversations.clone().list_conversation_events(request).await {
            Ok(answer) => answer.into_inner().events,
            // It was erased meanwhile.
            Err(status) if status.code() == Code::NotFound => Vec::new(),
            Err(status) => return Err(status),
        };
        Ok(messages_of_history(organization, conversation, events, wants))
    }

    async fn add(&self, endpoint: &Endpoint, messages: &mut Vec<Message>) -> Result<(), StoreError> {
        let now = self.clock.now();
        for messages in messages.chunks(BATCH) {
            let deliveries: Vec<Delivery> = messages.iter().map(|message| matching::delivery(message, endpoint, now)).collect();
            self.store.add(messages, &deliveries, now).await?;
        }
        messages.clear();
        Ok(())
    }
}

/// Asks for a page, oldest conversations first, so that those which begin meanwhile come last.
fn list_request(
    organization: &OrganizationId,
    mut filter: conversation_pb::ConversationFilter,
    place: &Place,
    page_size: i32,
) -> conversation_pb::ListConversationsRequest {
    if let Some(from) = place.from {
        filter.created_from = Some(timestamp_to_pb(from));
    }
    conversation_pb::ListConversationsRequest {
        filter: Some(filter),
        order_by: "created_at".to_owned(),
        page_size,
        page_token: place.token.clone(),
        organization_id: organization.to_string(),
        ..Default::default()
    }
}

fn listed(types: &[String], event_type: &str) -> bool {
    types.iter().any(|listed| crate::endpoint::is_in(listed, event_type))
}

fn known(conversation: &conversation_pb::Conversation) -> Known {
    Known {
        agent_id: conversation.agent_id.clone(),
        client_id: conversation.client_id.clone(),
        channel: conversation.channel.clone(),
        // It says what counts, whoever said it.
        set_client_id: None,
    }
}

/// Returns the messages of a history, in its order. Where its events stand in the log is not in it: their places are before the
/// first record, which says that nobody knows them.
fn messages_of_history(
    organization: &OrganizationId,
    conversation: &conversation_pb::Conversation,
    events: Vec<conversation_pb::ConversationEvent>,
    wants: impl Fn(&str) -> bool,
) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for (index, entry) in events.into_iter().enumerate() {
        // What a newer release wrote is for a newer release.
        let Some(event) = event_of(conversation, index, &entry) else { continue };
        let position = Position::new(0, u16::try_from(index + 1).unwrap_or(u16::MAX));
        for message in messages_of_event(organization, &event, position, &wants) {
            if !messages.iter().any(|earlier| earlier.message_id == message.message_id) {
                messages.push(message);
            }
        }
    }
    messages
}

fn event_of(
    conversation: &conversation_pb::Conversation,
    index: usize,
    entry: &conversation_pb::ConversationEvent,
) -> Option<Event> {
    let data: Value = serde_json::from_str(&entry.data_json).ok()?;
    let mut data: Data = serde_json::from_value(json!({"type": entry.r#type, "data": data})).ok()?;
    if let Data::RecordingAvailable(recording) = &mut data
        && recording.sha256.is_some()
    {
        // Where it lies is not shown; its hash is known only once it is stored.
        recording.object_key = Some(String::new());
    }
    Some(Event {
        event_id: entry.event_id.parse().ok()?,
        conversation_id: conversation.conversation_id.parse().ok()?,
        provider: conversation.provider.parse().ok()?,
        external_id: conversation.external_id.clone(),
        occurred_at: timestamp_from_pb("occurred_at", entry.occurred_at?).ok()?,
        ordinal: u32::try_from(index).unwrap_or(u32::MAX),
        data,
    })
}

#[cfg(test)]
mod tests;
