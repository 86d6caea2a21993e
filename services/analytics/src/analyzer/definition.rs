//! What an organization wants to know of its conversations: fields to extract and questions to score.

use colloquy_service::FieldErrors;
use colloquy_types::{OrganizationId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const LONGEST_NAME: usize = 200;
const LONGEST_FIELD_NAME: usize = 64;
const LONGEST_PROSE: usize = 2_000;
const LONGEST_CHOICE: usize = 200;
const MOST_FIELDS: usize = 50;
const MOST_QUESTIONS: usize = 50;
const MOST_CHOICES: usize = 50;
const FEWEST_CHOICES: usize = 2;
const MOST_EXAMPLES: usize = 20;
const MOST_AGENTS: usize = 50;
const LONGEST_AGENT_ID: usize = 128;
const GREATEST_WEIGHT: f64 = 1_000.0;

/// What the score of a scorecard is called among the values of a conversation.
pub const SCORE: &str = "score";

/// An analyzer, as it is now or as one of its versions was.
#[derive(Clone, PartialEq, Debug)]
pub struct Analyzer {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its id.
    pub analyzer_id: Uuid,
    /// What people call it.
    pub name: String,
    /// Whose conversations; empty means all agents.
    pub agent_ids: Vec<String>,
    /// Whether every conversation is analysed once it has ended.
    pub enabled: bool,
    /// What is asked.
    pub definition: Definition,
    /// Counts what changed its answers, from 1.
    pub version: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts changes of any kind.
    pub revision: u32,
}

impl Analyzer {
    /// Returns whether conversations of this agent are its business.
    pub fn is_for(&self, agent_id: Option<&str>) -> bool {
        self.agent_ids.is_empty() || agent_id.is_some_and(|agent| self.agent_ids.iter().any(|one| one == agent))
    }
}

/// What is asked. A change of it makes a new version.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Definition {
    /// What to extract.
    pub fields: Vec<Field>,
    /// What to score.
    pub scorecard: Vec<Question>,
}

/// One value to extract.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Field {
    /// What it is called.
    pub name: String,
    /// What its values are.
    #[serde(flatten)]
    pub kind: Kind,
    /// What to look for.
    pub description: String,
}

/// What the values of a field are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    /// One of a few words.
    Enum {
        /// The words.
        choices: Vec<String>,
    },
    /// Any text.
    String {
        /// What such texts look like.
        examples: Vec<String>,
    },
    /// Yes or no.
    Boolean,
    /// A number.
    Number,
    /// A day.
    Date,
    /// Several short texts; of what is built in only.
    Words,
}

impl Kind {
    /// Returns its name in the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Enum { .. } => "enum",
            Self::String { .. } => "string",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::Date => "date",
            Self::Words => "words",
        }
    }
}

/// One question of a scorecard.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// What it is called.
    pub name: String,
    /// What is asked.
    pub question: String,
    /// How much it counts.
    pub weight: f64,
}

/// A field as it was given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GivenField {
    /// What it is called.
    pub name: String,
    /// The type's name.
    pub kind: String,
    /// What to look for.
    pub description: String,
    /// The words of an `enum`.
    pub choices: Vec<String>,
    /// What a `string` looks like.
    pub examples: Vec<String>,
}

/// What a caller wants of an analyzer; what is `None` stays as it is, or gets its default.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Given {
    /// What people call it.
    pub name: Option<String>,
    /// Whose conversations.
    pub agent_ids: Option<Vec<String>>,
    /// What to extract.
    pub fields: Option<Vec<GivenField>>,
    /// What to score.
    pub scorecard: Option<Vec<Question>>,
    /// Whether every conversation is analysed.
    pub enabled: Option<bool>,
}

/// A [`Given`] in which nothing is wrong.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Wanted {
    name: Option<String>,
    agent_ids: Option<Vec<String>>,
    fields: Option<Vec<Field>>,
    scorecard: Option<Vec<Question>>,
    enabled: Option<bool>,
}

impl Given {
    /// Returns what is wanted, and notes everything that is wrong with it.
    pub fn check(self, errors: &mut FieldErrors) -> Wanted {
        if let Some(name) = &self.name {
            check_text(errors, "analyzer.name", name, 1, LONGEST_NAME);
        }
        if let Some(agents) = &self.agent_ids {
            check_agents(errors, agents);
        }
        let fields = self.fields.map(|fields| check_fields(errors, fields));
        if let Some(questions) = &self.scorecard {
            check_questions(errors, questions);
        }
        Wanted { name: self.name, agent_ids: self.agent_ids, fields, scorecard: self.scorecard, enabled: self.enabled }
    }
}

