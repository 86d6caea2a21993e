//! What the store must do on every engine.

use std::sync::Arc;

use colloquy_types::{ConversationId, OrganizationId};
use serde_json::json;
use uuid::Uuid;

use super::{Backfill, Claimed, Done, Key, Place, Priority, Queued, Reservation, Reserved, RunFilter, Store, open};
use crate::analyzer::definition::Analyzer;
use crate::analyzer::run::{Found, FoundValue, Run, RunResult, Usage};
use crate::analyzer::samples::{analyzer, at, conversation, definition, organization};
use crate::testing::Fixture;

macro_rules! analyzer_store_suite {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = super::Fixture::sqlite().await.unwrap();
                super::$case(super::open(&fixture.database)).await;
            }
        )+ }
        mod on_postgres { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(fixture) = super::Fixture::postgres().await {
                    super::$case(super::open(&fixture.database)).await;
                }
            }
        )+ }
    };
}

analyzer_store_suite!(
    an_analyzer_comes_back_as_it_was,
    an_organization_has_no_more_analyzers_than_its_limit,
    a_page_of_analyzers_goes_on_where_the_last_ended,
    versions_stay_as_they_were,
    a_change_to_what_was_changed_meanwhile_is_refused,
    what_waits_goes_with_its_analyzer,
    a_run_comes_back_as_it_was,
    runs_are_listed_newest_first,
    the_newest_run_of_each_analyzer_counts,
    an_earlier_version_never_counts_again,
    equal_runs_are_found_and_failed_ones_are_not,
    versions_are_paired_by_conversation,
    each_conversation_is_taken_by_one,
    a_lease_that_runs_out_is_due_again,
    what_is_said_too_late_does_not_count,
    what_is_heard_meanwhile_is_asked_again,
    what_ended_just_now_goes_before_a_backfill,
    what_waits_is_never_asked_of_an_earlier_version,
    what_is_postponed_waits,
    a_run_is_told_until_it_was,
    replicas_stay_within_the_budget_together,
    what_was_put_aside_is_settled,
    what_nobody_settles_in_time_is_used,
    an_answer_is_kept_until_it_is_old,
    a_backfill_is_finished_when_nothing_of_it_is_left,
    a_list_is_gone_through_by_one,
);

fn acme() -> OrganizationId {
    organization("acme")
}

fn run(number: u128, of: u128, conversation_number: u128, millis: i64) -> Run {
    let value = FoundValue {
        value: Some(json!("Email")),
        absent_because: None,
        confidence: Some(0.25),
        turns: vec![crate::analyzer::samples::turn_id(1, 1)],
    };
    let found = Found {
        values: [("contact".to_owned(), value), ("heard".to_owned(), FoundValue::absent("not \0 said"))].into(),
        scorecard: [("polite".to_owned(), FoundValue { value: Some(json!(true)), ..FoundValue::default() })].into(),
    };
    Run {
        organization_id: acme(),
        run_id: Uuid::from_u128(number),
        analyzer_id: Uuid::from_u128(of),
        version: 1,
        conversation_id: conversation(conversation_number),
        model: "small".to_owned(),
        prompt_hash: [7; 32],
        result: RunResult::Succeeded(found),
        score: Some(0.75),
        usage: Usage { input: 100, output: 10 },
        at: at(millis),
        cached: false,
    }
}

fn failed(run: Run) -> Run {
    Run { result: RunResult::Failed("the model's answer is not JSON".to_owned()), score: None, ..run }
}

const LIVE: Queued =
    Queued { priority: Priority::Live, due_at: colloquy_types::Timestamp::MIN, version: None, backfill_id: None };

async fn enqueue(store: &dyn Store, number: u128, how: Queued) {
    store.enqueue(&acme(), &[(Uuid::from_u128(1), conversation(number))], how).await.unwrap();
}

