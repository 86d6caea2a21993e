//! What queries must answer, on both engines, whatever is summed up: the same as counting by hand.

mod answers;
mod data;
mod mistakes;
mod rollups;
mod sets;

use std::sync::Arc;

use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_service::Describe as _;
use colloquy_service::Problem;
use colloquy_storage::{Database, DatabaseUrl, Durability};
use colloquy_types::{ManualClock, OrganizationId, Timestamp};

use super::Queries;
use crate::store::migrations;

/// When the tests run.
const NOW: &str = "2026-06-01T00:00:00Z";

/// A database of its own.
struct Fixture {
    database: Database,
    queries: Queries,
    organization: OrganizationId,
    _folder: tempfile::TempDir,
}

async fn fixture(url: impl FnOnce(&std::path::Path) -> DatabaseUrl) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&url(folder.path()), crate::NAME, Durability::Lazy, &migrations()).await.unwrap();
    let queries = Queries::new(&database, Arc::new(ManualClock::at(time(NOW))));
    Fixture { database, queries, organization: "acme".parse().unwrap(), _folder: folder }
}

async fn sqlite() -> Option<Fixture> {
    Some(fixture(|folder| DatabaseUrl::SqliteFolder(folder.to_owned())).await)
}

/// `None` when there is no server and none is required.
async fn postgres() -> Option<Fixture> {
    let url = colloquy_testkit::postgres::database_url().await?;
    Some(fixture(|_| DatabaseUrl::Postgres(url)).await)
}

macro_rules! suite {
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

suite!(
    answers::every_operation_agrees_with_counting_by_hand_however_much_is_summed_up,
    answers::dimensions_of_any_source_agree_with_counting_by_hand,
    answers::large_sets_are_answered_from_sketches_that_are_off_by_no_more_than_they_say,
    answers::the_database_finds_the_same_bins,
    answers::how_many_at_once_agrees_with_counting_by_hand,
    answers::amounts_of_several_currencies_have_no_sum,
    answers::numbers_too_large_for_a_sum_are_not_counted,
    answers::hours_are_those_of_the_clock_wherever_it_is_changed,
    answers::the_first_year_and_the_last_are_asked_for_together_as_long_as_they_are_few,
    answers::buckets_without_conversations_are_there,
    answers::a_histogram_of_nothing_is_nothing,
    answers::nothing_is_known_of_how_many_there_will_be_at_once,
    answers::how_many_at_once_by_the_hour_in_which_they_began,
    answers::rows_come_in_the_order_that_was_asked_for,
    answers::formulas_are_computed_in_every_row,
    answers::a_row_says_how_its_conversations_are_listed,
    answers::a_row_lists_as_many_conversations_as_it_counts,
    answers::another_organization_sees_nothing,
    mistakes::everything_that_is_wrong_is_named_at_once,
    mistakes::values_of_one_row_have_names_of_their_own,
    mistakes::a_million_buckets_are_refused_with_advice,
    mistakes::a_dimension_with_too_many_values_needs_an_order_and_a_limit,
    mistakes::values_that_are_left_out_are_not_too_many,
    mistakes::names_that_are_statements_are_only_names,
    rollups::a_change_after_the_summing_up_is_seen_at_once,
    rollups::what_is_removed_leaves_the_totals,
    rollups::the_newest_hour_is_left_alone,
    rollups::two_that_sum_up_at_the_same_time_do_not_disturb_each_other,
    sets::periods_are_compared_with_how_likely_the_difference_is_chance,
    sets::numbers_of_any_size_are_compared,
    sets::agents_are_listed_with_what_they_come_to,
    sets::the_most_frequent_ways_and_failures_are_found,
    sets::a_failure_names_the_turn_that_shows_it,
    sets::a_failure_in_silence_names_the_turn_before_the_longest,
    sets::rules_get_a_measure_and_its_conversations,
);

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn pb_time(text: &str) -> Option<prost_types::Timestamp> {
    let millis = time(text).as_millis();
    Some(prost_types::Timestamp { seconds: millis.div_euclid(1000), nanos: (millis.rem_euclid(1000) * 1_000_000) as i32 })
}

fn measure(field: &str, op: &str, alias: &str) -> pb::Measure {
    pb::Measure { field: field.to_owned(), op: op.to_owned(), alias: alias.to_owned(), filter: None }
}

fn filter(expression: &str) -> Option<ConversationFilter> {
    Some(ConversationFilter { expression: expression.to_owned(), ..ConversationFilter::default() })
}

fn question(
    measures: Vec<pb::Measure>,
    dimensions: &[&str],
    step: &str,
    zone: &str,
    from: &str,
    to: &str,
) -> pb::QueryAnalyticsRequest {
    pb::QueryAnalyticsRequest {
        measures,
        dimensions: dimensions.iter().map(|name| (*name).to_owned()).collect(),
        time: Some(pb::TimeRange { from: pb_time(from), to: pb_time(to), step: step.to_owned(), timezone: zone.to_owned() }),
        limit: 10_000,
        ..pb::QueryAnalyticsRequest::default()
    }
}

impl Fixture {
    async fn ask(&self, request: &pb::QueryAnalyticsRequest) -> pb::QueryAnalyticsResponse {
        self.queries.query(&self.organization, request).await.unwrap()
    }

    async fn refused(&self, request: &pb::QueryAnalyticsRequest) -> Problem {
        self.queries.query(&self.organization, request).await.unwrap_err().describe()
    }

    /// Sums up everything that is noted.
    async fn sum_up(&self) {
        while crate::store::rollups::sum_up(&self.database, time(NOW).as_millis()).await.unwrap() > 0 {}
    }
}

fn number(row: &pb::Row, alias: &str) -> Option<f64> {
    row.values.get(alias).map(|value| value.number)
}
