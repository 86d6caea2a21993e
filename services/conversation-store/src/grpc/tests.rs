use std::time::Duration;

use colloquy_events::convert::timestamp_to_pb;
use colloquy_events::{Analysis, Authority, Data, Event, Facts, Record, Role, Turn};
use colloquy_log_client::Appender;
use colloquy_proto::log::v1 as log;
use colloquy_proto::log::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use colloquy_service::Identity;
use colloquy_service::transport::LocalSlot;
use colloquy_storage::DatabaseUrl;
use colloquy_types::{EventId, KeyId, ManualClock, Position, Provider, RecordId, TurnId};
use futures::stream::BoxStream;
use tempfile::TempDir;
use tonic::Code;
use tonic::service::Routes;
use tonic_types::StatusExt;

use super::*;
use crate::search::testing::Said;
use crate::store;
use crate::sweep::Sweeper;

const NOW: i64 = 1_800_000_000_000;
const READER: &[Scope] = &[Scope::ConversationsRead];
const WRITER: &[Scope] = &[Scope::ConversationsRead, Scope::ConversationsWrite, Scope::TranscriptsRead];

/// A log that is read at once.
#[derive(Clone)]
struct Log {
    view: Arc<dyn ConversationStore>,
    progress: Progress,
    clock: ManualClock,
}

impl Log {
    async fn write(&self, mut records: Vec<Record>) -> Position {
        let sequence = self.progress.current().sequence() + 1;
        for record in &mut records {
            record.sequence = sequence;
        }
        let through = Position::end_of(sequence);
        self.view.apply(&records, through, self.clock.now()).await.unwrap();
        self.progress.advance_to(through);
        through
    }
}

#[tonic::async_trait]
impl EventLogService for Log {
    type ConsumeStream = BoxStream<'static, Result<log::ConsumeResponse, Status>>;
    type TailStream = BoxStream<'static, Result<log::TailResponse, Status>>;

    async fn append(&self, request: Request<log::AppendRequest>) -> Result<Response<log::AppendResponse>, Status> {
        let records = request.into_inner().records.into_iter().map(|record| Record::try_from(record).unwrap()).collect();
        let position = self.write(records).await.0;
        Ok(Response::new(log::AppendResponse { position, accepted: 1, duplicates: 0 }))
    }

    async fn consume(&self, _: Request<tonic::Streaming<log::ConsumeRequest>>) -> Result<Response<Self::ConsumeStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn tail(&self, _: Request<log::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn erase(&self, _: Request<log::EraseRequest>) -> Result<Response<log::EraseResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn get_consumer(&self, _: Request<log::GetConsumerRequest>) -> Result<Response<log::GetConsumerResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn list_consumers(
        &self,
        _: Request<log::ListConsumersRequest>,
    ) -> Result<Response<log::ListConsumersResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}

struct World {
    handler: Handler,
    sweeper: Sweeper,
    log: Log,
    said: Said,
    clock: ManualClock,
    _folder: TempDir,
}

async fn world() -> World {
    let folder = TempDir::new().unwrap();
    let database = store::open_database(&DatabaseUrl::SqliteFolder(folder.path().to_owned())).await.unwrap();
    let view = store::over(&database).await.unwrap();
    let clock = ManualClock::at(Timestamp::from_millis(NOW).unwrap());
    let progress = Progress::starting_at(Position::START);
    let log = Log { view: view.clone(), progress: progress.clone(), clock: clock.clone() };
    let slot = LocalSlot::new();
    slot.fill(Routes::new(EventLogServiceServer::new(log.clone())).into_axum_router());
    let appender = Appender::new(slot.transport());
    let time: Arc<dyn Clock> = Arc::new(clock.clone());
    let changes = Changes::new(view.clone(), appender.clone(), progress.clone(), time.clone());
    let sweeper = Sweeper::new(view.clone(), appender, time.clone(), Duration::from_secs(3_600));
    let said = Said::listing_fewer_than(usize::MAX);
    let (transcripts, page_tokens) = (said.transcripts(), PageTokens::new(b"test"));
    let handler = Handler::new(Deps { store: view, changes, transcripts, progress, page_tokens, clock: time });
    World { handler, sweeper, log, said, clock, _folder: folder }
}

fn organization() -> OrganizationId {
    "acme".parse().unwrap()
}

fn ask<T>(message: T, scopes: &[Scope]) -> Request<T> {
    ask_as(message, scopes, organization())
}

fn ask_as<T>(message: T, scopes: &[Scope], organization_id: OrganizationId) -> Request<T> {
    let mut request = Request::new(message);
    let scopes = scopes.iter().copied().collect();
    request.extensions_mut().insert(Caller::Key(Arc::new(Identity { key_id: KeyId::generate(), organization_id, scopes })));
    request
}

impl World {
    async fn happen(&self, name: &str, data: Vec<Data>) {
        let conversation_id = ConversationId::derive(&organization(), Provider::Native, name);
        let events = data.into_iter().enumerate().map(|(number, data)| Event {
            event_id: EventId::generate(),
            conversation_id,
            provider: Provider::Native,
            external_id: name.to_owned(),
            occurred_at: self.clock.now(),
            ordinal: number as u32,
            data,
        });
        let events: Vec<Event> = events.collect();
        let record = Record {
            record_id: RecordId::derive(&organization(), events.iter().map(|event| event.event_id)),
            organization_id: organization(),
            source_id: None,
            received_at: self.clock.now(),
            events,
            traceparent: String::new(),
            sequence: 0,
        };
        self.log.write(vec![record]).await;
    }

