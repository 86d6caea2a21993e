//! What every log engine must do, tested over each engine and over the gRPC client.

mod cases;
mod harness;
mod permissions;

/// Returns a record of one conversation.
pub(super) fn a_record() -> colloquy_events::Record {
    cases::turns(3).record
}

/// Makes a test of each case for one harness; those it names are about engines with servers.
macro_rules! event_log_suite {
    ($harness:ident $(, $own:ident)* $(,)?) => {
        mod $harness {
            crate::log::conformance::event_log_suite!(@cases $harness;
                $($own,)*
                what_was_answered_survives_a_crash,
                repeats_vanish_and_answer_where_the_first_ones_are,
                repeats_within_one_append_vanish,
                only_what_is_new_of_a_record_is_written,
                one_event_id_in_two_organizations_is_two_events,
                concurrent_appends_get_ascending_positions_without_gaps,
                concurrent_repeats_are_written_once,
                a_full_queue_refuses_and_loses_nothing,
                a_record_too_large_for_any_message_is_refused,
                a_consumer_gets_everything_in_order_in_batches,
                a_consumer_is_woken_by_an_append,
                a_record_greater_than_a_batch_comes_alone_and_whole,
                unacknowledged_batches_are_bounded,
                a_lost_stream_is_continued_by_another,
                streams_of_one_name_share_the_work,
                names_do_not_share_the_work,
                a_restart_resumes_after_what_was_acknowledged,
                a_reader_with_its_own_position_begins_after_it,
                a_position_beyond_the_end_is_refused,
                a_tail_begins_where_it_is_told_and_filters,
                a_tail_follows,
                a_tail_tells_how_far_the_log_was_read,
                a_tail_of_one_conversation_finds_it_in_a_long_log,
                a_tail_of_one_organization_sees_no_other,
                a_tail_ends_with_the_service,
                old_records_are_read_like_new_ones,
                an_erased_conversation_is_in_no_file,
                an_erasure_leaves_other_conversations_in_the_log,
                consumers_tell_how_far_they_have_come,
                events_after_an_erasure_are_dropped,
                a_raw_body_is_kept_for_its_organization_only,
            );
        }
    };
    (@cases $harness:ident; $($case:ident),+ $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            if let Some(subject) = crate::log::conformance::harness::Subject::$harness(Default::default()).await {
                crate::log::conformance::cases::$case(subject).await;
            }
        }
    )+ };
}
use event_log_suite;

event_log_suite!(embedded);
event_log_suite!(over_grpc);
event_log_suite!(
    jetstream,
    replicas_share_the_log,
    a_stream_made_anew_goes_on_with_the_numbers,
    a_record_in_parts_is_read_and_erased_whole,
);
event_log_suite!(jetstream_over_grpc);
event_log_suite!(
    jetstream_with_postgres,
    replicas_share_the_log,
    a_stream_made_anew_goes_on_with_the_numbers,
    a_record_in_parts_is_read_and_erased_whole,
);
