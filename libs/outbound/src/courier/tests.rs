//! The courier against servers that misbehave, each in one way.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::Refused;

const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(10), body_timeout: Duration::from_millis(300), max_bytes: 1024 };

/// A server whose connections are all handled alike; it stops with the test.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start<F: Future<Output = io::Result<()>> + Send + 'static>(
        handle: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(handle(stream));
            }
        });
        Self { address, connections, task }
    }

    /// Answers every request with the same bytes, and then keeps the connection open.
    async fn answering(answer: &'static str) -> Self {
        Self::start(move |mut stream| async move {
            loop {
                read_request(&mut stream).await?;
                stream.write_all(answer.as_bytes()).await?;
            }
        })
        .await
    }

    fn url(&self) -> Url {
        Url::parse(&format!("http://{}/hook?token=hush", self.address)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a head and the body `{}`.
async fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n{}") {
        if stream.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

fn courier() -> Courier {
    Courier::new("127.0.0.0/8".parse().unwrap()).unwrap()
}

async fn post(courier: &Courier, url: &Url, bounds: &Bounds) -> Result<Answer, Failure> {
    let headers = HeaderMap::from_iter([(http::header::USER_AGENT, "test/1".parse().unwrap())]);
    courier.send(Request { method: Method::POST, url, headers, body: Bytes::from_static(b"{}") }, bounds).await
}

#[tokio::test]
async fn a_request_arrives_as_it_was_given_and_its_connection_is_used_again() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let server = Server::start(move |mut stream| {
        let sink = Arc::clone(&sink);
        async move {
            loop {
                let request = read_request(&mut stream).await?;
                sink.lock().unwrap().push(request);
                stream.write_all(b"HTTP/1.1 202 Accepted\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nfine").await?;
            }
        }
    })
    .await;
    let courier = courier();
    for _ in 0..3 {
        let answer = post(&courier, &server.url(), &BOUNDS).await.unwrap();
        let expected =
            Answer { status: 202, retry_after: Some(Duration::from_secs(7)), body: Bytes::from_static(b"fine"), whole: true };
        assert_eq!(answer, expected);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let request = seen.lock().unwrap()[0].to_lowercase();
    let host = format!("host: {}\r\n", server.address);
    for part in ["post /hook?token=hush http/1.1\r\n", "user-agent: test/1\r\n", "content-length: 2\r\n", &host] {
        assert!(request.contains(part), "{part} in {request}");
    }
}

#[tokio::test]
async fn what_the_policy_forbids_is_never_connected_to() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let guarded = Courier::new(Policy::default()).unwrap();
    let port = server.address.port();
    for (url, refused) in [
        (format!("http://127.0.0.1:{port}/"), Refused::Address("127.0.0.1".into())),
        (format!("http://localhost:{port}/"), Refused::Address("localhost".into())),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), Refused::Address("::ffff:127.0.0.1".into())),
        (format!("http://2130706433:{port}/"), Refused::Address("127.0.0.1".into())),
        ("http://169.254.169.254/latest".into(), Refused::Address("169.254.169.254".into())),
        ("http://a:b@example.com/".into(), Refused::Credentials),
        ("ftp://example.com/".into(), Refused::Scheme("ftp".into())),
    ] {
        let failure = post(&guarded, &Url::parse(&url).unwrap(), &BOUNDS).await.unwrap_err();
        assert!(matches!(&failure, Failure::Refused(_)), "{url}: {failure}");
        if !matches!(refused, Refused::Address(_)) {
            assert_eq!(failure, Failure::Refused(refused), "{url}");
        }
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

/// Answers the first question with a public address and every later one with loopback.
struct Rebinding(Mutex<Vec<IpAddr>>);

impl Lookup for Rebinding {
    fn lookup(&self, _name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let next = self.0.lock().unwrap().pop();
        async move { Ok(next.into_iter().collect()) }.boxed()
    }
}

#[tokio::test]
async fn a_name_that_changes_its_address_after_the_check_is_refused() {
    let answers = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([1, 1, 1, 1])];
    let lookup: Arc<dyn Lookup> = Arc::new(Rebinding(Mutex::new(answers)));
    let courier = Courier::with(Policy::default(), Arc::clone(&lookup), Vec::new()).unwrap();
    let url = Url::parse("http://rebinding.example:1/").unwrap();
    assert_eq!(courier.policy().check_url_with(lookup.as_ref(), &url).await, Ok(()));
    let failure = post(&courier, &url, &BOUNDS).await.unwrap_err();
    assert_eq!(failure, Failure::Refused(Refused::Address("rebinding.example".into())));
    assert_eq!(post(&courier, &url, &BOUNDS).await.unwrap_err(), Failure::Unresolvable("rebinding.example".into()));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let target = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let location = target.address;
    let server = Server::start(move |mut stream| async move {
        read_request(&mut stream).await?;
        let answer = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{location}/\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await
    })
    .await;
    assert_eq!(post(&courier(), &server.url(), &BOUNDS).await.unwrap().status, 307);
    assert_eq!(target.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn of_ten_gigabytes_only_the_beginning_is_taken() {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let (ended, mut has_ended) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let (counter, ended) = (Arc::clone(&counter), ended.clone());
        async move {
            read_request(&mut stream).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n").await?;
            let chunk = [b'x'; 64 * 1024];
            // Ends with an error when the courier closes the connection.
            while stream.write_all(&chunk).await.is_ok() {
                counter.fetch_add(chunk.len(), Ordering::SeqCst);
            }
            ended.send(()).await.map_err(io::Error::other)
        }
    })
    .await;
    let answer = post(&courier(), &server.url(), &BOUNDS).await.unwrap();
    assert_eq!((answer.status, answer.body.len(), answer.whole), (200, 1024, false));
    timeout(Duration::from_secs(10), has_ended.recv()).await.expect("the connection is closed").unwrap();
    // What the kernel's buffers took.
    let taken = written.load(Ordering::SeqCst);
    assert!(taken < 50_000_000, "{taken}");
}

