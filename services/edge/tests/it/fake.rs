//! Services that answer what a test wants, and remember what they were asked.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use colloquy_edge::{Deps, Settings, StreamDeps, build};
use colloquy_proto::access::v1::access_service_server::AccessServiceServer;
use colloquy_proto::analytics::v1::alert_service_server::AlertServiceServer;
use colloquy_proto::analytics::v1::analytics_service_server::AnalyticsServiceServer;
use colloquy_proto::conversation::v1 as conversation;
use colloquy_proto::conversation::v1::conversation_service_server::{ConversationService, ConversationServiceServer};
use colloquy_proto::conversation::v1::recording_service_server::{RecordingService, RecordingServiceServer};
use colloquy_proto::ingestion::v1 as ingestion;
use colloquy_proto::ingestion::v1::ingestion_service_server::{IngestionService, IngestionServiceServer};
use colloquy_proto::ingestion::v1::source_service_server::{SourceService, SourceServiceServer};
use colloquy_proto::log::v1::event_log_service_server::EventLogServiceServer;
use colloquy_proto::transcript::v1 as transcript;
use colloquy_proto::transcript::v1::transcript_service_server::{TranscriptService, TranscriptServiceServer};
use colloquy_service::Task;
use colloquy_service::transport::{LocalSlot, Transport};
use colloquy_types::SystemClock;
use futures::stream::{self, BoxStream, StreamExt};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Response, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::ServiceExt;

use crate::live::access::FakeAccess;
use crate::live::log::FakeLog;
use crate::understanding::Analytics;

/// The bytes of the one recording there is.
pub(crate) const RECORDING: &[u8] = b"0123456789";
/// Its name.
pub(crate) const SHA256: &str = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
/// The conversation there is; every other is not found.
pub(crate) const KNOWN: &str = "01980000-0000-7000-8000-000000000001";

/// One call a service got.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) message: String,
    pub(crate) api_key: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) request_id: Option<String>,
}

/// The conversation there is, unless a test sets another.
fn completed() -> conversation::Conversation {
    conversation::Conversation {
        conversation_id: KNOWN.to_owned(),
        external_id: "conv_1".to_owned(),
        provider: "elevenlabs".to_owned(),
        organization_id: "default".to_owned(),
        status: conversation::ConversationStatus::Completed as i32,
        created_at: Some(prost_types::Timestamp { seconds: 1_772_463_600, nanos: 5_000_000 }),
        duration_ms: Some(180_000),
        metadata_json: "{\"a\": 1.10}".to_owned(),
        ..Default::default()
    }
}

/// The same while it still runs.
pub(crate) fn running() -> conversation::Conversation {
    let status = conversation::ConversationStatus::InProgress as i32;
    conversation::Conversation { status, duration_ms: None, ..completed() }
}

/// All services at once.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    calls: Mutex<Vec<Call>>,
    failure: Mutex<Option<(&'static str, Status)>>,
    conversation: Mutex<Option<conversation::Conversation>>,
    others: Mutex<Vec<conversation::Conversation>>,
    turns: Mutex<Vec<transcript::Turn>>,
    analysed: Mutex<Option<(u64, String)>>,
    log: FakeLog,
    access: FakeAccess,
    edge: OnceLock<Router>,
}

/// Says that every service is serving.
struct Healthy;

#[tonic::async_trait]
impl Health for Healthy {
    async fn check(&self, _: tonic::Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: tonic::Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nobody watches"))
    }
}

/// An answer of the edge, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The names of the bad fields, in their order.
    pub(crate) fn bad_fields(&self) -> Vec<String> {
        let json = self.json();
        json["errors"].as_array().into_iter().flatten().map(|bad| bad["field"].as_str().unwrap().to_owned()).collect()
    }
}

impl Fake {
    /// Lets `method` fail from now on.
    pub(crate) fn fail(&self, method: &'static str, status: Status) {
        *self.0.failure.lock().unwrap() = Some((method, status));
    }

    /// Sets the conversation there is.
    pub(crate) fn set_conversation(&self, conversation: conversation::Conversation) {
        *self.0.conversation.lock().unwrap() = Some(conversation);
    }

