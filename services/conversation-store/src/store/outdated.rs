//! Bringing rows up to date that a release wrote which did not know all columns of lists.
//!
//! Such a release may run beside this one, and write any row at any time. Whatever it changes of a conversation, it writes its turns
//! anew; so what tells that all columns are as they should be is a mark in those bytes, which it reads over and does not write.

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Position, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::engine::{Columns, Engine, Value};
use super::sql::{SqlStore, provider};
use super::touched::Touched;
use crate::turn_events::{Named, TurnEvents};

/// What the turns of a row begin with whose columns are all known: a field (2, a number) that their message does not have, of the
/// value 1. [`Engine::OUTDATED`] asks for it. Columns that are added later need the next value, and an index that asks for that one.
const MARK: [u8; 2] = [0x10, 0x01];

/// Returns the bytes that turns are kept as in a row with all columns.
pub(super) fn marked(turns: &TurnEvents) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.extend(turns.encode());
    bytes
}

/// Returns whether a row with these turns has all columns as they should be.
pub(super) fn is_marked(turns: &[u8]) -> bool {
    turns.starts_with(&MARK)
}

/// How many bytes are folded in one transaction, though always one conversation: those that are told of wait for it.
const MOST_BYTES: i64 = 4 << 20;

/// Where a search for outdated rows has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outdated {
    last_received_at: i64,
    organization_id: OrganizationId,
    conversation_id: Uuid,
}

impl<E: Engine> SqlStore<E> {
    /// Folds up to `limit` outdated conversations again, fewer when they are large, the last heard of first; returns where to go on,
    /// if there may be more.
    pub(super) async fn renew_batch(
        &self,
        after: Option<&Outdated>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<Outdated>, StoreError> {
        let mut found = self.outdated(after, limit).await?;
        let in_all = found.len();
        let mut bytes: i64 = 0;
        let fits = |(_, _, size): &&(Outdated, Named, i64)| {
            bytes = bytes.saturating_add(*size);
            bytes <= MOST_BYTES
        };
        found.truncate(found.iter().take_while(fits).count().max(1));
        let touched = |(place, named, _): &'_ (Outdated, Named, i64)| (place.organization_id.clone(), named.clone());
        let touched: Vec<(OrganizationId, Named)> = found.iter().map(touched).collect();
        if let Err(error) = self.renew_these(&touched, now).await {
            // One that cannot be read must not keep the others from it.
            tracing::debug!("outdated conversations are folded one by one: {error}");
            for one in touched.chunks(1) {
                if let Err(error) = self.renew_these(one, now).await {
                    let conversation_id = one.first().map(|(_, named)| named.conversation_id.to_string()).unwrap_or_default();
                    tracing::warn!(conversation_id, "an outdated conversation could not be folded again: {error}");
                }
            }
        }
        let more = in_all >= limit || found.len() < in_all;
        Ok(found.into_iter().next_back().map(|(place, ..)| place).filter(|_| more))
    }

    pub(super) async fn renew_these(&self, found: &[(OrganizationId, Named)], now: Timestamp) -> Result<(), StoreError> {
        if found.is_empty() {
            return Ok(());
        }
        // In the order in which readers of the log lock conversations.
        let mut touched: Vec<Touched<'_>> =
            found.iter().map(|(organization, named)| Touched::by_nothing(organization, named.clone())).collect();
        touched.sort_by(|one, other| {
            (one.organization, one.named.conversation_id).cmp(&(other.organization, other.named.conversation_id))
        });
        self.fold_again(touched, Position::START, now).await
    }

    /// Returns outdated conversations, and how many bytes are read to fold each.
    async fn outdated(&self, after: Option<&Outdated>, limit: usize) -> Result<Vec<(Outdated, Named, i64)>, StoreError> {
        let mut builder = QueryBuilder::<E>::new(format!(
            "select last_received_at, organization_id, conversation_id, provider, external_id,
                 cast(length(record) + length(turns) + coalesce(
                     (select sum(length(e.event)) from events e
                      where e.organization_id = conversations.organization_id
                          and e.conversation_id = conversations.conversation_id), 0) as bigint)
             from conversations where {}",
            E::OUTDATED
        ));
        if let Some(after) = after {
            builder.push(" and (last_received_at, organization_id, conversation_id) < (");
            E::bind(&mut builder, Value::Int(after.last_received_at));
            builder.push(", ");
            E::bind(&mut builder, Value::Text(after.organization_id.as_str()));
            builder.push(", ");
            E::bind(&mut builder, Value::Id(after.conversation_id));
            builder.push(")");
        }
        builder.push(" order by last_received_at desc, organization_id desc, conversation_id desc limit ");
        E::bind(&mut builder, Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        let mut connection = self.readers.acquire().await?;
        let mut found = Vec::new();
        for row in E::fetch(&mut connection, builder).await? {
            let mut columns = Columns::<E>::of(&row);
            let last_received_at = columns.int()?;
            let organization_id: OrganizationId =
                columns.text()?.parse().map_err(|_| StoreError::Corrupt("an organization".to_owned()))?;
            let conversation_id = columns.id()?;
            let provider = provider(&columns.text()?)?;
            let external_id = String::from_utf8_lossy(&columns.bytes()?).into_owned();
            let named = Named { conversation_id: ConversationId(conversation_id), provider, external_id };
            found.push((Outdated { last_received_at, organization_id, conversation_id }, named, columns.int()?));
        }
        Ok(found)
    }
}
