//! The person's mood, turn by turn and over the whole.
//!
//! A turn's score is VADER's compound score, from -1 to 1. The turns are cut into quarters of equal length (by number of the
//! person's turns); a quarter's score is 5 × clamp(mean × (1 + 0.1 × (longest streak of turns of one sign − 1)), −1, 1), the
//! whole is the mean of the quarters, the shift is the last less the first. The mood is positive from 0.05 of the whole, and
//! negative from −0.05, on the scale from -1 to 1: VADER's own thresholds.

use std::sync::LazyLock;

use colloquy_events::Sentiment;
use vader_sentimental::SentimentIntensityAnalyzer;

use super::figure::rounded;
use super::language::Languages;
use super::said::{Said, Side};
use super::{Figure, Mood};

const ANALYZER: &str = "sentiment/1";
/// From here on a score is positive; from its opposite on, negative.
pub(super) const THRESHOLD: f64 = 0.05;
/// What is furthest from indifferent, on the scale of quarters.
const SCALE: f64 = 5.0;

static VADER: LazyLock<SentimentIntensityAnalyzer<'static>> = LazyLock::new(SentimentIntensityAnalyzer::new);

/// Returns the mood of the person in what they said in English.
pub(super) fn of(said: &[Said<'_>], languages: &Languages) -> Figure<Mood> {
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
    let turns: Vec<u32> = by_turn.iter().map(|(turn, _)| *turn).collect();
    Figure::of(mood(by_turn), ANALYZER, turns)
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

/// Returns the course of the mood over turns, of which there is at least one.
fn mood(by_turn: Vec<(u32, f64)>) -> Mood {
    let count = by_turn.len();
    let quarters: [Option<f64>; 4] = std::array::from_fn(|quarter| {
        let turns = &by_turn[quarter * count / 4..(quarter + 1) * count / 4];
        of_quarter(turns)
    });
    let known: Vec<f64> = quarters.iter().flatten().copied().collect();
    let overall = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let shift = known.first().zip(known.last()).filter(|_| known.len() > 1).map(|(first, last)| rounded(last - first, 4));
    let score = rounded(overall / SCALE, 4);
    Mood { label: label(score), score, overall: rounded(overall, 4), quarters, shift, by_turn }
}

fn of_quarter(turns: &[(u32, f64)]) -> Option<f64> {
    if turns.is_empty() {
        return None;
    }
    let mean = turns.iter().map(|(_, score)| score).sum::<f64>() / turns.len() as f64;
    let strengthened = mean * (1.0 + 0.1 * (longest_streak(turns) - 1.0));
    Some(rounded(SCALE * strengthened.clamp(-1.0, 1.0), 4))
}

/// Returns how many turns in a row have one sign; turns without one end a streak. At least 1, so that it weakens nothing.
fn longest_streak(turns: &[(u32, f64)]) -> f64 {
    let (mut longest, mut current, mut sign) = (1_u32, 0_u32, 0_i8);
    for (_, score) in turns {
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
    use crate::analysis::tests::{record, said_by};

    fn scores(scores: &[f64]) -> Vec<(u32, f64)> {
        (0..).zip(scores.iter().copied()).collect()
    }

    #[test]
    fn a_quarter_is_five_times_the_mean_strengthened_by_its_streak() {
        // Quarters of two turns each: no streak, a streak of two that is cut off at 1, none, a streak of two.
        let mood = mood(scores(&[0.5, -0.1, 0.98, 1.0, 0.0, 0.4, -0.2, -0.4]));
        assert_eq!(mood.quarters, [Some(1.0), Some(5.0), Some(1.0), Some(-1.65)]);
        assert_eq!((mood.overall, mood.shift), (1.3375, Some(-2.65)));
        assert_eq!((mood.score, mood.label), (0.2675, Sentiment::Positive));
    }

    #[test]
    fn fewer_turns_than_quarters_leave_quarters_empty() {
        let one = mood(scores(&[-0.5]));
        assert_eq!((one.quarters.iter().flatten().count(), one.overall, one.shift), (1, -2.5, None));
        let two = mood(scores(&[0.5, -0.5]));
        assert_eq!((two.quarters.iter().flatten().count(), two.overall, two.shift), (2, 0.0, Some(-5.0)));
    }

    #[test]
    fn streaks_end_at_turns_without_a_sign() {
        assert_eq!(longest_streak(&scores(&[0.1, 0.1, 0.0, 0.1])), 2.0);
        assert_eq!(longest_streak(&scores(&[0.1, -0.1, -0.2, -0.3])), 3.0);
        assert_eq!(longest_streak(&scores(&[0.0])), 1.0);
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
        let figure = of(&said, &Languages::of(&record(), &said));
        assert_eq!(figure.absent_because.as_deref(), Some("VADER covers English; the language is de"));
        let said = said_by(&[(Side::Agent, "Hello and thank you for calling us, how can I help you?")]);
        let figure = of(&said, &Languages::of(&record(), &said));
        assert_eq!(figure.absent_because.as_deref(), Some("the person said nothing"));
    }
}
