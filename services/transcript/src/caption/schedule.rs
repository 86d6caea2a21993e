//! Giving the cues of all turns their final times.
//!
//! Cues are taken in the order in which they are spoken, so that what is said over a long turn is shown in the middle of it;
//! where nobody knows, and for what one person says, that is the order of the turns. Each appears when it is
//! spoken, or when the one before it has gone, whichever is later: a cue may be late, never early. It stays while it is
//! spoken, for at least one and at most seven seconds, but makes room when the next one is due: at once if it has been there
//! long enough to be read, otherwise up to [`PATIENCE_MS`] later. So the text falls behind only where there is more of it
//! than a second each allows, and catches up at the next pause.

use colloquy_events::Role;

use super::{Cue, LONGEST_MS, SHORTEST_MS, lines};
use crate::width;

/// How many columns are read in a second.
const READ_PER_SECOND: i64 = 25;
/// How long a cue may keep the next one waiting to be read to its end.
const PATIENCE_MS: i64 = 2000;
/// Same speaker, silence of this length: still one thought.
const CLOSE_MS: i64 = 1000;

/// A cue with the times at which it is spoken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Draft {
    /// Which turn it is from.
    pub turn: usize,
    pub role: Role,
    pub speaker: String,
    /// Its place among all cues: when it is spoken, as far as that is known, and never before what the same speaker said first.
    pub order_ms: i64,
    pub start_ms: i64,
    pub end_ms: i64,
    pub text: String,
}

/// Returns the cues of these drafts, which are in the order of their turns.
pub(super) fn schedule(mut drafts: Vec<Draft>) -> Vec<Cue> {
    drafts.sort_by_key(|draft| draft.order_ms);
    let drafts = join_short(drafts);
    let mut cues = Vec::with_capacity(drafts.len());
    let mut free_ms = 0;
    for (index, draft) in drafts.iter().enumerate() {
        let start_ms = draft.start_ms.max(free_ms);
        let next_ms = drafts.get(index + 1).map(|next| next.start_ms);
        let end_ms = end_of(draft, start_ms, next_ms);
        free_ms = end_ms;
        // Parts are cut so that they fit, and joined only if they do.
        let lines = lines::wrap(&draft.text).unwrap_or_else(|| vec![draft.text.clone()]);
        cues.push(Cue { start_ms, end_ms, speaker: draft.speaker.clone(), lines });
    }
    cues
}

fn end_of(draft: &Draft, start_ms: i64, next_ms: Option<i64>) -> i64 {
    let (earliest, latest) = (start_ms + SHORTEST_MS, start_ms + LONGEST_MS);
    let spoken = draft.end_ms.clamp(earliest, latest);
    let Some(next_ms) = next_ms.filter(|next| *next < spoken) else { return spoken };
    let columns = i64::try_from(width::of(&draft.text)).unwrap_or(i64::MAX);
    let read = start_ms.saturating_add(columns.saturating_mul(1000) / READ_PER_SECOND);
    read.min(next_ms + PATIENCE_MS).max(next_ms).clamp(earliest, spoken)
}

/// Joins turns of one speaker that are too short to be shown for a second before the next cue is due.
fn join_short(drafts: Vec<Draft>) -> Vec<Draft> {
    let mut joined: Vec<Draft> = Vec::with_capacity(drafts.len());
    let mut drafts = drafts.into_iter().peekable();
    while let Some(draft) = drafts.next() {
        let next_ms = drafts.peek().map_or(i64::MAX, |next| next.start_ms);
        match joined.last_mut() {
            Some(last) if is_crowded(last, draft.start_ms) || is_crowded(&draft, next_ms) => match join(last, &draft) {
                Some(both) => *last = both,
                None => joined.push(draft),
            },
            _ => joined.push(draft),
        }
    }
    joined
}

