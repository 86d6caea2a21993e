//! Numbers that are asked for when somebody wants to know them.

use std::sync::{Mutex, MutexGuard, PoisonError};

type Source<T> = Box<dyn Fn() -> T + Send + Sync>;

/// The functions that know a number. There is one static of these a gauge, because an instrument is made once.
pub(super) struct Sources<T>(Mutex<Vec<Source<T>>>);

impl<T> Sources<T> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Source<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a function; the first one has `make_gauges` called.
    pub(super) fn add(&self, source: impl Fn() -> T + Send + Sync + 'static, make_gauges: impl FnOnce()) {
        let first = {
            let mut sources = self.lock();
            sources.push(Box::new(source));
            sources.len() == 1
        };
        // Outside of the lock, since making one takes the lock under which gauges are asked.
        if first {
            make_gauges();
        }
    }

    /// Asks every function.
    pub(super) fn ask(&self) -> Vec<T> {
        self.lock().iter().map(|source| source()).collect()
    }
}
