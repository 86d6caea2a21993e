use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use colloquy_outbound::Policy;
use colloquy_types::ManualClock;
use futures::TryStreamExt;
use tokio::task::JoinHandle;

use super::*;
use crate::recording::objects::ObjectKey;
use crate::recording::testing::{NOW, World, at, available, conversation_id, event, organization, sqlite, wait_until};

const MP3: &[u8] = b"ID3\x04\0\0\0\0\0\0 pretend music";

/// A provider's file server on loopback.
struct Files {
    address: SocketAddr,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    /// How many requests are answered with 503 first.
    unavailable: Mutex<usize>,
}

impl Drop for Files {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Files {
    async fn serve() -> Self {
        let seen = Arc::new(Seen::default());
        let app = Router::new().route("/{name}", get(answer)).with_state(Arc::clone(&seen));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, seen, serving }
    }

    fn url(&self, name: &str) -> String {
        format!("http://{}/{name}?signature=secret-signature", self.address)
    }

    fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }
}

async fn answer(State(seen): State<Arc<Seen>>, Path(name): Path<String>) -> Response {
    seen.requests.fetch_add(1, Ordering::SeqCst);
    {
        let mut unavailable = seen.unavailable.lock().unwrap();
        if *unavailable > 0 {
            *unavailable -= 1;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    match name.as_str() {
        "call.mp3" => MP3.into_response(),
        "inwards" => (StatusCode::FOUND, [(header::LOCATION, "http://169.254.169.254/latest/meta-data")]).into_response(),
        "page" => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], "<html>please sign in</html>").into_response(),
        "empty" => "".into_response(),
        "large" => {
            Body::from_stream(futures::stream::repeat(Ok::<_, Infallible>(Bytes::from_static(&[7; 65_536])))).into_response()
        }
        // The first bytes come, the last never.
        "stalled" => {
            let first = futures::stream::once(async { Ok::<_, Infallible>(Bytes::from_static(MP3)) });
            Body::from_stream(first.chain(futures::stream::pending())).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

const TIMING: Timing = Timing { poll: Duration::from_millis(5), lease: Duration::from_secs(60), renew: Duration::from_millis(5) };

/// A worker and the way to end it.
struct Worker {
    running: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Worker {
    fn start(world: &World) -> Self {
        Self::allowed(world, "127.0.0.0/8")
    }

    fn allowed(world: &World, networks: &str) -> Self {
        Self::timed(world, networks, TIMING)
    }

    fn timed(world: &World, networks: &str, timing: Timing) -> Self {
        let stop = CancellationToken::new();
        let fetcher = Fetcher {
            recordings: Arc::clone(&world.recordings),
            client: Client::new(networks.parse::<Policy>().unwrap()).unwrap(),
            clock: Arc::new(world.clock.clone()),
            timing,
            stop: stop.clone(),
        };
        Self { running: tokio::spawn(fetcher.run()), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }

    /// Ends it as a killed process ends: without a word.
    async fn kill(self) {
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
    }
}

async fn world() -> (World, Files) {
    (sqlite().await.unwrap(), Files::serve().await)
}

/// Waits for the first outcome: the content, or why there is none.
async fn outcome(world: &World) -> Result<Vec<u8>, String> {
    wait_until("an outcome", || !world.log.outcomes().is_empty()).await;
    let recording = world.log.outcomes().remove(0)?;
    let key = ObjectKey::read(&organization("acme"), recording.object_key.as_deref().unwrap()).unwrap();
    let pieces: Vec<Bytes> = world.recordings.objects.read(&key, 0..recording.size_bytes.unwrap()).try_collect().await.unwrap();
    assert_eq!(recording.url, None);
    Ok(pieces.concat())
}

async fn next_attempt_at(world: &World, after: i64) -> bool {
    let claimed = world.recordings.store.claim(at(after), at(after + 1), 10).await.unwrap();
    for fetch in &claimed {
        world.recordings.store.release(fetch, at(after)).await.unwrap();
    }
    !claimed.is_empty()
}

#[tokio::test]
async fn a_recording_is_fetched_once_and_stored() {
    let (world, files) = world().await;
    world.announce("ended", &files.url("call.mp3")).await;
    let worker = Worker::start(&world);
    assert_eq!(outcome(&world).await.as_deref(), Ok(MP3));
    let recording = world.log.outcomes().remove(0).unwrap();
    assert_eq!(recording.content_type.as_deref(), Some("audio/mpeg"));
    let kept = world.recordings.store.kept(&organization("acme"), conversation_id()).await.unwrap();
    assert_eq!(kept.len(), 1);
    // What comes later of the same recording is not fetched again.
    world.log.write(event("analyzed", NOW + 1, 0, available(&files.url("other.mp3")))).await;
    world.clock.advance_millis(86_400_000);
    worker.stop().await;
    assert!(!next_attempt_at(&world, NOW + 100_000_000).await);
    assert_eq!((files.requests(), world.log.outcomes().len()), (1, 1));
}

#[tokio::test]
async fn what_is_not_there_is_given_up_without_telling_the_url() {
    let (world, files) = world().await;
    for name in ["gone.mp3", "page"] {
        let position = world.log.outcomes().len();
        world.log.write(event(name, NOW + position as i64, 0, available(&files.url(name)))).await;
        let worker = Worker::start(&world);
        wait_until("a failure", || world.log.outcomes().len() > position).await;
        worker.stop().await;
        let reason = world.log.outcomes().pop().unwrap().unwrap_err();
        assert!(!reason.contains("secret") && !reason.contains(name), "{reason}");
    }
    let reasons: Vec<_> = world.log.outcomes().into_iter().map(Result::unwrap_err).collect();
    assert!(reasons[0].contains("404") && reasons[1].contains("text/html"), "{reasons:?}");
    assert!(!next_attempt_at(&world, NOW + 100_000_000).await);
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_again_after_a_while() {
    let (world, files) = world().await;
    *files.seen.unavailable.lock().unwrap() = 2;
    world.announce("ended", &files.url("call.mp3")).await;
    let worker = Worker::start(&world);
    for (requests, wait_ms) in [(1, 6_000), (2, 36_000)] {
        wait_until("an attempt", || files.requests() == requests).await;
        // The claim's end is moved to the next attempt once the failure has been noted; until then nothing is due.
        let id = conversation_id();
        wait_until_due(&world, id.to_string(), wait_ms).await;
        assert_eq!(files.requests(), requests, "it waits");
        world.clock.advance_millis(wait_ms);
    }
    assert_eq!(outcome(&world).await.as_deref(), Ok(MP3));
    worker.stop().await;
    assert_eq!(files.requests(), 3);
}

/// Waits until the next attempt is noted for no later than `wait_ms` from now.
async fn wait_until_due(world: &World, id: String, wait_ms: i64) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    let latest = world.clock.now().as_millis() + wait_ms;
    loop {
        let colloquy_storage::Database::Sqlite(sqlite) = &world.database else { panic!("these tests run on SQLite") };
        let due: i64 = sqlx::query_scalar("select next_attempt_at from recordings").fetch_one(sqlite.readers()).await.unwrap();
        if due <= latest {
            return;
        }
        assert!(tokio::time::Instant::now() < limit, "the next attempt of {id} is due at {due}, not by {latest}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_server_that_never_comes_back_is_given_up() {
    let (world, files) = world().await;
    *files.seen.unavailable.lock().unwrap() = usize::MAX;
    world.announce("ended", &files.url("call.mp3")).await;
    // The clock runs so fast here that claims have to last.
    let lease = Duration::from_secs(100 * 86_400);
    let worker = Worker::timed(&world, "127.0.0.0/8", Timing { lease, ..TIMING });
    let clock: ManualClock = world.clock.clone();
    wait_until("it is given up", || {
        clock.advance_millis(60_000);
        !world.log.outcomes().is_empty()
    })
    .await;
    worker.stop().await;
    assert!(outcome(&world).await.unwrap_err().contains("503"));
    assert_eq!(files.requests(), retry::MAX_ATTEMPTS as usize);
}

#[tokio::test]
async fn nothing_internal_is_asked() {
    let (world, files) = world().await;
    world.announce("ended", &files.url("inwards")).await;
    let worker = Worker::start(&world);
    assert!(outcome(&world).await.unwrap_err().contains("must not be reached"));
    worker.stop().await;

    world.log.write(event("analyzed", NOW + 1, 0, available(&files.url("call.mp3")))).await;
    let worker = Worker::allowed(&world, "");
    wait_until("a second failure", || world.log.outcomes().len() == 2).await;
    worker.stop().await;
    assert_eq!(files.requests(), 1);
}

#[tokio::test]
async fn a_recording_without_end_is_given_up_and_leaves_nothing() {
    let (world, files) = world().await;
    world.announce("ended", &files.url("large")).await;
    let worker = Worker::start(&world);
    assert!(outcome(&world).await.unwrap_err().contains("1048576 bytes"));
    worker.stop().await;
    world.recordings.objects.close().await;
    let staged = std::fs::read_dir(world.folder.path().join("objects/_uploads")).into_iter().flatten().count();
    assert_eq!(staged, 0);
}

#[tokio::test]
async fn an_address_that_is_none_is_given_up() {
    let (world, _files) = world().await;
    world.announce("ended", "https://").await;
    let worker = Worker::start(&world);
    assert!(outcome(&world).await.unwrap_err().contains("not a URL"));
    worker.stop().await;
}

#[tokio::test]
async fn what_a_killed_worker_had_begun_is_begun_again_once_its_claim_runs_out() {
    let (world, files) = world().await;
    world.announce("ended", &files.url("stalled")).await;
    let worker = Worker::start(&world);
    wait_until("the first attempt", || files.requests() == 1).await;
    worker.kill().await;

    let worker = Worker::start(&world);
    tokio::task::yield_now().await;
    assert!(!next_attempt_at(&world, world.clock.now().as_millis()).await, "the claim still holds");
    world.clock.advance_millis(61_000);
    wait_until("the second attempt", || files.requests() == 2).await;
    worker.stop().await;
    assert!(world.log.outcomes().is_empty());
}

#[tokio::test]
async fn a_worker_that_is_stopped_gives_its_work_back() {
    let (world, files) = world().await;
    world.announce("ended", &files.url("stalled")).await;
    let worker = Worker::start(&world);
    wait_until("the first attempt", || files.requests() == 1).await;
    worker.stop().await;
    let claimed = world.recordings.store.claim(world.clock.now(), at(NOW + 9_000), 1).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].attempt, 1, "it counts as not tried");
}

#[tokio::test]
async fn a_claim_is_renewed_for_as_long_as_the_work_takes() {
    let (world, files) = world().await;
    world.announce("ended", &files.url("stalled")).await;
    let worker = Worker::start(&world);
    wait_until("the first attempt", || files.requests() == 1).await;
    // Each step is shorter than a claim; together they are longer.
    for _ in 0..4 {
        world.clock.advance_millis(40_000);
        let due = world.clock.now().as_millis() + 60_000;
        wait_until_held(&world, due).await;
    }
    assert_eq!(files.requests(), 1);
    worker.stop().await;
}

/// Waits until the claim holds until `due`.
async fn wait_until_held(world: &World, due: i64) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let colloquy_storage::Database::Sqlite(sqlite) = &world.database else { panic!("these tests run on SQLite") };
        let held: i64 = sqlx::query_scalar("select next_attempt_at from recordings").fetch_one(sqlite.readers()).await.unwrap();
        if held >= due {
            return;
        }
        assert!(tokio::time::Instant::now() < limit, "the claim holds until {held}, not {due}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_new_address_is_fetched_instead_of_the_one_that_hangs() {
    let (world, files) = world().await;
    world.announce("ended", &files.url("stalled")).await;
    let worker = Worker::start(&world);
    wait_until("the first attempt", || files.requests() == 1).await;
    world.log.write(event("analyzed", NOW + 1, 0, available(&files.url("call.mp3")))).await;
    assert_eq!(outcome(&world).await.as_deref(), Ok(MP3));
    worker.stop().await;
}

#[tokio::test]
async fn what_was_stored_but_not_written_down_is_written_down_later() {
    let (world, files) = world().await;
    world.announce("ended", &files.url("call.mp3")).await;
    world.log.set_down(true);
    let worker = Worker::start(&world);
    let folder = world.folder.path().join("objects/acme");
    wait_until("the object is stored", || folder.exists()).await;
    worker.kill().await;
    assert!(world.log.outcomes().is_empty());

    world.log.set_down(false);
    world.clock.advance_millis(61_000);
    let worker = Worker::start(&world);
    assert_eq!(outcome(&world).await.as_deref(), Ok(MP3));
    worker.stop().await;
    assert_eq!(world.log.outcomes().len(), 1);
}
