//! `colloquy.notification.v1.WebhookService`.

use std::sync::Arc;

use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::notification::v1 as pb;
use colloquy_proto::notification::v1::webhook_service_server::{WebhookService, WebhookServiceServer};
use colloquy_service::{Caller, Problem};
use colloquy_storage::PageTokens;
use colloquy_types::{Clock, OrganizationId, Scope, Timestamp};
use serde::Serialize;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::convert;
use crate::deliveries::Deliveries;
use crate::delivery::{Delivery, Status as DeliveryStatus};
use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::payload::catalogue;
use crate::replay::Replays;
use crate::secrets::PREFIX;
use crate::send::Secret;
use crate::store::Place;

/// Answers calls.
pub(crate) struct Handler {
    pub(crate) endpoints: Endpoints,
    pub(crate) deliveries: Deliveries,
    pub(crate) replays: Replays,
    pub(crate) page_tokens: PageTokens,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Handler {
    /// Returns the server over this handler.
    pub(crate) fn into_server(self) -> WebhookServiceServer<Self> {
        WebhookServiceServer::new(self)
    }

    fn after(&self, list: &impl Serialize, token: &str) -> Result<Option<Place>, Problem> {
        if token.is_empty() {
            return Ok(None);
        }
        let bad = |message: String| Problem::invalid_field("page_token", message);
        let (millis, id): (i64, Uuid) = self.page_tokens.open(list, token).map_err(|error| bad(error.to_string()))?;
        let created_at = Timestamp::from_millis(millis).map_err(|error| bad(error.to_string()))?;
        Ok(Some(Place { created_at, id }))
    }

    /// Cuts what was read with one more than a page has, and returns the token of the next page.
    fn cut<T>(&self, list: &impl Serialize, found: &mut Vec<T>, size: u32, place: impl Fn(&T) -> Place) -> String {
        let size = size as usize;
        if found.len() <= size {
            return String::new();
        }
        found.truncate(size);
        let place = found.last().map(place);
        place.map(|Place { created_at, id }| self.page_tokens.seal(list, &(created_at.as_millis(), id))).unwrap_or_default()
    }
}

fn organization<T>(request: &Request<T>) -> Result<OrganizationId, Problem> {
    Caller::of(request).require(Scope::WebhooksWrite)
}

fn shown(Secret(secret): Secret) -> String {
    format!("{PREFIX}{secret}")
}

#[tonic::async_trait]
impl WebhookService for Handler {
    async fn create_webhook_endpoint(
        &self,
        request: Request<pb::CreateWebhookEndpointRequest>,
    ) -> Result<Response<pb::CreateWebhookEndpointResponse>, Status> {
        let organization = organization(&request)?;
        let given = convert::new_endpoint(request.into_inner())?;
        let (endpoint, secret) = self.endpoints.create(organization, given).await?;
        let endpoint = Some(convert::endpoint_to_pb(endpoint));
        Ok(Response::new(pb::CreateWebhookEndpointResponse { endpoint, secret: secret.map(shown).unwrap_or_default() }))
    }

    async fn get_webhook_endpoint(
        &self,
        request: Request<pb::GetWebhookEndpointRequest>,
    ) -> Result<Response<pb::GetWebhookEndpointResponse>, Status> {
        let organization = organization(&request)?;
        let id = convert::endpoint_id(&request.into_inner().endpoint_id)?;
        let endpoint = self.endpoints.get(&organization, id).await?;
        Ok(Response::new(pb::GetWebhookEndpointResponse { endpoint: Some(convert::endpoint_to_pb(endpoint)) }))
    }

    async fn list_webhook_endpoints(
        &self,
        request: Request<pb::ListWebhookEndpointsRequest>,
    ) -> Result<Response<pb::ListWebhookEndpointsResponse>, Status> {
        let organization = organization(&request)?;
        let request = request.into_inner();
        let list = ("webhook endpoints", &organization);
        let size = convert::only_page_size(request.page_size)?;
        let after = self.after(&list, &request.page_token)?;
        let mut found = self.endpoints.page(&organization, after, size + 1).await?;
        let place = |endpoint: &Endpoint| Place { created_at: endpoint.created_at, id: endpoint.endpoint_id };
        let next_page_token = self.cut(&list, &mut found, size, place);
        let endpoints = found.into_iter().map(convert::endpoint_to_pb).collect();
        Ok(Response::new(pb::ListWebhookEndpointsResponse { endpoints, next_page_token }))
    }

    async fn update_webhook_endpoint(
        &self,
        request: Request<pb::UpdateWebhookEndpointRequest>,
    ) -> Result<Response<pb::UpdateWebhookEndpointResponse>, Status> {
        let organization = organization(&request)?;
        let (id, given) = convert::change(request.into_inner())?;
        let endpoint = self.endpoints.change(&organization, id, given).await?;
        Ok(Response::new(pb::UpdateWebhookEndpointResponse { endpoint: Some(convert::endpoint_to_pb(endpoint)) }))
    }

