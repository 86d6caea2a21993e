//! How long things are waited for.

use std::time::Duration;

/// What is waited for by the machine's own clock. Leases, claims and answers run by the [`colloquy_types::Clock`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// How often commands of other replicas, and things that ought to end, are looked for.
    pub look_every: Duration,
    /// For how long a vendor that cannot be reached is tried.
    pub patience: Duration,
    /// When a vendor that ought to have answered within 15 s is not waited for any longer.
    pub silence: Duration,
    /// The first wait between tries; it doubles each time, up to the longest.
    pub first_wait: Duration,
    /// The longest wait between tries.
    pub longest_wait: Duration,
    /// When a command that no own agent answered is handed out again.
    pub hand_out_again_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(1),
            patience: Duration::from_secs(20),
            silence: Duration::from_secs(18),
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(4),
            hand_out_again_after: Duration::from_secs(10),
        }
    }
}
