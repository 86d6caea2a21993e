//! What every engine must do.

use colloquy_events::{
    Alert, Analysis, Authority, Command, CommandDone, CommandKind, CommandRefused, ControlOffer, Data, EndStatus, Ended, Event,
    Facts, LeaseChange, LeaseState, Patch, Record, Role, Severity, Speech, SpeechState, Turn,
};
use colloquy_proto::conversation::v1 as pb;
use colloquy_storage::DatabaseUrl;
use colloquy_types::{ConversationId, EventId, OrganizationId, Position, Provider, RecordId, Timestamp, TurnId};
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::convert::record;
use crate::list::{Column, Filter, Place, Sort, SortField};

macro_rules! conversation_store_suite {
    ($name:ident, $start:path) => {
        mod $name {
            conversation_store_suite!(@cases $start;
                a_record_is_folded_from_what_was_applied,
                repeats_and_order_change_nothing,
                a_conversation_is_the_same_in_one_batch_and_in_many,
                organizations_do_not_see_each_other,
                every_filter_finds_what_it_should,
                every_expression_finds_what_it_should,
                the_longest_expressions_are_answered,
                a_list_can_be_narrowed_to_some_conversations,
                a_walk_sees_the_list_as_it_was_when_it_began,
                a_walk_beside_writers_sees_every_conversation_once,
                a_long_value_is_kept_but_not_filtered_by,
                agents_are_counted_and_recounted,
                what_never_ended_is_found_by_its_silence,
                history_knows_when_events_were_received,
                commands_are_history_and_change_nothing_else,
                what_is_not_of_the_record_is_not_kept_and_makes_no_conversation,
                concurrent_writers_lose_nothing,
                a_record_that_cannot_be_applied_is_kept,
            );
        }
    };
    (@cases $start:path; $($case:ident),+ $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            // There is no PostgreSQL everywhere; where there must be one, asking for it fails without.
            if let Some(fixture) = $start().await {
                super::$case(&fixture).await;
            }
        }
    )+ };
}

conversation_store_suite!(on_sqlite, super::sqlite);
conversation_store_suite!(on_postgres, super::postgres);

/// A store of its own for a test.
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn ConversationStore>,
    pub(crate) database: Database,
    _folder: Option<TempDir>,
}

impl Fixture {
    /// Returns the store as another process has it, where others may write too.
    async fn replica(&self) -> Arc<dyn ConversationStore> {
        match self.database {
            Database::Sqlite(_) => Arc::clone(&self.store),
            Database::Postgres(_) => over(&self.database).await.unwrap(),
        }
    }
}

pub(crate) async fn sqlite() -> Option<Fixture> {
    let folder = TempDir::new().unwrap();
    let database = open_database(&DatabaseUrl::SqliteFolder(folder.path().to_owned())).await.unwrap();
    Some(Fixture { store: over(&database).await.unwrap(), database, _folder: Some(folder) })
}

pub(crate) async fn postgres() -> Option<Fixture> {
    let url = colloquy_testkit::postgres::database_url().await?;
    let database = open_database(&DatabaseUrl::Postgres(url)).await.unwrap();
    Some(Fixture { store: over(&database).await.unwrap(), database, _folder: None })
}

pub(super) fn acme() -> OrganizationId {
    "acme".parse().unwrap()
}

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

pub(super) fn id(number: u128) -> ConversationId {
    ConversationId(Uuid::from_u128(number))
}

pub(super) fn event(conversation: u128, number: u128, time: i64, data: Data) -> Event {
    Event {
        event_id: EventId(Uuid::from_u128(conversation << 32 | number)),
        conversation_id: id(conversation),
        provider: Provider::Native,
        external_id: format!("c{conversation}"),
        occurred_at: at(time),
        ordinal: 0,
        data,
    }
}

pub(super) fn record_of(organization: &OrganizationId, events: Vec<Event>, received: i64) -> Record {
    Record {
        record_id: RecordId::derive(organization, events.iter().map(|event| event.event_id)),
        organization_id: organization.clone(),
        source_id: None,
        received_at: at(received),
        events,
        traceparent: String::new(),
        sequence: 1,
    }
}

pub(super) fn started(agent: &str, started_at: i64) -> Facts {
    Facts { agent_id: Some(agent.to_owned()), started_at: Some(at(started_at)), ..Facts::default() }
}

fn turn(number: u128, role: Role) -> Turn {
    Turn { text: Some("hello".to_owned()), ..Turn::new(TurnId(Uuid::from_u128(number)), role) }
}

pub(super) async fn apply(fixture: &Fixture, events: Vec<Event>) {
    apply_to(fixture, &acme(), events).await;
}

async fn apply_to(fixture: &Fixture, organization: &OrganizationId, events: Vec<Event>) {
    fixture.store.apply(&[record_of(organization, events, 1_000)], Position(1), at(1_000)).await.unwrap();
}

pub(super) async fn get(fixture: &Fixture, number: u128) -> Option<pb::Conversation> {
    let kept = fixture.store.get(&acme(), id(number)).await.unwrap()?;
    Some(record::decode(&kept.bytes, &acme(), kept.id).unwrap())
}

pub(super) fn query(filter: Filter, sort: Sort, limit: usize) -> Query {
    Query { organization_id: acme(), filter, sort, limit, cursor: None, count: true, among: None }
}

