//! The record of a conversation as a pure function of the set of its events (design.md, decision 3).
//!
//! The function itself puts the events in order ([`colloquy_events::order`]) and applies them from the earliest to the latest: a
//! value replaces an earlier one, the absence of a value replaces nothing, but in our own judgement, which is told as a whole. So neither the order of arrival nor repeats change
//! a byte of the result.

mod analysis;
mod ending;
mod facts;
mod recordings;
#[cfg(test)]
mod samples;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use colloquy_events::standing::Standing;
use colloquy_events::{
    Authority, Change, Data, Event, Feedback as FeedbackEvent, JsonMap, Patch, TransferState, order, own, turn_set,
};
use colloquy_types::Timestamp;
use serde_json::Value;

use self::analysis::Judgement;
use self::ending::Ending;
use self::facts::Known;
use crate::conversation::{Conversation, Feedback, Technical, TechnicalError};

/// Returns the record that `events`, all of one conversation and in any order, amount to; `None` when there are none. Those that
/// are not of the record ([`Data::is_of_the_record`]) count as none.
pub(crate) fn fold(events: &[Event]) -> Option<Conversation> {
    let mut ordered: Vec<&Event> = events.iter().filter(|event| event.data.is_of_the_record()).collect();
    ordered.sort_unstable_by_key(|event| order::rank(event));
    ordered.dedup_by_key(|event| event.event_id);
    let first = *ordered.first()?;

    let mut known = Known::default();
    let mut ending = Ending::default();
    let mut judgement = Judgement::default();
    let mut judgements: BTreeMap<Authority, Judgement> = BTreeMap::new();
    let mut errors = Vec::new();
    let mut feedback = Vec::new();
    let mut transferred = false;
    let own = own::told_last(&ordered);
    let detected_language = own.and_then(|own| own.data.facts()).and_then(|facts| facts.language.clone());
    for event in &ordered {
        // What an inferred end says counts only where nothing real does, and it never says more than that it ended.
        if let Some(facts) = event.data.facts().filter(|_| !own::is_own(event)) {
            known.learn(facts);
        }
        match &event.data {
            Data::Ended(ended) => ending.learn(ended),
            Data::Analyzed(analysis) if !own::is_own(event) || own.is_some_and(|own| own.event_id == event.event_id) => {
                judgement.learn(analysis);
                judgements.entry(analysis.authority).or_default().learn(analysis);
            }
            Data::Patched(patch) => apply_patch(&mut known, patch),
            Data::TransferUpdated(transfer) => {
                transferred |= matches!(transfer.state, TransferState::Bridged | TransferState::Ended);
            }
            Data::FeedbackGiven(given) => feedback.push(rated(given, event.occurred_at)),
            Data::ErrorRaised(error) => errors.push(TechnicalError {
                code: error.code.clone(),
                message: error.message.clone(),
                component: error.component.clone(),
                at: event.occurred_at,
            }),
            _ => {}
        }
    }

    let Standing { status, started_at, ended_at, duration_ms } = Standing::of(&ordered);
    let agent = known.agent();
    let sessions = sessions::fold(&ordered).unwrap_or_else(|| {
        let reason = ending.end_reason.clone();
        vec![sessions::only(&first.external_id, &agent, started_at, ended_at, reason)]
    });
    Some(Conversation {
        conversation_id: first.conversation_id,
        external_id: first.external_id.clone(),
        provider: first.provider,
        thread_id: known.thread_id,
        client_id: known.client_id,
        user_id: known.user_id,
        agent,
        channel: known.channel,
        direction: known.direction,
        caller_number: known.caller_number,
        caller_name: known.caller_name,
        status,
        created_at: started_at.unwrap_or_else(|| first_seen(&ordered)),
        started_at,
        ended_at,
        duration_ms,
        turn_count: colloquy_figures::turn_count(&turn_set::resolve(events)),
        language_is_detected: known.language.is_none() && detected_language.is_some(),
        language: known.language.or(detected_language),
        translation_language: known.translation_language,
        analytics: judgement.conclude(&feedback, transferred || ending.transferred_to.is_some()),
        // What people said and where it was handed is known beside what an authority judges.
        judgements: judgements.into_iter().map(|(authority, mut own)| (authority, own.conclude(&[], false))).collect(),
        outcome: judgement.outcome,
        technical: Technical {
            voice_platform: known.voice_platform,
            latency_ms: known.latency_ms,
            quality: known.quality,
            network: known.network,
            errors,
        },
        recordings: recordings::fold(&ordered),
        end_reason: ending.end_reason,
        end_reason_detail: ending.end_reason_detail,
        failure_code: ending.failure_code,
        failure_message: ending.failure_message,
        cost: ending.cost,
        tags: known.tags,
        metadata: known.metadata,
        sessions,
        feedback,
    })
}

/// Puts `value` over `known` when there is one.
fn set<T: Clone>(known: &mut Option<T>, value: &Option<T>) {
    if value.is_some() {
        known.clone_from(value);
    }
}

/// Puts each member of `value` over the one of the same name.
fn merge(known: &mut JsonMap, value: Option<&JsonMap>) {
    for (name, member) in value.into_iter().flatten() {
        known.insert(name.clone(), member.clone());
    }
}

fn apply_patch(known: &mut Known, patch: &Patch) {
    if let Some(tags) = &patch.tags {
        known.untag();
        known.tag(tags);
    }
    if let Some(changes) = &patch.metadata {
        merge_patch(&mut known.metadata, changes);
    }
    for (value, change) in [(&mut known.client_id, &patch.client_id), (&mut known.user_id, &patch.user_id)] {
        if let Change::To(new) = change {
            value.clone_from(new);
        }
    }
}

/// Applies a JSON merge patch (RFC 7396) to an object.
fn merge_patch(target: &mut JsonMap, patch: &JsonMap) {
    for (name, change) in patch {
        match change {
            Value::Null => {
                target.shift_remove(name);
            }
            Value::Object(changes) => {
                let member = target.entry(name.clone()).or_insert_with(|| Value::Object(JsonMap::new()));
                if !member.is_object() {
                    *member = Value::Object(JsonMap::new());
                }
                if let Value::Object(member) = member {
                    merge_patch(member, changes);
                }
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
}

fn rated(given: &FeedbackEvent, at: Timestamp) -> Feedback {
    Feedback { rating: given.rating, thumbs: given.thumbs, comment: given.comment.clone(), at }
}

/// Returns when a conversation was first seen: the earliest time of the events that are part of its course, or of whatever else
/// is known of it. Turns count by lane, since only the greatest event of a lane is kept.
fn first_seen(ordered: &[&Event]) -> Timestamp {
    let part_of_its_course = |data: &Data| match data {
        Data::Started(_) | Data::Updated(_) | Data::SessionStarted(_) | Data::SessionEnded(_) | Data::TransferUpdated(_) => true,
        Data::Ended(ended) => !ended.inferred,
        _ => false,
    };
    let course = ordered.iter().filter(|event| part_of_its_course(&event.data)).map(|event| event.occurred_at).min();
    let turns = || {
        let mut lanes: HashMap<_, &Event> = HashMap::new();
        for event in ordered.iter() {
            let Some(lane) = turn_set::lane(event) else { continue };
            let slot = lanes.entry(lane).or_insert(event);
            if turn_set::lane_rank(event) > turn_set::lane_rank(slot) {
                *slot = event;
            }
        }
        lanes.values().map(|event| event.occurred_at).min()
    };
    let anything = || ordered.iter().map(|event| event.occurred_at).min();
    course.or_else(turns).or_else(anything).unwrap_or_default()
}