#[tokio::test]
async fn an_answer_whose_body_stalls_or_breaks_off_is_still_an_answer() {
    let stalls = Server::answering("HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\nbad").await;
    let breaks = Server::start(|mut stream| async move {
        read_request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\nbad").await
    })
    .await;
    for server in [stalls, breaks] {
        let answer = post(&courier(), &server.url(), &BOUNDS).await.unwrap();
        let expected = Answer { status: 500, retry_after: None, body: Bytes::from_static(b"bad"), whole: false };
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_times_out_and_is_hung_up_on() {
    let (ended, mut has_ended) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |mut stream| {
        let ended = ended.clone();
        async move {
            // Reading goes on until the courier closes the connection.
            while read_request(&mut stream).await.is_ok() {}
            ended.send(()).await.map_err(io::Error::other)
        }
    })
    .await;
    let bounds = Bounds { timeout: Duration::from_millis(200), ..BOUNDS };
    let failure = post(&courier(), &server.url(), &bounds).await.unwrap_err();
    assert_eq!(failure, Failure::Timeout);
    assert!(failure.is_timeout());
    timeout(Duration::from_secs(10), has_ended.recv()).await.expect("the connection is closed").unwrap();
}

#[tokio::test]
async fn a_connection_that_ends_and_bytes_that_are_no_http_are_told_apart() {
    let closes = Server::start(|mut stream| async move { read_request(&mut stream).await.map(drop) }).await;
    assert_eq!(post(&courier(), &closes.url(), &BOUNDS).await.unwrap_err(), Failure::Closed);

    let babbles = Server::answering("SSH-2.0-OpenSSH_9.6\r\n\r\n").await;
    let failure = post(&courier(), &babbles.url(), &BOUNDS).await.unwrap_err();
    assert!(matches!(failure, Failure::BadAnswer(_)), "{failure:?}");

    let endless = Server::start(|mut stream| async move {
        read_request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
        loop {
            stream.write_all(b"x-padding: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n").await?;
        }
    })
    .await;
    let failure = post(&courier(), &endless.url(), &BOUNDS).await.unwrap_err();
    assert!(matches!(failure, Failure::BadAnswer(_)), "{failure:?}");
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_name_are_told_apart_without_the_path() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let closed = Url::parse(&format!("http://{address}/p?token=hush")).unwrap();
    let failure = post(&courier(), &closed, &BOUNDS).await.unwrap_err();
    assert!(matches!(failure, Failure::Connect(_)), "{failure:?}");
    assert!(!failure.to_string().contains("hush"), "{failure}");

    let unknown = Url::parse("http://no-such-host.invalid/p?token=hush").unwrap();
    let failure = post(&courier(), &unknown, &BOUNDS).await.unwrap_err();
    assert_eq!(failure, Failure::Unresolvable("no-such-host.invalid".into()));
}

#[tokio::test]
async fn a_host_is_reached_at_whichever_of_its_addresses_works() {
    let server = Server::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    struct Several;
    impl Lookup for Several {
        fn lookup(&self, _name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            // The first has nobody at the port, the second is forbidden.
            let addresses = vec!["127.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap(), "127.0.0.1".parse().unwrap()];
            async move { Ok(addresses) }.boxed()
        }
    }
    let courier = Courier::with("127.0.0.0/8".parse().unwrap(), Arc::new(Several), Vec::new()).unwrap();
    let url = Url::parse(&format!("http://receiver.example:{}/", server.address.port())).unwrap();
    assert_eq!(post(&courier, &url, &BOUNDS).await.unwrap().status, 204);
}

/// A server that speaks TLS with a certificate of its own making, and that certificate.
async fn secure_server(names: Vec<String>) -> (Server, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n{}") {
                stream.read_buf(&mut request).await?;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecure").await?;
            stream.shutdown().await
        }
    })
    .await;
    (server, certificate)
}

#[tokio::test]
async fn only_a_certificate_of_a_trusted_authority_for_the_right_name_is_accepted() {
    let (server, certificate) = secure_server(vec!["localhost".into()]).await;
    let port = server.address.port();
    let named = Url::parse(&format!("https://localhost:{port}/")).unwrap();
    let failure = post(&courier(), &named, &BOUNDS).await.unwrap_err();
    assert!(matches!(failure, Failure::Tls(_)), "{failure:?}");

    let policy: Policy = "127.0.0.0/8".parse().unwrap();
    let trusting = Courier::with(policy, Arc::new(SystemLookup), vec![certificate]).unwrap();
    assert_eq!(post(&trusting, &named, &BOUNDS).await.unwrap().body, "secure");
    let misnamed = Url::parse(&format!("https://127.0.0.1:{port}/")).unwrap();
    let failure = post(&trusting, &misnamed, &BOUNDS).await.unwrap_err();
    assert!(matches!(failure, Failure::Tls(_)), "{failure:?}");

    let plain = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let insecure = Url::parse(&format!("https://localhost:{}/", plain.address.port())).unwrap();
    let mut bounds = BOUNDS;
    bounds.timeout = Duration::from_millis(500);
    let failure = post(&trusting, &insecure, &bounds).await.unwrap_err();
    assert!(matches!(failure, Failure::Tls(_) | Failure::Timeout), "{failure:?}");
}
