//! One endpoint's share of the work.
//!
//! How many attempts an endpoint may have in flight follows from how it does: one more after each success, half of them after a
//! failure. So one that hangs holds next to nothing of what all share, and one that comes back is at its full share within a few
//! round trips. There may be many that hang, so those of which nothing good is known are besides bounded together
//! ([`Lane::is_suspect`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use colloquy_types::Timestamp;
use tokio::time::Instant;

use super::rate::Bucket;
use super::target::Target;
use crate::kept::Kept;
use crate::store::Claimed;

/// What nothing is known of yet.
const FIRST_SHARE: usize = 8;
const LEAST_SHARE: usize = 2;
const MOST_SHARE: usize = 64;
/// How many of an endpoint that does well wait in memory, at most.
const MOST_WAITING: usize = 4096;
/// How many of one wait of which nothing is known yet.
const FIRST_WAITING: usize = 64;
/// What waits should have its turn within this time.
const TURN_WITHIN: Duration = Duration::from_secs(8);
/// How many are claimed at once, at most.
const MOST_CLAIMED: usize = 1024;
/// What answers sooner is worth claiming ahead for, by so many shares: each claim is a transaction.
const AHEAD_BY: [(Duration, usize); 2] = [(Duration::from_millis(50), 16), (Duration::from_millis(250), 4)];
/// For how long is claimed ahead where there is a rate limit.
const AHEAD: Duration = Duration::from_secs(5);

/// A delivery this process holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) claimed: Claimed,
    /// Later it might be attempted when its claim has run out, and so be attempted twice.
    pub(super) start_by: Instant,
    /// Whether it is in the queue: nothing is written of it before.
    pub(super) kept: Kept,
}

/// What can be started.
#[derive(Debug)]
pub(super) enum Next {
    Start(Box<Held>),
    /// Nothing before this instant, because of the rate limit.
    At(Instant),
    Nothing,
}

/// How an attempt went, as far as the endpoint's share is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    Well(Duration),
    Badly(Duration),
    /// There was none.
    NotAtAll,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) target: Arc<Target>,
    waiting: VecDeque<Held>,
    in_flight: usize,
    share: usize,
    /// The last attempt succeeded.
    is_proven: bool,
    /// A moving average.
    takes: Option<Duration>,
    bucket: Option<Bucket>,
    /// The store is believed to have more that is due.
    pub(super) is_due: bool,
    /// It stands in line for claiming something.
    pub(super) is_listed: bool,
    /// The store is being asked.
    pub(super) is_claiming: bool,
    /// It stands in line for starting something.
    pub(super) is_in_line: bool,
    /// Since when every attempt this process knows of failed.
    pub(super) failing_since: Option<Timestamp>,
    /// When the store was last asked whether it has failed for too long.
    pub(super) examined_at: Option<Instant>,
}

impl Lane {
    pub(super) fn new(target: Arc<Target>, now: Instant) -> Self {
        Self {
            bucket: target.endpoint.rate_limit.map(|rate| Bucket::new(rate, now)),
            failing_since: target.endpoint.failing_since,
            target,
            waiting: VecDeque::new(),
            in_flight: 0,
            share: FIRST_SHARE,
            is_proven: false,
            takes: None,
            is_due: false,
            is_listed: false,
            is_claiming: false,
            is_in_line: false,
            examined_at: None,
        }
    }

    /// The endpoint was changed: what is known of its behaviour stays.
    pub(super) fn replace_target(&mut self, target: Arc<Target>, now: Instant) {
        if self.target.endpoint.rate_limit != target.endpoint.rate_limit {
            self.bucket = target.endpoint.rate_limit.map(|rate| Bucket::new(rate, now));
        }
        self.target = target;
    }

    pub(super) fn does_well(&self) -> bool {
        self.share >= FIRST_SHARE
    }

    /// Returns whether it may be one that hangs: it does badly, or has not succeeded yet, at all or since it failed.
    pub(super) fn is_suspect(&self) -> bool {
        !self.is_proven || !self.does_well()
    }

