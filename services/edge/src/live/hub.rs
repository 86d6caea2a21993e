//! Who listens to what, and the handing out of what happens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use colloquy_events::{Data, Event};
use colloquy_proto::log::v1 as pb;
use colloquy_types::{ConversationId, OrganizationId, Position};
use tokio::sync::watch;

use super::facts::{Facts, Memory, Narrowing};
use super::frame::{Frame, Frames};
use super::keys::ListeningKey;
use super::kinds::{Kinds, METRICS};
use super::mailbox::Mailbox;

/// Hands what happens to whom it concerns. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Hub(Arc<Shared>);

#[derive(Default)]
struct Shared {
    index: Mutex<Index>,
    /// Whether it is known up to where everything was handed out.
    ready: watch::Sender<bool>,
    /// How many want to listen.
    wanted: watch::Sender<usize>,
}

#[derive(Default)]
struct Index {
    /// Everything up to here was handed out.
    position: Option<Position>,
    organizations: HashMap<Box<str>, Organization>,
}

/// The listeners of an organization.
#[derive(Default)]
struct Organization {
    everything: Vec<Arc<Subscriber>>,
    conversations: HashMap<ConversationId, Vec<Arc<Subscriber>>>,
    /// Kept while anybody listens to the organization, since nobody notes what happens else.
    memory: Memory,
}

/// One listener.
pub(super) struct Subscriber {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) with_words: bool,
    /// Whether what analysers say so far is for it.
    pub(super) with_mood: bool,
    pub(super) kinds: Kinds,
    pub(super) narrowing: Narrowing,
    pub(super) key: Arc<ListeningKey>,
}

/// What is listened to.
#[derive(Clone)]
pub(super) struct Topic {
    pub(super) organization_id: OrganizationId,
    /// One conversation, or all of them.
    pub(super) conversation_id: Option<ConversationId>,
}

/// Somebody listens for as long as this lives.
pub(super) struct Subscription {
    hub: Hub,
    topic: Topic,
    subscriber: Arc<Subscriber>,
}

/// Somebody wants to listen for as long as this lives.
pub(super) struct Wanted(Hub);

/// Figures as they are sent.
pub(super) struct FigureFrames {
    /// For who may know what analysers say so far.
    pub(super) with_mood: Frame,
    /// For everybody else.
    pub(super) without_mood: Frame,
}

/// Figures that changed, and may now be read.
pub(super) struct Due {
    pub(super) topic: Topic,
    pub(super) conversation_id: ConversationId,
    /// Whether somebody listens to just this conversation.
    pub(super) watched: bool,
    pub(super) position: Position,
    /// Whether analysers will have something to say of what happened there.
    pub(super) is_analysed: bool,
    /// In whose name: of somebody who may know what analysers say, if anybody who listens may.
    pub(super) key: Arc<ListeningKey>,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody wants to listen.
    pub(super) fn want(&self) -> Wanted {
        self.0.wanted.send_modify(|wanted| *wanted += 1);
        Wanted(self.clone())
    }

    /// Waits until somebody wants to listen.
    pub(super) async fn wanted(&self) {
        let _ = self.0.wanted.subscribe().wait_for(|wanted| *wanted > 0).await;
    }

    /// Waits until nobody wants to listen.
    pub(super) async fn unwanted(&self) {
        let _ = self.0.wanted.subscribe().wait_for(|wanted| *wanted == 0).await;
    }

