//! How far consumers have come.

use async_nats::jetstream::consumer::Info;
use colloquy_types::{OrganizationId, Timestamp};
use futures::{StreamExt, TryStreamExt};

use super::super::link::{Epoch, Link};
use super::{Described, MAX_CONSUMERS, durable_name, info};
use crate::log::{ConsumerState, LogError};

/// Returns how far the consumers of `organization` have come, by name; only the one called `name` when it is given.
///
/// # Errors
/// When the servers do not answer.
pub(in crate::log::jetstream) async fn states(
    link: &Link,
    organization: Option<&OrganizationId>,
    name: Option<&str>,
) -> Result<Vec<ConsumerState>, LogError> {
    let epoch = link.epoch().await?;
    let end = link.extent(&epoch).await?.last;
    let stream = link.stream().await?;
    let infos: Vec<Info> = match name {
        Some(name) => info(link, &durable_name(&epoch, organization, name)).await?.into_iter().collect(),
        None => stream.consumers().take(MAX_CONSUMERS * 2).try_collect().await.map_err(LogError::engine)?,
    };
    let mut states = Vec::new();
    for info in infos {
        let described = info.config.description.as_deref().and_then(|text| serde_json::from_str::<Described>(text).ok());
        if let Some(described) = described
            && described.organization.as_ref() == organization
        {
            states.push(state(link, &epoch, &info, described, end).await?);
        }
    }
    states.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(states)
}

async fn state(link: &Link, epoch: &Epoch, info: &Info, described: Described, end: u64) -> Result<ConsumerState, LogError> {
    let handed_out = info.num_ack_pending as u64;
    let lag_records = info.num_pending + handed_out;
    let floor = info.ack_floor.stream_sequence;
    // Of the stream's leader: the consumer's own count may be of a server that lags behind.
    let oldest = if lag_records == 0 && floor >= end {
        None
    } else {
        let subject = epoch.records_of(described.organization.as_ref());
        link.get_next(&subject, floor + 1).await?.filter(|message| message.sequence <= end)
    };
    let nothing_left = oldest.is_none() && lag_records == 0;
    let acknowledged = epoch.end_of(if nothing_left { floor.max(end) } else { floor });
    let oldest = oldest.and_then(|message| {
        let millis = i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).ok()?;
        Timestamp::from_millis(millis).ok()
    });
    Ok(ConsumerState {
        name: described.consumer,
        organization: described.organization,
        acknowledged,
        end: epoch.end_of(end),
        lag_records,
        handed_out,
        redelivered: info.num_redelivered as u64,
        oldest_received_at: oldest,
    })
}
