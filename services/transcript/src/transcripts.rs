//! Reading transcripts.

use std::sync::Arc;
use std::time::Instant;

use colloquy_service::{Progress, metrics};
use colloquy_types::{ConversationId, OrganizationId};

use crate::error::Error;
use crate::fold::{Transcript, fold};
use crate::kept::{self, Kept};
use crate::payload;
use crate::store::{Conversation, TranscriptStore};

/// More than this is folded on a thread of its own, so that other calls need not wait for it.
pub(crate) const LONG_BYTES: usize = 256 << 10;

/// The transcripts of every organization.
#[derive(Clone)]
pub struct Transcripts {
    store: Arc<dyn TranscriptStore>,
    progress: Progress,
}

impl Transcripts {
    /// Returns the transcripts in `store`, which is complete up to `progress`.
    pub fn new(store: Arc<dyn TranscriptStore>, progress: Progress) -> Self {
        Self { store, progress }
    }

    /// Waits until `min_position` was read, then returns what `make` makes of the transcript.
    ///
    /// # Errors
    /// When there is no such conversation in the organization, it is too long, or `make` says so.
    pub async fn read<T: Send + 'static>(
        &self,
        organization_id: &OrganizationId,
        conversation_id: ConversationId,
        min_position: u64,
        make: impl FnOnce(Transcript) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.progress.wait_for(min_position).await.map_err(Error::NotReached)?;
        let kept = match self.store.conversation(organization_id, conversation_id).await? {
            Conversation::Unknown => return Err(Error::NotFound(conversation_id.to_string())),
            Conversation::TooLong => return Err(Error::TooLong),
            Conversation::Known(kept) => kept,
        };
        let is_long = unpacked_len(kept.iter()) > LONG_BYTES;
        let work = move || make(transcript(conversation_id, &kept)?);
        if is_long { tokio::task::spawn_blocking(work).await? } else { work() }
    }
}

/// What was made of transcripts that were read together.
pub struct Together<T> {
    /// Of each conversation, in the order they were asked for.
    pub made: Vec<T>,
    /// Those for which there was no room.
    pub left_out: Vec<ConversationId>,
}

impl Transcripts {
    /// Waits until `min_position` was read, then returns what `make` makes of the transcripts of those conversations of which anything
    /// was heard, as far as there is room for `bytes`.
    ///
    /// # Errors
    /// When the position is not reached in time, or the store fails.
    pub async fn read_together<T: Send + 'static>(
        &self,
        organization_id: &OrganizationId,
        conversation_ids: &[ConversationId],
        min_position: u64,
        bytes: usize,
        make: impl Fn(ConversationId, Transcript) -> T + Send + 'static,
    ) -> Result<Together<T>, Error> {
        self.progress.wait_for(min_position).await.map_err(Error::NotReached)?;
        let kept = self.store.conversations(organization_id, conversation_ids, bytes).await?;
        // Many short ones are as much work as a long one.
        let is_long = unpacked_len(kept.iter().filter_map(|(_, kept)| kept.as_ref()).flatten()) > LONG_BYTES;
        let work = move || {
            let mut together = Together { made: Vec::with_capacity(kept.len()), left_out: Vec::new() };
            for (id, kept) in kept {
                match kept {
                    None => together.left_out.push(id),
                    Some(kept) => together.made.push(make(id, transcript(id, &kept)?)),
                }
            }
            Ok(together)
        };
        if is_long { tokio::task::spawn_blocking(work).await? } else { work() }
    }
}

fn unpacked_len<'a>(kept: impl Iterator<Item = &'a Kept>) -> usize {
    kept.map(|kept| payload::plain_len(&kept.data)).sum()
}

/// Returns the transcript that `kept` makes.
fn transcript(conversation_id: ConversationId, kept: &[Kept]) -> Result<Transcript, Error> {
    let began = Instant::now();
    let transcript = fold(&kept::events(conversation_id, kept)?);
    metrics::fold_took(crate::NAME, began.elapsed());
    Ok(transcript)
}
