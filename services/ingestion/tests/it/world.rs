//! The service behind its own layers, with an access service and a recording service of the test's making, and clients of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::{digest, hmac};
use colloquy_ingestion::{Deps, MasterKey, Settings};
use colloquy_proto::access::v1 as access;
use colloquy_proto::access::v1::access_service_server::{AccessService, AccessServiceServer};
use colloquy_proto::conversation::v1 as conversation;
use colloquy_proto::conversation::v1::recording_service_server::{RecordingService, RecordingServiceServer};
use colloquy_proto::conversation::v1::store_object_request::Part as StorePart;
use colloquy_proto::ingestion::v1 as pb;
use colloquy_proto::ingestion::v1::ingestion_service_client::IngestionServiceClient;
use colloquy_proto::ingestion::v1::receive_webhook_request::Part;
use colloquy_proto::ingestion::v1::source_service_client::SourceServiceClient;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_proto::log::v1::{TailRequest, TailResponse};
use colloquy_service::auth::{Authenticator, SERVICE_TOKEN};
use colloquy_service::stack;
use colloquy_service::transport::{LocalSlot, Transport, outgoing};
use colloquy_storage::{DatabaseUrl, PageTokens};
use colloquy_types::{Clock, ManualClock, Timestamp};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// When the samples' signatures are twenty seconds old.
pub(crate) const NOW_SECONDS: i64 = 1_772_463_800;
/// A key of the organization `acme` that may do everything.
pub(crate) const ACME: &str = "acme/admin";
/// A key of another organization.
pub(crate) const OTHER: &str = "other/admin";

/// By which services of the installation know each other.
const TOKEN: &str = "token";

pub(crate) const ELEVENLABS_SECRET: &str = "wsec_test_0123456789abcdef0123456789abcdef";

/// The service, running.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) clock: ManualClock,
    pub(crate) recordings: Arc<Recordings>,
    pub(crate) ingestion: IngestionServiceClient<Transport>,
    pub(crate) sources: SourceServiceClient<Transport>,
    pub(crate) log: EventLogServiceClient<Transport>,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

