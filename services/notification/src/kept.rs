//! Whether deliveries that are attempted already are in the queue yet.
//!
//! An idle receiver hears of an event sooner when its attempt does not wait until the queue has been written to the disk: the event itself
//! is durable in the log. But what an attempt came to can be written only once there is a row to write it to, and nothing may be
//! written when the queue's transaction fails: then the log brings the event again, under the same ids.

use tokio::sync::watch;

/// Tells whether deliveries are in the queue.
#[derive(Clone, Debug)]
pub struct Kept(Option<watch::Receiver<bool>>);

/// The transaction that brings deliveries into the queue. Dropping it says that they never got there.
#[derive(Debug)]
pub struct Keeping(watch::Sender<bool>);

impl Keeping {
    /// Begins to bring deliveries into the queue.
    pub fn begin() -> (Self, Kept) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Kept(Some(receiver)))
    }

    /// Says that they are there.
    pub fn done(self) {
        self.0.send_replace(true);
    }
}

impl Kept {
    /// Says that they have been there before.
    pub const fn already() -> Self {
        Self(None)
    }

    /// Waits until it is known; returns whether they are there.
    pub async fn wait(&self) -> bool {
        let Some(receiver) = &self.0 else { return true };
        receiver.clone().wait_for(|kept| *kept).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_kept_is_told_from_what_never_was() {
        assert!(Kept::already().wait().await);
        let (keeping, kept) = Keeping::begin();
        let waiting = tokio::spawn({
            let kept = kept.clone();
            async move { kept.wait().await }
        });
        keeping.done();
        assert!(waiting.await.unwrap() && kept.wait().await);
        let (keeping, kept) = Keeping::begin();
        drop(keeping);
        assert!(!kept.wait().await);
    }
}
