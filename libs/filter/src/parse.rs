//! Reading the filter language of AIP-160.
//!
//! Two things are as the AIP has them and surprise all the same: `OR` binds tighter than `AND`, and what stands side by side is
//! joined by `AND`. Two things are left out: words without a field, since lists have `search` for them, and functions.

use crate::expression::{Expression, Field, Op, Value};
use crate::fields::{self, EXTRACTED, Spec, View, shown};
use crate::literal::{self, Literal};
use crate::{DEEPEST, MOST_CHARACTERS, MOST_TERMS};

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct SyntaxError {
    /// The character at which it goes wrong, from 1.
    pub column: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Reads a filter; an empty one holds for everything.
///
/// # Errors
/// Where and why it cannot be read.
pub fn parse(text: &str, view: View) -> Result<Expression, SyntaxError> {
    let letters: Vec<char> = text.chars().take(MOST_CHARACTERS + 1).collect();
    if letters.len() > MOST_CHARACTERS {
        let message = format!("a filter must be at most {MOST_CHARACTERS} characters");
        return Err(SyntaxError { column: MOST_CHARACTERS + 1, message });
    }
    let mut parser = Parser { letters, at: 0, view, depth: 0, terms: 0 };
    parser.skip_space();
    if parser.peek().is_none() {
        return Ok(Expression::All(Vec::new()));
    }
    let expression = parser.conjunction()?;
    match parser.peek() {
        None => Ok(expression),
        Some(')') => Err(parser.error("this parenthesis closes nothing")),
        Some(_) => Err(parser.error("a condition is expected here, for example status = \"failed\"")),
    }
}

struct Parser {
    letters: Vec<char>,
    at: usize,
    view: View,
    depth: usize,
    terms: usize,
}

/// What ends a word.
const fn ends_a_word(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '(' | ')' | '<' | '>' | '=' | '!' | ':' | ',' | '"' | '\'')
}