    /// Returns how many it has in flight of those that suspects may have together.
    pub(super) fn suspect_in_flight(&self) -> usize {
        if self.is_suspect() { self.in_flight } else { 0 }
    }

    /// Returns how many more may wait here.
    pub(super) fn room(&self) -> usize {
        if !self.does_well() {
            return LEAST_SHARE.saturating_sub(self.waiting.len());
        }
        let turns = |takes: Duration| (TURN_WITHIN.as_micros() / takes.as_micros().max(1)).clamp(1, MOST_WAITING as u128);
        let soon = self.takes.map_or(FIRST_WAITING, |takes| (self.share * turns(takes) as usize).min(MOST_WAITING));
        let allowed = self.bucket.as_ref().map_or(MOST_WAITING, |bucket| bucket.within(AHEAD));
        soon.min(allowed).saturating_sub(self.waiting.len())
    }

    /// Takes what waited too long: its claim is about to run out, and then it is due again.
    pub(super) fn take_late(&mut self, now: Instant) -> Option<Held> {
        self.waiting.pop_front_if(|held| held.start_by < now)
    }

    pub(super) fn push(&mut self, held: Held) {
        self.waiting.push_back(held);
    }

    /// Takes everything that waits.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Held> {
        std::mem::take(&mut self.waiting)
    }

    /// Returns whether something could be started, the rate limit aside.
    pub(super) fn can_start(&self) -> bool {
        !self.waiting.is_empty() && self.in_flight < self.share
    }

    /// Takes the next to start.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if !self.can_start() {
            return Next::Nothing;
        }
        if let Some(Err(at)) = self.bucket.as_mut().map(|bucket| bucket.take(now)) {
            return Next::At(at);
        }
        let Some(held) = self.waiting.pop_front() else { return Next::Nothing };
        self.in_flight += 1;
        Next::Start(Box::new(held))
    }

    /// Notes that what was started has ended.
    pub(super) fn ended(&mut self, went: Went) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let took = match went {
            Went::Well(took) => {
                self.share = (self.share + 1).min(MOST_SHARE);
                self.is_proven = true;
                took
            }
            Went::Badly(took) => {
                self.share = (self.share / 2).max(LEAST_SHARE);
                self.is_proven = false;
                took
            }
            Went::NotAtAll => return,
        };
        self.takes = Some(self.takes.map_or(took, |takes| (takes * 7 + took) / 8));
    }

    /// Returns how many to claim; 0 while it is not worth asking.
    pub(super) fn wants(&self) -> usize {
        let by = |takes: Duration| AHEAD_BY.into_iter().find(|(quick, _)| takes < *quick).map_or(0, |(_, shares)| shares);
        let shares = self.takes.filter(|_| self.does_well()).map_or(0, by);
        let ahead = (shares * self.share).min(MOST_CLAIMED);
        let mut wanted = self.share.saturating_sub(self.in_flight) + ahead;
        if let Some(bucket) = &self.bucket {
            wanted = wanted.min(bucket.within(AHEAD));
        }
        let missing = wanted.saturating_sub(self.waiting.len()).min(MOST_CLAIMED);
        // While there is something to do, half of it at a time: a question costs more than an answer.
        if self.waiting.is_empty() || missing >= wanted.div_ceil(2) { missing } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::work::tests::{claimed, target};

    fn lane() -> Lane {
        Lane::new(target(None), Instant::now())
    }

    fn held(start_by: Instant) -> Held {
        Held { claimed: claimed(), start_by, kept: Kept::already() }
    }

    /// Starts as many as may be, of plenty, and returns how many.
    fn fill(lane: &mut Lane) -> usize {
        let now = Instant::now();
        let mut started = 0;
        loop {
            lane.push(held(now + Duration::from_secs(60)));
            match lane.next(now) {
                Next::Start(_) => started += 1,
                Next::At(_) | Next::Nothing => return started,
            }
        }
    }

    #[test]
    fn an_endpoint_that_hangs_comes_down_to_its_least_share_and_back_with_its_first_successes() {
        let mut lane = lane();
        assert_eq!(fill(&mut lane), FIRST_SHARE);
        (0..FIRST_SHARE).for_each(|_| lane.ended(Went::Badly(Duration::from_secs(20))));
        lane.take_waiting();
        assert_eq!(fill(&mut lane), LEAST_SHARE);
        lane.push(held(Instant::now()));
        assert_eq!(lane.room(), 0);
        for _ in 0..MOST_SHARE {
            lane.ended(Went::Well(Duration::from_millis(1)));
            lane.take_waiting();
            fill(&mut lane);
        }
        assert!(lane.does_well());
        assert_eq!(lane.in_flight, MOST_SHARE);
    }

    #[test]
    fn an_endpoint_is_trusted_while_it_does_well_and_its_last_attempt_succeeded() {
        let mut lane = lane();
        fill(&mut lane);
        let quick = Duration::from_millis(1);
        let mut after = |went| {
            lane.ended(went);
            lane.is_suspect()
        };
        assert!(after(Went::NotAtAll));
        assert!(!after(Went::Well(quick)));
        assert!(after(Went::Badly(quick)));
        // It has to earn its share again.
        assert!(after(Went::Well(quick)));
        while after(Went::Well(quick)) {}
        assert_eq!((lane.share, lane.suspect_in_flight()), (FIRST_SHARE, 0));
    }

    #[test]
    fn what_could_not_be_made_says_nothing_about_the_endpoint() {
        let mut lane = lane();
        fill(&mut lane);
        lane.ended(Went::NotAtAll);
        assert_eq!((lane.share, lane.takes), (FIRST_SHARE, None));
    }

    #[test]
    fn only_what_is_quick_is_claimed_ahead_for() {
        let mut unknown = lane();
        assert_eq!(unknown.wants(), FIRST_SHARE);
        unknown.next(Instant::now());
        for (takes, shares) in [(1, 16 + 1), (100, 4 + 1), (3_000, 1)] {
            let mut lane = lane();
            lane.push(held(Instant::now() + Duration::from_secs(60)));
            assert!(matches!(lane.next(Instant::now()), Next::Start(_)));
            lane.ended(Went::Well(Duration::from_millis(takes)));
            assert_eq!(lane.wants(), shares * lane.share, "{takes}");
        }
    }

    #[test]
    fn a_slow_endpoint_has_less_waiting_than_a_quick_one_and_a_limited_one_what_it_may_have() {
        let room = |lane: &mut Lane| {
            let room = lane.room();
            (0..room).for_each(|_| lane.push(held(Instant::now() + Duration::from_secs(60))));
            assert_eq!(lane.room(), 0);
            room
        };
        let after = |takes| {
            let mut lane = lane();
            lane.ended(Went::Well(takes));
            lane
        };
        assert_eq!(room(&mut lane()), FIRST_WAITING);
        assert_eq!(room(&mut after(Duration::from_millis(1))), MOST_WAITING);
        assert_eq!(room(&mut after(Duration::from_millis(100))), 80 * (FIRST_SHARE + 1));
        assert_eq!(room(&mut after(Duration::from_secs(4))), 2 * (FIRST_SHARE + 1));
        assert_eq!(room(&mut after(Duration::from_secs(20))), FIRST_SHARE + 1);
        let mut limited = Lane::new(target(NonZeroU32::new(2)), Instant::now());
        limited.ended(Went::Well(Duration::from_millis(1)));
        assert_eq!(room(&mut limited), 10);
    }

    #[test]
    fn what_waited_too_long_is_taken_out_and_costs_nothing_of_the_rate() {
        let now = Instant::now();
        let mut lane = Lane::new(target(NonZeroU32::new(1)), now);
        lane.push(held(now));
        lane.push(held(now + Duration::from_secs(60)));
        let later = now + Duration::from_secs(1);
        assert!(lane.take_late(later).is_some());
        assert!(lane.take_late(later).is_none());
        assert!(matches!(lane.next(later), Next::Start(_)));
        lane.push(held(now + Duration::from_secs(60)));
        assert!(matches!(lane.next(later), Next::At(_)));
    }
}
