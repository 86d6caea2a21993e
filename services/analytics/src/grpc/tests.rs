use colloquy_events::{Data, EndStatus, Ended};
use colloquy_log_client::Reader as _;
use colloquy_log_client::UnknownEvents;
use colloquy_service::transport::LocalSlot;
use colloquy_service::{Identity, Progress};
use colloquy_types::{Clock as _, KeyId, ManualClock, SystemClock};
use tokio::sync::Notify;
use tonic::Code;

use super::*;
use crate::reader::Reader;
use crate::store::Written;
use crate::testing::{Fixture, acme, at, conversation, event, made, record};

struct World {
    handler: Handler,
    fixture: Fixture,
    progress: Progress,
}

async fn world() -> World {
    let fixture = Fixture::sqlite().await.unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at(0)));
    let progress = Progress::starting_at(Position::START);
    // No log answers here.
    let log = LocalSlot::new().transport();
    let frontier = Frontier::new(fixture.store.clone(), progress.clone(), log, clock.clone(), Arc::new(Notify::new()));
    let queries = Queries::new(&fixture.database, clock.clone());
    World { handler: Handler { store: fixture.store.clone(), frontier, queries, clock }, fixture, progress }
}

impl World {
    /// What the log says next: a conversation ended.
    async fn hears_end(&self, number: u128) -> u64 {
        let clock = Arc::new(ManualClock::at(at(0)));
        let reader =
            Reader::new(self.fixture.store.clone(), UnknownEvents::of(&self.fixture.database), clock, Arc::new(Notify::new()));
        let ended = event(number, Data::Ended(Ended::new(EndStatus::Completed)));
        reader.apply(&[record("acme", 1, vec![ended])], Position::end_of(1)).await.unwrap();
        self.progress.advance_to(Position::end_of(1));
        Position::end_of(1).0
    }

    /// What a worker makes of everything that is due.
    async fn is_analysed(&self, number: u128) {
        let store = &self.fixture.store;
        let claimed = store.claim(at(0), at(1_000), 10).await.unwrap();
        let (features, analysis) = made(number, &["Hello", "Good morning"]);
        let judgements = std::collections::BTreeMap::new();
        let written = Written::Analysed { features: &features, analysis: &analysis, judgements: &judgements };
        store.write(&[(&claimed[0], written)]).await.unwrap();
        let done = crate::store::Finish::Done { settled: true, not_before: at(0), told: None };
        store.finish(&[(claimed[0].clone(), done)], at(0)).await.unwrap();
    }

    async fn get(&self, conversation_id: &str, min_position: u64) -> Result<pb::ConversationAnalytics, Status> {
        let request = pb::GetConversationAnalyticsRequest { conversation_id: conversation_id.to_owned(), min_position };
        let answer = self.handler.get_conversation_analytics(ask(request, &[Scope::AnalyticsRead])).await?;
        Ok(answer.into_inner().analytics.unwrap())
    }
}

fn ask<T>(message: T, scopes: &[Scope]) -> Request<T> {
    let mut request = Request::new(message);
    let identity = Identity { key_id: KeyId::generate(), organization_id: acme(), scopes: scopes.iter().copied().collect() };
    request.extensions_mut().insert(Caller::Key(Arc::new(identity)));
    request
}

