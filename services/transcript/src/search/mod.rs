//! Search: which turns hold what was asked for, and where.
//!
//! Both engines are given the same tokens ([`tokens`]), and queries are written from tokens as well ([`query`]), so that they find the
//! same. An index of turns ([`store`]) is kept by a reader of its own ([`reader`]) from the folded transcripts ([`entry`]); it holds no text:
//! what a hit shows ([`mod@snippet`]) is read where transcripts are.

pub mod convert;
pub mod entry;
pub mod query;
pub mod reader;
pub mod snippet;
pub mod store;
pub mod tokens;

use std::collections::HashMap;
use std::sync::Arc;

use colloquy_events::{Role, Turn};
use colloquy_service::Progress;
use colloquy_storage::PageTokens;
use colloquy_types::{ConversationId, OrganizationId, Timestamp, TurnId};
use serde::Serialize;

use self::convert::{Matches, SearchTurns};
use self::query::Query;
use self::snippet::{Snippet, snippet};
use self::store::{Find, Found, Matching, Order, Place, SearchStore};
use crate::error::Error;
use crate::fold::Transcript;
use crate::store::many::PART_BYTES;
use crate::timing;
use crate::transcripts::{Together, Transcripts};

/// How much the length of a turn counts, and how often a word does at most: the constants of BM25.
const B: f64 = 0.75;
const K1: f64 = 1.2;
/// How many words a usual turn has.
const USUAL_LENGTH: f64 = 20.0;

/// A turn that was found, as it is shown.
#[derive(Clone, PartialEq, Debug)]
pub struct Hit {
    /// Where it stands.
    pub found: Found,
    /// A part of it.
    pub snippet: Snippet,
    /// Milliseconds from the start of the conversation.
    pub start_ms: Option<i64>,
    /// How well it fits; only when ordered by that.
    pub relevance: Option<f64>,
}

impl Hit {
    /// Returns when it was said.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.found.at).unwrap_or_default()
    }
}

/// Hits, in order, and where they go on.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// The hits.
    pub hits: Vec<Hit>,
    /// The token of the next page; empty when this is the last.
    pub next_page_token: String,
}

/// What must stay the same from page to page.
#[derive(Serialize)]
struct Walk<'a> {
    organization_id: &'a str,
    query: &'a Query,
    roles: Vec<&'static str>,
    agent_id: Option<&'a str>,
    conversation_id: Option<String>,
    from: Option<i64>,
    before: Option<i64>,
    order: Order,
}

/// Finds what was said.
#[derive(Clone)]
pub struct Search {
    index: Arc<dyn SearchStore>,
    transcripts: Transcripts,
    progress: Progress,
    page_tokens: PageTokens,
    is_on: bool,
}

impl Search {
    /// Returns search over `index`, which is complete up to `progress`, of turns that `transcripts` has.
    pub fn new(index: Arc<dyn SearchStore>, transcripts: Transcripts, progress: Progress, page_tokens: PageTokens) -> Self {
        Self { index, transcripts, progress, page_tokens, is_on: true }
    }

    /// Returns search that is switched off unless `is_on`: then the index may be out of date, and nothing is found in it.
    pub fn switched(self, is_on: bool) -> Self {
        Self { is_on, ..self }
    }

    async fn wait_for(&self, min_position: u64) -> Result<(), Error> {
        if !self.is_on {
            return Err(Error::SearchOff);
        }
        self.progress.wait_for(min_position).await.map_err(Error::NotReached)
    }

    /// Returns a page of the turns that fit.
    ///
    /// # Errors
    /// When the page token is not one of this search, or the index has not come as far as was asked.
    pub async fn turns(&self, organization_id: &OrganizationId, request: SearchTurns) -> Result<Page, Error> {
        let conversation_id = request.conversation.as_ref().map(|name| name.id(organization_id));
        let walk = Walk {
            organization_id: organization_id.as_str(),
            query: &request.query,
            roles: request.roles.iter().map(|role| role.as_str()).collect(),
            agent_id: request.agent_id.as_deref(),
            conversation_id: conversation_id.map(|id| id.to_string()),
            from: request.from.map(Timestamp::as_millis),
            before: request.before.map(Timestamp::as_millis),
            order: request.order,
        };
        let after: Option<Place> = match request.page_token.as_str() {
            "" => None,
            token => Some(self.page_tokens.open(&walk, token)?),
        };
        self.wait_for(request.min_position).await?;
        let find = Find {
            organization_id,
            query: &request.query,
            roles: &request.roles,
            agent_id: request.agent_id.as_deref(),
            conversation_id,
            from: walk.from,
            before: walk.before,
            order: request.order,
            after,
            // One more tells whether there is another page.
            limit: request.page_size + 1,
        };
        let mut found = self.index.find(&find).await?;
        let page_size = usize::try_from(request.page_size).unwrap_or(usize::MAX);
        let has_more = found.len() > page_size;
        found.truncate(page_size);
        let last = found.last().filter(|_| has_more);
        let next_page_token = last.map(|last| self.page_tokens.seal(&walk, &last.place())).unwrap_or_default();
        let hits = self.hits(organization_id, found, &request).await?;
        Ok(Page { hits, next_page_token })
    }

