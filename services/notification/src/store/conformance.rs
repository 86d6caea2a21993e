//! What every store must do.

mod housekeeping;
mod order;
mod people;
mod plans;
mod queue;

use std::collections::BTreeSet;
use std::sync::Arc;

use colloquy_storage::{Database, DatabaseUrl, Durability};
use colloquy_types::{ConversationId, OrganizationId, Position, RecordId, Timestamp};
use uuid::Uuid;

use super::samples::{at, delivery, endpoint, message};
use super::{Batch, Claimed, Finished, Known, Place, SetClientId, Store, migrations, open};
use crate::delivery::{Attempt, Delivery, Status};
use crate::endpoint::{DisabledReason, Endpoint, Filter, Kind, PreviousSecret, SealedSecrets};
use crate::message::Message;

/// A store with a database of its own.
pub(super) struct Fixture {
    store: Arc<dyn Store>,
    database: Database,
    _folder: tempfile::TempDir,
}

async fn fixture(url: impl FnOnce(&std::path::Path) -> DatabaseUrl) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&url(folder.path()), crate::NAME, Durability::Lazy, &migrations()).await.unwrap();
    Fixture { store: open(&database), database, _folder: folder }
}

async fn sqlite() -> Option<Fixture> {
    Some(fixture(|folder| DatabaseUrl::SqliteFolder(folder.to_owned())).await)
}

/// `None` when there is no server and none is required.
async fn postgres() -> Option<Fixture> {
    let url = colloquy_testkit::postgres::database_url().await?;
    Some(fixture(|_| DatabaseUrl::Postgres(url)).await)
}

macro_rules! notification_store_suite {
    ($($module:ident :: $case:ident),+ $(,)?) => {
        mod on_sqlite { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$module::$case(&super::sqlite().await.unwrap()).await;
            }
        )+ }
        mod on_postgres { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(fixture) = super::postgres().await {
                    super::$module::$case(&fixture).await;
                }
            }
        )+ }
    };
}

notification_store_suite!(
    endpoints::an_endpoint_comes_back_as_it_was,
    endpoints::an_organization_has_no_more_endpoints_than_its_limit,
    endpoints::a_page_of_endpoints_goes_on_where_the_last_ended,
    endpoints::a_change_to_what_was_changed_meanwhile_is_refused,
    endpoints::the_version_changes_whenever_an_endpoint_does,
    intake::a_batch_and_its_position_are_kept_together_and_once,
    intake::batches_of_any_size_are_kept_whole,
    intake::a_repeat_makes_no_deliveries_to_whoever_came_later,
    intake::the_same_ids_in_another_organization_are_another_message,
    intake::what_the_log_tells_late_is_told_although_it_was_added_before,
    intake::what_sources_say_is_completed_and_never_cleared,
    intake::what_a_person_set_counts_whatever_is_said_before_or_later,
    intake::a_record_is_set_aside_once,
    intake::replicas_that_read_the_same_keep_it_once,
    queue::each_delivery_is_claimed_by_one,
    queue::a_claim_that_runs_out_is_due_again,
    queue::what_the_reader_has_no_room_for_is_due_to_anybody,
    queue::the_longest_due_come_first_and_no_more_than_asked_for,
    queue::attempts_add_up_and_the_newest_are_kept,
    queue::what_a_worker_says_too_late_does_not_count_unless_it_was_taken,
    queue::since_when_an_endpoint_fails_is_noted,
    queue::what_is_removed_while_it_is_claimed_stays_removed,
    queue::what_is_pending_fails_with_its_endpoint,
    queue::a_body_is_kept_once,
    queue::a_dead_endpoint_hides_no_other,
    queue::the_backlog_is_what_is_pending_and_since_when,
    order::the_later_waits_until_the_earlier_has_ended,
    order::what_lies_beyond_a_gap_waits,
    order::what_comes_late_goes_first_but_not_beside,
    order::order_can_be_asked_for_and_given_up,
    order::what_is_about_no_conversation_waits_for_nothing,
    order::a_mark_made_while_the_position_moves_is_seen,
    order::replicas_that_read_and_send_at_once_keep_the_order,
    people::lists_show_what_is_asked_for_newest_first,
    people::organizations_and_endpoints_do_not_see_each_other,
    people::a_delivery_that_has_ended_can_be_tried_again,
    people::what_waits_for_its_next_attempt_can_be_tried_now,
    people::of_what_is_told_in_order_only_the_first_is_tried_now,
    people::everything_missed_in_a_stretch_of_time_is_tried_again,
    people::however_much_was_missed_is_tried_again_in_its_order,
    people::what_is_added_again_is_due_again,
    people::trying_again_does_not_grow_without_end,
    housekeeping::what_is_old_and_not_needed_goes,
    housekeeping::what_a_removed_endpoint_leaves_behind_goes,
    housekeeping::a_replay_is_worked_on_by_one_until_it_is_done,
);

