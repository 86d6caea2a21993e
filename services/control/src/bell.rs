//! Wakes those of this process who wait for commands. Other replicas look by themselves, every second.

use std::sync::Arc;

use tokio::sync::watch;

/// The bell. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Bell(Arc<watch::Sender<()>>);

/// Hears the bell.
#[derive(Debug)]
pub struct Listener(watch::Receiver<()>);

impl Bell {
    /// Returns a bell that nobody hears yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }

    /// Wakes everybody.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// Returns one who hears it from now on.
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener {
    /// Waits until the bell has been rung since the last time; for ever once there is no bell any more.
    pub async fn heard(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
