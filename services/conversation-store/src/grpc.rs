//! `colloquy.conversation.v1.ConversationService`.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use colloquy_events::Patch;
use colloquy_events::convert::timestamp_from_pb;
use colloquy_proto::conversation::v1 as pb;
use colloquy_proto::conversation::v1::conversation_service_server::ConversationService;
use colloquy_service::{Caller, FieldErrors, Problem, Progress};
use colloquy_storage::PageTokens;
use colloquy_types::{Clock, ConversationId, OrganizationId, Scope, Timestamp};
use prost::Message;
use serde::Serialize;
use tonic::{Request, Response, Status};

use crate::changes::Changes;
use crate::conversation::Feedback;
use crate::convert::{self, ListRequest, record};
use crate::error::Error;
use crate::fold::fold;
use crate::list::{Cursor, Filter, Query, Sort};
use crate::search::{Search, Transcripts};
use crate::store::{ConversationStore, WALK_LIMIT};

/// How many bytes of conversations one answer to a batch holds.
const BATCH_BYTES: usize = 4 << 20;

/// What calls are answered with.
pub(crate) struct Deps {
    pub(crate) store: Arc<dyn ConversationStore>,
    pub(crate) changes: Changes,
    pub(crate) transcripts: Transcripts,
    pub(crate) progress: Progress,
    pub(crate) page_tokens: PageTokens,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Answers calls.
pub(crate) struct Handler {
    store: Arc<dyn ConversationStore>,
    changes: Changes,
    transcripts: Transcripts,
    progress: Progress,
    page_tokens: PageTokens,
    clock: Arc<dyn Clock>,
}

/// What must stay the same from page to page.
#[derive(Serialize)]
struct Walk<'a>(&'static str, &'a str, &'a Filter, Sort, &'a str);

impl Handler {
    /// Returns a handler over the store.
    pub(crate) fn new(deps: Deps) -> Self {
        let Deps { store, changes, transcripts, progress, page_tokens, clock } = deps;
        Self { store, changes, transcripts, progress, page_tokens, clock }
    }

    /// Returns a conversation as it is now.
    async fn record(&self, organization: &OrganizationId, id: ConversationId) -> Result<pb::Conversation, Error> {
        let kept = self.store.get(organization, id).await?.ok_or(Error::ConversationNotFound(id))?;
        Ok(record::decode(&kept.bytes, organization, id)?)
    }

    /// Returns a conversation as it was known at `as_of`. Of turns that were replaced later nothing is left, so that the number
    /// of turns is what remains of what was known.
    async fn record_as_of(
        &self,
        organization: &OrganizationId,
        id: ConversationId,
        as_of: Timestamp,
    ) -> Result<pb::Conversation, Error> {
        let received = self.store.events(organization, id).await?;
        let known = received.into_iter().filter(|received| received.received_at <= as_of);
        let events: Vec<_> = known.map(|received| received.event).collect();
        let conversation = fold(&events).ok_or(Error::ConversationNotFound(id))?;
        Ok(record::complete(&conversation, organization))
    }

    /// Returns a conversation as it is now, also with what each authority judged where a release kept the record that did not keep
    /// that.
    async fn judged_record(&self, organization: &OrganizationId, id: ConversationId) -> Result<pb::Conversation, Error> {
        let mut conversation = self.record(organization, id).await?;
        self.complete_judgements(organization, id, &mut conversation).await?;
        Ok(conversation)
    }

    async fn complete_judgements(
        &self,
        organization: &OrganizationId,
        id: ConversationId,
        conversation: &mut pb::Conversation,
    ) -> Result<(), Error> {
        if record::lacks_judgements(conversation) {
            let received = self.store.events(organization, id).await?;
            let events: Vec<_> = received.into_iter().map(|received| received.event).collect();
            let folded = fold(&events).map(|folded| record::complete(&folded, organization));
            conversation.judgements = folded.map(|folded| folded.judgements).unwrap_or_default();
        }
        Ok(())
    }

    fn cursor(&self, walk: &Walk<'_>, token: &str, now: Timestamp) -> Result<Option<Cursor>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let cursor: Cursor = self.page_tokens.open(walk, token)?;
        let age = now.as_millis().saturating_sub(cursor.began_at);
        if age > WALK_LIMIT.as_millis() as i64 { Err(Error::StalePageToken) } else { Ok(Some(cursor)) }
    }