fn acme() -> OrganizationId {
    "acme".parse().unwrap()
}

/// Until when the tests' readers claim.
fn soon() -> Timestamp {
    at(60_000)
}

/// Returns the batch of these messages, each delivered to each endpoint.
fn batch(messages: &[Message], endpoints: &[&Endpoint]) -> Batch {
    let deliveries = messages.iter().flat_map(|message| endpoints.iter().map(move |endpoint| delivery(message, endpoint)));
    Batch { messages: messages.to_vec(), deliveries: deliveries.collect(), ..Batch::default() }
}

impl Fixture {
    async fn create(&self, endpoint: &Endpoint) {
        assert!(self.store.create_endpoint(endpoint, 10_000).await.unwrap());
    }

    /// Applies messages for one endpoint, in order and without a gap; returns the numbers of the claimed.
    async fn apply(&self, messages: &[Message], endpoint: &Endpoint) -> BTreeSet<u64> {
        let through = messages.iter().map(|message| message.position.sequence()).max().unwrap_or_default();
        self.apply_through(messages, endpoint, through).await
    }

    async fn apply_through(&self, messages: &[Message], endpoint: &Endpoint, through: u64) -> BTreeSet<u64> {
        let batch = batch(messages, &[endpoint]);
        let claimed = self.store.apply(&batch, Position::end_of(through), soon(), &|_| ()).await.unwrap();
        let number =
            |id: &Uuid| batch.deliveries.iter().find(|delivery| delivery.delivery_id == *id).unwrap().position.sequence();
        assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), claimed.len());
        claimed.iter().map(number).collect()
    }

    async fn claim(&self, endpoint: &Endpoint, now: Timestamp) -> Vec<Claimed> {
        self.store.claim(endpoint, now, now.saturating_add_millis(60_000), 1_000).await.unwrap()
    }

    /// Claims; returns the numbers of the claimed.
    async fn numbers(&self, endpoint: &Endpoint, now: Timestamp) -> Vec<u64> {
        self.claim(endpoint, now).await.iter().map(|claimed| claimed.delivery.position.sequence()).collect()
    }

    async fn finish(&self, delivery: &Delivery, status: Status, next_attempt_at: Option<Timestamp>) {
        self.store.finish(&[finished(delivery, status, next_attempt_at)]).await.unwrap();
    }

    async fn delivery(&self, delivery: &Delivery) -> Option<Delivery> {
        self.store.delivery(&delivery.organization_id, delivery.endpoint_id, delivery.delivery_id).await.unwrap()
    }

    async fn has_work(&self, now: Timestamp) -> Vec<u128> {
        let mut endpoints = self.store.endpoints_with_work(now).await.unwrap();
        endpoints.sort();
        endpoints.into_iter().map(|(_, endpoint)| endpoint.as_u128()).collect()
    }
}

fn attempt(number: i64, status: Status) -> Attempt {
    let taken = status == Status::Succeeded;
    Attempt {
        at: at(number),
        status_code: Some(if taken { 204 } else { 503 }),
        duration_ms: 12,
        error: (!taken).then(|| "the answer was 503".to_owned()),
        response: Some("try\n\0later".to_owned()),
    }
}

