//! How satisfied the person was: what they said themselves, and what can be inferred; never mixed.
//!
//! Of several ratings of one conversation (`caller_rating/2`) the last counts: who rates again thinks otherwise now. So a conversation
//! has one voice in CSAT, which is a whole one to five as the person gave it (a mean of 2 and 5 would be a rating nobody gave, and
//! neither good nor bad), and it is the score that the record shows.
//!
//! Inferred (`satisfaction/1`) is 3, plus 1.5 times the mood (from -1 to 1), plus what became of the request (resolved +1,
//! transferred −0.25, escalated −0.75, unresolved −1), less 0.1 for every time the agent cut the person off (at most 0.5), less
//! 0.25 when half of the answers took longer than 2 s, or 0.5 when longer than 4 s; held between 1 and 5. It needs the mood or
//! the resolution.

use colloquy_events::ResolutionStatus;

use super::figure::rounded;
use super::said::{Said, Side};
use super::{Distribution, Figure, Interruptions, Mood};
use crate::input::Feedback;

const CALLER: &str = "caller_rating/2";
const INFERRED: &str = "satisfaction/1";
const SLOW_MS: f64 = 2_000.0;
const VERY_SLOW_MS: f64 = 4_000.0;

/// Returns what the person gave last, from 1 to 5; a thumb is 5 or 1.
pub(super) fn given(feedback: &[Feedback]) -> Figure<f64> {
    let rating = |feedback: &Feedback| {
        let stars = feedback.rating.filter(|rating| (1..=5).contains(rating)).map(f64::from);
        stars.or(feedback.thumbs_up.map(|up| if up { 5.0 } else { 1.0 }))
    };
    match feedback.iter().rev().find_map(rating) {
        Some(rating) => Figure::of(rating, CALLER, []),
        None => Figure::absent("nobody rated the conversation", CALLER),
    }
}

/// Returns what can be inferred, from 1 to 5, of a person who said something.
pub(super) fn inferred(
    said: &[Said<'_>],
    mood: &Figure<Mood>,
    resolution: &Figure<ResolutionStatus>,
    cut_off_by_agent: &Figure<Interruptions>,
    latency: &Figure<Distribution>,
) -> Figure<f64> {
    if said.iter().all(|said| said.side != Side::User) {
        return Figure::absent("the person said nothing", INFERRED);
    }
    if mood.value.is_none() && resolution.value.is_none() {
        return Figure::absent("neither the mood nor what became of the request is known", INFERRED);
    }
    let of_mood = mood.value.as_ref().map_or(0.0, |mood| 1.5 * mood.score);
    let of_resolution = match resolution.value {
        Some(ResolutionStatus::Resolved) => 1.0,
        Some(ResolutionStatus::Transferred) => -0.25,
        Some(ResolutionStatus::Escalated) => -0.75,
        Some(ResolutionStatus::Unresolved) => -1.0,
        Some(ResolutionStatus::Unknown) | None => 0.0,
    };
    let of_interruptions = cut_off_by_agent.value.map_or(0.0, |cut| (0.1 * f64::from(cut.count)).min(0.5));
    let of_latency = match latency.value {
        Some(answers) if answers.p50 > VERY_SLOW_MS => 0.5,
        Some(answers) if answers.p50 > SLOW_MS => 0.25,
        _ => 0.0,
    };
    let score = (3.0 + of_mood + of_resolution - of_interruptions - of_latency).clamp(1.0, 5.0);
    let mut turns: Vec<u32> = [&mood.turns, &resolution.turns, &cut_off_by_agent.turns].into_iter().flatten().copied().collect();
    turns.sort_unstable();
    turns.dedup();
    Figure::of(rounded(score, 2), INFERRED, turns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::{agent, analysed, user};

    #[test]
    fn thumbs_are_the_ends_of_the_scale_and_absurd_ratings_nothing() {
        let feedback = |rating, thumbs_up| Feedback { rating, thumbs_up, at: None };
        let given = |feedback: &[Feedback]| given(feedback).value;
        assert_eq!(given(&[feedback(None, Some(true))]), Some(5.0));
        assert_eq!(given(&[feedback(None, Some(false))]), Some(1.0));
        assert_eq!(given(&[feedback(Some(9), None), feedback(None, None)]), None);
        assert_eq!(given(&[feedback(Some(4), Some(false))]), Some(4.0));
    }

    #[test]
    fn who_rates_again_has_one_voice_and_the_last_word() {
        let feedback = |rating, thumbs_up| Feedback { rating, thumbs_up, at: None };
        let given = |feedback: &[Feedback]| given(feedback).value;
        assert_eq!(given(&[feedback(Some(2), None), feedback(Some(5), None)]), Some(5.0));
        assert_eq!(given(&[feedback(Some(5), None), feedback(None, Some(false))]), Some(1.0));
        // A comment without a rating takes none back.
        assert_eq!(given(&[feedback(Some(4), None), feedback(None, None)]), Some(4.0));
    }

    #[test]
    fn content_people_score_higher_than_angry_ones() {
        let content =
            analysed(vec![user("Can I come on Thursday?"), agent("Yes."), user("Great, thank you so much, that's perfect!")]);
        let angry = analysed(vec![user("This is terrible, your service is awful, I hate this and I want to talk to a manager")]);
        assert!(content.satisfaction_inferred.value > Some(4.0), "{:?}", content.satisfaction_inferred);
        assert!(angry.satisfaction_inferred.value < Some(2.0), "{:?}", angry.satisfaction_inferred);
        assert_eq!(content.satisfaction_caller.value, None);
    }

    #[test]
    fn nothing_is_inferred_from_nothing() {
        assert!(analysed(Vec::new()).satisfaction_inferred.absent_because.is_some());
    }
}
