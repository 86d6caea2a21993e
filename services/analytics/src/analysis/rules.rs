//! What of an organization's settings changes how its conversations are analysed.

use std::sync::{Arc, OnceLock};

use super::phrases::Phrases;
use super::stemming::{LANGUAGES, Stems};

/// The settings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules {
    /// From when on a pause is silence, in milliseconds.
    pub silence_ms: i64,
    /// Whether our own analysis outweighs the provider's.
    pub own_leads: bool,
    /// The organization's own topics.
    pub taxonomy: Taxonomy,
}

impl Default for Rules {
    /// What holds for an organization that has set nothing.
    fn default() -> Self {
        Self { silence_ms: 3_000, own_leads: false, taxonomy: Taxonomy::default() }
    }
}

/// A topic and what is said when it is the topic.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct TopicPhrases {
    /// What the topic is called.
    pub name: String,
    /// What is said.
    pub phrases: Vec<String>,
}

/// An organization's own topics, compiled once a language. Cheap to clone.
#[derive(Clone, Default)]
pub struct Taxonomy(Arc<Compiled>);

#[derive(Default)]
struct Compiled {
    topics: Vec<TopicPhrases>,
    /// By the place of the language among [`LANGUAGES`]; the meaning of a phrase is the place of its topic.
    by_language: [OnceLock<Phrases<u32>>; LANGUAGES.len()],
}

impl Taxonomy {
    /// Returns a taxonomy of these topics.
    pub fn new(topics: Vec<TopicPhrases>) -> Self {
        Self(Arc::new(Compiled { topics, ..Compiled::default() }))
    }

    /// Returns whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.topics.is_empty()
    }

    /// Returns the name of a topic by its place.
    pub(super) fn name(&self, topic: u32) -> Option<&str> {
        self.0.topics.get(topic as usize).map(|topic| topic.name.as_str())
    }

    /// Returns the phrases as they are looked for in a language, by its ISO 639-1 code; `""` when it is not known.
    pub(super) fn phrases(&self, language: &str) -> &Phrases<u32> {
        let place = LANGUAGES.iter().position(|known| *known == language).unwrap_or(0);
        self.0.by_language[place].get_or_init(|| {
            let phrases = self
                .0
                .topics
                .iter()
                .zip(0..)
                .flat_map(|(topic, place)| topic.phrases.iter().map(move |phrase| (place, phrase.as_str())));
            Phrases::literal(Stems::of(LANGUAGES[place]), phrases)
        })
    }
}

impl std::fmt::Debug for Taxonomy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Taxonomy").field(&self.0.topics).finish()
    }
}
