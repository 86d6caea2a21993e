//! Calls to the services behind the edge, in the caller's name.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath};
use colloquy_proto::access::v1::access_service_server;
use colloquy_proto::analytics::v1::alert_service_client::AlertServiceClient;
use colloquy_proto::analytics::v1::analytics_service_client::AnalyticsServiceClient;
use colloquy_proto::analytics::v1::analytics_service_server;
use colloquy_proto::analytics::v1::analyzer_service_client::AnalyzerServiceClient;
use colloquy_proto::control::v1::control_service_client::ControlServiceClient;
use colloquy_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use colloquy_proto::conversation::v1::conversation_service_server;
use colloquy_proto::conversation::v1::recording_service_client::RecordingServiceClient;
use colloquy_proto::ingestion::v1::ingestion_service_client::IngestionServiceClient;
use colloquy_proto::ingestion::v1::ingestion_service_server;
use colloquy_proto::ingestion::v1::source_service_client::SourceServiceClient;
use colloquy_proto::notification::v1::webhook_service_client::WebhookServiceClient;
use colloquy_proto::notification::v1::webhook_service_server;
use colloquy_proto::transcript::v1::transcript_service_client::TranscriptServiceClient;
use colloquy_proto::transcript::v1::transcript_service_server;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tonic::Request;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

use crate::Deps;
use crate::request_id::{REQUEST_ID, RequestId};

/// A little less than the time a request has here, so that the service's own answer comes first.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// Where the keys of the ElevenLabs SDKs are understood.
const ELEVENLABS_SHAPED: &str = "/v1/convai/";

/// A service behind the edge.
pub(crate) struct Behind {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its name in `grpc.health.v1`.
    pub(crate) grpc_name: &'static str,
    pub(crate) transport: Transport,
}

impl Behind {
    /// Returns all of them.
    pub(crate) fn all(deps: Deps) -> [Self; 6] {
        let behind = |name, grpc_name, transport| Self { name, grpc_name, transport };
        [
            behind("conversation-store", conversation_service_server::SERVICE_NAME, deps.conversation_store),
            behind("transcript", transcript_service_server::SERVICE_NAME, deps.transcript),
            behind("ingestion", ingestion_service_server::SERVICE_NAME, deps.ingestion),
            behind("analytics", analytics_service_server::SERVICE_NAME, deps.analytics),
            behind("notification", webhook_service_server::SERVICE_NAME, deps.notification),
            behind("access", access_service_server::SERVICE_NAME, deps.access),
        ]
    }
}

/// The generated clients; cheap to clone, and cloned for each call.
pub(crate) struct Clients {
    pub(crate) conversations: ConversationServiceClient<Transport>,
    pub(crate) recordings: RecordingServiceClient<Transport>,
    pub(crate) transcripts: TranscriptServiceClient<Transport>,
    pub(crate) ingestion: IngestionServiceClient<Transport>,
    pub(crate) sources: SourceServiceClient<Transport>,
    pub(crate) webhooks: WebhookServiceClient<Transport>,
    pub(crate) control: ControlServiceClient<Transport>,
    pub(crate) analytics: AnalyticsServiceClient<Transport>,
    pub(crate) alerts: AlertServiceClient<Transport>,
    pub(crate) analyzers: AnalyzerServiceClient<Transport>,
    /// The services, for health.
    pub(crate) services: [Behind; 6],
}

impl Clients {
    pub(crate) fn new(deps: Deps) -> Self {
        let Deps { conversation_store, transcript, ingestion, analytics, notification, access } = deps;
        Self {
            conversations: ConversationServiceClient::new(conversation_store.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
            recordings: RecordingServiceClient::new(conversation_store.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            transcripts: TranscriptServiceClient::new(transcript.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            ingestion: IngestionServiceClient::new(ingestion.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            sources: SourceServiceClient::new(ingestion.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            webhooks: WebhookServiceClient::new(notification.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            control: ControlServiceClient::new(notification.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            analytics: AnalyticsServiceClient::new(analytics.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            alerts: AlertServiceClient::new(analytics.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            analyzers: AnalyzerServiceClient::new(analytics.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            services: Behind::all(Deps { conversation_store, transcript, ingestion, analytics, notification, access }),
        }
    }
}

/// What a request passes on to every call made for it: its key and its id.
#[derive(Clone)]
pub(crate) struct Calling {
    request_id: Option<AsciiMetadataValue>,
    api_key: Option<AsciiMetadataValue>,
    authorization: Option<AsciiMetadataValue>,
}

impl Calling {
    /// Returns calls in the name of a key, for who answers longer than one request lasts.
    pub(crate) fn of_key(key: &str) -> Self {
        let mut api_key = AsciiMetadataValue::try_from(key).ok();
        if let Some(key) = &mut api_key {
            key.set_sensitive(true);
        }
        Self { request_id: None, api_key, authorization: None }
    }

    /// Returns a call in the name of whoever made the request.
    pub(crate) fn call<T>(&self, message: T) -> Request<T> {
        let mut call = self.call_without_key(message, CALL_TIMEOUT);
        self.present(call.metadata_mut());
        call
    }

    /// Returns the same, for a call that may take as long as a body takes to arrive.
    pub(crate) fn long_call<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut call = self.call_without_key(message, timeout);
        self.present(call.metadata_mut());
        call
    }

    /// Returns a call in nobody's name.
    pub(crate) fn call_without_key<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut call = Request::new(message);
        if let Some(id) = &self.request_id {
            call.metadata_mut().insert(AsciiMetadataKey::from_static(REQUEST_ID), id.clone());
        }
        call.set_timeout(timeout);
        call
    }

    /// Returns the key as headers.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut metadata = MetadataMap::new();
        self.present(&mut metadata);
        metadata.into_headers()
    }

    fn present(&self, metadata: &mut MetadataMap) {
        if let Some(key) = &self.api_key {
            metadata.insert("x-api-key", key.clone());
        }
        if let Some(value) = &self.authorization {
            metadata.insert("authorization", value.clone());
        }
    }
}

/// Passes a header on as metadata. What is not printable ASCII is no key of ours, and so is as good as absent.
fn secret(headers: &HeaderMap, name: impl http::header::AsHeaderName) -> Option<AsciiMetadataValue> {
    let text = headers.get(name)?.to_str().ok().filter(|text| !text.is_empty())?;
    let mut value = AsciiMetadataValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl<S: Send + Sync> FromRequestParts<S> for Calling {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut api_key = secret(&parts.headers, "x-api-key");
        // The pattern, since a nested route sees only the rest of its path.
        let route = parts.extensions.get::<MatchedPath>();
        if api_key.is_none() && route.is_some_and(|route| route.as_str().starts_with(ELEVENLABS_SHAPED)) {
            api_key = secret(&parts.headers, "xi-api-key");
        }
        let id = parts.extensions.get::<RequestId>();
        let request_id = id.and_then(|id| AsciiMetadataValue::try_from(id.as_str()).ok());
        Ok(Self { request_id, api_key, authorization: secret(&parts.headers, AUTHORIZATION) })
    }
}
