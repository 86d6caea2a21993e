//! The ways conversations go most often, and the places where they fail.
//!
//! How often is counted over all conversations; which turns it was is looked up in the analyses of a few of them.

use colloquy_filter::Expression;
use colloquy_proto::analytics::v1 as pb;
use colloquy_service::FieldErrors;
use colloquy_storage::engine::{Columns, Value};
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use sqlx::Pool;
use uuid::Uuid;

use super::error::Error;
use super::request::{read_filter, read_span};
use super::statement::{Dialect, Statement};
use crate::analysis::Analysis;
use crate::store::packed::unpack;

/// How many of each are returned unless the request says otherwise, and at most.
const USUAL: usize = 20;
const MOST: usize = 100;
/// So many conversations stand for each.
const EXAMPLES: usize = 5;
/// An analysis larger than this, packed, is that of no usual conversation: it is not looked into.
const LARGEST_EXAMPLE: i64 = 256 * 1024;
/// So much of analyses, packed, is looked into for one answer: two thousand usual ones. Examples beyond name no turn.
const MOST_BYTES: i64 = 8 << 20;
/// Among so many of the newest conversations examples are looked for first.
const LOOKED_AT_FIRST: u32 = if cfg!(test) { 3 } else { 10_000 };

/// A word of a conversation, as [`words`] joins them; empty where there is none.
const WORD: &str = "coalesce(w.word, '')";
/// Which way a conversation went: what it was about, what the person wanted, and what came of it.
const WAY: [&str; 3] = [WORD, "coalesce(f.intent, '')", "coalesce(f.outcome, f.resolution_status)"];

/// What conversations have in common in which something went wrong.
const FAILED: &str = "(f.status in ('failed', 'abandoned') or f.call_successful = 'failure' or f.resolution_status in ('unresolved', 'escalated'))";

/// A mark of failure, and of which conversations it is one; its detail is a word of a kind.
struct Mark {
    kind: &'static str,
    words: &'static str,
    condition: &'static str,
}

impl Mark {
    /// Writes that a conversation failed with this mark.
    fn condition(&self) -> String {
        format!("{FAILED} and {}", self.condition)
    }
}

const MARKS: [Mark; 5] = [
    Mark { kind: "error", words: "error", condition: "f.error_count > 0" },
    Mark { kind: "escalation", words: "topic", condition: "f.resolution_status = 'escalated'" },
    Mark { kind: "negative_turn", words: "topic", condition: "(f.sentiment = 'negative' or f.sentiment_shift <= -4)" },
    Mark { kind: "silence", words: "topic", condition: "f.longest_silence_ms >= 10000" },
    Mark { kind: "unanswered", words: "topic", condition: "f.turn_count > 0 and f.exchanges = 0" },
];

/// The request, read.
pub(super) struct Asked {
    filter: Expression,
    from: i64,
    to: i64,
    limit: usize,
}

/// Reads a request.
pub(super) fn read(request: &pb::FindPatternsRequest, now: Timestamp) -> Result<Asked, Error> {
    let mut errors = FieldErrors::new();
    let filter = read_filter("filter", request.filter.as_ref(), &mut errors);
    let span = read_span(("from", request.from.as_ref()), ("to", request.to.as_ref()), now, &mut errors);
    let limit = match usize::try_from(request.limit) {
        Ok(0) => USUAL,
        Ok(limit) => limit.min(MOST),
        Err(_) => {
            errors.add("limit", "must not be negative");
            USUAL
        }
    };
    errors.finish()?;
    let (from, to) = span.unwrap_or((now, now));
    Ok(Asked { filter, from: from.as_millis(), to: to.as_millis(), limit })
}

/// Finds the patterns.
pub(super) async fn find<E: Dialect>(
    readers: &Pool<E>,
    organization: &OrganizationId,
    asked: &Asked,
) -> Result<pb::FindPatternsResponse, Error> {
    let mut transaction = E::begin_reading(readers).await?;
    if let Some(before) = E::BEFORE {
        E::query(&mut transaction, before, &[], None).await?;
    }
    let mut finder =
        Finder::<E> { connection: &mut *transaction, organization, asked, newest_from: None, bytes_left: MOST_BYTES };
    finder.newest_from = finder.newest_from().await?;
    let paths = finder.paths().await?;
    let failure_points = finder.failure_points().await?;
    transaction.commit().await?;
    Ok(pb::FindPatternsResponse { paths, failure_points })
}

