//! The words that mattered in what the person said, by YAKE.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use yake_rust::{Config, StopWords};

use super::Figure;
use super::language::Languages;
use super::said::{Said, Side};
use super::stemming::Stems;
use super::words;

const ANALYZER: &str = "keywords/1";
const MOST_KEYWORDS: usize = 10;
/// Of what the person said, so many bytes are read: the work grows with every one.
const MOST_OF_ALL: usize = 20_000;
/// Nobody says longer words.
const LONGEST_WORD: usize = 40;

/// The languages with stop words, by ISO 639-1, and what YAKE calls them. Languages without spaces between words are not among
/// them.
const COVERED: [(&str, &str); 30] = [
    ("ar", "ar"),
    ("bg", "bg"),
    ("cs", "cz"),
    ("da", "da"),
    ("de", "de"),
    ("el", "el"),
    ("en", "en"),
    ("es", "es"),
    ("et", "et"),
    ("fa", "fa"),
    ("fi", "fi"),
    ("fr", "fr"),
    ("hi", "hi"),
    ("hr", "hr"),
    ("hu", "hu"),
    ("id", "id"),
    ("it", "it"),
    ("lt", "lt"),
    ("lv", "lv"),
    ("nl", "nl"),
    ("no", "no"),
    ("pl", "pl"),
    ("pt", "pt"),
    ("ro", "ro"),
    ("ru", "ru"),
    ("sk", "sk"),
    ("sl", "sl"),
    ("sv", "sv"),
    ("tr", "tr"),
    ("uk", "uk"),
];

/// What is said in every call, and so tells nothing of one: courtesies, days, numbers.
const EVERYDAY: [(&str, &str); 5] = [
    (
        "en",
        "hi hello hey bye goodbye please thanks thank great good fine nice perfect awesome yeah yep nope okay sure \
         morning afternoon evening today tomorrow yesterday monday tuesday wednesday thursday friday saturday \
         sunday january february march april june july august september october november december three four five \
         six seven eight nine ten eleven twelve half thirty fifteen twenty hour hours minute minutes day days week \
         weeks month months year years time want need like call calling name speaking thing things lot bit guess \
         mean hold wait moment sorry o'clock question know tell talk speak ask move change check able possible \
         give send put look show find start stop welcome correct right exactly absolutely alright",
    ),
    (
        "de",
        "hallo guten morgen tag abend tschüss bitte danke dankeschön gut super genau okay montag dienstag mittwoch \
         donnerstag freitag samstag sonntag heute gestern uhr wiederhören wiedersehen möchte brauche",
    ),
    (
        "es",
        "hola buenos buenas días tardes noches adiós gracias favor vale claro perfecto lunes martes miércoles \
         jueves viernes sábado domingo hoy mañana ayer quiero quisiera necesito",
    ),
    (
        "fr",
        "bonjour bonsoir salut merci revoir plaît oui non parfait lundi mardi mercredi jeudi vendredi samedi \
         dimanche aujourd'hui demain hier voudrais veux besoin",
    ),
    (
        "pt",
        "olá oi bom boa dia tarde noite tchau obrigado obrigada favor perfeito segunda terça quarta quinta sexta \
         sábado domingo hoje amanhã ontem quero gostaria preciso",
    ),
];

/// What people say right before their name, which is no keyword.
const BEFORE_NAMES: [&str; 7] = ["name is", "name ist", "me llamo", "m'appelle", "me chamo", "name's", "nombre es"];

static STOP_WORDS: LazyLock<BTreeMap<&str, StopWords>> = LazyLock::new(|| {
    let lists = COVERED.into_iter().filter_map(|(code, yakes)| {
        let mut list = StopWords::predefined(yakes)?;
        let everyday = EVERYDAY.iter().filter(|(language, _)| *language == code);
        list.extend(everyday.flat_map(|(_, words)| words.split_whitespace()).map(str::to_owned));
        Some((code, list))
    });
    lists.collect()
});

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config { ngrams: 2, remove_duplicates: false, ..Config::default() });

/// Returns the words, the most important first: at most ten, of one or two words, none of them a form or part of another.
pub(super) fn of(said: &[Said<'_>], languages: &Languages) -> Figure<Vec<String>> {
    let of_user = || said.iter().zip(&languages.by_said).filter(|(said, _)| said.side == Side::User);
    let Some(language) = most_spoken(of_user()) else {
        let reason = if of_user().next().is_none() { "the person said nothing" } else { "the language could not be told" };
        return Figure::absent(reason, ANALYZER);
    };
    let Some(stop_words) = STOP_WORDS.get(language) else {
        return Figure::absent(format!("there are no stop words for the language, which is {language}"), ANALYZER);
    };
    let mut text = String::new();
    let mut read = Vec::new();
    for (said, _) in of_user().filter(|(_, spoken)| spoken.as_deref() == Some(language)) {
        if text.len() >= MOST_OF_ALL {
            break;
        }
        add_sentences(said.text, &mut text);
        read.push(said);
    }
    let stems = Stems::of(language);
    let (keywords, parts) = distinct(&text, stop_words, &stems);
    if keywords.is_empty() {
        return Figure::absent("nothing that the person said stands out", ANALYZER);
    }
    let turns = read.iter().filter(|said| {
        let mut holds = false;
        words::each(said.text, |word| holds |= parts.contains(stems.stem(word).as_ref()));
        holds
    });
    Figure::of(keywords, ANALYZER, turns.map(|said| said.turn))
}

/// Returns the language in which most was said.
fn most_spoken<'s>(said: impl Iterator<Item = (&'s Said<'s>, &'s Option<String>)>) -> Option<&'s str> {
    let mut bytes: BTreeMap<&str, usize> = BTreeMap::new();
    for (said, language) in said {
        if let Some(language) = language {
            *bytes.entry(language).or_default() += said.text.len();
        }
    }
    bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(language, _)| language)
}

