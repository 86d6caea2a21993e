//! How an organization wants its conversations analysed.

use std::collections::HashSet;

use colloquy_service::{FieldErrors, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is silence, in milliseconds, unless the organization says otherwise.
pub const DEFAULT_SILENCE_MS: u32 = 3_000;
const SILENCE_MS: std::ops::RangeInclusive<u32> = 500..=60_000;
const MOST_TOPICS: usize = 500;
const LONGEST_TOPIC: usize = 100;
const MOST_PHRASES: usize = 100;
const LONGEST_PHRASE: usize = 200;

/// How an organization's conversations are analysed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AnalysisSettings {
    /// From when on a pause is silence, in milliseconds.
    pub silence_ms: u32,
    /// Whose analysis leads where both have one.
    pub leading: Leading,
    /// The organization's own topics.
    pub taxonomy: Vec<TaxonomyTopic>,
    /// Whether the model, where there is one, is asked about every conversation; the organization's own analyzers ask either way.
    pub insight_enabled: bool,
    /// What a newer release says besides: kept as it is, so that a change made here leaves it alone.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Default for AnalysisSettings {
    fn default() -> Self {
        Self {
            silence_ms: DEFAULT_SILENCE_MS,
            leading: Leading::Provider,
            taxonomy: Vec::new(),
            insight_enabled: true,
            unknown: Map::new(),
        }
    }
}

/// Whose analysis leads where provider and we both have one. What people say leads always.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leading {
    /// The provider's.
    #[default]
    Provider,
    /// Ours.
    Own,
}

impl Leading {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Own => "own",
        }
    }
}

impl std::str::FromStr for Leading {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "provider" => Ok(Self::Provider),
            "own" => Ok(Self::Own),
            _ => Err("must be 'provider' or 'own'"),
        }
    }
}

/// A topic of an organization's own.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TaxonomyTopic {
    /// What it is called.
    pub name: String,
    /// What is said when it is the topic.
    pub phrases: Vec<String>,
    /// What a newer release says besides, as in [`AnalysisSettings`].
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// What is to be changed of the settings; what is `None` stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SettingsChange {
    /// From when on a pause is silence, in milliseconds.
    pub silence_ms: Option<u32>,
    /// Whose analysis leads.
    pub leading: Option<Leading>,
    /// All topics.
    pub taxonomy: Option<Vec<TaxonomyTopic>>,
    /// Whether the model is asked about every conversation.
    pub insight_enabled: Option<bool>,
}

impl SettingsChange {
    /// Checks the new values.
    ///
    /// # Errors
    /// What is wrong with them, all at once, with what was `bad` already.
    pub fn check(mut self, mut bad: FieldErrors) -> Result<Self, Problem> {
        if let Some(silence_ms) = self.silence_ms
            && !SILENCE_MS.contains(&silence_ms)
        {
            let (least, most) = (SILENCE_MS.start(), SILENCE_MS.end());
            bad.add("settings.silence_ms", format!("must be {least} to {most}"));
        }
        if let Some(taxonomy) = &mut self.taxonomy {
            check_taxonomy(taxonomy, &mut bad);
        }
        bad.finish()?;
        Ok(self)
    }

    /// Returns the settings with the change.
    pub fn applied_to(self, settings: AnalysisSettings) -> AnalysisSettings {
        AnalysisSettings {
            silence_ms: self.silence_ms.unwrap_or(settings.silence_ms),
            leading: self.leading.unwrap_or(settings.leading),
            taxonomy: self.taxonomy.unwrap_or(settings.taxonomy),
            insight_enabled: self.insight_enabled.unwrap_or(settings.insight_enabled),
            unknown: settings.unknown,
        }
    }
}

/// Removes white space around names and phrases, and notes what is wrong.
fn check_taxonomy(taxonomy: &mut [TaxonomyTopic], bad: &mut FieldErrors) {
    if taxonomy.len() > MOST_TOPICS {
        bad.add("settings.taxonomy", format!("must be at most {MOST_TOPICS} topics"));
        return;
    }
    let mut names = HashSet::new();
    for (at, topic) in taxonomy.iter_mut().enumerate() {
        let field = format!("settings.taxonomy[{at}]");
        check_text(&mut topic.name, LONGEST_TOPIC, &format!("{field}.name"), bad);
        if !names.insert(topic.name.to_lowercase()) {
            bad.add(format!("{field}.name"), "is the name of another topic, too");
        }
        if topic.phrases.is_empty() || topic.phrases.len() > MOST_PHRASES {
            bad.add(format!("{field}.phrases"), format!("must be 1 to {MOST_PHRASES} phrases"));
            continue;
        }
        for (at, phrase) in topic.phrases.iter_mut().enumerate() {
            check_text(phrase, LONGEST_PHRASE, &format!("{field}.phrases[{at}]"), bad);
        }
    }
}

