//! Keys that a test can revoke.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use colloquy_proto::access::v1 as pb;
use colloquy_proto::access::v1::access_service_server::AccessService;
use colloquy_types::KeyId;
use tonic::{Request, Response, Status};

/// The keys there are: to begin with those that requests of tests carry. Clones share them.
#[derive(Clone)]
pub(crate) struct FakeAccess(Arc<Mutex<HashMap<String, pb::AuthenticateResponse>>>);

impl Default for FakeAccess {
    fn default() -> Self {
        let access = Self(Arc::default());
        ["k", "own"].into_iter().for_each(|key| access.add(key, "default", &["conversations:read", "analytics:read"]));
        access
    }
}

impl FakeAccess {
    /// Adds a key of an organization, or changes it.
    pub(crate) fn add(&self, key: &str, organization: &str, scopes: &[&str]) {
        let mut keys = self.0.lock().unwrap();
        let known = keys.get(key).map(|known| known.key_id.clone());
        let identity = pb::AuthenticateResponse {
            key_id: known.unwrap_or_else(|| KeyId::generate().to_string()),
            organization_id: organization.to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            expires_at: None,
        };
        keys.insert(key.to_owned(), identity);
    }

    /// Returns whether a key has a scope.
    pub(crate) fn allows(&self, key: Option<&str>, scope: &str) -> bool {
        let keys = self.0.lock().unwrap();
        key.and_then(|key| keys.get(key)).is_some_and(|known| known.scopes.iter().any(|known| known == scope))
    }

    pub(crate) fn revoke(&self, key: &str) {
        self.0.lock().unwrap().remove(key);
    }
}

#[tonic::async_trait]
impl AccessService for FakeAccess {
    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let known = self.0.lock().unwrap().get(&request.get_ref().api_key).cloned();
        known.map(Response::new).ok_or_else(|| Status::unauthenticated("unknown"))
    }

    async fn create_api_key(&self, _: Request<pb::CreateApiKeyRequest>) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        Err(Status::unimplemented("streams make no keys"))
    }

    async fn list_api_keys(&self, _: Request<pb::ListApiKeysRequest>) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        Err(Status::unimplemented("streams list no keys"))
    }

    async fn revoke_api_key(&self, _: Request<pb::RevokeApiKeyRequest>) -> Result<Response<pb::RevokeApiKeyResponse>, Status> {
        Err(Status::unimplemented("streams revoke no keys"))
    }

    async fn get_organization(
        &self,
        _: Request<pb::GetOrganizationRequest>,
    ) -> Result<Response<pb::GetOrganizationResponse>, Status> {
        Err(Status::unimplemented("streams ask for no organization"))
    }
}