/// Returns a request made with `key`, which names an organization and its scopes: `acme/admin`.
pub(crate) fn by<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    request
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn on_postgres() -> Option<Self> {
        let url = colloquy_testkit::postgres::database_url().await?;
        Some(Self::start_with(|settings| settings.database = DatabaseUrl::Postgres(url)).await)
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_folder(folder.path().to_owned(), MasterKey::new([42; 32]));
        adjust(&mut settings);
        let clock = ManualClock::at(Timestamp::from_millis(NOW_SECONDS * 1000).unwrap());
        let stop = CancellationToken::new();
        let recordings = Arc::new(Recordings::default());
        let recording_slot = LocalSlot::new();
        recording_slot.fill(Routes::new(RecordingServiceServer::from_arc(Arc::clone(&recordings))).into_axum_router());
        let access_slot = LocalSlot::new();
        access_slot.fill(Routes::new(AccessServiceServer::new(Access)).into_axum_router());

        let deps = Deps {
            clock: Arc::new(clock.clone()),
            page_tokens: PageTokens::new(b"test"),
            stop: stop.clone(),
            recordings: outgoing(recording_slot.transport(), None),
        };
        let mut service = colloquy_ingestion::build(settings, deps).await.unwrap();
        let mut tasks = JoinSet::new();
        for task in service.tasks.drain(..) {
            tasks.spawn(task.work);
        }
        let slot = LocalSlot::new();
        slot.fill(stack::wrap(&service, Authenticator::new(access_slot.transport(), TOKEN.into())));
        let transport = slot.transport();
        Self {
            folder,
            clock,
            recordings,
            ingestion: IngestionServiceClient::new(transport.clone()),
            sources: SourceServiceClient::new(transport.clone()),
            log: EventLogServiceClient::new(transport),
            stop,
            tasks,
        }
    }

    /// Ends the service and returns its folder.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
        self.folder
    }

    /// Makes a source of `acme` and returns its id.
    pub(crate) async fn source(&self, provider: &str, scheme: &str, secret: Option<&str>) -> String {
        let source = a_source(provider, scheme, secret);
        self.create(ACME, source).await.unwrap().source_id
    }

    pub(crate) async fn create(&self, key: &str, source: pb::Source) -> Result<pb::Source, Status> {
        let request = by(key, pb::CreateSourceRequest { source: Some(source) });
        Ok(self.sources.clone().create_source(request).await?.into_inner().source.unwrap())
    }

    /// Asks, as another service of the installation, how the provider of a source is called.
    pub(crate) async fn credentials(
        &self,
        organization_id: &str,
        source_id: &str,
    ) -> Result<pb::GetSourceCredentialsResponse, Status> {
        let request =
            pb::GetSourceCredentialsRequest { organization_id: organization_id.to_owned(), source_id: source_id.to_owned() };
        let mut request = Request::new(request);
        request.metadata_mut().insert(SERVICE_TOKEN, TOKEN.parse().unwrap());
        Ok(self.sources.clone().get_source_credentials(request).await?.into_inner())
    }

    /// Sends a delivery in pieces of `piece` bytes.
    pub(crate) async fn deliver_in_pieces(
        &self,
        source_id: &str,
        headers: &[(String, String)],
        body: impl Stream<Item = bytes::Bytes> + Send + 'static,
    ) -> Result<pb::ReceiveWebhookResponse, Status> {
        let headers = headers.iter().map(|(name, value)| pb::Header { name: name.clone(), value: value.clone() }).collect();
        let head = Part::Head(pb::WebhookHead { source_id: source_id.to_owned(), headers });
        let parts = stream::once(async { head }).chain(body.map(Part::Chunk));
        let parts = parts.map(|part| pb::ReceiveWebhookRequest { part: Some(part) });
        Ok(self.ingestion.clone().receive_webhook(parts).await?.into_inner())
    }

    pub(crate) async fn deliver(
        &self,
        source_id: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<pb::ReceiveWebhookResponse, Status> {
        let pieces: Vec<bytes::Bytes> = body.chunks(64 << 10).map(bytes::Bytes::copy_from_slice).collect();
        self.deliver_in_pieces(source_id, headers, stream::iter(pieces)).await
    }

    /// Delivers `body` as ElevenLabs would sign it now.
    pub(crate) async fn deliver_signed(&self, source_id: &str, body: &[u8]) -> Result<pb::ReceiveWebhookResponse, Status> {
        let headers = elevenlabs_headers(ELEVENLABS_SECRET, self.clock.now().as_seconds(), [body]);
        self.deliver(source_id, &headers, body).await
    }

    /// Returns every event of `key`'s organization in the log.
    pub(crate) async fn events(&self, key: &str) -> Vec<TailResponse> {
        let request = TailRequest { after_position: Some(0), until_end: true, ..TailRequest::default() };
        let events = self.log.clone().tail(by(key, request)).await.unwrap().into_inner();
        events.map(Result::unwrap).collect().await
    }

    /// Returns every event of an organization in the log, as another service of the installation sees them.
    pub(crate) async fn events_as_service(&self, organization_id: &str) -> Vec<TailResponse> {
        let organization_id = organization_id.to_owned();
        let request = TailRequest { after_position: Some(0), until_end: true, organization_id, ..TailRequest::default() };
        let mut request = Request::new(request);
        request.metadata_mut().insert(SERVICE_TOKEN, TOKEN.parse().unwrap());
        self.log.clone().tail(request).await.unwrap().into_inner().map(Result::unwrap).collect().await
    }

    pub(crate) async fn quarantined(&self, key: &str) -> Vec<pb::QuarantinedDelivery> {
        let request = pb::ListQuarantineRequest { include_resolved: true, page_size: 100, ..Default::default() };
        self.ingestion.clone().list_quarantine(by(key, request)).await.unwrap().into_inner().deliveries
    }

    pub(crate) async fn retry(&self, key: &str, quarantine_id: &str) -> Result<pb::RetryQuarantineResponse, Status> {
        let request = pb::RetryQuarantineRequest { quarantine_id: quarantine_id.to_owned() };
        Ok(self.ingestion.clone().retry_quarantine(by(key, request)).await?.into_inner())
    }

    pub(crate) async fn assert_nothing_was_stored(&self) {
        assert_eq!(self.events(ACME).await, []);
        assert_eq!(self.quarantined(ACME).await, []);
        assert_eq!(self.recordings.stored(), []);
    }
}

pub(crate) fn a_source(provider: &str, scheme: &str, secret: Option<&str>) -> pb::Source {
    let verification = pb::Verification { scheme: scheme.to_owned(), secret: secret.map(str::to_owned), ..Default::default() };
    pb::Source {
        provider: provider.to_owned(),
        name: format!("{provider} line"),
        client_id: Some("client-7".to_owned()),
        verification: Some(verification),
        ..Default::default()
    }
}

/// Returns the headers ElevenLabs would send with the body made of `pieces`.
pub(crate) fn elevenlabs_headers<'a>(
    secret: &str,
    seconds: i64,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<(String, String)> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    context.update(format!("{seconds}.").as_bytes());
    pieces.into_iter().for_each(|piece| context.update(piece));
    let signature = hex::encode(context.sign().as_ref());
    vec![("elevenlabs-signature".to_owned(), format!("t={seconds},v0={signature}"))]
}

