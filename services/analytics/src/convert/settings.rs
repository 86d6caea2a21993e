//! How conversations are analysed, to and from the messages of the service.

use colloquy_proto::analytics::v1 as pb;
use colloquy_service::{FieldErrors, Problem};

use crate::organization::{AnalysisSettings, SettingsChange, TaxonomyTopic};

const CHANGEABLE: [&str; 4] = ["silence_ms", "leading", "taxonomy", "insight_enabled"];

/// Writes settings.
pub fn to_pb(settings: AnalysisSettings) -> pb::AnalysisSettings {
    let topic = |TaxonomyTopic { name, phrases, .. }| pb::TaxonomyTopic { name, phrases };
    pb::AnalysisSettings {
        silence_ms: settings.silence_ms,
        leading: settings.leading.as_str().to_owned(),
        taxonomy: settings.taxonomy.into_iter().map(topic).collect(),
        insight_enabled: Some(settings.insight_enabled),
    }
}

/// Reads a change. Without a mask everything that is given is to be changed.
///
/// # Errors
/// What is wrong with it, all at once.
pub fn change(request: pb::UpdateAnalysisSettingsRequest) -> Result<SettingsChange, Problem> {
    let mut errors = FieldErrors::new();
    let given = request.settings.unwrap_or_default();
    let paths = request.update_mask.map(|mask| mask.paths).filter(|paths| !paths.is_empty());
    for path in paths.iter().flatten() {
        if !CHANGEABLE.contains(&path.as_str()) {
            // It may be of any length, and anything.
            let shown: String = path.chars().filter(|letter| !letter.is_control()).take(50).collect();
            errors.add("update_mask", format!("'{shown}' cannot be changed; allowed: {}", CHANGEABLE.join(", ")));
        }
    }
    let is_named = |name: &str, is_given: bool| match &paths {
        Some(paths) => paths.iter().any(|path| path == name),
        None => is_given,
    };
    let leading =
        is_named("leading", !given.leading.is_empty()).then(|| errors.parse("settings.leading", &given.leading)).flatten();
    let topic = |topic: pb::TaxonomyTopic| TaxonomyTopic { name: topic.name, phrases: topic.phrases, ..TaxonomyTopic::default() };
    // What is named and not given is as every organization begins.
    let insight_enabled =
        is_named("insight_enabled", given.insight_enabled.is_some()).then(|| given.insight_enabled.unwrap_or(true));
    let change = SettingsChange {
        insight_enabled,
        silence_ms: is_named("silence_ms", given.silence_ms != 0).then_some(given.silence_ms),
        leading,
        taxonomy: is_named("taxonomy", !given.taxonomy.is_empty()).then(|| given.taxonomy.into_iter().map(topic).collect()),
    };
    change.check(errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::organization::Leading;

    fn request(paths: Option<&[&str]>, settings: pb::AnalysisSettings) -> pb::UpdateAnalysisSettingsRequest {
        let update_mask =
            paths.map(|paths| prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() });
        pb::UpdateAnalysisSettingsRequest { settings: Some(settings), update_mask }
    }

    #[test]
    fn a_mask_says_what_is_changed_and_without_one_what_is_given_is() {
        let settings = pb::AnalysisSettings {
            silence_ms: 900,
            leading: "own".to_owned(),
            taxonomy: Vec::new(),
            insight_enabled: Some(false),
        };
        let given = change(request(None, settings.clone())).unwrap();
        let expected =
            SettingsChange { silence_ms: Some(900), leading: Some(Leading::Own), taxonomy: None, insight_enabled: Some(false) };
        assert_eq!(given, expected);
        let masked = change(request(Some(&["taxonomy"]), settings.clone())).unwrap();
        assert_eq!(masked, SettingsChange { taxonomy: Some(Vec::new()), ..SettingsChange::default() });
        let masked = change(request(Some(&["insight_enabled"]), settings)).unwrap();
        assert_eq!(masked, SettingsChange { insight_enabled: Some(false), ..SettingsChange::default() });
        assert_eq!(change(request(Some(&[]), pb::AnalysisSettings::default())).unwrap(), SettingsChange::default());
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let settings = pb::AnalysisSettings { silence_ms: 1, leading: "me".to_owned(), ..Default::default() };
        let problem = change(request(Some(&["silence_ms", "leading", "x"]), settings)).unwrap_err();
        let fields: Vec<_> = problem.fields.iter().map(|bad| bad.field.as_str()).collect();
        assert_eq!(fields, ["update_mask", "settings.leading", "settings.silence_ms"]);
    }
}
