//! What is asked for: the search language.
//!
//! Terms stand apart by spaces: a word, `"a phrase"`, `prefix*`, and any of them with `-` before it, which excludes. All that are
//! not excluded must be within one turn, in any order; none that is excluded may be.
//!
//! A term becomes [`tokens`] as what is indexed did. More than one, as in `e-mail` or `退款`, are looked for one right after the
//! other. What gives no token, such as a lone `&`, is passed over. Nothing of the text ever reaches an engine: its own query is
//! written from tokens, which are letters and digits.

use std::fmt;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

use super::tokens::{is_alone, tokens};

/// No query is longer.
pub const MAX_CHARS: usize = 500;
/// No query has more terms.
pub const MAX_TERMS: usize = 20;
/// A prefix has at least this many letters, those of a phrase in its last word, unless its script is written without spaces and each
/// letter is a token: a single one would mean every other word. A syllable of Hangul is several letters.
pub const MIN_PREFIX_CHARS: usize = 2;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Query {
    /// All of these; at least one.
    pub wanted: Vec<Term>,
    /// None of these.
    pub excluded: Vec<Term>,
}

/// Tokens that stand one right after the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Term {
    /// At least one.
    pub tokens: Vec<String>,
    /// Whether the last one need only be how a word begins.
    pub is_prefix: bool,
}

/// Why a query cannot be understood. It repeats nothing of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct BadQuery {
    /// Which character, from 1; `None` when it is the whole.
    pub column: Option<usize>,
    reason: Reason,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    Length,
    NoTerm,
    OnlyExcluded,
    TooManyTerms,
    OpenPhrase,
    ShortPrefix,
    Star,
}

impl fmt::Display for BadQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(column) = self.column {
            write!(f, "column {column}: ")?;
        }
        match self.reason {
            Reason::Length => write!(f, "must be 1 to {MAX_CHARS} characters"),
            Reason::NoTerm => f.write_str("must hold a word: letters or digits, not symbols alone"),
            Reason::OnlyExcluded => f.write_str("must hold a word that is not excluded by '-'"),
            Reason::TooManyTerms => write!(f, "must hold at most {MAX_TERMS} words and phrases"),
            Reason::OpenPhrase => f.write_str("the phrase that begins here has no closing quotation mark"),
            Reason::ShortPrefix => write!(f, "a prefix must have at least {MIN_PREFIX_CHARS} letters before its '*'"),
            Reason::Star => f.write_str("'*' may only end a word or follow the closing quotation mark of a phrase"),
        }
    }
}

impl std::str::FromStr for Query {
    type Err = BadQuery;

    fn from_str(text: &str) -> Result<Self, BadQuery> {
        let length = text.chars().take(MAX_CHARS + 1).count();
        if length > MAX_CHARS || text.trim().is_empty() {
            return Err(BadQuery { column: None, reason: Reason::Length });
        }
        let letters: Vec<char> = text.chars().collect();
        let mut query = Self { wanted: Vec::new(), excluded: Vec::new() };
        let mut at = 0;
        while let Some(written) = next(&letters, &mut at)? {
            let Some(term) = written.term()? else { continue };
            let terms = if written.is_excluded { &mut query.excluded } else { &mut query.wanted };
            if !terms.contains(&term) {
                terms.push(term);
            }
            if query.wanted.len() + query.excluded.len() > MAX_TERMS {
                return Err(written.bad(Reason::TooManyTerms));
            }
        }
        match (query.wanted.is_empty(), query.excluded.is_empty()) {
            (false, _) => Ok(query),
            (true, true) => Err(BadQuery { column: None, reason: Reason::NoTerm }),
            (true, false) => Err(BadQuery { column: None, reason: Reason::OnlyExcluded }),
        }
    }
}

/// A term as it is written.
struct Written {
    /// Which character it begins at, from 0.
    at: usize,
    text: String,
    is_excluded: bool,
    is_prefix: bool,
}

impl Written {
    const fn bad(&self, reason: Reason) -> BadQuery {
        BadQuery { column: Some(self.at + 1), reason }
    }

    /// Returns the term; `None` when there is nothing to look for in it.
    fn term(&self) -> Result<Option<Term>, BadQuery> {
        let tokens: Vec<String> = tokens(&self.text).into_iter().map(|token| token.text.into_owned()).collect();
        let Some(last) = tokens.last() else {
            return if self.is_prefix { Err(self.bad(Reason::ShortPrefix)) } else { Ok(None) };
        };
        if self.is_prefix && last.nfd().count() < MIN_PREFIX_CHARS && !is_alone(last) {
            return Err(self.bad(Reason::ShortPrefix));
        }
        Ok(Some(Term { tokens, is_prefix: self.is_prefix }))
    }
}

const fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '“' | '”' | '„' | '‟' | '＂')
}

