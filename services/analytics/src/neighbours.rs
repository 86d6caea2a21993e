//! The services that analytics calls, made up for tests: conversation-store, transcript and the log, behind one transport.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use colloquy_events::{Event, Record};
use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::conversation::v1::conversation_service_server::{ConversationService, ConversationServiceServer};
use colloquy_proto::log::v1 as log_pb;
use colloquy_proto::log::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_proto::transcript::v1::transcript_service_server::{TranscriptService, TranscriptServiceServer};
use colloquy_service::transport::{LocalSlot, Transport};
use colloquy_types::EventId;
use futures::stream::BoxStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// What the other services say, and what they were told.
#[derive(Default)]
pub(crate) struct Neighbours {
    /// By the conversation's id.
    pub(crate) records: Mutex<BTreeMap<String, conversation_pb::Conversation>>,
    /// By the conversation's id.
    pub(crate) turns: Mutex<BTreeMap<String, Vec<transcript_pb::Turn>>>,
    /// What was appended to the log; each event once.
    pub(crate) told: Mutex<Vec<Event>>,
    /// The log takes no event of these.
    pub(crate) refused: Mutex<HashSet<EventId>>,
    /// What was said in these is not answered alone before they are taken out.
    pub(crate) slow: Mutex<HashSet<String>>,
    /// What was said in these is more than is answered at once.
    pub(crate) too_long: Mutex<HashSet<String>>,
    /// The log takes what it is given next, and says that it did not.
    pub(crate) answers_get_lost: AtomicBool,
}

impl Neighbours {
    /// Returns a way to all of them.
    pub(crate) fn transport(self: &Arc<Self>) -> Transport {
        let slot = LocalSlot::new();
        let routes = Routes::new(ConversationServiceServer::from_arc(Arc::clone(self)))
            .add_service(TranscriptServiceServer::from_arc(Arc::clone(self)))
            .add_service(EventLogServiceServer::from_arc(Arc::clone(self)));
        slot.fill(routes.into_axum_router());
        slot.transport()
    }

    /// Has them know a conversation, or know it otherwise.
    pub(crate) fn know(&self, record: conversation_pb::Conversation, turns: Vec<transcript_pb::Turn>) {
        self.turns.lock().unwrap().insert(record.conversation_id.clone(), turns);
        self.records.lock().unwrap().insert(record.conversation_id.clone(), record);
    }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not in these tests"))
}

fn no_such<T>() -> Result<T, Status> {
    Err(Status::not_found("the conversation does not exist"))
}

#[tonic::async_trait]
impl ConversationService for Neighbours {
    async fn get_conversation(
        &self,
        request: Request<conversation_pb::GetConversationRequest>,
    ) -> Result<Response<conversation_pb::GetConversationResponse>, Status> {
        let conversation_pb::GetConversationRequest { conversation_id, organization_id, .. } = request.into_inner();
        let found = self.records.lock().unwrap().get(&conversation_id).cloned();
        match found.filter(|record| record.organization_id == organization_id) {
            None => no_such(),
            conversation => Ok(Response::new(conversation_pb::GetConversationResponse { conversation })),
        }
    }

    async fn batch_get_conversations(
        &self,
        request: Request<conversation_pb::BatchGetConversationsRequest>,
    ) -> Result<Response<conversation_pb::BatchGetConversationsResponse>, Status> {
        let records = self.records.lock().unwrap();
        let conversations = request.get_ref().conversation_ids.iter().filter_map(|id| records.get(id).cloned()).collect();
        Ok(Response::new(conversation_pb::BatchGetConversationsResponse { conversations, left_out_ids: Vec::new() }))
    }

    /// Pages have two conversations; tokens are offsets.
    async fn list_conversations(
        &self,
        request: Request<conversation_pb::ListConversationsRequest>,
    ) -> Result<Response<conversation_pb::ListConversationsResponse>, Status> {
        let request = request.into_inner();
        if request.filter.unwrap_or_default().expression.contains("nonsense") {
            return Err(Status::invalid_argument("filter.expression: is no filter"));
        }
        let records = self.records.lock().unwrap();
        let from: usize = request.page_token.parse().unwrap_or_default();
        Ok(Response::new(conversation_pb::ListConversationsResponse {
            conversations: records.values().skip(from).take(2).cloned().collect(),
            next_page_token: if from + 2 < records.len() { (from + 2).to_string() } else { String::new() },
            total_size: request.include_total.then_some(i64::try_from(records.len()).unwrap()),
        }))
    }

    async fn list_conversation_events(
        &self,
        _: Request<conversation_pb::ListConversationEventsRequest>,
    ) -> Result<Response<conversation_pb::ListConversationEventsResponse>, Status> {
        not_here()
    }

    async fn update_conversation(
        &self,
        _: Request<conversation_pb::UpdateConversationRequest>,
    ) -> Result<Response<conversation_pb::UpdateConversationResponse>, Status> {
        not_here()
    }

