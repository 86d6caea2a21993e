//! PostgreSQL that crashes, PostgreSQL that is away when services start, and PostgreSQL that takes no more connections.

use std::time::Duration;

use colloquy_faults::{Log, Scene};
use colloquy_testkit::until;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

/// How long the service may take to notice that its store is away.
const NOTICED: Duration = Duration::from_secs(20);

async fn restarted(log: Log) {
    let mut scene = Scene::start("PostgreSQL crashes", log).await;
    let stream = scene.stream();
    for percent in [15, 40] {
        stream.reaches(percent + scene.chance.number(0..15)).await;
        let down = scene.chance.moment(Duration::from_secs(3));
        scene.postgres.restart_immediate(down).await;
        scene.recovers().await;
    }
    scene.holds(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn postgres_can_crash_with_the_embedded_log() {
    restarted(Log::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn postgres_can_crash_with_jetstream() {
    restarted(Log::jetstream().await).await;
}

/// Whatever watches over processes starts them as soon as they have ended, whether their database is back or not.
async fn away_at_the_start(log: Log) {
    let mut scene = Scene::start("services start while PostgreSQL is away", log).await;
    let stream = scene.stream();
    stream.reaches(20).await;
    scene.postgres.crash();
    let victims = scene.kill_and_start(&["access", "ingestion", "conversation-store", "transcript"]).await;
    tokio::time::sleep(Duration::from_secs(3) + scene.chance.moment(Duration::from_secs(2))).await;
    for victim in &victims {
        let member = scene.server.installation().member(victim);
        assert!(member.listening().is_none(), "{victim} is ready without its database");
        assert!(member.running().ended().is_none(), "{victim} gave up:\n{}", member.log());
    }
    scene.postgres.restart().await;
    for victim in &victims {
        scene.server.installation().member(victim).ready().await;
    }
    scene.holds(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn services_can_be_started_while_postgres_is_away_with_jetstream() {
    away_at_the_start(Log::jetstream().await).await;
}

/// Takes every connection there is, from whoever has it.
async fn take_all(url: &str) -> Vec<PgConnection> {
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.application_name("faults");
    let mut taken = vec![options.connect().await.unwrap()];
    let others = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                  where backend_type = 'client backend' and application_name <> 'faults'";
    loop {
        while let Ok(connection) = options.connect().await {
            taken.push(connection);
        }
        let ended: i64 = sqlx::query_scalar(others).fetch_one(&mut taken[0]).await.unwrap();
        if ended == 0 {
            return taken;
        }
    }
}

async fn out_of_connections(log: Log) {
    let mut scene = Scene::start("PostgreSQL has no connections left", log).await;
    let stream = scene.stream();
    stream.reaches(20).await;
    let taken = take_all(&scene.postgres.url()).await;
    let refused = stream.refusals();
    until(NOTICED, "something is refused", || async { stream.refusals() > refused }).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(taken);
    scene.holds(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn postgres_can_run_out_of_connections_with_jetstream() {
    out_of_connections(Log::jetstream().await).await;
}