impl Wanted {
    /// Brings what is wanted into an analyzer. Returns whether what it asks has changed. What can only be told of the whole is
    /// checked here.
    pub fn apply(self, analyzer: &mut Analyzer, errors: &mut FieldErrors) -> bool {
        let before = analyzer.definition.clone();
        if let Some(name) = self.name {
            analyzer.name = name;
        }
        if let Some(agents) = self.agent_ids {
            analyzer.agent_ids = agents;
        }
        if let Some(fields) = self.fields {
            analyzer.definition.fields = fields;
        }
        if let Some(scorecard) = self.scorecard {
            analyzer.definition.scorecard = scorecard;
        }
        if let Some(enabled) = self.enabled {
            analyzer.enabled = enabled;
        }
        check_whole(errors, &analyzer.definition);
        before != analyzer.definition
    }
}

fn check_text(errors: &mut FieldErrors, path: &str, text: &str, min: usize, max: usize) {
    let len = text.chars().count();
    if len < min || len > max || (min > 0 && text.trim().is_empty()) {
        let allowed =
            if min > 0 { format!("must be {min} to {max} characters") } else { format!("must be at most {max} characters") };
        errors.add(path, allowed);
    } else if text.contains('\0') {
        errors.add(path, "must not contain the character NUL");
    }
}

fn check_agents(errors: &mut FieldErrors, agents: &[String]) {
    if agents.len() > MOST_AGENTS {
        errors.add("analyzer.agent_ids", format!("must be at most {MOST_AGENTS} agents"));
        return;
    }
    for (index, agent) in agents.iter().enumerate() {
        check_text(errors, &format!("analyzer.agent_ids[{index}]"), agent, 1, LONGEST_AGENT_ID);
    }
}

fn check_name(errors: &mut FieldErrors, path: &str, name: &str) {
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty() || name.len() > LONGEST_FIELD_NAME || !name.chars().all(is_good) {
        errors.add(path, format!("must be 1 to {LONGEST_FIELD_NAME} letters (a-z, A-Z), digits and '_'"));
    }
}

fn check_fields(errors: &mut FieldErrors, fields: Vec<GivenField>) -> Vec<Field> {
    if fields.len() > MOST_FIELDS {
        errors.add("analyzer.fields", format!("must be at most {MOST_FIELDS} fields"));
        return Vec::new();
    }
    let mut checked = Vec::with_capacity(fields.len());
    for (index, given) in fields.into_iter().enumerate() {
        let path = |part: &str| format!("analyzer.fields[{index}].{part}");
        check_name(errors, &path("name"), &given.name);
        check_text(errors, &path("description"), &given.description, 0, LONGEST_PROSE);
        check_list(errors, &path("choices"), &given.choices, MOST_CHOICES);
        check_list(errors, &path("examples"), &given.examples, MOST_EXAMPLES);
        if given.kind != "enum" && !given.choices.is_empty() {
            errors.add(path("choices"), "are for the type 'enum' only");
        }
        if given.kind != "string" && !given.examples.is_empty() {
            errors.add(path("examples"), "are for the type 'string' only");
        }
        let kind = match given.kind.as_str() {
            "enum" => {
                if given.choices.len() < FEWEST_CHOICES {
                    errors.add(path("choices"), format!("must be {FEWEST_CHOICES} to {MOST_CHOICES} for the type 'enum'"));
                }
                Kind::Enum { choices: given.choices }
            }
            "string" => Kind::String { examples: given.examples },
            "boolean" => Kind::Boolean,
            "number" => Kind::Number,
            "date" => Kind::Date,
            _ => {
                errors.add(path("type"), "must be enum, string, boolean, number or date");
                continue;
            }
        };
        checked.push(Field { name: given.name, kind, description: given.description });
    }
    checked
}

fn check_list(errors: &mut FieldErrors, path: &str, texts: &[String], most: usize) {
    if texts.len() > most {
        errors.add(path, format!("must be at most {most}"));
        return;
    }
    for (index, text) in texts.iter().enumerate() {
        check_text(errors, &format!("{path}[{index}]"), text, 1, LONGEST_CHOICE);
        if texts[..index].contains(text) {
            errors.add(format!("{path}[{index}]"), "is there twice");
        }
    }
}

fn check_questions(errors: &mut FieldErrors, questions: &[Question]) {
    if questions.len() > MOST_QUESTIONS {
        errors.add("analyzer.scorecard", format!("must be at most {MOST_QUESTIONS} questions"));
        return;
    }
    for (index, question) in questions.iter().enumerate() {
        let path = |part: &str| format!("analyzer.scorecard[{index}].{part}");
        check_name(errors, &path("name"), &question.name);
        check_text(errors, &path("question"), &question.question, 1, LONGEST_PROSE);
        if !(question.weight > 0.0 && question.weight <= GREATEST_WEIGHT) {
            errors.add(path("weight"), format!("must be more than 0 and at most {GREATEST_WEIGHT}"));
        }
    }
}

