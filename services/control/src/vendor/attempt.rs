//! Trying again, where that is safe.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Action, Failure, Timing};

const ATTEMPTS: u32 = 3;

/// What one attempt came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The vendor did it.
    Done,
    /// It is settled that the vendor does not do it.
    Failed(Failure),
    /// Nothing reached the vendor.
    Unsent(String),
    /// The vendor declined for now, and asked to be left alone for some time.
    Busy(Option<Duration>, String),
    /// The vendor says that it failed, or the answer was lost: the command may have been carried out.
    Doubtful {
        /// What happened.
        detail: String,
        /// Whether the vendor answered that it failed.
        answered: bool,
    },
}

/// Carries out a command: `attempt` is given the time by which it has to be done.
///
/// What surely was not done is tried again. What may have been done is tried again only if doing it twice is doing it once.
pub(super) async fn carry_out<F, Fut>(action: &Action, timing: &Timing, mut attempt: F) -> Result<(), Failure>
where
    F: FnMut(Instant) -> Fut,
    Fut: Future<Output = Outcome>,
{
    let deadline = Instant::now() + timing.command;
    // Set once an answer was lost: from then on, no failure proves that nothing was done.
    let mut lost = None;
    let mut number = 0;
    loop {
        number += 1;
        let usual = timing.pause * number;
        let (pause, failure) = match attempt(deadline).await {
            Outcome::Done => return Ok(()),
            // An earlier attempt whose answer was lost has ended it.
            Outcome::Failed(Failure::Ended) if lost.is_some() && *action == Action::End => return Ok(()),
            Outcome::Failed(failure) => return Err(failure),
            Outcome::Unsent(detail) => (Some(usual), Failure::Unavailable(detail)),
            Outcome::Busy(asked, detail) => {
                let pause = asked.map_or(usual, |asked| asked.max(usual));
                ((pause <= timing.longest_pause).then_some(pause), Failure::Unavailable(detail))
            }
            Outcome::Doubtful { detail, .. } if !is_repeatable(action) => return Err(Failure::Unknown(detail)),
            Outcome::Doubtful { detail, answered: true } => (Some(usual), Failure::Unavailable(detail)),
            Outcome::Doubtful { detail, answered: false } => {
                lost = Some(detail.clone());
                (Some(usual), Failure::Unknown(detail))
            }
        };
        let fits = |pause: &Duration| number < ATTEMPTS && Instant::now() + *pause + timing.attempt <= deadline;
        let Some(pause) = pause.filter(fits) else {
            return Err(lost.map_or(failure, Failure::Unknown));
        };
        tracing::debug!(command = action.kind().as_str(), attempt = number, "a command to a vendor is tried again");
        sleep(pause).await;
    }
}

/// Whether doing it twice comes to the same as doing it once.
fn is_repeatable(action: &Action) -> bool {
    match action {
        Action::TakeOver | Action::Release | Action::Mute(_) | Action::End => true,
        Action::Say(_) | Action::InjectContext(_) | Action::Transfer(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Outcome {
        Outcome::Doubtful { detail: "lost".into(), answered: false }
    }

    fn broken() -> Outcome {
        Outcome::Doubtful { detail: "broken".into(), answered: true }
    }

    fn unsent() -> Outcome {
        Outcome::Unsent("unsent".into())
    }

    fn busy(seconds: Option<u64>) -> Outcome {
        Outcome::Busy(seconds.map(Duration::from_secs), "busy".into())
    }

    /// Runs through the outcomes given, and returns the result with the number of attempts.
    async fn run(action: Action, outcomes: Vec<Outcome>) -> (Result<(), Failure>, usize) {
        let mut made = 0;
        let mut outcomes = outcomes.into_iter();
        let result = carry_out(&action, &Timing::default(), |_| {
            made += 1;
            let outcome = outcomes.next().expect("no more attempts than outcomes");
            async move { outcome }
        })
        .await;
        (result, made)
    }

    #[tokio::test(start_paused = true)]
    async fn what_did_not_reach_the_vendor_is_tried_again_three_times_in_all() {
        for action in [Action::Say("a".into()), Action::End] {
            assert_eq!(run(action.clone(), vec![unsent(), Outcome::Done]).await, (Ok(()), 2));
            let given_up = (Err(Failure::Unavailable("unsent".into())), 3);
            assert_eq!(run(action, vec![unsent(), unsent(), unsent()]).await, given_up);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_vendor_is_asked_again_unless_it_wants_too_long_a_pause() {
        let say = || Action::Say("a".into());
        assert_eq!(run(say(), vec![busy(Some(5)), Outcome::Done]).await, (Ok(()), 2));
        assert_eq!(run(say(), vec![busy(None), busy(Some(0)), Outcome::Done]).await, (Ok(()), 3));
        assert_eq!(run(say(), vec![busy(Some(6))]).await, (Err(Failure::Unavailable("busy".into())), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_be_done_twice_is_repeated_after_a_lost_answer() {
        for action in [Action::TakeOver, Action::Release, Action::Mute(true), Action::Mute(false), Action::End] {
            assert_eq!(run(action.clone(), vec![lost(), Outcome::Done]).await, (Ok(()), 2));
            assert_eq!(run(action.clone(), vec![broken(), Outcome::Done]).await, (Ok(()), 2));
            assert_eq!(run(action.clone(), vec![lost(), lost(), lost()]).await, (Err(Failure::Unknown("lost".into())), 3));
            let failed = (Err(Failure::Unavailable("broken".into())), 3);
            assert_eq!(run(action, vec![broken(), broken(), broken()]).await, failed);
        }
        for action in [Action::Say("a".into()), Action::InjectContext("a".into()), Action::Transfer("+1".into())] {
            assert_eq!(run(action.clone(), vec![lost()]).await, (Err(Failure::Unknown("lost".into())), 1));
            assert_eq!(run(action, vec![broken()]).await, (Err(Failure::Unknown("broken".into())), 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_is_not_forgotten() {
        let result = run(Action::Release, vec![lost(), unsent(), broken()]).await;
        assert_eq!(result, (Err(Failure::Unknown("lost".into())), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_conversation_that_is_over_after_an_end_whose_answer_was_lost_was_ended_by_it() {
        let ended = Outcome::Failed(Failure::Ended);
        assert_eq!(run(Action::End, vec![lost(), ended.clone()]).await, (Ok(()), 2));
        assert_eq!(run(Action::End, vec![ended.clone()]).await, (Err(Failure::Ended), 1));
        assert_eq!(run(Action::Release, vec![lost(), ended]).await, (Err(Failure::Ended), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_without_the_time_for_a_connection() {
        let began = Instant::now();
        let mut made = 0;
        let result = carry_out(&Action::End, &Timing::default(), |deadline| {
            made += 1;
            async move {
                sleep(Duration::from_secs(7)).await;
                assert!(Instant::now() <= deadline, "an attempt ran past the deadline");
                unsent()
            }
        })
        .await;
        assert_eq!((result, made), (Err(Failure::Unavailable("unsent".into())), 1));
        assert!(began.elapsed() <= Duration::from_secs(15));
    }
}
