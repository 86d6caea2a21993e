//! Figures so far: read again when something happened that changes them, not too often, once for everybody who listens. What analysers
//! say is in the frames of those only whose keys may read analytics.
//!
//! Analysers come about a second behind. So what they say of the last words before a pause is looked for a little later, a few times
//! at most, and sent when it is there: nobody has to speak again for the mood to be shown.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
use super::hub::{Due, FigureFrames};
use super::kinds::METRICS;
use super::mood::Mood;
use crate::shape::metrics::Metrics;

/// How often they are sent of a conversation somebody listens to, and of one among those of an organization.
const EVERY: Duration = Duration::from_millis(500);
const EVERY_OF_ORGANIZATION: Duration = Duration::from_secs(2);
/// How often it is looked whose figures are due.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How many are read at once.
const AT_ONCE: usize = 16;
/// How many of an organization's conversations are read a look: 80 a second.
const OF_ORGANIZATION_AT_ONCE: usize = 2;
/// Beyond so many conversations, those that nobody listens to alone get no figures.
const MANY: usize = 2_048;
/// How long after each other it is looked whether analysers have come as far as what was said. A second later they mostly have; a long
/// conversation takes its time, and one that was not analysed by then is shown when something happens again.
const ANALYSED_AFTER: [Duration; 4] =
    [Duration::from_millis(1_200), Duration::from_millis(2_400), Duration::from_millis(4_800), Duration::from_millis(9_600)];

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
    /// Who listens heard of everything up to here.
    position: Position,
    awaited: Option<Awaited>,
}

/// What analysers are still to say.
#[derive(Clone, Copy)]
struct Awaited {
    /// Up to where they are to come.
    through: Position,
    /// How many times it was looked whether they have. Figures that are read because something happened do not count.
    looks: usize,
    /// When it is looked next; `None` while figures are still to be read because of it.
    look_at: Option<Instant>,
}

/// What is to be done.
enum Job {
    /// Figures are read and sent.
    Read(Due),
    /// It is looked whether analysers have come to `awaited`; if so, figures are read and sent.
    Look { key: Key, position: Position, awaited: Position },
}

impl Entry {
    const fn new(now: Instant) -> Self {
        Self { due: None, not_before: now, reading: false, position: Position::START, awaited: None }
    }

    fn look_at(&self) -> Option<Instant> {
        self.awaited.and_then(|awaited| awaited.look_at)
    }

    /// Returns since when there is something to do, if there is.
    fn since(&self, now: Instant) -> Option<Instant> {
        let since = match &self.due {
            Some(_) => self.not_before,
            None => self.not_before.max(self.look_at()?),
        };
        (!self.reading && since <= now).then_some(since)
    }

    /// Takes what is to be done.
    fn take(&mut self, key: &Key) -> Option<Job> {
        let job = match self.due.take() {
            Some(due) => Job::Read(due),
            None => Job::Look { key: key.clone(), position: self.position, awaited: self.awaited?.through },
        };
        self.reading = true;
        Some(job)
    }

    /// Notes up to where analysers had come in what was shown, and decides when to look again for the rest. `looked` says whether it
    /// was just looked for it.
    fn heard(&mut self, looked: bool, through: Option<Position>, now: Instant) {
        let Some(mut awaited) = self.awaited.take() else { return };
        // Whether a key may know of them is told of the one in whose name figures are read next.
        let lacks = through.map_or(self.due.is_some(), |through| through < awaited.through);
        if !lacks {
            return;
        }
        match awaited.look_at {
            Some(_) if looked => awaited.looks += 1,
            // It is looked when it was to be, or figures are read first.
            Some(_) => return self.awaited = Some(awaited),
            None if self.due.is_some() => return self.awaited = Some(awaited),
            None => {}
        }
        if let Some(after) = ANALYSED_AFTER.get(awaited.looks) {
            self.awaited = Some(Awaited { look_at: Some(now + *after), ..awaited });
        }
    }
}

impl Figures {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that figures changed.
    pub(super) fn ask(&self, due: Due) {
        let now = Instant::now();
        let mut entries = self.lock();
        let key = (due.topic.organization_id.clone(), due.conversation_id);
        if !entries.contains_key(&key) && !due.watched && entries.len() >= MANY {
            return;
        }
        let entry = entries.entry(key).or_insert_with(|| Entry::new(now));
        entry.position = entry.position.max(due.position);
        if due.is_analysed {
            entry.awaited = Some(Awaited { through: due.position, looks: 0, look_at: None });
        }
        entry.due = Some(due);
        drop(entries);
        self.wake.notify_one();
    }

