//! The right to command a conversation.

use colloquy_types::Timestamp;
use uuid::Uuid;

/// Who holds a conversation. One at a time does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Who knows it may command.
    pub lease_id: Uuid,
    /// The command that took it.
    pub command_id: Uuid,
    /// The name its holder goes by.
    pub holder: String,
    /// The API key it was taken with.
    pub key_id: String,
    /// When.
    pub taken_at: Timestamp,
    /// When it runs out unless it is renewed.
    pub expires_at: Timestamp,
}

impl Lease {
    /// Returns whether it still counts at `now`.
    pub fn counts_at(&self, now: Timestamp) -> bool {
        self.expires_at > now
    }
}

/// The shortest and the longest time a lease may be asked for, in seconds, and the usual one.
pub const LEASE_SECONDS: std::ops::RangeInclusive<u32> = 5..=600;
/// The time of a lease when none is asked for, in seconds.
pub const USUAL_LEASE_SECONDS: u32 = 30;
