//! `colloquy.analytics.v1.AnalyticsService`.

use std::sync::Arc;

use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::analytics::v1::analytics_service_server::{AnalyticsService, AnalyticsServiceServer};
use colloquy_service::transport::MAX_MESSAGE_BYTES;
use colloquy_service::{Caller, Describe, Problem};
use colloquy_types::{Clock, ConversationName, OrganizationId, Position, Scope};
use tonic::{Request, Response, Status};

use crate::analysed::Frontier;
use crate::convert;
use crate::error::Error;
use crate::query::Queries;
use crate::store::{Figures, Store};

/// Answers calls.
pub(crate) struct Handler {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) frontier: Frontier,
    pub(crate) queries: Queries,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Handler {
    /// Returns the server over this handler.
    pub(crate) fn into_server(self) -> AnalyticsServiceServer<Self> {
        AnalyticsServiceServer::new(self).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Returns the figures of a conversation once they are there: those of one that is just being analysed are waited for.
    async fn figures(&self, organization: &OrganizationId, name: &ConversationName, min_position: u64) -> Result<Figures, Error> {
        let id = name.id(organization);
        if min_position > 0 {
            self.frontier.wait_for_conversation(organization, id, Some(Position(min_position))).await?;
        }
        if let Some(figures) = self.store.figures(organization, id).await? {
            return Ok(figures);
        }
        self.frontier.wait_for_conversation(organization, id, None).await?;
        self.store.figures(organization, id).await?.ok_or(Error::ConversationNotFound(id))
    }
}

fn organization<T>(request: &Request<T>, scope: Scope) -> Result<OrganizationId, Problem> {
    Caller::of(request).require(scope)
}

fn refused(error: impl Describe) -> Status {
    error.describe().into()
}

#[tonic::async_trait]
impl AnalyticsService for Handler {
    async fn get_conversation_analytics(
        &self,
        request: Request<pb::GetConversationAnalyticsRequest>,
    ) -> Result<Response<pb::GetConversationAnalyticsResponse>, Status> {
        let organization = organization(&request, Scope::AnalyticsRead)?;
        let pb::GetConversationAnalyticsRequest { conversation_id, min_position } = request.into_inner();
        let name: ConversationName =
            conversation_id.parse().map_err(|error| Problem::invalid_field("conversation_id", format!("{error}")))?;
        let Figures { features, analysis, judgements } = self.figures(&organization, &name, min_position).await?;
        let analytics = Some(convert::conversation::to_pb(&features, &analysis, &judgements));
        Ok(Response::new(pb::GetConversationAnalyticsResponse { analytics }))
    }

    async fn query_analytics(
        &self,
        request: Request<pb::QueryAnalyticsRequest>,
    ) -> Result<Response<pb::QueryAnalyticsResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let organization = caller.acting_for(&request.organization_id, Scope::AnalyticsRead)?;
        self.frontier.wait_for(&organization, request.min_position).await?;
        // Asked before: what is analysed meanwhile may or may not be in the answer.
        let data_through = self.frontier.data_through(&organization).await.map_err(Error::from)?;
        let answer = self.queries.query(&organization, &request).await.map_err(refused)?;
        Ok(Response::new(pb::QueryAnalyticsResponse { data_through: Some(timestamp_to_pb(data_through)), ..answer }))
    }

    async fn get_analytics_schema(
        &self,
        request: Request<pb::GetAnalyticsSchemaRequest>,
    ) -> Result<Response<pb::GetAnalyticsSchemaResponse>, Status> {
        organization(&request, Scope::AnalyticsRead)?;
        Ok(Response::new(self.queries.schema()))
    }

    async fn compare_analytics(
        &self,
        request: Request<pb::CompareAnalyticsRequest>,
    ) -> Result<Response<pb::CompareAnalyticsResponse>, Status> {
        let organization = organization(&request, Scope::AnalyticsRead)?;
        self.queries.compare(&organization, request.get_ref()).await.map(Response::new).map_err(refused)
    }

    async fn list_agent_performance(
        &self,
        request: Request<pb::ListAgentPerformanceRequest>,
    ) -> Result<Response<pb::ListAgentPerformanceResponse>, Status> {
        let organization = organization(&request, Scope::AnalyticsRead)?;
        self.queries.agent_performance(&organization, request.get_ref()).await.map(Response::new).map_err(refused)
    }

    async fn find_patterns(
        &self,
        request: Request<pb::FindPatternsRequest>,
    ) -> Result<Response<pb::FindPatternsResponse>, Status> {
        let organization = organization(&request, Scope::AnalyticsRead)?;
        self.queries.patterns(&organization, request.get_ref()).await.map(Response::new).map_err(refused)
    }

    async fn get_analysis_settings(
        &self,
        request: Request<pb::GetAnalysisSettingsRequest>,
    ) -> Result<Response<pb::GetAnalysisSettingsResponse>, Status> {
        let organization = organization(&request, Scope::AnalyticsRead)?;
        let mut all = self.store.settings(std::slice::from_ref(&organization)).await.map_err(Error::from)?;
        let settings = Some(convert::settings::to_pb(all.remove(&organization).unwrap_or_default()));
        Ok(Response::new(pb::GetAnalysisSettingsResponse { settings }))
    }

    async fn update_analysis_settings(
        &self,
        request: Request<pb::UpdateAnalysisSettingsRequest>,
    ) -> Result<Response<pb::UpdateAnalysisSettingsResponse>, Status> {
        let organization = organization(&request, Scope::Admin)?;
        let change = convert::settings::change(request.into_inner())?;
        let settings = self.store.change_settings(&organization, change, self.clock.now()).await.map_err(Error::from)?;
        Ok(Response::new(pb::UpdateAnalysisSettingsResponse { settings: Some(convert::settings::to_pb(settings)) }))
    }
}

#[cfg(test)]
mod tests;
