//! What people say in calls and chats with companies, and what it means: the built-in phrases, by language.
//!
//! In phrases, `~` stands for up to four words of any kind. Accents and case are ignored.

mod de;
mod en;
mod es;
mod fr;
mod pt;

use std::sync::LazyLock;

use super::phrases::Phrases;
use super::stemming::Stems;

/// What a phrase means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// It is surely about this topic.
    Topic(&'static str),
    /// It may be about this topic.
    Hint(&'static str),
    /// The person wants this.
    Intent(&'static str),
    /// Something that shows how the conversation goes.
    Cue(Cue),
}

/// What shows how a conversation goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cue {
    /// The person asks for a human.
    AsksForHuman,
    /// The person says that what follows is not wanted.
    NotWanted,
    /// The person thanks.
    Thanks,
    /// The person says goodbye.
    Farewell,
    /// The person says that nothing more is needed, or that it is solved.
    AllDone,
    /// The person says that it is not solved.
    StillBroken,
    /// The agent says that it did what was asked.
    Done,
    /// The agent says that it cannot help.
    CannotHelp,
    /// The agent says that it hands the person over.
    HandsOver,
}

/// The phrases of a language, each with its meaning.
type Table = &'static [(Meaning, &'static [&'static str])];

const TABLES: [(&str, Table); 5] =
    [("en", en::PHRASES), ("de", de::PHRASES), ("es", es::PHRASES), ("fr", fr::PHRASES), ("pt", pt::PHRASES)];

/// The phrases, each set with its language. Topics and wishes are found in any form of their words. Cues only as they stand:
/// `shall I book it` is not `it is booked`.
static COMPILED: LazyLock<Vec<(&str, Phrases<Meaning>)>> = LazyLock::new(|| {
    let compile = |table: Table, stems, cues| {
        let chosen = table.iter().filter(move |(meaning, _)| matches!(meaning, Meaning::Cue(_)) == cues);
        Phrases::new(stems, chosen.flat_map(|(meaning, phrases)| phrases.iter().map(|phrase| (*meaning, *phrase))))
    };
    let sets = TABLES.into_iter().flat_map(|(language, table)| {
        [(language, compile(table, Stems::of(language), false)), (language, compile(table, Stems::none(), true))]
    });
    sets.collect()
});

/// For people: the languages there are phrases of.
pub(super) const COVERED: &str = "English, German, Spanish, French and Portuguese";

/// Returns whether there are phrases of a language, by its ISO 639-1 code.
pub(super) fn covers(language: &str) -> bool {
    TABLES.iter().any(|(covered, _)| *covered == language)
}

/// Returns the sets of phrases of a language, each with its number; of all languages when it is not known, for few phrases mean
/// something in another language.
pub(super) fn phrases(language: Option<&str>) -> impl Iterator<Item = (usize, &'static Phrases<Meaning>)> {
    let sets = COMPILED.iter().enumerate();
    let fitting = sets.filter(move |(_, (covered, _))| language.is_none_or(|language| language == *covered));
    fitting.map(|(number, (_, phrases))| (number, phrases))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_snake_case_and_every_phrase_has_words() {
        for (language, table) in TABLES {
            for (meaning, phrases) in table {
                if let Meaning::Topic(name) | Meaning::Hint(name) | Meaning::Intent(name) = meaning {
                    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
                }
                for phrase in *phrases {
                    assert!(!crate::analysis::words::of(phrase).is_empty(), "{language}: {phrase:?}");
                }
            }
        }
    }

    #[test]
    fn topics_and_intents_are_called_the_same_in_every_language() {
        let names = |table: Table| -> BTreeSet<&str> {
            let named = table.iter().filter_map(|(meaning, _)| match meaning {
                Meaning::Topic(name) | Meaning::Hint(name) | Meaning::Intent(name) => Some(*name),
                Meaning::Cue(_) => None,
            });
            named.collect()
        };
        let english = names(en::PHRASES);
        for (language, table) in TABLES {
            let unknown: Vec<&str> = names(table).difference(&english).copied().collect();
            assert!(unknown.is_empty(), "{language}: {unknown:?}");
        }
    }
}
