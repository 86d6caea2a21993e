//! Writing what conversations came to and what was told of them, and reading it again.

use std::collections::HashMap;

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Timestamp};

use super::engine::{Columns, Engine, Rows, Value};
use super::features;
use super::packed::{pack, unpack};
use super::queue::held;
use super::sql::{SqlStore, organization_of, time_of};
use super::{Before, Claimed, Figures, Finish, Hours, Key, Written, hour_of};
use crate::features::Features;

/// The tables that hold something of a conversation.
const TABLES: [&str; 4] = ["features", "feature_words", "feature_values", "analyses"];

fn keys<'a>(keys: &[&'a Key]) -> Rows<'a> {
    Rows::new(keys.len())
        .text("organization_id", keys.iter().map(|(organization, _)| organization.as_str()))
        .id("conversation_id", keys.iter().map(|(_, conversation)| conversation.0))
}

/// What was known before, with the hours the conversations counted in.
async fn before<E: Engine>(
    connection: &mut E::Connection,
    known: &[&Key],
    hours: &mut Hours,
) -> Result<HashMap<Key, Before>, StoreError> {
    let sql = "with {k} select features.organization_id, features.conversation_id, features.created_at, analyses.announced, \
             analyses.heard_at, analyses.revision, analyses.told \
         from k \
         join features on features.organization_id = k.organization_id and features.conversation_id = k.conversation_id \
         left join analyses on analyses.organization_id = k.organization_id and analyses.conversation_id = k.conversation_id";
    let mut found = HashMap::new();
    for row in &E::query(connection, sql, &[], Some(&keys(known))).await? {
        let mut columns = Columns::<E>::of(row);
        let organization = organization_of(&columns.text()?)?;
        let conversation = ConversationId(columns.id()?);
        let hour = columns.int()?.div_euclid(3_600_000);
        *hours.entry((organization.as_str().to_owned(), hour)).or_default() += 1;
        let before = Before {
            announced: columns.opt_bool()?.unwrap_or_default(),
            heard_at: time_of(columns.opt_int()?.unwrap_or_default()),
            revision: columns.opt_int()?.unwrap_or_default().unsigned_abs(),
            told: columns.opt_bytes()?,
        };
        found.insert((organization, conversation), before);
    }
    Ok(found)
}

async fn write_analyses<E: Engine>(
    connection: &mut E::Connection,
    all: &[(&Key, Option<Timestamp>, Vec<u8>)],
) -> Result<(), StoreError> {
    let sql = "with {k} insert into analyses (organization_id, conversation_id, heard_at, analysis) \
         select k.organization_id, k.conversation_id, k.heard_at, k.analysis from k where true \
         on conflict (organization_id, conversation_id) do update set \
             heard_at = case when analyses.heard_at > excluded.heard_at then analyses.heard_at else excluded.heard_at end, \
             analysis = excluded.analysis";
    let only_keys: Vec<&Key> = all.iter().map(|(key, ..)| *key).collect();
    let rows = keys(&only_keys)
        .int("heard_at", all.iter().map(|(_, heard_at, _)| heard_at.map_or(0, Timestamp::as_millis)))
        .opt_bytes("analysis", all.iter().map(|(.., packed)| Some(packed.as_slice())));
    E::execute(connection, sql, &[], Some(&rows)).await?;
    Ok(())
}

async fn remove<E: Engine>(connection: &mut E::Connection, gone: &[&Key]) -> Result<(), StoreError> {
    if gone.is_empty() {
        return Ok(());
    }
    for table in TABLES {
        let sql = format!(
            "with {{k}} delete from {table} \
             where (organization_id, conversation_id) in (select k.organization_id, k.conversation_id from k)"
        );
        E::execute(connection, &sql, &[], Some(&keys(gone))).await?;
    }
    Ok(())
}

/// Notes hours that the rollups have to look at again. Last in a transaction: others wait for the rows.
async fn note_hours<E: Engine>(connection: &mut E::Connection, hours: &Hours) -> Result<(), StoreError> {
    let sql = "with {k} insert into rollup_dirty (organization_id, hour, changes) \
         select k.organization_id, k.hour, k.changes from k where true \
         on conflict (organization_id, hour) do update set changes = rollup_dirty.changes + excluded.changes";
    let rows = Rows::new(hours.len())
        .text("organization_id", hours.keys().map(|(organization, _)| organization.as_str()))
        .int("hour", hours.keys().map(|(_, hour)| *hour))
        .int("changes", hours.values().copied());
    E::execute(connection, sql, &[], Some(&rows)).await?;
    Ok(())
}