    /// Adds another one, or changes it.
    pub(crate) fn add_conversation(&self, conversation: conversation::Conversation) {
        let mut others = self.0.others.lock().unwrap();
        others.retain(|other| other.conversation_id != conversation.conversation_id);
        others.push(conversation);
    }

    /// The log that streams follow.
    pub(crate) fn log(&self) -> &FakeLog {
        &self.0.log
    }

    /// The keys that may open streams.
    pub(crate) fn access(&self) -> &FakeAccess {
        &self.0.access
    }

    /// Sets its turns.
    pub(crate) fn set_turns(&self, turns: Vec<transcript::Turn>) {
        *self.0.turns.lock().unwrap() = turns;
    }

    /// Sets up to where analysers have read, and the mood they found.
    pub(crate) fn set_analysed(&self, position: u64, sentiment: &str) {
        *self.0.analysed.lock().unwrap() = Some((position, sentiment.to_owned()));
    }

    pub(crate) fn analysed(&self) -> (u64, String) {
        self.0.analysed.lock().unwrap().clone().unwrap_or_else(|| (0, "negative".to_owned()))
    }

    /// Returns the calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.calls.lock().unwrap().clone()
    }

    /// Returns the latest call of `method`.
    pub(crate) fn last(&self, method: &str) -> Call {
        self.calls().into_iter().rev().find(|call| call.method == method).unwrap_or_else(|| panic!("{method} was not called"))
    }

    pub(crate) fn note<T: Debug>(&self, method: &'static str, request: &tonic::Request<T>) -> Result<(), Status> {
        self.note_message(method, request, format!("{:?}", request.get_ref()))
    }

    fn note_message<T>(&self, method: &'static str, request: &tonic::Request<T>, message: String) -> Result<(), Status> {
        let text = |name: &str| request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        self.0.calls.lock().unwrap().push(Call {
            method,
            message,
            api_key: text("x-api-key"),
            authorization: text("authorization"),
            request_id: text("x-request-id"),
        });
        match &*self.0.failure.lock().unwrap() {
            Some((failing, status)) if *failing == method || *failing == "*" => Err(status.clone()),
            _ => Ok(()),
        }
    }

    fn conversation(&self) -> conversation::Conversation {
        self.0.conversation.lock().unwrap().clone().unwrap_or_else(completed)
    }

    fn known(&self, id: &str) -> Result<conversation::Conversation, Status> {
        let conversation = self.conversation();
        let name = format!("{}:{}", conversation.provider, conversation.external_id);
        let other = self.0.others.lock().unwrap().iter().find(|other| other.conversation_id == id).cloned();
        if id == conversation.conversation_id || id == name {
            Ok(conversation)
        } else if let Some(other) = other {
            Ok(other)
        } else {
            Err(Status::not_found("the conversation does not exist"))
        }
    }

    /// Returns the edge over these services.
    pub(crate) fn edge(&self) -> Router {
        let settings = Settings { idle_timeout: Duration::from_secs(5), ..Settings::default() };
        self.0.edge.get_or_init(|| self.edge_with(settings)).clone()
    }

    /// Returns the edge over these services, with settings of its own.
    pub(crate) fn edge_with(&self, settings: Settings) -> Router {
        self.build(settings, CancellationToken::new()).0
    }

    /// Returns the same, and what has to run for live streams to live.
    pub(crate) fn build(&self, settings: Settings, stop: CancellationToken) -> (Router, Task) {
        let slot = LocalSlot::new();
        let routes = Routes::new(ConversationServiceServer::new(self.clone()))
            .add_service(RecordingServiceServer::new(self.clone()))
            .add_service(TranscriptServiceServer::new(self.clone()))
            .add_service(AnalyticsServiceServer::new(Analytics(self.clone())))
            .add_service(AlertServiceServer::new(Analytics(self.clone())))
            .add_service(IngestionServiceServer::new(self.clone()))
            .add_service(SourceServiceServer::new(self.clone()))
            .add_service(EventLogServiceServer::new(self.0.log.clone()))
            .add_service(AccessServiceServer::new(self.0.access.clone()))
            .add_service(HealthServer::new(Healthy));
        slot.fill(routes.into_axum_router().layer(from_fn_with_state(self.clone(), fail_what_nobody_serves)));
        let transport = colloquy_service::transport::outgoing(slot.transport(), None);
        let deps = Deps {
            conversation_store: transport.clone(),
            transcript: transport.clone(),
            ingestion: transport.clone(),
            analytics: transport.clone(),
            notification: transport.clone(),
            access: transport.clone(),
        };
        let streams = StreamDeps { stop, ..stream_deps(transport) };
        build(settings, deps, streams)
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        send(self.edge(), request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).header("x-api-key", "k").body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(Method::GET, path, headers, Body::empty())).await
    }

    pub(crate) async fn json(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        self.send(request(method, path, &[("content-type", "application/json")], body)).await
    }
}