/// Returns the keywords of a text, and the stems of all their words.
fn distinct(text: &str, stop_words: &StopWords, stems: &Stems) -> (Vec<String>, HashSet<String>) {
    let mut found: Vec<(f64, String)> =
        yake_rust::get_n_best(usize::MAX, text, stop_words, &CONFIG).into_iter().map(|item| (item.score, item.keyword)).collect();
    // YAKE sums over hash maps, so that the last digits differ from run to run; the order of equals must not.
    let coarse = |score: f64| if score.is_finite() { (score * 1e9).round() } else { f64::MAX };
    found.sort_by(|a, b| coarse(a.0).total_cmp(&coarse(b.0)).then_with(|| a.1.cmp(&b.1)));
    let mut keywords = Vec::new();
    let mut parts = HashSet::new();
    for (_, keyword) in found {
        let mut of_keyword = HashSet::new();
        words::each(&keyword, |word| {
            of_keyword.insert(stems.stem(word).into_owned());
        });
        if of_keyword.is_empty() || of_keyword.iter().all(|stem| parts.contains(stem)) {
            continue;
        }
        parts.extend(of_keyword);
        keywords.push(keyword);
        if keywords.len() == MOST_KEYWORDS {
            break;
        }
    }
    (keywords, parts)
}

/// Adds the sentences of a turn in a form that is harmless to any tokenizer: words of letters, commas where phrases end, empty
/// lines between sentences. Addresses, numbers and the names by which people introduce themselves are left out.
fn add_sentences(turn: &str, text: &mut String) {
    let mut before = String::new();
    let mut is_name = false;
    for chunk in turn.split_whitespace() {
        if chunk.contains('@')
            || chunk.contains("://")
            || chunk.starts_with("www.")
            || chunk.contains(|letter: char| letter.is_numeric())
        {
            text.push_str(", ");
            continue;
        }
        for word in chunk.split(|letter: char| !is_of_word(letter)) {
            let word = word.trim_matches(|letter: char| !letter.is_alphabetic());
            let letters = word.chars().count();
            if letters == 0 || letters > LONGEST_WORD {
                continue;
            }
            is_name = is_name && word.starts_with(char::is_uppercase);
            if !is_name {
                text.extend(word.chars().map(|letter| if letter == '’' { '\'' } else { letter }));
                text.push(' ');
            }
            let lower = word.to_lowercase().replace('’', "'");
            let last_two = format!("{before} {lower}");
            is_name |= BEFORE_NAMES.iter().any(|before| *before == last_two.trim() || *before == lower);
            before = lower;
        }
        match chunk.chars().next_back() {
            Some('.' | '!' | '?' | '…' | '؟' | '।') => text.push_str("\n\n"),
            Some(',' | ';' | ':' | '،') => text.push_str(", "),
            _ => {}
        }
    }
    text.push_str("\n\n");
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphabetic() || matches!(letter, '\'' | '’' | '-') || unicode_normalization::char::is_combining_mark(letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::analysis::tests::{agent, analysed, user};

    fn keywords(text: &str) -> Vec<String> {
        analysed(vec![user(text)]).keywords.value.unwrap_or_default()
    }

    #[test]
    fn what_matters_is_found_and_courtesies_are_not() {
        let found = keywords(
            "Hello, I have a question about my broadband contract. The broadband router keeps losing the signal, please.",
        );
        assert!(found.iter().any(|word| word.contains("broadband")), "{found:?}");
        assert!(found.iter().all(|word| !word.contains("hello") && !word.contains("please")), "{found:?}");
    }

    #[test]
    fn forms_of_a_word_are_one_keyword() {
        let found = keywords("I have an appointment. My appointments are always on the wrong clinic floor.");
        assert_eq!(found.iter().filter(|word| word.contains("appointment")).count(), 1, "{found:?}");
    }

    #[test]
    fn addresses_numbers_and_names_are_no_keywords() {
        let found = keywords(
            "Hi, my name is Zoë Quist. My mail is zoe@quist.example and my number is 4711-42, about the insurance claim.",
        );
        assert!(found.iter().any(|word| word.contains("insurance")), "{found:?}");
        assert!(found.iter().all(|word| !word.contains("quist") && !word.contains("zoë") && !word.contains("47")), "{found:?}");
    }

    #[test]
    fn languages_without_spaces_or_stop_words_have_a_reason() {
        let absent = analysed(vec![user("予約をキャンセルしたいです")]).keywords.absent_because;
        assert_eq!(absent.as_deref(), Some("there are no stop words for the language, which is ja"));
        assert!(analysed(vec![agent("Hello, this is the clinic, how can I help you?")]).keywords.absent_because.is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_is_read_without_harm(text in "(\\PC|[ .,'’-]|and|the|is|I|a){0,60}") {
            keywords(&format!("I would like to know about the {text}"));
        }
    }
}
