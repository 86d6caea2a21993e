//! Any endpoint that speaks OpenAI's chat completions.

use std::time::Duration;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_trait::async_trait;
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url, redirect};
use serde_json::{Value, json};

use super::wire::{Wire, WireError};
use super::{Answer, AskError, Model, Patience};
use crate::ModelSettings;
use crate::analyzer::prompt::{Prompt, tokens_of};
use crate::analyzer::run::Usage;

/// A model behind such an endpoint.
pub struct OpenAi {
    client: Client<OpenAIConfig>,
    model: String,
    patience: Patience,
}

impl OpenAi {
    /// Returns the model of the settings.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn new(settings: &ModelSettings, patience: Patience) -> anyhow::Result<Self> {
        let url: Url = settings.url.parse().map_err(|_| anyhow::anyhow!("the model's URL is not a URL"))?;
        anyhow::ensure!(matches!(url.scheme(), "http" | "https"), "the model's URL must be http or https");
        let has_key = !settings.api_key.is_empty();
        // The library would panic.
        let key = HeaderValue::from_str(&format!("Bearer {}", settings.api_key));
        anyhow::ensure!(key.is_ok(), "the model's API key must be printable ASCII without line breaks");
        // An endpoint that sends elsewhere would be given the conversation and the key.
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10).min(patience.timeout))
            .build()?;
        let config = OpenAIConfig::new()
            .with_api_base(settings.url.trim_end_matches('/'))
            .with_api_key(settings.api_key.as_str())
            .with_org_id("")
            .with_project_id("");
        let wire = Wire { http: http.clone(), timeout: patience.timeout, most_bytes: patience.most_bytes, has_key };
        let client = Client::build(http, config).with_http_service(wire);
        Ok(Self { client, model: settings.model.clone(), patience })
    }
}

#[async_trait]
impl Model for OpenAi {
    fn name(&self) -> &str {
        &self.model
    }

    fn patience(&self) -> Patience {
        self.patience
    }

    async fn ask(&self, prompt: &Prompt) -> Result<Answer, AskError> {
        let request = json!({
            "model": self.model,
            "messages": [
                { "role": "system", "content": prompt.system },
                { "role": "user", "content": prompt.user },
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": { "name": "analysis", "strict": true, "schema": prompt.schema },
            },
            "temperature": 0,
            "max_completion_tokens": prompt.most_output,
            "stream": false,
        });
        let answer: Result<Value, OpenAIError> = self.client.chat().create_byot(request).await;
        match answer {
            Ok(completion) => read(&completion, prompt),
            Err(OpenAIError::Boxed(error)) => Err(failure(error.downcast_ref().copied().unwrap_or(WireError::Broken), prompt)),
            Err(_) => Err(failure(WireError::Broken, prompt)),
        }
    }
}

/// Returns what an exchange that brought nothing means. Whoever may have answered is paid for question and answer.
fn failure(error: WireError, prompt: &Prompt) -> AskError {
    let why = error.to_string();
    let later = |usage: Usage, after: Option<Duration>| AskError::Later { why: why.clone(), after, usage };
    match error {
        WireError::Unreachable => later(Usage::default(), None),
        WireError::Broken | WireError::TimedOut => later(prompt.most(), None),
        WireError::NotJson | WireError::TooLong => AskError::Unusable { why, usage: prompt.most() },
        WireError::Status { status, retry_after } => match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => later(Usage::default(), retry_after),
            status if status.is_server_error() => later(Usage::default(), retry_after),
            _ => AskError::Refused(why),
        },
    }
}

/// Reads a completion.
fn read(completion: &Value, prompt: &Prompt) -> Result<Answer, AskError> {
    let choice = &completion["choices"][0];
    let text = choice["message"]["content"].as_str().unwrap_or_default();
    let tokens = |name: &str| completion["usage"][name].as_u64();
    let usage = Usage {
        input: tokens("prompt_tokens").unwrap_or_else(|| prompt.input_tokens()),
        output: tokens("completion_tokens").unwrap_or_else(|| tokens_of(text)),
    };
    let unusable = |why: &str| Err(AskError::Unusable { why: why.to_owned(), usage });
    if choice["message"]["refusal"].as_str().is_some_and(|refusal| !refusal.is_empty()) {
        return unusable("the model refused to answer");
    }
    match choice["finish_reason"].as_str() {
        Some("length") => unusable("the model's answer was cut off because it grew too long"),
        Some("content_filter") => unusable("the model's answer was withheld by its content filter"),
        _ if text.is_empty() => unusable("the model gave no answer"),
        _ => Ok(Answer { text: text.to_owned(), usage }),
    }
}