    async fn list(
        &self,
        organization: OrganizationId,
        request: pb::ListConversationsRequest,
        wanted: ListRequest,
        with_summaries: bool,
    ) -> Result<pb::ListConversationsResponse, Error> {
        let now = self.clock.now();
        let ListRequest { filter, sort, page_size } = wanted;
        let walk = Walk("conversations", organization.as_str(), &filter, sort, &request.search);
        let cursor = self.cursor(&walk, &request.page_token, now)?;
        self.progress.wait_for(request.min_position).await?;
        let query = Query {
            organization_id: organization.clone(),
            filter: filter.clone(),
            sort,
            limit: page_size,
            cursor,
            count: request.include_total,
            among: None,
        };
        let page = if request.search.is_empty() {
            self.store.page(&query, now).await?
        } else {
            let search = Search { words: request.search.clone(), min_position: request.min_position };
            self.transcripts.page(&*self.store, &search, query, now).await?
        };
        let mut conversations = Vec::with_capacity(page.conversations.len());
        for kept in page.conversations {
            let mut conversation = record::decode(&kept.bytes, &organization, kept.id)?;
            conversation.sessions.clear();
            conversation.judgements.clear();
            if !with_summaries {
                conversation.summary = None;
            }
            conversations.push(conversation);
        }
        let next_page_token = page.next.map(|next| self.page_tokens.seal(&walk, &next)).unwrap_or_default();
        Ok(pb::ListConversationsResponse { conversations, next_page_token, total_size: page.total })
    }
}

/// Takes out what is not for this caller.
fn withhold(conversation: &mut pb::Conversation, caller: &Caller) {
    if !caller.has(Scope::TranscriptsRead) {
        conversation.summary = None;
    }
    if !matches!(caller, Caller::Service) {
        conversation.judgements.clear();
    }
}

#[tonic::async_trait]
impl ConversationService for Handler {
    async fn get_conversation(
        &self,
        request: Request<pb::GetConversationRequest>,
    ) -> Result<Response<pb::GetConversationResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let organization = caller.acting_for(&request.organization_id, Scope::ConversationsRead)?;
        let mut fields = FieldErrors::new();
        let id = convert::conversation_id(&mut fields, &request.conversation_id, &organization);
        let as_of = request.as_of.and_then(|at| fields.check("as_of", timestamp_from_pb("as_of", at).map_err(|bad| bad.message)));
        let id = convert::finish(fields, id)?;
        self.progress.wait_for(request.min_position).await?;
        let mut conversation = match as_of {
            Some(as_of) => self.record_as_of(&organization, id, as_of).await?,
            None if matches!(caller, Caller::Service) => self.judged_record(&organization, id).await?,
            None => self.record(&organization, id).await?,
        };
        withhold(&mut conversation, &caller);
        Ok(Response::new(pb::GetConversationResponse { conversation: Some(conversation) }))
    }

