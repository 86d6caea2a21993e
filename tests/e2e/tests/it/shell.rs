//! The commands of the shell, beside a running server.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use colloquy_e2e::{Engine, Server, samples};
use colloquy_types::Provider;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn tail_prints_one_line_an_event_and_ends_when_nobody_reads_it() {
    let server = Server::start(Engine::Sqlite).await;
    let id = Uuid::now_v7();
    let turns: Vec<Value> = (0..500)
        .map(|index| {
            json!({"event_id": format!("e{index}"), "conversation_id": id, "type": "turn.added",
                   "data": {"role": "user", "text": "words nobody prints", "index": index}})
        })
        .collect();
    server.post("/v1/events", &json!({ "events": turns })).await;

    let whole = server.run(&["tail", "--after", "0", "--until-end"]).output().unwrap();
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    let text = String::from_utf8(whole.stdout).unwrap();
    assert_eq!(text.lines().count(), 500);
    assert!(text.lines().all(|line| line.contains(&id.to_string()) && line.contains("turn.added user")));
    assert!(!text.contains("words nobody prints"));

    let mut cut = server.run(&["tail", "--after", "0", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(cut.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["data"]["text"], "words nobody prints");
    drop(lines);
    // It follows the log, and finds out at the next event that nobody reads.
    let more: Vec<Value> = (0..500)
        .map(|index| json!({"event_id": format!("f{index}"), "conversation_id": id, "type": "turn.added", "data": {"role": "user"}}))
        .collect();
    server.post("/v1/events", &json!({ "events": more })).await;
    let ended = cut.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[tokio::test]
async fn replay_sends_stored_payloads_again_signed_anew() {
    let server = Server::start(Engine::Sqlite).await;
    let source = server.source(Provider::Retell).await;
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<String> = samples()
        .iter()
        .filter(|sample| sample.provider == Provider::Retell)
        .map(|sample| {
            let path = folder.path().join(format!("{}.json", sample.name));
            std::fs::write(&path, &sample.body).unwrap();
            path.to_string_lossy().into_owned()
        })
        .collect();
    let mut arguments = vec!["replay", "--source", &source.id, "--provider", "retell", "--secret", &source.secret];
    arguments.extend(files.iter().map(String::as_str));
    let sent = server.run(&arguments).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    server.eventually("/v1/conversations?provider=retell", |page| page["conversations"].as_array().unwrap().len() == 3).await;

    let wrong =
        server.run(&["replay", "--source", &source.id, "--provider", "retell", "--secret", "wrong", &files[0]]).output().unwrap();
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("refused"));
}

#[tokio::test]
async fn health_tells_a_serving_server_from_none_and_migrate_runs_beside_one() {
    let mut server = Server::start(Engine::Sqlite).await;
    assert!(server.run(&["health"]).env_remove("COLLOQUY_GRPC_ADDR").output().unwrap().status.success());
    let migrated = server.run(&["migrate"]).output().unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    server.kill();
    assert!(!server.run(&["health"]).env_remove("COLLOQUY_GRPC_ADDR").output().unwrap().status.success());
}

#[tokio::test]
async fn a_setting_that_cannot_be_used_is_named_with_its_source() {
    let server = Server::start(Engine::Sqlite).await;
    let refused = server.run(&["serve"]).env("COLLOQUY_HTTP_ADDR", "nowhere").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(said.contains("http-addr = 'nowhere' (from environment COLLOQUY_HTTP_ADDR)"), "{said}");
    let unknown = server.run(&["serve", "analitics"]).output().unwrap();
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no service 'analitics'; there are: access, "));
    let nowhere = server.run(&["serve"]).env("COLLOQUY_MODEL_NAME", "small").output().unwrap();
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("needs model-url"));
    let taken = server.base.trim_start_matches("http://").to_owned();
    let second = server.run(&["serve"]).env("COLLOQUY_HTTP_ADDR", &taken).output().unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("http-addr"), "a taken port is named");
}
