//! Learning how far the other replicas are.
//!
//! A replica knows what it has applied itself. A read that waits for something another replica applied is answered once the log
//! says that it was acknowledged, which is after its commit. The log is asked only while a read waits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::Progress;
use colloquy_service::transport::Transport;
use colloquy_types::Position;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::Reader;

/// Most waits are over before the first question.
const FIRST_PAUSE: Duration = Duration::from_millis(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Returns how far all streams of `name` have acknowledged; the beginning when there has been none.
///
/// # Errors
/// When the log cannot be asked.
pub(crate) async fn acknowledged(name: &'static str, client: &mut EventLogServiceClient<Transport>) -> Result<Position, Status> {
    match client.get_consumer(pb::GetConsumerRequest { consumer: name.to_owned() }).await {
        Ok(answer) => Ok(Position(answer.into_inner().consumer.unwrap_or_default().acknowledged_position)),
        // Nobody has read under this name yet; or the log is of a release that has only one stream of each.
        Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => Ok(Position::START),
        Err(status) => Err(status),
    }
}

/// Moves `progress` along while somebody waits for it: with the position in the view itself, which another replica may have moved,
/// and with what all streams of the name have acknowledged; with that not before `progress` has come to `own_until`.
///
/// The view knows more after a crash of everything: what the dead had in their hands keeps the log from saying that what came after
/// it is acknowledged.
pub(crate) async fn follow(
    reader: Arc<dyn Reader>,
    mut client: EventLogServiceClient<Transport>,
    progress: Progress,
    own_until: watch::Receiver<Position>,
) -> Infallible {
    let name = reader.name();
    let mut waiting = progress.waiting();
    loop {
        // `progress` itself keeps the channel open.
        let _ = waiting.wait_for(|count| *count > 0).await;
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            if *waiting.borrow() == 0 {
                break;
            }
            // Whoever cannot be asked is no news: whoever waits does so for a bounded time.
            if let Ok(position) = reader.position().await {
                progress.advance_to(position);
            }
            if progress.current() >= *own_until.borrow()
                && let Ok(acknowledged) = acknowledged(name, &mut client).await
                // It may have begun anew while it was asked.
                && progress.current() >= *own_until.borrow()
            {
                progress.advance_to(acknowledged);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