pub(super) async fn ids(fixture: &Fixture, query: &Query) -> Vec<u128> {
    let page = fixture.store.page(query, at(1_000)).await.unwrap();
    page.conversations.iter().map(|kept| kept.id.0.as_u128()).collect()
}

async fn a_record_is_folded_from_what_was_applied(fixture: &Fixture) {
    assert_eq!(fixture.store.position().await.unwrap(), Position::START);
    let events = vec![
        event(7, 1, 10, Data::Started(started("ann", 10))),
        event(7, 2, 20, Data::TurnAdded(turn(1, Role::Agent))),
        event(7, 3, 30, Data::TurnAdded(turn(2, Role::User))),
        event(7, 4, 40, Data::Ended(Ended::new(EndStatus::Completed))),
    ];
    fixture.store.apply(&[record_of(&acme(), events, 50)], Position(65_535), at(50)).await.unwrap();
    let conversation = get(fixture, 7).await.unwrap();
    assert_eq!(conversation.turn_count, 2);
    assert_eq!(conversation.status(), pb::ConversationStatus::Completed);
    assert_eq!(conversation.duration_ms, Some(30));
    assert_eq!((conversation.organization_id.as_str(), conversation.external_id.as_str()), ("acme", "c7"));
    assert_eq!(fixture.store.position().await.unwrap(), Position(65_535));
    fixture.store.apply(&[], Position(3), at(50)).await.unwrap();
    assert_eq!(fixture.store.position().await.unwrap(), Position(65_535));
    assert_eq!(get(fixture, 8).await, None);
}

async fn repeats_and_order_change_nothing(fixture: &Fixture) {
    let patch = Patch { tags: Some(vec!["vip".to_owned()]), ..Patch::default() };
    let course = |conversation| {
        vec![
            event(conversation, 1, 10, Data::Started(started("ann", 10))),
            event(conversation, 2, 20, Data::TurnAdded(turn(1, Role::Agent))),
            event(conversation, 3, 30, Data::TranscriptUpdated { turns: vec![turn(1, Role::Agent), turn(2, Role::User)] }),
            event(conversation, 4, 35, Data::TranscriptUpdated { turns: vec![turn(1, Role::Agent)] }),
            event(conversation, 5, 40, Data::Patched(patch.clone())),
        ]
    };
    apply(fixture, course(1)).await;
    for event in course(2).into_iter().rev() {
        apply(fixture, vec![event.clone()]).await;
        apply(fixture, vec![event]).await;
    }
    let first = get(fixture, 1).await.unwrap();
    let mut second = get(fixture, 2).await.unwrap();
    second.conversation_id.clone_from(&first.conversation_id);
    second.external_id.clone_from(&first.external_id);
    second.sessions.clone_from(&first.sessions);
    assert_eq!(first, second);
}

async fn a_conversation_is_the_same_in_one_batch_and_in_many(fixture: &Fixture) {
    let events = |conversation: u128| -> Vec<Event> {
        (0..40).map(|number| event(conversation, number, number as i64, Data::TurnAdded(turn(number, role(number))))).collect()
    };
    fn role(number: u128) -> Role {
        if number.is_multiple_of(3) { Role::User } else { Role::Agent }
    }
    apply(fixture, (1..=150).flat_map(events).collect()).await;
    for number in 0..40 {
        let one_each = (201..=350).filter_map(|conversation| events(conversation).into_iter().nth(number));
        apply(fixture, one_each.collect()).await;
    }
    let counts = |from: u128| async move {
        let mut counts = Vec::new();
        for number in from..from + 150 {
            counts.push(get(fixture, number).await.unwrap().turn_count);
        }
        counts
    };
    assert_eq!(counts(1).await, counts(201).await);
    assert_eq!(get(fixture, 1).await.unwrap().turn_count, 27);
}

async fn organizations_do_not_see_each_other(fixture: &Fixture) {
    let other: OrganizationId = "other".parse().unwrap();
    apply(fixture, vec![event(1, 1, 10, Data::Started(started("ann", 10)))]).await;
    apply_to(fixture, &other, vec![event(1, 1, 20, Data::Started(started("bob", 20)))]).await;
    assert_eq!(get(fixture, 1).await.unwrap().agent_id.as_deref(), Some("ann"));
    assert_eq!(ids(fixture, &query(Filter::default(), Sort::default(), 10)).await, [1]);
    let agents = fixture.store.agents(&other, None, 10).await.unwrap();
    assert_eq!(agents.iter().map(|agent| agent.agent_id.as_str()).collect::<Vec<_>>(), ["bob"]);
    assert!(fixture.store.events(&"third".parse().unwrap(), id(1)).await.unwrap().is_empty());
}

/// Two conversations that differ in everything a list can be filtered by.
async fn two_unlike(fixture: &Fixture) {
    for (number, word) in [(1, "a"), (2, "b")] {
        let text = Some(word.to_owned());
        let facts = Facts {
            agent_version_id: text.clone(),
            client_id: text.clone(),
            user_id: text.clone(),
            caller_number: text.clone(),
            channel: text.clone(),
            language: text.clone(),
            tags: vec![word.to_owned(), "both".to_owned()],
            ..started(word, number * 1_000)
        };
        let analysis = Analysis {
            call_successful: Some(if number == 1 { "success" } else { "failure" }.parse().unwrap()),
            resolution_status: Some(if number == 1 { "resolved" } else { "unresolved" }.parse().unwrap()),
            sentiment: Some(if number == 1 { "positive" } else { "negative" }.parse().unwrap()),
            topics: Some(vec![format!("topic {word}"), "any".to_owned()]),
            satisfaction_score: (number == 1).then_some(4.0),
            outcome: Some(colloquy_events::Outcome { result: text.clone(), ..Default::default() }),
            intent: text.clone(),
            ..Analysis::by(Authority::Provider)
        };
        let mut events =
            vec![event(number as u128, 1, 10, Data::Started(facts)), event(number as u128, 2, 20, Data::Analyzed(analysis))];
        if number == 1 {
            let ended = Ended {
                duration_ms: Some(5_000),
                end_reason: text.clone(),
                failure_code: text,
                ..Ended::new(EndStatus::Completed)
            };
            events.push(event(1, 3, 30, Data::Ended(ended)));
            events.push(event(1, 4, 30, Data::TurnAdded(turn(1, Role::User))));
        }
        apply(fixture, events).await;
    }
}

