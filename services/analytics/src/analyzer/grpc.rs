//! `colloquy.analytics.v1.AnalyzerService`.
//!
//! Reading needs `analytics:read`, changing and running `admin`. Runs hold values that may be words of the conversation, as
//! `custom_analysis` of a conversation's figures does, and are read with the same scope.

use std::sync::Arc;

use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::analytics::v1::analyzer_service_server::{AnalyzerService, AnalyzerServiceServer};
use colloquy_service::{Caller, Problem};
use colloquy_storage::PageTokens;
use colloquy_types::{OrganizationId, Scope, Timestamp};
use serde::Serialize;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::backfill::Backfills;
use super::by_hand::ByHand;
use super::compare::compare;
use super::convert;
use super::definition::Analyzer;
use super::manage::Analyzers;
use super::run::Run;
use super::store::{Place, Store};

/// Answers calls.
pub struct Handler {
    pub(super) analyzers: Analyzers,
    pub(super) by_hand: ByHand,
    pub(super) backfills: Backfills,
    pub(super) store: Arc<dyn Store>,
    pub(super) page_tokens: PageTokens,
}

impl Handler {
    /// Returns the server over this handler.
    pub fn into_server(self) -> AnalyzerServiceServer<Self> {
        AnalyzerServiceServer::new(self)
    }

    fn after(&self, list: &impl Serialize, token: &str) -> Result<Option<Place>, Problem> {
        if token.is_empty() {
            return Ok(None);
        }
        let bad = |message: String| Problem::invalid_field("page_token", message);
        let (millis, id): (i64, Uuid) = self.page_tokens.open(list, token).map_err(|error| bad(error.to_string()))?;
        let at = Timestamp::from_millis(millis).map_err(|error| bad(error.to_string()))?;
        Ok(Some(Place { at, id }))
    }

    /// Cuts what was read with one more than a page has, and returns the token of the next page.
    fn cut<T>(&self, list: &impl Serialize, found: &mut Vec<T>, size: u32, place: impl Fn(&T) -> Place) -> String {
        let size = size as usize;
        if found.len() <= size {
            return String::new();
        }
        found.truncate(size);
        found.last().map(place).map(|place| self.page_tokens.seal(list, &(place.at.as_millis(), place.id))).unwrap_or_default()
    }
}

fn reader<T>(request: &Request<T>) -> Result<OrganizationId, Problem> {
    Caller::of(request).require(Scope::AnalyticsRead)
}

fn admin<T>(request: &Request<T>) -> Result<OrganizationId, Problem> {
    Caller::of(request).require(Scope::Admin)
}

#[tonic::async_trait]
impl AnalyzerService for Handler {
    async fn create_analyzer(
        &self,
        request: Request<pb::CreateAnalyzerRequest>,
    ) -> Result<Response<pb::CreateAnalyzerResponse>, Status> {
        let organization = admin(&request)?;
        let given = convert::new_analyzer(request.into_inner())?;
        let analyzer = self.analyzers.create(organization, given).await?;
        Ok(Response::new(pb::CreateAnalyzerResponse { analyzer: Some(convert::analyzer_to_pb(analyzer)) }))
    }

    async fn get_analyzer(&self, request: Request<pb::GetAnalyzerRequest>) -> Result<Response<pb::GetAnalyzerResponse>, Status> {
        let organization = reader(&request)?;
        let request = request.into_inner();
        let id = convert::id("analyzer_id", &request.analyzer_id)?;
        let analyzer = match request.version {
            0 => self.analyzers.get(&organization, id).await?,
            version => self.analyzers.get_version(&organization, id, version).await?,
        };
        Ok(Response::new(pb::GetAnalyzerResponse { analyzer: Some(convert::analyzer_to_pb(analyzer)) }))
    }

    async fn list_analyzers(
        &self,
        request: Request<pb::ListAnalyzersRequest>,
    ) -> Result<Response<pb::ListAnalyzersResponse>, Status> {
        let organization = reader(&request)?;
        let request = request.into_inner();
        let list = ("analyzers", &organization);
        let size = convert::page_size(request.page_size)?;
        let after = self.after(&list, &request.page_token)?;
        let mut found = self.analyzers.page(&organization, after, size + 1).await?;
        let place = |analyzer: &Analyzer| Place { at: analyzer.created_at, id: analyzer.analyzer_id };
        let next_page_token = self.cut(&list, &mut found, size, place);
        let analyzers = found.into_iter().map(convert::analyzer_to_pb).collect();
        Ok(Response::new(pb::ListAnalyzersResponse { analyzers, next_page_token }))
    }

