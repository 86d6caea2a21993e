//! Bringing rows up to date that a release wrote which did not know all columns of lists.

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Position, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::engine::{Columns, Engine, Value};
use super::sql::{SqlStore, provider};
use super::touched::Touched;
use crate::turn_events::Named;

/// Where a search for outdated rows has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outdated {
    last_received_at: i64,
    organization_id: OrganizationId,
    conversation_id: Uuid,
}

impl<E: Engine> SqlStore<E> {
    /// Folds up to `limit` outdated conversations again, the last heard of first; returns where to go on, if there may be more.
    pub(super) async fn renew_batch(
        &self,
        after: Option<&Outdated>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<Outdated>, StoreError> {
        let found = self.outdated(after, limit).await?;
        let touched = |(place, named): &'_ (Outdated, Named)| (place.organization_id.clone(), named.clone());
        let touched: Vec<(OrganizationId, Named)> = found.iter().map(touched).collect();
        if let Err(error) = self.renew(&touched, now).await {
            // One that cannot be read must not keep the others from it.
            tracing::debug!("outdated conversations are folded one by one: {error}");
            for one in touched.chunks(1) {
                if let Err(error) = self.renew(one, now).await {
                    let conversation_id = one.first().map(|(_, named)| named.conversation_id.to_string()).unwrap_or_default();
                    tracing::warn!(conversation_id, "an outdated conversation could not be folded again: {error}");
                }
            }
        }
        let more = found.len() >= limit;
        Ok(found.into_iter().next_back().map(|(place, _)| place).filter(|_| more))
    }

    async fn renew(&self, found: &[(OrganizationId, Named)], now: Timestamp) -> Result<(), StoreError> {
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

    async fn outdated(&self, after: Option<&Outdated>, limit: usize) -> Result<Vec<(Outdated, Named)>, StoreError> {
        let mut builder = QueryBuilder::<E>::new(
            "select last_received_at, organization_id, conversation_id, provider, external_id from conversations
             where (columns_received_at is null or columns_received_at <> last_received_at)",
        );
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
            found.push((Outdated { last_received_at, organization_id, conversation_id }, named));
        }
        Ok(found)
    }
}