/// Returns conversations for which an expression holds, the newest first.
pub(super) async fn newest<E: Dialect>(
    readers: &Pool<E>,
    organization: &OrganizationId,
    filter: &Expression,
    span: (i64, i64),
    limit: u32,
) -> Result<Vec<ConversationId>, Error> {
    let mut connection = readers.acquire().await?;
    let mut statement = Statement::about(organization);
    let source = statement.from("features", "f", "created_at", &[span]);
    let condition = statement.condition(filter);
    let sql = format!(
        "select f.conversation_id from features f where {} and {condition} \
         order by f.created_at desc, f.conversation_id desc limit {limit}",
        source.condition
    );
    let mut found = Vec::new();
    for row in &statement.run::<E>(&mut connection, &sql, &[span]).await? {
        found.push(ConversationId::from(Columns::<E>::of(row).id()?));
    }
    Ok(found)
}

struct Finder<'a, E: Dialect> {
    connection: &'a mut E::Connection,
    organization: &'a OrganizationId,
    asked: &'a Asked,
    /// See [`Finder::newest_from`].
    newest_from: Option<i64>,
    /// How much of analyses may still be looked into.
    bytes_left: i64,
}

/// What conversations have in common, and how many they are.
struct Group {
    key: Vec<String>,
    count: u64,
}

