//! The service's methods: decode, call, encode.

use std::sync::Arc;

use colloquy_proto::access::v1 as pb;
use colloquy_proto::access::v1::access_service_server::AccessService;
use colloquy_service::{Caller, Problem};
use colloquy_storage::PageTokens;
use colloquy_types::{Clock, KeyId, Scope};
use tonic::{Request, Response, Status};

use crate::{Error, Keys, Secret, convert};

const DEFAULT_PAGE: u32 = 30;
const LARGEST_PAGE: u32 = 100;

pub(crate) struct Handler {
    keys: Arc<dyn Keys>,
    clock: Arc<dyn Clock>,
    page_tokens: PageTokens,
}

impl Handler {
    pub(crate) fn new(keys: Arc<dyn Keys>, clock: Arc<dyn Clock>, page_tokens: PageTokens) -> Self {
        Self { keys, clock, page_tokens }
    }
}

#[tonic::async_trait]
impl AccessService for Handler {
    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        Caller::of(&request).require_service()?;
        let secret = Secret::from_text(request.into_inner().api_key);
        let key = self.keys.key_by_hash(&secret.hash()).await.map_err(Error::from)?;
        let key = key.filter(|key| key.is_good(self.clock.now())).ok_or(Error::KeyInvalid)?;
        Ok(Response::new(convert::identity(key)))
    }

    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::Admin)?;
        let key = convert::new_key(organization, request.into_inner(), self.clock.now())?;
        let secret = key.secret.expose().to_owned();
        let kept = self.keys.insert_key(key).await.map_err(Error::from)?;
        Ok(Response::new(pb::CreateApiKeyResponse { api_key: Some(kept.into()), secret }))
    }

    async fn list_api_keys(&self, request: Request<pb::ListApiKeysRequest>) -> Result<Response<pb::ListApiKeysResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::Admin)?;
        let request = request.into_inner();
        let bound_to = ("api keys", &organization);
        let before: Option<KeyId> = match request.page_token.as_str() {
            "" => None,
            token => Some(
                self.page_tokens.open(&bound_to, token).map_err(|bad| Problem::invalid_field("page_token", bad.to_string()))?,
            ),
        };
        let size = page_size(request.page_size)?;
        let page = self.keys.list_keys(&organization, before, size).await.map_err(Error::from)?;
        let next_page_token = match page.keys.last() {
            Some(last) if page.has_more => self.page_tokens.seal(&bound_to, &last.key_id),
            _ => String::new(),
        };
        Ok(Response::new(pb::ListApiKeysResponse { api_keys: page.keys.into_iter().map(Into::into).collect(), next_page_token }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<pb::RevokeApiKeyRequest>,
    ) -> Result<Response<pb::RevokeApiKeyResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::Admin)?;
        let key_id = convert::key_id(&request.into_inner().key_id)?;
        let revoked = self.keys.revoke_key(&organization, key_id, self.clock.now()).await.map_err(Error::from)?;
        let key = revoked.ok_or(Error::KeyNotFound(key_id))?;
        Ok(Response::new(pb::RevokeApiKeyResponse { api_key: Some(key.into()) }))
    }

    async fn get_organization(
        &self,
        request: Request<pb::GetOrganizationRequest>,
    ) -> Result<Response<pb::GetOrganizationResponse>, Status> {
        let Caller::Key(identity) = Caller::of(&request) else {
            return Err(Problem::permission_denied("ORGANIZATION_MISSING", "only an API key has an organization").into());
        };
        let organization = identity.organization_id.clone();
        let created_at = self.keys.organization_created_at(&organization).await.map_err(Error::from)?;
        let created_at = created_at.ok_or(Error::OrganizationNotFound)?;
        Ok(Response::new(convert::organization(organization, created_at)))
    }
}

fn page_size(asked: i32) -> Result<u32, Problem> {
    match u32::try_from(asked) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size.min(LARGEST_PAGE)),
        Err(_) => Err(Problem::invalid_field("page_size", "must not be negative")),
    }
}