    /// Waits until what happens is handed out.
    pub(super) async fn ready(&self) {
        let _ = self.0.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Returns up to where everything was handed out.
    pub(super) fn position(&self) -> Option<Position> {
        self.lock().position
    }

    /// Adds a listener, who gets everything after the position returned; `None` when nothing is handed out right now.
    pub(super) fn subscribe(&self, topic: Topic, subscriber: Subscriber) -> Option<(Subscription, Position)> {
        let subscriber = Arc::new(subscriber);
        let mut index = self.lock();
        let position = index.position?;
        let organization = index.organizations.entry(topic.organization_id.as_str().into()).or_default();
        match topic.conversation_id {
            Some(id) => organization.conversations.entry(id).or_default().push(Arc::clone(&subscriber)),
            None => organization.everything.push(Arc::clone(&subscriber)),
        }
        drop(index);
        Some((Subscription { hub: self.clone(), topic, subscriber }, position))
    }

    /// Lets a listener who was too slow begin anew, after the position returned.
    pub(super) fn restart(&self, mailbox: &Mailbox) -> Option<Position> {
        let index = self.lock();
        let position = index.position?;
        mailbox.restart();
        Some(position)
    }

    /// Hands out what the log tells, and returns whose figures it changed.
    pub(super) fn dispatch(&self, told: pb::TailResponse) -> Option<Due> {
        let position = Position(told.position);
        let mut index = self.lock();
        let before = index.position.replace(position);
        if let Some(before) = before
            && before >= position
        {
            index.position = Some(before);
            return None;
        }
        let due = index.hand_out(position, &told.organization_id, told.event);
        if before.is_none() {
            // Who listened before the log was lost from sight missed something.
            index.everybody().for_each(|subscriber| subscriber.mailbox.lose());
            self.0.ready.send_replace(true);
        }
        due
    }

    /// Hands figures to whoever listens to the conversation and wants them, each as they may be seen.
    pub(super) fn hand_out_figures(&self, topic: &Topic, conversation_id: ConversationId, frames: &FigureFrames) {
        let mut index = self.lock();
        let Some(organization) = index.organizations.get_mut(topic.organization_id.as_str()) else { return };
        let facts = organization.memory.get(conversation_id);
        let of_conversation = organization.conversations.get(&conversation_id).into_iter().flatten();
        let metrics = Kinds::of(METRICS);
        for subscriber in of_conversation.chain(&organization.everything).filter(|subscriber| subscriber.kinds.have(metrics)) {
            let wants = subscriber.narrowing.wants(facts);
            if wants != Some(false) {
                let frame = if subscriber.with_mood { &frames.with_mood } else { &frames.without_mood };
                subscriber.mailbox.push(frame, wants.is_none());
            }
        }
    }

    /// Returns the figures of a conversation as due, if anybody listens to them.
    pub(super) fn due(&self, organization: &OrganizationId, id: ConversationId, position: Position) -> Option<Due> {
        self.lock().organizations.get(organization.as_str())?.due(id, position, false)
    }

    /// Returns whether anybody listens to just this conversation.
    pub(super) fn is_watched(&self, organization: &OrganizationId, id: ConversationId) -> bool {
        self.lock().organizations.get(organization.as_str()).is_some_and(|listeners| listeners.conversations.contains_key(&id))
    }

    /// Returns whether a conversation is wanted, as far as that is known.
    pub(super) fn wants(&self, topic: &Topic, conversation_id: ConversationId, narrowing: &Narrowing) -> Option<bool> {
        let mut index = self.lock();
        let facts = index.organizations.get_mut(topic.organization_id.as_str());
        narrowing.wants(facts.and_then(|organization| organization.memory.get(conversation_id)))
    }

    /// Notes what a conversation's record says.
    pub(super) fn learn(&self, topic: &Topic, conversation_id: ConversationId, facts: Facts) {
        if let Some(organization) = self.lock().organizations.get_mut(topic.organization_id.as_str())
            && !organization.everything.is_empty()
        {
            organization.memory.put(conversation_id, facts);
        }
    }

    /// Ends the handing out, unless somebody came meanwhile; returns whether it ended.
    pub(super) fn rest(&self) -> bool {
        let mut index = self.lock();
        if !index.organizations.is_empty() || *self.0.wanted.borrow() > 0 {
            return false;
        }
        index.position = None;
        self.0.ready.send_replace(false);
        true
    }

    /// Notes that what happened after the position cannot be had: listeners begin anew once it is known where the log stands.
    pub(super) fn lose_sight(&self) {
        let mut index = self.lock();
        index.position = None;
        index.organizations.values_mut().for_each(|organization| organization.memory = Memory::default());
        self.0.ready.send_replace(false);
    }
}

impl Index {
    fn everybody(&self) -> impl Iterator<Item = &Arc<Subscriber>> {
        self.organizations
            .values()
            .flat_map(|organization| organization.everything.iter().chain(organization.conversations.values().flatten()))
    }

