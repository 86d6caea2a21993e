//! Somebody who is called over HTTP: a webhook's receiver, a vendor.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// When it had come as a whole.
    pub at: Instant,
}

impl Received {
    /// Returns a header's text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Answer = dyn Fn(&Received) -> (StatusCode, Duration) + Send + Sync;

struct Shared {
    received: Mutex<Vec<Received>>,
    answer: Mutex<Arc<Answer>>,
}

/// An HTTP server that takes whatever it is sent, and answers as it is told.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts one that answers 200 to everything.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same, at an address.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Arc<Answer> = Arc::new(|_| (StatusCode::OK, Duration::ZERO));
        let shared = Arc::new(Shared { received: Mutex::default(), answer: Mutex::new(answer) });
        let router = Router::new().fallback(take).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, serving }
    }

    /// Returns where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers from now on with what `answer` says, after the time it says.
    pub fn answer(&self, answer: impl Fn(&Received) -> (StatusCode, Duration) + Send + Sync + 'static) {
        *lock(&self.shared.answer) = Arc::new(answer);
    }

    /// Answers from now on with one status.
    pub fn answer_with(&self, status: u16) {
        let status = StatusCode::from_u16(status).unwrap();
        self.answer(move |_| (status, Duration::ZERO));
    }

    /// Returns everything that came, in the order in which it had come as a whole.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// Forgets what came.
    pub fn forget(&self) {
        lock(&self.shared.received).clear();
    }

    /// Waits until what came satisfies `holds`, and returns it.
    ///
    /// # Panics
    /// When it does not within the limit.
    pub async fn until(&self, limit: Duration, what: &str, holds: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let started = Instant::now();
        loop {
            let received = self.received();
            if holds(&received) {
                return received;
            }
            let paths: Vec<&str> = received.iter().map(|one| one.path.as_str()).collect();
            assert!(started.elapsed() < limit, "not within {limit:?}: {what}; {} came: {paths:?}", received.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(shared): State<Arc<Shared>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let received = Received { method, path, headers, body, at: Instant::now() };
    let answer = Arc::clone(&*lock(&shared.answer));
    let (status, wait) = answer(&received);
    lock(&shared.received).push(received);
    tokio::time::sleep(wait).await;
    (status, "{}").into_response()
}