/// Lets a method that no service here has fail as a test wants, too.
async fn fail_what_nobody_serves(
    State(fake): State<Fake>,
    request: axum::extract::Request,
    next: Next,
) -> axum::response::Response {
    let path = request.uri().path().to_owned();
    let answer = next.run(request).await;
    let is_unserved = answer.headers().get("grpc-status").is_some_and(|code| code == "12");
    match &*fake.0.failure.lock().unwrap() {
        Some((failing, status)) if is_unserved && path.rsplit('/').next() == Some(failing) => {
            status.clone().into_http::<tonic::body::Body>().map(Body::new)
        }
        _ => answer,
    }
}

/// What live streams need, all of it behind one transport.
pub(crate) fn stream_deps(transport: Transport) -> StreamDeps {
    let (log, access) = (transport.clone(), transport);
    StreamDeps { log, access, service_token: "token".into(), clock: Arc::new(SystemClock), stop: CancellationToken::new() }
}

/// Returns a request with these headers, and with a key unless one is among them.
pub(crate) fn request(method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| ["x-api-key", "xi-api-key", "authorization"].contains(name)) {
        request = request.header("x-api-key", "k");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

pub(crate) async fn send(edge: Router, request: Request<Body>) -> Answer {
    let response = edge.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("the body ends well").to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

#[tonic::async_trait]
impl ConversationService for Fake {
    async fn batch_get_conversations(
        &self,
        _: tonic::Request<conversation::BatchGetConversationsRequest>,
    ) -> Result<Response<conversation::BatchGetConversationsResponse>, Status> {
        Err(Status::unimplemented("the edge does not ask for many"))
    }

    async fn get_conversation(
        &self,
        request: tonic::Request<conversation::GetConversationRequest>,
    ) -> Result<Response<conversation::GetConversationResponse>, Status> {
        self.note("GetConversation", &request)?;
        let conversation = self.known(&request.get_ref().conversation_id)?;
        Ok(Response::new(conversation::GetConversationResponse { conversation: Some(conversation) }))
    }

    async fn list_conversations(
        &self,
        request: tonic::Request<conversation::ListConversationsRequest>,
    ) -> Result<Response<conversation::ListConversationsResponse>, Status> {
        self.note("ListConversations", &request)?;
        let conversations = vec![self.conversation(); request.get_ref().page_size as usize];
        let total_size = request.get_ref().include_total.then_some(1_000);
        let next_page_token = "next".to_owned();
        Ok(Response::new(conversation::ListConversationsResponse { conversations, next_page_token, total_size }))
    }

    async fn update_conversation(
        &self,
        request: tonic::Request<conversation::UpdateConversationRequest>,
    ) -> Result<Response<conversation::UpdateConversationResponse>, Status> {
        self.note("UpdateConversation", &request)?;
        let conversation = Some(self.known(&request.get_ref().conversation_id)?);
        Ok(Response::new(conversation::UpdateConversationResponse { conversation, position: 7 }))
    }

    async fn list_conversation_events(
        &self,
        request: tonic::Request<conversation::ListConversationEventsRequest>,
    ) -> Result<Response<conversation::ListConversationEventsResponse>, Status> {
        self.note("ListConversationEvents", &request)?;
        self.known(&request.get_ref().conversation_id)?;
        let event = |seconds, kind: &str| conversation::ConversationEvent {
            event_id: KNOWN.to_owned(),
            r#type: kind.to_owned(),
            received_at: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            data_json: "{}".to_owned(),
            ..Default::default()
        };
        let events = vec![event(100, "conversation.started"), event(200, "conversation.ended")];
        Ok(Response::new(conversation::ListConversationEventsResponse { events }))
    }

    async fn give_feedback(
        &self,
        request: tonic::Request<conversation::GiveFeedbackRequest>,
    ) -> Result<Response<conversation::GiveFeedbackResponse>, Status> {
        self.note("GiveFeedback", &request)?;
        let given = request.into_inner();
        let feedback = conversation::Feedback { rating: given.rating, thumbs: given.thumbs, comment: given.comment, at: None };
        Ok(Response::new(conversation::GiveFeedbackResponse { feedback: Some(feedback), position: 9 }))
    }

    async fn list_agents(
        &self,
        request: tonic::Request<conversation::ListAgentsRequest>,
    ) -> Result<Response<conversation::ListAgentsResponse>, Status> {
        self.note("ListAgents", &request)?;
        let agents = vec![conversation::Agent { agent_id: "a".to_owned(), ..Default::default() }];
        Ok(Response::new(conversation::ListAgentsResponse { agents, next_page_token: String::new() }))
    }

    async fn get_agent(
        &self,
        request: tonic::Request<conversation::GetAgentRequest>,
    ) -> Result<Response<conversation::GetAgentResponse>, Status> {
        self.note("GetAgent", &request)?;
        let version = conversation::AgentVersion { agent_version_id: "v".to_owned(), ..Default::default() };
        let agent = conversation::Agent { agent_id: "a".to_owned(), versions: vec![version], ..Default::default() };
        Ok(Response::new(conversation::GetAgentResponse { agent: Some(agent) }))
    }
}

#[tonic::async_trait]
impl RecordingService for Fake {
    type ReadRecordingStream = BoxStream<'static, Result<conversation::ReadRecordingResponse, Status>>;

    async fn store_object(
        &self,
        _: tonic::Request<Streaming<conversation::StoreObjectRequest>>,
    ) -> Result<Response<conversation::StoreObjectResponse>, Status> {
        Err(Status::unimplemented("the edge never stores objects"))
    }

    async fn upload_recording(
        &self,
        request: tonic::Request<Streaming<conversation::UploadRecordingRequest>>,
    ) -> Result<Response<conversation::UploadRecordingResponse>, Status> {
        use conversation::upload_recording_request::Part;
        self.note_message("UploadRecording", &request, "begins".to_owned())?;
        let (metadata, extensions, mut parts) = request.into_parts();
        let (mut head, mut size) = (None, 0);
        while let Some(message) = parts.message().await? {
            match message.part {
                Some(Part::Head(given)) => head = Some(given),
                Some(Part::Chunk(chunk)) => size += chunk.len() as u64,
                None => {}
            }
        }
        let whole = tonic::Request::from_parts(metadata, extensions, ());
        self.note_message("UploadRecording", &whole, format!("{head:?} {size}"))?;
        Ok(Response::new(conversation::UploadRecordingResponse { sha256: SHA256.to_owned(), size_bytes: size, position: 11 }))
    }

    async fn read_recording(
        &self,
        request: tonic::Request<conversation::ReadRecordingRequest>,
    ) -> Result<Response<Self::ReadRecordingStream>, Status> {
        use conversation::read_recording_response::Part;
        self.note("ReadRecording", &request)?;
        let given = request.get_ref();
        self.known(&given.conversation_id)?;
        let size = RECORDING.len() as u64;
        let (first, last) = match given.range {
            None => (0, size - 1),
            Some(range) => match (range.first, range.last) {
                (Some(first), last) => (first, last.unwrap_or(u64::MAX).min(size - 1)),
                (None, last) => (size.saturating_sub(last.unwrap_or_default()), size - 1),
            },
        };
        if first >= size {
            return Err(Status::out_of_range("the range lies beyond the recording"));
        }
        let head = conversation::ReadRecordingHead {
            content_type: "audio/mpeg".to_owned(),
            sha256: SHA256.to_owned(),
            size_bytes: size,
            first,
            length: last - first + 1,
        };
        let mut parts = vec![Part::Head(head)];
        if !given.head_only {
            let wanted = &RECORDING[first as usize..=last as usize];
            parts.extend(wanted.chunks(4).map(|chunk| Part::Chunk(bytes::Bytes::copy_from_slice(chunk))));
        }
        let messages = parts.into_iter().map(|part| Ok(conversation::ReadRecordingResponse { part: Some(part) }));
        Ok(Response::new(stream::iter(messages.collect::<Vec<_>>()).boxed()))
    }
}

#[tonic::async_trait]
impl TranscriptService for Fake {
    async fn batch_get_transcripts(
        &self,
        _: tonic::Request<transcript::BatchGetTranscriptsRequest>,
    ) -> Result<Response<transcript::BatchGetTranscriptsResponse>, Status> {
        Err(Status::unimplemented("the edge does not ask for many"))
    }

    async fn get_transcript(
        &self,
        request: tonic::Request<transcript::GetTranscriptRequest>,
    ) -> Result<Response<transcript::GetTranscriptResponse>, Status> {
        self.note("GetTranscript", &request)?;
        let turns = self.0.turns.lock().unwrap().clone();
        let conversation_id = request.into_inner().conversation_id;
        Ok(Response::new(transcript::GetTranscriptResponse { conversation_id, turns, ..Default::default() }))
    }

    async fn get_figures(
        &self,
        request: tonic::Request<transcript::GetFiguresRequest>,
    ) -> Result<Response<transcript::GetFiguresResponse>, Status> {
        self.note("GetFigures", &request)?;
        let conversation_id = request.into_inner().conversation_id;
        Ok(Response::new(transcript::GetFiguresResponse { conversation_id, turn_count: 3, ..Default::default() }))
    }

    async fn render_transcript(
        &self,
        request: tonic::Request<transcript::RenderTranscriptRequest>,
    ) -> Result<Response<transcript::RenderTranscriptResponse>, Status> {
        self.note("RenderTranscript", &request)?;
        let content = format!("written as {:?}", request.get_ref().format());
        let language = Some("de".to_owned());
        Ok(Response::new(transcript::RenderTranscriptResponse { content, content_type: String::new(), language }))
    }

    async fn search_turns(
        &self,
        request: tonic::Request<transcript::SearchTurnsRequest>,
    ) -> Result<Response<transcript::SearchTurnsResponse>, Status> {
        self.note("SearchTurns", &request)?;
        let hit = transcript::SearchHit {
            conversation_id: KNOWN.to_owned(),
            snippet: "a refund, please".to_owned(),
            highlights: vec![transcript::Highlight { from: 2, to: 8 }],
            role: transcript::TurnRole::User.into(),
            start_ms: Some(1_200),
            ..Default::default()
        };
        Ok(Response::new(transcript::SearchTurnsResponse { hits: vec![hit], next_page_token: "next".to_owned() }))
    }

    async fn match_conversations(
        &self,
        _: tonic::Request<transcript::MatchConversationsRequest>,
    ) -> Result<Response<transcript::MatchConversationsResponse>, Status> {
        Err(Status::unimplemented("the edge does not ask"))
    }
}

/// Remembers that a call was dropped before its end.
struct Unfinished(Fake);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.note_message("ReceiveWebhook", &tonic::Request::new(()), "dropped".to_owned()).ok();
    }
}

