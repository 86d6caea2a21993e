//! How connections end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use colloquy_proto::log::v1 as pb;
use colloquy_service::health::Health;
use colloquy_service::server::{ConnectionAge, Connections, serve_connections};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::fake::{LIMIT, Replica, Script, bare, client, client_without_retries, erase, until};

async fn replica(script: &Script, after: Duration, grace: Duration) -> Replica {
    let connections = Connections { age: Some(ConnectionAge { after, grace }), ..Default::default() };
    Replica::start_with(script, SocketAddr::from(([127, 0, 0, 1], 0)), connections).await
}

#[tokio::test]
async fn an_old_connection_ends_its_streams_and_lets_calls_finish() {
    let script = Script::new(1);
    let replica = replica(&script, Duration::from_millis(300), LIMIT).await;
    let client = client_without_retries(&[replica.address]);
    let mut tail = client.clone().tail(pb::TailRequest::default()).await.unwrap().into_inner();
    let (_said, saying) = tokio::sync::mpsc::channel(1);
    let mut consume = client.clone().consume(ReceiverStream::new(saying)).await.unwrap().into_inner();
    let held = script.clone().closed();
    let slow = replica_of_same_age(&held).await;
    let slow_client = client_without_retries(&[slow.address]);
    let call = tokio::spawn(async move { erase(&slow_client).await });
    until("the call has arrived", async || held.calls() >= 3).await;

    // Both say what they have to say, and then to come again.
    assert_eq!(tail.message().await.unwrap().unwrap().position, 1);
    assert_eq!(consume.message().await.unwrap().unwrap().batch_id, 1);
    for ended in [tail.message().await.unwrap_err(), consume.message().await.unwrap_err()] {
        assert_eq!(ended.code(), Code::Unavailable, "{ended:?}");
        assert!(ended.message().contains("open the stream on another"), "{ended:?}");
    }
    // The call is on a connection of the same age, and goes on.
    assert!(!call.is_finished());
    held.open();
    call.await.unwrap().unwrap();
    erase(&client).await.unwrap();
}

async fn replica_of_same_age(script: &Script) -> Replica {
    replica(script, Duration::from_millis(100), LIMIT).await
}

#[tokio::test]
async fn connections_that_end_all_the_time_fail_no_call() {
    let script = Script::new(1);
    let replica = replica(&script, Duration::from_millis(100), LIMIT).await;
    let client = client_without_retries(&[replica.address]);
    let done = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, done) = (client.clone(), done.clone());
            tokio::spawn(async move {
                let since = std::time::Instant::now();
                // Fifteen connections' time.
                while since.elapsed() < Duration::from_millis(1_500) {
                    erase(&client).await.unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(script.calls(), done.load(Ordering::SeqCst), "a call was made twice");
}

#[tokio::test]
async fn a_call_that_outlasts_the_grace_is_broken_off() {
    let script = Script::new(1).closed();
    let replica = replica(&script, Duration::from_millis(50), Duration::from_millis(50)).await;
    assert_eq!(erase(&client(&[replica.address])).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_who_watches_health() {
    let (health, routes) = Health::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let connections = Connections::default();
    let serving = tokio::spawn(serve_connections(listener, routes.into_axum_router(), connections, stop.clone(), LIMIT));
    let mut client = HealthClient::new(bare(&[address]));
    let mut watching = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watching.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    health.set(&[""], true).await;
    assert_eq!(watching.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let since = Instant::now();
    stop.cancel();
    serving.await.unwrap();
    assert!(since.elapsed() < LIMIT / 2, "the stop took {:?}", since.elapsed());
    assert_eq!(watching.message().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_speak_is_not_waited_for() {
    let script = Script::new(1);
    let replica = Replica::start(&script).await;
    for said in ["", "PRI * HTTP/2.0"] {
        let mut silent = TcpStream::connect(replica.address).await.unwrap();
        silent.write_all(said.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        // The clock runs ahead while nothing happens, so this takes no time.
        let ended = tokio::time::timeout(Duration::from_secs(15), silent.read_to_end(&mut heard)).await;
        assert!(ended.is_ok(), "after '{said}' the server still waits");
    }
}
