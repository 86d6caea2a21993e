//! Whether each service can do its work, and what it lacks if not.
//!
//! A service brings named [`Check`]s. They are asked in the background, each with a time limit, and what they said is kept: whoever
//! asks whether a service is ready costs nothing and never waits. A check that has worked must fail twice in a row before it
//! counts, so that one lost packet takes no replica out of service. `grpc.health.v1` and `/readyz` tell the same.

mod check;
mod report;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use colloquy_types::Clock;
use futures::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use check::{Check, CheckResult, serving};
pub use report::{Missing, Report};

use crate::health::Health;
use check::State;

/// How often checks are asked.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How often they are asked until everything has been ready once: whoever starts it waits for that.
const ASK_AT_FIRST: Duration = Duration::from_millis(20);
/// The longest of these waits, which double.
const ASK_AT_FIRST_MAX: Duration = Duration::from_millis(160);
/// How long a process may take to be ready before it says what is missing.
const QUIET_START: Duration = Duration::from_secs(10);

/// The readiness of every service of the process. Clones share it.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    services: Mutex<BTreeMap<&'static str, Service>>,
    health: Health,
    clock: Arc<dyn Clock>,
    ready: watch::Sender<bool>,
    /// Whether everything has been ready at some time.
    was_ready: OnceLock<()>,
    stopping: CancellationToken,
}

/// What is known of one service.
#[derive(Default)]
struct Service {
    grpc_names: Vec<&'static str>,
    /// `None` until it is built.
    checks: Option<Vec<Arc<State>>>,
    was_ready: Option<bool>,
}

impl Service {
    fn is_ready(&self) -> bool {
        self.checks.as_ref().is_some_and(|checks| checks.iter().all(|check| check.is_good()))
    }
}