/// Takes everything that is due, for a minute.
async fn claim(store: &dyn Store, millis: i64) -> Vec<Claimed> {
    store.claim(at(millis), at(millis + 60_000), 1_000).await.unwrap()
}

fn numbers(claimed: &[Claimed]) -> Vec<u128> {
    let mut numbers: Vec<u128> = claimed.iter().map(|one| one.conversation_id.0.as_u128()).collect();
    numbers.sort_unstable();
    numbers
}

async fn an_analyzer_comes_back_as_it_was(store: Arc<dyn Store>) {
    let full = Analyzer { agent_ids: vec!["a".to_owned(), "b \"'\\".to_owned()], ..analyzer("acme", 1) };
    let disabled = Analyzer { enabled: false, ..analyzer("acme", 2) };
    for one in [&full, &disabled, &analyzer("globex", 1)] {
        assert!(store.create_analyzer(one, 10).await.unwrap());
        assert_eq!(store.analyzer(&one.organization_id, one.analyzer_id).await.unwrap().as_ref(), Some(one));
    }
    assert_eq!(store.enabled_analyzers(&acme()).await.unwrap(), [full]);
    assert_eq!(store.analyzer(&acme(), Uuid::from_u128(3)).await.unwrap(), None);
    assert_eq!(store.analyzer(&organization("globex"), Uuid::from_u128(2)).await.unwrap(), None);
}

async fn an_organization_has_no_more_analyzers_than_its_limit(store: Arc<dyn Store>) {
    for (number, expected) in [(1, true), (2, true), (3, false)] {
        assert_eq!(store.create_analyzer(&analyzer("acme", number), 2).await.unwrap(), expected);
    }
    assert!(store.create_analyzer(&analyzer("globex", 3), 2).await.unwrap());
}