    /// Notes that analysers, who had read up to `through` when a client was shown everything up to `position`, may be about to say more.
    pub(super) fn expect(&self, key: Key, position: Position, through: Position) {
        let now = Instant::now();
        let mut entries = self.lock();
        let entry = entries.entry(key).or_insert_with(|| Entry::new(now));
        if entry.awaited.is_none() {
            entry.position = entry.position.max(position);
            let (through, look_at) = (Position(through.0.saturating_add(1)), Some(now + ANALYSED_AFTER[0]));
            // Once: nothing tells whether there is more to come.
            entry.awaited = Some(Awaited { through, looks: ANALYSED_AFTER.len() - 1, look_at });
        }
        drop(entries);
        self.wake.notify_one();
    }

    /// Takes what is to be done now, `room` at most; returns whether anything is left to look after. `watched` says whether somebody
    /// listens to just that conversation.
    fn take(&self, room: usize, now: Instant, watched: impl Fn(&Key) -> bool) -> (Vec<Job>, bool) {
        let mut entries = self.lock();
        entries.retain(|_, entry| entry.due.is_some() || entry.reading || entry.not_before > now || entry.look_at().is_some());
        let mut ready: Vec<(Instant, &Key, &mut Entry)> =
            entries.iter_mut().filter_map(|(key, entry)| Some((entry.since(now)?, key, entry))).collect();
        // Who waits longest comes first.
        ready.sort_unstable_by_key(|(since, ..)| *since);
        let mut taken = Vec::new();
        let mut of_organization = 0;
        for (_, key, entry) in ready {
            if taken.len() >= room {
                break;
            }
            let watched = entry.due.as_ref().map_or_else(|| watched(key), |due| due.watched);
            if !watched && of_organization == OF_ORGANIZATION_AT_ONCE {
                continue;
            }
            of_organization += usize::from(!watched);
            taken.extend(entry.take(key));
        }
        (taken, !entries.is_empty())
    }

    /// Notes that figures were read, or `looked` for, and up to where analysers had come in what was shown.
    fn done(&self, key: &Key, watched: bool, looked: bool, through: Option<Position>, now: Instant) {
        let every = if watched { EVERY } else { EVERY_OF_ORGANIZATION };
        let mut entries = self.lock();
        let crowded = entries.len() > MANY / 2;
        let Some(entry) = entries.get_mut(key) else { return };
        entry.reading = false;
        entry.not_before = now + every;
        match crowded && !watched {
            true => entry.awaited = None,
            false => entry.heard(looked, through, now),
        }
    }

    /// Notes that nobody listens any more.
    fn forget(&self, key: &Key) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.reading = false;
            entry.awaited = None;
        }
    }
}

/// Reads figures and hands them out, for as long as it is polled.
pub(super) async fn run(live: &Live) {
    let mut working = FuturesUnordered::new();
    loop {
        let watched = |(organization, id): &Key| live.hub.is_watched(organization, *id);
        let (taken, more) = live.figures.take(AT_ONCE - working.len(), Instant::now(), watched);
        working.extend(taken.into_iter().map(|job| work(live, job)));
        tokio::select! {
            Some(()) = working.next() => {}
            () = tokio::time::sleep(LOOK_EVERY), if more => {}
            () = live.figures.wake.notified(), if !more => {}
        }
    }
}

async fn work(live: &Live, job: Job) {
    match job {
        Job::Read(due) => {
            let key = (due.topic.organization_id.clone(), due.conversation_id);
            let calling = due.key.calling();
            let mood = Mood::so_far(live, &calling, due.conversation_id);
            let through = send(live, &due, mood).await;
            live.figures.done(&key, due.watched, false, through, Instant::now());
        }
        Job::Look { key, position, awaited } => {
            let Some(due) = live.hub.due(&key.0, key.1, position) else { return live.figures.forget(&key) };
            let mood = Mood::so_far(live, &due.key.calling(), key.1).await;
            let through = match mood.through {
                Some(through) if through >= awaited => send(live, &due, std::future::ready(mood)).await,
                through => through,
            };
            live.figures.done(&key, due.watched, true, through, Instant::now());
        }
    }
}

