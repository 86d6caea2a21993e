//! What the samples come to.

use colloquy_analytics::analysis::{Analysis, Rules, analyse};
use colloquy_analytics::input::Input;

use crate::samples;

/// What was said and what it comes to, as a reader would want to see them.
fn shown(input: &Input, analysis: &Analysis) -> String {
    let said = input.turns.iter().enumerate().map(|(place, turn)| {
        let tool = turn.tool_call.as_ref().and_then(|call| call.name.clone()).map(|name| format!(" calls {name}"));
        let result = turn.tool_result.as_ref().map(|result| format!(" result, error: {:?}", result.is_error));
        let text = turn.heard().unwrap_or_default();
        format!("{place} {}: {text}{}{}\n", turn.role, tool.unwrap_or_default(), result.unwrap_or_default())
    });
    let said: String = said.collect();
    format!("{said}\n{}\n", serde_json::to_string_pretty(analysis).unwrap())
}

#[test]
fn every_sample_comes_to_what_it_always_came_to() {
    let samples = samples::all();
    assert_eq!(samples.len(), 24);
    for (name, input) in samples {
        let analysis = analyse(&input, &Rules::default());
        insta::assert_snapshot!(name, shown(&input, &analysis));
    }
}

#[test]
fn the_same_conversation_comes_to_the_same_bytes() {
    for (name, input) in samples::all() {
        let bytes = |analysis: &Analysis| serde_json::to_vec(analysis).unwrap();
        let first = bytes(&analyse(&input, &Rules::default()));
        assert_eq!(first, bytes(&analyse(&input.clone(), &Rules::default())), "{name}");
        let read: Analysis = serde_json::from_slice(&first).unwrap();
        assert_eq!(bytes(&read), first, "{name}: what is stored reads back");
    }
}

#[test]
fn every_figure_has_either_a_value_or_a_reason() {
    for (name, input) in samples::all() {
        let analysis = serde_json::to_value(analyse(&input, &Rules::default())).unwrap();
        for (figure, content) in analysis.as_object().unwrap() {
            let Some(analyzer) = content.get("analyzer") else { continue };
            let (value, reason) = (&content["value"], &content["absent_because"]);
            assert!(value.is_null() != reason.is_null(), "{name}: {figure}: {content}");
            assert!(!analyzer.as_str().unwrap().is_empty());
            assert!(reason.as_str().is_none_or(|reason| !reason.is_empty()), "{name}: {figure}: {content}");
        }
    }
}
