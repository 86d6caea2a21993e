//! A replica of a service that does what a test tells it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_proto::log::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use colloquy_service::server::{Connections, serve_connections};
use colloquy_service::tls::{Tls, TlsFiles};
use colloquy_service::transport::{Transport, connect, outgoing};
use futures::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How long anything here may take before the test gives up on it.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) type Client = EventLogServiceClient<Transport>;

/// What a replica does, and what it was asked.
#[derive(Clone)]
pub(crate) struct Script {
    /// Answered as the position of an append, which tells who answered.
    number: u64,
    failures: Arc<Mutex<VecDeque<Status>>>,
    calls: Arc<AtomicUsize>,
    /// Has one permit while calls may pass, which each of them takes and gives back.
    gate: Arc<Semaphore>,
}

impl Script {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, failures: Arc::default(), calls: Arc::default(), gate: Arc::new(Semaphore::new(1)) }
    }

    /// Answers the next calls with these, then well.
    pub(crate) fn fail_with(self, failures: impl IntoIterator<Item = Status>) -> Self {
        self.failures.lock().unwrap().extend(failures);
        self
    }

    /// Holds every call until [`Script::open`].
    pub(crate) fn closed(mut self) -> Self {
        // A gate of its own: a clone of an open script stays open.
        self.gate = Arc::new(Semaphore::new(0));
        self
    }

    pub(crate) fn close(&self) {
        self.gate.forget_permits(1);
    }

    pub(crate) fn open(&self) {
        self.gate.add_permits(1);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn router(&self) -> Router {
        let server = EventLogServiceServer::new(self.clone()).max_decoding_message_size(64 << 20);
        tonic::service::Routes::new(server).into_axum_router()
    }

    async fn answer(&self) -> Result<(), Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.acquire().await.unwrap());
        let failure = self.failures.lock().unwrap().pop_front();
        failure.map_or(Ok(()), Err)
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl EventLogService for Script {
    async fn append(&self, _: Request<pb::AppendRequest>) -> Result<Response<pb::AppendResponse>, Status> {
        self.answer().await?;
        Ok(Response::new(pb::AppendResponse { position: self.number, ..Default::default() }))
    }

    async fn erase(&self, _: Request<pb::EraseRequest>) -> Result<Response<pb::EraseResponse>, Status> {
        self.answer().await?;
        Ok(Response::new(pb::EraseResponse::default()))
    }

    type TailStream = Answers<pb::TailResponse>;

    /// Says its number once and then nothing more.
    async fn tail(&self, _: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        self.answer().await?;
        let first = Ok(pb::TailResponse { position: self.number, ..Default::default() });
        Ok(Response::new(futures::stream::once(async { first }).chain(futures::stream::pending()).boxed()))
    }

    type ConsumeStream = Answers<pb::ConsumeResponse>;

    async fn consume(&self, _: Request<Streaming<pb::ConsumeRequest>>) -> Result<Response<Self::ConsumeStream>, Status> {
        self.answer().await?;
        let first = Ok(pb::ConsumeResponse { batch_id: self.number, ..Default::default() });
        Ok(Response::new(futures::stream::once(async { first }).chain(futures::stream::pending()).boxed()))
    }

    async fn get_consumer(&self, _: Request<pb::GetConsumerRequest>) -> Result<Response<pb::GetConsumerResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn list_consumers(&self, _: Request<pb::ListConsumersRequest>) -> Result<Response<pb::ListConsumersResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// A replica that listens.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Replica {
    pub(crate) async fn start(script: &Script) -> Self {
        Self::start_with(script, SocketAddr::from(([127, 0, 0, 1], 0)), Connections::default()).await
    }

    pub(crate) async fn start_with(script: &Script, address: SocketAddr, connections: Connections) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        // No grace: a replica that stops here is one that was killed.
        let serving = tokio::spawn(serve_connections(listener, script.router(), connections, stop.clone(), Duration::ZERO));
        Self { address, stop, serving }
    }

    /// Closes the port and breaks every connection.
    pub(crate) async fn kill(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

/// Returns an address at which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Returns a transport to all of the addresses, as it is without retries.
pub(crate) fn bare(addresses: &[SocketAddr]) -> Transport {
    let hosts: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let tls = Tls::load(TlsFiles::default()).unwrap();
    connect(format!("http://{}", hosts.join(",")).parse().unwrap(), &tls).unwrap()
}

/// Returns a client of all of the addresses, whose calls are made again where that is right.
pub(crate) fn client(addresses: &[SocketAddr]) -> Client {
    EventLogServiceClient::new(outgoing(bare(addresses), None))
}

/// Returns a client whose calls are made once.
pub(crate) fn client_without_retries(addresses: &[SocketAddr]) -> Client {
    EventLogServiceClient::new(bare(addresses))
}

/// Appends and returns who answered.
pub(crate) async fn append(client: &Client) -> Result<u64, Status> {
    let answer = tokio::time::timeout(LIMIT, client.clone().append(pb::AppendRequest::default())).await;
    Ok(answer.expect("an append takes too long")?.into_inner().position)
}

/// Erases, which must not be done twice.
pub(crate) async fn erase(client: &Client) -> Result<(), Status> {
    let answer = tokio::time::timeout(LIMIT, client.clone().erase(pb::EraseRequest::default())).await;
    answer.expect("an erasure takes too long").map(|_| ())
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{what}: not so after {LIMIT:?}"));
}