impl Readiness {
    /// Returns the readiness of services that are still to be built: none of them is ready. `health` will say what it says.
    pub fn new(services: &[&'static str], health: Health, clock: Arc<dyn Clock>) -> Self {
        let services = services.iter().map(|name| (*name, Service::default())).collect();
        let (ready, _) = watch::channel(false);
        Self(Arc::new(Inner {
            services: Mutex::new(services),
            health,
            clock,
            ready,
            was_ready: OnceLock::new(),
            stopping: CancellationToken::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Service>> {
        self.0.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a service needs, once it is built; `grpc_names` are its names in `grpc.health.v1`.
    pub fn add(&self, service: &'static str, grpc_names: Vec<&'static str>, checks: Vec<Check>) {
        let checks = checks.into_iter().map(|check| Arc::new(State::new(check))).collect();
        self.lock().insert(service, Service { grpc_names, checks: Some(checks), was_ready: None });
    }

    /// Keeps asking the checks until `stop`.
    ///
    /// # Errors
    /// Never; it is a task.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut at_first = ASK_AT_FIRST;
        let mut patience = Some(QUIET_START);
        let began = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.ask() => {}
            }
            let ready = *self.0.ready.borrow();
            if ready {
                (at_first, patience) = (ASK_EVERY, None);
            } else if patience.is_some_and(|patience| began.elapsed() > patience) {
                tracing::warn!("not ready yet: {}", self.report());
                patience = None;
            }
            let wait = at_first;
            at_first = (2 * at_first).min(if began.elapsed() < QUIET_START { ASK_AT_FIRST_MAX } else { ASK_EVERY });
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Asks every check once and tells `grpc.health.v1` what changed.
    async fn ask(&self) {
        let checks: Vec<_> = self.lock().values().filter_map(|service| service.checks.clone()).flatten().collect();
        join_all(checks.iter().map(|check| check.ask(&*self.0.clock))).await;
        let mut changed = Vec::new();
        let all = {
            let mut services = self.lock();
            for (name, service) in services.iter_mut() {
                let ready = service.is_ready();
                if service.checks.is_some() && service.was_ready.replace(ready) != Some(ready) {
                    changed.push((*name, service.grpc_names.clone(), ready));
                }
            }
            services.values().all(Service::is_ready)
        };
        for (name, grpc_names, ready) in changed {
            if !self.0.stopping.is_cancelled() {
                self.0.health.set(&grpc_names, ready).await;
            }
            self.log(name, ready);
        }
        if !self.0.stopping.is_cancelled() {
            self.0.health.set(&[""], all).await;
        }
        if all {
            let _ = self.0.was_ready.set(());
        }
        self.0.ready.send_if_modified(|ready| std::mem::replace(ready, all) != all);
    }

    /// Says what changed, once everything has been ready: what is missing at the beginning is no news.
    fn log(&self, service: &'static str, ready: bool) {
        if self.0.was_ready.get().is_none() {
            tracing::debug!("{service} is {}", if ready { "ready" } else { "not ready yet" });
        } else if ready {
            tracing::info!("{service} is ready again");
        } else {
            tracing::warn!("{service} is not ready any more: {}", self.report().of(service));
        }
    }

    /// Waits until everything is ready.
    pub async fn until_ready(&self) {
        // The sender is in this very structure, so the channel never closes under us.
        let _ = self.0.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Says, from now on, that nothing is ready: the process is stopping.
    pub async fn stopping(&self) {
        self.0.stopping.cancel();
        let names: Vec<_> = self.lock().values().flat_map(|service| service.grpc_names.clone()).chain([""]).collect();
        self.0.health.set(&names, false).await;
    }

    /// Returns what is missing.
    pub fn report(&self) -> Report {
        let mut missing = Vec::new();
        for (service, known) in self.lock().iter() {
            match &known.checks {
                None => missing.push(Missing::starting(service)),
                Some(_) if self.0.stopping.is_cancelled() => missing.push(Missing::stopping(service)),
                Some(checks) => missing.extend(checks.iter().filter_map(|check| check.missing(service))),
            }
        }
        Report { ready: missing.is_empty(), missing }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use colloquy_types::SystemClock;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;

    use super::*;

    /// A database that can be taken away, and what it makes of a service.
    struct Setting {
        there: Arc<AtomicBool>,
        readiness: Readiness,
        health: HealthClient<tonic::service::Routes>,
    }

    async fn setting() -> Setting {
        let (health, routes) = Health::new().await;
        let readiness = Readiness::new(&["transcript"], health, Arc::new(SystemClock));
        Setting { there: Arc::new(AtomicBool::new(true)), readiness, health: HealthClient::new(routes) }
    }

    impl Setting {
        fn build(&self) {
            let there = Arc::clone(&self.there);
            let check = Check::new("database", move || {
                let there = there.load(Ordering::Relaxed);
                async move { if there { Ok(()) } else { Err("connection refused".to_owned()) } }
            });
            self.readiness.add("transcript", vec!["colloquy.transcript.v1.TranscriptService"], vec![check]);
        }

        async fn serving(&mut self, service: &str) -> bool {
            let answer = self.health.check(HealthCheckRequest { service: service.to_owned() }).await;
            answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
        }
    }

    const NAME: &str = "colloquy.transcript.v1.TranscriptService";

    #[tokio::test]
    async fn a_service_is_ready_once_it_is_built_and_has_all_it_needs() {
        let mut setting = setting().await;
        setting.readiness.ask().await;
        assert_eq!(setting.readiness.report().missing[0].check, "start");
        setting.there.store(false, Ordering::Relaxed);
        setting.build();
        setting.readiness.ask().await;
        let missing = setting.readiness.report().missing;
        assert_eq!(
            (missing[0].check, missing[0].service, missing[0].detail.as_str()),
            ("database", "transcript", "connection refused")
        );
        assert!(!setting.serving(NAME).await);
        setting.there.store(true, Ordering::Relaxed);
        setting.readiness.ask().await;
        assert!(setting.readiness.report().ready);
        assert!(setting.serving(NAME).await && setting.serving("").await);
        setting.readiness.until_ready().await;
    }

    #[tokio::test]
    async fn one_failed_check_is_no_outage_and_two_are() {
        let mut setting = setting().await;
        setting.build();
        setting.readiness.ask().await;
        setting.there.store(false, Ordering::Relaxed);
        setting.readiness.ask().await;
        assert!(setting.readiness.report().ready && setting.serving(NAME).await);
        setting.readiness.ask().await;
        assert!(!setting.readiness.report().ready);
        assert!(!setting.serving(NAME).await && !setting.serving("").await);
        setting.there.store(true, Ordering::Relaxed);
        setting.readiness.ask().await;
        assert!(setting.serving(NAME).await && setting.serving("").await);
    }

    #[tokio::test]
    async fn a_process_that_stops_is_not_ready() {
        let mut setting = setting().await;
        setting.build();
        setting.readiness.ask().await;
        setting.readiness.stopping().await;
        setting.readiness.ask().await;
        assert!(!setting.serving(NAME).await && !setting.serving("").await);
        assert_eq!(setting.readiness.report().missing[0].check, "stop");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_is_a_check_that_fails() {
        let setting = setting().await;
        let hanging = Check::new("database", std::future::pending::<CheckResult>);
        setting.readiness.add("transcript", Vec::new(), vec![hanging]);
        setting.readiness.ask().await;
        assert_eq!(setting.readiness.report().missing[0].detail, "no answer in time");
    }
}