/// Notes what was told of conversations, by those who still hold them.
pub(super) async fn note_told<E: Engine>(
    connection: &mut E::Connection,
    finished: impl Iterator<Item = &(Claimed, Finish)>,
) -> Result<(), StoreError> {
    let done: Vec<_> = finished
        .filter_map(|(claimed, finish)| match finish {
            Finish::Done { settled, told, .. } => Some((claimed, *settled, told.as_ref())),
            Finish::Gone | Finish::Failed { .. } | Finish::Later { .. } | Finish::Released => None,
        })
        .collect();
    if done.is_empty() {
        return Ok(());
    }
    let announced = "with {k} update analyses set announced = k.announced from k \
         where analyses.organization_id = k.organization_id and analyses.conversation_id = k.conversation_id \
             and analyses.announced <> k.announced";
    let rows = Rows::new(done.len())
        .text("organization_id", done.iter().map(|(claimed, ..)| claimed.organization_id.as_str()))
        .id("conversation_id", done.iter().map(|(claimed, ..)| claimed.conversation_id.0))
        .bool("announced", done.iter().map(|(_, settled, _)| *settled));
    E::execute(connection, announced, &[], Some(&rows)).await?;
    let told: Vec<_> = done.iter().filter_map(|(claimed, _, told)| Some((*claimed, (*told)?))).collect();
    if told.is_empty() {
        return Ok(());
    }
    let sql = "with {k} update analyses set revision = k.revision, told = k.told from k \
         where analyses.organization_id = k.organization_id and analyses.conversation_id = k.conversation_id \
             and analyses.revision < k.revision";
    let rows = Rows::new(told.len())
        .text("organization_id", told.iter().map(|(claimed, _)| claimed.organization_id.as_str()))
        .id("conversation_id", told.iter().map(|(claimed, _)| claimed.conversation_id.0))
        .int("revision", told.iter().map(|(_, told)| i64::try_from(told.revision).unwrap_or(i64::MAX)))
        .opt_bytes("told", told.iter().map(|(_, told)| Some(told.sha256.as_slice())));
    E::execute(connection, sql, &[], Some(&rows)).await?;
    Ok(())
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn write_all(&self, written: &[(&Claimed, Written<'_>)]) -> Result<Vec<Option<Before>>, StoreError> {
        // Before the transaction: nobody waits for a compression.
        let mut packed = HashMap::new();
        for (claimed, written) in written {
            if let Written::Analysed { analysis, judgements, .. } = written {
                packed.insert((claimed.key(), claimed.claim), pack(analysis, judgements)?);
            }
        }
        let mut claims: Vec<&Claimed> = written.iter().map(|(claimed, _)| *claimed).collect();
        claims.sort_unstable_by_key(|claimed| (&claimed.organization_id, claimed.conversation_id));
        let mut hours = Hours::new();

        let mut transaction = E::begin_along_keys(&self.writer).await?;
        let held = held::<E>(&mut transaction, &claims).await?;
        let is_held = |claimed: &Claimed| held.contains(&(claimed.key(), claimed.claim));
        let mut ours: Vec<(Key, &Claimed, Written<'_>)> = (written.iter())
            .filter(|(claimed, _)| is_held(claimed))
            .map(|(claimed, written)| (claimed.key(), *claimed, *written))
            .collect();
        ours.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        let known: Vec<&Key> = ours.iter().map(|(key, ..)| key).collect();
        let before = before::<E>(&mut transaction, &known, &mut hours).await?;
        let (mut rows, mut analyses, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (key, claimed, written) in &ours {
            match written {
                Written::Analysed { features, .. } => {
                    let hour = hour_of(features.created_at);
                    *hours.entry((key.0.as_str().to_owned(), hour)).or_default() += 1;
                    rows.push(*features);
                    let packed = packed.remove(&(key.clone(), claimed.claim));
                    analyses.extend(packed.map(|packed| (key, claimed.heard_at, packed)));
                }
                Written::Gone => gone.push(key),
            }
        }
        let is_known = |row: &&&Features| before.contains_key(&(row.organization_id.clone(), row.conversation_id));
        let known_rows: Vec<&Features> = rows.iter().filter(is_known).copied().collect();
        features::write::<E>(&mut transaction, &rows, &known_rows).await?;
        write_analyses::<E>(&mut transaction, &analyses).await?;
        remove::<E>(&mut transaction, &gone).await?;
        note_hours::<E>(&mut transaction, &hours).await?;
        transaction.commit().await?;

        let answer = |(claimed, _): &(&Claimed, Written<'_>)| {
            is_held(claimed).then(|| before.get(&claimed.key()).cloned().unwrap_or_default())
        };
        Ok(written.iter().map(answer).collect())
    }

    pub(super) async fn read_figures(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
    ) -> Result<Option<Figures>, StoreError> {
        let key = [Value::Text(organization.as_str()), Value::Id(conversation.0)];
        let mut transaction = E::begin_reading(&self.readers).await?;
        let sql = "select analysis from analyses where organization_id = $1 and conversation_id = $2";
        let rows = E::query(&mut transaction, sql, &key, None).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let packed = Columns::<E>::of(row).bytes()?;
        let features = features::read_one::<E>(&mut transaction, &key).await?;
        transaction.commit().await?;
        let Some(features) = features else { return Ok(None) };
        let (analysis, judgements) = unpack(&packed)?;
        Ok(Some(Figures { features, analysis, judgements }))
    }
}
