//! How much time a command to a vendor may take.

use std::time::Duration;

/// The times that decide how patient a vendor's adapter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// The whole command, repetitions and pauses included.
    pub command: Duration,
    /// What must be left of it for another attempt: about as long as a connection may take, so that a command that was never
    /// sent is not mistaken for one whose answer was lost.
    pub attempt: Duration,
    /// The pause before another attempt, growing with each.
    pub pause: Duration,
    /// The longest pause a vendor may ask for before the command is given up.
    pub longest_pause: Duration,
    /// How long objections are listened for on a socket once a command has arrived.
    pub settle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(15),
            attempt: Duration::from_secs(8),
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(5),
            settle: Duration::from_millis(750),
        }
    }
}
