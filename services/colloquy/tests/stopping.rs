//! Asking a process to stop that has not finished starting.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::time::Duration;

use colloquy_testkit::{Process, ports, until};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

/// Starts a command that waits for a PostgreSQL which is not there.
async fn waiting(arguments: &[&str]) -> (Process, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_colloquy"));
    command.args(arguments).arg("--data-dir").arg(folder.path());
    command.args(["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"]);
    command.args(["--database-url", &format!("postgres://colloquy:hunter2@{}/colloquy", ports::free_address())]);
    command.env_remove("RUST_LOG");
    let process = Process::spawn(command, &folder.path().join("log"));
    until(SOON, "it waits for PostgreSQL", || async { process.log().contains("waiting for PostgreSQL") }).await;
    assert!(!process.log().contains("hunter2"), "{}", process.log());
    (process, folder)
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_while_it_starts_stops_well() {
    let (mut server, _folder) = waiting(&["serve"]).await;
    let status = server.terminate(SOON).await.expect("it stops");
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

#[tokio::test]
async fn a_migration_that_is_asked_to_stop_has_failed() {
    let (mut migration, _folder) = waiting(&["migrate"]).await;
    let status = migration.terminate(SOON).await.expect("it stops");
    assert_eq!(status.code(), Some(1), "{}", migration.log());
    assert!(migration.log().contains("stopped before every database was up to date"), "{}", migration.log());
}
