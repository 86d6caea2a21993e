//! Answers questions over many conversations.
//!
//! A question is read and found good (`request`), divided into sets of conversations (`slots`), and each set is answered from
//! where that is quickest (`plan`): totals of hours, hours in columns (`segment`), or the rows of `features` themselves. What is
//! found adds up in one table (`table`), whichever way it came, is laid out in rows (`rows`), and each row says how its
//! conversations are listed (`link`).
//!
//! What a figure means is said in one place, [`schema`].

mod answer;
mod compare;
mod concurrency;
mod error;
mod formula;
mod link;
mod measure;
mod patterns;
mod performance;
mod plan;
mod question;
mod request;
pub(crate) mod rolled;
mod rows;
mod run;
pub mod schema;
pub(crate) mod segment;
pub(crate) mod slots;
mod spread;
mod statement;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub(crate) mod time;
pub(crate) mod totals;

use std::sync::Arc;

use colloquy_filter::Expression;
use colloquy_proto::analytics::v1 as pb;
use colloquy_service::FieldErrors;
use colloquy_storage::Database;
use colloquy_types::{Clock, ConversationId, OrganizationId, Timestamp};
use jiff::tz::TimeZone;
use sqlx::{PgPool, SqlitePool};

pub use error::Error;
pub use measure::{BadMeasure, Measure, NumberOf, Op, RateOf, Subject};

use answer::Answer;
use link::Link;
use question::Question;
use time::Buckets;

/// Answers questions. Cheap to clone.
#[derive(Clone)]
pub struct Queries {
    readers: Readers,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Calls a function of the engine that is there.
macro_rules! on_engine {
    ($queries:expr, $readers:ident => $call:expr) => {
        match &$queries.readers {
            Readers::Sqlite($readers) => $call.await,
            Readers::Postgres($readers) => $call.await,
        }
    };
}

/// What a measure comes to over one set of conversations.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Measured {
    /// The value; `None` when there is none, as of the mean of nothing.
    pub value: Option<f64>,
    /// How many conversations it comes from; of a rate, of how many it is a part.
    pub n: u64,
}

impl Queries {
    /// Returns what answers questions from `database`.
    pub fn new(database: &Database, clock: Arc<dyn Clock>) -> Self {
        let readers = match database {
            Database::Sqlite(sqlite) => Readers::Sqlite(sqlite.readers().clone()),
            Database::Postgres(pool) => Readers::Postgres(pool.clone()),
        };
        Self { readers, clock }
    }

    /// Answers a question; until when everything is in the answer is for others to say.
    ///
    /// # Errors
    /// When the question is wrong, naming every bad field, or the store fails.
    pub async fn query(
        &self,
        organization: &OrganizationId,
        request: &pb::QueryAnalyticsRequest,
    ) -> Result<pb::QueryAnalyticsResponse, Error> {
        let (question, layout) = request::read(request, self.clock.now())?;
        let answer = self.answer(organization, &question).await?;
        // Read before, without a mistake.
        let filter = request::read_filter("filter", request.filter.as_ref(), &mut FieldErrors::new());
        let link = Link::of(request.filter.as_ref(), &filter);
        Ok(rows::lay_out(&question, &layout, answer, &link)?)
    }

    /// Returns the measures and dimensions there are.
    pub fn schema(&self) -> pb::GetAnalyticsSchemaResponse {
        let field = |line: schema::Line| pb::SchemaField {
            name: line.name.to_owned(),
            description: line.about.to_owned(),
            ops: line.ops.iter().map(|op| (*op).to_owned()).collect(),
            kind: line.kind.to_owned(),
            values: line.values.iter().map(|value| (*value).to_owned()).collect(),
            filter_name: line.filter_name.to_owned(),
        };
        pb::GetAnalyticsSchemaResponse {
            measures: schema::measures().into_iter().map(field).collect(),
            dimensions: schema::dimensions().into_iter().map(field).collect(),
        }
    }

    /// Compares two sets of conversations.
    ///
    /// # Errors
    /// When the question is wrong, naming every bad field, or the store fails.
    pub async fn compare(
        &self,
        organization: &OrganizationId,
        request: &pb::CompareAnalyticsRequest,
    ) -> Result<pb::CompareAnalyticsResponse, Error> {
        compare::compare(self, organization, request).await
    }

    /// Returns a table of agents with what they come to.
    ///
    /// # Errors
    /// As [`Queries::query`].
    pub async fn agent_performance(
        &self,
        organization: &OrganizationId,
        request: &pb::ListAgentPerformanceRequest,
    ) -> Result<pb::ListAgentPerformanceResponse, Error> {
        performance::list(self, organization, request).await
    }

    /// Returns the ways conversations go most often, and where they fail.
    ///
    /// # Errors
    /// As [`Queries::query`].
    pub async fn patterns(
        &self,
        organization: &OrganizationId,
        request: &pb::FindPatternsRequest,
    ) -> Result<pb::FindPatternsResponse, Error> {
        let asked = patterns::read(request, self.clock.now())?;
        on_engine!(self, readers => patterns::find(readers, organization, &asked))
    }

    /// Computes one measure over the conversations that began in `[from, to)` and for which `filter` holds. An empty stretch has none.
    ///
    /// # Errors
    /// When the store fails, or there are more conversations than can be laid side by side.
    pub async fn measure(
        &self,
        organization: &OrganizationId,
        measure: &Measure,
        filter: &Expression,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Measured, Error> {
        let measures = vec![(measure.clone(), filter.clone())];
        let Some(question) = over(measures, Vec::new(), from, to) else { return Ok(Measured::default()) };
        let answer = self.answer(organization, &question).await?;
        let nothing = answer::computed(measure, None, None);
        let found = answer.rows.into_values().next().and_then(|mut values| values.pop()).unwrap_or(nothing);
        Ok(Measured { value: found.number, n: found.n })
    }

    /// Returns the conversations that began in `[from, to)` and for which `filter` holds, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn conversations(
        &self,
        organization: &OrganizationId,
        filter: &Expression,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<ConversationId>, Error> {
        let span = (from.as_millis(), to.as_millis());
        on_engine!(self, readers => patterns::newest(readers, organization, filter, span, limit))
    }

    /// Returns the sum of the squares of the distances of a number from `mean`.
    async fn squares(
        &self,
        organization: &OrganizationId,
        measure: &Measure,
        filter: &Expression,
        (from, to): (Timestamp, Timestamp),
        mean: f64,
    ) -> Result<f64, Error> {
        let span = (from.as_millis(), to.as_millis());
        on_engine!(self, readers => run::squares(readers, organization, measure, filter, span, mean))
    }

    async fn answer(&self, organization: &OrganizationId, question: &Question) -> Result<Answer, Error> {
        let now = self.clock.now().as_millis();
        on_engine!(self, readers => run::answer(readers, organization, question, now))
    }
}

/// Returns a question without steps; `None` when its stretch of time is empty.
fn over(
    measures: Vec<(Measure, Expression)>,
    dimensions: Vec<schema::Dimension>,
    from: Timestamp,
    to: Timestamp,
) -> Option<Question> {
    if from >= to {
        return None;
    }
    let buckets = Buckets::new(TimeZone::UTC, None, from, to).ok()?;
    Some(Question { measures, dimensions, buckets })
}
