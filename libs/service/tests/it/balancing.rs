//! Which replica is called.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use colloquy_proto::log::v1 as pb;
use colloquy_service::server::Connections;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::fake::{Replica, Script, append, client, client_without_retries, erase, nobody, until};

#[tokio::test]
async fn every_replica_gets_calls() {
    let scripts = [Script::new(1), Script::new(2), Script::new(3)];
    let mut addresses = Vec::new();
    let mut replicas = Vec::new();
    for script in &scripts {
        let replica = Replica::start(script).await;
        addresses.push(replica.address);
        replicas.push(replica);
    }
    let client = client_without_retries(&addresses);
    let mut answered = BTreeSet::new();
    until("all three have answered", async || {
        answered.insert(append(&client).await.unwrap());
        answered.len() == 3
    })
    .await;
}

#[tokio::test]
async fn a_busy_replica_is_spared() {
    let (slow, quick) = (Script::new(1), Script::new(2));
    let (first, second) = (Replica::start(&slow).await, Replica::start(&quick).await);
    let client = client_without_retries(&[first.address, second.address]);
    let mut answered = BTreeSet::new();
    until("both have answered", async || {
        answered.insert(append(&client).await.unwrap());
        answered.len() == 2
    })
    .await;
    slow.close();
    let before = slow.calls();
    until("a call is stuck", async || {
        let client = client.clone();
        let call = tokio::spawn(async move { append(&client).await });
        until("the call is stuck or done", async || call.is_finished() || slow.calls() > before).await;
        slow.calls() > before
    })
    .await;
    for _ in 0..50 {
        assert_eq!(append(&client).await.unwrap(), 2, "the busy replica was called");
    }
}

#[tokio::test]
async fn a_replica_that_refuses_everything_at_once_fails_few_calls() {
    let refusal = || Status::unavailable("the database is away");
    let refusing = Script::new(1).fail_with(std::iter::repeat_with(refusal).take(100_000));
    let working = Script::new(2);
    let (first, second) = (Replica::start(&refusing).await, Replica::start(&working).await);
    let client = client_without_retries(&[first.address, second.address]);
    until("both have been called", async || {
        let _ = append(&client).await;
        refusing.calls() > 0 && working.calls() > 0
    })
    .await;
    let mut failed = 0;
    for _ in 0..300 {
        failed += usize::from(append(&client).await.is_err());
    }
    assert!(failed <= 30, "{failed} of 300 calls failed");
    // It is asked again from time to time.
    let before = refusing.calls();
    until("it is asked again", async || {
        let _ = append(&client).await;
        refusing.calls() > before
    })
    .await;
}

#[tokio::test]
async fn when_every_replica_refuses_all_of_them_are_asked() {
    let scripts = [1, 2].map(|number| Script::new(number).fail_with([Status::unavailable("the database is away")]));
    let (first, second) = (Replica::start(&scripts[0]).await, Replica::start(&scripts[1]).await);
    let client = client_without_retries(&[first.address, second.address]);
    until("both have refused", async || {
        let _ = append(&client).await;
        scripts.iter().all(|script| script.calls() > 0)
    })
    .await;
    append(&client).await.unwrap();
}

#[tokio::test]
async fn an_address_where_nobody_listens_fails_no_call() {
    let live = Replica::start(&Script::new(1)).await;
    let client = client_without_retries(&[nobody().await, live.address, nobody().await]);
    for _ in 0..200 {
        append(&client).await.unwrap();
    }
}

#[tokio::test]
async fn a_replica_that_listens_and_does_not_answer_yet_gets_no_calls() {
    // As one that has its port and still brings its database up to date, or one that hangs: the kernel accepts for it.
    let starting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let live = Replica::start(&Script::new(1)).await;
    let client = client_without_retries(&[starting.local_addr().unwrap(), live.address]);
    for _ in 0..100 {
        append(&client).await.unwrap();
    }
}

#[tokio::test]
async fn without_any_replica_calls_are_refused_at_once() {
    let client = client_without_retries(&[nobody().await, nobody().await]);
    let refused = append(&client).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("cannot be reached"), "{refused:?}");
    let since = Instant::now();
    for _ in 0..20 {
        assert_eq!(append(&client).await.unwrap_err().code(), Code::Unavailable);
    }
    assert!(since.elapsed().as_millis() < 2_000, "twenty refusals took {:?}", since.elapsed());
}

#[tokio::test]
async fn a_replica_that_dies_in_mid_use_fails_nothing_that_can_be_called_again() {
    let (first, second) = (Replica::start(&Script::new(1)).await, Replica::start(&Script::new(2)).await);
    let client = client(&[first.address, second.address]);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop, done) = (client.clone(), stop.clone(), done.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    append(&client).await.unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    until("calls are under way", async || done.load(Ordering::SeqCst) > 100).await;
    first.kill().await;
    let then = done.load(Ordering::SeqCst);
    until("calls go on", async || done.load(Ordering::SeqCst) > then + 200).await;
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn a_replica_that_comes_back_is_called_again() {
    let (first, second) = (Replica::start(&Script::new(1)).await, Replica::start(&Script::new(2)).await);
    let address = first.address;
    let client = client(&[address, second.address]);
    until("the first has answered", async || append(&client).await.unwrap() == 1).await;
    first.kill().await;
    for _ in 0..20 {
        assert_eq!(append(&client).await.unwrap(), 2);
    }
    let _back = Replica::start_with(&Script::new(3), address, Connections::default()).await;
    until("it is called again", async || append(&client).await.unwrap() == 3).await;
}

#[tokio::test]
async fn a_call_whose_connection_breaks_is_unavailable() {
    let script = Script::new(1).closed();
    let replica = Replica::start(&script).await;
    let client = client(&[replica.address]);
    let call = tokio::spawn(async move { erase(&client).await });
    until("the call has arrived", async || script.calls() == 1).await;
    replica.kill().await;
    let broken = call.await.unwrap().unwrap_err();
    assert_eq!(broken.code(), Code::Unavailable, "{broken:?}");
    assert_eq!(script.calls(), 1, "an erasure was made twice");
}

#[tokio::test]
async fn a_stream_whose_connection_breaks_ends_unavailable() {
    let replica = Replica::start(&Script::new(1)).await;
    let mut stream = client(&[replica.address]).tail(pb::TailRequest::default()).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().position, 1);
    replica.kill().await;
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_peer_that_hangs_up_at_once_is_left_alone() {
    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = rude.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let hanging_up = tokio::spawn(async move {
        while let Ok((stream, _)) = rude.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    let live = Replica::start(&Script::new(1)).await;
    let client = client(&[address, live.address]);
    let since = Instant::now();
    for _ in 0..300 {
        append(&client).await.unwrap();
    }
    // Waits double from 0.1 s: 20 attempts take far longer than this test.
    let attempts = taken.load(Ordering::SeqCst);
    assert!(attempts <= 8 + since.elapsed().as_secs() as usize, "{attempts} attempts in {:?}", since.elapsed());
    hanging_up.abort();
}
