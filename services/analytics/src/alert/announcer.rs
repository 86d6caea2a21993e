//! Writes what became of alerts into the log.
//!
//! An alert and the event that tells of it are kept in one transaction; the event goes to the log after it. Every replica writes what
//! it finds: ids are derived, so writing an event twice is writing it once.

use std::sync::Arc;
use std::time::Duration;

use colloquy_events::{Event, Record};
use colloquy_log_client::Appender;
use colloquy_service::{Describe, Problem, telemetry};
use colloquy_types::{Clock, EventId, OrganizationId, RecordId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::store::AlertStore;

/// How many events are written together.
const TOGETHER: u32 = 200;
/// How often to look for what somebody left who died.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Writes events.
pub struct Announcer {
    store: Arc<dyn AlertStore>,
    log: Appender,
    clock: Arc<dyn Clock>,
    bell: Arc<Notify>,
}

impl Announcer {
    /// Returns an announcer of what `store` has to say, who looks when the bell rings.
    pub fn new(store: Arc<dyn AlertStore>, log: Appender, clock: Arc<dyn Clock>, bell: Arc<Notify>) -> Self {
        Self { store, log, clock, bell }
    }

    /// Writes until the stop.
    ///
    /// # Errors
    /// Never: what fails is tried again.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            match self.announce().await {
                Ok(()) => {}
                Err(problem) if stop.is_cancelled() => tracing::debug!("alerts were not told of: {}", problem.message),
                Err(problem) => tracing::warn!("alerts could not be told of yet: {}", problem.message),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.bell.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Writes everything that is to be told.
    ///
    /// # Errors
    /// When the store or the log is not available.
    pub async fn announce(&self) -> Result<(), Problem> {
        loop {
            let found = self.store.outbox(TOGETHER).await.map_err(|error| error.describe())?;
            let is_last = found.len() < TOGETHER as usize;
            let mut by_organization: Vec<(OrganizationId, Vec<Event>)> = Vec::new();
            for (organization, event) in found {
                match by_organization.iter_mut().find(|(known, _)| *known == organization) {
                    Some((_, events)) => events.push(event),
                    None => by_organization.push((organization, vec![event])),
                }
            }
            for (organization, events) in by_organization {
                self.tell(organization, events).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn tell(&self, organization: OrganizationId, events: Vec<Event>) -> Result<(), Problem> {
        let ids: Vec<(OrganizationId, EventId)> = events.iter().map(|event| (organization.clone(), event.event_id)).collect();
        match self.append(&organization, events.clone()).await {
            Ok(()) => {}
            Err(problem) if !is_refusal(&problem) => return Err(problem),
            // One that the log refuses must not hold up the others for ever.
            Err(_) => {
                for event in events {
                    let id = event.event_id;
                    match self.append(&organization, vec![event]).await {
                        Err(problem) if is_refusal(&problem) => {
                            tracing::error!(event.id = %id, "an alert's event was refused by the log: {}", problem.message);
                        }
                        told => told?,
                    }
                }
            }
        }
        self.store.told(&ids).await.map_err(|error| error.describe())
    }

    async fn append(&self, organization: &OrganizationId, events: Vec<Event>) -> Result<(), Problem> {
        let record = Record {
            record_id: RecordId::derive(organization, events.iter().map(|event| event.event_id)),
            organization_id: organization.clone(),
            source_id: None,
            received_at: self.clock.now(),
            events,
            traceparent: telemetry::traceparent(),
            sequence: 0,
        };
        self.log.append(vec![record]).await.map(drop).map_err(|status| Problem::from_status(&status))
    }
}

const fn is_refusal(problem: &Problem) -> bool {
    matches!(problem.code, Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use colloquy_types::ManualClock;

    use super::*;
    use crate::alert::alert::Handling;
    use crate::alert::samples::{acme, alert, at, window_alert};
    use crate::alert::store::open;
    use crate::neighbours::Neighbours;
    use crate::testing::Fixture;

    async fn world() -> (Fixture, Arc<dyn AlertStore>, Arc<Neighbours>, Announcer, Announcer) {
        let fixture = Fixture::sqlite().await.unwrap();
        let store = open(&fixture.database);
        let log = Arc::new(Neighbours::default());
        let transport = log.transport();
        let announcer = || {
            let clock = Arc::new(ManualClock::at(at(0)));
            Announcer::new(Arc::clone(&store), Appender::new(transport.clone()), clock, Arc::default())
        };
        let (one, other) = (announcer(), announcer());
        (fixture, store, log, one, other)
    }

    fn kinds(log: &Neighbours) -> Vec<&'static str> {
        log.told.lock().unwrap().iter().map(|event| event.data.kind()).collect()
    }

    #[tokio::test]
    async fn what_happened_is_told_once_by_however_many() {
        let (_fixture, store, log, one, other) = world().await;
        store.raise(&[alert(1), window_alert(2)]).await.unwrap();
        store.handle(&acme(), alert(1).alert_id, Handling::Resolved, at(5)).await.unwrap();
        let (one, other) = tokio::join!(one.announce(), other.announce());
        one.unwrap();
        other.unwrap();
        assert_eq!(kinds(&log), ["alert.opened", "alert.opened", "alert.resolved"]);
        assert!(store.outbox(10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_answer_that_got_lost_repeats_nothing() {
        let (_fixture, store, log, one, _) = world().await;
        store.raise(&[alert(1)]).await.unwrap();
        log.answers_get_lost.store(true, Ordering::SeqCst);
        assert!(one.announce().await.is_err());
        one.announce().await.unwrap();
        assert_eq!(kinds(&log), ["alert.opened"]);
    }

    #[tokio::test]
    async fn an_event_that_is_refused_holds_up_no_other() {
        let (_fixture, store, log, one, _) = world().await;
        store.raise(&[alert(1), alert(2)]).await.unwrap();
        log.refused.lock().unwrap().insert(alert(1).opened().event_id);
        one.announce().await.unwrap();
        assert_eq!(kinds(&log), ["alert.opened"]);
        assert!(store.outbox(10).await.unwrap().is_empty());
    }
}
