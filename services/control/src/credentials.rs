//! What it takes to call a conversation's vendor, from ingestion, which keeps it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use colloquy_proto::ingestion::v1 as pb;
use colloquy_proto::ingestion::v1::source_service_client::SourceServiceClient;
use colloquy_service::Problem;
use colloquy_service::transport::Transport;
use colloquy_types::{OrganizationId, SourceId};
use tokio::time::Instant;
use tonic::Code;
use url::Url;

use crate::vendor::ApiKey;

/// How long they are believed: a key that was changed counts after that.
const FRESH: Duration = Duration::from_secs(30);
/// How many are kept at most.
const MOST: usize = 10_000;

/// What calls a vendor.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// The vendor's API key.
    pub api_key: Option<ApiKey>,
    /// Where its API stands, when it is not the usual address.
    pub base_url: Option<Url>,
}

/// Asks for credentials, and remembers them for a while.
pub struct Credentials {
    sources: SourceServiceClient<Transport>,
    kept: Mutex<HashMap<(OrganizationId, SourceId), (Instant, Access)>>,
}

impl Credentials {
    /// Returns the credentials that `ingestion` keeps.
    pub fn new(ingestion: Transport) -> Self {
        Self { sources: SourceServiceClient::new(ingestion), kept: Mutex::default() }
    }

    /// Returns what calls the vendor of a source; nothing for a source that is not there any more.
    ///
    /// # Errors
    /// When ingestion cannot be asked.
    pub async fn of(&self, organization_id: &OrganizationId, source_id: SourceId) -> Result<Access, Problem> {
        let key = (organization_id.clone(), source_id);
        if let Some(access) = self.fresh(&key) {
            return Ok(access);
        }
        let request =
            pb::GetSourceCredentialsRequest { organization_id: organization_id.to_string(), source_id: source_id.to_string() };
        let access = match self.sources.clone().get_source_credentials(request).await {
            Ok(answer) => {
                let pb::GetSourceCredentialsResponse { api_key, base_url } = answer.into_inner();
                let api_key = api_key.filter(|key| !key.is_empty()).map(ApiKey);
                Access { api_key, base_url: base_url.and_then(|url| url.parse().ok()) }
            }
            Err(status) if status.code() == Code::NotFound => Access::default(),
            Err(status) => return Err(Problem::from_status(&status)),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(key, (Instant::now(), access.clone()));
        Ok(access)
    }

    fn fresh(&self, key: &(OrganizationId, SourceId)) -> Option<Access> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(since, _)| since.elapsed() < FRESH).map(|(_, access)| access.clone())
    }
}