async fn every_filter_finds_what_it_should(fixture: &Fixture) {
    two_unlike(fixture).await;
    let value = |column| match column {
        Column::Provider => "native",
        Column::CallSuccessful => "success",
        Column::ResolutionStatus => "resolved",
        Column::Sentiment => "positive",
        _ => "a",
    };
    for column in Column::ALL {
        let found = ids(
            fixture,
            &query(Filter { equal: vec![(column, value(column).to_owned())], ..Filter::default() }, Sort::default(), 9),
        )
        .await;
        let expected = if column == Column::Provider { vec![2, 1] } else { vec![1] };
        assert_eq!(found, expected, "{column:?}");
    }
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let none = Filter::default;
    let cases = [
        (none(), vec![2, 1]),
        (Filter { statuses: vec!["completed"], ..none() }, vec![1]),
        (Filter { statuses: vec!["completed", "in_progress"], ..none() }, vec![2, 1]),
        (
            Filter { statuses: vec!["completed", "failed"], equal: vec![(Column::Provider, "native".to_owned())], ..none() },
            vec![1],
        ),
        (Filter { tags: words(&["a"]), ..none() }, vec![1]),
        (Filter { tags: words(&["a", "b", "both"]), ..none() }, vec![2, 1]),
        (Filter { topic: Some("topic b".to_owned()), ..none() }, vec![2]),
        (Filter { topic: Some("topic b".to_owned()), tags: words(&["both"]), ..none() }, vec![2]),
        (Filter { created_from: Some(at(2_000)), ..none() }, vec![2]),
        (Filter { created_before: Some(at(2_000)), ..none() }, vec![1]),
        (Filter { tags: words(&["both"]), created_before: Some(at(2_000)), ..none() }, vec![1]),
        (Filter { duration_min_ms: Some(5_000), ..none() }, vec![1]),
        (Filter { duration_max_ms: Some(4_999), ..none() }, vec![]),
    ];
    for (filter, expected) in cases {
        for field in SortField::ALL {
            let wanted = query(filter.clone(), Sort { field, descending: true }, 9);
            let mut found = ids(fixture, &wanted).await;
            let page = fixture.store.page(&wanted, at(1_000)).await.unwrap();
            assert_eq!(page.total, Some(expected.len() as i64), "{filter:?}");
            if field != SortField::CreatedAt {
                found.sort_unstable_by(|a, b| b.cmp(a));
            }
            assert_eq!(found, expected, "{filter:?} by {field:?}");
        }
    }
    // What has no value comes last in both directions.
    for descending in [true, false] {
        for field in [SortField::Duration, SortField::Satisfaction] {
            assert_eq!(ids(fixture, &query(none(), Sort { field, descending }, 9)).await, [1, 2]);
        }
    }
}

/// Returns the filter that an expression is.
pub(super) fn expression(text: &str) -> Filter {
    Filter::of(
        colloquy_filter::parse(text, colloquy_filter::View::Conversations).unwrap_or_else(|error| panic!("{text}: {error}")),
    )
}

async fn every_expression_finds_what_it_should(fixture: &Fixture) {
    two_unlike(fixture).await;
    apply(fixture, vec![event(3, 1, 10, Data::Started(Facts { started_at: Some(at(3_000)), ..Facts::default() }))]).await;
    let cases: [(&str, &[u128]); 34] = [
        ("", &[3, 2, 1]),
        ("agent_id = a OR agent_id = b", &[2, 1]),
        ("(agent_id = a OR agent_id = b) AND (status = completed OR status = failed)", &[1]),
        ("(agent_id = b OR agent_id = c) AND client_id = b", &[2]),
        ("(client_id = a OR client_id = b) AND (agent_id = a OR agent_id = c) AND tag:both", &[1]),
        ("agent_id != a", &[2]),
        ("NOT agent_id = a", &[3, 2]),
        ("agent_id:*", &[2, 1]),
        ("-agent_id:*", &[3]),
        ("agent_id = \"a*\"", &[1]),
        ("agent_id < b", &[1]),
        ("agent_id = \"a' or '1' = '1\" OR agent_id = \"%\" OR agent_id = \"?\" OR agent_id = \"$1\"", &[]),
        ("NOT (agent_id = a OR status = failed)", &[3, 2]),
        ("agent_version_id = b OR NOT agent_version_id:*", &[3, 2]),
        ("status = completed OR turn_count >= 1", &[1]),
        ("status != completed", &[3, 2]),
        ("turn_count < 0.5", &[3, 2]),
        ("tag:a", &[1]),
        ("tag:a tag:both", &[1]),
        ("tag:a tag:b", &[]),
        ("tag:a OR tag:b", &[2, 1]),
        ("tag:a OR topic:\"topic b\"", &[2, 1]),
        ("NOT tag:a", &[3, 2]),
        ("tag != a", &[2]),
        ("tag:*", &[2, 1]),
        ("tag = \"bo*\" AND NOT topic:\"topic a\"", &[2]),
        ("topic = \"topic*\"", &[2, 1]),
        ("duration_seconds = 5", &[1]),
        ("duration_seconds > 4.999 AND duration_ms <= 5000", &[1]),
        ("NOT duration_seconds > 10", &[3, 2, 1]),
        ("satisfaction_score >= 4", &[1]),
        ("created_at > 1970-01-01T00:00:01Z AND created_at <= 1970-01-01T00:00:02Z", &[2]),
        ("created_at = 1970-01-01T00:00:03Z", &[3]),
        ("caller = a OR (outcome = b AND language = b AND channel != x AND sentiment = negative)", &[2, 1]),
    ];
    for (text, expected) in cases {
        for field in SortField::ALL {
            let wanted = query(expression(text), Sort { field, descending: true }, 9);
            let mut found = ids(fixture, &wanted).await;
            assert_eq!(fixture.store.page(&wanted, at(1_000)).await.unwrap().total, Some(expected.len() as i64), "{text}");
            if field != SortField::CreatedAt {
                found.sort_unstable_by(|a, b| b.cmp(a));
            }
            assert_eq!(found, expected, "{text} by {field:?}");
        }
    }
}

