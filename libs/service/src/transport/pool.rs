//! The connections to one service: one to each of its addresses.
//!
//! Tasks of the pool keep them ([`super::member`]) and find out the addresses ([`super::resolve`]); calls only look at what is
//! there. The tasks begin with the first call and end with the pool; what is under way then still finishes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use hyper::client::conn::http2::SendRequest;
use rand::RngExt;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;

use super::resolve::{self, Lookup};
use super::target::Target;
use crate::tls::Tls;

/// How long a connection is spared after an answer that the service is not available. A replica that refuses everything is never
/// busy, and would otherwise be given more calls than those that work.
const SPARED_FOR: Duration = Duration::from_secs(1);

/// One address of one of a target's hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which of the hosts: each has its own name, which stands in requests and certificates.
    pub(super) host: usize,
    pub(super) address: SocketAddr,
}

/// A connection that takes calls.
pub(super) struct Connection {
    pub(super) place: Place,
    pub(super) origin: (Scheme, Authority),
    pub(super) sender: SendRequest<Body>,
    busy: AtomicUsize,
    has_answered: AtomicBool,
    is_lost: AtomicBool,
    /// Until when other connections are better.
    spared_until: Mutex<Option<Instant>>,
    pub(super) closed: Notify,
}

impl Connection {
    pub(super) fn new(place: Place, origin: (Scheme, Authority), sender: SendRequest<Body>) -> Self {
        let (busy, has_answered, is_lost, spared_until, closed) = Default::default();
        Self { place, origin, sender, busy, has_answered, is_lost, spared_until, closed }
    }

    /// Returns whether any call has been answered on it.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    fn is_usable(&self) -> bool {
        !self.is_lost.load(Ordering::Relaxed)
    }

    fn is_spared(&self, now: Instant) -> bool {
        self.spared_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| now < until)
    }
}

/// A connection in use by a call, which counts until this is dropped.
pub(super) struct Busy(Arc<Connection>);

impl Busy {
    fn new(connection: Arc<Connection>) -> Self {
        connection.busy.fetch_add(1, Ordering::Relaxed);
        Self(connection)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.place.address
    }

    pub(super) fn origin(&self) -> &(Scheme, Authority) {
        &self.0.origin
    }

    pub(super) fn sender(&self) -> SendRequest<Body> {
        self.0.sender.clone()
    }

    /// Notes that the service answered.
    pub(super) fn answered(&self) {
        self.0.has_answered.store(true, Ordering::Relaxed);
    }

