use colloquy_events::{Data, Event, Facts, Record};
use colloquy_service::Describe;
use colloquy_types::{ConversationId, EventId, Position, Provider, RecordId};

use super::testing::Said;
use super::*;
use crate::list::{Filter, Sort};
use crate::store::conformance::{Fixture, postgres, sqlite};

fn organization() -> OrganizationId {
    "acme".parse().unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

/// Begins conversations, each a second after the one before.
async fn begin(fixture: &Fixture, numbers: impl Iterator<Item = u128>) {
    let events: Vec<Event> = numbers
        .map(|number| Event {
            event_id: EventId(Uuid::from_u128(number)),
            conversation_id: ConversationId(Uuid::from_u128(number)),
            provider: Provider::Native,
            external_id: format!("c{number}"),
            occurred_at: at(number as i64 * 1_000),
            ordinal: 0,
            data: Data::Started(Facts {
                agent_id: Some(if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned()),
                started_at: Some(at(number as i64 * 1_000)),
                ..Facts::default()
            }),
        })
        .collect();
    let record = Record {
        record_id: RecordId::derive(&organization(), events.iter().map(|event| event.event_id)),
        organization_id: organization(),
        source_id: None,
        received_at: at(1),
        events,
        traceparent: String::new(),
        sequence: 1,
    };
    fixture.store.apply(&[record], Position(1), at(1)).await.unwrap();
}

fn filter(text: &str) -> Filter {
    Filter::of(colloquy_filter::parse(text, colloquy_filter::View::Conversations).unwrap())
}

fn query(filter: Filter, limit: usize) -> Query {
    let organization_id = organization();
    Query { organization_id, filter, sort: Sort::default(), limit, cursor: None, count: false, among: None }
}

struct World {
    fixture: Fixture,
    said: Said,
    transcripts: Transcripts,
}

impl World {
    fn of(fixture: Fixture, too_many: usize) -> Self {
        let said = Said::listing_fewer_than(too_many);
        Self { transcripts: said.transcripts(), said, fixture }
    }

    async fn page(&self, word: &str, query: Query) -> Result<Page, Error> {
        let search = Search { words: word.to_owned(), min_position: 7 };
        self.transcripts.page(&*self.fixture.store, &search, query, at(1)).await
    }

    /// Walks a list to its end, doing something between pages, and returns what was seen and how many pages it took.
    async fn walk(&self, word: &str, mut query: Query, between: impl AsyncFn(u128)) -> (Vec<u128>, u128) {
        let mut seen = Vec::new();
        for pages in 1..1_000 {
            let page = self.page(word, query.clone()).await.unwrap();
            assert!(page.conversations.len() <= query.limit);
            seen.extend(page.conversations.iter().map(|kept| kept.id.0.as_u128()));
            if page.next.is_none() {
                return (seen, pages);
            }
            query.cursor = page.next;
            between(pages).await;
        }
        panic!("the walk has no end: {seen:?}");
    }
}

macro_rules! on_both_engines {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::sqlite().await.unwrap()).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $case() {
                // There is no PostgreSQL everywhere; where there must be one, asking for it fails without.
                if let Some(fixture) = super::postgres().await {
                    super::$case(fixture).await;
                }
            })+
        }
    };
}

on_both_engines!(
    rare_words_are_found_while_conversations_are_added,
    common_words_are_found_while_conversations_are_added,
    a_page_of_common_words_in_few_conversations_ends_before_it_is_full,
    frequent_words_fill_a_page_or_are_listed,
    what_matches_is_counted_when_it_can_be,
);

async fn found_while_conversations_are_added(world: &World) {
    begin(&world.fixture, 1_000..1_300).await;
    for number in (1_000..1_300).filter(|number| number % 3 == 0) {
        world.said.say("refund", Uuid::from_u128(number));
    }
    let add = async |pages: u128| {
        // Newer ones, which come before the walk's place, and an older one, which comes behind it.
        for number in [2_000 + pages, 500 + pages] {
            begin(&world.fixture, std::iter::once(number)).await;
            world.said.say("refund", Uuid::from_u128(number));
        }
    };
    let expected: Vec<u128> = (1_000..1_300).rev().filter(|number| number % 3 == 0).collect();
    let (seen, pages) = world.walk("refund", query(Filter::default(), 7), add).await;
    assert_eq!(seen, expected);
    assert!(pages >= 15, "{pages}");
    let even: Vec<u128> = expected.into_iter().filter(|number| number.is_multiple_of(2)).collect();
    let narrowed = filter("agent_id = even AND created_at >= 1970-01-01T00:16:40Z AND created_at < 1970-01-01T00:21:40Z");
    assert_eq!(world.walk("refund", query(narrowed, 100), async |_| {}).await.0, even);
    let negated = filter("NOT agent_id = odd AND turn_count = 0 AND created_at < 1970-01-01T00:16:40Z");
    assert!(world.walk("refund", query(negated, 100), async |_| {}).await.0.iter().all(|number| number.is_multiple_of(2)));
    assert_eq!(world.walk("nothing", query(Filter::default(), 7), async |_| {}).await.0, [0; 0]);
}