async fn the_longest_expressions_are_answered(fixture: &Fixture) {
    two_unlike(fixture).await;
    let joined = |term: &str, word: &str| {
        let terms = (0..colloquy_filter::MOST_TERMS).map(|number| term.replace('#', &number.to_string()));
        terms.collect::<Vec<_>>().join(word)
    };
    let deep = format!("{}tag:both{}", "(".repeat(colloquy_filter::DEEPEST), ")".repeat(colloquy_filter::DEEPEST));
    let cases: [(String, &[u128]); 9] = [
        (joined("tag:both", " "), &[2, 1]),
        (joined("tag:t#", " "), &[]),
        (joined("NOT tag:t#", " "), &[2, 1]),
        (joined("tag != t#", " AND "), &[2, 1]),
        (joined("topic = \"t#*\"", " OR "), &[]),
        (joined("NOT agent_id = t#", " OR "), &[2, 1]),
        (joined("agent_id = t#", " OR "), &[]),
        (joined("turn_count > #", " OR "), &[1]),
        (deep, &[2, 1]),
    ];
    for (text, expected) in cases {
        let began = std::time::Instant::now();
        assert_eq!(ids(fixture, &query(expression(&text), Sort::default(), 9)).await, expected, "{text}");
        // Planning joins of so many tables would take a minute.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?} {text}", began.elapsed());
        let some = Query { among: Some(vec![Uuid::from_u128(1)]), ..query(expression(&text), Sort::default(), 9) };
        assert_eq!(ids(fixture, &some).await.len(), usize::from(expected.contains(&1)), "{text}");
    }
}

async fn a_list_can_be_narrowed_to_some_conversations(fixture: &Fixture) {
    two_unlike(fixture).await;
    apply(fixture, vec![event(3, 1, 10, Data::Started(started("a", 3_000)))]).await;
    // As many as are asked for at most, most of which are not there.
    let many: Vec<Uuid> = [1, 3].into_iter().chain(1_000..10_998).map(Uuid::from_u128).collect();
    for (among, filter, expected) in [
        (many, Filter::default(), vec![3, 1]),
        (vec![Uuid::from_u128(1), Uuid::from_u128(2)], expression("tag:both turn_count < 9"), vec![2, 1]),
        (vec![Uuid::from_u128(1), Uuid::from_u128(2)], expression("(tag:a OR tag:x) AND topic:any"), vec![1]),
        (vec![Uuid::from_u128(2), Uuid::from_u128(3)], expression("agent_id = a OR agent_id = b"), vec![3, 2]),
        (Vec::new(), Filter::default(), vec![]),
    ] {
        for field in [SortField::CreatedAt, SortField::TurnCount] {
            let wanted = Query { among: Some(among.clone()), ..query(filter.clone(), Sort { field, descending: true }, 9) };
            let mut found = ids(fixture, &wanted).await;
            found.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(found, expected);
            assert_eq!(fixture.store.page(&wanted, at(1_000)).await.unwrap().total, Some(expected.len() as i64));
            let candidates = fixture.store.candidates(&wanted, at(1_000)).await.unwrap();
            let mut places: Vec<u128> = candidates.places.iter().map(|cursor| cursor.after.id.as_u128()).collect();
            places.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!((places, candidates.has_more), (expected.clone(), false));
        }
    }
}

/// Walks a list to its end, changing it between pages, and returns what was seen.
pub(super) async fn walk(
    fixture: &Fixture,
    filter: &Filter,
    sort: Sort,
    limit: usize,
    mut changes: Vec<Vec<Event>>,
) -> Vec<u128> {
    let mut wanted = query(filter.clone(), sort, limit);
    let mut seen = Vec::new();
    for _ in 0..100 {
        let page = fixture.store.page(&wanted, at(1_000)).await.unwrap();
        assert!(page.conversations.len() <= limit);
        seen.extend(page.conversations.iter().map(|kept| kept.id.0.as_u128()));
        let Some(next) = page.next else { return seen };
        wanted.cursor = Some(next);
        if let Some(change) = changes.pop() {
            apply(fixture, change).await;
        }
    }
    panic!("the walk has no end: {seen:?}");
}