fn finished(delivery: &Delivery, status: Status, next_attempt_at: Option<Timestamp>) -> Finished {
    Finished {
        organization_id: delivery.organization_id.clone(),
        delivery_id: delivery.delivery_id,
        endpoint_id: delivery.endpoint_id,
        attempt_count: delivery.attempt_count,
        attempt: Some(attempt(i64::from(delivery.attempt_count), status)),
        status,
        next_attempt_at,
    }
}

mod endpoints {
    use super::*;

    fn full() -> Endpoint {
        Endpoint {
            kind: Kind::Slack,
            description: "for the team".to_owned(),
            event_types: vec!["turn.*".to_owned(), "alert.opened".to_owned()],
            filter: Filter {
                agent_id: Some("a".to_owned()),
                client_id: Some("c \"'\\".to_owned()),
                channel: Some("phone".to_owned()),
            },
            ordered: true,
            rate_limit: std::num::NonZeroU32::new(10_000),
            sealed_headers: Some(vec![0, 255]),
            header_names: vec!["x-key".to_owned()],
            secrets: SealedSecrets {
                current: vec![0, 1],
                previous: [vec![2], vec![0, 255, 7], Vec::new()]
                    .into_iter()
                    .zip([9, 8, -3])
                    .map(|(sealed, moment)| PreviousSecret { sealed, expires_at: at(moment) })
                    .collect(),
            },
            failing_since: Some(at(1)),
            disabled_reason: Some(DisabledReason::Failing),
            enabled: false,
            ..endpoint("acme", 1)
        }
    }

    pub(super) async fn an_endpoint_comes_back_as_it_was(fixture: &Fixture) {
        for endpoint in [full(), endpoint("acme", 2), Endpoint { kind: Kind::Email, ..endpoint("globex", 2) }] {
            fixture.create(&endpoint).await;
            let kept = fixture.store.endpoint(&endpoint.organization_id, endpoint.endpoint_id).await.unwrap();
            assert_eq!(kept, Some(endpoint));
        }
        let (_, enabled) = fixture.store.enabled_endpoints().await.unwrap();
        assert_eq!(enabled.len(), 2);
        assert_eq!(fixture.store.endpoint(&acme(), Uuid::from_u128(3)).await.unwrap(), None);
    }

    pub(super) async fn an_organization_has_no_more_endpoints_than_its_limit(fixture: &Fixture) {
        for (number, expected) in [(1, true), (2, true), (3, false)] {
            assert_eq!(fixture.store.create_endpoint(&endpoint("acme", number), 2).await.unwrap(), expected);
        }
        assert!(fixture.store.create_endpoint(&endpoint("globex", 3), 2).await.unwrap());
    }

    pub(super) async fn a_page_of_endpoints_goes_on_where_the_last_ended(fixture: &Fixture) {
        for number in 0..7 {
            let created_at = at(i64::try_from(number).unwrap() / 2);
            fixture.create(&Endpoint { created_at, ..endpoint("acme", number) }).await;
        }
        fixture.create(&endpoint("globex", 9)).await;
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = fixture.store.page_of_endpoints(&acme(), after, 3).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(Place { created_at: last.created_at, id: last.endpoint_id });
            seen.extend(page.iter().map(|endpoint| endpoint.endpoint_id.as_u128()));
        }
        assert_eq!(seen, [6, 5, 4, 3, 2, 1, 0]);
    }

    pub(super) async fn a_change_to_what_was_changed_meanwhile_is_refused(fixture: &Fixture) {
        let first = endpoint("acme", 1);
        fixture.create(&first).await;
        let changed = Endpoint { revision: 2, url: "https://other.example".to_owned(), updated_at: at(3), ..first.clone() };
        assert!(fixture.store.replace_endpoint(&changed).await.unwrap());
        assert!(!fixture.store.replace_endpoint(&changed).await.unwrap());
        assert_eq!(fixture.store.endpoint(&acme(), first.endpoint_id).await.unwrap(), Some(changed));
        assert!(!fixture.store.replace_endpoint(&Endpoint { revision: 2, ..endpoint("acme", 2) }).await.unwrap());
    }

    pub(super) async fn the_version_changes_whenever_an_endpoint_does(fixture: &Fixture) {
        let store = &fixture.store;
        let mut versions = vec![store.endpoints_version().await.unwrap()];
        let first = endpoint("acme", 1);
        fixture.create(&first).await;
        versions.push(store.endpoints_version().await.unwrap());
        store.replace_endpoint(&Endpoint { revision: 2, ..first.clone() }).await.unwrap();
        versions.push(store.endpoints_version().await.unwrap());
        assert!(store.disable_endpoint(&acme(), first.endpoint_id, DisabledReason::Gone, at(1)).await.unwrap());
        assert!(!store.disable_endpoint(&acme(), first.endpoint_id, DisabledReason::Gone, at(1)).await.unwrap());
        let (version, enabled) = store.enabled_endpoints().await.unwrap();
        assert_eq!(enabled, []);
        versions.push(version);
        assert!(store.delete_endpoint(&acme(), first.endpoint_id).await.unwrap());
        versions.push(store.endpoints_version().await.unwrap());
        assert!(!store.delete_endpoint(&acme(), first.endpoint_id).await.unwrap());
        assert!(versions.windows(2).all(|pair| pair[0] != pair[1]), "{versions:?}");
        assert_eq!(store.endpoints_version().await.unwrap(), *versions.last().unwrap());
    }
}