/// One sample: its name, its headers and its body.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

fn payloads() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/payloads")
}

/// Returns one sample.
pub(crate) fn sample(provider: &str, name: &str) -> Sample {
    read_sample(&payloads().join(provider).join(format!("{name}.json")), "headers")
}

/// Returns every sample of a provider.
pub(crate) fn samples(provider: &str) -> Vec<Sample> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(payloads().join(provider)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".json") && !name.ends_with(".headers.json")
    });
    paths.sort();
    paths.iter().map(|path| read_sample(path, "headers")).collect()
}

fn read_sample(path: &Path, headers: &str) -> Sample {
    let headers = std::fs::read(path.with_extension(format!("{headers}.json"))).unwrap();
    let headers: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&headers).unwrap();
    Sample {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        headers: headers.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect(),
        body: std::fs::read(path).unwrap(),
    }
}

/// Knows keys that name their organization and scopes: `acme/admin`.
struct Access;

#[tonic::async_trait]
impl AccessService for Access {
    async fn authenticate(
        &self,
        request: Request<access::AuthenticateRequest>,
    ) -> Result<Response<access::AuthenticateResponse>, Status> {
        let key = request.into_inner().api_key;
        let (organization, scopes) = key.split_once('/').ok_or_else(|| Status::unauthenticated("unknown"))?;
        Ok(Response::new(access::AuthenticateResponse {
            key_id: uuid::Uuid::nil().to_string(),
            organization_id: organization.to_owned(),
            scopes: scopes.split(',').map(str::to_owned).collect(),
            expires_at: None,
        }))
    }

    async fn create_api_key(
        &self,
        _: Request<access::CreateApiKeyRequest>,
    ) -> Result<Response<access::CreateApiKeyResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn list_api_keys(
        &self,
        _: Request<access::ListApiKeysRequest>,
    ) -> Result<Response<access::ListApiKeysResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn revoke_api_key(
        &self,
        _: Request<access::RevokeApiKeyRequest>,
    ) -> Result<Response<access::RevokeApiKeyResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn get_organization(
        &self,
        _: Request<access::GetOrganizationRequest>,
    ) -> Result<Response<access::GetOrganizationResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }
}

/// A recording service that remembers what it was given, but not the bytes.
#[derive(Default)]
pub(crate) struct Recordings {
    stored: Mutex<Vec<StoredObject>>,
    is_down: AtomicBool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredObject {
    pub(crate) organization_id: String,
    pub sha256: String,
    pub(crate) size_bytes: u64,
}

impl Recordings {
    pub(crate) fn stored(&self) -> Vec<StoredObject> {
        self.stored.lock().unwrap().clone()
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl RecordingService for Recordings {
    async fn store_object(
        &self,
        request: Request<Streaming<conversation::StoreObjectRequest>>,
    ) -> Result<Response<conversation::StoreObjectResponse>, Status> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Status::unavailable("down"));
        }
        let mut parts = request.into_inner();
        let Some(StorePart::OrganizationId(organization_id)) = parts.message().await?.and_then(|first| first.part) else {
            return Err(Status::invalid_argument("the organization must come first"));
        };
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut size_bytes = 0;
        while let Some(part) = parts.message().await? {
            let Some(StorePart::Chunk(chunk)) = part.part else { return Err(Status::invalid_argument("not a chunk")) };
            assert!(chunk.len() <= 1 << 20, "a chunk has at most 1 MiB");
            size_bytes += chunk.len() as u64;
            hash.update(&chunk);
        }
        let sha256 = hex::encode(hash.finish().as_ref());
        let object_key = format!("{organization_id}/{sha256}");
        self.stored.lock().unwrap().push(StoredObject { organization_id, sha256: sha256.clone(), size_bytes });
        let sniffed_content_type = "audio/mpeg".to_owned();
        Ok(Response::new(conversation::StoreObjectResponse { object_key, sha256, size_bytes, sniffed_content_type }))
    }

    async fn upload_recording(
        &self,
        _: Request<Streaming<conversation::UploadRecordingRequest>>,
    ) -> Result<Response<conversation::UploadRecordingResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    type ReadRecordingStream = BoxStream<'static, Result<conversation::ReadRecordingResponse, Status>>;

    async fn read_recording(
        &self,
        _: Request<conversation::ReadRecordingRequest>,
    ) -> Result<Response<Self::ReadRecordingStream>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }
}