/// Changes some of what lists sort and filter by.
fn any_change() -> impl Strategy<Value = Vec<Event>> {
    let change = (0..12_u128, 0..8_u8, 0..4_i64, any::<u32>()).prop_map(|(conversation, kind, value, number)| {
        let time = 10_000 + i64::from(number % 1_000);
        let number = u128::from(number) + 100;
        let word = format!("w{value}");
        let data = match kind {
            0 => Data::Updated(colloquy_events::Update { facts: started(&word, value * 500), status: None }),
            1 => Data::Ended(Ended { duration_ms: Some(value * 100), ..Ended::new(EndStatus::Completed) }),
            2 => Data::TurnAdded(turn(number, if value % 2 == 0 { Role::User } else { Role::Agent })),
            3 => Data::Analyzed(Analysis {
                satisfaction_score: Some(1.0 + value as f64),
                topics: Some(vec![word]),
                ..Analysis::by(Authority::Provider)
            }),
            4 => Data::Patched(Patch { tags: Some(vec![word]), ..Patch::default() }),
            5 => Data::Analyzed(Analysis {
                intent: (value != 3).then(|| word.clone()),
                keywords: Some(vec![word.clone(), "w0".to_owned()]),
                custom_analysis: serde_json::json!({"plan": word, "size": value}).as_object().cloned(),
                ..Analysis::by(Authority::Provider)
            }),
            6 => Data::ErrorRaised(colloquy_events::ErrorRaised { code: word, message: None, component: None }),
            _ => Data::Updated(colloquy_events::Update {
                facts: Facts { client_id: Some(word), ..Facts::default() },
                status: None,
            }),
        };
        event(conversation, number, time, data)
    });
    prop::collection::vec(change, 1..5)
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let word = || (0..4_u8).prop_map(|value| format!("w{value}"));
    prop_oneof![
        Just(Filter::default()),
        word().prop_map(|word| Filter { equal: vec![(Column::AgentId, word)], ..Filter::default() }),
        word().prop_map(|word| Filter { equal: vec![(Column::ClientId, word)], ..Filter::default() }),
        Just(Filter { statuses: vec!["in_progress"], ..Filter::default() }),
        Just(Filter { statuses: vec!["initiated", "in_progress"], ..Filter::default() }),
        prop::collection::vec(word(), 1..3).prop_map(|tags| Filter { tags, ..Filter::default() }),
        word().prop_map(|topic| Filter { topic: Some(topic), ..Filter::default() }),
        (0..200_i64).prop_map(|least| Filter { duration_min_ms: Some(least), ..Filter::default() }),
        (0..2_000_i64).prop_map(|before| Filter { created_before: Some(at(before)), ..Filter::default() }),
        word().prop_map(|word| expression(&format!("agent_id = {word} OR client_id = {word}"))),
        word().prop_map(|word| expression(&format!("agent_id = {word} OR agent_id = w0 OR agent_id = w1"))),
        word().prop_map(|word| expression(&format!("NOT tag:{word} status != completed"))),
        word().prop_map(|word| expression(&format!("(topic:{word} OR tag:\"w*\") NOT client_id = {word}"))),
        (0..4_u8).prop_map(|count| expression(&format!("turn_count >= {count} OR NOT duration_seconds:*"))),
        word().prop_map(|word| expression(&format!("intent = {word}"))),
        word().prop_map(|word| expression(&format!("custom.plan = {word}"))),
        (0..4_u8).prop_map(|size| expression(&format!("custom.size = {size}"))),
        word().prop_map(|word| expression(&format!("NOT custom.plan:{word} keyword:w0"))),
        word().prop_map(|word| expression(&format!("error_code:{word} OR custom.size > 2"))),
        (0..2_000_i64).prop_map(|from| expression(&format!("started_at >= {}", at(from)))),
        Just(expression("external_id = c3 OR external_id = \"c1*\"")),
        Just(expression("external_id = c3")),
    ]
}

async fn a_walk_sees_the_list_as_it_was_when_it_began(fixture: &Fixture) {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    for round in 0..120_u32 {
        let mut draw =
            |strategy: proptest::strategy::BoxedStrategy<Vec<Event>>| strategy.new_tree(&mut runner).unwrap().current();
        // Every round goes on from where the one before left the conversations.
        let before: Vec<Event> = (0..4).flat_map(|_| draw(any_change().boxed())).collect();
        apply(fixture, before).await;
        let changes: Vec<Vec<Event>> = (0..12).map(|_| draw(any_change().boxed())).collect();
        let filter = any_filter().new_tree(&mut runner).unwrap().current();
        let field = SortField::ALL[round as usize % 4];
        let sort = Sort { field, descending: round % 8 < 4 };
        let limit = 1 + round as usize % 3;
        let at_start = ids(fixture, &query(filter.clone(), sort, 100)).await;
        let walked = walk(fixture, &filter, sort, limit, changes).await;
        assert_eq!(walked, at_start, "round {round}: {filter:?} {sort:?} {limit}");
    }
}