#[tonic::async_trait]
impl IngestionService for Fake {
    async fn receive_webhook(
        &self,
        request: tonic::Request<Streaming<ingestion::ReceiveWebhookRequest>>,
    ) -> Result<Response<ingestion::ReceiveWebhookResponse>, Status> {
        use ingestion::receive_webhook_request::Part;
        self.note_message("ReceiveWebhook", &request, "begins".to_owned())?;
        let unfinished = Unfinished(self.clone());
        let (metadata, extensions, mut parts) = request.into_parts();
        let (mut head, mut sizes) = (None, Vec::new());
        while let Some(message) = parts.message().await? {
            match message.part {
                Some(Part::Head(given)) => head = Some(given),
                Some(Part::Chunk(chunk)) => sizes.push(chunk.len()),
                None => {}
            }
        }
        std::mem::forget(unfinished);
        let largest = sizes.iter().max().copied().unwrap_or_default();
        let whole = tonic::Request::from_parts(metadata, extensions, ());
        let message = format!("{head:?} total={} largest={largest}", sizes.iter().sum::<usize>());
        self.note_message("ReceiveWebhook", &whole, message)?;
        Ok(Response::new(ingestion::ReceiveWebhookResponse { position: 3, accepted: 2, duplicates: 1, ..Default::default() }))
    }

