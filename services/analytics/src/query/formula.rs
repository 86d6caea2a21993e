//! Values computed of measures: `resolved_calls / calls * 100`.

/// A formula is at most this long, in characters.
pub(crate) const LONGEST: usize = 500;
/// Parentheses and signs stand in one another at most so deep.
const DEEPEST: usize = 50;

/// A formula, read.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Formula {
    /// A number.
    Number(f64),
    /// The value of a measure, by its place in the request.
    Measure(usize),
    /// The same with the other sign.
    Negated(Box<Formula>),
    /// Two values computed.
    Computed(Box<Formula>, char, Box<Formula>),
}

impl Formula {
    /// Reads a formula over the measures called `aliases`.
    ///
    /// # Errors
    /// What is wrong and at which character, for people.
    pub(crate) fn parse(text: &str, aliases: &[String]) -> Result<Self, String> {
        if text.chars().count() > LONGEST {
            return Err(format!("must be at most {LONGEST} characters"));
        }
        let mut reader = Reader { letters: text.chars().collect(), at: 0, depth: 0, aliases };
        let formula = reader.sum()?;
        match reader.peek() {
            None => Ok(formula),
            Some(letter) => Err(reader.wrong(&format!("'{letter}' does not belong here"))),
        }
    }

    /// Returns whether a measure is a part of it.
    pub(crate) fn uses(&self, measure: usize) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Measure(used) => *used == measure,
            Self::Negated(formula) => formula.uses(measure),
            Self::Computed(left, _, right) => left.uses(measure) || right.uses(measure),
        }
    }

    /// Returns the value, given those of the measures; none when one of them is absent, divided by zero, or not finite.
    pub(crate) fn value(&self, measures: &impl Fn(usize) -> Option<f64>) -> Option<f64> {
        let value = match self {
            Self::Number(number) => *number,
            Self::Measure(measure) => measures(*measure)?,
            Self::Negated(formula) => -formula.value(measures)?,
            Self::Computed(left, operator, right) => {
                let (left, right) = (left.value(measures)?, right.value(measures)?);
                match operator {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ if right == 0.0 => return None,
                    _ => left / right,
                }
            }
        };
        value.is_finite().then_some(value)
    }
}

struct Reader<'a> {
    letters: Vec<char>,
    at: usize,
    depth: usize,
    aliases: &'a [String],
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> String {
        format!("{what} (at character {})", self.at + 1)
    }

    fn peek(&mut self) -> Option<char> {
        while self.letters.get(self.at).is_some_and(|letter| letter.is_whitespace()) {
            self.at += 1;
        }
        self.letters.get(self.at).copied()
    }

    fn one_of(&mut self, allowed: [char; 2]) -> Option<char> {
        let letter = self.peek().filter(|letter| allowed.contains(letter))?;
        self.at += 1;
        Some(letter)
    }

    fn sum(&mut self) -> Result<Formula, String> {
        let mut left = self.product()?;
        while let Some(operator) = self.one_of(['+', '-']) {
            left = Formula::Computed(Box::new(left), operator, Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Formula, String> {
        let mut left = self.factor()?;
        while let Some(operator) = self.one_of(['*', '/']) {
            left = Formula::Computed(Box::new(left), operator, Box::new(self.factor()?));
        }
        Ok(left)
    }

    fn factor(&mut self) -> Result<Formula, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong("too deep"));
        }
        let formula = match self.peek() {
            Some('(') => {
                self.at += 1;
                let inner = self.sum()?;
                if self.one_of([')', ')']).is_none() {
                    return Err(self.wrong("')' is missing"));
                }
                inner
            }
            Some('-') => {
                self.at += 1;
                Formula::Negated(Box::new(self.factor()?))
            }
            Some(letter) if letter.is_ascii_digit() || letter == '.' => self.number()?,
            Some(letter) if is_of_alias(letter) => self.alias()?,
            Some(letter) => return Err(self.wrong(&format!("'{letter}' is neither an alias, a number nor '('"))),
            None => return Err(self.wrong("it ends too early")),
        };
        self.depth -= 1;
        Ok(formula)
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let rest = self.letters.get(self.at..).unwrap_or_default();
        let word: String = rest.iter().take_while(|letter| belongs(**letter)).collect();
        self.at += word.chars().count();
        word
    }

    fn number(&mut self) -> Result<Formula, String> {
        let word = self.word(|letter| letter.is_ascii_digit() || letter == '.');
        word.parse().map(Formula::Number).map_err(|_| self.wrong("not a number"))
    }

    fn alias(&mut self) -> Result<Formula, String> {
        let word = self.word(is_of_alias);
        let found = self.aliases.iter().position(|alias| *alias == word);
        found.map(Formula::Measure).ok_or_else(|| {
            let known: Vec<&str> = self.aliases.iter().map(String::as_str).collect();
            self.wrong(&format!("no measure is called '{word}'; there are {}", known.join(", ")))
        })
    }
}

/// Returns whether aliases may have the letter.
pub(crate) const fn is_of_alias(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<Option<f64>, String> {
        let aliases = ["calls", "good", "none", "zero"].map(str::to_owned);
        let formula = Formula::parse(text, &aliases)?;
        Ok(formula.value(&|measure| [Some(8.0), Some(6.0), None, Some(0.0)][measure]))
    }

    #[test]
    fn formulas_compute_as_at_school() {
        for (text, wanted) in [
            ("good / calls * 100", 75.0),
            ("2 + 3 * 4 - 1", 13.0),
            ("(2 + 3) * (4 - 1)", 15.0),
            ("10 - 4 - 3", 3.0),
            ("-good + -2 * -.5", -5.0),
            ("16/4/2", 2.0),
        ] {
            assert_eq!(value(text), Ok(Some(wanted)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_computed_has_no_value() {
        for text in ["calls / zero", "calls + none", "0 * none", "1 / (good - 6)"] {
            assert_eq!(value(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        assert_eq!(
            value("good + bad").unwrap_err(),
            "no measure is called 'bad'; there are calls, good, none, zero (at character 11)"
        );
        for text in [
            "",
            "1 +",
            "(1",
            "1)",
            "1 2",
            "good; drop table",
            "1..2",
            "2 ** 3",
            &"(".repeat(400),
            &"-".repeat(499),
            &"1".repeat(501),
        ] {
            assert!(value(text).is_err(), "{text}");
        }
    }
}