/// Names are of the whole: fields and questions stand side by side among the values of a conversation.
fn check_whole(errors: &mut FieldErrors, definition: &Definition) {
    let Definition { fields, scorecard } = definition;
    let fields = fields.iter().enumerate().map(|(index, field)| (format!("analyzer.fields[{index}].name"), &field.name));
    let questions =
        scorecard.iter().enumerate().map(|(index, question)| (format!("analyzer.scorecard[{index}].name"), &question.name));
    let mut seen: Vec<&String> = Vec::new();
    for (path, name) in fields.chain(questions) {
        if seen.contains(&name) {
            errors.add(path, "is the name of another field or question already");
        } else if !scorecard.is_empty() && name == SCORE {
            errors.add(path, "is what the result of the scorecard is called");
        }
        seen.push(name);
    }
    if errors.is_empty() && definition.fields.is_empty() && definition.scorecard.is_empty() {
        errors.add("analyzer.fields", "must be at least one field, or the scorecard at least one question");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyzer::samples;

    fn wrong(given: Given) -> Vec<String> {
        let mut errors = FieldErrors::new();
        let wanted = given.check(&mut errors);
        wanted.apply(&mut samples::analyzer("acme", 1), &mut errors);
        let problem = errors.finish().err();
        problem.map(|problem| problem.fields.into_iter().map(|bad| bad.field).collect()).unwrap_or_default()
    }

    fn field(name: &str, kind: &str) -> GivenField {
        GivenField { name: name.to_owned(), kind: kind.to_owned(), ..GivenField::default() }
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let fields = vec![
            field("with space", "boolean"),
            field("a", "color"),
            field("b", "enum"),
            GivenField { choices: vec!["x".to_owned(), "x".to_owned()], ..field("c", "enum") },
            GivenField { choices: vec!["x".to_owned(), "y".to_owned()], ..field("d", "number") },
            GivenField { description: "d".repeat(2_001), ..field("e", "date") },
            GivenField { examples: vec![String::new()], ..field("f", "string") },
        ];
        let question = |name: &str, weight: f64| Question { name: name.to_owned(), question: "q".to_owned(), weight };
        let scorecard = vec![question("", 1.0), question("g", 0.0), question("h", f64::NAN), question("i", 1_000.5)];
        let given = Given {
            name: Some(" ".to_owned()),
            agent_ids: Some(vec![String::new()]),
            fields: Some(fields),
            scorecard: Some(scorecard),
            enabled: None,
        };
        let expected = [
            "analyzer.name",
            "analyzer.agent_ids[0]",
            "analyzer.fields[0].name",
            "analyzer.fields[1].type",
            "analyzer.fields[2].choices",
            "analyzer.fields[3].choices[1]",
            "analyzer.fields[4].choices",
            "analyzer.fields[5].description",
            "analyzer.fields[6].examples[0]",
            "analyzer.scorecard[0].name",
            "analyzer.scorecard[1].weight",
            "analyzer.scorecard[2].weight",
            "analyzer.scorecard[3].weight",
        ];
        assert_eq!(wrong(given), expected);
    }

    #[test]
    fn names_are_of_fields_and_questions_together() {
        let question = |name: &str| Question { name: name.to_owned(), question: "q".to_owned(), weight: 1.0 };
        let given = Given {
            fields: Some(vec![field("a", "boolean"), field("a", "date"), field(SCORE, "number")]),
            scorecard: Some(vec![question("a")]),
            ..Given::default()
        };
        assert_eq!(wrong(given), ["analyzer.fields[1].name", "analyzer.fields[2].name", "analyzer.scorecard[0].name"]);
        let nothing = Given { fields: Some(Vec::new()), scorecard: Some(Vec::new()), ..Given::default() };
        assert_eq!(wrong(nothing), ["analyzer.fields"]);
    }

    #[test]
    fn what_is_asked_makes_a_version_and_nothing_else_does() {
        let change = |given: Given| {
            let mut errors = FieldErrors::new();
            let changed = given.check(&mut errors).apply(&mut samples::analyzer("acme", 1), &mut errors);
            errors.finish().unwrap();
            changed
        };
        assert!(!change(Given {
            name: Some("other".to_owned()),
            agent_ids: Some(vec!["agent".to_owned()]),
            enabled: Some(false),
            ..Given::default()
        }));
        assert!(change(Given { fields: Some(vec![field("a", "boolean")]), ..Given::default() }));
        assert!(change(Given { scorecard: Some(Vec::new()), ..Given::default() }));
    }

    #[test]
    fn a_definition_is_kept_as_it_is() {
        let definition = samples::definition();
        let kept = serde_json::to_string(&definition).unwrap();
        assert_eq!(serde_json::from_str::<Definition>(&kept).unwrap(), definition);
    }
}
