//! Who is next: the lanes of all endpoints, and what they share.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use super::lane::{Held, Lane, Next, Went};
use super::target::Target;
use crate::message::Body;
use crate::store::Claimed;

/// How many attempts are in flight at a time, of all endpoints.
const MOST_IN_FLIGHT: usize = 1024;
/// How much waits in memory, of all endpoints.
const MOST_WAITING: usize = 16 * 1024;
const MOST_WAITING_BYTES: usize = 64 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct State {
    lanes: HashMap<Uuid, Lane>,
    /// Lanes that may start something, in turn.
    line: VecDeque<Uuid>,
    /// Lanes that may start something at an instant.
    later: BinaryHeap<Reverse<(Instant, Uuid)>>,
    /// Lanes that may claim something, in turn.
    due: VecDeque<Uuid>,
    in_flight: usize,
    waiting: usize,
    waiting_bytes: usize,
    pub(super) is_stopping: bool,
}

/// What is to be done with a delivery that has no room.
#[derive(Debug)]
pub(super) enum Refused {
    /// Nobody is in a hurry: its claim runs out.
    LetRunOut,
    /// The endpoint does well: it should come back soon.
    LetGo(Box<Claimed>),
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
            lane.take_waiting().iter().for_each(|held| self.forget(held));
        }
    }

    pub(super) fn lane_mut(&mut self, id: Uuid) -> Option<&mut Lane> {
        self.lanes.get_mut(&id)
    }

    /// Adds something that was claimed as it was made, if there is room.
    pub(super) fn offer(&mut self, claimed: Claimed, start_by: Instant) -> Result<(), Refused> {
        let delivery = &claimed.delivery;
        let lane = self.lanes.get(&delivery.endpoint_id);
        let lane = lane.filter(|lane| lane.target.endpoint.organization_id == delivery.organization_id);
        let Some(lane) = lane else { return Err(Refused::Unknown(Box::new(claimed))) };
        let full = self.is_stopping || self.waiting >= MOST_WAITING || self.waiting_bytes >= MOST_WAITING_BYTES;
        if full || !lane.has_room() {
            let soon = self.is_stopping || lane.does_well();
            return Err(if soon { Refused::LetGo(Box::new(claimed)) } else { Refused::LetRunOut });
        }
        self.push(Held { claimed, start_by });
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
        claimed.into_iter().for_each(|claimed| self.push(Held { claimed, start_by }));
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
        if !lane.is_in_line && lane.can_start() {
            lane.is_in_line = true;
            self.line.push_back(id);
        }
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
            self.line.push_back(id);
        }
        while self.in_flight < MOST_IN_FLIGHT && !self.is_stopping {
            let id = self.line.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            if let Some(late) = lane.take_late(now) {
                self.line.push_front(id);
                self.forget(&late);
                continue;
            }
            match lane.next(now) {
                Next::Nothing => lane.is_in_line = false,
                // It stays in line, at a later place.
                Next::At(at) => self.later.push(Reverse((at, id))),
                Next::Start(held) => {
                    let target = Arc::clone(&lane.target);
                    self.line.push_back(id);
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
        lane.ended(went);
        if !lane.is_in_line && lane.can_start() {
            lane.is_in_line = true;
            self.line.push_back(id);
        }
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
        let full = self.is_stopping || self.waiting >= MOST_WAITING || self.waiting_bytes >= MOST_WAITING_BYTES;
        while claims.len() < most && !full {
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
