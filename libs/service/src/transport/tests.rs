//! Replicas that come and go, as a name server tells it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::routing::any;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::balance::Balanced;
use super::pool::Pool;
use super::resolve::Lookup;
use super::{LocalSlot, Transport, outgoing};
use crate::server;

const LIMIT: Duration = Duration::from_secs(20);

/// A name server whose answer a test can change.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Option<Vec<SocketAddr>>>>);

impl Names {
    fn are(&self, replicas: &[&Replica]) {
        *self.0.lock().unwrap() = Some(replicas.iter().map(|replica| replica.address).collect());
    }

    fn fail(&self) {
        *self.0.lock().unwrap() = None;
    }
}

#[async_trait]
impl Lookup for Names {
    async fn look_up(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses = self.0.lock().unwrap().clone();
        addresses.ok_or_else(|| io::Error::other("the name server is away"))
    }
}

/// A server that answers with its own address; at `/held` once it is told to.
struct Replica {
    address: SocketAddr,
    release: Arc<Notify>,
    held: Arc<Notify>,
    _stop: DropGuard,
}

impl Replica {
    async fn start() -> Self {
        let listener = server::bind("test", SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (release, held) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let stop = CancellationToken::new();
        let (when, arrived) = (release.clone(), held.clone());
        let hold = any(move || async move {
            arrived.notify_one();
            when.notified().await;
            address.to_string()
        });
        let router = Router::new().route("/who", any(move || async move { address.to_string() })).route("/held", hold);
        tokio::spawn(server::serve(listener, router, stop.clone(), Duration::ZERO));
        Self { address, release, held, _stop: stop.drop_guard() }
    }
}

fn service_at(names: &Names) -> (Arc<Pool>, Transport) {
    let pool = Arc::new(Pool::new("http://transcript:50051".parse().unwrap(), None, Box::new(names.clone())));
    (pool.clone(), BoxCloneSyncService::new(Balanced::new(pool)))
}

async fn call(transport: &Transport, path: &str) -> Result<SocketAddr, String> {
    let request = Request::post(path).body(Body::empty()).unwrap();
    let response: Result<Response<Body>, Infallible> = transport.clone().oneshot(request).await;
    let Ok(response) = response;
    match response.headers().get("grpc-message") {
        Some(message) => Err(message.to_str().unwrap().to_owned()),
        None => Ok(String::from_utf8(response.collect().await.unwrap().to_bytes().into()).unwrap().parse().unwrap()),
    }
}

/// Calls until exactly these replicas have answered in a row of calls.
async fn until_called(transport: &Transport, pool: &Pool, replicas: &[&Replica]) {
    let expected: BTreeSet<SocketAddr> = replicas.iter().map(|replica| replica.address).collect();
    let waiting = async {
        loop {
            pool.look_again();
            let mut answered = BTreeSet::new();
            for _ in 0..40 {
                answered.insert(call(transport, "/who").await.unwrap());
            }
            if answered == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("the right replicas are not called");
}

#[tokio::test]
async fn replicas_join_and_leave() {
    let (first, second) = (Replica::start().await, Replica::start().await);
    let names = Names::default();
    names.are(&[&first]);
    let (pool, transport) = service_at(&names);
    until_called(&transport, &pool, &[&first]).await;
    names.are(&[&first, &second]);
    until_called(&transport, &pool, &[&first, &second]).await;
    names.are(&[&second]);
    until_called(&transport, &pool, &[&second]).await;
}

#[tokio::test]
async fn a_call_to_a_replica_that_leaves_still_finishes() {
    let (first, second) = (Replica::start().await, Replica::start().await);
    let names = Names::default();
    names.are(&[&first]);
    let (pool, transport) = service_at(&names);
    let held = tokio::spawn({
        let transport = transport.clone();
        async move { call(&transport, "/held").await }
    });
    first.held.notified().await;
    names.are(&[&second]);
    until_called(&transport, &pool, &[&second]).await;
    first.release.notify_one();
    assert_eq!(held.await.unwrap().unwrap(), first.address);
}

#[tokio::test]
async fn replicas_are_still_called_while_the_name_server_is_away() {
    let replica = Replica::start().await;
    let names = Names::default();
    names.are(&[&replica]);
    let (pool, transport) = service_at(&names);
    until_called(&transport, &pool, &[&replica]).await;
    names.fail();
    until_called(&transport, &pool, &[&replica]).await;
}

#[tokio::test]
async fn a_name_without_replicas_is_refused_at_once_and_told() {
    let names = Names::default();
    names.are(&[]);
    let (_pool, nobody) = service_at(&names);
    let (_other, unknown) = service_at(&Names::default());
    let refused = tokio::time::timeout(Duration::from_secs(2), call(&outgoing(nobody, None), "/who")).await;
    assert!(refused.expect("it is waited for").unwrap_err().contains("cannot%20be%20reached"));
    let refused = tokio::time::timeout(Duration::from_secs(2), call(&unknown, "/who")).await;
    assert!(refused.expect("it is waited for").unwrap_err().contains("name%20server"));
}

#[tokio::test]
async fn a_deadline_covers_the_end_of_an_answer_as_well_as_its_beginning() {
    let begins_only = any(async || axum::body::Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, Infallible>>()));
    let slot = LocalSlot::new();
    slot.fill(Router::new().fallback(begins_only));
    let request = Request::post("/colloquy.log.v1.EventLogService/Append").header("grpc-timeout", "100m");
    let Ok(response) = outgoing(slot.transport(), None).oneshot(request.body(Body::empty()).unwrap()).await;
    assert!(response.status().is_success());
    let cut = tokio::time::timeout(LIMIT, response.into_body().collect()).await.expect("it is waited for").unwrap_err();
    assert_eq!(cut.code(), tonic::Code::DeadlineExceeded);
}

#[tokio::test]
async fn the_headers_say_who_calls_and_whom() {
    let listener = server::bind("test", SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = any(async |request: axum::extract::Request| {
        let mut response = axum::response::Response::new(axum::body::Body::empty());
        let uri = request.uri().to_string();
        response.headers_mut().insert("seen", HeaderValue::try_from(uri).unwrap());
        response.headers_mut().extend(request.headers().get("user-agent").map(|agent| (http::header::SERVER, agent.clone())));
        response
    });
    let stop = CancellationToken::new();
    tokio::spawn(server::serve(listener, Router::new().fallback(echo), stop.clone(), Duration::ZERO));
    let _stop = stop.drop_guard();
    let names = Names(Arc::new(Mutex::new(Some(vec![address]))));
    let (_pool, transport) = service_at(&names);
    let Ok(response) = transport.oneshot(Request::post("/a/b?c=d").body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["seen"], "http://transcript:50051/a/b?c=d");
    assert!(response.headers()["server"].to_str().unwrap().starts_with("colloquy/"));
}
