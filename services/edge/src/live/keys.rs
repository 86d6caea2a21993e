//! Who listens: the keys of open streams, how many streams each has, and whether it still counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use colloquy_service::Identity;
use colloquy_types::KeyId;
use futures::StreamExt;
use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::mailbox::{Closing, Mailbox};
use super::{Live, StreamSettings};
use crate::clients::Calling;
use crate::problem::Refusal;

/// How many keys are asked about at once.
const ASKED_AT_ONCE: usize = 16;

/// A key that has streams open. There is nothing in it to print.
pub(super) struct ListeningKey {
    pub(super) identity: Arc<Identity>,
    /// How many of its streams read at once what they missed, so that one key leaves room for others.
    pub(super) catch_ups: Arc<Semaphore>,
    secret: Box<str>,
}

impl ListeningKey {
    /// Returns calls in the key's name.
    pub(super) fn calling(&self) -> Calling {
        Calling::of_key(&self.secret)
    }
}

/// Every key that has streams open.
pub(super) struct Keys {
    max_per_key: usize,
    max_streams: usize,
    max_catch_ups_per_key: usize,
    stop: CancellationToken,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    open: usize,
    /// What the next stream is numbered.
    next: u64,
    listening: HashMap<KeyId, Listening>,
}

struct Listening {
    key: Arc<ListeningKey>,
    mailboxes: HashMap<u64, Arc<Mailbox>>,
}

/// One stream's place, for as long as this lives.
pub(super) struct Seat {
    keys: Arc<Keys>,
    number: u64,
    pub(super) key: Arc<ListeningKey>,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Keys {
    pub(super) fn new(settings: &StreamSettings, stop: CancellationToken) -> Self {
        Self {
            max_per_key: settings.max_per_key,
            max_streams: settings.max_streams,
            max_catch_ups_per_key: settings.max_catch_ups_at_once.div_ceil(2),
            stop,
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a stream of `identity` its place.
    ///
    /// # Errors
    /// When there are as many streams as there may be, or the process stops.
    pub(super) fn enter(self: &Arc<Self>, secret: &str, identity: Arc<Identity>, mailbox: Mailbox) -> Result<Seat, Refusal> {
        let mut inner = self.lock();
        // Looked at under the lock: whoever closes all has it after the token.
        if self.stop.is_cancelled() {
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "STOPPING", "this server stops; try again");
            return Err(refusal.with(RETRY_AFTER, "1"));
        }
        let too_many =
            |detail: String| Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_STREAMS", detail).with(RETRY_AFTER, "5");
        if inner.open >= self.max_streams {
            return Err(too_many(format!("this server holds {} live streams, as many as it may", self.max_streams)));
        }
        let of_key = inner.listening.get(&identity.key_id).map_or(0, |listening| listening.mailboxes.len());
        if of_key >= self.max_per_key {
            return Err(too_many(format!(
                "this API key has {of_key} live streams open here, as many as one key may; one stream of the organization \
                 (GET /v1/stream) follows all of its conversations"
            )));
        }
        inner.open += 1;
        inner.next += 1;
        let number = inner.next;
        let mailbox = Arc::new(mailbox);
        let listening = inner.listening.entry(identity.key_id).or_insert_with(|| Listening {
            key: Arc::new(ListeningKey {
                identity,
                catch_ups: Arc::new(Semaphore::new(self.max_catch_ups_per_key)),
                secret: secret.into(),
            }),
            mailboxes: HashMap::new(),
        });
        listening.mailboxes.insert(number, Arc::clone(&mailbox));
        Ok(Seat { keys: Arc::clone(self), number, key: Arc::clone(&listening.key), mailbox })
    }

    /// Ends every stream, because the process stops.
    pub(super) fn close_all(&self) {
        for mailbox in self.lock().listening.values().flat_map(|listening| listening.mailboxes.values()) {
            mailbox.close(Closing::Stopping);
        }
    }

    fn close(&self, key: &Arc<ListeningKey>) {
        let inner = self.lock();
        let listening = inner.listening.get(&key.identity.key_id);
        // Whoever came anew meanwhile came with what the key is now.
        if let Some(listening) = listening.filter(|listening| Arc::ptr_eq(&listening.key, key)) {
            listening.mailboxes.values().for_each(|mailbox| mailbox.close(Closing::KeyRevoked));
        }
    }

    fn all(&self) -> Vec<Arc<ListeningKey>> {
        self.lock().listening.values().map(|listening| Arc::clone(&listening.key)).collect()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.keys.lock();
        inner.open -= 1;
        let id = self.key.identity.key_id;
        if let Some(listening) = inner.listening.get_mut(&id) {
            listening.mailboxes.remove(&self.number);
            if listening.mailboxes.is_empty() {
                inner.listening.remove(&id);
            }
        }
    }
}

/// Asks again and again whether the keys of open streams still count, and ends the streams of those that do not. While nobody
/// knows, they go on.
pub(super) async fn watch(live: &Live) {
    loop {
        tokio::time::sleep(live.settings.key_check_interval).await;
        let asked = live.keys.all().into_iter().map(async |key| {
            let counts = match live.authenticator.ask_again(&key.secret).await {
                Ok(identity) => identity.is_some_and(|identity| identity == key.identity),
                Err(_) => true,
            };
            (key, counts)
        });
        let mut answers = futures::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        while let Some((key, counts)) = answers.next().await {
            if !counts {
                live.keys.close(&key);
            }
        }
    }
}
