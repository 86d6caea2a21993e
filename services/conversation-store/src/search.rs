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
use crate::store::{ConversationStore, Page};

/// Where words were said in no more conversations than this, the list is narrowed to those at once.
const FEW: u32 = 1_000;
/// Words said in more are frequent: in so many looks at the list a page of them is often full, and nobody need know where else they were
/// said.
const FIRST_LOOKS: usize = 3;
/// Words said in more conversations than this are common: the list is not narrowed to where they were said, but looked through.
const MOST_LISTED: u32 = 10_000;
/// How many conversations are looked through at once, and how often for one page. A page of words that are said in few of the list's
/// conversations ends before it is full then, with a token to go on.
const LOOKED_THROUGH: usize = 1_000;
const MOST_LOOKS: usize = 20;
/// The first look for a page is smaller: the most common words are soon found.
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

    /// Returns in which conversations, of `among` or of all, the words were said; `None` when of all they are more than `limit`.
    async fn said_in(
        &self,
        search: &Search,
        organization: &OrganizationId,
        among: Vec<String>,
        limit: u32,
    ) -> Result<Option<Vec<Uuid>>, Error> {
        let request = pb::MatchConversationsRequest {
            query: search.words.clone(),
            limit,
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
        let said: HashSet<Uuid> = self.said_in(search, organization, among, 0).await?.unwrap_or_default().into_iter().collect();
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
        let (mut is_frequent, mut is_common) = query.cursor.map_or((false, false), |cursor| (cursor.frequent, cursor.common));
        if !is_frequent && !is_common {
            match self.said_in(search, &query.organization_id, Vec::new(), FEW).await? {
                Some(ids) => return listed_among(store, query, ids, now).await,
                None => is_frequent = true,
            }
        }
        let mut walk = Walk::of(&query);
        if !is_common {
            while !query.count && walk.looks < FIRST_LOOKS {
                if walk.look(self, store, search, now).await? {
                    return walk.page(store, (is_frequent, is_common), None).await;
                }
            }
            match self.said_in(search, &query.organization_id, Vec::new(), MOST_LISTED).await? {
                Some(ids) => return listed_among(store, query, ids, now).await,
                None => is_common = true,
            }
        }
        let total = if query.count { Some(self.count(store, search, &query, now).await?) } else { None };
        while walk.looks < MOST_LOOKS && !walk.look(self, store, search, now).await? {}
        walk.page(store, (is_frequent, is_common), total).await
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

/// A list being looked through for one page.
struct Walk {
    /// What is looked at next.
    look: Query,
    wanted: usize,
    found: Vec<Cursor>,
    looks: usize,
    /// Where the next page begins, as far as is known.
    next: Option<Cursor>,
}

impl Walk {
    fn of(query: &Query) -> Self {
        let look = Query { limit: query.limit.max(FIRST_LOOK), count: false, ..query.clone() };
        Self { look, wanted: query.limit, found: Vec::new(), looks: 0, next: None }
    }

    /// Looks at the next conversations of the list; returns whether the page is complete: full, or the list at its end.
    async fn look(
        &mut self,
        transcripts: &Transcripts,
        store: &dyn ConversationStore,
        search: &Search,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let candidates = store.candidates(&self.look, now).await?;
        let said = transcripts.said_in_these(search, &self.look.organization_id, &candidates.places).await?;
        self.looks += 1;
        let is_full = self.found.len() + said.len() > self.wanted;
        self.found.extend(said);
        if is_full {
            self.found.truncate(self.wanted);
            self.next = self.found.last().copied();
            return Ok(true);
        }
        self.next = candidates.places.last().copied().filter(|_| candidates.has_more);
        self.look.cursor = self.next;
        self.look.limit = LOOKED_THROUGH;
        Ok(self.next.is_none())
    }

    /// Returns what was found. What is known of the words (that they are frequent, or common) goes on with the walk.
    async fn page(
        self,
        store: &dyn ConversationStore,
        (frequent, common): (bool, bool),
        total: Option<i64>,
    ) -> Result<Page, Error> {
        let conversations = store.records(&self.look.organization_id, &self.found).await?;
        Ok(Page { conversations, next: self.next.map(|next| Cursor { frequent, common, ..next }), total })
    }
}

/// Returns a page of a list narrowed to these conversations.
async fn listed_among(store: &dyn ConversationStore, query: Query, ids: Vec<Uuid>, now: Timestamp) -> Result<Page, Error> {
    if ids.is_empty() {
        return Ok(Page { conversations: Vec::new(), next: None, total: query.count.then_some(0) });
    }
    Ok(store.page(&Query { among: Some(ids), ..query }, now).await?)
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
