//! `colloquy demo`: an organization, a key, a source per provider, and sample webhooks sent over HTTP to the demo's own URLs,
//! signed as their providers sign them.

mod samples;

use std::time::Duration;

use anyhow::{Context, bail};
use colloquy_access::{NewApiKey, Secret};
use colloquy_providers::sign;
use colloquy_types::{Clock, KeyId, OrganizationId, Provider, Scope, SystemClock};
use serde_json::{Value, json};

use crate::compose::Running;
use crate::settings::Settings;

/// How long the samples may take to become readable.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends every sample to the running server and waits until all of them can be read. Returns the administrator key.
pub(crate) async fn run(running: &Running, settings: &Settings) -> anyhow::Result<String> {
    tokio::time::timeout(PATIENCE, running.until_ready()).await.context("the services are not ready in time")?;
    let key = administrator_key(running, settings).await?;
    let http = running.http.context("the demo needs the edge")?;
    let client = Client { http: reqwest::Client::builder().no_proxy().build()?, base: format!("http://{http}"), key };
    for provider in [Provider::ElevenLabs, Provider::Retell, Provider::Vapi, Provider::AgentSession] {
        let secret = Secret::generate().context("no randomness")?;
        let source = client.source(provider, secret.expose()).await?;
        for sample in samples::of(provider) {
            client.deliver(&source, provider, secret.expose(), sample).await?;
        }
        println!("{provider}: webhook URL {}/v1/webhooks/{source}", client.base);
    }
    client.wait_until_readable().await?;
    Ok(client.key)
}

/// Prints what to try.
pub(crate) fn print(running: &Running, key: &str) {
    let Some(http) = running.http else { return };
    let conversation = samples::SHOWN;
    println!(
        "\nColloquy is running. The administrator key:\n\n  {key}\n\n\
         Try:\n\n  \
         curl -H 'x-api-key: {key}' 'http://{http}/v1/conversations?page_size=5'\n  \
         curl -H 'x-api-key: {key}' 'http://{http}/v1/conversations/{conversation}'\n  \
         curl -H 'x-api-key: {key}' 'http://{http}/v1/conversations/{conversation}/transcript?format=srt'\n\n\
         REST is described at http://{http}/docs, gRPC (with reflection) is at {}. Ctrl-C ends it.",
        running.grpc
    );
}

/// Returns the key the settings gave, the one made at this start, or a new one.
async fn administrator_key(running: &Running, settings: &Settings) -> anyhow::Result<String> {
    if let Some(key) = settings.bootstrap_api_key.as_deref().or(running.made_key().map(Secret::expose)) {
        return Ok(key.to_owned());
    }
    let keys = colloquy_access::open(&settings.databases.access).await?;
    let organization_id: OrganizationId = "default".parse()?;
    let secret = Secret::generate().context("no randomness")?;
    let key = NewApiKey {
        key_id: KeyId::generate(),
        organization_id,
        name: "demo".to_owned(),
        secret: secret.clone(),
        scopes: [Scope::Admin].into_iter().collect(),
        created_at: SystemClock.now(),
        expires_at: None,
    };
    keys.insert_key(key).await?;
    Ok(secret.expose().to_owned())
}

struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Client {
    /// Makes the demo's source of a provider, or gives the one an earlier demo made a new secret. Returns its id.
    async fn source(&self, provider: Provider, secret: &str) -> anyhow::Result<String> {
        let name = format!("demo {provider}");
        let verification = json!({ "scheme": sign::scheme(provider), "secret": secret });
        let listed = self.json(self.http.get(format!("{}/v1/sources?page_size=100", self.base))).await?;
        let known = listed["sources"].as_array().into_iter().flatten().find(|source| source["name"] == name.as_str());
        let request = match known.and_then(|source| source["source_id"].as_str()) {
            Some(id) => self.http.patch(format!("{}/v1/sources/{id}", self.base)).json(&json!({ "verification": verification })),
            None => {
                let body = json!({ "provider": provider, "name": name, "verification": verification });
                self.http.post(format!("{}/v1/sources", self.base)).json(&body)
            }
        };
        let made = self.json(request).await?;
        Ok(made["source_id"].as_str().context("the source has no id")?.to_owned())
    }

    async fn json(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let answer = request.header("x-api-key", &self.key).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("the demo's own request was answered {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }

    async fn deliver(&self, source: &str, provider: Provider, secret: &str, body: &'static [u8]) -> anyhow::Result<()> {
        let mut request =
            self.http.post(format!("{}/v1/webhooks/{source}", self.base)).header("content-type", "application/json");
        for (name, value) in sign::headers(provider, secret, body, SystemClock.now()) {
            request = request.header(name, value);
        }
        let answer = request.body(body).send().await?;
        if !answer.status().is_success() {
            bail!("a sample of {provider} was answered {}: {}", answer.status(), answer.text().await?);
        }
        Ok(())
    }

    async fn wait_until_readable(&self) -> anyhow::Result<()> {
        let reads = samples::CONVERSATIONS.iter().map(|id| format!("{}/v1/conversations/{id}", self.base));
        let reads = reads.chain([format!("{}/v1/conversations/{}/audio", self.base, samples::SHOWN)]);
        let started = tokio::time::Instant::now();
        for url in reads {
            loop {
                let answer = self.http.get(&url).header("x-api-key", &self.key).send().await?;
                if answer.status().is_success() {
                    break;
                }
                if started.elapsed() > PATIENCE {
                    bail!("{url} is still answered {} after {} s", answer.status(), PATIENCE.as_secs());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}
