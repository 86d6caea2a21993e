//! The person's mood, turn by turn and over the whole.
//!
//! A turn's score is VADER's compound score, from -1 to 1. The time from the first start of a turn to the last end is cut into quarters
//! of equal length; a turn of the person is of the quarter in which it begins ([`colloquy_figures::starts`]). Where no times are known, or all is one instant, the person's turns are cut into quarters by their number.
//!
//! A quarter's score is 5 × clamp(mean × (1 + 0.1 × (longest streak of turns of one sign − 1)), −1, 1), and there is none of a
//! quarter in which the person said nothing. The whole is the mean of the quarters, the shift is the last of them less the first. The
//! mood is positive from 0.05 of the whole, and negative from −0.05, on the scale from -1 to 1: VADER's own thresholds.

use std::sync::LazyLock;

use colloquy_events::{Sentiment, Turn};
use colloquy_figures::Times;
use vader_sentimental::SentimentIntensityAnalyzer;

use super::figure::rounded;
use super::language::Languages;
use super::said::{Said, Side};
use super::{Figure, Mood};

const ANALYZER: &str = "sentiment/2";
/// From here on a score is positive; from its opposite on, negative.
pub(super) const THRESHOLD: f64 = 0.05;
/// What is furthest from indifferent, on the scale of quarters.
const SCALE: f64 = 5.0;

static VADER: LazyLock<SentimentIntensityAnalyzer<'static>> = LazyLock::new(SentimentIntensityAnalyzer::new);

