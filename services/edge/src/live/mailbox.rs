//! What waits for one client: a bounded queue that the hub fills and a session empties.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use colloquy_types::Position;
use tokio::sync::Notify;

use super::frame::Frame;

/// A queue that was emptied keeps room for at most so many frames: most clients have nothing waiting most of the time.
const KEPT_ROOM: usize = 8;

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// The client sends too much.
    TooTalkative,
    /// The client sent too large a message.
    TooLarge,
    /// The server stops.
    Stopping,
    /// What the client needs cannot be read right now.
    TryAgainLater,
    /// The API key was revoked, or its rights changed.
    KeyRevoked,
    /// The conversation is no longer there.
    Erased,
    /// The client reads nothing, or answers no ping.
    Unresponsive,
}

impl Closing {
    /// Returns the WebSocket's code.
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::TooTalkative => 1008,
            Self::TooLarge => 1009,
            Self::Stopping => 1012,
            Self::TryAgainLater => 1013,
            Self::KeyRevoked => 4401,
            Self::Erased => 4404,
            Self::Unresponsive => 4408,
        }
    }

    /// Returns why, for people.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::TooTalkative => "this stream listens to nobody; send less",
            Self::TooLarge => "messages to this stream must be small",
            Self::Stopping => "the server stops; come again with after=POSITION",
            Self::TryAgainLater => "what you need cannot be read right now; come again with after=POSITION",
            Self::KeyRevoked => "the API key was revoked, or its rights changed",
            Self::Erased => "the conversation does not exist any more",
            Self::Unresponsive => "you read nothing, or answered no ping",
        }
    }
}

/// What a client missed because it was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed {
    /// The first event it missed, if an event was among it.
    pub(super) from: Option<Position>,
    /// How many frames.
    pub(super) frames: u64,
}

/// What a session does next.
pub(super) enum Next {
    /// It sends a frame.
    Frame(Waiting),
    /// It tells the client what it missed, and begins anew.
    Lagged(Missed),
    /// It ends.
    Close(Closing),
}

/// A frame in the queue.
pub(super) struct Waiting {
    pub(super) frame: Frame,
    /// Whether it is still to be found out if the client wants it.
    pub(super) undecided: bool,
}

/// The queue of one client.
pub(super) struct Mailbox {
    max_frames: usize,
    max_bytes: usize,
    inner: Mutex<Inner>,
    wake: Notify,
    /// Its own, so that whoever waits for the end takes nobody's frame.
    end: Notify,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    missed: Option<Missed>,
    closing: Option<Closing>,
}

impl Mailbox {
    pub(super) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self { max_frames, max_bytes, inner: Mutex::default(), wake: Notify::new(), end: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame. When there is no room, all that waits goes: who is this slow needs a new beginning.
    pub(super) fn push(&self, frame: &Frame, undecided: bool) {
        let mut inner = self.lock();
        if let Some(missed) = &mut inner.missed {
            missed.frames += 1;
            missed.from = missed.from.or(frame.position);
            return;
        }
        let full = inner.waiting.len() >= self.max_frames || inner.bytes + frame.text.len() > self.max_bytes;
        if full && !inner.waiting.is_empty() {
            inner.drop_everything(Some(frame));
        } else {
            inner.bytes += frame.text.len();
            inner.waiting.push_back(Waiting { frame: frame.clone(), undecided });
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Makes the client begin anew, since the log itself was lost from sight.
    pub(super) fn lose(&self) {
        let mut inner = self.lock();
        if inner.missed.is_none() {
            inner.drop_everything(None);
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Ends the stream; the first reason stands.
    pub(super) fn close(&self, closing: Closing) {
        self.lock().closing.get_or_insert(closing);
        self.wake.notify_one();
        self.end.notify_one();
    }

    /// Begins anew: from here on frames wait again.
    pub(super) fn restart(&self) {
        let mut inner = self.lock();
        inner.missed = None;
        inner.waiting = VecDeque::new();
        inner.bytes = 0;
    }

    /// Returns what is there, without waiting.
    pub(super) fn try_next(&self) -> Option<Next> {
        let mut inner = self.lock();
        if let Some(closing) = inner.closing {
            return Some(Next::Close(closing));
        }
        if let Some(missed) = inner.missed {
            return Some(Next::Lagged(missed));
        }
        let waiting = inner.waiting.pop_front()?;
        inner.bytes -= waiting.frame.text.len();
        if inner.waiting.is_empty() && inner.waiting.capacity() > KEPT_ROOM {
            inner.waiting = VecDeque::new();
        }
        Some(Next::Frame(waiting))
    }

    /// Waits for what comes next. Dropping the future loses nothing.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            self.wake.notified().await;
        }
    }

    /// Waits until the stream is to end, whatever else is there. Only one may wait here, and one for the next frame.
    pub(super) async fn closed(&self) -> Closing {
        loop {
            if let Some(closing) = self.lock().closing {
                return closing;
            }
            self.end.notified().await;
        }
    }
}

impl Inner {
    fn drop_everything(&mut self, last: Option<&Frame>) {
        let waiting = mem::take(&mut self.waiting);
        let frames = waiting.iter().map(|waiting| &waiting.frame).chain(last);
        let from = frames.clone().find_map(|frame| frame.position);
        self.missed = Some(Missed { from, frames: frames.count() as u64 });
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(index: u16, bytes: usize) -> Frame {
        Frame { position: Some(Position::new(1, index)), conversation_id: None, text: Bytes::from(vec![b' '; bytes]) }
    }

    fn positions(mailbox: &Mailbox) -> Vec<u16> {
        let mut positions = Vec::new();
        while let Some(Next::Frame(waiting)) = mailbox.try_next() {
            positions.push(waiting.frame.position.unwrap().index());
        }
        positions
    }

    #[test]
    fn who_is_too_slow_is_told_from_where_and_begins_anew() {
        let mailbox = Mailbox::new(3, 1_000);
        (0..3).for_each(|index| mailbox.push(&frame(index, 10), false));
        assert_eq!(positions(&mailbox), [0, 1, 2]);
        (3..9).for_each(|index| mailbox.push(&frame(index, 10), false));
        let Some(Next::Lagged(missed)) = mailbox.try_next() else { panic!("it is not too slow") };
        assert_eq!(missed, Missed { from: Some(Position::new(1, 3)), frames: 6 });
        mailbox.restart();
        mailbox.push(&frame(9, 10), false);
        assert_eq!(positions(&mailbox), [9]);
    }

    #[test]
    fn bytes_are_bounded_but_one_great_frame_passes() {
        let mailbox = Mailbox::new(100, 1_000);
        mailbox.push(&frame(0, 5_000), false);
        assert_eq!(positions(&mailbox), [0]);
        mailbox.push(&frame(1, 600), false);
        mailbox.push(&frame(2, 600), false);
        assert!(matches!(mailbox.try_next(), Some(Next::Lagged(Missed { frames: 2, .. }))));
    }

    #[tokio::test]
    async fn the_first_reason_to_close_comes_before_everything() {
        let mailbox = Mailbox::new(3, 1_000);
        mailbox.push(&frame(0, 1), false);
        mailbox.close(Closing::KeyRevoked);
        mailbox.close(Closing::Stopping);
        assert!(matches!(mailbox.next().await, Next::Close(Closing::KeyRevoked)));
        assert_eq!(mailbox.closed().await, Closing::KeyRevoked);
    }
}
