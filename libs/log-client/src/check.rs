//! Whether a reader can follow the log, and has caught up with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use colloquy_events::convert::timestamp_from_pb;
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::readiness::{Check, CheckResult};
use colloquy_service::transport::Transport;
use colloquy_types::{Clock, Timestamp};
use tonic::Code;

/// A reader has caught up when it lacks no more than this many records,
const NEAR_RECORDS: u64 = 10_000;
/// or when the first one it lacks is no older than this.
const NEAR_AGE_MILLIS: i64 = 60_000;

/// Returns the check that the log answers the reader `name`, and that the reader has caught up once since the process began.
///
/// Falling behind later is for an alert (`colloquy_consumer_lag_seconds`), not for readiness: under more load than the readers
/// can take, all of them would be taken out of service together, and nobody would be served at all.
pub fn check(name: &'static str, log: Transport, clock: Arc<dyn Clock>) -> Check {
    let client = EventLogServiceClient::new(log);
    let caught_up = Arc::new(AtomicBool::new(false));
    Check::new("log", move || ask(name, client.clone(), Arc::clone(&caught_up), clock.now()))
}

async fn ask(
    name: &'static str,
    mut client: EventLogServiceClient<Transport>,
    caught_up: Arc<AtomicBool>,
    now: Timestamp,
) -> CheckResult {
    let consumer = match client.get_consumer(pb::GetConsumerRequest { consumer: name.to_owned() }).await {
        Ok(answer) => answer.into_inner().consumer.unwrap_or_default(),
        Err(status) if status.code() == Code::NotFound => return Err("its reader does not follow the log yet".to_owned()),
        // The text may hold what the other side makes up; the code does not.
        Err(status) => return Err(format!("the log cannot be reached ({:?})", status.code())),
    };
    if caught_up.load(Ordering::Relaxed) || is_near(&consumer, now) {
        caught_up.store(true, Ordering::Relaxed);
        return Ok(());
    }
    Err(format!("catching up: {} records behind", consumer.lag_records))
}

fn is_near(consumer: &pb::Consumer, now: Timestamp) -> bool {
    let oldest = consumer.oldest_received_at.and_then(|at| timestamp_from_pb("oldest_received_at", at).ok());
    consumer.lag_records <= NEAR_RECORDS || oldest.is_some_and(|oldest| now.millis_since(oldest) <= NEAR_AGE_MILLIS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_near_by_number_or_by_age() {
        let now = Timestamp::from_seconds_f64(1_000_000.0).unwrap();
        let ago = |seconds: i64| Some(prost_types::Timestamp { seconds: 1_000_000 - seconds, nanos: 0 });
        let consumer = |lag_records, oldest_received_at| pb::Consumer { lag_records, oldest_received_at, ..Default::default() };
        assert!(is_near(&consumer(0, None), now));
        assert!(is_near(&consumer(NEAR_RECORDS, ago(3_600)), now));
        assert!(is_near(&consumer(1_000_000, ago(30)), now));
        assert!(!is_near(&consumer(NEAR_RECORDS + 1, ago(3_600)), now));
        assert!(!is_near(&consumer(NEAR_RECORDS + 1, None), now));
    }
}
