//! Who is next: the lanes of all endpoints, and what they share.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use super::lane::{Held, Lane, Next, Went};
use super::target::Target;
use crate::kept::Kept;
use crate::message::Body;
use crate::store::Claimed;

/// How many attempts are in flight at a time, of all endpoints.
const MOST_IN_FLIGHT: usize = 1024;
/// How many of those may be of endpoints of which nothing good is known: the others always find the rest.
const MOST_SUSPECT: usize = MOST_IN_FLIGHT / 2;
/// How much waits in memory, of all endpoints.
const MOST_WAITING: usize = 16 * 1024;
const MOST_WAITING_BYTES: usize = 64 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct State {
    lanes: HashMap<Uuid, Lane>,
    /// Lanes that may start something, in turn.
    line: VecDeque<Uuid>,
    /// The same, of suspects: they stand in a line of their own, since it may have to stand still.
    suspects: VecDeque<Uuid>,
    /// Lanes that may start something at an instant.
    later: BinaryHeap<Reverse<(Instant, Uuid)>>,
    /// Lanes that may claim something, in turn.
    due: VecDeque<Uuid>,
    in_flight: usize,
    /// How many of those are of suspects.
    suspect_in_flight: usize,
    waiting: usize,
    waiting_bytes: usize,
    pub(super) is_stopping: bool,
}

/// What is to be done with a delivery that has no room.
#[derive(Debug)]
pub(super) enum Refused {
    /// There was room when it was claimed, and is no more.
    Full(Box<Claimed>),
    /// As far as is known here there is no such endpoint: it was made just now, or is gone.
    Unknown(Box<Claimed>),
}

impl State {
    pub(super) fn targets(&self) -> HashMap<Uuid, Arc<Target>> {
        self.lanes.iter().map(|(id, lane)| (*id, Arc::clone(&lane.target))).collect()
    }

    /// Makes lanes for these endpoints and no others.
    pub(super) fn set_targets(&mut self, mut targets: HashMap<Uuid, Arc<Target>>, now: Instant) {
        let gone: Vec<Uuid> = self.lanes.keys().filter(|id| !targets.contains_key(id)).copied().collect();
        gone.into_iter().for_each(|id| self.remove(id));
        for (id, lane) in &mut self.lanes {
            if let Some(target) = targets.remove(id) {
                lane.replace_target(target, now);
            }
        }
        self.lanes.extend(targets.into_iter().map(|(id, target)| (id, Lane::new(target, now))));
    }

    /// Removes a lane; what waited in it is the store's to decide on.
    pub(super) fn remove(&mut self, id: Uuid) {
        if let Some(mut lane) = self.lanes.remove(&id) {
            self.suspect_in_flight -= lane.suspect_in_flight();
            lane.take_waiting().iter().for_each(|held| self.forget(held));
        }
    }

    pub(super) fn lane_mut(&mut self, id: Uuid) -> Option<&mut Lane> {
        self.lanes.get_mut(&id)
    }

    fn is_full(&self) -> bool {
        self.is_stopping || self.waiting >= MOST_WAITING || self.waiting_bytes >= MOST_WAITING_BYTES
    }

    /// Returns how many more of an endpoint may be offered: never all that all may have, so that nobody takes the last of it.
    pub(super) fn room(&self, id: Uuid) -> usize {
        if self.is_full() {
            return 0;
        }
        self.lanes.get(&id).map_or(0, |lane| lane.room().min((MOST_WAITING - self.waiting).div_ceil(2)))
    }

    /// Adds something that was claimed as it was made, if there is room.
    pub(super) fn offer(&mut self, claimed: Claimed, start_by: Instant, kept: Kept) -> Result<(), Refused> {
        let delivery = &claimed.delivery;
        let lane = self.lanes.get(&delivery.endpoint_id);
        let lane = lane.filter(|lane| lane.target.endpoint.organization_id == delivery.organization_id);
        let Some(lane) = lane else { return Err(Refused::Unknown(Box::new(claimed))) };
        if self.is_full() || lane.room() == 0 {
            return Err(Refused::Full(Box::new(claimed)));
        }
        self.push(Held { claimed, start_by, kept });
        Ok(())
    }

    /// Adds what was claimed on purpose. Returns what cannot be kept.
    pub(super) fn add_claimed(&mut self, id: Uuid, claimed: Vec<Claimed>, asked_for: usize, start_by: Instant) -> Vec<Claimed> {
        let Some(lane) = self.lanes.get_mut(&id) else { return claimed };
        lane.is_claiming = false;
        lane.is_due |= claimed.len() == asked_for;
        self.list(id);
        if self.is_stopping {
            return claimed;
        }
        claimed.into_iter().for_each(|claimed| self.push(Held { claimed, start_by, kept: Kept::already() }));
        Vec::new()
    }

