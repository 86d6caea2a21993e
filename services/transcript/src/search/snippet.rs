//! The part of a turn that is shown with a hit.

use std::ops::Range;

use super::query::{Query, Term};
use super::tokens::{Token, tokens};

/// No snippet has more characters.
pub const MAX_CHARS: usize = 240;
/// Up to this much of it comes before what was found.
const LEAD_CHARS: usize = 60;

/// A part of what was said, and what was found in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snippet {
    /// The part, cut where words begin and end; on one line.
    pub text: String,
    /// Which characters of it were found; in order, apart from each other.
    pub highlights: Vec<Range<usize>>,
}

/// One place where a term stands, in characters.
struct Place {
    term: usize,
    span: Range<usize>,
}

/// Returns the part of `text` that shows most of what was asked for.
pub fn snippet(text: &str, query: &Query) -> Snippet {
    let letters = text.chars().count();
    let places = places(text, query);
    let window = if letters <= MAX_CHARS { 0..letters } else { best(text, letters, &places) };
    // One character for one, so that places stay where they are.
    let shown = text.chars().skip(window.start).take(window.len());
    let text = shown.map(|letter| if letter.is_control() || letter.is_whitespace() { ' ' } else { letter }).collect();
    Snippet { text, highlights: highlights(&places, &window) }
}

/// Returns where each term stands, in order.
fn places(text: &str, query: &Query) -> Vec<Place> {
    let tokens = tokens(text);
    let mut places: Vec<Place> = Vec::new();
    for (number, term) in query.wanted.iter().enumerate() {
        let found = tokens.windows(term.tokens.len()).filter(|window| stands(term, window));
        places.extend(found.filter_map(|window| {
            let (first, last) = (window.first()?, window.last()?);
            Some(Place { term: number, span: first.span.start..last.span.end })
        }));
    }
    places.sort_by_key(|place| (place.span.start, place.span.end));
    to_characters(text, &mut places);
    places
}

