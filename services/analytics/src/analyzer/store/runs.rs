//! Runs.

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Rows, Value};
use colloquy_types::{ConversationId, OrganizationId};
use uuid::Uuid;

use super::news::note;
use super::{Place, SqlStore, count_of, key, pack, time_of, to_int, unpack, version_of};
use crate::analyzer::run::{Run, RunResult, Usage};

/// What makes two runs the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Of which analyzer.
    pub analyzer_id: Uuid,
    /// Of which version.
    pub version: u32,
    /// Who was asked.
    pub model: String,
    /// What was asked.
    pub prompt_hash: [u8; 32],
}

impl Key {
    /// Returns the key of a run.
    pub fn of(run: &Run) -> Self {
        Self { analyzer_id: run.analyzer_id, version: run.version, model: run.model.clone(), prompt_hash: run.prompt_hash }
    }
}

/// Which runs to list; at least one of both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunFilter {
    /// Only of this analyzer.
    pub analyzer_id: Option<Uuid>,
    /// Only of this conversation.
    pub conversation_id: Option<ConversationId>,
}

/// Keeps runs.
#[async_trait]
pub trait Runs: Send + Sync + 'static {
    /// Keeps a run that did not come from the queue; if it succeeded, its conversation is to be analysed again.
    async fn keep_run(&self, run: &Run) -> Result<(), StoreError>;

    /// Returns one run.
    async fn run(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Run>, StoreError>;

    /// Returns the newest run of a key over a conversation that succeeded.
    async fn equal_run(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        key: &Key,
    ) -> Result<Option<Run>, StoreError>;

    /// Returns the key of the newest run of every version of every analyzer over a conversation, whatever came of it.
    async fn newest_keys(&self, organization: &OrganizationId, conversation: ConversationId) -> Result<Vec<Key>, StoreError>;

    /// Returns of each of these conversations the run of every analyzer that counts, oldest first: of those that succeeded the newest
    /// of the newest version. An earlier version may well be run later, by a back-fill that takes days.
    async fn newest_runs(&self, organization: &OrganizationId, conversations: &[ConversationId]) -> Result<Vec<Run>, StoreError>;

    /// Returns a page of runs, newest first.
    async fn page_of_runs(
        &self,
        organization: &OrganizationId,
        filter: RunFilter,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Run>, StoreError>;

    /// Returns which of these conversations have a run of this version that succeeded.
    async fn done_of(
        &self,
        organization: &OrganizationId,
        analyzer: Uuid,
        version: u32,
        conversations: &[ConversationId],
    ) -> Result<Vec<ConversationId>, StoreError>;

    /// Returns the newest runs of two versions over conversations behind `after` that both have seen, in the order of the
    /// conversations' ids, at most `limit` pairs.
    async fn pairs(
        &self,
        organization: &OrganizationId,
        analyzer: Uuid,
        versions: (u32, u32),
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<(Run, Run)>, StoreError>;
}

const NAMES: [&str; 14] = [
    "organization_id",
    "run_id",
    "analyzer_id",
    "version",
    "conversation_id",
    "model",
    "prompt_hash",
    "succeeded",
    "score",
    "input_tokens",
    "output_tokens",
    "ran_at",
    "cached",
    "result",
];

fn columns(table: &str) -> String {
    NAMES.map(|name| format!("{table}.{name}")).join(", ")
}

fn read<E: Engine>(organization: &OrganizationId, columns: &mut Columns<'_, E>) -> Result<Run, StoreError> {
    // Whose it is was asked for.
    columns.text()?;
    let run_id = columns.id()?;
    let analyzer_id = columns.id()?;
    let version = version_of(columns.int()?);
    let conversation_id = ConversationId(columns.id()?);
    let model = columns.text()?;
    let prompt_hash = hash_of(&columns.bytes()?)?;
    columns.bool()?;
    let score = columns.opt_real()?;
    let usage = Usage { input: count_of(columns.int()?), output: count_of(columns.int()?) };
    let at = time_of(columns.int()?);
    let cached = columns.bool()?;
    let result = unpack(&columns.bytes()?, "a run")?;
    let result: RunResult = serde_json::from_slice(&result).map_err(|_| StoreError::Corrupt("a run".to_owned()))?;
    let organization_id = organization.clone();
    Ok(Run {
        organization_id,
        run_id,
        analyzer_id,
        version,
        conversation_id,
        model,
        prompt_hash,
        result,
        score,
        usage,
        at,
        cached,
    })
}

fn hash_of(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt("the hash of a question".to_owned()))
}

/// Keeps a run; if it succeeded, its conversation is to be analysed again.
pub(super) async fn insert<E: Engine>(connection: &mut E::Connection, run: &Run) -> Result<(), StoreError> {
    let result = serde_json::to_vec(&run.result).map_err(|_| StoreError::Corrupt("a run that cannot be written".to_owned()))?;
    let packed = pack(&result)?;
    let [organization, id] = key(&run.organization_id, run.run_id);
    let values = [
        organization,
        id,
        Value::Id(run.analyzer_id),
        Value::Int(run.version.into()),
        Value::Id(run.conversation_id.0),
        Value::Text(&run.model),
        Value::Bytes(&run.prompt_hash),
        Value::Bool(run.result.found().is_some()),
        Value::OptReal(run.score),
        Value::Int(to_int(run.usage.input)),
        Value::Int(to_int(run.usage.output)),
        Value::Int(run.at.as_millis()),
        Value::Bool(run.cached),
        Value::Bytes(&packed),
    ];
    let places: Vec<String> = (1..=NAMES.len()).map(|place| format!("${place}")).collect();
    let sql = format!("insert into analyzer_runs ({}) values ({})", NAMES.join(", "), places.join(", "));
    E::execute(connection, &sql, &values, None).await?;
    if run.result.found().is_some() { note::<E>(connection, run).await } else { Ok(()) }
}

#[async_trait]
impl<E: Engine> Runs for SqlStore<E> {
    async fn keep_run(&self, run: &Run) -> Result<(), StoreError> {
        let mut tx = E::begin(&self.writer).await?;
        insert::<E>(&mut tx, run).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn run(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Run>, StoreError> {
        let sql = format!("select {} from analyzer_runs r where r.organization_id = $1 and r.run_id = $2", columns("r"));
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, &sql, &key(organization, id), None).await?;
        rows.first().map(|row| read::<E>(organization, &mut Columns::of(row))).transpose()
    }

    async fn equal_run(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        wanted: &Key,
    ) -> Result<Option<Run>, StoreError> {
        let sql = format!(
            "select {} from analyzer_runs r \
             where r.organization_id = $1 and r.conversation_id = $2 and r.analyzer_id = $3 and r.version = $4 and r.model = $5 \
                 and r.prompt_hash = $6 and r.succeeded \
             order by r.ran_at desc, r.run_id desc limit 1",
            columns("r")
        );
        let [organization_id, conversation] = key(organization, conversation.0);
        let values = [
            organization_id,
            conversation,
            Value::Id(wanted.analyzer_id),
            Value::Int(wanted.version.into()),
            Value::Text(&wanted.model),
            Value::Bytes(&wanted.prompt_hash),
        ];
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, &sql, &values, None).await?;
        rows.first().map(|row| read::<E>(organization, &mut Columns::of(row))).transpose()
    }

    async fn newest_keys(&self, organization: &OrganizationId, conversation: ConversationId) -> Result<Vec<Key>, StoreError> {
        let sql = "select analyzer_id, version, model, prompt_hash from ( \
                 select analyzer_id, version, model, prompt_hash, \
                     row_number() over (partition by analyzer_id, version order by ran_at desc, run_id desc) as place \
                 from analyzer_runs where organization_id = $1 and conversation_id = $2) as numbered \
             where place = 1";
        let mut connection = self.readers.acquire().await?;
        let mut keys = Vec::new();
        for row in &E::query(&mut connection, sql, &key(organization, conversation.0), None).await? {
            let mut columns = Columns::<E>::of(row);
            keys.push(Key {
                analyzer_id: columns.id()?,
                version: version_of(columns.int()?),
                model: columns.text()?,
                prompt_hash: hash_of(&columns.bytes()?)?,
            });
        }
        Ok(keys)
    }

    async fn newest_runs(&self, organization: &OrganizationId, conversations: &[ConversationId]) -> Result<Vec<Run>, StoreError> {
        let sql = format!(
            "with {{k}}, newest as ( \
                 select run_id from ( \
                     select r.run_id, row_number() over ( \
                         partition by r.conversation_id, r.analyzer_id \
                         order by r.version desc, r.ran_at desc, r.run_id desc) as place \
                     from k cross join analyzer_runs r \
                         where r.organization_id = $1 and r.conversation_id = k.conversation_id and r.succeeded) as numbered \
                 where place = 1) \
             select {} from newest join analyzer_runs r on r.organization_id = $1 and r.run_id = newest.run_id \
             order by r.ran_at, r.run_id",
            columns("r")
        );
        let rows = Rows::new(conversations.len()).id("conversation_id", conversations.iter().map(|conversation| conversation.0));
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, &sql, &[Value::Text(organization.as_str())], Some(&rows)).await?;
        rows.iter().map(|row| read::<E>(organization, &mut Columns::of(row))).collect()
    }

    async fn page_of_runs(
        &self,
        organization: &OrganizationId,
        filter: RunFilter,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Run>, StoreError> {
        let mut values = vec![Value::Text(organization.as_str()), Value::Int(limit.into())];
        let mut conditions = String::new();
        for (name, id) in [("analyzer_id", filter.analyzer_id), ("conversation_id", filter.conversation_id.map(|id| id.0))] {
            if let Some(id) = id {
                values.push(Value::Id(id));
                conditions.push_str(&format!(" and r.{name} = ${}", values.len()));
            }
        }
        if let Some(after) = after {
            values.extend([Value::Int(after.at.as_millis()), Value::Id(after.id)]);
            conditions.push_str(&format!(" and (r.ran_at, r.run_id) < (${}, ${})", values.len() - 1, values.len()));
        }
        let sql = format!(
            "select {} from analyzer_runs r where r.organization_id = $1{conditions} \
             order by r.ran_at desc, r.run_id desc limit $2",
            columns("r")
        );
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, &sql, &values, None).await?;
        rows.iter().map(|row| read::<E>(organization, &mut Columns::of(row))).collect()
    }

    async fn done_of(
        &self,
        organization: &OrganizationId,
        analyzer: Uuid,
        version: u32,
        conversations: &[ConversationId],
    ) -> Result<Vec<ConversationId>, StoreError> {
        let [organization, analyzer] = key(organization, analyzer);
        let rows = Rows::new(conversations.len()).id("conversation_id", conversations.iter().map(|id| id.0));
        let sql = "with {k} select k.conversation_id from k where exists ( \
             select 1 from analyzer_runs r \
             where r.organization_id = $1 and r.analyzer_id = $2 and r.version = $3 and r.conversation_id = k.conversation_id \
                 and r.succeeded)";
        let mut connection = self.readers.acquire().await?;
        let found = E::query(&mut connection, sql, &[organization, analyzer, Value::Int(version.into())], Some(&rows)).await?;
        found.iter().map(|row| Ok(ConversationId(Columns::<E>::of(row).id()?))).collect()
    }

    async fn pairs(
        &self,
        organization: &OrganizationId,
        analyzer: Uuid,
        (one, other): (u32, u32),
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<(Run, Run)>, StoreError> {
        let newest = |name: &str, version: &str| {
            format!(
                "{name} as (select conversation_id, run_id from ( \
                     select conversation_id, run_id, \
                         row_number() over (partition by conversation_id order by ran_at desc, run_id desc) as place \
                     from analyzer_runs \
                     where organization_id = $1 and analyzer_id = $2 and version = {version} and conversation_id > $5 \
                         and succeeded) as numbered \
                 where place = 1)"
            )
        };
        let sql = format!(
            "with {}, {}, both_seen as ( \
                 select one.run_id as one_id, other.run_id as other_id, one.conversation_id \
                 from one join other on other.conversation_id = one.conversation_id order by one.conversation_id limit $6) \
             select {}, {} from both_seen \
             join analyzer_runs a on a.organization_id = $1 and a.run_id = both_seen.one_id \
             join analyzer_runs b on b.organization_id = $1 and b.run_id = both_seen.other_id \
             order by both_seen.conversation_id",
            newest("one", "$3"),
            newest("other", "$4"),
            columns("a"),
            columns("b")
        );
        let [organization_id, analyzer] = key(organization, analyzer);
        let values = [
            organization_id,
            analyzer,
            Value::Int(one.into()),
            Value::Int(other.into()),
            Value::Id(after.0),
            Value::Int(limit.into()),
        ];
        let mut connection = self.readers.acquire().await?;
        let rows = E::query(&mut connection, &sql, &values, None).await?;
        let pair = |row| {
            let mut columns = Columns::<E>::of(row);
            Ok((read::<E>(organization, &mut columns)?, read::<E>(organization, &mut columns)?))
        };
        rows.iter().map(pair).collect()
    }
}
