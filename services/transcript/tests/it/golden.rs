//! What the samples read like.

use std::fmt::Write;

use colloquy_events::Turn;
use colloquy_transcript::fold::{Transcript, fold};
use colloquy_transcript::kept;
use colloquy_transcript::render::{Format, render};
use colloquy_types::Provider;

use crate::samples;

fn outline(transcript: &Transcript) -> String {
    let mut out = format!(
        "status {}, language {:?}, translated to {:?}, agent {:?}, caller {:?}, {:?} ms\n",
        transcript.status.as_str(),
        transcript.language,
        transcript.translation_language,
        transcript.agent_name,
        transcript.caller_name,
        transcript.duration_ms,
    );
    for turn in &transcript.turns {
        writeln!(out, "{}", line(turn)).unwrap();
    }
    out
}

/// Returns what is known of a turn, and nothing of what is not.
fn line(turn: &Turn) -> String {
    let mut turn = serde_json::to_value(turn).unwrap();
    let turn = turn.as_object_mut().unwrap();
    turn.remove("turn_id");
    if let Some(words) = turn.get_mut("words") {
        *words = words.as_array().unwrap().len().into();
    }
    serde_json::to_string(&turn).unwrap()
}

fn written(provider: Provider) -> String {
    let records = samples::records(provider);
    let rows = kept::rows(&records);
    let mut out = String::new();
    let mut ids: Vec<_> = samples::conversations(&records).into_iter().collect();
    let external_id = |id| records.iter().flat_map(|record| &record.events).find(|event| event.conversation_id == id);
    ids.sort_by_key(|id| external_id(*id).unwrap().external_id.clone());
    for id in ids {
        let kept: Vec<_> = rows.iter().filter(|row| row.conversation_id == id).map(|row| row.kept.clone()).collect();
        let transcript = fold(&kept::events(id, &kept).unwrap());
        writeln!(out, "=== {provider}:{}\n{}", external_id(id).unwrap().external_id, outline(&transcript)).unwrap();
        for format in [Format::Text, Format::Srt, Format::Vtt] {
            let content = render(transcript.clone(), format, "").unwrap().content;
            writeln!(out, "--- {format:?}\n{content}").unwrap();
        }
        if let Some(language) = &transcript.translation_language {
            let content = render(transcript.clone(), Format::Text, language).unwrap().content;
            writeln!(out, "--- Text in {language}\n{content}").unwrap();
        }
    }
    out
}

#[test]
fn the_samples_read_as_they_always_did() {
    for provider in Provider::ALL {
        insta::assert_snapshot!(format!("samples_of_{provider}"), written(provider));
    }
}
