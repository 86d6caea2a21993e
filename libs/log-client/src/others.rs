//! Learning how far the other replicas are.
//!
//! A replica knows what it has applied itself. A read that waits for something another replica applied is answered once the log
//! says that it was acknowledged, which is after its commit. The log is asked only while a read waits.

use std::convert::Infallible;
use std::time::Duration;

use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::Progress;
use colloquy_service::transport::Transport;
use colloquy_types::Position;

/// Most waits are over before the first question.
const FIRST_PAUSE: Duration = Duration::from_millis(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Moves `progress` along with what all streams of `name` have acknowledged, while somebody waits for it.
pub(crate) async fn follow(name: &'static str, mut client: EventLogServiceClient<Transport>, progress: Progress) -> Infallible {
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
            let asked = client.get_consumer(pb::GetConsumerRequest { consumer: name.to_owned() }).await;
            // A log that cannot be asked is no news: whoever waits does so for a bounded time.
            if let Ok(answer) = asked
                && let Some(consumer) = answer.into_inner().consumer
            {
                progress.advance_to(Position(consumer.acknowledged_position));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
