//! The client against a real server on loopback, which the policy allows for it.

#![expect(clippy::unwrap_used, reason = "a test server that cannot be set up fails the test")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use colloquy_outbound::{Client, Download, Error, Limits, Policy, Refused};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

const LIMITS: Limits = Limits { max_bytes: 1000, timeout: Duration::from_secs(20), max_redirects: 3 };

/// A server that misbehaves in one way a path, and stops with the test.
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let routes = Router::new()
            .route("/fine", get(|| async { ([(header::CONTENT_TYPE, "audio/mpeg")], "music") }))
            .route("/headers", get(echo_headers))
            .route("/cookie", get(|| async { ([(header::SET_COOKIE, "a=b")], "") }))
            .route("/bytes/{n}", get(|Path(n): Path<usize>| async move { vec![b'x'; n] }))
            .route("/chunks/{n}", get(|Path(n): Path<usize>| async move { chunks(n) }))
            .route("/status/{code}", get(|Path(code): Path<u16>| async move { StatusCode::from_u16(code).unwrap() }))
            .route("/busy", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "7")]) }))
            .route("/loop", get(|| async { Redirect::temporary("/loop") }))
            .route("/hops/{n}", get(hops))
            .route("/to", get(to))
            .route("/nowhere", get(|| async { StatusCode::FOUND }))
            .route("/silent", get(|| async { std::future::pending::<()>().await }))
            .route("/stall", get(|| async { Body::from_stream(stream::iter([chunk(10)]).chain(stream::pending())) }))
            .route("/drip", get(|| async { Body::from_stream(stream::repeat_with(|| chunk(0)).then(slowly)) }))
            .route("/broken", get(|| async { Body::from_stream(stream::iter([chunk(10), Err(io::Error::other("cut"))])) }))
            .route("/short", get(short));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, task }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn chunk(len: usize) -> io::Result<Bytes> {
    Ok(Bytes::from(vec![b'x'; len]))
}

async fn slowly(chunk: io::Result<Bytes>) -> io::Result<Bytes> {
    tokio::time::sleep(Duration::from_millis(5)).await;
    chunk.map(|_| Bytes::from_static(b"."))
}

/// A body of unknown length, in chunks of 100 bytes.
fn chunks(n: usize) -> Body {
    Body::from_stream(stream::iter((0..n).map(|_| chunk(100))))
}

async fn echo_headers(headers: HeaderMap) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect()
}

async fn hops(Path(n): Path<usize>) -> Response {
    if n == 0 { "arrived".into_response() } else { Redirect::to(&format!("../hops/{}", n - 1)).into_response() }
}

/// Redirects to whatever the query says.
async fn to(request: Request) -> Response {
    let target = request.uri().query().unwrap_or_default().to_owned();
    (StatusCode::FOUND, [(header::LOCATION, target)]).into_response()
}

/// Announces more than it sends.
async fn short() -> Response {
    let body = Body::from_stream(stream::iter([chunk(10), Err(io::Error::other("cut"))]));
    ([(header::CONTENT_LENGTH, "100")], body).into_response()
}

fn client() -> Client {
    Client::new("127.0.0.0/8".parse().unwrap()).unwrap()
}

async fn body(download: Download) -> Result<Vec<u8>, Error> {
    download
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
}

#[tokio::test]
async fn a_body_arrives_whole_with_its_type_and_length() {
    let server = Server::start().await;
    let download = client().get(&server.url("/fine"), &LIMITS).await.unwrap();
    assert_eq!(download.content_type.as_deref(), Some("audio/mpeg"));
    assert_eq!(download.content_length, Some(5));
    assert_eq!(body(download).await.unwrap(), b"music");
}

#[tokio::test]
async fn loopback_is_refused_without_the_allowance() {
    let server = Server::start().await;
    let client = Client::new(Policy::default()).unwrap();
    let refused = client.get(&server.url("/fine"), &LIMITS).await.unwrap_err();
    assert_eq!(refused, Error::Refused(Refused::Address("127.0.0.1".into())));
    assert!(!refused.is_retryable());

    let by_name = Url::parse(&format!("http://localhost:{}/fine", server.address.port())).unwrap();
    let refused = client.get(&by_name, &LIMITS).await.unwrap_err();
    assert_eq!(refused, Error::Refused(Refused::Address("localhost".into())));
}

#[tokio::test]
async fn a_name_is_reached_at_its_allowed_addresses_only() {
    let server = Server::start().await;
    let by_name = Url::parse(&format!("http://localhost:{}/fine", server.address.port())).unwrap();
    assert_eq!(body(client().get(&by_name, &LIMITS).await.unwrap()).await.unwrap(), b"music");
}

#[tokio::test]
async fn requests_carry_no_credentials_cookies_or_referrer() {
    let server = Server::start().await;
    let client = client();
    client.get(&server.url("/cookie"), &LIMITS).await.unwrap();
    let download = client.get(&server.url("/to?/headers"), &LIMITS).await.unwrap();
    let headers = String::from_utf8(body(download).await.unwrap()).unwrap();
    assert!(headers.contains("user-agent: colloquy/"), "{headers}");
    assert!(headers.contains("accept-encoding: identity"), "{headers}");
    for name in ["authorization", "cookie", "referer"] {
        assert!(!headers.contains(name), "{headers}");
    }
}

