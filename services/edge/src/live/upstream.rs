//! Following the log, once for everybody who listens.

use std::time::Duration;

use colloquy_proto::log::v1 as pb;
use tokio::time::Instant;
use tonic::{Code, Request, Status, Streaming};

use super::Live;

/// How soon it is begun again after it broke, at first and at most.
const AGAIN_AFTER: Duration = Duration::from_millis(10);
const AGAIN_AT_MOST: Duration = Duration::from_secs(3);
/// The log says every five seconds how far it was read. When it says nothing for longer, nobody is there.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a log may end before the position reached. A replica may lag behind another; one that goes on to do so is another log.
const BEHIND: Duration = Duration::from_secs(30);

/// Why following ended.
enum Ended {
    /// Nobody listens.
    Idle,
    /// The log, or the way to it, is away.
    Broken(Status),
    /// The log ends before the position reached.
    Behind,
}

/// Follows the log for as long as anybody listens, from where it was.
pub(super) async fn run(live: &Live) {
    let mut pause = AGAIN_AFTER;
    let mut behind_since: Option<Instant> = None;
    loop {
        live.hub.wanted().await;
        let (began, began_at, mut heard) = (Instant::now(), live.hub.position(), false);
        let ended = follow(live, &mut heard).await;
        if heard {
            behind_since = None;
        }
        // On a quiet night nothing moves, and all is well all the same.
        if live.hub.position() != began_at || (heard && began.elapsed() > AGAIN_AT_MOST) {
            pause = AGAIN_AFTER;
        }
        match ended {
            Ended::Idle => continue,
            Ended::Broken(status) => {
                tracing::info!(grpc.code = ?status.code(), "following the log is begun again: {}", status.message());
            }
            Ended::Behind => {
                let since = *behind_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= BEHIND {
                    tracing::error!("the log ends before what was read of it: it was replaced; every live stream begins anew");
                    live.hub.lose_sight();
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = AGAIN_AT_MOST.min(pause * 2);
    }
}

async fn follow(live: &Live, heard: &mut bool) -> Ended {
    let after = live.hub.position();
    let after_position = after.map(|after| after.0);
    let request = pb::TailRequest { after_position, with_progress: true, ..Default::default() };
    let mut told = match live.log.clone().tail(Request::new(request)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::OutOfRange && after.is_some() => return Ended::Behind,
        Err(status) => return Ended::Broken(status),
    };
    loop {
        tokio::select! {
            ended = hand_out(live, &mut told, heard) => return ended,
            () = idle(live) => {
                if live.hub.rest() {
                    return Ended::Idle;
                }
            }
        }
    }
}

/// Hands out what comes, and notes that something did. What was received is handed out before the next is waited for, so dropping this loses nothing.
async fn hand_out(live: &Live, told: &mut Streaming<pb::TailResponse>, heard: &mut bool) -> Ended {
    loop {
        match tokio::time::timeout(SILENCE, told.message()).await {
            Ok(Ok(Some(message))) => {
                *heard = true;
                if let Some(due) = live.hub.dispatch(message) {
                    live.figures.ask(due);
                }
            }
            Ok(Ok(None)) => return Ended::Broken(Status::unavailable("the stream ended")),
            Ok(Err(status)) => return Ended::Broken(status),
            Err(_) => return Ended::Broken(Status::unavailable("the stream fell silent")),
        }
    }
}

/// Waits until nobody has listened for a while.
async fn idle(live: &Live) {
    loop {
        live.hub.unwanted().await;
        tokio::select! {
            () = tokio::time::sleep(live.settings.idle_after) => return,
            () = live.hub.wanted() => {}
        }
    }
}
