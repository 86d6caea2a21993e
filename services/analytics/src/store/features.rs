//! The rows that queries and rules ask, in the store.

use std::collections::BTreeMap;

use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Rows, Value as Bound};
use colloquy_types::{ConversationId, Timestamp};
use serde_json::Value;

use super::sql::{organization_of, position_of, time_of, to_bigint};
use crate::features::Features;

/// The columns of the table `features`, in the order in which [`read`] takes them.
pub(crate) const COLUMNS: &str = "organization_id, conversation_id, position, settled, provider, external_id, agent_id, agent_version_id,  \
     client_id, user_id, caller, channel, direction, status, end_reason, failure_code, call_successful,  \
     outcome, resolution_status, sentiment, intent, language, created_at, started_at, ended_at, duration_ms,  \
     turn_count, exchanges, agent_talk_ms, user_talk_ms, talk_ratio, agent_words_per_minute,  \
     user_words_per_minute, silence_ms, longest_silence_ms, silence_count, hold_ms, interruptions_by_user,  \
     interruptions_by_agent, response_latency_ms, response_latency_p95_ms, response_latency_max_ms,  \
     sentiment_score, sentiment_shift, satisfaction_score, caller_rating, inferred_satisfaction,  \
     technical_quality, error_count, cost_micros, cost_currency";

/// Reads a row of [`COLUMNS`]; words and values are in tables of their own.
///
/// # Errors
/// When a column holds something else.
pub(crate) fn read<E: Engine>(columns: &mut Columns<'_, E>) -> Result<Features, StoreError> {
    Ok(Features {
        organization_id: organization_of(&columns.text()?)?,
        conversation_id: ConversationId(columns.id()?),
        position: position_of(columns.int()?),
        settled: columns.bool()?,
        provider: columns.text()?,
        external_id: columns.text()?,
        agent_id: columns.opt_text()?,
        agent_version_id: columns.opt_text()?,
        client_id: columns.opt_text()?,
        user_id: columns.opt_text()?,
        caller: columns.opt_text()?,
        channel: columns.opt_text()?,
        direction: columns.opt_text()?,
        status: columns.text()?,
        end_reason: columns.opt_text()?,
        failure_code: columns.opt_text()?,
        call_successful: columns.text()?,
        outcome: columns.opt_text()?,
        resolution_status: columns.text()?,
        sentiment: columns.opt_text()?,
        intent: columns.opt_text()?,
        language: columns.opt_text()?,
        created_at: time_of(columns.int()?),
        started_at: columns.opt_int()?.map(time_of),
        ended_at: columns.opt_int()?.map(time_of),
        duration_ms: columns.opt_int()?,
        turn_count: columns.int()?,
        exchanges: columns.opt_int()?,
        agent_talk_ms: columns.opt_int()?,
        user_talk_ms: columns.opt_int()?,
        talk_ratio: columns.opt_real()?,
        agent_words_per_minute: columns.opt_real()?,
        user_words_per_minute: columns.opt_real()?,
        silence_ms: columns.opt_int()?,
        longest_silence_ms: columns.opt_int()?,
        silence_count: columns.opt_int()?,
        hold_ms: columns.opt_int()?,
        interruptions_by_user: columns.opt_int()?,
        interruptions_by_agent: columns.opt_int()?,
        response_latency_ms: columns.opt_real()?,
        response_latency_p95_ms: columns.opt_real()?,
        response_latency_max_ms: columns.opt_real()?,
        sentiment_score: columns.opt_real()?,
        sentiment_shift: columns.opt_real()?,
        satisfaction_score: columns.opt_real()?,
        caller_rating: columns.opt_real()?,
        inferred_satisfaction: columns.opt_real()?,
        technical_quality: columns.opt_real()?,
        error_count: columns.int()?,
        cost_micros: columns.opt_int()?,
        cost_currency: columns.opt_text()?,
        topics: Vec::new(),
        tags: Vec::new(),
        keywords: Vec::new(),
        error_codes: Vec::new(),
        custom: BTreeMap::new(),
    })
}