#[tokio::test]
async fn figures_are_found_by_either_name() {
    let world = world().await;
    world.hears_end(1).await;
    world.is_analysed(1).await;
    let id = conversation(1).to_string();
    let found = world.get(&id, 0).await.unwrap();
    assert_eq!((found.conversation_id.as_str(), found.turn_count, found.settled), (id.as_str(), 2, true));
    assert_eq!(world.get(&format!("native:{id}"), Position::end_of(1).0).await.unwrap(), found);
    assert_eq!(world.get(&conversation(2).to_string(), 0).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(world.get("nothing", 0).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn figures_of_a_conversation_that_was_just_heard_of_are_waited_for() {
    let world = world().await;
    world.hears_end(1).await;
    let id = conversation(1).to_string();
    let (found, ()) = tokio::join!(world.get(&id, 0), async {
        let looks = async || world.fixture.store.backlog(SystemClock.now()).await.unwrap().waiting == 1;
        colloquy_testkit::until(std::time::Duration::from_secs(5), "it waits", looks).await;
        world.is_analysed(1).await;
    });
    assert_eq!(found.unwrap().turn_count, 2);
}

#[tokio::test]
async fn what_was_asked_up_to_a_position_is_refused_when_that_does_not_come() {
    let world = world().await;
    let position = world.hears_end(1).await;
    let error = world.get(&conversation(1).to_string(), position).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    // Another conversation does not wait for this one.
    assert_eq!(world.get(&conversation(2).to_string(), position).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn whoever_may_not_is_refused() {
    let world = world().await;
    let scopes = [Scope::ConversationsRead];
    let refused = [
        world.handler.get_conversation_analytics(ask(Default::default(), &scopes)).await.unwrap_err().code(),
        world.handler.query_analytics(ask(Default::default(), &scopes)).await.unwrap_err().code(),
        world.handler.get_analytics_schema(ask(Default::default(), &scopes)).await.unwrap_err().code(),
        world.handler.compare_analytics(ask(Default::default(), &scopes)).await.unwrap_err().code(),
        world.handler.list_agent_performance(ask(Default::default(), &scopes)).await.unwrap_err().code(),
        world.handler.find_patterns(ask(Default::default(), &scopes)).await.unwrap_err().code(),
        world.handler.get_analysis_settings(ask(Default::default(), &scopes)).await.unwrap_err().code(),
        world.handler.update_analysis_settings(ask(Default::default(), &[Scope::AnalyticsRead])).await.unwrap_err().code(),
    ];
    assert_eq!(refused, [Code::PermissionDenied; 8]);
}

#[tokio::test]
async fn settings_are_changed_by_admins_and_read_by_all_who_read() {
    let world = world().await;
    let get = async || {
        let request = ask(pb::GetAnalysisSettingsRequest {}, &[Scope::AnalyticsRead]);
        world.handler.get_analysis_settings(request).await.unwrap().into_inner().settings.unwrap()
    };
    let first = pb::AnalysisSettings {
        silence_ms: 3_000,
        leading: "provider".to_owned(),
        taxonomy: Vec::new(),
        insight_enabled: Some(true),
    };
    assert_eq!(get().await, first);
    let settings = pb::AnalysisSettings { leading: "own".to_owned(), ..Default::default() };
    let request = pb::UpdateAnalysisSettingsRequest { settings: Some(settings), update_mask: None };
    let answer = world.handler.update_analysis_settings(ask(request, &[Scope::Admin])).await.unwrap();
    let changed = answer.into_inner().settings.unwrap();
    assert_eq!((changed.silence_ms, changed.leading.as_str()), (3_000, "own"));
    assert_eq!(get().await, changed);
    let bad = pb::AnalysisSettings { silence_ms: 70_000, ..Default::default() };
    let request = pb::UpdateAnalysisSettingsRequest { settings: Some(bad), update_mask: None };
    let error = world.handler.update_analysis_settings(ask(request, &[Scope::Admin])).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_answer_says_until_when_everything_is_in_it() {
    let world = world().await;
    world.hears_end(1).await;
    let ask_count = async || {
        let measures = vec![pb::Measure { op: "count".to_owned(), alias: "n".to_owned(), ..Default::default() }];
        let request = pb::QueryAnalyticsRequest { measures, ..Default::default() };
        let answer = world.handler.query_analytics(ask(request, &[Scope::AnalyticsRead])).await.unwrap().into_inner();
        answer.data_through.unwrap()
    };
    // It was received a second after the beginning of time, and nobody says that there is nothing more.
    assert_eq!(ask_count().await, timestamp_to_pb(at(1_000)));
    world.is_analysed(1).await;
    assert_eq!(ask_count().await, timestamp_to_pb(at(1_000)));
}
