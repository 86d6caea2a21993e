//! Whether a process tells truly that it can do its work, and that it does any.

use std::net::SocketAddr;
use std::time::Duration;

use colloquy_e2e::{Engine, Server};
use colloquy_testkit::{Fault, FaultProxy, until};
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const PATIENCE: Duration = Duration::from_secs(30);
const TRANSCRIPT: &str = "colloquy.transcript.v1.TranscriptService";

/// What one process says of itself.
struct Probes {
    http: Client,
    base: String,
    health: HealthClient<tonic::transport::Channel>,
}

impl Probes {
    async fn of(server: &Server) -> Self {
        let addresses = std::fs::read_to_string(server.data_dir().join("addresses.json")).unwrap();
        let addresses: Value = serde_json::from_str(&addresses).unwrap();
        let channel = tonic::transport::Endpoint::from_shared(server.grpc.clone()).unwrap().connect().await.unwrap();
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        Self { http, base: format!("http://{}", addresses["metrics"].as_str().unwrap()), health: HealthClient::new(channel) }
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn status(&self, service: &str) -> ServingStatus {
        let answer = self.health.clone().check(HealthCheckRequest { service: service.to_owned() }).await;
        answer.unwrap().into_inner().status()
    }
}

#[tokio::test]
async fn a_process_without_its_database_is_alive_and_not_ready() {
    let Some(url) = colloquy_testkit::postgres::database_url().await else { return };
    let mut url = Url::parse(&url).unwrap();
    let host = url.host_str().unwrap_or("127.0.0.1").to_owned();
    let target = tokio::net::lookup_host((host, url.port().unwrap_or(5432))).await.unwrap().next().unwrap();
    let proxy = FaultProxy::start(target).await;
    let at: SocketAddr = proxy.address();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(at.port())).unwrap();
    let server = Server::start_with(Engine::Postgres(url.to_string()), &[]).await;
    let probes = Probes::of(&server).await;
    assert_eq!(probes.get("/readyz").await.0, StatusCode::OK);
    assert_eq!((probes.status("").await, probes.status(TRANSCRIPT).await), (ServingStatus::Serving, ServingStatus::Serving));

    proxy.set(Fault::Refuse);
    until(PATIENCE, "not ready", async || probes.get("/readyz").await.0 == StatusCode::SERVICE_UNAVAILABLE).await;
    until(PATIENCE, "not serving", async || probes.status(TRANSCRIPT).await == ServingStatus::NotServing).await;
    assert_eq!(probes.status("").await, ServingStatus::NotServing);
    let (_, report) = probes.get("/readyz").await;
    let missing = report["missing"].as_array().unwrap();
    let database = missing.iter().find(|missing| missing["check"] == "database" && missing["service"] == "transcript").unwrap();
    assert_eq!(database["detail"], "connection refused", "{report}");
    assert!(database["since"].as_str().unwrap().ends_with('Z'), "{report}");
    for secret in [url.password().unwrap_or("no password"), url.username(), &at.port().to_string()] {
        assert!(secret.is_empty() || !report.to_string().contains(secret), "{secret} is in {report}");
    }
    assert_eq!(probes.get("/livez").await.0, StatusCode::OK);

    proxy.set(Fault::None);
    until(PATIENCE, "ready again", async || probes.get("/readyz").await.0 == StatusCode::OK).await;
    // Said a moment later, service by service.
    for service in ["", TRANSCRIPT] {
        until(PATIENCE, "serving again", async || probes.status(service).await == ServingStatus::Serving).await;
    }
    assert_eq!(probes.get("/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_server_is_ready_when_it_says_where_it_is() {
    let server = Server::start(Engine::Sqlite).await;
    let probes = Probes::of(&server).await;
    let (status, report) = probes.get("/readyz").await;
    assert_eq!((status, &report["ready"]), (StatusCode::OK, &Value::Bool(true)), "{report}");
    assert_eq!(server.get("/readyz").await["status"], "ok");
    assert_eq!(probes.get("/livez").await.1["live"], true);
}