async fn a_walk_beside_writers_sees_every_conversation_once(fixture: &Fixture) {
    const CONVERSATIONS: u128 = 40;
    apply(fixture, (0..CONVERSATIONS).map(|number| event(number, 1, 10, Data::Started(started("ann", 10)))).collect()).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let mut writers = tokio::task::JoinSet::new();
    for replica in 0..2_u128 {
        writers.spawn(write_until(fixture.replica().await, replica, CONVERSATIONS, stop.clone()));
    }
    // A third one is asked.
    let asked = Fixture { store: fixture.replica().await, database: fixture.database.clone(), _folder: None };
    for round in 0..30 {
        let sort = Sort { field: SortField::ALL[round % 4], descending: round % 8 < 4 };
        let mut seen = walk(&asked, &Filter::default(), sort, 7, Vec::new()).await;
        seen.sort_unstable();
        assert_eq!(seen, (0..CONVERSATIONS).collect::<Vec<_>>(), "round {round}: {sort:?}");
    }
    stop.cancel();
    while let Some(written) = writers.join_next().await {
        assert!(written.unwrap() > 0);
    }
}

/// Changes what lists sort by until `stop`, half of it turns, and returns how often it did.
async fn write_until(
    store: Arc<dyn ConversationStore>,
    replica: u128,
    conversations: u128,
    stop: tokio_util::sync::CancellationToken,
) -> u128 {
    let mut round = 0;
    while !stop.is_cancelled() {
        let number = 100 + round * 2 + replica;
        let events = (0..conversations).filter(|conversation| (number + conversation * 7) % 5 < 2).map(|conversation| {
            let data = if round.is_multiple_of(2) {
                Data::Updated(colloquy_events::Update { facts: started("ann", (number * 31 % 997) as i64), status: None })
            } else {
                let role = if (number + conversation) % 4 < 2 { Role::User } else { Role::Agent };
                Data::TurnAdded(turn(number, role))
            };
            event(conversation, number, number as i64, data)
        });
        let record = record_of(&acme(), events.collect(), 1_000);
        store.apply(&[record], Position(1), at(1_000)).await.unwrap();
        round += 1;
    }
    round
}

async fn a_long_value_is_kept_but_not_filtered_by(fixture: &Fixture) {
    let long = "x".repeat(4096);
    let facts = Facts { tags: vec![long.clone(), "a\0b".to_owned()], channel: Some("a\0b".to_owned()), ..started(&long, 10) };
    apply(fixture, vec![event(1, 1, 10, Data::Started(facts))]).await;
    let conversation = get(fixture, 1).await.unwrap();
    assert_eq!(conversation.agent_id.as_deref(), Some(long.as_str()));
    assert_eq!(conversation.tags.len(), 2);
    assert_eq!(ids(fixture, &query(Filter::default(), Sort::default(), 9)).await, [1]);
}

