//! Whether the process gets anything done at all. That has nothing to do with databases or other services: starting again does
//! not bring a database back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// How often the watchdog notes that tasks are run.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How long the last note may lie back: long enough for a machine that is very busy.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// Whether the process gets anything done. Clones share it.
#[derive(Clone)]
pub struct Liveness(Arc<Inner>);

struct Inner {
    began: Instant,
    /// Milliseconds from the beginning to the last note.
    last_beat: AtomicU64,
    /// The first task that ended although nobody stopped it.
    dead: OnceLock<&'static str>,
}

impl Default for Liveness {
    fn default() -> Self {
        Self(Arc::new(Inner { began: Instant::now(), last_beat: AtomicU64::new(0), dead: OnceLock::new() }))
    }
}

impl Liveness {
    /// Notes, again and again until `stop`, that the runtime runs tasks.
    ///
    /// # Errors
    /// Never; it is a task.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let passed = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.0.last_beat.store(passed, Ordering::Relaxed);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(BEAT_EVERY) => {}
            }
        }
    }

    /// Watches a task: should it end or panic before `stop`, the process is not alive any more.
    pub async fn watch<T>(self, name: &'static str, stop: CancellationToken, task: impl Future<Output = T>) -> T {
        let _watch = Watch { liveness: self, name, stop };
        task.await
    }

    /// Returns what is dead; `None` while all is well.
    pub fn dead(&self) -> Option<String> {
        if let Some(task) = self.0.dead.get() {
            return Some(format!("the task '{task}' has ended"));
        }
        let last_beat = Duration::from_millis(self.0.last_beat.load(Ordering::Relaxed));
        let silence = self.0.began.elapsed().saturating_sub(last_beat);
        (silence > MAX_SILENCE).then(|| format!("no task has run for {} seconds", silence.as_secs()))
    }
}

/// Sees the end of a task, however it ends.
struct Watch {
    liveness: Liveness,
    name: &'static str,
    stop: CancellationToken,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            let _ = self.liveness.0.dead.set(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_told() {
        let (liveness, stop) = (Liveness::default(), CancellationToken::new());
        assert_eq!(liveness.dead(), None);
        let panicking = liveness.clone().watch("reader", stop.clone(), async { panic!("on purpose") });
        assert!(tokio::spawn(panicking).await.is_err());
        assert_eq!(liveness.dead().unwrap(), "the task 'reader' has ended");
    }

    #[tokio::test]
    async fn a_task_that_was_stopped_is_none() {
        let (liveness, stop) = (Liveness::default(), CancellationToken::new());
        stop.cancel();
        liveness.clone().watch("reader", stop, async {}).await;
        assert_eq!(liveness.dead(), None);
    }

    #[test]
    fn a_runtime_that_runs_nothing_is_dead() {
        let began = Instant::now().checked_sub(Duration::from_secs(30)).unwrap();
        let inner = Inner { began, last_beat: AtomicU64::new(1_000), dead: OnceLock::new() };
        assert_eq!(Liveness(Arc::new(inner)).dead().unwrap(), "no task has run for 29 seconds");
    }
}