/// Reads the next term.
fn next(letters: &[char], at: &mut usize) -> Result<Option<Written>, BadQuery> {
    while letters.get(*at).is_some_and(|letter| letter.is_whitespace()) {
        *at += 1;
    }
    let begin = *at;
    let bad = |column: usize, reason| BadQuery { column: Some(column + 1), reason };
    let Some(first) = letters.get(begin) else { return Ok(None) };
    let is_excluded = *first == '-';
    let from = begin + usize::from(is_excluded);
    if letters.get(from).copied().is_some_and(is_quote) {
        let length = letters[from + 1..].iter().position(|letter| is_quote(*letter));
        let end = from + 1 + length.ok_or_else(|| bad(from, Reason::OpenPhrase))?;
        let is_prefix = letters.get(end + 1) == Some(&'*');
        // Whoever writes `"cancel my sub*"` means `"cancel my sub"*`, and would find nothing.
        let ends_word = |place: &usize| letters[*place] == '*' && letters[place - 1].is_alphanumeric();
        if let Some(star) = (from + 1..end).find(ends_word) {
            return Err(bad(star, Reason::Star));
        }
        *at = end + 1 + usize::from(is_prefix);
        return Ok(Some(Written { at: begin, text: letters[from + 1..end].iter().collect(), is_excluded, is_prefix }));
    }
    let length = letters[from..].iter().position(|letter| letter.is_whitespace() || is_quote(*letter));
    let end = length.map_or(letters.len(), |length| from + length);
    *at = end;
    let word = &letters[from..end];
    let (word, is_prefix) = match word.split_last() {
        Some(('*', word)) => (word, true),
        _ => (word, false),
    };
    if let Some(star) = word.iter().position(|letter| *letter == '*') {
        return Err(bad(from + star, Reason::Star));
    }
    Ok(Some(Written { at: begin, text: word.iter().collect(), is_excluded, is_prefix }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(text: &str) -> String {
        match text.parse::<Query>() {
            Ok(query) => {
                let term = |term: &Term| format!("{}{}", term.tokens.join("+"), if term.is_prefix { "*" } else { "" });
                let wanted = query.wanted.iter().map(term);
                let excluded = query.excluded.iter().map(|excluded| format!("-{}", term(excluded)));
                wanted.chain(excluded).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn words_phrases_prefixes_and_exclusions_are_read() {
        let cases = [
            ("Refund please", "refund please"),
            ("  refund   REFUND ", "refund"),
            ("\"money back\" -voucher", "money+back -voucher"),
            ("-\"gift card\" refund", "refund -gift+card"),
            ("“money back” „Geld zurück“", "money+back geld+zuruck"),
            ("cancel* e-mail can't", "cancel* e+mail can+t"),
            ("\"money ba\"*", "money+ba*"),
            ("e-ma*", "e+ma*"),
            ("退款 款* 退* か* ก*", "退+款 款* 退* か* ก*"),
            ("бе* 환* हि*", "бе* 환* हि*"),
            ("rock & roll - 🎸", "rock roll"),
            ("foo\"bar baz\"qux", "foo bar+baz qux"),
            ("--twice once", "once -twice"),
            ("-", "must hold a word: letters or digits, not symbols alone"),
            ("x OR NOT y AND z NEAR(a b)", "x or not y and z near+a b"),
            ("col:value ^x {a} a<->b 'q':* !c | d", "col+value x a a+b d"),
        ];
        let (others, last) = cases.split_at(15);
        for (text, expected) in others {
            assert_eq!(show(text), *expected, "{text}");
        }
        // The star there is no end of a word of ours: `'q':*` is `q` with a `*` behind symbols, too short for a prefix.
        assert_eq!(show(last[0].0), "column 24: a prefix must have at least 2 letters before its '*'");
    }

    #[test]
    fn an_error_says_where_and_what_is_allowed() {
        let many = |count: usize| (0..count).map(|number| format!("w{number}")).collect::<Vec<_>>().join(" ");
        let cases = [
            ("", "must be 1 to 500 characters"),
            (" \t\n ", "must be 1 to 500 characters"),
            ("?! 👍", "must hold a word: letters or digits, not symbols alone"),
            ("\"\"", "must hold a word: letters or digits, not symbols alone"),
            ("-foo -\"bar baz\"", "must hold a word that is not excluded by '-'"),
            ("foo \"bar baz", "column 5: the phrase that begins here has no closing quotation mark"),
            ("foo -\"bar", "column 6: the phrase that begins here has no closing quotation mark"),
            ("foo b*r", "column 6: '*' may only end a word or follow the closing quotation mark of a phrase"),
            ("foo **", "column 5: '*' may only end a word or follow the closing quotation mark of a phrase"),
            ("foo *", "column 5: a prefix must have at least 2 letters before its '*'"),
            ("foo é*", "column 5: a prefix must have at least 2 letters before its '*'"),
            ("foo б*", "column 5: a prefix must have at least 2 letters before its '*'"),
            ("foo Α*", "column 5: a prefix must have at least 2 letters before its '*'"),
            ("ا*", "column 1: a prefix must have at least 2 letters before its '*'"),
            ("ह*", "column 1: a prefix must have at least 2 letters before its '*'"),
            ("e-m*", "column 1: a prefix must have at least 2 letters before its '*'"),
            ("-\"a b\"* foo", "column 1: a prefix must have at least 2 letters before its '*'"),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text), expected, "{text}");
        }
        assert_eq!(show(&many(21)), format!("column {}: must hold at most 20 words and phrases", many(20).len() + 2));
        assert!(many(20).parse::<Query>().is_ok());
        assert_eq!(show(&many(10_000)), "must be 1 to 500 characters");
        assert_eq!(show(&"é".repeat(501)), "must be 1 to 500 characters");
        assert!("é".repeat(500).parse::<Query>().is_ok());
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in any::<String>()) {
            if let Ok(query) = text.parse::<Query>() {
                prop_assert!(!query.wanted.is_empty());
                prop_assert!(query.wanted.len() + query.excluded.len() <= MAX_TERMS);
            }
        }

        #[test]
        fn whatever_is_made_of_its_signs_is_read_or_refused(text in "[-\"*“”a é退👍 ]{0,40}") {
            let _ = text.parse::<Query>();
        }
    }
}
