//! What is known of a conversation's recordings.

use std::collections::BTreeMap;

use colloquy_events::{Data, Event, Recording as RecordingEvent, RecordingChannel};

use super::set;
use crate::conversation::{Recording, RecordingPlace};

/// Returns what is known of the recording of each channel. What is stored is not replaced by an address it could be fetched
/// from: providers send the same recording again under ever new signed addresses.
pub(super) fn fold(ordered: &[&Event]) -> Vec<Recording> {
    let mut channels: BTreeMap<RecordingChannel, Recording> = BTreeMap::new();
    for event in ordered {
        match &event.data {
            Data::RecordingAvailable(available) => {
                let Some(place) = place(available) else { continue };
                let known = channels.entry(available.channel).or_insert_with(|| unknown(available.channel, place.clone()));
                if matches!(place, RecordingPlace::Stored { .. }) || !known.is_stored() {
                    known.place = place;
                }
                set(&mut known.content_type, &available.content_type);
                set(&mut known.duration_ms, &available.duration_ms.filter(|millis| *millis >= 0));
            }
            Data::RecordingFailed(failed) => {
                let place = RecordingPlace::Failed { reason: failed.reason.clone() };
                let known = channels.entry(failed.channel).or_insert_with(|| unknown(failed.channel, place.clone()));
                if !known.is_stored() {
                    known.place = place;
                }
            }
            _ => {}
        }
    }
    channels.into_values().collect()
}

fn unknown(channel: RecordingChannel, place: RecordingPlace) -> Recording {
    Recording { channel, place, content_type: None, duration_ms: None }
}

fn place(available: &RecordingEvent) -> Option<RecordingPlace> {
    match (&available.object_key, &available.url) {
        (Some(object_key), _) => Some(RecordingPlace::Stored {
            object_key: object_key.clone(),
            sha256: available.sha256.clone(),
            size_bytes: available.size_bytes,
        }),
        (None, Some(url)) => Some(RecordingPlace::Remote { url: url.clone() }),
        (None, None) => None,
    }
}