    async fn update_analyzer(
        &self,
        request: Request<pb::UpdateAnalyzerRequest>,
    ) -> Result<Response<pb::UpdateAnalyzerResponse>, Status> {
        let organization = admin(&request)?;
        let (id, given) = convert::change(request.into_inner())?;
        let analyzer = self.analyzers.change(&organization, id, given).await?;
        Ok(Response::new(pb::UpdateAnalyzerResponse { analyzer: Some(convert::analyzer_to_pb(analyzer)) }))
    }

    async fn delete_analyzer(
        &self,
        request: Request<pb::DeleteAnalyzerRequest>,
    ) -> Result<Response<pb::DeleteAnalyzerResponse>, Status> {
        let organization = admin(&request)?;
        let id = convert::id("analyzer_id", &request.into_inner().analyzer_id)?;
        self.analyzers.delete(&organization, id).await?;
        Ok(Response::new(pb::DeleteAnalyzerResponse {}))
    }

    async fn run_analyzer(&self, request: Request<pb::RunAnalyzerRequest>) -> Result<Response<pb::RunAnalyzerResponse>, Status> {
        let organization = admin(&request)?;
        let request = request.into_inner();
        let id = convert::id("analyzer_id", &request.analyzer_id)?;
        let conversation = convert::conversation(&organization, &request.conversation_id)?;
        let analyzer = self.analyzers.get(&organization, id).await?;
        let run = self.by_hand.run(analyzer, conversation, request.again).await?;
        Ok(Response::new(pb::RunAnalyzerResponse { run: Some(convert::run_to_pb(run)) }))
    }

    async fn list_analyzer_runs(
        &self,
        request: Request<pb::ListAnalyzerRunsRequest>,
    ) -> Result<Response<pb::ListAnalyzerRunsResponse>, Status> {
        let organization = reader(&request)?;
        let request = request.into_inner();
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        let analyzer = given(&request.analyzer_id).map(|text| convert::id("analyzer_id", &text)).transpose()?;
        let conversation = given(&request.conversation_id).map(|text| convert::conversation(&organization, &text)).transpose()?;
        if analyzer.is_none() && conversation.is_none() {
            return Err(Problem::invalid_field("analyzer_id", "is required without conversation_id").into());
        }
        let list = ("analyzer runs", &organization, analyzer, conversation);
        let size = convert::page_size(request.page_size)?;
        let after = self.after(&list, &request.page_token)?;
        let mut found = self.analyzers.runs(&organization, analyzer, conversation, after, size + 1).await?;
        let next_page_token = self.cut(&list, &mut found, size, |run: &Run| Place { at: run.at, id: run.run_id });
        let runs = found.into_iter().map(convert::run_to_pb).collect();
        Ok(Response::new(pb::ListAnalyzerRunsResponse { runs, next_page_token }))
    }

    async fn backfill_analyzer(
        &self,
        request: Request<pb::BackfillAnalyzerRequest>,
    ) -> Result<Response<pb::BackfillAnalyzerResponse>, Status> {
        let organization = admin(&request)?;
        let request = request.into_inner();
        let id = convert::id("analyzer_id", &request.analyzer_id)?;
        let analyzer = self.analyzers.get(&organization, id).await?;
        let filter = request.filter.unwrap_or_default();
        let backfill = self.backfills.begin(&analyzer, filter, request.estimate_only).await?;
        Ok(Response::new(pb::BackfillAnalyzerResponse { backfill: Some(convert::backfill_to_pb(backfill)) }))
    }

    async fn get_backfill(&self, request: Request<pb::GetBackfillRequest>) -> Result<Response<pb::GetBackfillResponse>, Status> {
        let organization = reader(&request)?;
        let id = convert::id("backfill_id", &request.into_inner().backfill_id)?;
        let backfill = self.backfills.get(&organization, id).await?;
        Ok(Response::new(pb::GetBackfillResponse { backfill: Some(convert::backfill_to_pb(backfill)) }))
    }

    async fn compare_analyzer_versions(
        &self,
        request: Request<pb::CompareAnalyzerVersionsRequest>,
    ) -> Result<Response<pb::CompareAnalyzerVersionsResponse>, Status> {
        let organization = reader(&request)?;
        let request = request.into_inner();
        let id = convert::id("analyzer_id", &request.analyzer_id)?;
        self.analyzers.get(&organization, id).await?;
        let agreement = compare(&*self.store, &organization, id, (request.version_a, request.version_b)).await?;
        Ok(Response::new(convert::agreement_to_pb(agreement)))
    }
}