/// Returns the rows of the table.
fn rows<'a>(all: &[&'a Features]) -> Rows<'a> {
    Rows::new(all.len())
        .text("organization_id", all.iter().map(|row| row.organization_id.as_str()))
        .id("conversation_id", all.iter().map(|row| row.conversation_id.0))
        .int("position", all.iter().map(|row| to_bigint(row.position)))
        .bool("settled", all.iter().map(|row| row.settled))
        .text("provider", all.iter().map(|row| row.provider.as_str()))
        .text("external_id", all.iter().map(|row| row.external_id.as_str()))
        .opt_text("agent_id", all.iter().map(|row| row.agent_id.as_deref()))
        .opt_text("agent_version_id", all.iter().map(|row| row.agent_version_id.as_deref()))
        .opt_text("client_id", all.iter().map(|row| row.client_id.as_deref()))
        .opt_text("user_id", all.iter().map(|row| row.user_id.as_deref()))
        .opt_text("caller", all.iter().map(|row| row.caller.as_deref()))
        .opt_text("channel", all.iter().map(|row| row.channel.as_deref()))
        .opt_text("direction", all.iter().map(|row| row.direction.as_deref()))
        .text("status", all.iter().map(|row| row.status.as_str()))
        .opt_text("end_reason", all.iter().map(|row| row.end_reason.as_deref()))
        .opt_text("failure_code", all.iter().map(|row| row.failure_code.as_deref()))
        .text("call_successful", all.iter().map(|row| row.call_successful.as_str()))
        .opt_text("outcome", all.iter().map(|row| row.outcome.as_deref()))
        .text("resolution_status", all.iter().map(|row| row.resolution_status.as_str()))
        .opt_text("sentiment", all.iter().map(|row| row.sentiment.as_deref()))
        .opt_text("intent", all.iter().map(|row| row.intent.as_deref()))
        .opt_text("language", all.iter().map(|row| row.language.as_deref()))
        .int("created_at", all.iter().map(|row| row.created_at.as_millis()))
        .opt_int("started_at", all.iter().map(|row| row.started_at.map(Timestamp::as_millis)))
        .opt_int("ended_at", all.iter().map(|row| row.ended_at.map(Timestamp::as_millis)))
        .opt_int("duration_ms", all.iter().map(|row| row.duration_ms))
        .int("turn_count", all.iter().map(|row| row.turn_count))
        .opt_int("exchanges", all.iter().map(|row| row.exchanges))
        .opt_int("agent_talk_ms", all.iter().map(|row| row.agent_talk_ms))
        .opt_int("user_talk_ms", all.iter().map(|row| row.user_talk_ms))
        .opt_real("talk_ratio", all.iter().map(|row| row.talk_ratio))
        .opt_real("agent_words_per_minute", all.iter().map(|row| row.agent_words_per_minute))
        .opt_real("user_words_per_minute", all.iter().map(|row| row.user_words_per_minute))
        .opt_int("silence_ms", all.iter().map(|row| row.silence_ms))
        .opt_int("longest_silence_ms", all.iter().map(|row| row.longest_silence_ms))
        .opt_int("silence_count", all.iter().map(|row| row.silence_count))
        .opt_int("hold_ms", all.iter().map(|row| row.hold_ms))
        .opt_int("interruptions_by_user", all.iter().map(|row| row.interruptions_by_user))
        .opt_int("interruptions_by_agent", all.iter().map(|row| row.interruptions_by_agent))
        .opt_real("response_latency_ms", all.iter().map(|row| row.response_latency_ms))
        .opt_real("response_latency_p95_ms", all.iter().map(|row| row.response_latency_p95_ms))
        .opt_real("response_latency_max_ms", all.iter().map(|row| row.response_latency_max_ms))
        .opt_real("sentiment_score", all.iter().map(|row| row.sentiment_score))
        .opt_real("sentiment_shift", all.iter().map(|row| row.sentiment_shift))
        .opt_real("satisfaction_score", all.iter().map(|row| row.satisfaction_score))
        .opt_real("caller_rating", all.iter().map(|row| row.caller_rating))
        .opt_real("inferred_satisfaction", all.iter().map(|row| row.inferred_satisfaction))
        .opt_real("technical_quality", all.iter().map(|row| row.technical_quality))
        .int("error_count", all.iter().map(|row| row.error_count))
        .opt_int("cost_micros", all.iter().map(|row| row.cost_micros))
        .opt_text("cost_currency", all.iter().map(|row| row.cost_currency.as_deref()))
}

/// Writes rows with their words and values, in place of those that are there: `known` are those of which there is a row. Of no
/// conversation twice.
pub(crate) async fn write<E: Engine>(
    connection: &mut E::Connection,
    all: &[&Features],
    known: &[&Features],
) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    remove_of::<E>(connection, "feature_words", known).await?;
    remove_of::<E>(connection, "feature_values", known).await?;
    let names: Vec<&str> = COLUMNS.split(", ").collect();
    let selected: Vec<String> = names.iter().map(|name| format!("k.{name}")).collect();
    // What was read up to a position stays read, also when it is only another's doing that it is written again.
    let updated = names[2..].iter().map(|name| match *name {
        "position" => {
            "position = case when features.position > excluded.position then features.position else excluded.position end"
                .to_owned()
        }
        name => format!("{name} = excluded.{name}"),
    });
    let updated: Vec<String> = updated.collect();
    let sql = format!(
        "with {{k}} insert into features ({COLUMNS}) select {} from k where true \
         on conflict (organization_id, conversation_id) do update set {}",
        selected.join(", "),
        updated.join(", ")
    );
    E::execute(connection, &sql, &[], Some(&rows(all))).await?;
    write_words::<E>(connection, all).await?;
    write_values::<E>(connection, all).await
}

const KINDS: [&str; 4] = ["topic", "tag", "keyword", "error"];

