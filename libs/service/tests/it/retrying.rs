//! What is called again.

use std::time::Duration;

use bytes::Bytes;
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::Problem;
use colloquy_service::transport::{LocalSlot, outgoing};
use futures::future::join_all;
use tonic::{Code, Request, Status};

use crate::fake::{Client, Replica, Script, append, client, erase};

fn away() -> Status {
    Status::unavailable("away")
}

fn busy_for(wait: Duration) -> Status {
    Problem::unavailable("OVERLOADED", "too many calls at once", wait).into()
}

fn client_of(script: &Script) -> Client {
    let slot = LocalSlot::new();
    slot.fill(script.router());
    EventLogServiceClient::new(outgoing(slot.transport(), None))
}

#[tokio::test]
async fn an_idempotent_call_is_made_again_until_it_works() {
    let script = Script::new(1).fail_with([away(), busy_for(Duration::from_millis(50))]);
    assert_eq!(append(&client_of(&script)).await.unwrap(), 1);
    assert_eq!(script.calls(), 3);
}

#[tokio::test]
async fn it_works_over_the_network_as_in_one_process() {
    let script = Script::new(1).fail_with([away()]);
    let replica = Replica::start(&script).await;
    assert_eq!(append(&client(&[replica.address])).await.unwrap(), 1);
    assert_eq!(script.calls(), 2);
}

#[tokio::test]
async fn a_call_is_made_three_times_at_most() {
    let script = Script::new(1).fail_with([away(), away(), away(), away()]);
    assert_eq!(append(&client_of(&script)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(script.calls(), 3);
}

#[tokio::test]
async fn what_must_not_be_done_twice_is_called_once() {
    let script = Script::new(1).fail_with([away()]);
    assert_eq!(erase(&client_of(&script)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn only_what_is_unavailable_is_called_again() {
    for failure in [Status::internal("broken"), Status::aborted("no"), Status::resource_exhausted("full")] {
        let script = Script::new(1).fail_with([failure.clone()]);
        assert_eq!(append(&client_of(&script)).await.unwrap_err().code(), failure.code());
        assert_eq!(script.calls(), 1, "{failure:?}");
    }
}

#[tokio::test]
async fn a_long_wait_is_left_to_the_caller() {
    let script = Script::new(1).fail_with([busy_for(Duration::from_secs(1))]);
    let refused = append(&client_of(&script)).await.unwrap_err();
    assert_eq!(Problem::from_status(&refused).retry_after, Some(Duration::from_secs(1)));
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn a_long_request_is_not_kept_for_another_time() {
    let script = Script::new(1).fail_with([away()]);
    let record = pb::Record { raw_body: Bytes::from(vec![7; 2 << 20]), ..Default::default() };
    let failed = client_of(&script).append(pb::AppendRequest { records: vec![record] }).await.unwrap_err();
    assert_eq!((failed.code(), script.calls()), (Code::Unavailable, 1));
}

#[tokio::test]
async fn no_call_is_made_again_after_its_deadline() {
    let script = Script::new(1).fail_with((0..3).map(|_| busy_for(Duration::from_millis(300))));
    let mut request = Request::new(pb::AppendRequest::default());
    request.set_timeout(Duration::from_millis(400));
    let failed = client_of(&script).append(request).await.unwrap_err();
    assert!(script.calls() <= 2, "{} calls in 400 ms, 300 ms apart: {failed:?}", script.calls());
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_at_its_deadline() {
    let script = Script::new(1).closed();
    let mut request = Request::new(pb::AppendRequest::default());
    request.set_timeout(Duration::from_millis(200));
    assert_eq!(client_of(&script).append(request).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn a_deadline_covers_only_the_beginning_of_a_stream() {
    let script = Script::new(1);
    let mut request = Request::new(pb::TailRequest::default());
    request.set_timeout(Duration::from_millis(200));
    let mut stream = client_of(&script).tail(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().position, 1);
    let more = tokio::time::timeout(Duration::from_millis(400), stream.message()).await;
    assert!(more.is_err(), "a stream that goes on was ended: {more:?}");
    let held = Script::new(1).closed();
    let mut request = Request::new(pb::TailRequest::default());
    request.set_timeout(Duration::from_millis(200));
    assert_eq!(client_of(&held).tail(request).await.err().unwrap().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn an_outage_is_not_made_worse_by_retries() {
    const CALLS: usize = 500;
    let script = Script::new(1).fail_with((0..3 * CALLS).map(|_| away()));
    let client = client_of(&script);
    let answers = join_all((0..CALLS).map(|_| append(&client))).await;
    assert!(answers.iter().all(Result::is_err));
    // A fifth of the calls, and what is allowed in any case: ten a second, saved up for ten seconds.
    let again = script.calls() - CALLS;
    assert!((50..=CALLS / 5 + 110).contains(&again), "{again} of {CALLS} calls were made again");
}