    async fn delete_webhook_endpoint(
        &self,
        request: Request<pb::DeleteWebhookEndpointRequest>,
    ) -> Result<Response<pb::DeleteWebhookEndpointResponse>, Status> {
        let organization = organization(&request)?;
        let id = convert::endpoint_id(&request.into_inner().endpoint_id)?;
        self.endpoints.delete(&organization, id).await?;
        Ok(Response::new(pb::DeleteWebhookEndpointResponse {}))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<pb::RotateWebhookSecretRequest>,
    ) -> Result<Response<pb::RotateWebhookSecretResponse>, Status> {
        let organization = organization(&request)?;
        let id = convert::endpoint_id(&request.into_inner().endpoint_id)?;
        let (secret, expires_at) = self.endpoints.rotate(&organization, id).await?;
        let previous_secret_expires_at = Some(timestamp_to_pb(expires_at));
        Ok(Response::new(pb::RotateWebhookSecretResponse { secret: shown(secret), previous_secret_expires_at }))
    }

    async fn test_webhook_endpoint(
        &self,
        request: Request<pb::TestWebhookEndpointRequest>,
    ) -> Result<Response<pb::TestWebhookEndpointResponse>, Status> {
        let organization = organization(&request)?;
        let id = convert::endpoint_id(&request.into_inner().endpoint_id)?;
        let delivery = self.deliveries.test(&organization, id).await?;
        Ok(Response::new(pb::TestWebhookEndpointResponse { delivery: Some(convert::delivery_to_pb(delivery)) }))
    }

    async fn list_webhook_deliveries(
        &self,
        request: Request<pb::ListWebhookDeliveriesRequest>,
    ) -> Result<Response<pb::ListWebhookDeliveriesResponse>, Status> {
        let organization = organization(&request)?;
        let wanted = convert::list_deliveries(request.into_inner())?;
        let filter = &wanted.filter;
        let status = filter.status.map(DeliveryStatus::as_str);
        let list =
            ("webhook deliveries", &organization, wanted.endpoint_id, (status, filter.conversation_id, &filter.event_type));
        let size = wanted.page_size;
        let after = self.after(&list, &wanted.page_token)?;
        let mut found = self.deliveries.page(&organization, wanted.endpoint_id, filter, after, size + 1).await?;
        let place = |delivery: &Delivery| Place { created_at: delivery.created_at, id: delivery.delivery_id };
        let next_page_token = self.cut(&list, &mut found, size, place);
        let deliveries = found.into_iter().map(convert::delivery_to_pb).collect();
        Ok(Response::new(pb::ListWebhookDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn retry_webhook_delivery(
        &self,
        request: Request<pb::RetryWebhookDeliveryRequest>,
    ) -> Result<Response<pb::RetryWebhookDeliveryResponse>, Status> {
        let organization = organization(&request)?;
        let (endpoint, delivery) = convert::retry(request.get_ref())?;
        let delivery = self.deliveries.retry(&organization, endpoint, delivery).await?;
        Ok(Response::new(pb::RetryWebhookDeliveryResponse { delivery: Some(convert::delivery_to_pb(delivery)) }))
    }

    async fn recover_webhook_deliveries(
        &self,
        request: Request<pb::RecoverWebhookDeliveriesRequest>,
    ) -> Result<Response<pb::RecoverWebhookDeliveriesResponse>, Status> {
        let organization = organization(&request)?;
        let convert::Recover { endpoint_id, since, until } = convert::recover(request.into_inner())?;
        let until = until.unwrap_or_else(|| self.clock.now());
        let deliveries = self.deliveries.recover(&organization, endpoint_id, since, until).await?;
        Ok(Response::new(pb::RecoverWebhookDeliveriesResponse { deliveries }))
    }

    async fn replay_webhook_deliveries(
        &self,
        request: Request<pb::ReplayWebhookDeliveriesRequest>,
    ) -> Result<Response<pb::ReplayWebhookDeliveriesResponse>, Status> {
        let organization = organization(&request)?;
        let mut request = request.into_inner();
        let endpoint = convert::replay(&mut request)?;
        let replay_id = self.replays.begin(&organization, endpoint, request).await?;
        Ok(Response::new(pb::ReplayWebhookDeliveriesResponse { replay_id: replay_id.to_string() }))
    }

    async fn list_webhook_event_types(
        &self,
        request: Request<pb::ListWebhookEventTypesRequest>,
    ) -> Result<Response<pb::ListWebhookEventTypesResponse>, Status> {
        if matches!(Caller::of(&request), Caller::Anonymous) {
            // The auth layer lets nobody in without a key; this names the reason should it ever not stand before this method.
            return Err(Problem::unauthenticated("API_KEY_MISSING", "an API key is required").into());
        }
        let event_types = catalogue::event_types().iter().map(convert::event_type_to_pb).collect();
        Ok(Response::new(pb::ListWebhookEventTypesResponse { event_types }))
    }
}

#[cfg(test)]
mod tests;
