//! Appending what a service itself has to say.

use std::time::Duration;

use colloquy_events::Record;
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::Problem;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_types::Position;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::backoff::Backoff;

const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How long an append is tried at most before its failure is told: less than callers of callers wait.
const BUDGET: Duration = Duration::from_secs(5);

/// Appends records to the log. Cheap to clone.
#[derive(Clone)]
pub struct Appender {
    client: EventLogServiceClient<Transport>,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The position after which all of it can be read: the `min_position` of a read that must see it.
    pub position: Position,
    /// How many events were new.
    pub accepted: u32,
    /// How many were already there.
    pub duplicates: u32,
}

impl Appender {
    /// Returns an appender over a transport to the log.
    pub fn new(log: Transport) -> Self {
        let client = EventLogServiceClient::new(log)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { client }
    }

    /// Appends records; returns once they are durable. While the log is not available it is tried again, which cannot write
    /// anything twice, since events are known by their ids.
    ///
    /// # Errors
    /// The log's answer, once trying again did not help or cannot.
    pub async fn append(&self, records: Vec<Record>) -> Result<Appended, Status> {
        let request = pb::AppendRequest { records: records.into_iter().map(Into::into).collect() };
        let give_up = Instant::now() + BUDGET;
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let status = match self.client.clone().append(request.clone()).await {
                Ok(answer) => {
                    let pb::AppendResponse { position, accepted, duplicates } = answer.into_inner();
                    return Ok(Appended { position: Position(position), accepted, duplicates });
                }
                Err(status) => status,
            };
            let asked = Problem::from_status(&status).retry_after.unwrap_or_default();
            let wait = backoff.failed().max(asked.min(LONGEST_WAIT));
            if status.code() != Code::Unavailable || Instant::now() + wait >= give_up {
                return Err(status);
            }
            tokio::time::sleep(wait).await;
        }
    }
}
