//! Which phrases are in which turns: what topics, intent and resolution are told from.

use std::collections::BTreeMap;

use super::language::Languages;
use super::lexicon::{self, Meaning};
use super::phrases::{Match, Vocabulary};
use super::rules::Taxonomy;
use super::said::Said;
use super::{MOST_EVIDENCE, words};

/// A built-in phrase in a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    /// The turn's place among what was said.
    pub(super) said: usize,
    /// What was found, and where in the turn.
    pub(super) found: Match<Meaning>,
}

/// All phrases in all turns.
pub(super) struct Hits {
    /// Built-in ones, by turn.
    pub(super) built_in: Vec<Hit>,
    /// Of each of the organization's topics that was said, by its place, the places of what was said; ascending, each once, and no
    /// more than a topic names.
    pub(super) taxonomy: BTreeMap<u32, Vec<usize>>,
    /// A language that was spoken and has no built-in phrases, when no other was spoken.
    pub(super) not_covered: Option<String>,
}

impl Hits {
    /// Returns the phrases in what was said: those of the language of each turn.
    pub(super) fn of(said: &[Said<'_>], languages: &Languages, taxonomy: &Taxonomy) -> Self {
        let mut hits = Self { built_in: Vec::new(), taxonomy: BTreeMap::new(), not_covered: not_covered(languages) };
        let mut built_in: BTreeMap<usize, Vocabulary<'_, Meaning>> = BTreeMap::new();
        let mut own: BTreeMap<&str, Vocabulary<'_, u32>> = BTreeMap::new();
        let mut ids = Vec::new();
        for (place, (said, language)) in said.iter().zip(&languages.by_said).enumerate() {
            for (number, phrases) in lexicon::phrases(language.as_deref()) {
                let vocabulary = built_in.entry(number).or_insert_with(|| Vocabulary::new(phrases));
                words_of(said.text, vocabulary, &mut ids);
                vocabulary.phrases().find(&ids, |found| hits.built_in.push(Hit { said: place, found }));
            }
            if taxonomy.is_empty() {
                continue;
            }
            let language = language.as_deref().unwrap_or_default();
            let vocabulary = own.entry(language).or_insert_with(|| Vocabulary::new(taxonomy.phrases(language)));
            words_of(said.text, vocabulary, &mut ids);
            vocabulary.phrases().meanings(&ids, |topic| {
                let places = hits.taxonomy.entry(topic).or_default();
                if places.len() < MOST_EVIDENCE && places.last() != Some(&place) {
                    places.push(place);
                }
            });
        }
        hits
    }
}

/// Puts the ids of a text's words in the place of those that were there.
fn words_of<M: Copy + PartialEq>(text: &str, vocabulary: &mut Vocabulary<'_, M>, ids: &mut Vec<u32>) {
    ids.clear();
    words::each(text, |word| ids.push(vocabulary.id(word)));
}

fn not_covered(languages: &Languages) -> Option<String> {
    let mut spoken = languages.by_said.iter();
    let covered = spoken.clone().any(|language| language.as_deref().is_none_or(lexicon::covers));
    if covered { None } else { spoken.next().cloned().flatten() }
}
