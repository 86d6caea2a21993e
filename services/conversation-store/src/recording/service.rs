//! Keeping and reading recordings.

use std::sync::Arc;

use bytes::Bytes;
use colloquy_events::RecordingChannel;
use colloquy_proto::conversation::v1::ByteRange;
use colloquy_service::{Problem, Progress};
use colloquy_types::{ConversationId, OrganizationId};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::error::Error;
use super::journal::{self, Described, Journal};
use super::media_type;
use super::objects::{ObjectKey, Objects, ObjectsError, StoredObject, Upload};
use super::range::{self, BadRange};
use super::store::{Kept, RecordingStore};
use crate::turn_events::Named;

/// The recordings of every organization.
pub(crate) struct Recordings {
    pub(crate) store: Arc<dyn RecordingStore>,
    pub(crate) objects: Objects,
    pub(crate) journal: Journal,
    pub(crate) progress: Progress,
}

/// A recording that is being sent.
pub(crate) struct Incoming {
    conversation: Named,
    channel: RecordingChannel,
    content_type: String,
    upload: Upload,
}

impl Incoming {
    /// Takes the next bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.upload.write(bytes).await?)
    }
}

/// A recording, or the part of it that was asked for.
pub(crate) struct Outgoing {
    pub(crate) content_type: String,
    pub(crate) sha256: String,
    /// The size of the whole.
    pub(crate) size: u64,
    /// The first byte that follows.
    pub(crate) first: u64,
    /// How many bytes follow.
    pub(crate) length: u64,
    pub(crate) bytes: BoxStream<'static, Result<Bytes, ObjectsError>>,
}

/// What of a recording is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) channel: Option<RecordingChannel>,
    pub(crate) range: Option<ByteRange>,
    pub(crate) head_only: bool,
    pub(crate) min_position: u64,
}

impl Recordings {
    /// Begins to take a recording of an existing conversation.
    pub(crate) async fn begin(
        &self,
        organization: OrganizationId,
        id: ConversationId,
        channel: RecordingChannel,
        content_type: String,
    ) -> Result<Incoming, Error> {
        let conversation = self.store.conversation(&organization, id).await?.ok_or(Error::ConversationNotFound(id))?;
        Ok(Incoming { conversation, channel, content_type, upload: self.objects.upload(organization) })
    }

    /// Keeps a recording that was sent whole. Returns what was stored and the position after which it can be read.
    pub(crate) async fn complete(&self, incoming: Incoming) -> Result<(StoredObject, u64), Error> {
        let Incoming { conversation, channel, content_type, upload } = incoming;
        if upload.size() == 0 {
            return Err(ObjectsError::Empty.into());
        }
        let content_type = media_type::settle(media_type::sniff(upload.head()), &[&content_type]).ok_or_else(|| {
            let message = "must name a kind of recording (audio/…, video/mp4, application/ogg), since the bytes do not tell it";
            Problem::invalid_field("head.content_type", message)
        })?;
        let duration_ms = media_type::duration_ms(upload.head(), upload.size());
        let object = upload.finish().await?;
        let described = Described { channel, content_type, duration_ms };
        let position = if self.was_replaced(&conversation, channel, &object).await? {
            self.journal.restored(&conversation, &object, described).await?
        } else {
            self.journal.stored(&conversation, &object, described).await?
        };
        // It is kept whether or not the view has caught up by now; whoever reads with the position waits.
        self.progress.wait_for(position.0).await.ok();
        Ok((object, position.0))
    }

    /// Returns whether this content was the channel's recording before another one was put in its place.
    async fn was_replaced(&self, conversation: &Named, channel: RecordingChannel, object: &StoredObject) -> Result<bool, Error> {
        let organization = object.key.organization();
        let kept = self.store.kept(organization, conversation.conversation_id).await?;
        let key = object.key.to_string();
        if !kept.iter().any(|kept| kept.channel == channel && kept.object_key != key) {
            return Ok(false);
        }
        let stored = journal::stored_id(conversation.conversation_id, channel, object.key.sha256());
        Ok(self.store.events(organization, conversation).await?.iter().any(|event| event.event_id == stored))
    }

    /// Opens a recording for reading.
    pub(crate) async fn open(
        &self,
        organization: &OrganizationId,
        id: ConversationId,
        wanted: Wanted,
    ) -> Result<Outgoing, Error> {
        self.progress.wait_for(wanted.min_position).await?;
        let kept = self.store.kept(organization, id).await?;
        if kept.is_empty() && self.store.conversation(organization, id).await?.is_none() {
            return Err(Error::ConversationNotFound(id));
        }
        let kept = choose(kept, wanted.channel).ok_or(Error::RecordingNotFound(id))?;
        let key = ObjectKey::read(organization, &kept.object_key).ok_or(Error::RecordingNotFound(id))?;
        let size = self.objects.size(&key).await?.ok_or_else(|| {
            tracing::warn!(conversation.id = %id, "a recording of conversation {id} is not in the object store");
            Error::RecordingNotFound(id)
        })?;
        let range = range::resolve(wanted.range, size).map_err(|bad| match bad {
            BadRange::Reversed => Problem::invalid_field("range.last", "must not lie before 'first'").into(),
            BadRange::NotSatisfiable => Error::RangeNotSatisfiable { size },
        })?;
        let (first, length) = (range.start, range.end - range.start);
        let bytes = if wanted.head_only { futures::stream::empty().boxed() } else { self.objects.read(&key, range) };
        // An event may claim any media type; only one of a recording is passed on.
        let content_type = kept.content_type.and_then(|claim| media_type::named(&claim));
        let content_type = content_type.unwrap_or_else(|| media_type::UNKNOWN.to_owned());
        Ok(Outgoing { content_type, sha256: key.sha256().to_owned(), size, first, length, bytes })
    }
}

/// Returns the recording of `channel`; without one the mixed recording, or the only one there is.
fn choose(kept: Vec<Kept>, channel: Option<RecordingChannel>) -> Option<Kept> {
    let only = channel.is_none() && kept.len() == 1;
    let wanted = channel.unwrap_or(RecordingChannel::Mixed);
    kept.into_iter().find(|kept| only || kept.channel == wanted)
}