/// What ends a bare value: it may hold a time with its colons.
const fn ends_a_value(letter: char) -> bool {
    letter != ':' && ends_a_word(letter)
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        Self::error_at(self.at, message)
    }

    fn error_at(at: usize, message: impl Into<String>) -> SyntaxError {
        SyntaxError { column: at + 1, message: message.into() }
    }

    /// Returns whether the word `word` stands here, and what follows ends it.
    fn stands(&self, word: &str) -> bool {
        let mut at = self.at;
        for letter in word.chars() {
            if self.letters.get(at) != Some(&letter) {
                return false;
            }
            at += 1;
        }
        self.letters.get(at).is_none_or(|letter| letter.is_whitespace() || matches!(letter, '(' | ')'))
    }

    /// Goes past `word` and the space behind it, if it stands here.
    fn take(&mut self, word: &str) -> bool {
        let stands = self.stands(word);
        if stands {
            self.at += word.len();
            self.skip_space();
        }
        stands
    }

    /// Conditions joined by AND, or by nothing.
    fn conjunction(&mut self) -> Result<Expression, SyntaxError> {
        let mut parts = vec![self.disjunction()?];
        while self.peek().is_some_and(|next| next != ')') {
            self.take("AND");
            parts.push(self.disjunction()?);
        }
        Ok(joined(parts, Expression::All))
    }

    /// Conditions joined by OR.
    fn disjunction(&mut self) -> Result<Expression, SyntaxError> {
        let mut parts = vec![self.term()?];
        while self.take("OR") {
            parts.push(self.term()?);
        }
        Ok(joined(parts, Expression::Any))
    }

    fn term(&mut self) -> Result<Expression, SyntaxError> {
        let negated = if self.peek() == Some('-') {
            self.at += 1;
            true
        } else {
            self.take("NOT")
        };
        let simple = match self.peek() {
            Some('(') => self.parentheses()?,
            _ => self.restriction()?,
        };
        Ok(if negated { Expression::Not(Box::new(simple)) } else { simple })
    }

    fn parentheses(&mut self) -> Result<Expression, SyntaxError> {
        let opened = self.at;
        if self.depth == DEEPEST {
            return Err(self.error(format!("parentheses may stand in one another at most {DEEPEST} deep")));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(')') {
            return Err(self.error("a condition is missing between the parentheses"));
        }
        let inner = self.conjunction()?;
        if self.peek() != Some(')') {
            return Err(Self::error_at(opened, "this parenthesis is never closed"));
        }
        self.at += 1;
        self.depth -= 1;
        self.skip_space();
        Ok(inner)
    }

    fn restriction(&mut self) -> Result<Expression, SyntaxError> {
        let began = self.at;
        if self.terms == MOST_TERMS {
            return Err(self.error(format!("a filter may have at most {MOST_TERMS} conditions")));
        }
        self.terms += 1;
        let name = self.name()?;
        let named = self.at;
        self.skip_space();
        let Some(op) = self.operator()? else {
            return Err(match self.peek() {
                Some('(') if self.at == named && !name.is_empty() => Self::error_at(began, "there are no functions in filters"),
                _ => Self::error_at(began, without_operator(&name)),
            });
        };
        let (field, spec) = fields::find(&name, self.view).map_err(|message| Self::error_at(began, message))?;
        self.skip_space();
        let begins = self.at;
        let literal = self.literal(spec)?;
        self.skip_space();
        if literal.prefix && literal.text.is_empty() && matches!(op, Op::Has | Op::Eq) {
            return Ok(Expression::Present(field));
        }
        let (op, value) = literal::read(spec, op, literal).map_err(|message| Self::error_at(begins, message))?;
        Ok(compare(field, op, value))
    }

    fn word(&mut self, ends: impl Fn(char) -> bool) -> String {
        let from = self.at;
        while self.peek().is_some_and(|letter| !ends(letter)) {
            self.at += 1;
        }
        self.letters[from..self.at].iter().collect()
    }

    /// Reads the name of a field.
    fn name(&mut self) -> Result<String, SyntaxError> {
        match self.peek() {
            None => return Err(self.error("a condition is expected here, for example status = \"failed\"")),
            Some(quote @ ('"' | '\'')) => {
                let began = self.at;
                let literal = self.quoted(quote)?;
                return Err(Self::error_at(began, without_operator(&literal.text)));
            }
            Some(_) => {}
        }
        let mut name = self.word(ends_a_word);
        match self.peek() {
            _ if name.is_empty() => Err(self.error("the name of a field is expected here")),
            // A name that holds what would end it stands in quotes.
            Some(quote @ ('"' | '\'')) if name == EXTRACTED => {
                let began = self.at;
                let literal = self.quoted(quote)?;
                if literal.prefix {
                    return Err(Self::error_at(began, "a name has no * at its end"));
                }
                name.push_str(&literal.text);
                Ok(name)
            }
            _ => Ok(name),
        }
    }

    fn operator(&mut self) -> Result<Option<Op>, SyntaxError> {
        let next = self.letters.get(self.at + 1).copied();
        let (op, length) = match (self.peek(), next) {
            (Some('<'), Some('=')) => (Op::Lte, 2),
            (Some('>'), Some('=')) => (Op::Gte, 2),
            (Some('!'), Some('=')) => (Op::Ne, 2),
            (Some('='), Some('=')) => return Err(self.error("equality is written with one '='")),
            (Some('<'), Some('>')) => return Err(self.error("'different' is written '!='")),
            (Some('<'), _) => (Op::Lt, 1),
            (Some('>'), _) => (Op::Gt, 1),
            (Some('='), _) => (Op::Eq, 1),
            (Some(':'), _) => (Op::Has, 1),
            (Some('!'), _) => return Err(self.error("'different' is written '!=', 'not' is written NOT")),
            _ => return Ok(None),
        };
        self.at += length;
        Ok(Some(op))
    }

    fn literal(&mut self, spec: &Spec) -> Result<Literal, SyntaxError> {
        match self.peek() {
            None => Err(self.error(format!("a value for '{}' is missing", spec.name))),
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            Some('(') => Err(self.error("one value is expected here; write a condition for each and join them with OR")),
            Some(_) => {
                let began = self.at;
                let mut text = self.word(ends_a_value);
                if text.is_empty() {
                    return Err(self.error(format!("a value for '{}' is missing", spec.name)));
                }
                if self.peek().is_some_and(|next| !next.is_whitespace() && next != ')') {
                    return Err(self.error("a value with this character stands in quotes"));
                }
                if matches!(text.as_str(), "AND" | "OR" | "NOT") {
                    return Err(Self::error_at(began, format!("a value for '{}' is missing", spec.name)));
                }
                let prefix = text.ends_with('*');
                if prefix {
                    text.pop();
                }
                if let Some(star) = text.chars().position(|letter| letter == '*') {
                    return Err(Self::error_at(began + star, "* stands at the end of a value only"));
                }
                Ok(Literal { text, quoted: false, prefix })
            }
        }
    }

    /// Reads a text in quotes: `\` takes the meaning of what follows.
    fn quoted(&mut self, quote: char) -> Result<Literal, SyntaxError> {
        let opened = self.at;
        self.at += 1;
        let mut text = String::new();
        let mut star = None;
        loop {
            let here = self.at;
            let letter = self.peek().ok_or_else(|| Self::error_at(opened, "this quotation is never closed"))?;
            self.at += 1;
            if let (Some(at), true) = (star, letter != quote) {
                return Err(Self::error_at(at, "* stands at the end of a value only; write \\* for the character"));
            }
            match letter {
                letter if letter == quote => break,
                '*' => star = Some(here),
                '\\' => {
                    let escaped = self.peek().ok_or_else(|| Self::error_at(opened, "this quotation is never closed"))?;
                    text.push(match escaped {
                        '\\' | '"' | '\'' | '*' => escaped,
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        _ => return Err(Self::error_at(here, "after \\ stands one of \\ \" ' * n r t")),
                    });
                    self.at += 1;
                }
                letter => text.push(letter),
            }
        }
        Ok(Literal { text, quoted: true, prefix: star.is_some() })
    }
}

