//! Which language is spoken, as far as that can be told.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use whatlang::{Detector, Info, Lang};
use yake_rust::StopWords;

use super::Figure;
use super::said::{Said, Side, beginning};
use crate::input::Record;

const ANALYZER: &str = "language/1";
/// Said by the provider, since what was said does not tell.
const BY_PROVIDER: &str = "provider";

/// Turns are looked at together until there are so many bytes of one side...
const CHUNK: usize = 240;
/// ...but a turn of so many is looked at alone: people change their language between turns.
const ALONE: usize = 80;
/// Of a side, about so many chunks are made: in long conversations they are longer.
const MOST_CHUNKS: usize = 32;
/// Of a chunk, so many characters are looked at.
const MOST_OF_A_CHUNK: usize = 1_000;
/// Fewer letters of an alphabet tell nothing to the statistics of letters.
const FEWEST_LETTERS: usize = 20;
/// Fewer function words tell nothing.
const FEWEST_FUNCTION_WORDS: usize = 3;

/// The languages that are told apart, with their ISO 639-1 codes. More would be confused with these where little is said.
const LANGUAGES: [(Lang, &str); 39] = [
    (Lang::Eng, "en"),
    (Lang::Deu, "de"),
    (Lang::Fra, "fr"),
    (Lang::Spa, "es"),
    (Lang::Por, "pt"),
    (Lang::Ita, "it"),
    (Lang::Nld, "nl"),
    (Lang::Swe, "sv"),
    (Lang::Dan, "da"),
    (Lang::Nob, "no"),
    (Lang::Fin, "fi"),
    (Lang::Pol, "pl"),
    (Lang::Ces, "cs"),
    (Lang::Slk, "sk"),
    (Lang::Hun, "hu"),
    (Lang::Ron, "ro"),
    (Lang::Tur, "tr"),
    (Lang::Vie, "vi"),
    (Lang::Ind, "id"),
    (Lang::Cat, "ca"),
    (Lang::Hrv, "hr"),
    (Lang::Slv, "sl"),
    (Lang::Est, "et"),
    (Lang::Lav, "lv"),
    (Lang::Lit, "lt"),
    (Lang::Rus, "ru"),
    (Lang::Ukr, "uk"),
    (Lang::Bul, "bg"),
    (Lang::Ell, "el"),
    (Lang::Heb, "he"),
    (Lang::Ara, "ar"),
    (Lang::Pes, "fa"),
    (Lang::Hin, "hi"),
    (Lang::Ben, "bn"),
    (Lang::Tam, "ta"),
    (Lang::Tha, "th"),
    (Lang::Cmn, "zh"),
    (Lang::Jpn, "ja"),
    (Lang::Kor, "ko"),
];

/// The languages that function words tell apart where there are too few letters for statistics.
const BY_FUNCTION_WORDS: [&str; 7] = ["en", "de", "fr", "es", "pt", "it", "nl"];

static DETECTOR: LazyLock<Detector> =
    LazyLock::new(|| Detector::with_allowlist(LANGUAGES.iter().map(|(language, _)| *language).collect()));

static FUNCTION_WORDS: LazyLock<Vec<(&str, HashSet<String>)>> = LazyLock::new(|| {
    let lists = BY_FUNCTION_WORDS.into_iter().filter_map(|code| Some((code, StopWords::predefined(code)?)));
    // What contracts to several words (`don't`) is told by the words it contracts to.
    let is_single = |word: &&String| in_words(word).eq([word.as_str()]);
    lists.map(|(code, list)| (code, list.iter().filter(is_single).cloned().collect())).collect()
});

/// Returns the words of a text with their accents: `es` is Spanish, `és` is Portuguese.
fn in_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// What is known of the languages of a conversation.
pub(super) struct Languages {
    /// The language of the conversation.
    pub(super) figure: Figure<String>,
    /// The language of each turn of [`Said`], as a code.
    pub(super) by_said: Vec<Option<String>>,
}