    async fn give_feedback(
        &self,
        _: Request<conversation_pb::GiveFeedbackRequest>,
    ) -> Result<Response<conversation_pb::GiveFeedbackResponse>, Status> {
        not_here()
    }

    async fn list_agents(
        &self,
        _: Request<conversation_pb::ListAgentsRequest>,
    ) -> Result<Response<conversation_pb::ListAgentsResponse>, Status> {
        not_here()
    }

    async fn get_agent(
        &self,
        _: Request<conversation_pb::GetAgentRequest>,
    ) -> Result<Response<conversation_pb::GetAgentResponse>, Status> {
        not_here()
    }
}

#[tonic::async_trait]
impl TranscriptService for Neighbours {
    async fn get_transcript(
        &self,
        request: Request<transcript_pb::GetTranscriptRequest>,
    ) -> Result<Response<transcript_pb::GetTranscriptResponse>, Status> {
        let id = &request.get_ref().conversation_id;
        while self.slow.lock().unwrap().contains(id) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.too_long.lock().unwrap().contains(id) {
            return Err(Status::resource_exhausted("the transcript is too long"));
        }
        let found = self.turns.lock().unwrap().get(id).cloned();
        let Some(turns) = found else { return no_such() };
        Ok(Response::new(transcript_pb::GetTranscriptResponse { turns, ..Default::default() }))
    }

    /// There is no room for what was said in every third conversation.
    async fn batch_get_transcripts(
        &self,
        request: Request<transcript_pb::BatchGetTranscriptsRequest>,
    ) -> Result<Response<transcript_pb::BatchGetTranscriptsResponse>, Status> {
        let known = self.turns.lock().unwrap();
        let mut answer = transcript_pb::BatchGetTranscriptsResponse::default();
        for (number, id) in request.into_inner().conversation_ids.into_iter().enumerate() {
            match known.get(&id) {
                Some(_) if number % 3 == 0 => answer.left_out_ids.push(id),
                Some(turns) => {
                    let turns = turns.clone();
                    let transcript = transcript_pb::GetTranscriptResponse { conversation_id: id, turns, ..Default::default() };
                    answer.transcripts.push(transcript);
                }
                None => {}
            }
        }
        Ok(Response::new(answer))
    }

    async fn render_transcript(
        &self,
        _: Request<transcript_pb::RenderTranscriptRequest>,
    ) -> Result<Response<transcript_pb::RenderTranscriptResponse>, Status> {
        not_here()
    }

    async fn get_figures(
        &self,
        _: Request<transcript_pb::GetFiguresRequest>,
    ) -> Result<Response<transcript_pb::GetFiguresResponse>, Status> {
        not_here()
    }

    async fn search_turns(
        &self,
        _: Request<transcript_pb::SearchTurnsRequest>,
    ) -> Result<Response<transcript_pb::SearchTurnsResponse>, Status> {
        not_here()
    }

    async fn match_conversations(
        &self,
        _: Request<transcript_pb::MatchConversationsRequest>,
    ) -> Result<Response<transcript_pb::MatchConversationsResponse>, Status> {
        not_here()
    }
}

#[tonic::async_trait]
impl EventLogService for Neighbours {
    type ConsumeStream = BoxStream<'static, Result<log_pb::ConsumeResponse, Status>>;
    type TailStream = BoxStream<'static, Result<log_pb::TailResponse, Status>>;

    async fn append(&self, request: Request<log_pb::AppendRequest>) -> Result<Response<log_pb::AppendResponse>, Status> {
        let mut told = self.told.lock().unwrap();
        for record in request.into_inner().records {
            let events = Record::try_from(record).unwrap().events;
            if events.iter().any(|event| self.refused.lock().unwrap().contains(&event.event_id)) {
                return Err(Status::invalid_argument("not such an event"));
            }
            for event in events {
                if told.iter().all(|known| known.event_id != event.event_id) {
                    told.push(event);
                }
            }
        }
        match self.answers_get_lost.swap(false, Ordering::SeqCst) {
            true => Err(Status::internal("the answer got lost")),
            false => Ok(Response::new(log_pb::AppendResponse::default())),
        }
    }

    async fn consume(
        &self,
        _: Request<tonic::Streaming<log_pb::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        not_here()
    }

    async fn tail(&self, _: Request<log_pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        not_here()
    }

    async fn erase(&self, _: Request<log_pb::EraseRequest>) -> Result<Response<log_pb::EraseResponse>, Status> {
        not_here()
    }

    async fn get_consumer(
        &self,
        _: Request<log_pb::GetConsumerRequest>,
    ) -> Result<Response<log_pb::GetConsumerResponse>, Status> {
        Ok(Response::new(log_pb::GetConsumerResponse { consumer: Some(log_pb::Consumer::default()) }))
    }

    async fn list_consumers(
        &self,
        _: Request<log_pb::ListConsumersRequest>,
    ) -> Result<Response<log_pb::ListConsumersResponse>, Status> {
        not_here()
    }
}