    /// A claim failed; whoever looks around next finds the endpoint again.
    pub(super) fn claim_failed(&mut self, id: Uuid) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.is_claiming = false;
            lane.is_due = false;
        }
    }

    fn push(&mut self, held: Held) {
        let id = held.claimed.delivery.endpoint_id;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        self.waiting += 1;
        self.waiting_bytes += bytes_of(&held);
        lane.push(held);
        self.line_up(id);
    }

    /// Puts a lane in line for starting something, if it can and does not stand there yet.
    fn line_up(&mut self, id: Uuid) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if !lane.is_in_line && lane.can_start() {
            lane.is_in_line = true;
            self.go_to_the_end(id);
        }
    }

    fn go_to_the_end(&mut self, id: Uuid) {
        let suspect = self.lanes.get(&id).is_some_and(Lane::is_suspect);
        if suspect { self.suspects.push_back(id) } else { self.line.push_back(id) }
    }

    /// Takes the lane whose turn it is. Suspects go first while they may: they are soon at their bound, and how they do has to be
    /// found out.
    fn next_in_line(&mut self) -> Option<Uuid> {
        if self.in_flight >= MOST_IN_FLIGHT || self.is_stopping {
            return None;
        }
        let suspect = if self.suspect_in_flight < MOST_SUSPECT { self.suspects.pop_front() } else { None };
        suspect.or_else(|| self.line.pop_front())
    }

    fn forget(&mut self, held: &Held) {
        self.waiting -= 1;
        self.waiting_bytes -= bytes_of(held);
    }

    /// Takes the next to start, in turn of the endpoints.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Held, Arc<Target>)> {
        while let Some(Reverse((at, id))) = self.later.peek().copied()
            && at <= now
        {
            self.later.pop();
            self.go_to_the_end(id);
        }
        while let Some(id) = self.next_in_line() {
            let mut late = Vec::new();
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            if lane.is_suspect() && self.suspect_in_flight >= MOST_SUSPECT {
                // It began to do badly while it stood in line.
                self.suspects.push_back(id);
                continue;
            }
            late.extend(std::iter::from_fn(|| lane.take_late(now)));
            let suspect_before = lane.suspect_in_flight();
            let next = lane.next(now);
            self.suspect_in_flight = self.suspect_in_flight - suspect_before + lane.suspect_in_flight();
            late.iter().for_each(|held| self.forget(held));
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            match next {
                Next::Nothing => lane.is_in_line = false,
                // It stays in line, at a later place.
                Next::At(at) => self.later.push(Reverse((at, id))),
                Next::Start(held) => {
                    let target = Arc::clone(&lane.target);
                    self.go_to_the_end(id);
                    self.forget(&held);
                    self.in_flight += 1;
                    return Some((*held, target));
                }
            }
        }
        None
    }

    /// Lets go of what waited too long, which is room for others.
    pub(super) fn forget_late(&mut self, now: Instant) {
        let late: Vec<Held> = self.lanes.values_mut().flat_map(|lane| std::iter::from_fn(|| lane.take_late(now))).collect();
        for held in late {
            self.forget(&held);
            self.list(held.claimed.delivery.endpoint_id);
        }
    }

    /// Returns when the next lane may start something that may not now.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.later.peek().map(|Reverse((at, _))| *at)
    }

    /// Notes that what was started has ended. Returns whether there is something to claim for its endpoint.
    pub(super) fn ended(&mut self, id: Uuid, went: Went) -> bool {
        self.in_flight -= 1;
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        let (suspect_before, was_suspect) = (lane.suspect_in_flight(), lane.is_suspect());
        lane.ended(went);
        let is_cleared = was_suspect && !lane.is_suspect();
        self.suspect_in_flight = self.suspect_in_flight - suspect_before + lane.suspect_in_flight();
        if is_cleared && let Some(place) = self.suspects.iter().position(|suspect| *suspect == id) {
            self.suspects.remove(place);
            self.line.push_back(id);
        }
        self.line_up(id);
        self.list(id)
    }

    /// Puts a lane in line for claiming, if it has to. Returns whether it has.
    fn list(&mut self, id: Uuid) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        let claims = lane.is_due && !lane.is_claiming && lane.wants() > 0;
        if claims && !lane.is_listed {
            lane.is_listed = true;
            self.due.push_back(id);
        }
        claims
    }

    /// Notes that the store has something due for an endpoint.
    pub(super) fn mark_due(&mut self, id: Uuid) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.is_due = true;
            self.list(id);
        }
    }

    /// Returns for which endpoints to ask the store now, and for how many deliveries each.
    pub(super) fn claims(&mut self, most: usize) -> Vec<(Arc<Target>, usize)> {
        let mut claims = Vec::new();
        while claims.len() < most && !self.is_full() {
            let Some(id) = self.due.pop_front() else { break };
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.is_listed = false;
            // One that wants nothing now is listed again when something of it has ended.
            let wants = lane.wants();
            if lane.is_due && !lane.is_claiming && wants > 0 {
                lane.is_due = false;
                lane.is_claiming = true;
                claims.push((Arc::clone(&lane.target), wants));
            }
        }
        claims
    }

    /// Lets nothing start any more, and takes everything that waits.
    pub(super) fn stop(&mut self) -> Vec<Claimed> {
        self.is_stopping = true;
        let waiting = self.lanes.values_mut().flat_map(Lane::take_waiting).map(|held| held.claimed).collect();
        (self.waiting, self.waiting_bytes) = (0, 0);
        waiting
    }
}