fn check_text(text: &mut String, longest: usize, field: &str, bad: &mut FieldErrors) {
    *text = text.trim().to_owned();
    if text.is_empty() || text.chars().count() > longest {
        bad.add(field, format!("must be 1 to {longest} characters"));
    } else if text.chars().any(char::is_control) {
        bad.add(field, "must not have control characters");
    } else if !text.chars().any(char::is_alphanumeric) {
        bad.add(field, "must have a letter or a digit");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn topic(name: &str, phrases: &[&str]) -> TaxonomyTopic {
        let phrases = phrases.iter().map(|&phrase| phrase.to_owned()).collect();
        TaxonomyTopic { name: name.to_owned(), phrases, ..TaxonomyTopic::default() }
    }

    fn problems(change: SettingsChange) -> Vec<String> {
        change.check(FieldErrors::new()).unwrap_err().fields.into_iter().map(|bad| bad.field).collect()
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let change = SettingsChange { silence_ms: Some(500), ..SettingsChange::default() };
        let settings = change.check(FieldErrors::new()).unwrap().applied_to(AnalysisSettings::default());
        assert_eq!(settings, AnalysisSettings { silence_ms: 500, ..AnalysisSettings::default() });
        let taxonomy = vec![topic(" Refunds ", &["  my money back "])];
        let change = SettingsChange { taxonomy: Some(taxonomy), ..SettingsChange::default() };
        let settings = change.check(FieldErrors::new()).unwrap().applied_to(settings);
        assert_eq!((settings.silence_ms, &settings.taxonomy), (500, &vec![topic("Refunds", &["my money back"])]));
        let off = SettingsChange { insight_enabled: Some(false), ..SettingsChange::default() }.applied_to(settings.clone());
        assert_eq!(off, AnalysisSettings { insight_enabled: false, ..settings });
        let kept = SettingsChange { silence_ms: Some(900), ..SettingsChange::default() }.applied_to(off);
        assert!(!kept.insight_enabled && kept.silence_ms == 900);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let taxonomy = vec![topic("a", &["ok"]), topic("A", &[]), topic("", &["x\0y", "?!"]), topic("b", &[&"x".repeat(201)])];
        let change = SettingsChange { silence_ms: Some(499), taxonomy: Some(taxonomy), ..SettingsChange::default() };
        assert_eq!(
            problems(change),
            [
                "settings.silence_ms",
                "settings.taxonomy[1].name",
                "settings.taxonomy[1].phrases",
                "settings.taxonomy[2].name",
                "settings.taxonomy[2].phrases[0]",
                "settings.taxonomy[2].phrases[1]",
                "settings.taxonomy[3].phrases[0]"
            ]
        );
        let many = vec![topic("a", &["b"]); MOST_TOPICS + 1];
        assert_eq!(problems(SettingsChange { taxonomy: Some(many), ..SettingsChange::default() }), ["settings.taxonomy"]);
    }

    #[test]
    fn what_a_newer_release_says_survives_a_change() {
        let newer = json!({
            "silence_ms": 3_000,
            "leading": "own",
            "taxonomy": [{"name": "Refunds", "phrases": ["my money back"], "color": "red"}],
            "insight_enabled": false,
            "insight_budget": {"per_day": 18_446_744_073_709_551_615_u64, "left": null},
        });
        let settings: AnalysisSettings = serde_json::from_value(newer.clone()).unwrap();
        let changed = SettingsChange { silence_ms: Some(500), ..SettingsChange::default() }.applied_to(settings);
        let mut expected = newer;
        expected["silence_ms"] = json!(500);
        assert_eq!(serde_json::to_value(&changed).unwrap(), expected);
        // Who says all topics says all of them.
        let taxonomy = Some(vec![topic("Refunds", &["refund"])]);
        let changed = SettingsChange { taxonomy, ..SettingsChange::default() }.applied_to(changed);
        expected["taxonomy"] = json!([{"name": "Refunds", "phrases": ["refund"]}]);
        assert_eq!(serde_json::to_value(changed).unwrap(), expected);
    }

    #[test]
    fn settings_of_an_older_release_are_read() {
        assert_eq!(serde_json::from_str::<AnalysisSettings>("{}").unwrap(), AnalysisSettings::default());
        let older = r#"{"silence_ms": 3000, "leading": "provider", "taxonomy": []}"#;
        assert!(serde_json::from_str::<AnalysisSettings>(older).unwrap().insight_enabled, "as it was");
    }
}