    async fn batch_get_conversations(
        &self,
        request: Request<pb::BatchGetConversationsRequest>,
    ) -> Result<Response<pb::BatchGetConversationsResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let organization = caller.acting_for(&request.organization_id, Scope::ConversationsRead)?;
        let mut fields = FieldErrors::new();
        let ids = fields.conversations("conversation_ids", &request.conversation_ids, &organization);
        fields.finish()?;
        self.progress.wait_for(request.min_position).await?;
        let kept = self.store.get_all(&organization, &ids).await.map_err(Error::from)?;
        let mut kept: HashMap<ConversationId, Vec<u8>> = kept.into_iter().map(|kept| (kept.id, kept.bytes)).collect();
        let mut answer = pb::BatchGetConversationsResponse::default();
        let mut room = BATCH_BYTES;
        for id in ids {
            let Some(bytes) = kept.remove(&id) else { continue };
            let mut conversation = record::decode(&bytes, &organization, id).map_err(Error::from)?;
            if matches!(caller, Caller::Service) {
                self.complete_judgements(&organization, id, &mut conversation).await?;
            }
            withhold(&mut conversation, &caller);
            match room.checked_sub(conversation.encoded_len()) {
                Some(left) => {
                    room = left;
                    answer.conversations.push(conversation);
                }
                None => answer.left_out_ids.push(id.to_string()),
            }
        }
        Ok(Response::new(answer))
    }

    async fn list_conversations(
        &self,
        request: Request<pb::ListConversationsRequest>,
    ) -> Result<Response<pb::ListConversationsResponse>, Status> {
        let caller = Caller::of(&request);
        let mut request = request.into_inner();
        let organization = caller.acting_for(&request.organization_id, Scope::ConversationsRead)?;
        if !request.search.is_empty() && !caller.has(Scope::TranscriptsRead) {
            let message = format!("this API key lacks the scope '{}', which search needs", Scope::TranscriptsRead);
            return Err(Problem::permission_denied("SCOPE_MISSING", message).into());
        }
        let wanted = convert::list_from_pb(&mut request)?;
        let with_summaries = request.include_summary && caller.has(Scope::TranscriptsRead);
        Ok(Response::new(self.list(organization, request, wanted, with_summaries).await?))
    }

    async fn update_conversation(
        &self,
        request: Request<pb::UpdateConversationRequest>,
    ) -> Result<Response<pb::UpdateConversationResponse>, Status> {
        let caller = Caller::of(&request);
        let organization = caller.require(Scope::ConversationsWrite)?;
        let request = request.into_inner();
        let clears_metadata = request.metadata_patch_json.as_deref().is_some_and(|json| json.trim() == "null");
        let (id, mut patch) = convert::patch_from_pb(request, &organization)?;
        if clears_metadata {
            patch.metadata = convert::removal_of_metadata(&self.record(&organization, id).await?);
        }
        // A change that changes nothing is no event.
        let position = if patch == Patch::default() {
            self.progress.current()
        } else {
            self.changes.patch(&organization, id, patch).await?.position
        };
        let mut conversation = self.record(&organization, id).await?;
        withhold(&mut conversation, &caller);
        let response = pb::UpdateConversationResponse { conversation: Some(conversation), position: position.0 };
        Ok(Response::new(response))
    }

    async fn list_conversation_events(
        &self,
        request: Request<pb::ListConversationEventsRequest>,
    ) -> Result<Response<pb::ListConversationEventsResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let organization = caller.acting_for(&request.organization_id, Scope::ConversationsRead)?;
        let mut fields = FieldErrors::new();
        let id = convert::conversation_id(&mut fields, &request.conversation_id, &organization);
        let id = convert::finish(fields, id)?;
        self.progress.wait_for(request.min_position).await?;
        let events = self.store.events(&organization, id).await.map_err(Error::from)?;
        if events.is_empty() {
            return Err(Error::ConversationNotFound(id).into());
        }
        let events = convert::history_to_pb(events, caller.has(Scope::TranscriptsRead), !matches!(caller, Caller::Service));
        Ok(Response::new(pb::ListConversationEventsResponse { events }))
    }

    async fn give_feedback(
        &self,
        request: Request<pb::GiveFeedbackRequest>,
    ) -> Result<Response<pb::GiveFeedbackResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::ConversationsWrite)?;
        let (id, given) = convert::feedback_from_pb(request.into_inner(), &organization)?;
        let (rating, thumbs, comment) = (given.rating, given.thumbs, given.comment.clone());
        let taken = self.changes.rate(&organization, id, given).await?;
        let feedback = record::feedback(&Feedback { rating, thumbs, comment, at: taken.at });
        Ok(Response::new(pb::GiveFeedbackResponse { feedback: Some(feedback), position: taken.position.0 }))
    }

    async fn list_agents(&self, request: Request<pb::ListAgentsRequest>) -> Result<Response<pb::ListAgentsResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::ConversationsRead)?;
        let request = request.into_inner();
        let mut fields = FieldErrors::new();
        let page_size = convert::page_size(&mut fields, request.page_size);
        let page_size = convert::finish(fields, Some(page_size))?;
        let walk = ("agents", organization.as_str());
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(self.page_tokens.open::<(String, String)>(&walk, token).map_err(Error::from)?),
        };
        self.progress.wait_for(request.min_position).await?;
        let agents = self.store.agents(&organization, after, page_size + 1).await.map_err(Error::from)?;
        Ok(Response::new(convert::agents_page(agents, page_size, |last| self.page_tokens.seal(&walk, last))))
    }

    async fn get_agent(&self, request: Request<pb::GetAgentRequest>) -> Result<Response<pb::GetAgentResponse>, Status> {
        let caller = Caller::of(&request);
        let pb::GetAgentRequest { agent_id, organization_id } = request.into_inner();
        let organization = caller.acting_for(&organization_id, Scope::ConversationsRead)?;
        if agent_id.is_empty() || agent_id.len() > 512 || agent_id.contains('\0') {
            return Err(Problem::invalid_field("agent_id", "must be 1 to 512 bytes without the character NUL").into());
        }
        let agents = self.store.agent(&organization, &agent_id).await.map_err(Error::from)?;
        // Should two providers use one id, the agent seen last is meant.
        let agent = agents.into_iter().max_by_key(|agent| agent.last_seen_at).ok_or(Error::AgentNotFound)?;
        Ok(Response::new(pb::GetAgentResponse { agent: Some(convert::agent_to_pb(agent)) }))
    }
}
