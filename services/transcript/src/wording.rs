//! Which text of a turn is shown, and how it becomes a single line.

use colloquy_events::Turn;

/// Which text of a turn is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wording {
    /// What was heard: after an interruption, only what was spoken before it.
    #[default]
    Heard,
    /// The translation, and what was heard where a turn has none.
    Translated,
}

impl Wording {
    /// Returns the text of a turn on one line, if the turn is speech.
    pub fn of(self, turn: &Turn) -> Option<String> {
        if !turn.is_spoken() {
            return None;
        }
        let translation = if self.translates(turn) { turn.translated_text.as_deref() } else { None };
        let line = one_line(translation.or_else(|| turn.heard())?);
        (!line.is_empty()).then_some(line)
    }

    /// Returns whether the turn is shown in other words than those that were spoken.
    pub(crate) fn translates(self, turn: &Turn) -> bool {
        self == Self::Translated && turn.translated_text.as_deref().is_some_and(|text| !one_line(text).is_empty())
    }
}

/// Returns the text with every control character, line break and run of blanks turned into one space. Spaces that forbid a
/// line break stay between what they hold together, and so do marks that steer right-to-left text.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(separates).map(str::trim).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

fn separates(c: char) -> bool {
    let unbreakable = matches!(c, '\u{a0}' | '\u{2007}' | '\u{202f}');
    c.is_control() || (c.is_whitespace() && !unbreakable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_line_breaks_become_single_spaces() {
        assert_eq!(one_line("  a\r\n\r\nb\tc\u{0}d\u{2028}e\u{85}f \u{3000} g\u{1b}[0m "), "a b c d e f g [0m");
        assert_eq!(one_line("\n\u{7} \u{a0} \t"), "");
        assert_eq!(one_line("a \u{a0}b\u{a0} c"), "a b c");
    }

    #[test]
    fn unbreakable_spaces_joiners_and_direction_marks_stay() {
        let text = "Oui\u{a0}! \u{202b}שלום\u{202c} 👩\u{200d}🚀";
        assert_eq!(one_line(text), text);
    }
}