    async fn ingest_events(
        &self,
        request: tonic::Request<ingestion::IngestEventsRequest>,
    ) -> Result<Response<ingestion::IngestEventsResponse>, Status> {
        self.note("IngestEvents", &request)?;
        let accepted = request.get_ref().events.len() as u32;
        Ok(Response::new(ingestion::IngestEventsResponse { accepted, duplicates: 0, position: 5 }))
    }

    async fn list_quarantine(
        &self,
        request: tonic::Request<ingestion::ListQuarantineRequest>,
    ) -> Result<Response<ingestion::ListQuarantineResponse>, Status> {
        self.note("ListQuarantine", &request)?;
        let deliveries = vec![ingestion::QuarantinedDelivery { reason: "unknown event".to_owned(), ..Default::default() }];
        Ok(Response::new(ingestion::ListQuarantineResponse { deliveries, next_page_token: String::new() }))
    }

    async fn retry_quarantine(
        &self,
        request: tonic::Request<ingestion::RetryQuarantineRequest>,
    ) -> Result<Response<ingestion::RetryQuarantineResponse>, Status> {
        self.note("RetryQuarantine", &request)?;
        let delivery = Some(ingestion::QuarantinedDelivery { attempts: 2, ..Default::default() });
        Ok(Response::new(ingestion::RetryQuarantineResponse { delivery, position: 13 }))
    }
}