    /// Notes that the service, or what stands before it, said that it is not available.
    pub(super) fn refused(&self) {
        *self.0.spared_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + SPARED_FOR);
    }

    /// Notes that the connection takes no more calls; another is made in its place.
    pub(super) fn lost(&self) {
        self.0.is_lost.store(true, Ordering::Relaxed);
        self.0.closed.notify_one();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How it stands with an address.
#[derive(Clone)]
pub(super) enum Phase {
    /// The first connection, or one after a connection that worked, is being made.
    Connecting,
    Ready(Arc<Connection>),
    /// The last attempt failed. Also while another is being made.
    Failed(Arc<str>),
}

/// What is known of a service.
#[derive(Default)]
pub(super) struct State {
    /// Whether its hosts have been looked up at all.
    looked_up: bool,
    /// Why a host could not be looked up.
    lookup_failure: Option<Arc<str>>,
    phases: HashMap<Place, Phase>,
    ready: Vec<Arc<Connection>>,
}

impl State {
    fn changed(&mut self) {
        let ready = self.phases.values().filter_map(|phase| match phase {
            Phase::Ready(connection) => Some(connection.clone()),
            Phase::Connecting | Phase::Failed(_) => None,
        });
        self.ready = ready.collect();
    }

    /// Picks a connection: neither to `avoid` nor one that has just refused a call, as long as there are others.
    fn pick(&self, avoid: Option<SocketAddr>) -> Option<Arc<Connection>> {
        let now = Instant::now();
        let wanted = |connection: &Connection| connection.is_usable() && Some(connection.place.address) != avoid;
        let picked = self.less_busy(|connection| wanted(connection) && !connection.is_spared(now));
        picked.or_else(|| self.less_busy(wanted)).or_else(|| self.less_busy(Connection::is_usable)).cloned()
    }

    /// Returns the less busy of two of the connections that fit, taken at random, which spreads calls nearly as well as knowing
    /// all of them and does not send everybody to the same newcomer.
    fn less_busy(&self, fits: impl Fn(&Connection) -> bool) -> Option<&Arc<Connection>> {
        let fitting: Vec<_> = self.ready.iter().filter(|connection| fits(connection)).collect();
        let count = fitting.len();
        if count < 2 {
            return fitting.first().copied();
        }
        let mut rng = rand::rng();
        let (first, second) = (rng.random_range(0..count), rng.random_range(1..count));
        let pair = [fitting[first], fitting[(first + second) % count]];
        pair.into_iter().min_by_key(|connection| connection.busy.load(Ordering::Relaxed))
    }

    /// Returns why no connection is to be expected soon.
    fn hopeless(&self) -> Option<String> {
        if !self.looked_up {
            return None;
        }
        let mut reasons = Vec::new();
        for (place, phase) in &self.phases {
            match phase {
                Phase::Failed(reason) => reasons.push(format!("{}: {reason}", place.address)),
                Phase::Connecting | Phase::Ready(_) => return None,
            }
        }
        reasons.sort();
        reasons.extend(self.lookup_failure.as_deref().map(str::to_owned));
        Some(reasons.join("; "))
    }
}

/// What the tasks of a pool share with it.
pub(super) struct Shared {
    pub(super) target: Target,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) names: Box<dyn Lookup>,
    state: watch::Sender<State>,
    /// Told when the addresses may be out of date.
    pub(super) look_again: Notify,
}

impl Shared {
    /// Notes how it stands with an address. An address that has vanished meanwhile stays gone.
    pub(super) fn set(&self, place: Place, phase: Phase) {
        self.state.send_modify(|state| {
            if let Some(present) = state.phases.get_mut(&place) {
                *present = phase;
                state.changed();
            }
        });
    }

    /// Notes which addresses there are now, and why they may not be all.
    pub(super) fn set_places(&self, places: &[Place], failure: Option<Arc<str>>) {
        self.state.send_modify(|state| {
            state.phases.retain(|place, _| places.contains(place));
            for place in places {
                state.phases.entry(*place).or_insert(Phase::Connecting);
            }
            state.looked_up = true;
            state.lookup_failure = failure;
            state.changed();
        });
    }
}

/// The connections to one service.
pub(super) struct Pool {
    shared: Arc<Shared>,
    keeping: OnceLock<AbortOnDropHandle<()>>,
}

impl Pool {
    pub(super) fn new(target: Target, tls: Option<Arc<Tls>>, names: Box<dyn Lookup>) -> Self {
        let shared = Shared { target, tls, names, state: watch::Sender::default(), look_again: Notify::new() };
        Self { shared: Arc::new(shared), keeping: OnceLock::new() }
    }

    /// Begins to connect, at the first call.
    pub(super) fn start(&self) {
        self.keeping.get_or_init(|| AbortOnDropHandle::new(tokio::spawn(resolve::keep_resolved(self.shared.clone()))));
    }

    /// Says that the addresses may be out of date.
    #[cfg(test)]
    pub(super) fn look_again(&self) {
        self.shared.look_again.notify_one();
    }

    /// Returns a connection, not to `avoid` if there is another; waits until `until` for one that is being made.
    ///
    /// # Errors
    /// Why there is none, when none is to be expected.
    pub(super) async fn connection(&self, avoid: Option<SocketAddr>, until: Instant) -> Result<Busy, String> {
        let mut state = self.shared.state.subscribe();
        loop {
            {
                let now = state.borrow_and_update();
                if let Some(connection) = now.pick(avoid) {
                    return Ok(Busy::new(connection));
                }
                if let Some(reason) = now.hopeless() {
                    return Err(format!("{} cannot be reached: {reason}", self.shared.target));
                }
            }
            match tokio::time::timeout_at(until, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(format!("no connection to {} in time", self.shared.target)),
            }
        }
    }
}