fn words_of<'a>(features: &'a Features, kind: &str) -> &'a [String] {
    match kind {
        "topic" => &features.topics,
        "tag" => &features.tags,
        "keyword" => &features.keywords,
        _ => &features.error_codes,
    }
}

async fn write_words<E: Engine>(connection: &mut E::Connection, all: &[&Features]) -> Result<(), StoreError> {
    let mut words: BTreeMap<(&str, ConversationId, &str, &str), i64> = BTreeMap::new();
    for features in all {
        let (organization, conversation) = (features.organization_id.as_str(), features.conversation_id);
        for kind in KINDS {
            for (place, word) in (0..).zip(words_of(features, kind)) {
                words.entry((organization, conversation, kind, word)).or_insert(place);
            }
        }
    }
    let sql = "with {k} insert into feature_words (organization_id, conversation_id, kind, word, place) \
         select k.organization_id, k.conversation_id, k.kind, k.word, k.place from k";
    let rows = Rows::new(words.len())
        .text("organization_id", words.keys().map(|(organization, ..)| *organization))
        .id("conversation_id", words.keys().map(|(_, conversation, ..)| conversation.0))
        .text("kind", words.keys().map(|(_, _, kind, _)| *kind))
        .text("word", words.keys().map(|(.., word)| *word))
        .int("place", words.values().copied());
    E::execute(connection, sql, &[], Some(&rows)).await?;
    Ok(())
}

/// A value as a text, or as a number.
type Kept<'a> = (Option<&'a str>, Option<f64>);

async fn write_values<E: Engine>(connection: &mut E::Connection, all: &[&Features]) -> Result<(), StoreError> {
    let mut values: BTreeMap<(&str, ConversationId, &str), Kept<'_>> = BTreeMap::new();
    for features in all {
        let (organization, conversation) = (features.organization_id.as_str(), features.conversation_id);
        for (name, value) in &features.custom {
            let kept = match value {
                Value::String(text) => (Some(text.as_str()), None),
                Value::Number(number) => (None, number.as_f64()),
                Value::Bool(truth) => (None, Some(f64::from(u8::from(*truth)))),
                // No value of a row is any of these.
                Value::Null | Value::Array(_) | Value::Object(_) => continue,
            };
            values.insert((organization, conversation, name), kept);
        }
    }
    let sql = "with {k} insert into feature_values (organization_id, conversation_id, name, text_value, number_value) \
         select k.organization_id, k.conversation_id, k.name, k.text_value, k.number_value from k";
    let rows = Rows::new(values.len())
        .text("organization_id", values.keys().map(|(organization, ..)| *organization))
        .id("conversation_id", values.keys().map(|(_, conversation, _)| conversation.0))
        .text("name", values.keys().map(|(.., name)| *name))
        .opt_text("text_value", values.values().map(|(text, _)| *text))
        .opt_real("number_value", values.values().map(|(_, number)| *number));
    if values.is_empty() {
        return Ok(());
    }
    E::execute(connection, sql, &[], Some(&rows)).await?;
    Ok(())
}

async fn remove_of<E: Engine>(connection: &mut E::Connection, table: &str, all: &[&Features]) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "with {{k}} delete from {table} \
         where (organization_id, conversation_id) in (select k.organization_id, k.conversation_id from k)"
    );
    let rows = Rows::new(all.len())
        .text("organization_id", all.iter().map(|features| features.organization_id.as_str()))
        .id("conversation_id", all.iter().map(|features| features.conversation_id.0));
    E::execute(connection, &sql, &[], Some(&rows)).await?;
    Ok(())
}

/// Reads one conversation's row with its words and values. A truth comes back as 0 or 1.
pub(crate) async fn read_one<E: Engine>(
    connection: &mut E::Connection,
    key: &[Bound<'_>; 2],
) -> Result<Option<Features>, StoreError> {
    let of_one = "where organization_id = $1 and conversation_id = $2";
    let rows = E::query(connection, &format!("select {COLUMNS} from features {of_one}"), key, None).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut features = read::<E>(&mut Columns::of(row))?;
    let sql = format!("select kind, word from feature_words {of_one} order by kind, place");
    for row in &E::query(connection, &sql, key, None).await? {
        let mut columns = Columns::<E>::of(row);
        let (kind, word) = (columns.text()?, columns.text()?);
        match kind.as_str() {
            "topic" => features.topics.push(word),
            "tag" => features.tags.push(word),
            "keyword" => features.keywords.push(word),
            _ => features.error_codes.push(word),
        }
    }
    let sql = format!("select name, text_value, number_value from feature_values {of_one} order by name");
    for row in &E::query(connection, &sql, key, None).await? {
        let mut columns = Columns::<E>::of(row);
        let (name, text, number) = (columns.text()?, columns.opt_text()?, columns.opt_real()?);
        features.custom.insert(name, text.map_or_else(|| Value::from(number), Value::from));
    }
    Ok(Some(features))
}
