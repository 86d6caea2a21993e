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
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use colloquy_proto::log::v1 as pb;
    use colloquy_proto::log::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
    use colloquy_service::transport::LocalSlot;
    use colloquy_types::ManualClock;
    use futures::stream::BoxStream;
    use tonic::service::Routes;
    use tonic::{Request, Response, Status};

    use super::*;
    use crate::alert::alert::Handling;
    use crate::alert::samples::{acme, alert, at, window_alert};
    use crate::alert::store::open;
    use crate::testing::Fixture;

    /// A log that keeps each event once.
    #[derive(Default)]
    struct Log {
        events: Mutex<Vec<Event>>,
        loses_the_answer: AtomicBool,
        /// It takes no event of these.
        refused: Mutex<HashSet<EventId>>,
    }

    fn not_here<T>() -> Result<Response<T>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    #[tonic::async_trait]
    impl EventLogService for Log {
        type ConsumeStream = BoxStream<'static, Result<pb::ConsumeResponse, Status>>;
        type TailStream = BoxStream<'static, Result<pb::TailResponse, Status>>;

        async fn append(&self, request: Request<pb::AppendRequest>) -> Result<Response<pb::AppendResponse>, Status> {
            let mut kept = self.events.lock().unwrap();
            for record in request.into_inner().records {
                let events = Record::try_from(record).unwrap().events;
                if events.iter().any(|event| self.refused.lock().unwrap().contains(&event.event_id)) {
                    return Err(Status::invalid_argument("not such an event"));
                }
                for event in events {
                    if kept.iter().all(|known| known.event_id != event.event_id) {
                        kept.push(event);
                    }
                }
            }
            match self.loses_the_answer.swap(false, Ordering::SeqCst) {
                true => Err(Status::internal("the answer got lost")),
                false => Ok(Response::new(pb::AppendResponse::default())),
            }
        }

        async fn consume(
            &self,
            _: Request<tonic::Streaming<pb::ConsumeRequest>>,
        ) -> Result<Response<Self::ConsumeStream>, Status> {
            not_here()
        }

        async fn tail(&self, _: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
            not_here()
        }

        async fn erase(&self, _: Request<pb::EraseRequest>) -> Result<Response<pb::EraseResponse>, Status> {
            not_here()
        }

        async fn get_consumer(&self, _: Request<pb::GetConsumerRequest>) -> Result<Response<pb::GetConsumerResponse>, Status> {
            not_here()
        }

        async fn list_consumers(
            &self,
            _: Request<pb::ListConsumersRequest>,
        ) -> Result<Response<pb::ListConsumersResponse>, Status> {
            not_here()
        }
    }

    async fn world() -> (Fixture, Arc<dyn AlertStore>, Arc<Log>, Announcer, Announcer) {
        let fixture = Fixture::sqlite().await.unwrap();
        let store = open(&fixture.database);
        let log = Arc::new(Log::default());
        let slot = LocalSlot::new();
        slot.fill(Routes::new(EventLogServiceServer::from_arc(Arc::clone(&log))).into_axum_router());
        let announcer = || {
            let clock = Arc::new(ManualClock::at(at(0)));
            Announcer::new(Arc::clone(&store), Appender::new(slot.transport()), clock, Arc::default())
        };
        let (one, other) = (announcer(), announcer());
        (fixture, store, log, one, other)
    }

    fn kinds(log: &Log) -> Vec<&'static str> {
        log.events.lock().unwrap().iter().map(|event| event.data.kind()).collect()
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
        log.loses_the_answer.store(true, Ordering::SeqCst);
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
