use colloquy_events::Word;
use colloquy_types::TurnId;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// Turns as [`turn`] reads them.
type Lines = &'static [&'static str];

/// How often, and how long.
type Seen = (u32, i64);

/// `role start-end text`, for example `agent 0-1500 hello there`; nothing in the place of a time nobody knows.
fn turn(line: &str) -> Turn {
    let mut parts = line.splitn(3, ' ');
    let role: Role = parts.next().unwrap().parse().unwrap();
    let (start, end) = parts.next().unwrap().split_once('-').unwrap();
    Turn {
        text: parts.next().map(str::to_owned),
        start_ms: start.parse().ok(),
        end_ms: end.parse().ok(),
        ..Turn::new(TurnId(Uuid::nil()), role)
    }
}

fn figures(lines: &[&str]) -> Figures {
    Figures::of(&lines.iter().map(|line| turn(line)).collect::<Vec<_>>())
}

fn cut(line: &str, heard: &str) -> Turn {
    Turn { heard_text: Some(heard.to_owned()), ..turn(line) }
}

#[test]
fn nothing_said_is_nothing_counted() {
    assert_eq!(figures(&[]), Figures::default());
    assert_eq!(figures(&["tool 0-900 {}", "system 5000-9000 note", "user 0-900  "]), Figures::default());
    assert_eq!((Figures::default().agent_share(), Talk::default().words_per_minute()), (None, None));
}

#[test]
fn each_side_is_counted_by_the_time_it_speaks_and_people_on_the_agents_side_with_the_agent() {
    let figures =
        figures(&["agent 0-3000 one two three", "user 3000-4000 four", "human_agent 4000-7000 five six seven eight nine"]);
    assert_eq!((figures.turn_count, figures.duration_ms), (3, Some(7_000)));
    assert_eq!((figures.agent, figures.user), (Talk { ms: 6_000, words: 8 }, Talk { ms: 1_000, words: 1 }));
    assert_eq!(figures.agent_share(), Some(6.0 / 7.0));
    assert_eq!((figures.agent.words_per_minute(), figures.user.words_per_minute()), (Some(80.0), Some(60.0)));
}

#[test]
fn turns_of_one_side_that_overlap_are_counted_once_and_interrupt_nobody() {
    for lines in [
        ["agent 0-4000 a", "human_agent 2000-5000 b", "agent 2500-3000 c"],
        ["agent 0-5000 a", "agent 1000-2000 b", "human_agent 0-5000 c"],
    ] {
        let figures = figures(&lines);
        assert_eq!((figures.agent.ms, figures.by_agent, figures.by_user), (5_000, Default::default(), Default::default()));
    }
}

#[test]
fn words_say_more_of_when_a_turn_was_spoken_than_the_turn_does() {
    let word = |start_ms, end_ms| Word { text: "word".to_owned(), start_ms, end_ms };
    let spoken = Turn { words: vec![word(500, 900), word(1_000, 1_500)], ..turn("user 0-60000 word word") };
    let figures = Figures::of(&[spoken]);
    assert_eq!((figures.user, figures.duration_ms), (Talk { ms: 1_000, words: 2 }, Some(1_500)));
}

#[test]
fn words_are_counted_in_scripts_without_blanks_too_and_punctuation_is_none() {
    let words = |text: &str| figures(&[&format!("user 0-1000 {text}")]).user.words;
    assert_eq!(["It's 5 o'clock — well…", "你好吗", "…"].map(words), [4, 3, 0]);
}

#[test]
fn what_was_not_heard_was_not_said() {
    let figures =
        Figures::of(&[cut("agent 0-6000 one two three four five six", "one two"), cut("agent 7000-9000 never heard", " ")]);
    assert_eq!((figures.agent, figures.turn_count), (Talk { ms: 6_000, words: 2 }, 1));
}

#[test]
fn a_turn_without_times_is_counted_as_a_turn_and_for_no_time() {
    let figures = figures(&["agent 0-1000 a", "user - b c", "agent 9000- d", "user -9500 e"]);
    assert_eq!((figures.turn_count, figures.duration_ms), (4, Some(9_500)));
    assert_eq!((figures.agent, figures.user), (Talk { ms: 1_000, words: 1 }, Talk::default()));
}

#[test]
fn impossible_times_count_as_missing() {
    let figures = figures(&["user 5000-4000 ends before it begins", "agent 1750000000000-1750000001000 a date"]);
    assert_eq!((figures.user, figures.agent, figures.duration_ms), (Talk::default(), Talk::default(), Some(5_000)));
}

#[test]
fn silence_is_a_gap_of_two_seconds_between_any_two_turns() {
    let table: [(Lines, (i64, i64, u32)); 7] = [
        // Before the first turn and after the last there is none.
        (&["agent 60000-61000 a"], (0, 0, 0)),
        (&["agent 0-1000 a", "user 2999-4000 b"], (0, 0, 0)),
        (&["agent 0-1000 a", "user 3000-4000 b"], (2_000, 2_000, 1)),
        (&["agent 0-1000 a", "agent 4000-5000 b", "user 10000-11000 c"], (8_000, 5_000, 2)),
        // Somebody speaks all the while.
        (&["agent 0-9000 a", "user 1000-2000 b", "user 8000-10000 c"], (0, 0, 0)),
        // A moment in between parts a gap in two.
        (&["agent 0-1000 a", "user 3500-3500 b", "agent 6000-7000 c"], (5_000, 2_500, 2)),
        // Nobody knows how long the turn that begins at 4 s lasts.
        (&["agent 0-1000 a", "user 4000- b", "agent 9000-9500 c", "user 12000-13000 d"], (5_500, 3_000, 2)),
    ];
    for (lines, expected) in table {
        let silence = figures(lines).silence;
        assert_eq!((silence.total_ms, silence.longest_ms, silence.count), expected, "{lines:?}");
    }
}