/// Reads figures and hands them out with what analysers say; returns up to where they had come in what was handed out. What cannot be
/// read now shows nothing of them: it is read when it is looked again, or when something happens again.
async fn send(live: &Live, due: &Due, mood: impl Future<Output = Mood>) -> Option<Position> {
    let calling = due.key.calling();
    let (conversation_id, Position(position)) = (due.conversation_id.to_string(), due.position);
    let figures = transcript::GetFiguresRequest { conversation_id: conversation_id.clone(), min_position: Some(position) };
    let record = conversation::GetConversationRequest { conversation_id, min_position: position, ..Default::default() };
    let (mut transcripts, mut conversations) = (live.transcripts.clone(), live.conversations.clone());
    let (figures, record, mood) =
        tokio::join!(transcripts.get_figures(calling.call(figures)), conversations.get_conversation(calling.call(record)), mood,);
    let Mood { judgement, through } = mood;
    let frames = || {
        let (figures, record) = (figures_so_far(figures).ok()?, record.ok()?.into_inner().conversation?);
        let now = live.clock.now();
        let frame = |judgement| {
            let metrics = Metrics::of(&record, figures.clone(), judgement, now);
            Frame::new(METRICS, None, Some(due.conversation_id), now, metrics)
        };
        let without_mood = frame(None)?;
        let with_mood = if judgement.is_some() { frame(judgement)? } else { without_mood.clone() };
        Some(FigureFrames { with_mood, without_mood })
    };
    let Some(frames) = frames() else { return through.and(Some(Position::START)) };
    live.hub.hand_out_figures(&due.topic, due.conversation_id, &frames);
    through
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ConversationId = ConversationId(uuid::Uuid::nil());

    fn key() -> Key {
        ("acme".parse().unwrap(), ID)
    }

    /// Does what is to be done for a minute, with analysers who have read up to `through`; returns how often it was looked.
    fn looks(figures: &Figures, through: Option<Position>) -> usize {
        let mut count = 0;
        let begun = Instant::now();
        for tick in 0..2_400 {
            let now = begun + LOOK_EVERY * tick;
            for job in figures.take(AT_ONCE, now, |_| true).0 {
                assert!(matches!(job, Job::Look { .. }));
                count += 1;
                figures.done(&key(), true, true, through, now);
            }
        }
        assert!(figures.lock().is_empty(), "nothing is left to look after");
        count
    }

    fn said(position: Position) -> Figures {
        let figures = Figures::default();
        let awaited = Some(Awaited { through: position, looks: 0, look_at: None });
        let entry = Entry { awaited, position, reading: true, ..Entry::new(Instant::now()) };
        figures.lock().insert(key(), entry);
        figures
    }

    #[test]
    fn what_analysers_never_come_to_is_looked_for_a_few_times_only() {
        let position = Position::new(7, 0);
        let figures = said(position);
        figures.done(&key(), true, false, Some(Position::new(6, 0)), Instant::now());
        assert_eq!(looks(&figures, Some(Position::new(6, 0))), ANALYSED_AFTER.len());
        // Once they have, or would not say, nobody looks again.
        for (first, then, expected) in [(Some(Position::START), Some(position), 1), (Some(position), None, 0), (None, None, 0)] {
            let figures = said(position);
            figures.done(&key(), true, false, first, Instant::now());
            assert_eq!(looks(&figures, then), expected, "{first:?}");
        }
    }

    /// Figures are read twice a second for some seconds, because somebody speaks.
    fn read_while_somebody_speaks(figures: &Figures, through: Option<Position>) {
        let begun = Instant::now();
        for tick in 0..7 {
            figures.done(&key(), true, false, through, begun + EVERY * tick);
        }
    }

    #[test]
    fn what_is_read_while_somebody_speaks_uses_up_no_look() {
        let figures = said(Position::new(7, 0));
        read_while_somebody_speaks(&figures, Some(Position::new(6, 0)));
        assert_eq!(looks(&figures, Some(Position::new(6, 0))), ANALYSED_AFTER.len());
        let figures = Figures::default();
        figures.expect(key(), Position::new(9, 0), Position::new(7, 0));
        read_while_somebody_speaks(&figures, Some(Position::new(7, 0)));
        assert_eq!(looks(&figures, Some(Position::new(7, 0))), 1);
        // What shows it leaves nothing to look for.
        figures.expect(key(), Position::new(9, 0), Position::new(7, 0));
        read_while_somebody_speaks(&figures, Some(Position::new(9, 0)));
        assert_eq!(looks(&figures, Some(Position::new(7, 0))), 0);
    }

    #[test]
    fn the_look_is_not_put_off_by_what_is_read() {
        let (figures, now) = (said(Position::new(7, 0)), Instant::now());
        let look_at = || figures.lock()[&key()].look_at();
        figures.done(&key(), true, false, Some(Position::START), now);
        assert_eq!(look_at(), Some(now + ANALYSED_AFTER[0]));
        figures.done(&key(), true, false, Some(Position::START), now + EVERY);
        assert_eq!(look_at(), Some(now + ANALYSED_AFTER[0]));
        figures.done(&key(), true, true, Some(Position::START), now + ANALYSED_AFTER[0]);
        assert_eq!(look_at(), Some(now + ANALYSED_AFTER[0] + ANALYSED_AFTER[1]));
    }

    #[test]
    fn after_a_snapshot_it_is_looked_once() {
        let figures = Figures::default();
        figures.expect(key(), Position::new(9, 0), Position::new(7, 0));
        assert_eq!(looks(&figures, Some(Position::new(7, 0))), 1);
    }

    #[test]
    fn whom_nobody_listens_to_is_forgotten() {
        let figures = said(Position::new(7, 0));
        figures.forget(&key());
        assert_eq!(looks(&figures, None), 0);
    }
}