impl<E: Dialect> Finder<'_, E> {
    /// Begins a statement over the conversations that were asked for and began at or after `from`; returns how they are told from
    /// others.
    fn begin(&self, from: i64) -> (Statement, String) {
        let mut statement = Statement::about(self.organization);
        let source = statement.from("features", "f", "created_at", &[(from, self.asked.to)]);
        let condition = statement.condition(&self.asked.filter);
        (statement, format!("{} and {condition}", source.condition))
    }

    async fn run(&mut self, statement: &Statement, sql: &str) -> Result<Vec<E::Row>, Error> {
        let span = (self.asked.from, self.asked.to);
        Ok(statement.run::<E>(self.connection, sql, &[span]).await?)
    }

    async fn paths(&mut self) -> Result<Vec<pb::Path>, Error> {
        let (statement, condition) = self.begin(self.asked.from);
        let sql = format!("select count(*) from features f where {condition}");
        let rows = self.run(&statement, &sql).await?;
        let all = rows.first().map(|row| Columns::<E>::of(row).int()).transpose()?.unwrap_or(0);
        let sql = format!(
            "select {}, count(*) from features f{} where {condition} group by 1, 2, 3 order by 4 desc, 1, 2, 3 limit {}",
            WAY.join(", "),
            words("topic"),
            self.asked.limit,
        );
        let mut paths = Vec::new();
        for row in &self.run(&statement, &sql).await? {
            let mut columns = Columns::<E>::of(row);
            let (topic, intent, outcome, count) = (columns.text()?, columns.text()?, columns.text()?, columns.int()?);
            paths.push(pb::Path {
                conversation_ids: Vec::new(),
                topic,
                intent,
                outcome,
                count: count.unsigned_abs(),
                share: count as f64 / all.max(1) as f64,
            });
        }
        let ways: Vec<Group> = (paths.iter())
            .map(|path| Group { key: vec![path.topic.clone(), path.intent.clone(), path.outcome.clone()], count: path.count })
            .collect();
        let examples = self.examples(&WAY, "topic", "true", &ways).await?;
        for (path, examples) in paths.iter_mut().zip(examples) {
            path.conversation_ids = examples.iter().map(Uuid::to_string).collect();
        }
        Ok(paths)
    }

    /// Returns the newest conversations of each group: a few, of all groups at once, first among the newest of all, where those of a
    /// frequent group are found soon.
    async fn examples(
        &mut self,
        columns: &[&str],
        kind: &str,
        condition: &str,
        groups: &[Group],
    ) -> Result<Vec<Vec<Uuid>>, Error> {
        let mut found = vec![Vec::new(); groups.len()];
        let mut missing: Vec<usize> = (0..groups.len()).collect();
        for from in [self.newest_from, Some(self.asked.from)].into_iter().flatten() {
            if missing.is_empty() {
                break;
            }
            for place in &missing {
                found[*place].clear();
            }
            let (mut statement, asked) = self.begin(from);
            let wanted: Vec<String> = (missing.iter())
                .map(|place| {
                    let words = groups[*place].key.iter().map(|word| statement.text(word));
                    std::iter::once(place.to_string()).chain(words).collect::<Vec<_>>().join(", ")
                })
                .collect();
            let names: Vec<String> = (0..columns.len()).map(|column| format!("g{column}")).collect();
            let same: Vec<String> =
                columns.iter().zip(&names).map(|(column, name)| format!("wanted.{name} = {column}")).collect();
            let sql = format!(
                "with wanted (place, {}) as (values ({})) \
                 select cast(r.place as bigint), r.conversation_id from \
                 (select wanted.place, f.conversation_id, row_number() over \
                     (partition by wanted.place order by f.created_at desc, f.conversation_id desc) as rank \
                     from features f{} join wanted on {} where {asked} and {condition}) r \
                 where r.rank <= {EXAMPLES} order by r.place, r.rank",
                names.join(", "),
                wanted.join("), ("),
                words(kind),
                same.join(" and "),
            );
            for row in &self.run(&statement, &sql).await? {
                let mut columns = Columns::<E>::of(row);
                let place = usize::try_from(columns.int()?).unwrap_or(usize::MAX);
                let conversation = columns.id()?;
                found.get_mut(place).into_iter().for_each(|found| found.push(conversation));
            }
            missing.retain(|place| (found[*place].len() as u64) < groups[*place].count.min(EXAMPLES as u64));
        }
        Ok(found)
    }

    /// Returns since when the newest of the conversations began, of which examples are looked for first; `None` where there are so few
    /// that all are looked at.
    async fn newest_from(&mut self) -> Result<Option<i64>, Error> {
        let (statement, condition) = self.begin(self.asked.from);
        let sql = format!(
            "select f.created_at from features f where {condition} order by f.created_at desc limit 1 offset {LOOKED_AT_FIRST}"
        );
        let rows = self.run(&statement, &sql).await?;
        Ok(rows.first().map(|row| Columns::<E>::of(row).int()).transpose()?)
    }

    async fn failure_points(&mut self) -> Result<Vec<pb::FailurePoint>, Error> {
        let mut points: Vec<(usize, String, i64)> = Vec::new();
        for (number, mark) in MARKS.iter().enumerate() {
            let (statement, condition) = self.begin(self.asked.from);
            let sql = format!(
                "select {WORD}, count(*) from features f{} where {condition} and {} group by 1 order by 2 desc, 1 limit {}",
                words(mark.words),
                mark.condition(),
                self.asked.limit,
            );
            for row in &self.run(&statement, &sql).await? {
                let mut columns = Columns::<E>::of(row);
                points.push((number, columns.text()?, columns.int()?));
            }
        }
        points.sort_by(|one, other| other.2.cmp(&one.2).then_with(|| (one.0, &one.1).cmp(&(other.0, &other.1))));
        points.truncate(self.asked.limit);
        let mut examples: Vec<Vec<Uuid>> = vec![Vec::new(); points.len()];
        for (number, mark) in MARKS.iter().enumerate() {
            let places: Vec<usize> = (0..points.len()).filter(|place| points[*place].0 == number).collect();
            let of = |place: &usize| Group { key: vec![points[*place].1.clone()], count: points[*place].2.unsigned_abs() };
            let groups: Vec<Group> = places.iter().map(of).collect();
            let found = self.examples(&[WORD], mark.words, &mark.condition(), &groups).await?;
            for (place, found) in places.into_iter().zip(found) {
                examples[place] = found;
            }
        }
        let mut found = Vec::with_capacity(points.len());
        for ((number, detail, count), examples) in points.into_iter().zip(examples) {
            found.push(self.failure_point(&MARKS[number], detail, count, examples).await?);
        }
        Ok(found)
    }

    async fn failure_point(
        &mut self,
        mark: &Mark,
        detail: String,
        count: i64,
        conversations: Vec<Uuid>,
    ) -> Result<pb::FailurePoint, Error> {
        let (mut examples, mut positions) = (Vec::new(), Vec::new());
        for conversation in conversations {
            let turn = self.analysis(conversation).await?.and_then(|analysis| Some((place(mark, &detail, &analysis)?, analysis)));
            let mut turn_id = String::new();
            if let Some((at, analysis)) = turn {
                turn_id = analysis.turn_ids.get(at).map(ToString::to_string).unwrap_or_default();
                positions.push(at as f64 / (analysis.turn_ids.len().saturating_sub(1)).max(1) as f64);
            }
            examples.push(pb::FailureExample { conversation_id: conversation.to_string(), turn_id });
        }
        let mean_position = (!positions.is_empty()).then(|| positions.iter().sum::<f64>() / positions.len() as f64);
        Ok(pb::FailurePoint { kind: mark.kind.to_owned(), detail, count: count.unsigned_abs(), mean_position, examples })
    }

    async fn analysis(&mut self, conversation: Uuid) -> Result<Option<Analysis>, Error> {
        let sql = "select case when length(analysis) <= $3 then analysis end from analyses \
                   where organization_id = $1 and conversation_id = $2";
        let largest = LARGEST_EXAMPLE.min(self.bytes_left);
        let values = [Value::Text(self.organization.as_str()), Value::Id(conversation), Value::Int(largest)];
        let rows = E::query(self.connection, sql, &values, None).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let Some(packed) = Columns::<E>::of(row).opt_bytes()? else { return Ok(None) };
        self.bytes_left -= i64::try_from(packed.len()).unwrap_or(i64::MAX);
        // It is no work of this thread's to wait for.
        let unpacked = tokio::task::spawn_blocking(move || unpack(&packed));
        Ok(unpacked.await.ok().transpose()?.map(|(analysis, _)| analysis))
    }
}

