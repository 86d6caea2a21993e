//! Deliveries, for people: looked at, tried again, recovered, tested.

use std::sync::Arc;
use std::time::Duration;

use colloquy_types::{Clock, OrganizationId, Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use crate::delivery::{Delivery, Status};
use crate::endpoints::Endpoints;
use crate::error::Error;
use crate::matching;
use crate::payload::own;
use crate::reader::Dispatch;
use crate::store::{DeliveryFilter, Place, Store};

/// How long a test waits for its first attempt.
const TEST_WAIT: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The deliveries of every organization.
#[derive(Clone)]
pub struct Deliveries {
    store: Arc<dyn Store>,
    endpoints: Endpoints,
    dispatch: Arc<dyn Dispatch>,
    clock: Arc<dyn Clock>,
}

impl Deliveries {
    /// Returns the deliveries in `store`; `dispatch` is told when something is due again.
    pub fn new(store: Arc<dyn Store>, endpoints: Endpoints, dispatch: Arc<dyn Dispatch>, clock: Arc<dyn Clock>) -> Self {
        Self { store, endpoints, dispatch, clock }
    }

    /// Returns a page of an endpoint's deliveries, newest first.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub async fn page(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        filter: &DeliveryFilter,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Delivery>, Error> {
        self.endpoints.get(organization, endpoint).await?;
        Ok(self.store.page_of_deliveries(organization, endpoint, filter, after, limit).await?)
    }

    /// Tries a delivery now: one that has ended with a new schedule, one that waits for its next attempt without waiting for it.
    /// Returns it as it is then; one that is being attempted at this moment is left alone.
    ///
    /// # Errors
    /// When there is none, or its endpoint is disabled.
    pub async fn retry(&self, organization: &OrganizationId, endpoint: Uuid, id: Uuid) -> Result<Delivery, Error> {
        self.get(organization, endpoint, id).await?;
        self.endpoints.enabled(organization, endpoint).await?;
        if !self.store.retry(organization, endpoint, id, self.clock.now()).await? {
            return Err(Error::DeliveryNotFound(id));
        }
        self.dispatch.look();
        self.get(organization, endpoint, id).await
    }

    /// Tries everything now that an endpoint missed of what was made in `[since, until)`, whether it was given up or waits for its
    /// next attempt. Returns how many deliveries.
    ///
    /// # Errors
    /// When there is no such endpoint, or it is disabled.
    pub async fn recover(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<u64, Error> {
        self.endpoints.enabled(organization, endpoint).await?;
        let recovered = self.store.recover(organization, endpoint, since, until, self.clock.now()).await?;
        self.dispatch.look();
        Ok(recovered)
    }

    /// Sends an endpoint a test. Returns its delivery after the first attempt, or as it is when that takes long.
    ///
    /// # Errors
    /// When there is no such endpoint, or it is disabled.
    pub async fn test(&self, organization: &OrganizationId, endpoint: Uuid) -> Result<Delivery, Error> {
        let endpoint = self.endpoints.enabled(organization, endpoint).await?;
        let now = self.clock.now();
        let message = own::test(&endpoint, now);
        let delivery = matching::delivery(&message, &endpoint, now);
        self.store.add(&[message], std::slice::from_ref(&delivery), now).await?;
        self.dispatch.look();
        let deadline = Instant::now() + TEST_WAIT;
        loop {
            let seen = self.get(organization, endpoint.endpoint_id, delivery.delivery_id).await?;
            if seen.attempt_count > 0 || seen.status != Status::Pending || Instant::now() >= deadline {
                return Ok(seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn get(&self, organization: &OrganizationId, endpoint: Uuid, id: Uuid) -> Result<Delivery, Error> {
        match self.store.delivery(organization, endpoint, id).await? {
            Some(delivery) => Ok(delivery),
            None => {
                // Whoever named the wrong endpoint is told so.
                self.endpoints.get(organization, endpoint).await?;
                Err(Error::DeliveryNotFound(id))
            }
        }
    }
}