fn bytes_of(held: &Held) -> usize {
    match &held.claimed.message.body {
        Body::Ready(body) => body.len(),
        Body::Snapshot => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::work::tests::{claimed, target};

    const WELL: Went = Went::Well(Duration::from_millis(1));
    const BADLY: Went = Went::Badly(Duration::from_secs(20));

    fn lanes(count: u128) -> State {
        let mut state = State::default();
        state.set_targets((0..count).map(|id| (Uuid::from_u128(id), target(None))).collect(), Instant::now());
        state
    }

    fn fill(state: &mut State, id: Uuid, count: usize) {
        let start_by = Instant::now() + Duration::from_secs(60);
        for _ in 0..count {
            let mut claimed = claimed();
            claimed.delivery.endpoint_id = id;
            state.push(Held { claimed, start_by, kept: Kept::already() });
        }
    }

    /// Starts whatever may start; returns of whom.
    fn start(state: &mut State) -> Vec<Uuid> {
        let now = Instant::now();
        std::iter::from_fn(|| state.next(now)).map(|(held, _)| held.claimed.delivery.endpoint_id).collect()
    }

    #[test]
    fn however_many_hang_half_of_the_places_are_left_to_who_does_well() {
        let mut state = lanes(201);
        let healthy = Uuid::from_u128(200);
        fill(&mut state, healthy, 1);
        assert_eq!(start(&mut state), [healthy]);
        state.ended(healthy, WELL);
        (0..200).for_each(|id| fill(&mut state, Uuid::from_u128(id), 10));
        assert_eq!(start(&mut state).len(), MOST_SUSPECT);
        fill(&mut state, healthy, 5);
        assert_eq!(start(&mut state), [healthy; 5]);
        // One of those that stand still does well after all: it does not stand still any more, though the others do.
        let waking = Uuid::from_u128(0);
        state.ended(waking, WELL);
        let started = start(&mut state);
        assert!(started.contains(&waking), "{started:?}");
        assert!(state.suspect_in_flight <= MOST_SUSPECT);
        // One that did well has its place among the others again as soon as it fails.
        let before = state.suspect_in_flight;
        state.ended(healthy, BADLY);
        assert_eq!(state.suspect_in_flight, before + 4);
    }

    #[test]
    fn what_is_in_flight_is_counted_until_it_has_ended_whatever_becomes_of_its_endpoint() {
        let mut state = lanes(3);
        let ids = [0, 1, 2].map(Uuid::from_u128);
        ids.iter().for_each(|id| fill(&mut state, *id, 8));
        assert_eq!(start(&mut state).len(), 24);
        for went in [WELL, BADLY, WELL, Went::NotAtAll, BADLY] {
            ids.iter().for_each(|id| assert!(!state.ended(*id, went)));
        }
        state.remove(ids[0]);
        assert_eq!((state.in_flight, state.suspect_in_flight), (9, 6));
        ids.iter().for_each(|id| (0..3).for_each(|_| assert!(!state.ended(*id, WELL))));
        assert_eq!((state.in_flight, state.suspect_in_flight), (0, 0));
    }

    #[test]
    fn nobody_is_offered_the_last_of_the_memory() {
        let mut state = lanes(9);
        for id in 0..8 {
            let id = Uuid::from_u128(id);
            fill(&mut state, id, 1);
            start(&mut state);
            state.ended(id, WELL);
            let room = state.room(id);
            fill(&mut state, id, room);
        }
        let late = state.room(Uuid::from_u128(8));
        assert!((1..=64).contains(&late), "{late}");
        assert_eq!(state.room(Uuid::from_u128(77)), 0, "of an unknown endpoint nothing is taken");
        state.is_stopping = true;
        assert_eq!(state.room(Uuid::from_u128(8)), 0);
    }
}