#[tokio::test]
async fn redirects_are_followed_up_to_their_limit() {
    let server = Server::start().await;
    assert_eq!(body(client().get(&server.url("/hops/3"), &LIMITS).await.unwrap()).await.unwrap(), b"arrived");
    for path in ["/hops/4", "/loop"] {
        let error = client().get(&server.url(path), &LIMITS).await.unwrap_err();
        assert_eq!(error, Error::TooManyRedirects { limit: 3 }, "{path}");
    }
    let none = Limits { max_redirects: 0, ..LIMITS };
    assert_eq!(client().get(&server.url("/hops/1"), &none).await.unwrap_err(), Error::TooManyRedirects { limit: 0 });
}

#[tokio::test]
async fn a_redirect_is_checked_like_the_first_url() {
    let server = Server::start().await;
    for (target, refused) in [
        ("http://10.0.0.1/", Refused::Address("10.0.0.1".into())),
        ("//169.254.169.254/latest", Refused::Address("169.254.169.254".into())),
        ("http://[::1]/", Refused::Address("::1".into())),
        ("file:///etc/passwd", Refused::Scheme("file".into())),
        ("http://user:pass@127.0.0.1/", Refused::Credentials),
    ] {
        let error = client().get(&server.url(&format!("/to?{target}")), &LIMITS).await.unwrap_err();
        assert_eq!(error, Error::Refused(refused), "{target}");
    }
    for path in ["/nowhere", "/to?http://"] {
        assert_eq!(client().get(&server.url(path), &LIMITS).await.unwrap_err(), Error::BadRedirect, "{path}");
    }
}

#[tokio::test]
async fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let server = Server::start().await;
    for path in ["/bytes/1000", "/chunks/10"] {
        assert_eq!(body(client().get(&server.url(path), &LIMITS).await.unwrap()).await.unwrap().len(), 1000, "{path}");
    }
    let announced = client().get(&server.url("/bytes/1001"), &LIMITS).await.unwrap_err();
    assert_eq!(announced, Error::TooLarge { limit: 1000 });

    let mut unannounced = client().get(&server.url("/chunks/1000000"), &LIMITS).await.unwrap();
    assert_eq!(unannounced.content_length, None);
    let mut received = 0;
    let error = loop {
        match unannounced.next().await.expect("an error comes before the end") {
            Ok(chunk) => received += chunk.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::TooLarge { limit: 1000 });
    assert!(received <= 1000, "{received}");
    assert!(unannounced.next().await.is_none(), "the stream has ended");
}

#[tokio::test]
async fn a_server_that_stalls_or_drips_is_left_at_the_deadline() {
    let server = Server::start().await;
    let limits = Limits { timeout: Duration::from_millis(300), max_bytes: 1 << 30, ..LIMITS };
    assert_eq!(client().get(&server.url("/silent"), &limits).await.unwrap_err(), Error::Timeout);
    for path in ["/stall", "/drip"] {
        let download = client().get(&server.url(path), &limits).await.unwrap();
        assert_eq!(body(download).await.unwrap_err(), Error::Timeout, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_network_failure() {
    let server = Server::start().await;
    for path in ["/broken", "/short"] {
        // The break may overtake the headers.
        let error = match client().get(&server.url(path), &LIMITS).await {
            Ok(download) => body(download).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, Error::Network(_)), "{path}: {error:?}");
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn only_200_is_a_success() {
    let server = Server::start().await;
    for code in [202, 204, 206, 304, 400, 404, 410, 500] {
        let error = client().get(&server.url(&format!("/status/{code}")), &LIMITS).await.unwrap_err();
        assert_eq!(error, Error::Status { code, retry_after: None });
    }
    let busy = client().get(&server.url("/busy"), &LIMITS).await.unwrap_err();
    assert!(busy.is_retryable());
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_name_are_network_failures_without_the_path() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for url in [format!("http://{address}/p?signature=secret"), "http://no-such-host.invalid/p?signature=secret".into()] {
        let error = client().get(&Url::parse(&url).unwrap(), &LIMITS).await.unwrap_err();
        assert!(matches!(error, Error::Network(_)), "{error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn any_limit_can_be_given() {
    let server = Server::start().await;
    let endless = Limits { max_bytes: u64::MAX, timeout: Duration::MAX, max_redirects: usize::MAX };
    assert_eq!(body(client().get(&server.url("/fine"), &endless).await.unwrap()).await.unwrap(), b"music");
    let nothing = Limits { max_bytes: 0, timeout: Duration::ZERO, max_redirects: 0 };
    // A server next door may answer within the millisecond that no time is.
    let refused = client().get(&server.url("/fine"), &nothing).await.unwrap_err();
    assert!(matches!(refused, Error::Timeout | Error::TooLarge { limit: 0 }), "{refused:?}");
}
