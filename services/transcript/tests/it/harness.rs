//! The service in this process, over its own client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use colloquy_events::Record;
use colloquy_proto::transcript::v1::transcript_service_client::TranscriptServiceClient;
use colloquy_service::transport::{LocalSlot, MAX_MESSAGE_BYTES, Transport};
use colloquy_service::{Caller, Identity, Progress};
use colloquy_storage::{Database, DatabaseUrl, Durability, PageTokens};
use colloquy_transcript::grpc::Handler;
use colloquy_transcript::kept;
use colloquy_transcript::search::store::SearchStore;
use colloquy_transcript::search::{self, Search};
use colloquy_transcript::store::{self, TranscriptStore};
use colloquy_transcript::transcripts::Transcripts;
use colloquy_types::{KeyId, OrganizationId, Position, ScopeSet};
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

pub(crate) type Client = TranscriptServiceClient<InterceptedService<Transport, As>>;

/// Makes calls as somebody: what the auth layer does once it knows the key.
#[derive(Clone)]
pub(crate) struct As(Caller);

impl tonic::service::Interceptor for As {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.extensions_mut().insert(self.0.clone());
        Ok(request)
    }
}

pub(crate) struct Harness {
    slot: LocalSlot,
    store: Arc<dyn TranscriptStore>,
    index: Arc<dyn SearchStore>,
    progress: Progress,
    sequence: AtomicU64,
    _folder: tempfile::TempDir,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::SqliteFolder(folder.path().to_owned());
        let database = Database::open(&url, "transcript", Durability::Lazy, &store::migrations()).await.unwrap();
        let store = store::open(&database);
        let progress = Progress::starting_at(Position::START);
        let index = search::store::open(&database);
        let transcripts = Transcripts::new(Arc::clone(&store), progress.clone());
        let search = Search::new(Arc::clone(&index), transcripts.clone(), progress.clone(), PageTokens::new(b"master"));
        let server = Handler::server(transcripts, search);
        let slot = LocalSlot::new();
        slot.fill(Routes::new(server).into_axum_router());
        Self { slot, store, index, progress, sequence: AtomicU64::new(0), _folder: folder }
    }

    /// Returns the position after which `records` can be read: they are on their way, but not there yet.
    pub(crate) fn next_position(&self) -> Position {
        Position::end_of(self.sequence.load(Ordering::SeqCst) + 1)
    }

    /// Applies `records` as both readers do.
    pub(crate) async fn apply(&self, records: &[Record]) {
        let through = self.keep(records).await;
        self.index.index(&search::reader::touched(records), through).await.unwrap();
        self.progress.advance_to(through);
    }

    /// Applies `records` as the reader of transcripts does, of which nothing is to be searched for.
    pub(crate) async fn apply_unsearched(&self, records: &[Record]) {
        let through = self.keep(records).await;
        self.progress.advance_to(through);
    }

    async fn keep(&self, records: &[Record]) -> Position {
        let through = Position::end_of(self.sequence.fetch_add(1, Ordering::SeqCst) + 1);
        self.store.apply(&kept::rows(records), through).await.unwrap();
        through
    }

    /// Returns a client with a key of `organization_id` that has `scopes`.
    pub(crate) fn client(&self, organization_id: &OrganizationId, scopes: &str) -> Client {
        client(&self.slot, key(organization_id, scopes))
    }

    pub(crate) fn client_of(&self, caller: Caller) -> Client {
        client(&self.slot, caller)
    }
}

pub(crate) fn key(organization_id: &OrganizationId, scopes: &str) -> Caller {
    let scopes: ScopeSet = scopes.parse().unwrap();
    Caller::Key(Arc::new(Identity { key_id: KeyId::generate(), organization_id: organization_id.clone(), scopes }))
}

pub(crate) fn client(slot: &LocalSlot, caller: Caller) -> Client {
    let client = TranscriptServiceClient::with_interceptor(slot.transport(), As(caller));
    client.max_decoding_message_size(MAX_MESSAGE_BYTES)
}