/// Returns the mood of the person in what they said in English. `turns` are all turns of the conversation.
pub(super) fn of(said: &[Said<'_>], languages: &Languages, turns: &[Turn]) -> Figure<Mood> {
    let of_user = said.iter().zip(&languages.by_said).filter(|(said, _)| said.side == Side::User);
    let english = of_user.clone().filter(|(_, language)| language.as_deref() == Some("en"));
    let by_turn: Vec<(u32, f64)> = english.map(|(said, _)| (said.turn, score(said.text))).collect();
    if by_turn.is_empty() {
        let language = of_user.clone().find_map(|(_, language)| language.as_deref());
        let reason = match language {
            _ if of_user.clone().next().is_none() => "the person said nothing".to_owned(),
            Some(language) => format!("VADER covers English; the language is {language}"),
            None => "VADER covers English; the language could not be told".to_owned(),
        };
        return Figure::absent(reason, ANALYZER);
    }
    let evidence: Vec<u32> = by_turn.iter().map(|(turn, _)| *turn).collect();
    let course = Course::of(turns);
    Figure::of(mood(by_turn, course.as_ref()), ANALYZER, evidence)
}

/// Returns the compound score of a text.
fn score(text: &str) -> f64 {
    // VADER knows contractions by the straight apostrophe.
    let mut text = if text.contains('’') { text.replace('’', "'").into() } else { std::borrow::Cow::Borrowed(text) };
    if has_opposed_idioms(&text) {
        text = text.to_lowercase().replace("yeah right", " ").replace("kiss of death", " ").into();
    }
    let scores = VADER.polarity_scores(&text);
    // Punctuation strengthens a mood. Where no word has one, the crate takes a question mark for a bad mood; VADER does not.
    if scores.pos == 0.0 && scores.neg == 0.0 {
        return 0.0;
    }
    rounded(scores.compound, 4)
}

/// Returns whether a text has idioms of both signs, of which the crate would pick either one by chance.
fn has_opposed_idioms(text: &str) -> bool {
    let has = |idiom: &[&str]| idiom.iter().any(|idiom| contains_ignoring_case(text, idiom));
    has(&["yeah right", "kiss of death"]) && has(&["the shit", "the bomb", "bad ass", "badass", "to die for"])
}

fn contains_ignoring_case(text: &str, idiom: &str) -> bool {
    text.as_bytes().windows(idiom.len()).any(|window| window.eq_ignore_ascii_case(idiom.as_bytes()))
}

/// When turns begin.
struct Course {
    /// Of each turn, by its place.
    starts: Vec<Option<i64>>,
    first: i64,
    /// Up to the last end, or to the last start where no later end is known; more than nothing.
    length: i64,
}

impl Course {
    /// Returns `None` where it is not known when turns begin, or all begin and end in one instant.
    fn of(turns: &[Turn]) -> Option<Self> {
        let starts = colloquy_figures::starts(turns);
        let first = starts.iter().flatten().copied().min()?;
        let ends = turns.iter().filter(|turn| turn.is_spoken()).filter_map(|turn| Times::of(turn).end);
        let last = starts.iter().flatten().copied().chain(ends).max()?;
        (last > first).then_some(Self { starts, first, length: last - first })
    }

    fn start(&self, turn: u32) -> i64 {
        self.starts.get(turn as usize).copied().flatten().unwrap_or(self.first)
    }

    /// Returns the quarter, from 0 to 3, in which something begins.
    fn quarter(&self, start: i64) -> usize {
        usize::try_from(4 * (start - self.first) / self.length).unwrap_or(0).min(3)
    }
}

/// Returns the course of the mood over turns, of which there is at least one.
fn mood(by_turn: Vec<(u32, f64)>, course: Option<&Course>) -> Mood {
    let quarters = in_quarters(&by_turn, course).map(|scores| of_quarter(&scores));
    let known: Vec<f64> = quarters.iter().flatten().copied().collect();
    let overall = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let shift = known.first().zip(known.last()).filter(|_| known.len() > 1).map(|(first, last)| rounded(last - first, 4));
    let score = rounded(overall / SCALE, 4);
    Mood { label: label(score), score, overall: rounded(overall, 4), quarters, shift, by_turn }
}

/// Returns the scores of each quarter, by the starts of turns.
fn in_quarters(by_turn: &[(u32, f64)], course: Option<&Course>) -> [Vec<f64>; 4] {
    let Some(course) = course else {
        let scores: Vec<f64> = by_turn.iter().map(|(_, score)| *score).collect();
        return std::array::from_fn(|quarter| scores[quarter * scores.len() / 4..(quarter + 1) * scores.len() / 4].to_vec());
    };
    let mut timed: Vec<(i64, f64)> = by_turn.iter().map(|(turn, score)| (course.start(*turn), *score)).collect();
    timed.sort_by_key(|(start, _)| *start);
    let mut quarters: [Vec<f64>; 4] = Default::default();
    timed.into_iter().for_each(|(start, score)| quarters[course.quarter(start)].push(score));
    quarters
}

fn of_quarter(scores: &[f64]) -> Option<f64> {
    if scores.is_empty() {
        return None;
    }
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let strengthened = mean * (1.0 + 0.1 * (longest_streak(scores) - 1.0));
    Some(rounded(SCALE * strengthened.clamp(-1.0, 1.0), 4))
}

/// Returns how many turns in a row have one sign; turns without one end a streak. At least 1, so that it weakens nothing.
fn longest_streak(scores: &[f64]) -> f64 {
    let (mut longest, mut current, mut sign) = (1_u32, 0_u32, 0_i8);
    for score in scores {
        let this = i8::from(*score > 0.0) - i8::from(*score < 0.0);
        current = match this {
            0 => 0,
            _ if this == sign => current + 1,
            _ => 1,
        };
        sign = this;
        longest = longest.max(current);
    }
    f64::from(longest)
}

/// Returns the word for a score from -1 to 1.
pub(crate) fn label(score: f64) -> Sentiment {
    if score >= THRESHOLD {
        Sentiment::Positive
    } else if score <= -THRESHOLD {
        Sentiment::Negative
    } else {
        Sentiment::Neutral
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::{agent, record, said_by, user};

    fn scores(scores: &[f64]) -> Vec<(u32, f64)> {
        (0..).zip(scores.iter().copied()).collect()
    }

    #[test]
    fn a_quarter_is_five_times_the_mean_strengthened_by_its_streak() {
        // Quarters of two turns each: no streak, a streak of two that is cut off at 1, none, a streak of two.
        let mood = mood(scores(&[0.5, -0.1, 0.98, 1.0, 0.0, 0.4, -0.2, -0.4]), None);
        assert_eq!(mood.quarters, [Some(1.0), Some(5.0), Some(1.0), Some(-1.65)]);
        assert_eq!((mood.overall, mood.shift), (1.3375, Some(-2.65)));
        assert_eq!((mood.score, mood.label), (0.2675, Sentiment::Positive));
    }

    #[test]
    fn fewer_turns_than_quarters_leave_quarters_empty() {
        let one = mood(scores(&[-0.5]), None);
        assert_eq!((one.quarters.iter().flatten().count(), one.overall, one.shift), (1, -2.5, None));
        let two = mood(scores(&[0.5, -0.5]), None);
        assert_eq!((two.quarters.iter().flatten().count(), two.overall, two.shift), (2, 0.0, Some(-5.0)));
    }

    fn at(turn: Turn, start_ms: i64, end_ms: impl Into<Option<i64>>) -> Turn {
        Turn { start_ms: Some(start_ms), end_ms: end_ms.into(), ..turn }
    }

    #[test]
    fn a_turn_is_of_the_quarter_of_the_time_in_which_it_begins() {
        // From 1,000 to 9,000: quarters begin at 1,000, 3,000, 5,000 and 7,000.
        let turns = [
            at(agent("hello"), 1_000, 1_500),
            at(user("a"), 2_999, 4_000),
            at(user("b"), 3_000, 3_500),
            at(user("c"), 8_000, 8_100),
            at(agent("bye"), 9_000, 9_000),
            user("d"),
            at(user("e"), 2_000, 2_100),
        ];
        let course = Course::of(&turns).unwrap();
        // The last two stand behind others in the transcript: one begins with the turn it followed, one long before.
        let by_turn = vec![(1, 0.2), (2, 0.6), (3, -0.4), (5, -0.2), (6, 0.4)];
        assert_eq!(in_quarters(&by_turn, Some(&course)), [vec![0.4, 0.2], vec![0.6], vec![], vec![-0.4, -0.2]]);
        let mood = mood(by_turn, Some(&course));
        assert_eq!(mood.quarters, [Some(1.65), Some(3.0), None, Some(-1.65)]);
        assert_eq!((mood.overall, mood.shift), (1.0, Some(-3.3)));
    }

    #[test]
    fn without_times_quarters_are_of_the_number_of_turns() {
        assert!(Course::of(&[user("a"), agent("b")]).is_none());
        assert!(Course::of(&[at(user("a"), 500, 500), at(agent("b"), 500, None)]).is_none(), "one instant");
        let said = |text, millis| Turn { at: colloquy_types::Timestamp::from_millis(millis).ok(), ..user(text) };
        let course = Course::of(&[said("a", 10_000), said("b", 12_000), said("c", 14_000)]).unwrap();
        assert_eq!([0, 1, 2].map(|turn| course.quarter(course.start(turn))), [0, 2, 3], "by the time of day");
        // An end that nobody knows is where the last turn begins.
        let course = Course::of(&[at(user("a"), 0, None), at(user("b"), 4_000, None)]).unwrap();
        assert_eq!([0, 999, 1_000, 3_999, 4_000].map(|start| course.quarter(start)), [0, 0, 1, 3, 3]);
    }

    #[test]
    fn streaks_end_at_turns_without_a_sign() {
        assert_eq!(longest_streak(&[0.1, 0.1, 0.0, 0.1]), 2.0);
        assert_eq!(longest_streak(&[0.1, -0.1, -0.2, -0.3]), 3.0);
        assert_eq!(longest_streak(&[0.0]), 1.0);
    }

    #[test]
    fn turns_score_as_a_person_would_say() {
        assert!(score("This is great, thank you so much!") > 0.5);
        assert!(score("This is terrible, I am really angry") < -0.5);
        assert!(score("I don’t like this") < 0.0);
        assert_eq!(score("Can I move my appointment to Thursday???"), 0.0);
        assert_eq!(score(""), 0.0);
    }

    #[test]
    fn idioms_of_both_signs_score_the_same_every_time() {
        assert!(has_opposed_idioms("Yeah right, this is The Bomb"));
        assert!(score("yeah right, this is the bomb") > 0.0);
    }

    #[test]
    fn other_languages_have_no_mood_and_a_reason() {
        let said = said_by(&[(Side::User, "Ich möchte meinen Termin verschieben, weil ich krank bin")]);
        let figure = of(&said, &Languages::of(&record(), &said), &[]);
        assert_eq!(figure.absent_because.as_deref(), Some("VADER covers English; the language is de"));
        let said = said_by(&[(Side::Agent, "Hello and thank you for calling us, how can I help you?")]);
        let figure = of(&said, &Languages::of(&record(), &said), &[]);
        assert_eq!(figure.absent_because.as_deref(), Some("the person said nothing"));
    }
}