fn stands(term: &Term, window: &[Token<'_>]) -> bool {
    let Some((last, before)) = term.tokens.split_last() else { return false };
    let Some((last_here, before_here)) = window.split_last() else { return false };
    let ends = if term.is_prefix { last_here.text.starts_with(last.as_str()) } else { last_here.text == last.as_str() };
    ends && before.iter().zip(before_here).all(|(wanted, here)| here.text == wanted.as_str())
}

/// Makes spans in bytes, in order of their starts, spans in characters.
fn to_characters(text: &str, places: &mut [Place]) {
    let (mut bytes, mut characters) = (0, 0);
    for place in places {
        characters += text[bytes..place.span.start].chars().count();
        bytes = place.span.start;
        let length = text[place.span.clone()].chars().count();
        place.span = characters..characters + length;
    }
}

/// Returns the window with the most different terms in it; of several, the first.
fn best(text: &str, letters: usize, places: &[Place]) -> Range<usize> {
    let mut most = 0;
    let mut chosen = 0;
    for (number, place) in places.iter().enumerate() {
        let begins = place.span.start.saturating_sub(LEAD_CHARS);
        let within = places[number..].iter().take_while(|other| other.span.start < begins + MAX_CHARS);
        let mut seen = 0_u32;
        for other in within.filter(|other| other.span.end <= begins + MAX_CHARS) {
            seen |= 1 << other.term.min(31);
        }
        if seen.count_ones() > most {
            (most, chosen) = (seen.count_ones(), number);
        }
    }
    let first = places.get(chosen).map_or(0, |place| place.span.start);
    let start = first.saturating_sub(LEAD_CHARS).min(letters - MAX_CHARS);
    let letters: Vec<char> = text.chars().skip(start.saturating_sub(1)).take(MAX_CHARS + 2).collect();
    cut(&letters, start, first)
}

/// Moves a window to where words begin and end. `letters` are those within it, with one more before (if there is one) and behind.
fn cut(letters: &[char], start: usize, first: usize) -> Range<usize> {
    let before = usize::from(start > 0);
    let offset = start - before;
    let is_space = |at: usize| letters.get(at - offset).is_none_or(|letter| letter.is_whitespace());
    let mut from = start;
    if start > 0 {
        // At most to what was found; where there are no spaces, it is cut anywhere.
        from = (start..=first).find(|at| is_space(at - 1)).unwrap_or(start);
    }
    let end = (start + MAX_CHARS).min(offset + letters.len());
    let mut to = end;
    if !is_space(end) {
        to = (first + 1..end).rev().find(|at| is_space(*at)).unwrap_or(end);
    }
    from..to
}

/// Returns the places within the window, from its beginning on; what overlaps is one.
fn highlights(places: &[Place], window: &Range<usize>) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for place in places.iter().filter(|place| place.span.start >= window.start && place.span.start < window.end) {
        let span = place.span.start - window.start..place.span.end.min(window.end) - window.start;
        match joined.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str, query: &str) -> (String, Vec<String>) {
        let snippet = snippet(text, &query.parse().unwrap());
        let part = |span: &Range<usize>| snippet.text.chars().skip(span.start).take(span.len()).collect();
        (snippet.text.clone(), snippet.highlights.iter().map(part).collect())
    }

    #[test]
    fn a_short_turn_is_shown_whole_with_what_was_found() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("I want my money back, MONEY!", "money", &["money", "MONEY"]),
            ("¿Dónde está el Niño?", "nino esta", &["está", "Niño"]),
            ("Die Straße und die strassen", "strasse*", &["Straße", "strassen"]),
            ("money back back", "\"money back\" back -voucher", &["money back", "back"]),
            ("我要退款，谢谢", "退款", &["退款"]),
            ("e\u{301}tait l'e\u{301}te\u{301}", "ete", &["e\u{301}te\u{301}"]),
            ("👍 great 👍 great", "great", &["great", "great"]),
            ("nothing", "else", &[]),
        ];
        for (text, query, found) in cases {
            assert_eq!(of(text, query), ((*text).to_owned(), found.iter().map(|&found| found.to_owned()).collect()), "{text}");
        }
        assert_eq!(of("line\none\ttwo", "one").0, "line one two");
    }

    #[test]
    fn of_a_long_turn_the_part_with_most_of_it_is_shown() {
        let filler = "lorem ipsum dolor ".repeat(40);
        let text = format!("refund {filler} please give me a refund for the broken phone {filler}");
        let (shown, found) = of(&text, "refund phone");
        assert!(shown.chars().count() <= MAX_CHARS && shown.contains("a refund for the broken phone"), "{shown}");
        assert_eq!(found, ["refund", "phone"]);
        assert!(shown.split(' ').all(|word| text.split(' ').any(|whole| whole == word)), "cut within a word: {shown}");
    }

    #[test]
    fn what_has_no_spaces_is_cut_anywhere() {
        let text = format!("{}退款{}", "我".repeat(500), "我".repeat(500));
        let (shown, found) = of(&text, "退款");
        assert_eq!((shown.chars().count(), found), (MAX_CHARS, vec!["退款".to_owned()]));
        assert_eq!(of(&"a".repeat(2_000), &"a".repeat(400)).0.chars().count(), MAX_CHARS);
    }

    proptest! {
        #[test]
        fn highlights_are_within_the_snippet_in_order_and_apart(
            text in "([a-c]{1,3}[ \n]|é |退|👍|b́ ){0,200}", query in "[ab]{1,2}\\*?( [abc]{1,2})?"
        ) {
            let Ok(query) = query.parse() else { return Ok(()) };
            let snippet = snippet(&text, &query);
            let letters = snippet.text.chars().count();
            prop_assert!(letters <= MAX_CHARS);
            let mut reached = 0;
            for span in &snippet.highlights {
                prop_assert!(span.start >= reached && span.start < span.end && span.end <= letters, "{:?}", snippet);
                reached = span.end;
            }
        }
    }
}