    fn hand_out(&mut self, position: Position, organization_id: &str, event: Option<pb::Event>) -> Option<Due> {
        let event = event?;
        let organization = self.organizations.get_mut(organization_id)?;
        let conversation_id: ConversationId = event.conversation_id.parse().ok()?;
        let watching = organization.conversations.get(&conversation_id).map_or(&[][..], Vec::as_slice);
        if watching.is_empty() && organization.everything.is_empty() {
            return None;
        }
        // A kind this release does not know can be shown to nobody.
        let mut frames = Frames::new(position, Event::try_from(event).ok().filter(|event| event.data.is_public())?);
        if !organization.everything.is_empty() {
            organization.memory.learn(conversation_id, frames.data());
        }
        for subscriber in watching {
            if let Some(frame) = frames.get(subscriber.with_words) {
                subscriber.mailbox.push(frame, false);
            }
        }
        let kind = Kinds::of(frames.data().kind());
        for subscriber in organization.everything.iter().filter(|subscriber| subscriber.kinds.have(kind)) {
            let wants = match subscriber.narrowing.is_none() {
                true => Some(true),
                // Who asks for some conversations does not ask for what is about none.
                false if frames.are_about_no_conversation() => Some(false),
                false => subscriber.narrowing.wants(organization.memory.get(conversation_id)),
            };
            if wants != Some(false)
                && let Some(frame) = frames.get(subscriber.with_words)
            {
                subscriber.mailbox.push(frame, wants.is_none());
            }
        }
        if !changes_figures(frames.data()) {
            return None;
        }
        organization.due(conversation_id, position, is_analysed(frames.data()))
    }
}

impl Organization {
    /// Returns the figures of a conversation as due, if anybody listens to them.
    fn due(&self, conversation_id: ConversationId, position: Position, is_analysed: bool) -> Option<Due> {
        let metrics = Kinds::of(METRICS);
        let for_figures = |subscriber: &&Arc<Subscriber>| subscriber.kinds.have(metrics);
        let watching = self.conversations.get(&conversation_id).map_or(&[][..], Vec::as_slice);
        let mut listening = watching.iter().chain(&self.everything).filter(for_figures).peekable();
        let first = *listening.peek()?;
        // Read once for all of them: what only some may see is then left out for the others.
        let reads = listening.find(|subscriber| subscriber.with_mood).unwrap_or(first);
        let organization_id = reads.key.identity.organization_id.clone();
        let topic = Topic { organization_id, conversation_id: Some(conversation_id) };
        let (watched, key) = (watching.iter().any(|subscriber| for_figures(&subscriber)), Arc::clone(&reads.key));
        Some(Due { topic, conversation_id, watched, position, is_analysed, key })
    }
}

fn changes_figures(data: &Data) -> bool {
    data.is_about_turns()
        || matches!(data, Data::Started(_) | Data::Updated(_) | Data::Ended(_) | Data::Analyzed(_) | Data::SpeechUpdated(_))
}

/// Returns whether analytics looks at a conversation again because of it: not for what passes, nor for what it said itself.
fn is_analysed(data: &Data) -> bool {
    match data {
        Data::SpeechUpdated(_) => false,
        Data::Analyzed(analysis) => !analysis.authority.is_own(),
        data => changes_figures(data),
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut index = self.hub.lock();
        let name = self.topic.organization_id.as_str();
        let Some(organization) = index.organizations.get_mut(name) else { return };
        let is_other = |other: &Arc<Subscriber>| !Arc::ptr_eq(other, &self.subscriber);
        match self.topic.conversation_id {
            Some(id) => {
                if let Some(listeners) = organization.conversations.get_mut(&id) {
                    listeners.retain(is_other);
                    if listeners.is_empty() {
                        organization.conversations.remove(&id);
                    }
                }
            }
            None => {
                organization.everything.retain(is_other);
                if organization.everything.is_empty() {
                    organization.memory = Memory::default();
                }
            }
        }
        if organization.everything.is_empty() && organization.conversations.is_empty() {
            index.organizations.remove(name);
        }
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.0.wanted.send_modify(|wanted| *wanted -= 1);
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::{Role, Turn};
    use colloquy_service::Identity;
    use colloquy_types::{EventId, KeyId, Provider, Timestamp, TurnId};
    use tokio_util::sync::CancellationToken;

    use super::super::keys::{Keys, Seat};
    use super::super::mailbox::Next;
    use super::super::settings::StreamSettings;
    use super::*;

    fn seat() -> Seat {
        let (key_id, organization_id) = (KeyId::generate(), "acme".parse().unwrap());
        let identity = Identity { key_id, organization_id, scopes: "conversations:read".parse().unwrap() };
        let keys = Arc::new(Keys::new(&StreamSettings::default(), CancellationToken::new()));
        keys.enter("k", Arc::new(identity), Mailbox::new(4, 1_000)).unwrap()
    }

    fn subscriber(seat: &Seat) -> Subscriber {
        let (mailbox, key) = (Arc::clone(&seat.mailbox), Arc::clone(&seat.key));
        Subscriber { mailbox, with_words: true, with_mood: false, kinds: Kinds::ALL, narrowing: Narrowing::default(), key }
    }

    fn progress(position: Position) -> pb::TailResponse {
        pb::TailResponse { position: position.0, ..Default::default() }
    }

    fn said(position: Position, conversation_id: ConversationId) -> pb::TailResponse {
        let event = Event {
            event_id: EventId::generate(),
            conversation_id,
            provider: Provider::Native,
            external_id: "c".to_owned(),
            occurred_at: Timestamp::default(),
            ordinal: 0,
            data: Data::TurnAdded(Turn::new(TurnId::generate(), Role::User)),
        };
        pb::TailResponse { organization_id: "acme".to_owned(), event: Some(event.into()), ..progress(position) }
    }

    fn topic(conversation_id: Option<ConversationId>) -> Topic {
        Topic { organization_id: "acme".parse().unwrap(), conversation_id }
    }

    #[test]
    fn each_position_is_handed_out_once_and_only_to_whom_it_concerns() {
        let (hub, one, other) = (Hub::default(), ConversationId::generate(), ConversationId::generate());
        let seats = [seat(), seat()];
        assert!(hub.subscribe(topic(None), subscriber(&seats[0])).is_none(), "nobody knows yet where the log stands");
        hub.dispatch(progress(Position::end_of(1)));
        let (watching, begins_at) = hub.subscribe(topic(Some(one)), subscriber(&seats[0])).unwrap();
        let (_everything, _) = hub.subscribe(topic(None), subscriber(&seats[1])).unwrap();
        assert_eq!(begins_at, Position::end_of(1));
        assert!(hub.dispatch(said(Position::new(2, 0), one)).is_some_and(|due| due.watched));
        assert!(hub.dispatch(said(Position::new(2, 0), one)).is_none(), "it was handed out before");
        assert!(hub.dispatch(said(Position::new(2, 1), other)).is_some_and(|due| !due.watched));
        let received = |seat: &Seat| {
            let next = std::iter::from_fn(|| seat.mailbox.try_next());
            next.map(|next| matches!(next, Next::Frame(_))).filter(|is_frame| *is_frame).count()
        };
        assert_eq!((received(&seats[0]), received(&seats[1])), (1, 2));
        assert!(!hub.rest(), "somebody listens");
        drop(watching);
        hub.dispatch(said(Position::new(3, 0), one));
        assert_eq!((received(&seats[0]), received(&seats[1])), (0, 1));
    }

    #[test]
    fn a_log_that_was_lost_from_sight_lets_everybody_begin_anew() {
        let (hub, seat) = (Hub::default(), seat());
        hub.dispatch(progress(Position::end_of(7)));
        let (subscription, _) = hub.subscribe(topic(None), subscriber(&seat)).unwrap();
        hub.lose_sight();
        assert!(hub.restart(&seat.mailbox).is_none() && seat.mailbox.try_next().is_none());
        hub.dispatch(progress(Position::end_of(2)));
        assert!(matches!(seat.mailbox.try_next(), Some(Next::Lagged(_))));
        assert_eq!(hub.restart(&seat.mailbox), Some(Position::end_of(2)));
        assert!(seat.mailbox.try_next().is_none());
        drop(subscription);
        assert!(hub.rest() && hub.position().is_none());
    }
}