const fn compare(field: Field, op: Op, value: Value) -> Expression {
    Expression::Compare { field, op, value }
}

/// Joins conditions, taking apart those that are joined alike.
fn joined(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let is_all = matches!(join(Vec::new()), Expression::All(_));
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Expression::All(inner) if is_all => flat.extend(inner),
            Expression::Any(inner) if !is_all => flat.extend(inner),
            other => flat.push(other),
        }
    }
    join(flat)
}

fn without_operator(name: &str) -> String {
    match name {
        "and" | "or" | "not" | "And" | "Or" | "Not" => format!("{} is written in capitals", name.to_uppercase()),
        "AND" | "OR" | "NOT" => format!("a condition is missing beside {name}"),
        _ => format!(
            "'{}' stands alone: a condition is FIELD = VALUE; words of the transcript are found with search={0}",
            shown(name)
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Expression {
        parse(text, View::Analytics).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn is(field: &'static str, op: Op, value: &str) -> Expression {
        compare(Field::Known(field), op, Value::Text(value.to_owned()))
    }

    fn agent(value: &str) -> Expression {
        is("agent_id", Op::Eq, value)
    }

    #[test]
    fn or_binds_tighter_than_and_and_side_by_side_is_and() {
        let expected = || Expression::All(vec![agent("a"), Expression::Any(vec![agent("b"), agent("c")])]);
        for text in [
            "agent_id=a AND agent_id=b OR agent_id=c",
            "agent_id=a agent_id=b OR agent_id=c",
            "  agent_id = a AND(agent_id = 'b' OR agent_id = \"c\")",
        ] {
            assert_eq!(read(text), expected(), "{text}");
        }
        assert_eq!(read(""), Expression::All(Vec::new()));
        assert_eq!(read(" \t\n"), Expression::All(Vec::new()));
    }

    #[test]
    fn a_condition_is_negated_by_not_and_minus() {
        let expected = Expression::All(vec![Expression::Not(Box::new(agent("a"))), agent("b")]);
        assert_eq!(read("-agent_id=a agent_id=b"), expected);
        assert_eq!(read("NOT agent_id=a AND agent_id=b"), expected);
        assert_eq!(read("-(agent_id=a) agent_id=b"), expected);
    }

    #[test]
    fn values_are_read_by_the_kind_of_their_field() {
        let value = |text: &str| match read(text) {
            Expression::Compare { op, value, .. } => (op, value),
            other => panic!("{other:?}"),
        };
        let cases = [
            ("duration_seconds > 1.5", Op::Gt, Value::Number(1.5)),
            ("duration_seconds > 2m", Op::Gt, Value::Number(120.0)),
            ("silence_ms >= 20s", Op::Gte, Value::Integer(20_000)),
            ("turn_count = -3", Op::Eq, Value::Integer(-3)),
            ("turn_count < 3.5", Op::Lt, Value::Number(3.5)),
            ("sentiment_score < -0.5", Op::Lt, Value::Number(-0.5)),
            ("status:failed", Op::Eq, Value::Text("failed".to_owned())),
            ("tags:\"v\\\"i\\\\p\"", Op::Has, Value::Text("v\"i\\p".to_owned())),
            ("agent_id = \"sales*\"", Op::Eq, Value::Prefix("sales".to_owned())),
            ("agent_id != sales*", Op::Ne, Value::Prefix("sales".to_owned())),
            ("agent_id = \"sales\\*\"", Op::Eq, Value::Text("sales*".to_owned())),
            ("caller = \"+1 (202) 555-0123\"", Op::Eq, Value::Text("+12025550123".to_owned())),
            ("settled = true", Op::Eq, Value::Bool(true)),
            ("agent_id = true", Op::Eq, Value::Text("true".to_owned())),
            ("custom.plan = 5", Op::Eq, Value::Number(5.0)),
            ("custom.plan = \"5\"", Op::Eq, Value::Text("5".to_owned())),
            ("custom.paid:true", Op::Eq, Value::Bool(true)),
            ("custom.plan = gold", Op::Eq, Value::Text("gold".to_owned())),
        ];
        for (text, op, expected) in cases {
            assert_eq!(value(text), (op, expected), "{text}");
        }
        let expected = Value::Time("2026-03-02T15:00:00Z".parse().unwrap());
        for text in ["created_at >= 2026-03-02T16:00:00+01:00", "created_at >= \"2026-03-02T15:00:00Z\""] {
            assert_eq!(value(text), (Op::Gte, expected.clone()), "{text}");
        }
        for text in ["agent_id:*", "agent_id = *", "agent_id:\"*\""] {
            assert_eq!(read(text), Expression::Present(Field::Known("agent_id")), "{text}");
        }
        let custom = |name: &str| Expression::Present(Field::Custom(name.to_owned()));
        assert_eq!(read("custom.\"two words\":* custom.a.b:*"), Expression::All(vec![custom("two words"), custom("a.b")]));
    }

    #[test]
    fn errors_point_at_the_column_and_say_what_is_allowed() {
        let cases = [
            ("agent_id = ", 12, "missing"),
            ("agent_id = AND status = failed", 12, "missing"),
            ("status = \"gone\"", 10, "initiated"),
            ("status = failed AND mood = good", 21, "no field 'mood'"),
            ("status = failed and agent_id = a", 17, "capitals"),
            ("refund", 1, "search=refund"),
            ("status = failed \"a refund\"", 17, "search=a refund"),
            ("status = failed AND", 20, "expected"),
            ("status = failed OR", 19, "expected"),
            ("(status = failed", 1, "never closed"),
            ("status = failed)", 16, "closes nothing"),
            ("()", 2, "missing"),
            ("agent_id = \"abc", 12, "never closed"),
            ("agent_id = \"a*c\"", 14, "at the end"),
            ("agent_id = a*c", 13, "at the end"),
            ("agent_id = \"a\\qc\"", 14, "after \\"),
            ("agent_id == a", 10, "one '='"),
            ("agent_id <> a", 10, "'!='"),
            ("agent_id ! a", 10, "NOT"),
            ("agent_id = (a OR b)", 12, "OR"),
            ("regex(agent_id)", 1, "functions"),
            ("turn_count > many", 14, "number"),
            ("turn_count > nan", 14, "number"),
            ("turn_count > inf", 14, "number"),
            ("duration_seconds > 5y", 20, "90s"),
            ("created_at > 2026-03-02", 14, "RFC 3339"),
            ("status > failed", 10, "order"),
            ("status = fail*", 10, "leave out"),
            ("agent_id > a*", 12, "beginning"),
            ("settled = yes", 11, "true or false"),
            ("agent_id = a\0", 12, "NUL"),
            ("= 5", 1, "name of a field"),
            ("ä = 5", 1, "no field"),
            ("agent_id = ä status = x", 23, "initiated"),
            ("agent_id = a,b", 13, "quotes"),
            ("NOT", 4, "expected"),
            ("status = failed AND AND", 21, "missing beside"),
        ];
        for (text, column, part) in cases {
            let error = parse(text, View::Analytics).expect_err(text);
            assert!(error.column == column && error.message.contains(part), "{text}: {error}");
        }
        let error = parse("talk_ratio > 0.5", View::Conversations).unwrap_err();
        assert!(error.column == 1 && error.message.contains("analytics only"), "{error}");
    }

    #[test]
    fn bounds_hold() {
        let terms = |count: usize| vec!["turn_count > 1"; count].join(" OR ");
        assert!(parse(&terms(MOST_TERMS), View::Conversations).is_ok());
        let error = parse(&terms(MOST_TERMS + 1), View::Conversations).unwrap_err();
        assert_eq!(error.column, MOST_TERMS * "turn_count > 1 OR ".len() + 1);
        let nested = |depth: usize| format!("{}agent_id=a{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse(&nested(DEEPEST), View::Conversations).is_ok());
        assert_eq!(parse(&nested(DEEPEST + 1), View::Conversations).unwrap_err().column, DEEPEST + 1);
        assert_eq!(parse(&"(".repeat(8_000), View::Conversations).unwrap_err().column, DEEPEST + 1);
        assert_eq!(parse(&" ".repeat(MOST_CHARACTERS + 1), View::Conversations).unwrap_err().column, MOST_CHARACTERS + 1);
        let long = format!("agent_id = \"{}\"", "x".repeat(513));
        assert!(parse(&long, View::Conversations).unwrap_err().message.contains("512 bytes"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn nothing_makes_it_panic_and_columns_lie_within(text in "(agent_id|tags|custom\\.|created_at|[ =<>:!()\"'*\\\\,-]|AND|OR|NOT|[0-9sä\u{0}\u{1F600}]|.){0,40}") {
            if let Err(error) = parse(&text, View::Analytics) {
                prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
                prop_assert!(!error.message.is_empty());
            }
        }
    }
}
