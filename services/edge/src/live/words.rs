//! What a stream leaves out of events: what nobody outside may see, and words, for who may not read transcripts.

use colloquy_events::{Data, Turn};

/// Leaves out where a recording lies: whoever may hear it asks for it.
pub(super) fn without_places(data: &mut Data) {
    if let Data::RecordingAvailable(recording) = data {
        recording.url = None;
        recording.object_key = None;
    }
}

/// Leaves out what was said, and what repeats it.
pub(super) fn without_words(data: &mut Data) {
    match data {
        Data::TurnAdded(turn) | Data::TurnUpdated(turn) => strip(turn),
        Data::TranscriptUpdated { turns } | Data::TranscriptCompleted { turns, .. } => turns.iter_mut().for_each(strip),
        Data::Analyzed(analysis) => analysis.summary = None,
        Data::ControlAccepted(command) => command.text = None,
        // What a rule saw may be a quotation.
        Data::AlertOpened(alert) | Data::AlertAcknowledged(alert) | Data::AlertResolved(alert) => alert.evidence = None,
        _ => {}
    }
}

fn strip(turn: &mut Turn) {
    turn.text = None;
    turn.heard_text = None;
    turn.translated_text = None;
    turn.words.clear();
    if let Some(call) = &mut turn.tool_call {
        call.arguments = None;
    }
    if let Some(result) = &mut turn.tool_result {
        result.content = None;
    }
    if let Some(message) = &mut turn.message {
        message.attachments.clear();
    }
}
