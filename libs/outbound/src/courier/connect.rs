//! Connecting to what the policy allows.
//!
//! Names and bare addresses alike are checked here, where the connection is made, so that it does not matter what a name resolved
//! to before.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::stream::Stream;
use crate::resolver::Lookup;
use crate::{Error, Policy, Refused};

/// Resolving a name and connecting to it, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one address may keep silent before the next one is tried beside it.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);
/// A name with more addresses has one that works among these, or none.
const MAX_ADDRESSES: usize = 6;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("refused: {0}")]
    Refused(Refused),
    #[error("host {0} cannot be resolved")]
    Unresolvable(String),
    #[error("no connection: {0}")]
    Tcp(io::Error),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("no connection in time")]
    Timeout,
}

#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    policy: Arc<Policy>,
    lookup: Arc<dyn Lookup>,
    tls: TlsConnector,
}

impl Connector {
    pub(super) fn new(
        policy: Arc<Policy>,
        lookup: Arc<dyn Lookup>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Build(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(Inner { policy, lookup, tls: TlsConnector::from(Arc::new(config)) })))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let connected = timeout(CONNECT_TIMEOUT, inner.connect(&uri)).await;
            connected.unwrap_or(Err(ConnectError::Timeout)).map(TokioIo::new)
        })
    }
}

impl Inner {
    async fn connect(&self, uri: &Uri) -> Result<Stream, ConnectError> {
        let host = uri.host().ok_or(ConnectError::Refused(Refused::NoHost))?;
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        // An IPv6 address stands in brackets in a URI, and nowhere else.
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let plain = first_of(self.allowed(host).await?, port).await.map_err(ConnectError::Tcp)?;
        // A request is written at once, so there is nothing to wait for.
        plain.set_nodelay(true).map_err(ConnectError::Tcp)?;
        if !secure {
            return Ok(Stream::Plain(plain));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
        let secured = self.tls.connect(name, plain).await.map_err(ConnectError::Tls)?;
        Ok(Stream::Tls(Box::new(secured)))
    }

    /// Returns the addresses of a host that may be reached.
    async fn allowed(&self, host: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let found = match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => self.lookup.lookup(host).await.unwrap_or_default(),
        };
        if found.is_empty() {
            return Err(ConnectError::Unresolvable(host.to_owned()));
        }
        let allowed: Vec<_> = found.into_iter().filter(|ip| self.policy.allows(*ip)).take(MAX_ADDRESSES).collect();
        if allowed.is_empty() { Err(ConnectError::Refused(Refused::Address(host.to_owned()))) } else { Ok(allowed) }
    }
}

/// Connects to the first address that takes the connection; one that keeps silent does not hold the others up for long.
async fn first_of(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter().map(|ip| SocketAddr::new(ip, port));
    let mut connecting = FuturesUnordered::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let more = waiting.next();
        let is_last = more.is_none();
        connecting.extend(more.map(TcpStream::connect));
        tokio::select! {
            Some(connected) = connecting.next() => match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            },
            () = sleep(NEXT_ADDRESS_AFTER), if !is_last => {}
            else => return Err(failure),
        }
    }
}