async fn a_page_of_analyzers_goes_on_where_the_last_ended(store: Arc<dyn Store>) {
    for number in 0..7 {
        let created_at = at(i64::try_from(number).unwrap() / 2);
        store.create_analyzer(&Analyzer { created_at, ..analyzer("acme", number) }, 100).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.page_of_analyzers(&acme(), after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(Place { at: last.created_at, id: last.analyzer_id });
        seen.extend(page.iter().map(|one| one.analyzer_id.as_u128()));
    }
    assert_eq!(seen, [6, 5, 4, 3, 2, 1, 0]);
}

async fn versions_stay_as_they_were(store: Arc<dyn Store>) {
    let first = analyzer("acme", 1);
    store.create_analyzer(&first, 10).await.unwrap();
    let mut second = Analyzer { version: 2, revision: 2, ..first.clone() };
    second.definition.fields.truncate(1);
    assert!(store.replace_analyzer(&second).await.unwrap());
    let version = async |version| store.definition(&acme(), first.analyzer_id, version).await.unwrap();
    assert_eq!(version(1).await, Some(definition()));
    assert_eq!(version(2).await, Some(second.definition.clone()));
    assert_eq!(version(3).await, None);
    assert!(store.delete_analyzer(&acme(), first.analyzer_id).await.unwrap());
    assert!(!store.delete_analyzer(&acme(), first.analyzer_id).await.unwrap());
    assert_eq!(version(1).await, Some(definition()));
}

async fn a_change_to_what_was_changed_meanwhile_is_refused(store: Arc<dyn Store>) {
    let first = analyzer("acme", 1);
    store.create_analyzer(&first, 10).await.unwrap();
    let changed = Analyzer { revision: 2, name: "Other".to_owned(), ..first.clone() };
    assert!(store.replace_analyzer(&changed).await.unwrap());
    assert!(!store.replace_analyzer(&changed).await.unwrap());
    assert_eq!(store.analyzer(&acme(), first.analyzer_id).await.unwrap(), Some(changed));
}

async fn what_waits_goes_with_its_analyzer(store: Arc<dyn Store>) {
    store.create_analyzer(&analyzer("acme", 1), 10).await.unwrap();
    enqueue(&*store, 1, LIVE).await;
    let claimed = claim(&*store, 0).await;
    store.delete_analyzer(&acme(), Uuid::from_u128(1)).await.unwrap();
    assert!(!store.finish(&claimed[0], Some(&run(1, 1, 1, 0)), Done::Succeeded).await.unwrap());
    assert_eq!(store.run(&acme(), Uuid::from_u128(1)).await.unwrap(), None);
    assert_eq!(store.next_due().await.unwrap(), None);
}

async fn a_run_comes_back_as_it_was(store: Arc<dyn Store>) {
    for run in [run(1, 1, 1, 0), failed(Run { cached: true, ..run(2, 1, 1, 1) })] {
        store.keep_run(&run).await.unwrap();
        assert_eq!(store.run(&acme(), run.run_id).await.unwrap(), Some(run.clone()));
        assert_eq!(store.run(&organization("globex"), run.run_id).await.unwrap(), None);
    }
}

async fn runs_are_listed_newest_first(store: Arc<dyn Store>) {
    for number in 0..6 {
        store.keep_run(&run(number, 1 + number % 2, 1 + number / 3, i64::try_from(number).unwrap() / 2)).await.unwrap();
    }
    let of = |analyzer: Option<u128>, conversation_number: Option<u128>| RunFilter {
        analyzer_id: analyzer.map(Uuid::from_u128),
        conversation_id: conversation_number.map(conversation),
    };
    let list = async |filter: RunFilter| {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.page_of_runs(&acme(), filter, after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(Place { at: last.at, id: last.run_id });
            seen.extend(page.iter().map(|one| one.run_id.as_u128()));
        }
        seen
    };
    assert_eq!(list(of(Some(1), None)).await, [4, 2, 0]);
    assert_eq!(list(of(None, Some(1))).await, [2, 1, 0]);
    assert_eq!(list(of(Some(2), Some(2))).await, [5, 3]);
    assert_eq!(store.page_of_runs(&organization("globex"), of(Some(1), None), None, 10).await.unwrap(), []);
}

async fn the_newest_run_of_each_analyzer_counts(store: Arc<dyn Store>) {
    let newest = [run(4, 2, 1, 5), run(3, 1, 1, 8)];
    for run in [&run(1, 1, 1, 0), &newest[1], &newest[0], &failed(run(5, 1, 1, 9)), &run(6, 3, 2, 9)] {
        store.keep_run(run).await.unwrap();
    }
    assert_eq!(store.newest_runs(&acme(), &[conversation(1)]).await.unwrap(), newest);
    let mut keys = store.newest_keys(&acme(), conversation(1)).await.unwrap();
    keys.sort_by_key(|key| key.analyzer_id);
    assert_eq!(keys, [Key::of(&run(5, 1, 1, 9)), Key::of(&newest[0])]);
}

async fn an_earlier_version_never_counts_again(store: Arc<dyn Store>) {
    let second = Run { version: 2, prompt_hash: [8; 32], ..run(2, 1, 1, 5) };
    // A back-fill of the first version comes to the conversation after the analyzer was changed.
    for run in [&run(1, 1, 1, 0), &second, &run(3, 1, 1, 9), &failed(Run { version: 3, ..run(4, 1, 1, 10) })] {
        store.keep_run(run).await.unwrap();
    }
    assert_eq!(store.newest_runs(&acme(), &[conversation(1)]).await.unwrap(), std::slice::from_ref(&second));
    let keys = store.newest_keys(&acme(), conversation(1)).await.unwrap();
    assert!(keys.len() == 3 && keys.contains(&Key::of(&second)) && keys.contains(&Key::of(&run(3, 1, 1, 9))), "{keys:?}");
}

async fn equal_runs_are_found_and_failed_ones_are_not(store: Arc<dyn Store>) {
    let kept = run(1, 1, 1, 0);
    store.keep_run(&kept).await.unwrap();
    store.keep_run(&failed(run(2, 1, 1, 5))).await.unwrap();
    let found = async |key: Key| store.equal_run(&acme(), conversation(1), &key).await.unwrap();
    assert_eq!(found(Key::of(&kept)).await, Some(kept.clone()));
    for other in [
        Key { version: 2, ..Key::of(&kept) },
        Key { model: "large".to_owned(), ..Key::of(&kept) },
        Key { prompt_hash: [8; 32], ..Key::of(&kept) },
        Key { analyzer_id: Uuid::from_u128(9), ..Key::of(&kept) },
    ] {
        assert_eq!(found(other).await, None);
    }
    assert_eq!(store.equal_run(&acme(), conversation(2), &Key::of(&kept)).await.unwrap(), None);
    let done = store.done_of(&acme(), Uuid::from_u128(1), 1, &[conversation(2), conversation(1)]).await.unwrap();
    assert_eq!(done, [conversation(1)]);
    assert_eq!(store.done_of(&acme(), Uuid::from_u128(1), 2, &[conversation(1)]).await.unwrap(), []);
    assert_eq!(store.done_of(&acme(), Uuid::from_u128(1), 1, &[]).await.unwrap(), []);
}

async fn versions_are_paired_by_conversation(store: Arc<dyn Store>) {
    for number in 1..=4 {
        store.keep_run(&run(number, 1, number, 0)).await.unwrap();
        if number != 2 {
            store.keep_run(&Run { version: 2, ..run(10 + number, 1, number, 1) }).await.unwrap();
        }
    }
    store.keep_run(&Run { version: 2, ..run(23, 1, 3, 5) }).await.unwrap();
    let mut seen = Vec::new();
    let mut after = ConversationId(Uuid::nil());
    loop {
        let pairs = store.pairs(&acme(), Uuid::from_u128(1), (1, 2), after, 2).await.unwrap();
        let Some((last, _)) = pairs.last() else { break };
        after = last.conversation_id;
        seen.extend(pairs.iter().map(|(one, other)| (one.run_id.as_u128(), other.run_id.as_u128())));
    }
    assert_eq!(seen, [(1, 11), (3, 23), (4, 14)]);
}

async fn each_conversation_is_taken_by_one(store: Arc<dyn Store>) {
    for number in 0..40 {
        enqueue(&*store, number, LIVE).await;
    }
    let take = |store: Arc<dyn Store>| async move {
        let mut taken = Vec::new();
        loop {
            let claimed = store.claim(at(0), at(60_000), 3).await.unwrap();
            if claimed.is_empty() {
                return taken;
            }
            taken.extend(claimed);
        }
    };
    let (one, other) = tokio::join!(tokio::spawn(take(store.clone())), tokio::spawn(take(store.clone())));
    let mut all = one.unwrap();
    all.extend(other.unwrap());
    assert_eq!(numbers(&all), (0..40).collect::<Vec<_>>());
}

async fn a_lease_that_runs_out_is_due_again(store: Arc<dyn Store>) {
    enqueue(&*store, 1, LIVE).await;
    assert_eq!(claim(&*store, 0).await.len(), 1);
    assert_eq!(claim(&*store, 59_999).await.len(), 0);
    assert_eq!(claim(&*store, 60_000).await.len(), 1);
}

async fn what_is_said_too_late_does_not_count(store: Arc<dyn Store>) {
    enqueue(&*store, 1, LIVE).await;
    let late = claim(&*store, 0).await;
    let next = claim(&*store, 60_000).await;
    assert!(!store.finish(&late[0], Some(&run(1, 1, 1, 0)), Done::Succeeded).await.unwrap());
    assert_eq!(store.run(&acme(), Uuid::from_u128(1)).await.unwrap(), None);
    assert!(store.finish(&next[0], Some(&run(2, 1, 1, 0)), Done::Succeeded).await.unwrap());
    assert!(!store.finish(&next[0], Some(&run(3, 1, 1, 0)), Done::Succeeded).await.unwrap());
    assert_eq!(
        store
            .page_of_runs(&acme(), RunFilter { conversation_id: Some(conversation(1)), ..RunFilter::default() }, None, 9)
            .await
            .unwrap()
            .len(),
        1
    );
}

async fn what_is_heard_meanwhile_is_asked_again(store: Arc<dyn Store>) {
    enqueue(&*store, 1, LIVE).await;
    let claimed = claim(&*store, 0).await;
    enqueue(&*store, 1, LIVE).await;
    assert_eq!(claim(&*store, 1).await.len(), 0);
    assert!(store.finish(&claimed[0], None, Done::Succeeded).await.unwrap());
    let again = claim(&*store, 1).await;
    assert_eq!(again.len(), 1);
    assert!(store.finish(&again[0], None, Done::Again { due_at: at(9), attempts: 2 }).await.unwrap());
    assert_eq!(claim(&*store, 8).await.len(), 0);
    let again = claim(&*store, 9).await;
    assert_eq!(again[0].attempts, 2);
    assert!(store.finish(&again[0], None, Done::Succeeded).await.unwrap());
    assert_eq!(claim(&*store, 1_000_000).await.len(), 0);
}

async fn what_ended_just_now_goes_before_a_backfill(store: Arc<dyn Store>) {
    let backfill = Queued { priority: Priority::Backfill, version: Some(3), backfill_id: Some(Uuid::from_u128(5)), ..LIVE };
    enqueue(&*store, 1, backfill).await;
    enqueue(&*store, 2, backfill).await;
    enqueue(&*store, 3, LIVE).await;
    // It is both.
    enqueue(&*store, 2, LIVE).await;
    let mut order = Vec::new();
    for _ in 0..3 {
        let claimed = store.claim(at(0), at(60_000), 1).await.unwrap();
        order.push((claimed[0].conversation_id.0.as_u128(), claimed[0].version));
    }
    assert_eq!(order[2], (1, Some(3)));
    order.sort_unstable();
    assert_eq!(order[1..], [(2, None), (3, None)]);
}

async fn what_waits_is_never_asked_of_an_earlier_version(store: Arc<dyn Store>) {
    let of = |version: Option<u32>| Queued { version, ..LIVE };
    for (number, versions, expected) in [
        (1, [None, Some(1)], None),
        (2, [Some(1), None], None),
        (3, [Some(2), Some(1)], Some(2)),
        (4, [Some(1), Some(2)], Some(2)),
    ] {
        for version in versions {
            enqueue(&*store, number, of(version)).await;
        }
        assert_eq!(claim(&*store, 0).await[0].version, expected, "{versions:?}");
    }
}

async fn what_is_postponed_waits(store: Arc<dyn Store>) {
    enqueue(&*store, 1, LIVE).await;
    store.enqueue(&organization("globex"), &[(Uuid::from_u128(1), conversation(2))], LIVE).await.unwrap();
    assert_eq!(store.postpone(&acme(), at(0), at(500)).await.unwrap(), 1);
    assert_eq!(numbers(&claim(&*store, 0).await), [2]);
    assert_eq!(numbers(&claim(&*store, 500).await), [1]);
}

async fn a_run_is_told_until_it_was(store: Arc<dyn Store>) {
    store.keep_run(&failed(run(1, 1, 1, 0))).await.unwrap();
    assert_eq!(store.claim_news(at(0), at(10), 9).await.unwrap(), []);
    store.keep_run(&run(2, 1, 1, 0)).await.unwrap();
    let first = store.claim_news(at(0), at(10), 9).await.unwrap();
    assert_eq!(first[0].conversation_id, conversation(1));
    assert_eq!(store.claim_news(at(9), at(20), 9).await.unwrap(), []);
    // Another comes while the first is told.
    store.keep_run(&run(3, 2, 1, 5)).await.unwrap();
    store.told(&first[0]).await.unwrap();
    let second = store.claim_news(at(10), at(20), 9).await.unwrap();
    assert_eq!(second.len(), 1);
    store.told(&second[0]).await.unwrap();
    assert_eq!(store.claim_news(at(1_000), at(2_000), 9).await.unwrap(), []);
}

/// What is put aside until a minute after the start.
fn reservation(day: i64, tokens: u64) -> Reservation {
    Reservation { id: Uuid::now_v7(), day, tokens, held_until: at(60_000) }
}

async fn replicas_stay_within_the_budget_together(store: Arc<dyn Store>) {
    let reserve = |store: Arc<dyn Store>| async move {
        let mut got = 0;
        for _ in 0..10 {
            got += u64::from(store.reserve_tokens(&acme(), &reservation(7, 30), at(0), 200).await.unwrap() == Reserved::Yes);
        }
        got
    };
    let (one, other) = tokio::join!(tokio::spawn(reserve(store.clone())), tokio::spawn(reserve(store.clone())));
    assert_eq!(one.unwrap() + other.unwrap(), 6);
    assert_eq!(store.tokens_of_day(&acme(), 7).await.unwrap(), (0, 180));
    let reserve = async |name: &str, day, tokens| {
        store.reserve_tokens(&organization(name), &reservation(day, tokens), at(0), 200).await.unwrap()
    };
    assert_eq!(reserve("acme", 8, 200).await, Reserved::Yes);
    assert_eq!(reserve("globex", 7, 201).await, Reserved::NotToday { left: 200 });
    assert_eq!(reserve("globex", 7, 30).await, Reserved::Yes);
}

async fn what_was_put_aside_is_settled(store: Arc<dyn Store>) {
    let reserve = async |reservation: &Reservation| store.reserve_tokens(&acme(), reservation, at(0), 200).await.unwrap();
    let first = reservation(7, 150);
    assert_eq!(reserve(&first).await, Reserved::Yes);
    assert_eq!(reserve(&reservation(7, 100)).await, Reserved::NotNow { left: 50 });
    store.settle_tokens(&acme(), &first, 40).await.unwrap();
    assert_eq!(store.tokens_of_day(&acme(), 7).await.unwrap(), (40, 0));
    assert_eq!(reserve(&reservation(7, 161)).await, Reserved::NotToday { left: 160 });
    let second = reservation(7, 160);
    assert_eq!(reserve(&second).await, Reserved::Yes);
    store.settle_tokens(&acme(), &second, 0).await.unwrap();
    assert_eq!(store.tokens_of_day(&acme(), 7).await.unwrap(), (40, 0));
}

async fn what_nobody_settles_in_time_is_used(store: Arc<dyn Store>) {
    let reserve =
        async |reservation: &Reservation, millis| store.reserve_tokens(&acme(), reservation, at(millis), 200).await.unwrap();
    let (first, second) = (reservation(7, 120), Reservation { held_until: at(90_000), ..reservation(7, 50) });
    assert_eq!(reserve(&first, 0).await, Reserved::Yes);
    assert_eq!(reserve(&second, 0).await, Reserved::Yes);
    assert_eq!(reserve(&reservation(7, 100), 59_999).await, Reserved::NotNow { left: 30 });
    assert_eq!(reserve(&reservation(7, 100), 60_000).await, Reserved::NotToday { left: 80 });
    assert_eq!(store.tokens_of_day(&acme(), 7).await.unwrap(), (120, 50));
    // Whoever had it was only slow.
    store.settle_tokens(&acme(), &first, 20).await.unwrap();
    assert_eq!(store.tokens_of_day(&acme(), 7).await.unwrap(), (20, 50));
    store.settle_tokens(&acme(), &second, 5).await.unwrap();
    assert_eq!(store.tokens_of_day(&acme(), 7).await.unwrap(), (25, 0));
}

async fn an_answer_is_kept_until_it_is_old(store: Arc<dyn Store>) {
    let answer = "ä\0".repeat(10_000);
    store.keep_answer(&acme(), &[1; 32], "first", at(0)).await.unwrap();
    store.keep_answer(&acme(), &[1; 32], &answer, at(5)).await.unwrap();
    assert_eq!(store.answer(&acme(), &[1; 32]).await.unwrap(), Some(answer));
    assert_eq!(store.answer(&organization("globex"), &[1; 32]).await.unwrap(), None);
    assert_eq!(store.answer(&acme(), &[2; 32]).await.unwrap(), None);
    assert_eq!(store.reserve_tokens(&acme(), &reservation(7, 1), at(0), 1).await.unwrap(), Reserved::Yes);
    assert_eq!(store.prune(at(5), 7, 10).await.unwrap(), 0);
    assert_eq!(store.prune(at(6), 8, 10).await.unwrap(), 3);
    assert_eq!(store.answer(&acme(), &[1; 32]).await.unwrap(), None);
}

fn backfill(number: u128) -> Backfill {
    Backfill {
        organization_id: acme(),
        backfill_id: Uuid::from_u128(number),
        analyzer_id: Uuid::from_u128(1),
        version: 2,
        filter: vec![0, 255],
        conversations: 5,
        already_done: 1,
        estimated_tokens: 4_000,
        estimated_days: 0.5,
        created_at: at(0),
        place: Some("- -".to_owned()),
    }
}

async fn a_backfill_is_finished_when_nothing_of_it_is_left(store: Arc<dyn Store>) {
    assert!(store.create_backfill(&backfill(1), 1).await.unwrap());
    assert!(!store.create_backfill(&backfill(2), 1).await.unwrap());
    let how = Queued { priority: Priority::Backfill, backfill_id: Some(Uuid::from_u128(1)), ..LIVE };
    enqueue(&*store, 1, how).await;
    enqueue(&*store, 2, how).await;
    store.advance_backfill(&acme(), Uuid::from_u128(1), None, at(0)).await.unwrap();
    let claimed = claim(&*store, 0).await;
    store.finish(&claimed[0], Some(&run(1, 1, 1, 0)), Done::Succeeded).await.unwrap();
    let state = store.backfill(&acme(), Uuid::from_u128(1)).await.unwrap().unwrap();
    assert_eq!((state.done, state.failed, state.is_finished), (1, 0, false));
    assert_eq!(state.backfill, Backfill { place: None, ..backfill(1) });
    store.finish(&claimed[1], None, Done::Failed).await.unwrap();
    let state = store.backfill(&acme(), Uuid::from_u128(1)).await.unwrap().unwrap();
    assert_eq!((state.done, state.failed, state.is_finished), (2, 1, true));
    assert_eq!(store.backfill(&organization("globex"), Uuid::from_u128(1)).await.unwrap(), None);
    assert!(store.create_backfill(&backfill(2), 1).await.unwrap());
}

async fn a_list_is_gone_through_by_one(store: Arc<dyn Store>) {
    store.create_backfill(&backfill(1), 1).await.unwrap();
    assert_eq!(store.claim_backfill(at(0), at(60)).await.unwrap(), Some(backfill(1)));
    assert_eq!(store.claim_backfill(at(59), at(60)).await.unwrap(), None);
    store.advance_backfill(&acme(), Uuid::from_u128(1), Some("next"), at(90)).await.unwrap();
    assert_eq!(store.claim_backfill(at(89), at(100)).await.unwrap(), None);
    assert_eq!(store.claim_backfill(at(90), at(100)).await.unwrap().unwrap().place.as_deref(), Some("next"));
    store.advance_backfill(&acme(), Uuid::from_u128(1), None, at(90)).await.unwrap();
    assert_eq!(store.claim_backfill(at(1_000), at(2_000)).await.unwrap(), None);
}