fn source(given: ingestion::Source) -> ingestion::Source {
    let mut verification = given.verification.unwrap_or_default();
    verification.has_secret = verification.secret.take().is_some();
    let control = given.control.map(|mut control| {
        control.has_api_key = control.api_key.take().is_some();
        control
    });
    let webhook_path = format!("/v1/webhooks/{KNOWN}");
    ingestion::Source { source_id: KNOWN.to_owned(), webhook_path, verification: Some(verification), control, ..given }
}

#[tonic::async_trait]
impl SourceService for Fake {
    async fn create_source(
        &self,
        request: tonic::Request<ingestion::CreateSourceRequest>,
    ) -> Result<Response<ingestion::CreateSourceResponse>, Status> {
        self.note("CreateSource", &request)?;
        let source = request.into_inner().source.map(source);
        Ok(Response::new(ingestion::CreateSourceResponse { source }))
    }

    async fn get_source(
        &self,
        request: tonic::Request<ingestion::GetSourceRequest>,
    ) -> Result<Response<ingestion::GetSourceResponse>, Status> {
        self.note("GetSource", &request)?;
        Ok(Response::new(ingestion::GetSourceResponse { source: Some(source(ingestion::Source::default())) }))
    }

    async fn list_sources(
        &self,
        request: tonic::Request<ingestion::ListSourcesRequest>,
    ) -> Result<Response<ingestion::ListSourcesResponse>, Status> {
        self.note("ListSources", &request)?;
        Ok(Response::new(ingestion::ListSourcesResponse::default()))
    }

    async fn update_source(
        &self,
        request: tonic::Request<ingestion::UpdateSourceRequest>,
    ) -> Result<Response<ingestion::UpdateSourceResponse>, Status> {
        self.note("UpdateSource", &request)?;
        let source = request.into_inner().source.map(source);
        Ok(Response::new(ingestion::UpdateSourceResponse { source }))
    }

    async fn delete_source(
        &self,
        request: tonic::Request<ingestion::DeleteSourceRequest>,
    ) -> Result<Response<ingestion::DeleteSourceResponse>, Status> {
        self.note("DeleteSource", &request)?;
        Ok(Response::new(ingestion::DeleteSourceResponse {}))
    }

    async fn get_source_credentials(
        &self,
        _: tonic::Request<ingestion::GetSourceCredentialsRequest>,
    ) -> Result<Response<ingestion::GetSourceCredentialsResponse>, Status> {
        Err(Status::permission_denied("for services only"))
    }
}
