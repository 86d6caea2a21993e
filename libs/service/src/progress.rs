//! How far a reader has read, and reads that wait for it.

use std::time::Duration;

use colloquy_types::Position;
use tokio::sync::watch;

use crate::Problem;

/// How long a read waits at most for its `min_position`.
pub const MIN_POSITION_WAIT: Duration = Duration::from_secs(5);

/// The position up to which a reader's view is complete. Clones share it.
#[derive(Clone, Debug)]
pub struct Progress(watch::Sender<Position>);

impl Progress {
    /// Returns progress that begins at `position`.
    pub fn starting_at(position: Position) -> Self {
        Self(watch::Sender::new(position))
    }

    /// Notes that the view is complete up to `position`; it never goes back.
    pub fn advance_to(&self, position: Position) {
        self.0.send_if_modified(|current| {
            let ahead = position > *current;
            if ahead {
                *current = position;
            }
            ahead
        });
    }

    /// Returns the position reached.
    pub fn current(&self) -> Position {
        *self.0.borrow()
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
        let mut updates = self.0.subscribe();
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
        let waiting = tokio::spawn(async move { reader.wait_for(5).await });
        progress.advance_to(Position(4));
        progress.advance_to(Position(2));
        assert_eq!(progress.current(), Position(4));
        progress.advance_to(Position(5));
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_position_that_never_comes_ends_in_unavailable() {
        let progress = Progress::starting_at(Position(3));
        let problem = progress.wait_for(9).await.unwrap_err();
        assert_eq!(problem.reason, "POSITION_NOT_REACHED");
        assert!(problem.retry_after.is_some());
    }
}
