//! How a conversation ended.

use colloquy_events::{Cost, Ended};
use colloquy_types::Timestamp;

use super::set;
use crate::conversation::Status;

/// What the ends so far say. A real end replaces an inferred one altogether.
#[derive(Default)]
pub(super) struct Ending {
    latest: Option<Latest>,
    ended_at: Option<Timestamp>,
    duration_ms: Option<i64>,
    pub(super) end_reason: Option<String>,
    pub(super) end_reason_detail: Option<String>,
    pub(super) failure_code: Option<String>,
    pub(super) failure_message: Option<String>,
    pub(super) cost: Option<Cost>,
    pub(super) transferred_to: Option<String>,
}

struct Latest {
    status: Status,
    inferred: bool,
    occurred_at: Timestamp,
}

impl Ending {
    /// Adds what a later end says; inferred ones come before all real ones.
    pub(super) fn learn(&mut self, ended: &Ended, occurred_at: Timestamp) {
        if !ended.inferred && self.latest.as_ref().is_some_and(|latest| latest.inferred) {
            *self = Self::default();
        }
        self.latest = Some(Latest { status: ended.status.into(), inferred: ended.inferred, occurred_at });
        set(&mut self.ended_at, &ended.ended_at);
        set(&mut self.duration_ms, &ended.duration_ms.filter(|millis| *millis >= 0));
        set(&mut self.end_reason, &ended.end_reason);
        set(&mut self.end_reason_detail, &ended.end_reason_detail);
        set(&mut self.failure_code, &ended.failure_code);
        set(&mut self.failure_message, &ended.failure_message);
        set(&mut self.cost, &ended.cost);
        set(&mut self.transferred_to, &ended.transferred_to);
    }

    /// Returns how it ended, if it did.
    pub(super) fn status(&self) -> Option<Status> {
        self.latest.as_ref().map(|latest| latest.status)
    }

    /// Returns when it ended and how long it lasted. Each follows from the other where only one was given; when nobody said when
    /// it ended, it was when the end was told. Nobody knows when an inferred end happened.
    pub(super) fn times(&self, started_at: Option<Timestamp>) -> (Option<Timestamp>, Option<i64>) {
        let told = self.latest.as_ref().filter(|latest| !latest.inferred).map(|latest| latest.occurred_at);
        let computed = started_at.zip(self.duration_ms).map(|(start, millis)| start.saturating_add_millis(millis));
        let ended_at = self.ended_at.or(computed).or(told);
        let lasted = started_at.zip(ended_at).map(|(start, end)| end.millis_since(start)).filter(|millis| *millis >= 0);
        (ended_at, self.duration_ms.or(lasted))
    }
}