mod intake {
    use super::*;

    pub(super) async fn a_batch_and_its_position_are_kept_together_and_once(fixture: &Fixture) {
        assert_eq!(fixture.store.position().await.unwrap(), Position::START);
        let endpoint = endpoint("acme", 1);
        fixture.create(&endpoint).await;
        let messages = [message("acme", 1, 1), message("acme", 1, 2), message("acme", 2, 3)];
        assert_eq!(fixture.apply(&messages, &endpoint).await, BTreeSet::from([1, 2, 3]));
        assert_eq!(fixture.apply(&messages, &endpoint).await, BTreeSet::new());
        assert_eq!(fixture.store.position().await.unwrap(), Position::end_of(3));
        fixture.store.apply(&Batch::default(), Position::end_of(2), soon(), &|_| ()).await.unwrap();
        assert_eq!(fixture.store.position().await.unwrap(), Position::end_of(3));
        let kept = fixture.delivery(&delivery(&messages[0], &endpoint)).await;
        assert_eq!(kept, Some(delivery(&messages[0], &endpoint)));
        // Whoever has nobody to tell has no deliveries.
        let nobody = super::endpoint("acme", 2);
        assert_eq!(fixture.apply(&[message("acme", 3, 4)], &nobody).await, BTreeSet::new());
        assert_eq!(fixture.store.backlog(at(0)).await.unwrap().0, 3);
    }

    pub(super) async fn batches_of_any_size_are_kept_whole(fixture: &Fixture) {
        let (plain, ordered) = (endpoint("acme", 1), Endpoint { ordered: true, ..endpoint("acme", 2) });
        fixture.create(&plain).await;
        fixture.create(&ordered).await;
        let mut next = 0;
        for size in [1, 7, 128, 129, 1_000] {
            let messages: Vec<Message> =
                (next..next + size).map(|number| message("acme", 1 + u128::from(number) % 100, number)).collect();
            next += size;
            let batch = batch(&messages, &[&plain, &ordered]);
            let claimed = fixture.store.apply(&batch, Position::end_of(next), soon(), &|_| ()).await.unwrap();
            let to_plain = batch.deliveries.iter().filter(|delivery| delivery.endpoint_id == plain.endpoint_id);
            assert!(to_plain.clone().all(|delivery| claimed.contains(&delivery.delivery_id)));
            assert!(claimed.len() <= to_plain.count() + 100);
        }
        assert_eq!(fixture.store.backlog(at(0)).await.unwrap().0, 2 * next);
        assert_eq!(fixture.numbers(&plain, soon()).await.len(), 1_000);
        assert_eq!(fixture.numbers(&ordered, soon()).await, (0..100).collect::<Vec<_>>());
    }

