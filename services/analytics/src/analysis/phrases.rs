//! Phrases, and finding all of many in the words of a turn at once: a trie over words.

use std::collections::{HashMap, HashSet};

use super::stemming::Stems;
use super::words;

/// In a phrase, stands for up to [`MOST_BETWEEN`] words of any kind.
const GAP: &str = "~";
/// So many words may stand between the parts of a phrase.
const MOST_BETWEEN: usize = 4;
/// The id of words that are in no phrase.
const UNKNOWN: u32 = 0;

/// Phrases and what each means.
pub(super) struct Phrases<M> {
    stems: Stems,
    ids: HashMap<String, u32>,
    nodes: Vec<Node<M>>,
}

struct Node<M> {
    next: HashMap<u32, usize>,
    /// Where phrases go on after other words.
    after_gap: Option<usize>,
    /// What phrases mean that end here.
    ends: Vec<M>,
}

impl<M> Default for Node<M> {
    fn default() -> Self {
        Self { next: HashMap::new(), after_gap: None, ends: Vec::new() }
    }
}

/// A phrase that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Match<M> {
    /// What it means.
    pub(super) meaning: M,
    /// Its first word's place in the turn.
    pub(super) start: usize,
    /// The place after its last word.
    pub(super) end: usize,
    /// How many words it has itself, without those in its gaps.
    pub(super) words: usize,
}

impl<M: Copy + PartialEq> Phrases<M> {
    /// Returns phrases that are found whatever forms of their words are used, in the language of these stems. [`GAP`] in them
    /// stands for other words.
    pub(super) fn new<'p>(stems: Stems, phrases: impl IntoIterator<Item = (M, &'p str)>) -> Self {
        let mut made = Self::none(stems);
        for (meaning, phrase) in phrases {
            made.add(meaning, phrase.split(GAP));
        }
        made
    }

    /// Returns the same of phrases that others wrote: every sign in them is a sign.
    pub(super) fn literal<'p>(stems: Stems, phrases: impl IntoIterator<Item = (M, &'p str)>) -> Self {
        let mut made = Self::none(stems);
        for (meaning, phrase) in phrases {
            made.add(meaning, std::iter::once(phrase));
        }
        made
    }

    fn none(stems: Stems) -> Self {
        Self { stems, ids: HashMap::new(), nodes: vec![Node::default()] }
    }

    /// Adds a phrase by its parts; one without words is never found.
    fn add<'p>(&mut self, meaning: M, parts: impl Iterator<Item = &'p str>) {
        let mut node = 0;
        for (index, part) in parts.enumerate() {
            if index > 0 && node > 0 {
                node = match self.nodes[node].after_gap {
                    Some(after) => after,
                    None => {
                        let after = self.grow();
                        self.nodes[node].after_gap = Some(after);
                        after
                    }
                };
            }
            for word in words::of(part) {
                let fresh = u32::try_from(self.ids.len() + 1).unwrap_or(u32::MAX);
                let id = *self.ids.entry(self.stems.stem(&word).into_owned()).or_insert(fresh);
                node = match self.nodes[node].next.get(&id) {
                    Some(&next) => next,
                    None => {
                        let next = self.grow();
                        self.nodes[node].next.insert(id, next);
                        next
                    }
                };
            }
        }
        // Forms of the same words are the same phrase.
        if node > 0 && !self.nodes[node].ends.contains(&meaning) {
            self.nodes[node].ends.push(meaning);
        }
    }

    fn grow(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// Calls `found` with every phrase among the words, by where they start.
    pub(super) fn find(&self, words: &[u32], mut found: impl FnMut(Match<M>)) {
        for start in 0..words.len() {
            if words[start] != UNKNOWN {
                self.walk(0, words, Match { meaning: (), start, end: start, words: 0 }, &mut |node, so_far| {
                    let Match { start, end, words, .. } = so_far;
                    self.nodes[node].ends.iter().for_each(|&meaning| found(Match { meaning, start, end, words }));
                });
            }
        }
    }

    /// Calls `found` with what the phrases among the words mean: with each phrase once, however often it is among them, so that
    /// what others wrote as phrases cannot make a turn cost more than its words and the phrases that are in it.
    pub(super) fn meanings(&self, words: &[u32], mut found: impl FnMut(M)) {
        let mut ended = HashSet::new();
        for start in 0..words.len() {
            if words[start] != UNKNOWN {
                self.walk(0, words, Match { meaning: (), start, end: start, words: 0 }, &mut |node, _| {
                    if ended.insert(node) {
                        self.nodes[node].ends.iter().for_each(|&meaning| found(meaning));
                    }
                });
            }
        }
    }

    /// Goes on from a node, to which the words led that `so_far` holds. Calls `ended` with every node in which phrases end.
    fn walk(&self, at: usize, words: &[u32], so_far: Match<()>, ended: &mut impl FnMut(usize, Match<()>)) {
        let node = &self.nodes[at];
        let Match { end, words: count, .. } = so_far;
        if !node.ends.is_empty() {
            ended(at, so_far);
        }
        if let Some(&next) = words.get(end).and_then(|word| node.next.get(word)) {
            self.walk(next, words, Match { end: end + 1, words: count + 1, ..so_far }, ended);
        }
        if let Some(after) = node.after_gap {
            // The words after a gap decide where it ends: the first that fit.
            let mut reach = end..words.len().min(end + MOST_BETWEEN + 1);
            if let Some(end) = reach.find(|&place| self.nodes[after].next.contains_key(&words[place])) {
                self.walk(after, words, Match { end, ..so_far }, ended);
            }
        }
    }
}

