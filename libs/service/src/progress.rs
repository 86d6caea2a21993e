//! How far a reader has read, and reads that wait for it.

use std::time::Duration;

use colloquy_types::Position;
use tokio::sync::watch;

use crate::Problem;

/// How long a read waits at most for its `min_position`.
pub const MIN_POSITION_WAIT: Duration = Duration::from_secs(5);

/// The position up to which a reader's view is complete. Clones share it.
#[derive(Clone, Debug)]
pub struct Progress {
    position: watch::Sender<Position>,
    /// How many reads are waiting: with several replicas, one has to ask how far the others are, and only then.
    waiting: watch::Sender<usize>,
}

/// One more read waits for as long as this lives.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn on(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Progress {
    /// Returns progress that begins at `position`.
    pub fn starting_at(position: Position) -> Self {
        Self { position: watch::Sender::new(position), waiting: watch::Sender::new(0) }
    }

    /// Notes that the view is complete up to `position`; it never goes back.
    pub fn advance_to(&self, position: Position) {
        self.position.send_if_modified(|current| {
            let ahead = position > *current;
            if ahead {
                *current = position;
            }
            ahead
        });
    }

    /// Returns the position reached.
    pub fn current(&self) -> Position {
        *self.position.borrow()
    }

    /// Returns how many reads are waiting, as it changes.
    pub fn waiting(&self) -> watch::Receiver<usize> {
        self.waiting.subscribe()
    }

    /// Waits until `position` has been reached; 0 is always reached.
    ///
    /// # Errors
    /// `UNAVAILABLE` with a retry hint when it takes longer than [`MIN_POSITION_WAIT`].
    pub async fn wait_for(&self, position: u64) -> Result<(), Problem> {
        let wanted = Position(position);
        if self.current() >= wanted {
            return Ok(());
        }
        let _waiting = Waiting::on(&self.waiting);
        let mut updates = self.position.subscribe();
        match tokio::time::timeout(MIN_POSITION_WAIT, updates.wait_for(|current| *current >= wanted)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Problem::unavailable(
                "POSITION_NOT_REACHED",
                format!("position {position} has not been read yet; the view is complete up to {}", self.current()),
                Duration::from_secs(1),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_read_waits_for_its_write() {
        let progress = Progress::starting_at(Position(3));
        let reader = progress.clone();
        let mut count = progress.waiting();
        let waiting = tokio::spawn(async move { reader.wait_for(5).await });
        count.wait_for(|count| *count == 1).await.unwrap();
        progress.advance_to(Position(4));
        progress.advance_to(Position(2));
        assert_eq!(progress.current(), Position(4));
        progress.advance_to(Position(5));
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!(*count.borrow_and_update(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_position_that_never_comes_ends_in_unavailable() {
        let progress = Progress::starting_at(Position(3));
        let problem = progress.wait_for(9).await.unwrap_err();
        assert_eq!(problem.reason, "POSITION_NOT_REACHED");
        assert!(problem.retry_after.is_some());
    }
}
