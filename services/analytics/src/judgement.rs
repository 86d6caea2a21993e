//! How a conversation went, by several authorities: reading what each says, and what they come to together.

use std::collections::BTreeMap;
use std::str::FromStr;

use colloquy_events::convert::BadField;
use colloquy_events::{Analysis as Judged, Authority, CallSuccessful, Facts, JsonMap, ResolutionStatus};
use colloquy_proto::conversation::v1 as pb;

use crate::input::Judgement;

/// What a person's judgement is found under.
pub const HUMAN: &str = Authority::Human.as_str();

/// Reads what each authority says, by its word.
///
/// # Errors
/// Naming the field that cannot be read.
pub fn all_from_pb(judgements: &[pb::Judgement]) -> Result<BTreeMap<String, Judgement>, BadField> {
    let read = judgements.iter().enumerate().map(|(index, judgement)| {
        let path = |error: BadField| BadField { field: format!("judgements[{index}].{}", error.field), ..error };
        let authority: Authority = parse("authority", &judgement.authority).map_err(path)?;
        Ok((authority.as_str().to_owned(), from_pb(judgement).map_err(path)?))
    });
    read.collect()
}

/// Reads what one authority says. What is unknown, empty or out of its range says nothing.
fn from_pb(judgement: &pb::Judgement) -> Result<Judgement, BadField> {
    let nothing = pb::Analytics::default();
    let analytics = judgement.analytics.as_ref().unwrap_or(&nothing);
    let read = Judgement {
        call_successful: word("call_successful", Some(&judgement.call_successful))?,
        summary: judgement.summary.clone(),
        sentiment: word("analytics.sentiment", analytics.sentiment.as_deref())?,
        sentiment_score: analytics.sentiment_score,
        topics: Some(analytics.topics.clone()),
        keywords: Some(analytics.keywords.clone()),
        intent: analytics.intent.clone(),
        resolution_status: word("analytics.resolution_status", Some(&analytics.resolution_status))?,
        satisfaction_score: analytics.satisfaction_score,
        custom_analysis: object("analytics.custom_analysis_json", &analytics.custom_analysis_json)?,
    };
    Ok(said(&read))
}

/// Returns what all authorities come to: of each value the one of the weightiest authority that has it.
///
/// A person weighs most. `own` is what our analysers find now; it outweighs the provider where `own_leads`. What they were last told to
/// have found counts for nothing: what they do not find any more is not so any more.
pub fn leading(judgements: &BTreeMap<String, Judgement>, own: &Judgement, own_leads: bool) -> Judgement {
    let told = |authority: Authority| judgements.get(authority.as_str());
    let (ours, provider) = (Some(own), told(Authority::Provider));
    let [heavier, lighter] = if own_leads { [ours, provider] } else { [provider, ours] };
    [told(Authority::Human), heavier, lighter]
        .into_iter()
        .flatten()
        .fold(Judgement::default(), |leading, lighter| behind(leading, said(lighter)))
}

/// Returns our own judgement, and the language that was detected, as the event that tells them to the record. What says nothing is left
/// out.
pub fn to_event(own: &Judgement, language: Option<&str>, own_leads: bool) -> Judged {
    let authority = if own_leads { Authority::OwnLeading } else { Authority::Own };
    let own = said(own);
    Judged {
        facts: Facts { language: language.map(str::to_owned), ..Facts::default() },
        call_successful: own.call_successful,
        summary: own.summary,
        sentiment: own.sentiment,
        sentiment_score: own.sentiment_score,
        topics: own.topics,
        keywords: own.keywords,
        intent: own.intent,
        resolution_status: own.resolution_status,
        satisfaction_score: own.satisfaction_score,
        custom_analysis: (!own.custom_analysis.is_empty()).then_some(own.custom_analysis),
        ..Judged::by(authority)
    }
}

