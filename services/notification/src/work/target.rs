//! Endpoints as attempts need them: with what is sealed opened.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use colloquy_storage::SealError;
use colloquy_types::Timestamp;
use uuid::Uuid;

use crate::endpoint::Endpoint;
use crate::message::Message;
use crate::secrets::{SecretBox, Signing};
use crate::send::{Outgoing, Secret};

/// An enabled endpoint.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    headers: Vec<(String, Secret)>,
    /// The present one, and those before. Whether one of those is still valid is decided with each attempt.
    secrets: Vec<Signing>,
}

impl Target {
    pub(super) fn open(endpoint: Endpoint, secrets: &SecretBox) -> Result<Self, SealError> {
        let headers = secrets.open_headers(&endpoint)?;
        let secrets = secrets.open_secrets(&endpoint)?;
        Ok(Self { endpoint, headers, secrets })
    }

    pub(super) fn outgoing(&self, message: &Message, body: Bytes, at: Timestamp) -> Outgoing {
        Outgoing {
            kind: self.endpoint.kind,
            url: self.endpoint.url.clone(),
            message_id: message.message_id,
            event_type: message.event_type.clone(),
            at,
            body,
            headers: self.headers.clone(),
            secrets: self.secrets.iter().filter(|signing| signing.is_valid(at)).map(|signing| signing.secret.clone()).collect(),
        }
    }
}

/// Opens endpoints; what has not changed since it was opened is not opened again. One that cannot be opened is left out: what is
/// for it waits until whoever runs the installation has found the right master key.
pub(super) fn open_all(
    endpoints: Vec<Endpoint>,
    known: &HashMap<Uuid, Arc<Target>>,
    secrets: &SecretBox,
) -> HashMap<Uuid, Arc<Target>> {
    let mut targets = HashMap::with_capacity(endpoints.len());
    let mut sealed = 0;
    for endpoint in endpoints {
        let id = endpoint.endpoint_id;
        if let Some(target) = known.get(&id).filter(|target| target.endpoint == endpoint) {
            targets.insert(id, Arc::clone(target));
            continue;
        }
        match Target::open(endpoint, secrets) {
            Ok(target) => drop(targets.insert(id, Arc::new(target))),
            Err(_) => sealed += 1,
        }
    }
    if sealed > 0 {
        tracing::error!(endpoints = sealed, "{sealed} endpoints cannot be told anything: their secrets do not open");
    }
    targets
}
