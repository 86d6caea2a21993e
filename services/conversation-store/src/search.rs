//! Lists of conversations in which something was said: transcript knows which those are, the store which of them a list holds.

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use colloquy_proto::transcript::v1 as pb;
use colloquy_proto::transcript::v1::transcript_service_client::TranscriptServiceClient;
use colloquy_service::Problem;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_types::{OrganizationId, Timestamp};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::error::Error;
use crate::list::{Cursor, Query};
use crate::store::{ConversationStore, Kept, Page};

/// Words said in more conversations than this are common: instead of listing where they were said, conversations of the list are
/// looked through for them.
const MOST_LISTED: u32 = 10_000;
/// How many conversations are looked through at once, and how often for one page. A page of words that are said in few of the list's
/// conversations ends before it is full then, with a token to go on.
const LOOKED_THROUGH: usize = 1_000;
const MOST_LOOKS: usize = 20;
/// The first look for a page is smaller: common words are soon found.
const FIRST_LOOK: usize = 100;

/// What is searched for, and from which position on it must be known.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    /// In the language of `SearchTurns`.
    pub(crate) words: String,
    /// Everything up to here must have been indexed.
    pub(crate) min_position: u64,
}

/// The transcripts of this installation, called as itself.
#[derive(Clone)]
pub(crate) struct Transcripts {
    client: TranscriptServiceClient<Transport>,
}

impl Transcripts {
    /// Returns the transcripts behind a transport that carries the service token.
    pub(crate) fn new(transport: Transport) -> Self {
        Self { client: TranscriptServiceClient::new(transport).max_decoding_message_size(MAX_MESSAGE_BYTES) }
    }

    /// Returns in which conversations, of `among` or of all, the words were said; `None` when of all they are too many.
    async fn said_in(
        &self,
        search: &Search,
        organization: &OrganizationId,
        among: Vec<String>,
    ) -> Result<Option<Vec<Uuid>>, Error> {
        let request = pb::MatchConversationsRequest {
            query: search.words.clone(),
            limit: if among.is_empty() { MOST_LISTED } else { 0 },
            conversation_ids: among,
            min_position: search.min_position,
            organization_id: organization.to_string(),
        };
        let answer = self.client.clone().match_conversations(request).await.map_err(refused)?.into_inner();
        if answer.truncated {
            return Ok(None);
        }
        let ids = answer.conversation_ids.iter().map(|id| id.parse::<Uuid>());
        let ids: Result<Vec<Uuid>, _> = ids.collect();
        let mut ids = ids.map_err(|_| Error::Search(Status::internal("transcript answered an id that is none")))?;
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(ids))
    }

    /// Returns those of the candidates in which the words were said, in their order.
    async fn said_in_these(
        &self,
        search: &Search,
        organization: &OrganizationId,
        candidates: &[Cursor],
    ) -> Result<Vec<Cursor>, Error> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let among = candidates.iter().map(|candidate| candidate.after.id.to_string()).collect();
        let said: HashSet<Uuid> = self.said_in(search, organization, among).await?.unwrap_or_default().into_iter().collect();
        Ok(candidates.iter().copied().filter(|candidate| said.contains(&candidate.after.id)).collect())
    }

    /// Returns a page of the conversations of a list in which the words were said.
    pub(crate) async fn page(
        &self,
        store: &dyn ConversationStore,
        search: &Search,
        query: Query,
        now: Timestamp,
    ) -> Result<Page, Error> {
        let is_known_as_common = query.cursor.is_some_and(|cursor| cursor.common);
        if !is_known_as_common && let Some(ids) = self.said_in(search, &query.organization_id, Vec::new()).await? {
            if ids.is_empty() {
                return Ok(Page { conversations: Vec::new(), next: None, total: query.count.then_some(0) });
            }
            return Ok(store.page(&Query { among: Some(ids), ..query }, now).await?);
        }
        let total = if query.count { Some(self.count(store, search, &query, now).await?) } else { None };
        let (conversations, next) = self.look_through(store, search, query, now).await?;
        Ok(Page { conversations, next, total })
    }

    /// Looks through a list until a page is full.
    async fn look_through(
        &self,
        store: &dyn ConversationStore,
        search: &Search,
        query: Query,
        now: Timestamp,
    ) -> Result<(Vec<Kept>, Option<Cursor>), Error> {
        let wanted = query.limit;
        let organization = query.organization_id.clone();
        let mut look = Query { limit: wanted.max(FIRST_LOOK), count: false, ..query };
        let mut found: Vec<Cursor> = Vec::new();
        let mut next = None;
        for _ in 0..MOST_LOOKS {
            let candidates = store.candidates(&look, now).await?;
            let said = self.said_in_these(search, &organization, &candidates.places).await?;
            let is_full = found.len() + said.len() > wanted;
            found.extend(said);
            if is_full {
                found.truncate(wanted);
                next = found.last().copied();
                break;
            }
            next = candidates.places.last().copied().filter(|_| candidates.has_more);
            if next.is_none() {
                break;
            }
            look.cursor = next;
            look.limit = LOOKED_THROUGH;
        }
        let conversations = store.records(&organization, &found).await?;
        Ok((conversations, next.map(|next| Cursor { common: true, ..next })))
    }

    /// Counts the conversations of a list in which common words were said, if the list is short enough to look through.
    async fn count(&self, store: &dyn ConversationStore, search: &Search, query: &Query, now: Timestamp) -> Result<i64, Error> {
        let mut look = Query { limit: LOOKED_THROUGH, cursor: None, count: false, ..query.clone() };
        let mut count = 0;
        for _ in 0..MOST_LOOKS {
            let candidates = store.candidates(&look, now).await?;
            count += self.said_in_these(search, &query.organization_id, &candidates.places).await?.len() as i64;
            look.cursor = candidates.places.last().copied().filter(|_| candidates.has_more);
            if look.cursor.is_none() {
                return Ok(count);
            }
        }
        Err(Error::Uncountable)
    }
}

/// What was wrong with the words is wrong with the list's `search`.
fn refused(status: Status) -> Error {
    if status.code() != Code::InvalidArgument {
        return Error::Search(status);
    }
    let mut problem = Problem::from_status(&status);
    for bad in &mut problem.fields {
        if bad.field == "query" {
            bad.field = "search".to_owned();
        }
    }
    if problem.fields.is_empty() { Error::Search(status) } else { Problem::invalid(problem.fields).into() }
}