/// Writes what one authority says. Words that must be there are `unknown` when it does not say.
pub fn to_pb(authority: &str, judgement: &Judgement) -> pb::Judgement {
    let said = said(judgement);
    pb::Judgement {
        authority: authority.to_owned(),
        call_successful: said.call_successful.unwrap_or(CallSuccessful::Unknown).to_string(),
        summary: said.summary.clone(),
        analytics: Some(pb::Analytics {
            satisfaction_source: said.satisfaction_score.map(|_| "inferred".to_owned()),
            ..analytics_to_pb(said)
        }),
    }
}

/// Writes what a judgement says of how it went; who the satisfaction comes from is left to the caller.
pub fn analytics_to_pb(judgement: Judgement) -> pb::Analytics {
    pb::Analytics {
        sentiment: judgement.sentiment.map(|sentiment| sentiment.to_string()),
        sentiment_score: judgement.sentiment_score,
        topics: judgement.topics.unwrap_or_default(),
        keywords: judgement.keywords.unwrap_or_default(),
        intent: judgement.intent,
        resolution_status: judgement.resolution_status.unwrap_or(ResolutionStatus::Unknown).to_string(),
        satisfaction_score: judgement.satisfaction_score,
        satisfaction_source: None,
        // Maps with string keys always serialise.
        custom_analysis_json: serde_json::to_string(&judgement.custom_analysis).unwrap_or_else(|_| "{}".to_owned()),
    }
}

/// Returns a judgement without what says nothing: `unknown`, empty lists and texts, numbers outside their range.
fn said(judgement: &Judgement) -> Judgement {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let list = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    Judgement {
        call_successful: judgement.call_successful.filter(|word| *word != CallSuccessful::Unknown),
        summary: text(&judgement.summary),
        sentiment: judgement.sentiment,
        sentiment_score: judgement.sentiment_score.filter(|score| (-1.0..=1.0).contains(score)),
        topics: list(&judgement.topics),
        keywords: list(&judgement.keywords),
        intent: text(&judgement.intent),
        resolution_status: judgement.resolution_status.filter(|word| *word != ResolutionStatus::Unknown),
        satisfaction_score: judgement.satisfaction_score.filter(|score| (1.0..=5.0).contains(score)),
        custom_analysis: judgement.custom_analysis.clone(),
    }
}

/// Returns what the weightier judgement says, and what it does not say from the lighter one.
fn behind(weightier: Judgement, lighter: Judgement) -> Judgement {
    let mut custom_analysis = lighter.custom_analysis;
    custom_analysis.extend(weightier.custom_analysis);
    Judgement {
        call_successful: weightier.call_successful.or(lighter.call_successful),
        summary: weightier.summary.or(lighter.summary),
        sentiment: weightier.sentiment.or(lighter.sentiment),
        sentiment_score: weightier.sentiment_score.or(lighter.sentiment_score),
        topics: weightier.topics.or(lighter.topics),
        keywords: weightier.keywords.or(lighter.keywords),
        intent: weightier.intent.or(lighter.intent),
        resolution_status: weightier.resolution_status.or(lighter.resolution_status),
        satisfaction_score: weightier.satisfaction_score.or(lighter.satisfaction_score),
        custom_analysis,
    }
}

pub(crate) fn parse<T: FromStr<Err: ToString>>(field: &str, text: &str) -> Result<T, BadField> {
    text.parse().map_err(|error: T::Err| BadField { field: field.to_owned(), message: error.to_string() })
}

/// Reads one of a set of words; an empty one was not said.
fn word<T: FromStr<Err: ToString>>(field: &str, text: Option<&str>) -> Result<Option<T>, BadField> {
    text.filter(|text| !text.is_empty()).map(|text| parse(field, text)).transpose()
}

/// Reads a JSON object; an empty text is an empty one.
pub(crate) fn object(field: &str, text: &str) -> Result<JsonMap, BadField> {
    if text.is_empty() {
        return Ok(JsonMap::new());
    }
    serde_json::from_str(text).map_err(|_| BadField { field: field.to_owned(), message: "must be a JSON object".to_owned() })
}

#[cfg(test)]
mod tests;