impl Languages {
    /// Returns the languages in which these things were said: of the whole the one in which most letters were said.
    pub(super) fn of(record: &Record, said: &[Said<'_>]) -> Self {
        let told = record.language.as_deref().and_then(primary);
        let mut by_said: Vec<Option<&str>> = vec![None; said.len()];
        let mut main: Option<(&'static str, usize)> = None;
        let mut votes: BTreeMap<&'static str, usize> = BTreeMap::new();
        for side in [Side::User, Side::Agent] {
            let mut of_side: BTreeMap<&'static str, usize> = BTreeMap::new();
            for chunk in chunks(said, side) {
                let Some(language) = detect(&chunk.text) else { continue };
                let letters = chunk.text.chars().filter(|letter| letter.is_alphabetic()).count();
                *of_side.entry(language).or_default() += letters;
                *votes.entry(language).or_default() += letters;
                chunk.places.iter().for_each(|&place| by_said[place] = Some(language));
            }
            // What cannot be told alone is in the language that the same side speaks otherwise.
            let usual = of_side.iter().max_by_key(|(_, letters)| **letters).map(|(language, _)| *language);
            for place in (0..said.len()).filter(|&place| said[place].side == side) {
                by_said[place] = by_said[place].or(usual);
            }
        }
        for (language, letters) in votes {
            if main.is_none_or(|(_, most)| letters > most) {
                main = Some((language, letters));
            }
        }
        let main = main.map(|(language, _)| language);
        let code = main.map(str::to_owned).or_else(|| told.clone());
        let in_main = said.iter().zip(&by_said).filter(|(_, language)| **language == main).map(|(said, _)| said.turn);
        let figure = match (main, &told) {
            // The provider may know the region as well.
            (Some(main), Some(told)) if main == told => {
                Figure::of(record.language.clone().unwrap_or_default(), ANALYZER, in_main)
            }
            (Some(main), _) => Figure::of(main.to_owned(), ANALYZER, in_main),
            (None, Some(_)) => Figure::of(record.language.clone().unwrap_or_default(), BY_PROVIDER, []),
            (None, None) if said.is_empty() => Figure::absent("nothing was said", ANALYZER),
            (None, None) => Figure::absent("too little was said to tell the language", ANALYZER),
        };
        let by_said = by_said.into_iter().map(|language| language.map(str::to_owned).or_else(|| code.clone())).collect();
        Self { figure, by_said }
    }
}

/// Returns the language of a BCP 47 tag without its region; `None` for what names no language (`multi`, `und`).
fn primary(tag: &str) -> Option<String> {
    let primary = tag.trim().split(['-', '_']).next()?.to_ascii_lowercase();
    let is_language = (2..=3).contains(&primary.len()) && primary.bytes().all(|byte| byte.is_ascii_lowercase());
    let known_as = match primary.as_str() {
        "nb" | "nn" => "no",
        "iw" => "he",
        "und" | "mul" | "zxx" | "mis" => return None,
        other => other,
    };
    is_language.then(|| known_as.to_owned())
}

/// What one side said in a row of its turns.
struct Chunk {
    /// Places among what was said.
    places: Vec<usize>,
    text: String,
}

fn chunks(said: &[Said<'_>], side: Side) -> Vec<Chunk> {
    let of_side = || said.iter().enumerate().filter(|(_, said)| said.side == side);
    let total: usize = of_side().map(|(_, said)| said.text.len()).sum();
    let (most, alone) = (CHUNK.max(total / MOST_CHUNKS), ALONE.max(total / MOST_CHUNKS / 2));
    let mut chunks = Vec::new();
    let mut open = Chunk { places: Vec::new(), text: String::new() };
    for (place, said) in of_side() {
        let text = beginning(said.text, MOST_OF_A_CHUNK);
        if said.text.len() >= alone {
            chunks.push(Chunk { places: vec![place], text: text.to_owned() });
            continue;
        }
        open.places.push(place);
        if open.text.len() < MOST_OF_A_CHUNK {
            open.text.push_str(text);
            open.text.push('\n');
        }
        if open.text.len() >= most {
            chunks.push(std::mem::replace(&mut open, Chunk { places: Vec::new(), text: String::new() }));
        }
    }
    if !open.places.is_empty() {
        chunks.push(open);
    }
    chunks
}

/// Returns the language of a text: by the statistics of its letters where they are reliable, else by its function words.
fn detect(text: &str) -> Option<&'static str> {
    let letters = text.chars().filter(|letter| letter.is_alphabetic()).count();
    if letters == 0 {
        return None;
    }
    let detected = DETECTOR.detect(text);
    let reliable =
        detected.as_ref().filter(|found| found.is_reliable() && (letters >= FEWEST_LETTERS || !is_alphabet_shared(found.lang())));
    let code = |found: &Info| LANGUAGES.iter().find(|(language, _)| *language == found.lang()).map(|(_, code)| *code);
    match reliable {
        Some(found) => code(found),
        None => by_function_words(text, detected.as_ref().and_then(code)),
    }
}

/// Returns whether a language is written in an alphabet that others are written in as well, so that few letters do not tell.
fn is_alphabet_shared(language: Lang) -> bool {
    !matches!(language, Lang::Cmn | Lang::Jpn | Lang::Kor | Lang::Tha | Lang::Ell | Lang::Heb | Lang::Tam | Lang::Ben)
}

/// Returns the language whose function words are in a text: at least three of them, a third of all words, and one and a half
/// times as many as of any other language; more than of any other will do when the statistics of letters, unreliable as they
/// are, say the same.
fn by_function_words(text: &str, by_letters: Option<&str>) -> Option<&'static str> {
    let mut counts = [0_usize; BY_FUNCTION_WORDS.len()];
    let mut all = 0;
    for word in in_words(&text.to_lowercase()) {
        all += 1;
        for (count, (_, list)) in counts.iter_mut().zip(FUNCTION_WORDS.iter()) {
            *count += usize::from(list.contains(word));
        }
    }
    let best = (0..counts.len()).max_by_key(|&place| (counts[place], usize::MAX - place))?;
    let second = (0..counts.len()).filter(|&place| place != best).map(|place| counts[place]).max().unwrap_or(0);
    let leads = if by_letters == Some(BY_FUNCTION_WORDS[best]) { counts[best] > second } else { counts[best] * 2 >= second * 3 };
    let tells = counts[best] >= FEWEST_FUNCTION_WORDS && counts[best] * 3 >= all && leads;
    tells.then(|| BY_FUNCTION_WORDS[best])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::{record, said_by};

    fn language(said: &[(Side, &str)], told: Option<&str>) -> Figure<String> {
        let said = said_by(said);
        Languages::of(&Record { language: told.map(str::to_owned), ..record() }, &said).figure
    }

    #[test]
    fn what_people_say_in_calls_is_told_apart() {
        let cases = [
            ("Hi, can I move my appointment to Thursday?", "en"),
            ("I need a refund for my last order", "en"),
            ("My internet is not working since yesterday and nobody helps me", "en"),
            ("Ich möchte meinen Termin verschieben", "de"),
            ("Quiero cancelar mi cita del jueves por favor, es que no puedo ir", "es"),
            ("Bonjour, je voudrais annuler mon rendez-vous avec le docteur", "fr"),
            ("Mi pedido no ha llegado todavía, quiero un reembolso", "es"),
            ("Olá, eu quero cancelar a minha consulta de amanhã porque não posso ir", "pt"),
            ("予約をキャンセルしたいです", "ja"),
            ("请帮我取消预约", "zh"),
        ];
        for (text, expected) in cases {
            assert_eq!(language(&[(Side::User, text)], None).value.as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_tells_nothing_is_not_guessed() {
        for text in ["job", "👍👍", "OK", "\0\u{1}", "12345 67", "two pizzas, one margherita"] {
            let figure = language(&[(Side::User, text)], None);
            assert_eq!((figure.value, figure.absent_because.is_some()), (None, true), "{text}");
        }
        assert_eq!(language(&[], None).absent_because.as_deref(), Some("nothing was said"));
    }

    #[test]
    fn the_provider_is_asked_where_what_was_said_does_not_tell() {
        let figure = language(&[(Side::User, "job")], Some("en-US"));
        assert_eq!((figure.value.as_deref(), figure.analyzer.as_str()), (Some("en-US"), "provider"));
        for no_language in ["multi", "und", "", "x", "🤷"] {
            assert_eq!(language(&[(Side::User, "job")], Some(no_language)).value, None, "{no_language}");
        }
        let overruled = language(&[(Side::User, "Ich möchte meinen Termin verschieben, weil ich krank bin")], Some("en"));
        assert_eq!(overruled.value.as_deref(), Some("de"));
    }

    #[test]
    fn of_several_languages_the_one_with_most_letters_is_the_conversations() {
        let said = said_by(&[
            (Side::Agent, "Hello, thank you for calling our office, how can I help you today with your order?"),
            (
                Side::User,
                "Hola, quiero saber cuando llega mi pedido porque todavia no lo he recibido y ya han pasado dos semanas",
            ),
            (
                Side::User,
                "Es para un regalo de cumpleaños de mi hija y lo necesito antes del viernes por la tarde, si es posible",
            ),
        ]);
        let languages = Languages::of(&record(), &said);
        assert_eq!(languages.figure.value.as_deref(), Some("es"));
        assert_eq!(languages.figure.turns, [1, 2]);
        assert_eq!(languages.by_said, [Some("en".to_owned()), Some("es".to_owned()), Some("es".to_owned())]);
    }
}
