//! One delivery, from its body to its result.

use std::time::Duration;

use colloquy_service::metrics::{AttemptOutcome, notification_attempt};
use colloquy_types::{Clock, Timestamp};

use super::bodies::Bodies;
use super::lane::Went;
use super::later;
use super::target::Target;
use crate::delivery::{Delivery, Status};
use crate::payload::SnapshotError;
use crate::send::schedule::next_attempt;
use crate::send::{Outcome, Sender, Verdict};
use crate::store::{Claimed, Finished};

/// What a delivery came to.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) finished: Finished,
    pub(super) went: Went,
    pub(super) is_gone: bool,
}

/// Tries to deliver.
pub(super) async fn deliver(claimed: &Claimed, target: &Target, bodies: &Bodies, sender: &Sender, clock: &dyn Clock) -> Ended {
    let Claimed { delivery, message } = claimed;
    match bodies.of(message).await {
        Ok(body) => {
            let outcome = sender.attempt(&target.outgoing(message, body, clock.now())).await;
            let ended = judge(delivery, outcome, clock.now(), jitter());
            note(target, &ended);
            ended
        }
        // Not the endpoint's fault, so its schedule goes on as if nothing had been.
        Err(SnapshotError::Later(wait)) => unattempted(delivery, Status::Pending, Some(later(clock.now(), wait))),
        Err(SnapshotError::Gone) => unattempted(delivery, Status::Failed, None),
    }
}

/// Somewhere in [-1, 1].
fn jitter() -> f64 {
    rand::random_range(-1.0..=1.0)
}

/// Returns a delivery to the queue as if it had never been claimed.
pub(super) fn released(delivery: &Delivery, now: Timestamp) -> Finished {
    unattempted(delivery, Status::Pending, Some(now)).finished
}

fn unattempted(delivery: &Delivery, status: Status, next_attempt_at: Option<Timestamp>) -> Ended {
    Ended { finished: finished(delivery, None, status, next_attempt_at), went: Went::NotAtAll, is_gone: false }
}

fn finished(
    delivery: &Delivery,
    attempt: Option<crate::delivery::Attempt>,
    status: Status,
    next_attempt_at: Option<Timestamp>,
) -> Finished {
    Finished {
        organization_id: delivery.organization_id.clone(),
        delivery_id: delivery.delivery_id,
        endpoint_id: delivery.endpoint_id,
        attempt_count: delivery.attempt_count,
        attempt,
        status,
        next_attempt_at,
    }
}

/// What follows from an attempt.
fn judge(delivery: &Delivery, outcome: Outcome, now: Timestamp, jitter: f64) -> Ended {
    let took = Duration::from_millis(u64::try_from(outcome.attempt.duration_ms).unwrap_or(0));
    let (status, next, went) = match outcome.verdict {
        Verdict::Taken => (Status::Succeeded, None, Went::Well(took)),
        Verdict::Gone => (Status::Failed, None, Went::Badly(took)),
        Verdict::Again(asked) => match next_attempt(delivery.schedule_attempts + 1, asked, jitter) {
            Some(wait) => (Status::Pending, Some(later(now, wait)), Went::Badly(took)),
            None => (Status::Exhausted, None, Went::Badly(took)),
        },
    };
    let is_gone = outcome.verdict == Verdict::Gone;
    Ended { finished: finished(delivery, Some(outcome.attempt), status, next), went, is_gone }
}

fn note(target: &Target, ended: &Ended) {
    let outcome = match ended.finished.status {
        Status::Succeeded => AttemptOutcome::Taken,
        Status::Pending => AttemptOutcome::Retried,
        Status::Exhausted => AttemptOutcome::Exhausted,
        Status::Failed => AttemptOutcome::Gone,
    };
    if let Went::Well(took) | Went::Badly(took) = ended.went {
        notification_attempt(target.endpoint.kind.as_str(), outcome, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Attempt;
    use crate::send::schedule::ATTEMPTS;
    use crate::work::tests::delivery;

    fn judged(attempts_made: u32, verdict: Verdict) -> (Status, Option<i64>) {
        let mut delivery = delivery();
        delivery.schedule_attempts = attempts_made;
        let now = Timestamp::from_millis(1_000_000).unwrap();
        let attempt = Attempt { at: now, status_code: None, duration_ms: 3, error: None, response: None };
        let ended = judge(&delivery, Outcome { attempt, verdict }, now, 0.0);
        (ended.finished.status, ended.finished.next_attempt_at.map(|at| at.millis_since(now)))
    }

    #[test]
    fn what_follows_from_an_attempt() {
        let asked = Verdict::Again(Some(Duration::from_secs(60)));
        assert_eq!(judged(0, Verdict::Taken), (Status::Succeeded, None));
        assert_eq!(judged(0, Verdict::Gone), (Status::Failed, None));
        assert_eq!(judged(0, Verdict::Again(None)), (Status::Pending, Some(5_000)));
        assert_eq!(judged(0, asked), (Status::Pending, Some(60_000)));
        assert_eq!(judged(1, asked), (Status::Pending, Some(300_000)));
        assert_eq!(judged(ATTEMPTS - 2, Verdict::Again(None)), (Status::Pending, Some(36_000_000)));
        assert_eq!(judged(ATTEMPTS - 1, asked), (Status::Exhausted, None));
    }
}
