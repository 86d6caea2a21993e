//! A transcript as text or captions.

use crate::caption::{self, Options};
use crate::error::Error;
use crate::fold::Transcript;
use crate::language;
use crate::speaker::Names;
use crate::text;

/// How a transcript is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// One line a spoken turn.
    Text,
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
}

impl Format {
    /// Returns the media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Srt => "application/x-subrip",
            Self::Vtt => "text/vtt",
        }
    }
}

/// A written transcript.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendered {
    /// The text.
    pub content: String,
    /// The language it is in, when that is known.
    pub language: Option<String>,
}

/// Writes a transcript in the language wanted.
///
/// # Errors
/// When there is none in that language.
pub fn render(transcript: Transcript, format: Format, wanted: &str) -> Result<Rendered, Error> {
    let (wording, language) = language::choose(&transcript, wanted)?;
    let content = match format {
        Format::Text => text::text(&transcript.turns, wording),
        Format::Srt | Format::Vtt => {
            let names = names(&transcript);
            let cues = caption::cues(&transcript.turns, &Options { duration_ms: transcript.duration_ms, wording, names });
            if format == Format::Srt { caption::srt(&cues) } else { caption::vtt(&cues) }
        }
    };
    Ok(Rendered { content, language })
}

fn names(transcript: &Transcript) -> Names {
    let mut names = Names::default();
    if let Some(agent) = &transcript.agent_name {
        names.agent.clone_from(agent);
    }
    if let Some(caller) = &transcript.caller_name {
        names.user.clone_from(caller);
    }
    names
}