    pub(super) async fn a_repeat_makes_no_deliveries_to_whoever_came_later(fixture: &Fixture) {
        let (first, later) = (endpoint("acme", 1), endpoint("acme", 2));
        fixture.create(&first).await;
        let told = message("acme", 1, 1);
        fixture.apply(std::slice::from_ref(&told), &first).await;
        fixture.create(&later).await;
        let again = Message { position: Position::new(9, 0), ..told };
        let claimed =
            fixture.store.apply(&batch(&[again], &[&first, &later]), Position::end_of(9), soon(), &|_| ()).await.unwrap();
        assert_eq!(claimed, Vec::<Uuid>::new());
        assert_eq!(fixture.has_work(soon()).await, [1]);
    }

    pub(super) async fn the_same_ids_in_another_organization_are_another_message(fixture: &Fixture) {
        let (ours, theirs) = (endpoint("acme", 1), endpoint("other", 2));
        fixture.create(&ours).await;
        fixture.create(&theirs).await;
        let (our_message, their_message) = (message("acme", 1, 1), message("other", 1, 1));
        assert_eq!(our_message.message_id, their_message.message_id);
        fixture.apply(std::slice::from_ref(&our_message), &ours).await;
        fixture.finish(&delivery(&our_message, &ours), Status::Succeeded, None).await;
        // Ours comes again beside theirs, which is new.
        let deliveries = vec![delivery(&our_message, &ours), delivery(&their_message, &theirs)];
        let expected = deliveries[1].delivery_id;
        let both = Batch { messages: vec![our_message, their_message], deliveries, ..Batch::default() };
        assert_eq!(fixture.store.apply(&both, Position::end_of(1), soon(), &|_| ()).await.unwrap(), [expected]);
        assert_eq!(fixture.has_work(soon()).await, [2]);
    }

    pub(super) async fn what_the_log_tells_late_is_told_although_it_was_added_before(fixture: &Fixture) {
        let (replayed, other) = (endpoint("acme", 1), endpoint("acme", 2));
        fixture.create(&replayed).await;
        fixture.create(&other).await;
        let told = message("acme", 1, 1);
        let by_hand = delivery(&told, &replayed);
        fixture.store.add(std::slice::from_ref(&told), std::slice::from_ref(&by_hand), at(0)).await.unwrap();
        let claimed = fixture.claim(&replayed, at(0)).await;
        fixture.finish(&claimed[0].delivery, Status::Succeeded, None).await;
        let both = batch(&[told], &[&replayed, &other]);
        let claimed = fixture.store.apply(&both, Position::end_of(1), soon(), &|_| ()).await.unwrap();
        assert_eq!(claimed, [both.deliveries[1].delivery_id]);
        assert_eq!(fixture.delivery(&by_hand).await.unwrap().status, Status::Succeeded);
        assert_eq!(fixture.store.apply(&both, Position::end_of(1), soon(), &|_| ()).await.unwrap(), Vec::<Uuid>::new());
    }

    pub(super) async fn what_sources_say_is_completed_and_never_cleared(fixture: &Fixture) {
        let key = |number| (acme(), ConversationId(Uuid::from_u128(number)));
        let known = |agent: Option<&str>, client: Option<&str>| Known {
            agent_id: agent.map(str::to_owned),
            client_id: client.map(str::to_owned),
            ..Known::default()
        };
        let learn = |number, known| {
            let batch = Batch { known: vec![(acme(), ConversationId(Uuid::from_u128(number)), known)], ..Batch::default() };
            async move { fixture.store.apply(&batch, Position::START, soon(), &|_| ()).await.unwrap() }
        };
        learn(1, known(Some("a"), None)).await;
        learn(1, known(None, Some("c"))).await;
        learn(2, known(Some("b"), Some("d"))).await;
        learn(2, known(Some("e"), None)).await;
        let mut found = fixture.store.known(&[key(1), key(2), key(3)]).await.unwrap();
        found.sort_by_key(|(_, conversation, _)| *conversation);
        let expected = [(acme(), key(1).1, known(Some("a"), Some("c"))), (acme(), key(2).1, known(Some("e"), Some("d")))];
        assert_eq!(found, expected);
        assert_eq!(fixture.store.known(&[("globex".parse().unwrap(), key(1).1)]).await.unwrap(), []);
        // Twice in one batch.
        let twice = [known(Some("x"), None), known(None, Some("y")), known(Some("z"), None)];
        let batch = Batch { known: twice.map(|known| (acme(), key(4).1, known)).to_vec(), ..Batch::default() };
        fixture.store.apply(&batch, Position::START, soon(), &|_| ()).await.unwrap();
        assert_eq!(fixture.store.known(&[key(4)]).await.unwrap()[0].2, known(Some("z"), Some("y")));
    }