fn is_crowded(draft: &Draft, next_ms: i64) -> bool {
    draft.end_ms - draft.start_ms < SHORTEST_MS && next_ms - draft.start_ms < SHORTEST_MS
}

/// Returns two drafts as one, if they belong together and fit.
fn join(first: &Draft, second: &Draft) -> Option<Draft> {
    let same_speaker = first.role == second.role && first.speaker == second.speaker;
    // What was cut within a turn was cut for a reason.
    let belong = same_speaker && first.turn != second.turn && second.start_ms - first.end_ms < CLOSE_MS;
    let end_ms = first.end_ms.max(second.end_ms);
    if !belong || end_ms - first.start_ms > LONGEST_MS {
        return None;
    }
    let text = format!("{} {}", first.text, second.text);
    lines::wrap(&text)?;
    Some(Draft { turn: second.turn, end_ms, text, ..first.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(turn: usize, role: Role, start_ms: i64, end_ms: i64, text: &str) -> Draft {
        Draft { turn, role, speaker: role.to_string(), order_ms: start_ms, start_ms, end_ms, text: text.into() }
    }

    fn shown(drafts: Vec<Draft>) -> Vec<(i64, i64, String)> {
        schedule(drafts).into_iter().map(|cue| (cue.start_ms, cue.end_ms, cue.lines.join("|"))).collect()
    }

    #[test]
    fn cues_that_do_not_collide_keep_their_times() {
        let drafts = vec![draft(0, Role::Agent, 0, 2000, "Hello."), draft(1, Role::User, 2000, 3500, "Hi.")];
        assert_eq!(shown(drafts), [(0, 2000, "Hello.".into()), (2000, 3500, "Hi.".into())]);
    }

    #[test]
    fn a_short_cue_is_lengthened_into_the_pause() {
        let drafts = vec![draft(0, Role::Agent, 0, 300, "Hm."), draft(0, Role::Agent, 5000, 14_000, "Looooong.")];
        assert_eq!(shown(drafts), [(0, 1000, "Hm.".into()), (5000, 12_000, "Looooong.".into())]);
    }

    #[test]
    fn short_turns_of_one_speaker_without_a_pause_are_joined() {
        let drafts = vec![
            draft(0, Role::User, 0, 300, "Yes."),
            draft(1, Role::User, 400, 700, "Yes."),
            draft(2, Role::Agent, 800, 2000, "Good."),
        ];
        assert_eq!(shown(drafts), [(0, 1000, "Yes. Yes.".into()), (1000, 2000, "Good.".into())]);
    }

    #[test]
    fn different_speakers_are_never_joined() {
        let drafts = vec![draft(0, Role::User, 0, 300, "Yes."), draft(1, Role::Agent, 100, 400, "Yes.")];
        assert_eq!(shown(drafts), [(0, 1000, "Yes.".into()), (1000, 2000, "Yes.".into())]);
    }

    #[test]
    fn an_interruption_waits_until_the_interrupted_cue_can_be_read() {
        let long = "I can offer you a room with a view of the sea or";
        let drafts = vec![draft(0, Role::Agent, 0, 6000, long), draft(1, Role::User, 500, 1500, "The sea.")];
        assert_eq!(shown(drafts).iter().map(|cue| (cue.0, cue.1)).collect::<Vec<_>>(), [(0, 1920), (1920, 2920)]);
    }

    #[test]
    fn what_is_said_over_a_long_turn_is_shown_in_the_middle_of_it() {
        let drafts = vec![
            draft(0, Role::Agent, 0, 4000, "First part of it,"),
            draft(0, Role::Agent, 4000, 8000, "and the second."),
            draft(1, Role::User, 2000, 2300, "Mhm."),
        ];
        let expected = [
            (0, 2000, "First part of it,".to_owned()),
            (2000, 3000, "Mhm.".to_owned()),
            (4000, 8000, "and the second.".to_owned()),
        ];
        assert_eq!(shown(drafts), expected);
    }
}