/// Joins the words of a kind as `w`.
fn words(kind: &str) -> String {
    format!(
        " left join feature_words w on w.organization_id = f.organization_id and w.conversation_id = f.conversation_id \
         and w.kind = '{kind}'"
    )
}

/// Returns the place of the turn that shows a mark. Of silence it is the turn before the longest, which is what makes it a mark: after
/// that turn the conversation stood still. Pauses before and after it may have had their reasons.
fn place(mark: &Mark, detail: &str, analysis: &Analysis) -> Option<usize> {
    let last = analysis.turn_ids.len().checked_sub(1)?;
    let place = match mark.kind {
        "error" => *analysis.error_turns.get(detail)? as usize,
        "escalation" => *analysis.resolution.turns.last()? as usize,
        "silence" => analysis.silence.value?.longest_after? as usize,
        "negative_turn" => {
            let turns = &analysis.sentiment.value.as_ref()?.by_turn;
            turns.iter().min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(turn, _)| *turn as usize)?
        }
        _ => last,
    };
    (place <= last).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn an_error_is_placed_where_it_happened_and_not_where_another_did() {
        let (_, mut analysis) = testing::made(1, &["Book me in.", "One moment.", "Yes?", "I cannot."]);
        analysis.error_turns = [("tool_error".to_owned(), 1), ("llm".to_owned(), 3)].into();
        let mark = &MARKS[0];
        assert_eq!(["tool_error", "llm", "tts"].map(|code| place(mark, code, &analysis)), [Some(1), Some(3), None]);
        // What an earlier release kept may name a turn that is there no more.
        analysis.error_turns.insert("llm".to_owned(), 4);
        assert_eq!(place(mark, "llm", &analysis), None);
    }
}
