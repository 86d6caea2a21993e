//! Finding out a service's addresses, again and again.
//!
//! A headless Kubernetes service has an address for each replica that is ready. Nobody tells when that changes, so the name is
//! looked up every few seconds, and soon after a connection was lost.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use rand::RngExt;
use tokio_util::task::AbortOnDropHandle;

use super::member;
use super::pool::{Place, Shared};
use super::target::Host;

/// How often names are looked up; by chance a little more or less often.
const EVERY: Duration = Duration::from_secs(5);
/// How soon after a lost connection.
const SOON: Duration = Duration::from_millis(500);
/// How long looking up may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps a connection to every address there is, for as long as it is polled.
pub(super) async fn keep_resolved(shared: Arc<Shared>) {
    let hosts = shared.target.hosts();
    let mut places: Vec<Place> = Vec::new();
    let mut keepers: HashMap<Place, AbortOnDropHandle<()>> = HashMap::new();
    let mut failing = false;
    loop {
        let answers = join_all(hosts.iter().map(|host| look_up(shared.names.as_ref(), host))).await;
        let mut failure: Option<Arc<str>> = None;
        let mut found = Vec::new();
        for (host, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(addresses) => found.extend(addresses.into_iter().map(|address| Place { host, address })),
                // Nobody knows whether the addresses are gone or only the name server: those known still stand.
                Err(error) => {
                    failure = Some(format!("{}: {error}", hosts[host].name()).into());
                    found.extend(places.iter().filter(|place| place.host == host));
                }
            }
        }
        if let Some(failure) = failure.as_deref().filter(|_| !failing) {
            tracing::warn!("{} cannot be looked up: {failure}", shared.target);
        }
        failing = failure.is_some();
        found.sort();
        found.dedup();
        places = found;
        shared.set_places(&places, failure);
        keepers.retain(|place, _| places.contains(place));
        for place in &places {
            let keeper = || AbortOnDropHandle::new(tokio::spawn(member::keep(shared.clone(), *place)));
            keepers.entry(*place).or_insert_with(keeper);
        }
        if hosts.iter().all(Host::is_literal) {
            std::future::pending::<()>().await;
        }
        let rest = EVERY.mul_f64(rand::rng().random_range(0.8..=1.2));
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = shared.look_again.notified() => tokio::time::sleep(SOON).await,
        }
    }
}

async fn look_up(names: &dyn Lookup, host: &Host) -> io::Result<Vec<SocketAddr>> {
    let answer = tokio::time::timeout(TIMEOUT, names.look_up(host.name(), host.port)).await;
    answer.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

/// Who knows the addresses of a name.
#[async_trait]
pub(super) trait Lookup: Send + Sync {
    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// This machine's resolver.
pub(super) struct Dns;

#[async_trait]
impl Lookup for Dns {
    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        tokio::net::lookup_host((name, port)).await.map(Iterator::collect)
    }
}