    pub(super) async fn what_a_person_set_counts_whatever_is_said_before_or_later(fixture: &Fixture) {
        let conversation = |number| ConversationId(Uuid::from_u128(number));
        let said = |client: &str| Known { client_id: Some(client.to_owned()), ..Known::default() };
        let set = |client: Option<&str>, moment| Known {
            set_client_id: Some(SetClientId { client_id: client.map(str::to_owned), at: at(moment) }),
            ..Known::default()
        };
        let cases = [
            (vec![said("acme"), set(None, 1)], None),
            (vec![said("acme"), set(None, 1), said("acme")], None),
            (vec![set(Some("beta"), 1), said("acme")], Some("beta")),
            (vec![said("acme"), set(Some("beta"), 1), said("acme"), said("gamma")], Some("beta")),
            (vec![set(Some("beta"), 1), said("acme"), set(None, 2), said("acme"), set(Some("gamma"), 3)], Some("gamma")),
            // The order they are heard of in does not matter.
            (vec![set(Some("gamma"), 3), set(None, 2), said("acme"), set(Some("beta"), 1)], Some("gamma")),
            (vec![set(None, 2), set(Some("beta"), 1), said("acme")], None),
        ];
        for (number, (steps, expected)) in (1_u128..).zip(&cases) {
            // One after the other, and all in one batch.
            for step in steps {
                let batch = Batch { known: vec![(acme(), conversation(number), step.clone())], ..Batch::default() };
                fixture.store.apply(&batch, Position::START, soon(), &|_| ()).await.unwrap();
            }
            let all = steps.iter().map(|step| (acme(), conversation(100 + number), step.clone())).collect();
            let batch = Batch { known: all, ..Batch::default() };
            fixture.store.apply(&batch, Position::START, soon(), &|_| ()).await.unwrap();
            for id in [conversation(number), conversation(100 + number)] {
                let found = fixture.store.known(&[(acme(), id)]).await.unwrap();
                assert_eq!(found[0].2.client_id(), *expected, "{steps:?}");
                // Releases that do not know of it read the same.
                assert_eq!(found[0].2.client_id.as_deref(), *expected, "{steps:?}");
            }
        }
    }

    pub(super) async fn a_record_is_set_aside_once(fixture: &Fixture) {
        for reason in ["first", "second"] {
            fixture.store.set_aside(&acme(), RecordId(Uuid::from_u128(1)), 7, reason, at(0)).await.unwrap();
        }
        let sql = "select reason from set_aside";
        let reasons: Vec<String> = match &fixture.database {
            Database::Sqlite(sqlite) => sqlx::query_scalar(sql).fetch_all(sqlite.readers()).await.unwrap(),
            Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        };
        assert_eq!(reasons, ["first"]);
    }

    pub(super) async fn replicas_that_read_the_same_keep_it_once(fixture: &Fixture) {
        let endpoint = endpoint("acme", 1);
        fixture.create(&endpoint).await;
        let mut tasks = tokio::task::JoinSet::new();
        for replica in 0..4_u64 {
            let (store, endpoint) = (Arc::clone(&fixture.store), endpoint.clone());
            tasks.spawn(async move {
                let mut claimed = Vec::new();
                for number in 0..20_u64 {
                    let mut messages: Vec<Message> =
                        (number..number + 10).map(|number| message("acme", u128::from(number % 7), number)).collect();
                    if replica % 2 == 1 {
                        messages.reverse();
                    }
                    let batch = batch(&messages, &[&endpoint]);
                    claimed.extend(store.apply(&batch, Position::end_of(number), soon(), &|_| ()).await.unwrap());
                }
                claimed
            });
        }
        let claimed: Vec<Uuid> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(claimed.len(), 29);
        assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 29);
    }
}