async fn rare_words_are_found_while_conversations_are_added(fixture: Fixture) {
    let world = World::of(fixture, usize::MAX);
    found_while_conversations_are_added(&world).await;
    let asked = world.said.asked();
    assert!(asked.iter().all(|asked| asked.limit == 1_000 && asked.conversation_ids.is_empty()));
    assert!(asked.iter().all(|asked| asked.min_position == 7 && asked.organization_id == "acme"));
}

async fn common_words_are_found_while_conversations_are_added(fixture: Fixture) {
    let world = World::of(fixture, 50);
    found_while_conversations_are_added(&world).await;
    // That they are common is asked at most once a walk, and known by its token: never where pages fill at once.
    let asked = world.said.asked();
    assert!(asked.iter().filter(|asked| asked.conversation_ids.is_empty()).count() <= 6);
    assert!(asked.len() > 15 && asked.iter().all(|asked| asked.min_position == 7));
}

async fn a_page_of_common_words_in_few_conversations_ends_before_it_is_full(fixture: Fixture) {
    let world = World::of(fixture, 1);
    let newest = 30_000_u128;
    for from in (1..=newest).step_by(5_000) {
        begin(&world.fixture, from..from + 5_000).await;
    }
    for number in [newest, 9_000, 8_000, 1] {
        world.said.say("refund", Uuid::from_u128(number));
    }
    let first = world.page("refund", query(Filter::default(), 10)).await.unwrap();
    assert_eq!(first.conversations.len(), 1);
    // Whether they are few, three of twenty looks, whether they can be listed, and the other looks.
    assert_eq!(world.said.asked().len(), 22);
    let (seen, pages) = world.walk("refund", query(Filter::default(), 10), async |_| {}).await;
    assert_eq!((seen, pages), (vec![newest, 9_000, 8_000, 1], 2));
    let counted = world.page("refund", Query { count: true, ..query(Filter::default(), 10) }).await.unwrap_err();
    let problem = counted.describe();
    assert_eq!((problem.code, problem.fields[0].field.as_str()), (Code::InvalidArgument, "include_total"));
    let narrowed = filter("created_at < 1970-01-01T03:00:00Z");
    let counted = world.page("refund", Query { count: true, ..query(narrowed, 1) }).await.unwrap();
    assert_eq!((counted.total, counted.conversations.len()), (Some(3), 1));
}

async fn frequent_words_fill_a_page_or_are_listed(fixture: Fixture) {
    let world = World::of(fixture, usize::MAX);
    begin(&world.fixture, 1..=4_500).await;
    // Most of them long ago.
    for number in (1..=1_500).chain(4_401..=4_430) {
        world.said.say("refund", Uuid::from_u128(number));
    }
    let limits = |world: &World| {
        let asked = world.said.asked();
        asked.iter().filter(|asked| asked.conversation_ids.is_empty()).map(|asked| asked.limit).collect::<Vec<_>>()
    };
    let first = world.page("refund", query(Filter::default(), 20)).await.unwrap();
    assert_eq!((first.conversations.len(), limits(&world)), (20, vec![1_000]));
    let next = world.page("refund", Query { cursor: first.next, ..query(Filter::default(), 20) }).await.unwrap();
    assert_eq!((next.conversations.len(), limits(&world)), (20, vec![10_000]));
    let expected: Vec<u128> = (4_401..=4_430).rev().chain((1..=1_500).rev()).collect();
    assert_eq!(world.walk("refund", query(Filter::default(), 20), async |_| {}).await.0, expected);
}

async fn what_matches_is_counted_when_it_can_be(fixture: Fixture) {
    let world = World::of(fixture, 20);
    begin(&world.fixture, 1..=40).await;
    for number in 1..=30 {
        world.said.say("common", Uuid::from_u128(number));
    }
    for number in 1..=10 {
        world.said.say("rare", Uuid::from_u128(number));
    }
    for (word, expression, expected) in
        [("rare", "", 10), ("rare", "agent_id = odd", 5), ("common", "", 30), ("common", "agent_id = odd", 15), ("never", "", 0)]
    {
        let page = world.page(word, Query { count: true, ..query(filter(expression), 3) }).await.unwrap();
        assert_eq!((page.total, page.conversations.len() as i64), (Some(expected), expected.min(3)), "{word} {expression}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_words_is_wrong_with_search() {
    let world = World::of(sqlite().await.unwrap(), 1);
    let bad = world.page("-refund", query(Filter::default(), 10)).await.unwrap_err().describe();
    assert_eq!((bad.code, bad.fields[0].field.as_str()), (Code::InvalidArgument, "search"));
    let away = world.page("away", query(Filter::default(), 10)).await.unwrap_err().describe();
    assert_eq!(away.code, Code::Unavailable);
}
