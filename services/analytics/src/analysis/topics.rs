//! What a conversation was about: the organization's own topics, and those that the built-in phrases tell.
//!
//! One phrase of an organization's topic is enough. A built-in phrase that surely is about a topic counts 4 when the person
//! says it and 2 when the agent does, one that may be about it counts 2 and 1; a topic is told from 4 on. At most five are,
//! those that count most.

use std::collections::BTreeMap;

use super::hits::Hits;
use super::lexicon::{self, Meaning};
use super::rules::Taxonomy;
use super::said::{Said, Side};
use super::{Figure, MOST_EVIDENCE, Topic};

const ANALYZER: &str = "topics/1";
/// A topic is told from here on.
const ENOUGH: u32 = 4;
/// More topics than this are no topics.
const MOST_DISCOVERED: usize = 5;
/// An organization's own are not dropped lightly.
const MOST_OWN: usize = 200;

/// Returns the topics, the organization's own first.
pub(super) fn of(said: &[Said<'_>], hits: &Hits, taxonomy: &Taxonomy) -> Figure<Vec<Topic>> {
    let own = hits.taxonomy.iter().take(MOST_OWN).filter_map(|(topic, places)| {
        let turns = places.iter().map(|&place| said[place].turn).collect();
        Some(Topic { name: taxonomy.name(*topic)?.to_owned(), source: "taxonomy".to_owned(), turns })
    });
    let mut topics: Vec<Topic> = own.collect();
    for (name, turns) in discovered(said, hits) {
        if topics.iter().all(|topic| topic.name != name) {
            topics.push(Topic { name: name.to_owned(), source: "discovered".to_owned(), turns });
        }
    }
    if topics.is_empty() {
        return Figure::absent(absent_because(said, hits, "nothing that was said tells a topic"), ANALYZER);
    }
    let mut turns: Vec<u32> = topics.iter().flat_map(|topic| topic.turns.iter().copied()).collect();
    turns.sort_unstable();
    turns.dedup();
    Figure::of(topics, ANALYZER, turns)
}

/// Returns why phrases tell nothing of what was said.
pub(super) fn absent_because(said: &[Said<'_>], hits: &Hits, otherwise: &str) -> String {
    match &hits.not_covered {
        _ if said.is_empty() => "nothing was said".to_owned(),
        Some(language) => format!("the built-in phrases cover {}; the language is {language}", lexicon::COVERED),
        None => otherwise.to_owned(),
    }
}

fn discovered<'h>(said: &[Said<'_>], hits: &'h Hits) -> Vec<(&'h str, Vec<u32>)> {
    let mut counted: BTreeMap<&str, (u32, Vec<u32>)> = BTreeMap::new();
    for hit in &hits.built_in {
        let (name, by_user, by_agent) = match hit.found.meaning {
            Meaning::Topic(name) => (name, 4, 2),
            Meaning::Hint(name) => (name, 2, 1),
            Meaning::Intent(_) | Meaning::Cue(_) => continue,
        };
        let Said { turn, side, .. } = said[hit.said];
        let (count, turns) = counted.entry(name).or_default();
        *count += if side == Side::User { by_user } else { by_agent };
        if turns.last() != Some(&turn) && turns.len() < MOST_EVIDENCE {
            turns.push(turn);
        }
    }
    let mut enough: Vec<(&str, (u32, Vec<u32>))> = counted.into_iter().filter(|(_, (count, _))| *count >= ENOUGH).collect();
    enough.sort_by_key(|(name, (count, _))| (std::cmp::Reverse(*count), *name));
    enough.into_iter().take(MOST_DISCOVERED).map(|(name, (_, turns))| (name, turns)).collect()
}

#[cfg(test)]
mod tests {
    use crate::analysis::rules::{Taxonomy, TopicPhrases};
    use crate::analysis::tests::{agent, analysed, rules_with, user};

    fn names(turns: Vec<colloquy_events::Turn>) -> Vec<String> {
        analysed(turns).topics.value.unwrap_or_default().into_iter().map(|topic| topic.name).collect()
    }

    #[test]
    fn what_calls_are_about_is_told_in_five_languages() {
        let cases = [
            ("You charged me twice on my last invoice", "billing"),
            ("Hi, can I move my appointment to Thursday?", "appointment_scheduling"),
            ("My router is not working and I have no internet", "technical_support"),
            ("Ich möchte meinen Vertrag kündigen, bitte helfen Sie mir", "cancellation"),
            ("Hola, mi pedido no ha llegado todavía y quiero saber dónde está", "delivery"),
            ("Bonjour, je voudrais un remboursement pour ma commande", "refund"),
            ("Olá, quanto custa o plano? Eu quero saber o preço", "pricing"),
        ];
        for (text, expected) in cases {
            let names = names(vec![user(text)]);
            assert!(names.iter().any(|name| name == expected), "{text}: {names:?}");
        }
    }

    #[test]
    fn a_menu_that_the_agent_reads_out_is_no_topic() {
        assert!(names(vec![agent("For billing, press one.")]).is_empty());
    }

    #[test]
    fn an_organizations_own_topics_are_found_in_any_form_and_come_first() {
        let topic = |name: &str, phrases: &[&str]| TopicPhrases {
            name: name.to_owned(),
            phrases: phrases.iter().map(|phrase| (*phrase).to_owned()).collect(),
        };
        let taxonomy =
            Taxonomy::new(vec![topic("Teeth cleaning", &["prophylaxis", "clean my tooth ~"]), topic("Café", &["CAFE crème"])]);
        let turns = vec![
            user("I would like you to clean my tooth. And an appointment, and a Café-Creme"),
            agent("Sure, what about prophylaxis?"),
        ];
        let topics = super::super::analyse(&crate::analysis::tests::input(turns), &rules_with(taxonomy)).topics.value.unwrap();
        let shown: Vec<(&str, &str, &[u32])> =
            topics.iter().map(|topic| (topic.name.as_str(), topic.source.as_str(), topic.turns.as_slice())).collect();
        assert_eq!(shown[0], ("Teeth cleaning", "taxonomy", [0, 1].as_slice()));
        assert_eq!(shown[1], ("Café", "taxonomy", [0].as_slice()));
        assert_eq!(shown[2].0, "appointment_scheduling");
    }

    #[test]
    fn a_language_without_phrases_has_a_reason_and_its_own_taxonomy_still_works() {
        let japanese = vec![user("予約をキャンセルしたいです")];
        let absent = analysed(japanese.clone()).topics.absent_because.unwrap();
        assert!(absent.ends_with("the language is ja"), "{absent}");
        let taxonomy = Taxonomy::new(vec![TopicPhrases { name: "予約".to_owned(), phrases: vec!["予約".to_owned()] }]);
        let topics = super::super::analyse(&crate::analysis::tests::input(japanese), &rules_with(taxonomy)).topics.value.unwrap();
        assert_eq!(topics[0].name, "予約");
    }
}