    /// A conversation with a summary and a turn.
    async fn talk(&self, name: &str) {
        let facts = Facts { agent_id: Some("ann".to_owned()), started_at: Some(self.clock.now()), ..Facts::default() };
        let analysis = Analysis { summary: Some("they talked".to_owned()), ..Analysis::by(Authority::Provider) };
        let turn = Turn {
            text: Some("hello".to_owned()),
            ..Turn::new(TurnId::derive(ConversationId(uuid::Uuid::nil()), "1"), Role::User)
        };
        self.happen(name, vec![Data::Started(facts), Data::TurnAdded(turn), Data::Analyzed(analysis)]).await;
    }

    async fn get(&self, name: &str, scopes: &[Scope]) -> Result<pb::Conversation, Status> {
        let request = pb::GetConversationRequest { conversation_id: format!("native:{name}"), ..Default::default() };
        let answer = self.handler.get_conversation(ask(request, scopes)).await?;
        Ok(answer.into_inner().conversation.unwrap())
    }

    async fn list(
        &self,
        request: pb::ListConversationsRequest,
        scopes: &[Scope],
    ) -> Result<pb::ListConversationsResponse, Status> {
        Ok(self.handler.list_conversations(ask(request, scopes)).await?.into_inner())
    }

    async fn tag(&self, name: &str, tag: &str) -> Result<pb::UpdateConversationResponse, Status> {
        let request = pb::UpdateConversationRequest {
            conversation_id: format!("native:{name}"),
            tags: Some(pb::TagsChange { tags: vec![tag.to_owned()] }),
            ..Default::default()
        };
        Ok(self.handler.update_conversation(ask(request, WRITER)).await?.into_inner())
    }
}

#[tokio::test]
async fn many_conversations_are_read_at_once() {
    let world = world().await;
    for name in ["a", "b"] {
        world.talk(name).await;
    }
    let get = async |names: &[&str], scopes| {
        let conversation_ids = names.iter().map(|name| format!("native:{name}")).collect();
        let request = pb::BatchGetConversationsRequest { conversation_ids, ..Default::default() };
        world.handler.batch_get_conversations(ask(request, scopes)).await.map(Response::into_inner)
    };
    let answer = get(&["b", "none", "a", "b"], WRITER).await.unwrap();
    let expected = [world.get("b", WRITER).await.unwrap(), world.get("a", WRITER).await.unwrap()];
    assert_eq!((answer.conversations, answer.left_out_ids), (expected.to_vec(), Vec::new()));
    assert_eq!(get(&["b"], READER).await.unwrap().conversations[0].summary, None);
    for bad in [&[][..], &["a"; 101]] {
        assert_eq!(get(bad, READER).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let request = pb::BatchGetConversationsRequest {
        conversation_ids: vec![world.get("a", WRITER).await.unwrap().conversation_id],
        ..Default::default()
    };
    let other = ask_as(request, READER, "other".parse().unwrap());
    assert_eq!(world.handler.batch_get_conversations(other).await.unwrap().into_inner().conversations, []);
}

#[tokio::test]
async fn a_summary_is_for_those_who_may_read_transcripts() {
    let world = world().await;
    world.talk("c").await;
    assert_eq!(world.get("c", WRITER).await.unwrap().summary.as_deref(), Some("they talked"));
    assert_eq!(world.get("c", READER).await.unwrap().summary, None);
    for (scopes, include_summary, expected) in [(WRITER, true, true), (WRITER, false, false), (READER, true, false)] {
        let page = world.list(pb::ListConversationsRequest { include_summary, ..Default::default() }, scopes).await.unwrap();
        assert_eq!(page.conversations[0].summary.is_some(), expected);
        assert!(page.conversations[0].sessions.is_empty());
    }
    let request = pb::ListConversationEventsRequest {
        conversation_id: "native:c".to_owned(),
        min_position: 0,
        organization_id: String::new(),
    };
    let events = world.handler.list_conversation_events(ask(request, READER)).await.unwrap().into_inner().events;
    let kinds: Vec<&str> = events.iter().map(|event| event.r#type.as_str()).collect();
    assert_eq!(kinds, ["conversation.started", "conversation.analyzed"]);
    assert!(events.iter().all(|event| !event.data_json.contains("they talked") && !event.data_json.contains("hello")));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_not_allowed_is_refused() {
    let world = world().await;
    world.talk("c").await;
    assert_eq!(world.get("other", READER).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(world.get("c", &[Scope::AudioRead]).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(world.tag("other", "x").await.unwrap_err().code(), Code::NotFound);
    let foreign = pb::GetConversationRequest { conversation_id: "native:c".to_owned(), ..Default::default() };
    let refused = world.handler.get_conversation(ask_as(foreign, READER, "other".parse().unwrap())).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let nonsense = pb::GetConversationRequest { conversation_id: "nonsense".to_owned(), ..Default::default() };
    assert_eq!(world.handler.get_conversation(ask(nonsense, READER)).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn of_two_changes_within_one_millisecond_the_later_call_wins() {
    let world = world().await;
    world.talk("c").await;
    for number in 0..20 {
        let answer = world.tag("c", &number.to_string()).await.unwrap();
        assert_eq!(answer.conversation.unwrap().tags, [number.to_string()]);
    }
    let rate =
        |rating| pb::GiveFeedbackRequest { conversation_id: "native:c".to_owned(), rating: Some(rating), ..Default::default() };
    for rating in [5, 1, 3] {
        world.handler.give_feedback(ask(rate(rating), WRITER)).await.unwrap();
    }
    let analytics = world.get("c", READER).await.unwrap().analytics.unwrap();
    assert_eq!((analytics.satisfaction_score, analytics.satisfaction_source.as_deref()), (Some(3.0), Some("caller")));
}

#[tokio::test]
async fn a_record_can_be_read_as_it_was() {
    let world = world().await;
    world.talk("c").await;
    let then = timestamp_to_pb(world.clock.now());
    world.clock.advance_millis(1_000);
    world.tag("c", "later").await.unwrap();
    let request = |as_of| pb::GetConversationRequest {
        conversation_id: "native:c".to_owned(),
        as_of: Some(as_of),
        min_position: 0,
        organization_id: String::new(),
    };
    let before = world.handler.get_conversation(ask(request(then), READER)).await.unwrap().into_inner().conversation.unwrap();
    assert!(before.tags.is_empty());
    assert_eq!(before.turn_count, 1);
    let never = prost_types::Timestamp { seconds: 0, nanos: 0 };
    assert_eq!(world.handler.get_conversation(ask(request(never), READER)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_page_token_is_for_one_list_and_for_half_an_hour() {
    let world = world().await;
    for name in ["a", "b", "c"] {
        world.talk(name).await;
    }
    let request = pb::ListConversationsRequest { page_size: 2, include_total: true, ..Default::default() };
    let first = world.list(request.clone(), READER).await.unwrap();
    assert_eq!((first.conversations.len(), first.total_size), (2, Some(3)));
    let next = pb::ListConversationsRequest { page_token: first.next_page_token, ..request };
    let second = world.list(next.clone(), READER).await.unwrap();
    assert_eq!((second.conversations.len(), second.next_page_token.as_str()), (1, ""));
    let other_order = pb::ListConversationsRequest { order_by: "created_at".to_owned(), ..next.clone() };
    assert_eq!(world.list(other_order, READER).await.unwrap_err().code(), Code::InvalidArgument);
    let forged = pb::ListConversationsRequest { page_token: "AAAA".to_owned(), ..next.clone() };
    assert_eq!(world.list(forged, READER).await.unwrap_err().code(), Code::InvalidArgument);
    world.clock.advance_millis(31 * 60 * 1_000);
    assert_eq!(world.list(next, READER).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn agents_are_listed_page_by_page() {
    let world = world().await;
    for agent in ["ann", "bob", "cid"] {
        let facts = Facts { agent_id: Some(agent.to_owned()), agent_name: Some(agent.to_uppercase()), ..Facts::default() };
        world.happen(agent, vec![Data::Started(facts)]).await;
    }
    let request = pb::ListAgentsRequest { page_size: 2, ..Default::default() };
    let first = world.handler.list_agents(ask(request.clone(), READER)).await.unwrap().into_inner();
    let next = pb::ListAgentsRequest { page_token: first.next_page_token.clone(), ..request };
    let second = world.handler.list_agents(ask(next, READER)).await.unwrap().into_inner();
    let names = first.agents.iter().chain(&second.agents).map(|agent| agent.name.clone().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["ANN", "BOB", "CID"]);
    assert_eq!(second.next_page_token, "");
    let get = |agent_id: &str| ask(pb::GetAgentRequest { agent_id: agent_id.to_owned(), organization_id: String::new() }, READER);
    assert_eq!(world.handler.get_agent(get("bob")).await.unwrap().into_inner().agent.unwrap().conversation_count, 1);
    assert_eq!(world.handler.get_agent(get("dan")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_never_ended_is_closed_once_and_a_real_end_overrides() {
    let world = world().await;
    world.talk("c").await;
    assert_eq!(world.sweeper.sweep().await.unwrap(), 0);
    world.clock.advance_millis(3_600_001);
    assert_eq!(world.sweeper.sweep().await.unwrap(), 1);
    assert_eq!(world.sweeper.sweep().await.unwrap(), 0);
    let closed = world.get("c", READER).await.unwrap();
    assert_eq!((closed.status(), closed.end_reason.as_deref()), (pb::ConversationStatus::Failed, Some("unknown_end")));
    let ended = colloquy_events::Ended::new(colloquy_events::EndStatus::Completed);
    world.happen("c", vec![Data::Ended(ended)]).await;
    let mended = world.get("c", READER).await.unwrap();
    assert_eq!((mended.status(), mended.end_reason), (pb::ConversationStatus::Completed, None));
}

#[tokio::test]
async fn a_service_names_the_organization_it_asks_for() {
    let world = world().await;
    world.talk("c").await;
    let organization = world.get("c", READER).await.unwrap().organization_id;
    let conversation = async |organization_id: &str, caller: Option<Caller>| {
        let request = pb::GetConversationRequest {
            conversation_id: "native:c".to_owned(),
            organization_id: organization_id.to_owned(),
            ..Default::default()
        };
        let mut request = ask(request, READER);
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        world.handler.get_conversation(request).await.map_err(|status| status.code())
    };
    assert!(conversation(&organization, Some(Caller::Service)).await.is_ok());
    assert_eq!(conversation("other", Some(Caller::Service)).await.unwrap_err(), Code::NotFound);
    assert_eq!(conversation("", Some(Caller::Service)).await.unwrap_err(), Code::InvalidArgument);
    // A key may name its own organization, and no other.
    assert!(conversation(&organization, None).await.is_ok());
    assert_eq!(conversation("other", None).await.unwrap_err(), Code::NotFound);
}

#[tokio::test]
async fn what_each_authority_judged_is_for_services() {
    let world = world().await;
    world.talk("c").await;
    let said_by = |authority: Authority| {
        let analysis = Analysis {
            summary: Some(authority.to_string()),
            call_successful: Some(colloquy_events::CallSuccessful::Success),
            satisfaction_score: Some(4.0),
            ..Analysis::by(authority)
        };
        Data::Analyzed(analysis)
    };
    world.happen("c", vec![said_by(Authority::Own)]).await;
    assert_eq!(world.get("c", WRITER).await.unwrap().summary.as_deref(), Some("they talked"), "the provider leads");
    world.happen("c", vec![said_by(Authority::OwnLeading)]).await;
    let seen = world.get("c", WRITER).await.unwrap();
    assert_eq!(seen.summary.as_deref(), Some("own_leading"));
    assert!(seen.judgements.is_empty(), "not for keys");
    assert!(world.tag("c", "x").await.unwrap().conversation.unwrap().judgements.is_empty());
    let listed = world.list(pb::ListConversationsRequest::default(), WRITER).await.unwrap();
    assert!(listed.conversations[0].judgements.is_empty());

    let by_service = async |as_of| {
        let request = pb::GetConversationRequest {
            conversation_id: "native:c".to_owned(),
            organization_id: "acme".to_owned(),
            as_of,
            ..Default::default()
        };
        let mut request = ask(request, READER);
        request.extensions_mut().insert(Caller::Service);
        world.handler.get_conversation(request).await.unwrap().into_inner().conversation.unwrap().judgements
    };
    for as_of in [None, Some(timestamp_to_pb(world.clock.now()))] {
        let judgements = by_service(as_of).await;
        let said: Vec<_> = judgements.iter().map(|said| (said.authority.as_str(), said.summary.as_deref().unwrap())).collect();
        assert_eq!(said, [("provider", "they talked"), ("own_leading", "own_leading")], "of ours the one told last");
        let own = &judgements[1];
        assert_eq!(own.call_successful, "success");
        let analytics = own.analytics.as_ref().unwrap();
        assert_eq!(analytics.satisfaction_source.as_deref(), Some("inferred"));
        assert_eq!((analytics.resolution_status.as_str(), analytics.custom_analysis_json.as_str()), ("unknown", "{}"));
    }
    world.happen("c", vec![said_by(Authority::Human)]).await;
    assert_eq!(world.get("c", WRITER).await.unwrap().summary.as_deref(), Some("human"));
}

#[tokio::test]
async fn a_filter_is_an_expression_too_and_its_errors_name_the_column() {
    let world = world().await;
    world.talk("a").await;
    world.clock.advance_millis(1_000);
    world.talk("b").await;
    let list = async |expression: &str, page_token: &str| {
        let filter =
            pb::ConversationFilter { agent_id: Some("ann".to_owned()), expression: expression.to_owned(), ..Default::default() };
        let request = pb::ListConversationsRequest {
            filter: Some(filter),
            page_size: 1,
            include_total: true,
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        world.list(request, READER).await
    };
    let all = "turn_count >= 1 AND (status = in_progress OR tag:x)";
    let first = list(all, "").await.unwrap();
    assert_eq!((first.conversations.len(), first.total_size), (1, Some(2)));
    let second = list(all, &first.next_page_token).await.unwrap();
    assert_ne!(second.conversations[0].conversation_id, first.conversations[0].conversation_id);
    assert_eq!(list("turn_count > 1", "").await.unwrap().total_size, Some(0));
    assert_eq!(list("turn_count >= 1", &first.next_page_token).await.unwrap_err().code(), Code::InvalidArgument);

    for (expression, expected) in [
        ("turn_count >= many", "column 15: "),
        ("turn_count >= 1 AND talk_ratio > 0.5", "column 21: 'talk_ratio' is known to analytics only"),
        ("\"a refund\"", "column 1: 'a refund' stands alone"),
        ("agent_id = 'ann' or 1 = 1", "column 18: OR is written in capitals"),
    ] {
        let refused = list(expression, "").await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let details = refused.get_details_bad_request().unwrap();
        let bad = &details.field_violations[0];
        assert!(bad.field == "filter" && bad.description.starts_with(expected), "{expression}: {bad:?}");
    }
}

#[tokio::test]
async fn a_search_narrows_a_list_for_those_who_may_read_transcripts() {
    let world = world().await;
    for name in ["a", "b", "c"] {
        world.talk(name).await;
        world.clock.advance_millis(1_000);
    }
    for name in ["a", "c"] {
        world.said.say("refund", ConversationId::derive(&organization(), Provider::Native, name).0);
    }
    let request = |page_token: String| pb::ListConversationsRequest {
        search: "refund".to_owned(),
        page_size: 1,
        page_token,
        include_total: true,
        min_position: 1,
        ..Default::default()
    };
    assert_eq!(world.list(request(String::new()), READER).await.unwrap_err().code(), Code::PermissionDenied);
    let first = world.list(request(String::new()), WRITER).await.unwrap();
    assert_eq!((first.conversations[0].external_id.as_str(), first.total_size), ("c", Some(2)));
    let second = world.list(request(first.next_page_token.clone()), WRITER).await.unwrap();
    assert_eq!((second.conversations[0].external_id.as_str(), second.next_page_token.as_str()), ("a", ""));
    assert!(world.said.asked().iter().all(|asked| asked.min_position == 1 && asked.organization_id == "acme"));
    let other = pb::ListConversationsRequest { search: "money".to_owned(), ..request(first.next_page_token) };
    assert_eq!(world.list(other, WRITER).await.unwrap_err().code(), Code::InvalidArgument);
    let bad = pb::ListConversationsRequest { search: "-refund".to_owned(), ..request(String::new()) };
    let refused = world.list(bad, WRITER).await.unwrap_err();
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "search");
}