#[test]
fn an_interruption_begins_within_the_other_sides_turn() {
    // The turns, then how often and how long the user, and then the agent, spoke into the other's turn.
    let table: [(Lines, Seen, Seen); 11] = [
        (&["agent 0-3000 a", "user 3000-4000 b"], (0, 0), (0, 0)),
        (&["agent 0-3000 a", "user 2000-4000 b"], (1, 1_000), (0, 0)),
        (&["user 0-3000 a", "agent 2000-4000 b"], (0, 0), (1, 1_000)),
        (&["user 0-3000 a", "human_agent 2999-4000 b"], (0, 0), (1, 1)),
        // Within it.
        (&["agent 0-5000 a", "user 1000-2000 b"], (1, 1_000), (0, 0)),
        // Twice into the same turn.
        (&["agent 0-5000 a", "user 1000-2000 b", "user 3000-6000 c"], (2, 3_000), (0, 0)),
        // Once into two turns that run, and on into a third which interrupts it.
        (&["agent 0-2000 a", "human_agent 0-3000 b", "user 1000-5000 c", "agent 4000-6000 d"], (1, 2_000), (1, 1_000)),
        // Two turns of the user at once: both interrupt, each moment counts once.
        (&["agent 0-5000 a", "user 1000-4000 b", "user 2000-3000 c"], (2, 3_000), (0, 0)),
        // In the same instant.
        (&["agent 0-5000 a", "user 0-2000 b"], (0, 0), (0, 0)),
        // No time at all.
        (&["agent 0-5000 a", "user 1000-1000 b"], (0, 0), (0, 0)),
        (&["agent 1000-1000 a", "user 0-2000 b", "agent 500- c"], (0, 0), (0, 0)),
    ];
    for (lines, by_user, by_agent) in table {
        let figures = figures(lines);
        let seen = [figures.by_user, figures.by_agent].map(|seen| (seen.count, seen.overlap_ms));
        assert_eq!(seen, [by_user, by_agent], "{lines:?}");
    }
}

#[test]
fn a_turn_that_was_cut_was_interrupted_and_counts_once() {
    let by_user = |turns: &[Turn]| Figures::of(turns).by_user;
    let interrupted = |count, overlap_ms| Interruptions { count, overlap_ms };
    // The provider ends the turn where the user begins, or knows no times.
    assert_eq!(by_user(&[cut("agent 0-2000 one two", "one"), turn("user 2000-3000 stop")]), interrupted(1, 0));
    assert_eq!(by_user(&[cut("agent - one two", "one"), turn("user - stop")]), interrupted(1, 0));
    assert_eq!(by_user(&[cut("agent 0-2000 one two", "one"), turn("user 1500-3000 stop")]), interrupted(1, 500));
    // It was all heard, or it is the user's.
    assert_eq!(by_user(&[cut("agent 0-2000 one two", "one two "), cut("user 2000-3000 one two", "one")]), interrupted(0, 0));
    // Another turn was interrupted by what the times show.
    let turns = [turn("agent 0-2000 a"), turn("user 1000-2000 b"), cut("agent 4000-5000 one two", "one")];
    assert_eq!(by_user(&turns), interrupted(2, 1_000));
}

fn any_turn() -> impl Strategy<Value = Turn> {
    let time = || prop_oneof![4 => (0..9_000_i64).prop_map(Some), 1 => any::<i64>().prop_map(Some), 1 => Just(None)];
    let text = || prop::option::of("[a ]{0,5}");
    (prop::sample::select(Role::ALL), time(), time(), text(), text()).prop_map(|(role, start_ms, end_ms, text, heard_text)| {
        Turn { start_ms, end_ms, text, heard_text, ..Turn::new(TurnId(Uuid::nil()), role) }
    })
}

proptest! {
    #[test]
    fn figures_depend_on_the_times_and_not_on_the_order_of_turns(
        (turns, shuffled) in prop::collection::vec(any_turn(), 0..14)
            .prop_flat_map(|turns| (Just(turns.clone()), Just(turns).prop_shuffle()))
    ) {
        let (figures, shuffled) = (Figures::of(&turns), Figures::of(&shuffled));
        // Runs of one speaker are what order makes.
        prop_assert_eq!(Figures { turn_count: 0, ..figures }, Figures { turn_count: 0, ..shuffled });
    }

    #[test]
    fn nothing_lasts_longer_than_the_conversation(turns in prop::collection::vec(any_turn(), 0..14)) {
        let figures = Figures::of(&turns);
        let duration = figures.duration_ms.unwrap_or(0);
        let overlaps = figures.by_user.overlap_ms.max(figures.by_agent.overlap_ms);
        prop_assert!(overlaps >= 0 && overlaps <= figures.agent.ms.min(figures.user.ms));
        let anybody = figures.agent.ms.max(figures.user.ms);
        prop_assert!(anybody + figures.silence.total_ms <= duration, "{figures:?}");
        prop_assert!(figures.silence.longest_ms * i64::from(figures.silence.count) >= figures.silence.total_ms);
        prop_assert!(figures.silence.total_ms >= SILENCE_MS * i64::from(figures.silence.count));
        prop_assert!(figures.agent_share().is_none_or(|share| (0.0..=1.0).contains(&share)));
        prop_assert!(usize::try_from(figures.by_user.count).unwrap() <= turns.len());
        prop_assert!(usize::try_from(figures.turn_count).unwrap() <= turns.len());
    }
}
