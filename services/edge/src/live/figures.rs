//! Figures so far: read again when something happened that changes them, not too often, once for everybody who listens.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use colloquy_proto::analytics::v1 as analytics;
use colloquy_proto::conversation::v1 as conversation;
use colloquy_proto::transcript::v1 as transcript;
use colloquy_types::{ConversationId, OrganizationId, Position};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::{Code, Response, Status};

use super::Live;
use super::frame::Frame;
use super::hub::Due;
use super::kinds::METRICS;
use crate::clients::Calling;
use crate::shape::metrics::Metrics;

/// How often they are sent of a conversation somebody listens to, and of one among those of an organization.
const EVERY: Duration = Duration::from_millis(500);
const EVERY_OF_ORGANIZATION: Duration = Duration::from_secs(2);
/// Without what analysers say by then, figures go out.
const MOOD_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked whose figures are due.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How many are read at once.
const AT_ONCE: usize = 16;
/// How many of an organization's conversations are read a look: 80 a second.
const OF_ORGANIZATION_AT_ONCE: usize = 2;
/// Beyond so many conversations, those that nobody listens to alone get no figures.
const MANY: usize = 2_048;

type Key = (OrganizationId, ConversationId);

/// Whose figures are to be read.
#[derive(Default)]
pub(super) struct Figures {
    entries: Mutex<HashMap<Key, Entry>>,
    wake: Notify,
}

struct Entry {
    /// What happened since they were read; `None` when nothing did.
    due: Option<Due>,
    not_before: Instant,
    reading: bool,
}

impl Entry {
    fn is_due(&self, now: Instant) -> bool {
        self.due.is_some() && !self.reading && self.not_before <= now
    }
}

impl Figures {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that figures changed.
    pub(super) fn ask(&self, due: Due) {
        let mut entries = self.lock();
        let key = (due.topic.organization_id.clone(), due.conversation_id);
        if !entries.contains_key(&key) && !due.watched && entries.len() >= MANY {
            return;
        }
        let entry = entries.entry(key).or_insert_with(|| Entry { due: None, not_before: Instant::now(), reading: false });
        entry.due = Some(due);
        drop(entries);
        self.wake.notify_one();
    }

    /// Takes what is to be read now, `room` at most; returns whether anything is left to look after.
    fn take(&self, room: usize) -> (Vec<Due>, bool) {
        let now = Instant::now();
        let mut entries = self.lock();
        entries.retain(|_, entry| entry.due.is_some() || entry.reading || entry.not_before > now);
        let mut due: Vec<&mut Entry> = entries.values_mut().filter(|entry| entry.is_due(now)).collect();
        // Who waits longest comes first.
        due.sort_unstable_by_key(|entry| entry.not_before);
        let mut taken = Vec::new();
        let mut of_organization = 0;
        for entry in due {
            let watched = entry.due.as_ref().is_some_and(|due| due.watched);
            if taken.len() >= room {
                break;
            }
            if !watched && of_organization == OF_ORGANIZATION_AT_ONCE {
                continue;
            }
            of_organization += usize::from(!watched);
            entry.reading = true;
            taken.extend(entry.due.take());
        }
        (taken, !entries.is_empty())
    }

    fn done(&self, due: &Due) {
        let every = if due.watched { EVERY } else { EVERY_OF_ORGANIZATION };
        if let Some(entry) = self.lock().get_mut(&(due.topic.organization_id.clone(), due.conversation_id)) {
            entry.reading = false;
            entry.not_before = Instant::now() + every;
        }
    }
}

/// Reads figures and hands them out, for as long as it is polled.
pub(super) async fn run(live: &Live) {
    let mut reading = FuturesUnordered::new();
    loop {
        let (taken, more) = live.figures.take(AT_ONCE - reading.len());
        reading.extend(taken.into_iter().map(|due| read(live, due)));
        tokio::select! {
            Some(()) = reading.next() => {}
            () = tokio::time::sleep(LOOK_EVERY), if more => {}
            () = live.figures.wake.notified(), if !more => {}
        }
    }
}

async fn read(live: &Live, due: Due) {
    // What cannot be read now is read when something happens again.
    if let Some(frame) = frame(live, &due).await {
        live.hub.hand_out_figures(&due.topic, due.conversation_id, &frame);
    }
    live.figures.done(&due);
}

async fn frame(live: &Live, due: &Due) -> Option<Frame> {
    let calling = due.key.calling();
    let (conversation_id, Position(position)) = (due.conversation_id.to_string(), due.position);
    let figures = transcript::GetFiguresRequest { conversation_id: conversation_id.clone(), min_position: Some(position) };
    let record = conversation::GetConversationRequest { conversation_id, min_position: position, ..Default::default() };
    let (mut transcripts, mut conversations) = (live.transcripts.clone(), live.conversations.clone());
    let (figures, record, mood) = tokio::join!(
        transcripts.get_figures(calling.call(figures)),
        conversations.get_conversation(calling.call(record)),
        mood_so_far(live, &calling, due.conversation_id),
    );
    let figures = figures_so_far(figures).ok()?;
    let record = record.ok()?.into_inner().conversation?;
    let now = live.clock.now();
    Frame::new(METRICS, None, Some(due.conversation_id), now, Metrics::of(&record, figures, mood, now))
}

/// Returns what our own analysers say so far, when they have said anything and the key may know it. They come about a second behind what
/// happens, and nobody waits for them.
pub(super) async fn mood_so_far(live: &Live, calling: &Calling, id: ConversationId) -> Option<conversation::Analytics> {
    let request = analytics::GetConversationAnalyticsRequest { conversation_id: id.to_string(), min_position: 0 };
    let answer = live.analytics.clone().get_conversation_analytics(calling.long_call(request, MOOD_WITHIN)).await.ok()?;
    answer.into_inner().analytics?.judgement
}

/// Returns the figures there are. In what the transcript's service does not know nothing was said yet.
pub(super) fn figures_so_far(
    answer: Result<Response<transcript::GetFiguresResponse>, Status>,
) -> Result<transcript::GetFiguresResponse, Status> {
    match answer {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if status.code() == Code::NotFound => Ok(transcript::GetFiguresResponse::default()),
        Err(status) => Err(status),
    }
}
