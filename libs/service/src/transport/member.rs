//! Keeping the connection to one address.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rand::RngExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::body::Body;

use super::failure::chain;
use super::heard::Listening;
use super::pool::{Connection, Phase, Place, Shared};

/// How long connecting may take, TLS and all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The waits after an address did not answer: doubled each time, up to the longest, and shortened by chance.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A connection that nobody used but that lasted this long was a good one.
const LASTED: Duration = Duration::from_secs(10);
/// How many connections in a row may be closed in order, and unused, before the address counts as one that does not answer.
const FORGIVEN: u32 = 2;
/// How often a quiet peer is asked whether it is still there, and how long it may take to say so.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

type Failure = Box<dyn Error + Send + Sync>;

/// What drives a connection; it goes on when nobody holds the handle, until every call on it has ended.
type Driving = JoinHandle<Result<(), hyper::Error>>;

/// Why an address has no connection.
struct Lack {
    reason: String,
    /// Whether the peer closed a connection in order, as one does that ends a connection for its age, or itself.
    in_order: bool,
}

/// Keeps a connection to `place`, for as long as it is polled.
pub(super) async fn keep(shared: Arc<Shared>, place: Place) {
    let mut failures = 0_u32;
    let mut is_told = false;
    loop {
        let lack = match tokio::time::timeout(CONNECT_TIMEOUT, open(&shared, place)).await {
            Ok(Ok((sender, driving))) => {
                if std::mem::take(&mut is_told) {
                    tracing::info!(peer.address = %place.address, failures, "{} is reached again", shared.target);
                }
                match use_up(&shared, place, sender, driving).await {
                    Ok(()) => {
                        failures = 0;
                        shared.set(place, Phase::Connecting);
                        shared.look_again.notify_one();
                        continue;
                    }
                    Err(lack) => lack,
                }
            }
            Ok(Err(failure)) => Lack { reason: chain(failure.as_ref()), in_order: false },
            Err(_) => Lack { reason: "no answer in time".to_owned(), in_order: false },
        };
        failures = failures.saturating_add(1);
        if lack.in_order && failures <= FORGIVEN {
            shared.set(place, Phase::Connecting);
        } else {
            if !std::mem::replace(&mut is_told, true) {
                tracing::info!(peer.address = %place.address, "{} is tried again: {}", shared.target, lack.reason);
            }
            shared.set(place, Phase::Failed(lack.reason.into()));
        }
        shared.look_again.notify_one();
        tokio::time::sleep(wait_after(failures)).await;
    }
}

fn wait_after(failures: u32) -> Duration {
    let bound = FIRST_WAIT.saturating_mul(1 << (failures - 1).min(8)).min(LONGEST_WAIT);
    bound.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// Offers a connection to calls until it takes no more.
///
/// # Errors
/// Why it ended, when it was of no use.
async fn use_up(shared: &Shared, place: Place, sender: SendRequest<Body>, driving: Driving) -> Result<(), Lack> {
    let origin = (shared.target.scheme().clone(), shared.target.hosts()[place.host].authority.clone());
    let connection = Arc::new(Connection::new(place, origin, sender));
    let since = Instant::now();
    shared.set(place, Phase::Ready(connection.clone()));
    let lack = tokio::select! {
        ended = driving => match ended {
            Ok(Err(error)) => Lack { reason: chain(&error), in_order: false },
            Ok(Ok(())) | Err(_) => Lack { reason: "it closed the connection".to_owned(), in_order: true },
        },
        () = connection.closed.notified() => {
            Lack { reason: "it takes no more calls on the connection".to_owned(), in_order: true }
        }
    };
    if connection.has_answered() || since.elapsed() > LASTED { Ok(()) } else { Err(lack) }
}

async fn open(shared: &Shared, place: Place) -> Result<(SendRequest<Body>, Driving), Failure> {
    let stream = TcpStream::connect(place.address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = &shared.tls else { return speak(stream).await };
    let name = shared.target.hosts()[place.host].name().to_owned();
    let connector = TlsConnector::from(tls.client()?);
    speak(connector.connect(name.try_into()?, stream).await?).await
}

async fn speak<S>(stream: S) -> Result<(SendRequest<Body>, Driving), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http2 = Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let (stream, first_byte) = Listening::new(stream);
    let (sender, connection) = http2.handshake(TokioIo::new(stream)).await?;
    // Not owned by the task that keeps the connection: when an address vanishes, calls that are under way still finish.
    let driving = tokio::spawn(connection);
    if first_byte.await.is_err() {
        driving.await??;
        return Err("it closed the connection".into());
    }
    Ok((sender, driving))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound() {
        for (failures, bound) in [(1, 100), (2, 200), (5, 1_600), (6, 2_000), (u32::MAX, 2_000)] {
            let wait = wait_after(failures).as_millis();
            assert!((bound / 2..=bound).contains(&wait), "{wait} after {failures}");
        }
    }
}
