//! The providers' sample deliveries in `tests/payloads`.

use std::path::Path;

use colloquy_types::Provider;
use serde_json::Value;

/// One delivery.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Whose it is.
    pub provider: Provider,
    /// The file's name without `.json`.
    pub name: String,
    /// The bytes as stored.
    pub body: Vec<u8>,
    /// `provider:external_id` of the conversation it speaks of.
    pub conversation: String,
}

/// Returns every sample, by provider and name.
pub fn samples() -> Vec<Sample> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../payloads");
    let mut samples = Vec::new();
    for provider in [Provider::ElevenLabs, Provider::Retell, Provider::Vapi, Provider::AgentSession] {
        let mut files: Vec<_> =
            std::fs::read_dir(root.join(provider.as_str())).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.ends_with(".json") && !name.ends_with(".headers.json")
        });
        files.sort();
        for path in files {
            let body = std::fs::read(&path).unwrap();
            let parsed: Value = serde_json::from_slice(&body).unwrap();
            let conversation = format!("{provider}:{}", external_id(provider, &parsed));
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            samples.push(Sample { provider, name, body, conversation });
        }
    }
    samples
}

fn external_id(provider: Provider, body: &Value) -> String {
    let id = match provider {
        Provider::ElevenLabs => &body["data"]["conversation_id"],
        Provider::Retell if body["call"].is_object() => &body["call"]["call_id"],
        Provider::Retell => &body["chat"]["chat_id"],
        Provider::Vapi => &body["message"]["call"]["id"],
        Provider::AgentSession => &body["data"]["id"],
        Provider::Native => &body["conversation_id"],
    };
    id.as_str().unwrap().to_owned()
}
