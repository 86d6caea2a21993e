//! Numbers that cost a question to a database or another server: asked for now and then, and remembered for the gauges.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// What the last question was answered with; nothing before the first one and after one that failed.
#[derive(Debug)]
pub struct Polled<T>(Arc<Mutex<Option<T>>>);

impl<T> Default for Polled<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + 'static> Polled<T> {
    /// Returns a function for a gauge, which outlives what it measures and so does not hold it.
    pub fn reader(&self) -> impl Fn() -> Option<T> + Send + Sync + 'static {
        let answer: Weak<_> = Arc::downgrade(&self.0);
        move || answer.upgrade()?.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks, and asks again after `every`, until `stop`. A question that fails leaves the gauges empty, rather than showing what
    /// was once true.
    ///
    /// # Errors
    /// Never; it is a task.
    pub async fn keep_asking(
        self,
        every: Duration,
        stop: CancellationToken,
        mut ask: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<()> {
        loop {
            let answer = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                answer = ask() => answer,
            };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answer;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(every) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_remembered_until_the_next_question_fails() {
        let polled = Polled::default();
        let read = polled.reader();
        assert_eq!(read(), None);
        let mut answers = vec![None, Some(7)];
        let stop = CancellationToken::new();
        let asking =
            tokio::spawn(polled.keep_asking(Duration::from_secs(10), stop.clone(), async move || answers.pop().flatten()));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(read(), Some(7));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(read(), None);
        stop.cancel();
        asking.await.unwrap().unwrap();
    }
}
