//! `SourceService` on the wire.

use colloquy_proto::ingestion::v1 as pb;
use colloquy_proto::ingestion::v1::source_service_server::SourceService;
use colloquy_service::{Caller, Describe};
use colloquy_storage::PageTokens;
use colloquy_types::Scope;
use tonic::{Request, Response, Status};

use super::{Source, Sources, convert};
use crate::error::Error;
use crate::page;
use crate::store::Place;

/// Answers calls about sources.
pub(crate) struct SourceGrpc {
    pub(crate) sources: Sources,
    pub(crate) page_tokens: PageTokens,
}

impl SourceGrpc {
    fn shown(&self, source: Source) -> Option<pb::Source> {
        Some(convert::source_to_pb(source, self.sources.now()))
    }
}

fn status(error: Error) -> Status {
    error.describe().into()
}

#[tonic::async_trait]
impl SourceService for SourceGrpc {
    async fn create_source(
        &self,
        request: Request<pb::CreateSourceRequest>,
    ) -> Result<Response<pb::CreateSourceResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::Admin)?;
        let draft = convert::draft(request.into_inner())?;
        let source = self.sources.create(organization, draft).await.map_err(status)?;
        Ok(Response::new(pb::CreateSourceResponse { source: self.shown(source) }))
    }

    async fn get_source(&self, request: Request<pb::GetSourceRequest>) -> Result<Response<pb::GetSourceResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::Admin)?;
        let id = convert::source_id("source_id", &request.into_inner().source_id)?;
        let source = self.sources.get(&organization, id).await.map_err(status)?;
        Ok(Response::new(pb::GetSourceResponse { source: self.shown(source) }))
    }

    async fn list_sources(&self, request: Request<pb::ListSourcesRequest>) -> Result<Response<pb::ListSourcesResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::Admin)?;
        let request = request.into_inner();
        let list = ("sources", &organization);
        let size = page::size(request.page_size)?;
        let after = page::after(&self.page_tokens, &list, &request.page_token)?;
        let mut found = self.sources.page(&organization, after, size + 1).await.map_err(status)?;
        let place = |source: &Source| Place { at: source.created_at, id: source.source_id };
        let next_page_token = page::cut(&self.page_tokens, &list, &mut found, size, place);
        let sources = found.into_iter().filter_map(|source| self.shown(source)).collect();
        Ok(Response::new(pb::ListSourcesResponse { sources, next_page_token }))
    }

    async fn update_source(
        &self,
        request: Request<pb::UpdateSourceRequest>,
    ) -> Result<Response<pb::UpdateSourceResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::Admin)?;
        let update = convert::update(request.into_inner())?;
        let source = self.sources.change(&organization, update.source_id, update.change).await.map_err(status)?;
        Ok(Response::new(pb::UpdateSourceResponse { source: self.shown(source) }))
    }

    async fn delete_source(
        &self,
        request: Request<pb::DeleteSourceRequest>,
    ) -> Result<Response<pb::DeleteSourceResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::Admin)?;
        let id = convert::source_id("source_id", &request.into_inner().source_id)?;
        self.sources.delete(&organization, id).await.map_err(status)?;
        Ok(Response::new(pb::DeleteSourceResponse {}))
    }

    async fn get_source_credentials(
        &self,
        request: Request<pb::GetSourceCredentialsRequest>,
    ) -> Result<Response<pb::GetSourceCredentialsResponse>, Status> {
        Caller::of(&request).require_service()?;
        let (organization, id) = convert::credentials(request.get_ref())?;
        let access = self.sources.access(&organization, id).await.map_err(status)?;
        Ok(Response::new(convert::credentials_to_pb(access)))
    }
}
