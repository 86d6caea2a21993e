//! Endpoints that fail for days, or say that they are gone.

use std::sync::Arc;
use std::time::Duration;

use colloquy_service::metrics::notification_endpoint_disabled;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, Timestamp};

use super::notices;
use crate::endpoint::{DisabledReason, Endpoint};
use crate::payload::own;
use crate::store::Store;

/// After so long of only failures the organization is told.
const TOLD_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// After so long of only failures an endpoint is disabled.
const DISABLED_AFTER: Duration = Duration::from_secs(5 * 24 * 60 * 60);

/// Returns whether every attempt failed for so long that the store should be asked about it.
pub(super) fn is_suspect(failing_since: Timestamp, now: Timestamp) -> bool {
    has_lasted(failing_since, now, TOLD_AFTER)
}

fn has_lasted(since: Timestamp, now: Timestamp, time: Duration) -> bool {
    u128::try_from(now.millis_since(since)).is_ok_and(|lasted| lasted >= time.as_millis())
}

/// Disables what has failed for too long, and tells of what is about to be. Asks the store, since other replicas may have had better
/// luck. Returns the endpoint as it is kept; `None` when it is no longer enabled.
pub(super) async fn examine(
    store: &Arc<dyn Store>,
    endpoint: &Endpoint,
    clock: &dyn Clock,
) -> Result<Option<Endpoint>, StoreError> {
    let now = clock.now();
    let kept = store.endpoint(&endpoint.organization_id, endpoint.endpoint_id).await?;
    let Some(kept) = kept.filter(|kept| kept.enabled) else { return Ok(None) };
    let Some(failing_since) = kept.failing_since else { return Ok(Some(kept)) };
    if has_lasted(failing_since, now, DISABLED_AFTER) {
        disable(store, &kept, DisabledReason::Failing, now).await?;
        return Ok(None);
    }
    if has_lasted(failing_since, now, TOLD_AFTER) {
        notices::tell(store, &kept, own::endpoint_failing(&kept, failing_since, now), now).await?;
    }
    Ok(Some(kept))
}

/// Disables an endpoint that says that it is gone. Returns whether it is no longer enabled: it stays so when a person has given it
/// another URL meanwhile.
pub(super) async fn bury(store: &Arc<dyn Store>, endpoint: &Endpoint, now: Timestamp) -> Result<bool, StoreError> {
    let kept = store.endpoint(&endpoint.organization_id, endpoint.endpoint_id).await?;
    let Some(kept) = kept.filter(|kept| kept.enabled) else { return Ok(true) };
    if kept.url != endpoint.url {
        return Ok(false);
    }
    disable(store, &kept, DisabledReason::Gone, now).await?;
    Ok(true)
}

/// Disables an endpoint, and tells the organization's others. Those first: what is cut off in between is done again.
async fn disable(store: &Arc<dyn Store>, kept: &Endpoint, reason: DisabledReason, now: Timestamp) -> Result<(), StoreError> {
    notices::tell(store, kept, own::endpoint_disabled(kept, reason, now), now).await?;
    if store.disable_endpoint(&kept.organization_id, kept.endpoint_id, reason, now).await? {
        notification_endpoint_disabled(reason.as_str());
        tracing::warn!(reason = reason.as_str(), "an endpoint was disabled: {}", reason.as_str());
    }
    Ok(())
}