/// Turns words into ids of one set of phrases, remembering each word: conversations repeat themselves.
pub(super) struct Vocabulary<'p, M> {
    phrases: &'p Phrases<M>,
    known: HashMap<String, u32>,
}

impl<'p, M: Copy + PartialEq> Vocabulary<'p, M> {
    /// Returns an empty vocabulary.
    pub(super) fn new(phrases: &'p Phrases<M>) -> Self {
        Self { phrases, known: HashMap::new() }
    }

    /// Returns the phrases.
    pub(super) const fn phrases(&self) -> &'p Phrases<M> {
        self.phrases
    }

    /// Returns the id of a word in its folded form.
    pub(super) fn id(&mut self, word: &str) -> u32 {
        if let Some(&id) = self.known.get(word) {
            return id;
        }
        let id = self.phrases.ids.get(self.phrases.stems.stem(word).as_ref()).copied().unwrap_or(UNKNOWN);
        self.known.insert(word.to_owned(), id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(phrases: &Phrases<u8>, text: &str) -> Vec<u8> {
        let mut vocabulary = Vocabulary::new(phrases);
        let words: Vec<u32> = words::of(text).iter().map(|word| vocabulary.id(word)).collect();
        let mut found = Vec::new();
        phrases.find(&words, |hit| found.push(hit.meaning));
        found
    }

    #[test]
    fn phrases_are_found_as_words_in_their_order_and_in_any_form() {
        let phrases = Phrases::new(Stems::of("en"), [(1, "gift card"), (2, "gift card balance"), (3, "card")]);
        assert_eq!(found(&phrases, "My GIFT-cards balance?"), [1, 2, 3]);
        assert_eq!(found(&phrases, "a card, a gift; discard it"), [3]);
        assert!(found(&phrases, "").is_empty());
    }

    #[test]
    fn a_gap_holds_a_few_words_and_no_more() {
        let phrases = Phrases::new(Stems::of("en"), [(1, "move ~ appointment")]);
        assert_eq!(found(&phrases, "I would like to move my cleaning appointment"), [1]);
        assert_eq!(found(&phrases, "move appointment"), [1]);
        assert!(found(&phrases, "move a b c d e appointment").is_empty());
    }

    #[test]
    fn a_phrase_that_is_written_twice_is_one() {
        let phrases = Phrases::new(Stems::of("en"), [(1, "gift card"), (2, "card"), (1, "GIFT-cards!"), (3, "cards")]);
        assert_eq!(found(&phrases, "a gift card"), [1, 2, 3]);
    }

    #[test]
    fn what_phrases_mean_is_told_once_a_phrase_however_often_it_is_said() {
        let phrases = Phrases::new(Stems::of("en"), [(1, "card"), (2, "card"), (2, "gift card")]);
        let mut vocabulary = Vocabulary::new(&phrases);
        let words: Vec<u32> = words::of("card, card, gift card, card").iter().map(|word| vocabulary.id(word)).collect();
        let mut found = Vec::new();
        phrases.meanings(&words, |meaning| found.push(meaning));
        assert_eq!(found, [1, 2, 2]);
    }

    #[test]
    fn a_phrase_without_words_is_never_found() {
        let phrases = Phrases::new(Stems::of(""), [(1, ""), (2, " ~ "), (3, "👍")]);
        assert!(found(&phrases, "anything 👍 goes").is_empty());
    }
}