async fn agents_are_counted_and_recounted(fixture: &Fixture) {
    let versioned = |agent: &str, version: &str, started_at, setting: i64| Facts {
        agent_name: Some(format!("{agent} {version}")),
        agent_version_id: Some(version.to_owned()),
        agent_version: serde_json::json!({"setting": setting}).as_object().cloned(),
        ..started(agent, started_at)
    };
    apply(
        fixture,
        vec![
            event(1, 1, 10, Data::Started(versioned("ann", "v1", 100, 1))),
            event(2, 1, 10, Data::Started(versioned("ann", "v2", 200, 2))),
            event(3, 1, 10, Data::Started(versioned("bob", "v1", 300, 3))),
        ],
    )
    .await;
    // The third turns out to have been led by another agent.
    let moved = colloquy_events::Update { facts: versioned("ann", "v2", 50, 4), status: None };
    apply(fixture, vec![event(3, 2, 20, Data::Updated(moved))]).await;
    let agents = fixture.store.agents(&acme(), None, 10).await.unwrap();
    let [ann] = agents.as_slice() else { panic!("{agents:?}") };
    assert_eq!((ann.conversation_count, ann.first_seen_at, ann.last_seen_at), (3, at(50), at(200)));
    assert_eq!(ann.name.as_deref(), Some("ann v2"));
    assert!(fixture.store.agents(&acme(), Some(("ann".to_owned(), "native".to_owned())), 10).await.unwrap().is_empty());
    let detailed = fixture.store.agent(&acme(), "ann").await.unwrap();
    let versions: Vec<_> = detailed[0]
        .versions
        .iter()
        .map(|version| (version.agent_version_id.as_str(), version.first_seen_at, version.snapshot_json.as_str()))
        .collect();
    assert_eq!(versions, [("v1", at(100), r#"{"setting":1}"#), ("v2", at(50), r#"{"setting":2}"#)]);
    assert!(fixture.store.agent(&acme(), "bob").await.unwrap().is_empty());
}

async fn what_never_ended_is_found_by_its_silence(fixture: &Fixture) {
    let sms = Facts { channel: Some("sms".to_owned()), ..started("ann", 10) };
    apply(
        fixture,
        vec![
            event(1, 1, 10, Data::Started(started("ann", 10))),
            event(2, 1, 10, Data::Started(sms)),
            event(3, 1, 10, Data::Ended(Ended::new(EndStatus::Completed))),
        ],
    )
    .await;
    let stuck = |silent, messages| async move {
        let stuck = fixture.store.stuck(at(silent), at(messages), 10).await.unwrap();
        stuck.iter().map(|stuck| stuck.conversation_id.0.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(stuck(1_000, 1_000).await, [0; 0]);
    assert_eq!(stuck(1_001, 1_000).await, [1]);
    assert_eq!(stuck(1_001, 1_001).await, [1, 2]);
    // Something was heard again: a turn alone is enough.
    let heard = record_of(&acme(), vec![event(1, 2, 20, Data::TurnAdded(turn(1, Role::User)))], 5_000);
    fixture.store.apply(&[heard], Position(2), at(5_000)).await.unwrap();
    assert_eq!(stuck(1_001, 1_001).await, [2]);
    let closed = Ended { inferred: true, ..Ended::new(EndStatus::Failed) };
    apply(fixture, vec![event(2, 9, 90, Data::Ended(closed))]).await;
    assert_eq!(stuck(9_000, 9_000).await, [1]);
}

async fn history_knows_when_events_were_received(fixture: &Fixture) {
    let first = record_of(&acme(), vec![event(1, 1, 10, Data::Started(started("ann", 10)))], 100);
    let second = record_of(&acme(), vec![event(1, 2, 5, Data::TurnAdded(turn(1, Role::User)))], 200);
    fixture.store.apply(&[first, second], Position(1), at(200)).await.unwrap();
    let mut events = fixture.store.events(&acme(), id(1)).await.unwrap();
    events.sort_by_key(|received| received.received_at);
    let seen: Vec<_> = events.iter().map(|received| (received.event.data.kind(), received.received_at)).collect();
    assert_eq!(seen, [("conversation.started", at(100)), ("turn.added", at(200))]);
    assert_eq!(events[0].event.external_id, "c1");
}

async fn commands_are_history_and_change_nothing_else(fixture: &Fixture) {
    let (command_id, command) = (Uuid::from_u128(9), CommandKind::Say);
    let given = Command { command_id, command, text: Some("wait".to_owned()), destination: None, muted: None, holder: None };
    let refused = CommandRefused { command_id, command, reason: "vendor_refused".to_owned(), detail: None };
    let lease = LeaseChange { state: LeaseState::Expired, holder: "ann".to_owned(), expires_at: None };
    let commands = |conversation| {
        vec![
            event(conversation, 11, 21, Data::ControlLeaseChanged(lease.clone())),
            event(conversation, 12, 22, Data::ControlAccepted(given.clone())),
            event(conversation, 13, 23, Data::ControlApplied(CommandDone { command_id, command })),
            event(conversation, 14, 24, Data::ControlRejected(refused.clone())),
        ]
    };
    let course = |conversation| {
        vec![
            event(conversation, 1, 20, Data::Started(started("ann", 20))),
            event(conversation, 2, 30, Data::TurnAdded(turn(1, Role::User))),
        ]
    };
    let rest = |mut conversation: pb::Conversation| {
        conversation.conversation_id.clear();
        conversation.external_id.clear();
        conversation.sessions.clear();
        conversation
    };
    apply(fixture, course(1)).await;
    let plain = rest(get(fixture, 1).await.unwrap());
    // After what else is known, before it, and between.
    apply(fixture, [course(2), commands(2)].concat()).await;
    apply(fixture, commands(3)).await;
    apply(fixture, course(3)).await;
    for pair in course(4).into_iter().zip(commands(4)) {
        apply(fixture, vec![pair.1, pair.0]).await;
    }
    apply(fixture, commands(4)).await;
    for conversation in 2..=4 {
        assert_eq!(rest(get(fixture, conversation).await.unwrap()), plain, "{conversation}");
        let mut history = fixture.store.events(&acme(), id(conversation)).await.unwrap();
        history.retain(|received| !received.event.data.is_about_turns());
        history.sort_by_key(|received| received.event.occurred_at);
        let expected: Vec<Event> = course(conversation).into_iter().take(1).chain(commands(conversation)).collect();
        assert_eq!(history.into_iter().map(|received| received.event).collect::<Vec<_>>(), expected);
    }
}

async fn what_is_not_of_the_record_is_not_kept_and_makes_no_conversation(fixture: &Fixture) {
    let alert = Alert {
        alert_id: Uuid::from_u128(1),
        rule_id: Uuid::from_u128(2),
        rule_name: "angry".to_owned(),
        severity: Severity::Critical,
        evidence: None,
    };
    let passing = |conversation| {
        vec![
            event(conversation, 11, 11, Data::SpeechUpdated(Speech { role: Role::User, state: SpeechState::Started })),
            event(conversation, 12, 12, Data::ControlOffered(ControlOffer { url: "https://voice.example/control".to_owned() })),
            event(conversation, 13, 13, Data::AlertOpened(alert.clone())),
            event(conversation, 14, 14, Data::AlertAcknowledged(alert.clone())),
            event(conversation, 15, 15, Data::AlertResolved(alert.clone())),
        ]
    };
    fixture.store.apply(&[record_of(&acme(), passing(1), 1_000)], Position(65_535), at(1_000)).await.unwrap();
    assert_eq!(fixture.store.position().await.unwrap(), Position(65_535), "it was read");
    assert_eq!(get(fixture, 1).await, None);
    assert!(fixture.store.events(&acme(), id(1)).await.unwrap().is_empty());

    apply(fixture, vec![event(2, 1, 10, Data::Started(started("ann", 10)))]).await;
    let plain = get(fixture, 2).await.unwrap();
    fixture.store.apply(&[record_of(&acme(), passing(2), 9_000)], Position(131_071), at(9_000)).await.unwrap();
    assert_eq!(get(fixture, 2).await.unwrap(), plain);
    assert_eq!(fixture.store.events(&acme(), id(2)).await.unwrap().len(), 1);
    assert_eq!(ids(fixture, &query(Filter::default(), Sort::default(), 10)).await, [2]);
}

async fn concurrent_writers_lose_nothing(fixture: &Fixture) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4_u128 {
        let store = fixture.store.clone();
        writers.spawn(async move {
            for number in 0..10_u128 {
                let events = (0..20).map(|conversation| {
                    let role = if number % 2 == 0 { Role::User } else { Role::Agent };
                    let number = number * 4 + writer;
                    event(conversation, number, number as i64, Data::TurnAdded(turn(number, role)))
                });
                let record = record_of(&acme(), events.collect(), 1_000);
                store.apply(&[record], Position(1), at(1_000)).await.unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    for conversation in 0..20 {
        assert_eq!(fixture.store.events(&acme(), id(conversation)).await.unwrap().len(), 40);
        assert_eq!(get(fixture, conversation).await.unwrap().turn_count, 10);
    }
}

async fn a_record_that_cannot_be_applied_is_kept(fixture: &Fixture) {
    let record = record_of(&acme(), vec![event(1, 1, 10, Data::Started(Facts::default()))], 100);
    let set_aside = SetAside { record, reason: "why\0not".to_owned(), at: at(5) };
    fixture.store.set_aside(&set_aside).await.unwrap();
    fixture.store.set_aside(&set_aside).await.unwrap();
    assert_eq!(get(fixture, 1).await, None);
}

#[tokio::test]
async fn every_filter_has_an_index_that_keeps_the_default_order() {
    let fixture = sqlite().await.unwrap();
    let Database::Sqlite(sqlite) = &fixture.database else { panic!("SQLite") };
    let words = || vec!["x".to_owned()];
    let mut filters: Vec<Filter> =
        Column::ALL.iter().map(|column| Filter { equal: vec![(*column, "x".to_owned())], ..Filter::default() }).collect();
    filters.extend([
        Filter::default(),
        Filter { statuses: vec!["failed"], ..Filter::default() },
        Filter { statuses: vec!["initiated", "in_progress"], ..Filter::default() },
        Filter { topic: Some("x".to_owned()), ..Filter::default() },
        Filter { tags: words(), ..Filter::default() },
        Filter { created_from: Some(at(1)), created_before: Some(at(2)), ..Filter::default() },
        Filter { duration_min_ms: Some(1), duration_max_ms: Some(2), ..Filter::default() },
        expression("agent_id = a OR agent_id = b"),
        expression("(agent_id = a OR agent_id = b) AND (status = completed OR status = failed)"),
        expression("agent_id = a OR agent_id = b OR turn_count > 5"),
        expression("turn_count > 5 AND satisfaction_score > 1 AND channel != phone AND NOT (outcome = x OR caller:*)"),
        expression("agent_id = a AND (tag:x OR topic = \"y*\") AND NOT tag:*"),
        expression("(tag:x OR tag:y) AND NOT agent_id = a"),
        expression("custom.plan = gold AND agent_id = a AND NOT custom.size > 5"),
        expression("custom.size = 5 AND status = failed"),
        expression("started_at > 2026-01-01T00:00:00Z AND (intent = a OR direction = inbound) AND cost > 1"),
    ]);
    let after = Place { key: crate::list::Key::Int(5), id: Uuid::nil() };
    // What was said somewhere is looked up, whatever else is asked.
    for filter in &filters {
        let among = Some(vec![Uuid::nil()]);
        let wanted = Query { among, ..query(filter.clone(), Sort::default(), 30) };
        for statement in list::statements::<sqlx::Sqlite>(&wanted) {
            let all = explain(sqlite.writer(), statement).await.join(" / ");
            assert!(all.contains("SEARCH c USING PRIMARY KEY (organization_id=? AND conversation_id=?)"), "{filter:?}: {all}");
        }
    }
    for filter in filters {
        for cursor in [None, Some(Cursor { version: 1, began_at: 1, after, frequent: false, common: false })] {
            for field in [SortField::CreatedAt, SortField::TurnCount] {
                if field != SortField::CreatedAt && filter != Filter::default() {
                    continue;
                }
                let wanted = Query { cursor, ..query(filter.clone(), Sort { field, descending: true }, 30) };
                for statement in list::statements::<sqlx::Sqlite>(&wanted) {
                    let plan = explain(sqlite.writer(), statement).await;
                    let all = plan.join(" / ");
                    let is_served =
                        |step: &String| step.contains("USING") && !step.contains("SCAN") || step.contains("SCALAR SUBQUERY");
                    assert!(plan.iter().all(is_served), "{filter:?}: {all}");
                    assert!(!all.contains("TEMP B-TREE"), "{filter:?}: {all}");
                }
            }
        }
    }
}

pub(super) async fn explain(pool: &sqlx::SqlitePool, statement: sqlx::QueryBuilder<sqlx::Sqlite>) -> Vec<String> {
    use super::engine::Engine;
    let mut connection = pool.acquire().await.unwrap();
    let explained = sqlx::QueryBuilder::<sqlx::Sqlite>::with_arguments(
        format!("explain query plan {}", statement.sql().as_str()),
        sqlx::sqlite::SqliteArguments::default(),
    );
    let rows = <sqlx::Sqlite as Engine>::fetch(&mut connection, explained).await.unwrap();
    rows.iter().map(|row| <sqlx::Sqlite as Engine>::text(row, 3).unwrap().unwrap()).collect()
}
