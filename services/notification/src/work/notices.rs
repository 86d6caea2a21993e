//! What an organization's other endpoints are told of one that fails.

use std::sync::Arc;

use colloquy_storage::StoreError;
use colloquy_types::Timestamp;

use crate::endpoint::Endpoint;
use crate::matching;
use crate::message::Message;
use crate::store::{Place, Store};

const PAGE: u32 = 100;

/// Tells an organization's other endpoints that listen. Repeating it tells nobody again.
pub(super) async fn tell(store: &Arc<dyn Store>, about: &Endpoint, notice: Message, now: Timestamp) -> Result<(), StoreError> {
    let mut deliveries = Vec::new();
    let mut after = None;
    loop {
        let page = store.page_of_endpoints(&about.organization_id, after, PAGE).await?;
        for endpoint in page.iter().filter(|endpoint| endpoint.endpoint_id != about.endpoint_id && listens(endpoint, &notice)) {
            let delivery = matching::delivery(&notice, endpoint, now);
            // One that was told already would be told again.
            let told = store.delivery(&about.organization_id, endpoint.endpoint_id, delivery.delivery_id).await?.is_some();
            if !told {
                deliveries.push(delivery);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => {
                after = Some(Place { created_at: last.created_at, id: last.endpoint_id });
            }
            _ => break,
        }
    }
    if deliveries.is_empty() { Ok(()) } else { store.add(&[notice], &deliveries, now).await }
}

/// A notice is about no conversation, so filters do not matter.
fn listens(endpoint: &Endpoint, notice: &Message) -> bool {
    endpoint.enabled && endpoint.listens_to(&notice.event_type)
}
