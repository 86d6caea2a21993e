//! One thing a service needs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use colloquy_types::{Clock, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Missing;
use crate::transport::Transport;

/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often in a row a check that has worked must fail before it counts.
const FAILURES: u32 = 2;

/// What a check says: that it is there, or what is wrong. That is shown to anybody who asks, so it names no credentials.
pub type CheckResult = Result<(), String>;

/// Asks whether one thing a service needs is there.
pub struct Check {
    name: &'static str,
    ask: Box<dyn Fn() -> BoxFuture<'static, CheckResult> + Send + Sync>,
}

impl Check {
    /// Returns a check called `name` (`database`); `ask` is called every few seconds.
    pub fn new<F>(name: &'static str, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = CheckResult> + Send + 'static,
    {
        Self { name, ask: Box::new(move || ask().boxed()) }
    }

    /// Returns a check, called `name`, that the service `grpc_name` behind `transport` is serving.
    pub fn service(name: &'static str, transport: Transport, grpc_name: &'static str) -> Self {
        Self::new(name, move || serving(transport.clone(), grpc_name))
    }
}

/// Asks the service `grpc_name` behind `transport` whether it is serving.
///
/// # Errors
/// What is wrong, if it is not.
pub async fn serving(transport: Transport, grpc_name: &'static str) -> CheckResult {
    let mut request = tonic::Request::new(HealthCheckRequest { service: grpc_name.to_owned() });
    request.set_timeout(PATIENCE);
    match HealthClient::new(transport).check(request).await {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(()),
        Ok(_) => Err("not serving".to_owned()),
        // The text may hold what the other side makes up; the code does not.
        Err(status) => Err(format!("cannot be reached ({:?})", status.code())),
    }
}

/// What a check has said.
pub(super) struct State {
    check: Check,
    said: Mutex<Said>,
}

struct Said {
    good: bool,
    failures: u32,
    detail: String,
    since: Option<Timestamp>,
}

impl State {
    pub(super) fn new(check: Check) -> Self {
        let said = Said { good: false, failures: 0, detail: "not asked yet".to_owned(), since: None };
        Self { check, said: Mutex::new(said) }
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn ask(&self, clock: &dyn Clock) {
        let answer = tokio::time::timeout(PATIENCE, (self.check.ask)()).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let mut said = self.lock();
        match answer {
            Ok(()) => (said.good, said.failures) = (true, 0),
            Err(detail) => {
                if said.failures == 0 {
                    said.since = Some(clock.now());
                }
                said.failures = said.failures.saturating_add(1);
                said.good = said.good && said.failures < FAILURES;
                said.detail = detail;
            }
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.lock().good
    }

    pub(super) fn missing(&self, service: &'static str) -> Option<Missing> {
        let said = self.lock();
        let missing = || Missing { check: self.check.name, service, detail: said.detail.clone(), since: said.since };
        (!said.good).then(missing)
    }
}