    /// Returns the conversations in which it was said.
    ///
    /// # Errors
    /// When the index has not come as far as was asked.
    pub async fn conversations(&self, organization_id: &OrganizationId, request: &Matches) -> Result<Matching, Error> {
        self.wait_for(request.min_position).await?;
        Ok(self.index.matching(organization_id, &request.query, &request.among, request.limit).await?)
    }

    /// Reads what was said. A turn that is no more, since the index is a moment behind, is left out.
    async fn hits(&self, organization_id: &OrganizationId, found: Vec<Found>, request: &SearchTurns) -> Result<Vec<Hit>, Error> {
        let mut wanted: HashMap<ConversationId, Vec<TurnId>> = HashMap::new();
        for found in &found {
            wanted.entry(found.conversation_id).or_default().push(found.turn_id);
        }
        let mut rest: Vec<ConversationId> = wanted.keys().copied().collect();
        let wanted = Arc::new(wanted);
        let mut said: HashMap<(ConversationId, TurnId), Said> = HashMap::new();
        while !rest.is_empty() {
            let (wanted, query) = (Arc::clone(&wanted), request.query.clone());
            let say = move |id, transcript| said_in(id, &transcript, &wanted, &query);
            let together = self.transcripts.read_together(organization_id, &rest, 0, PART_BYTES, say.clone()).await?;
            let Together { made, mut left_out } = together;
            if made.is_empty()
                && let Some(long) = left_out.pop()
            {
                match self.transcripts.read(organization_id, long, 0, move |transcript| Ok(say(long, transcript))).await {
                    Ok(alone) => said.extend(alone),
                    Err(Error::TooLong | Error::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            said.extend(made.into_iter().flatten());
            rest = left_out;
        }
        let ranked = request.order == Order::Relevance;
        let hits = found.into_iter().filter_map(|found| {
            let Said { snippet, start_ms } = said.remove(&(found.conversation_id, found.turn_id))?;
            let relevance = ranked.then(|| relevance(&request.query, found.length));
            Some(Hit { found, snippet, start_ms, relevance })
        });
        Ok(hits.collect())
    }
}

/// What is shown of a turn.
struct Said {
    snippet: Snippet,
    start_ms: Option<i64>,
}

fn said_in(
    conversation_id: ConversationId,
    transcript: &Transcript,
    wanted: &HashMap<ConversationId, Vec<TurnId>>,
    query: &Query,
) -> Vec<((ConversationId, TurnId), Said)> {
    let timings = timing::of_turns(&transcript.turns, transcript.duration_ms);
    let by_id: HashMap<TurnId, usize> =
        transcript.turns.iter().enumerate().rev().map(|(number, turn)| (turn.turn_id, number)).collect();
    let say = |turn_id: &TurnId| {
        let number = *by_id.get(turn_id)?;
        let turn: &Turn = &transcript.turns[number];
        let start_ms = timings[number].map(|timing| timing.start_ms).or(turn.start_ms);
        let snippet = snippet(turn.heard().unwrap_or_default(), query);
        Some(((conversation_id, *turn_id), Said { snippet, start_ms }))
    };
    wanted.get(&conversation_id).into_iter().flatten().filter_map(say).collect()
}

/// Returns how well a turn of so many words fits: BM25 with every term counted once and all of them equally rare, since each has to be
/// there. So it falls with the length of the turn, and is the same on both engines.
fn relevance(query: &Query, length: u32) -> f64 {
    let one = (K1 + 1.0) / (1.0 + K1 * (1.0 - B + B * f64::from(length) / USUAL_LENGTH));
    one * query.wanted.len() as f64
}

/// The roles of those who speak.
pub const SPOKEN: [Role; 3] = [Role::Agent, Role::User, Role::HumanAgent];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relevance_falls_with_the_length_and_grows_with_what_was_asked() {
        let query = |text: &str| text.parse::<Query>().unwrap();
        assert!(relevance(&query("a"), 3) > relevance(&query("a"), 4));
        assert!(relevance(&query("a b"), 3) > relevance(&query("a"), 3));
        assert!((relevance(&query("a"), 20) - 1.0).abs() < 1e-9);
    }
}
