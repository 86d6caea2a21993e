use colloquy_events::{ToolCall, Word};
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

fn turns(lines: &[&str]) -> Vec<Turn> {
    lines.iter().map(|line| turn(line)).collect()
}

fn of(turns: &[Turn]) -> Figures {
    Figures::of(turns, Settings::default())
}

fn figures(lines: &[&str]) -> Figures {
    of(&turns(lines))
}

fn cut(line: &str, heard: &str) -> Turn {
    Turn { heard_text: Some(heard.to_owned()), ..turn(line) }
}

fn talk(figures: &Figures) -> (Talk, Talk) {
    (figures.talk.counted.agent, figures.talk.counted.user)
}

fn seen(figure: &Figure<Interruptions>) -> Seen {
    (figure.counted.count, figure.counted.overlap_ms)
}

#[test]
fn nothing_said_is_nothing_counted() {
    for lines in [&[] as Lines, &["tool 0-900 {}", "system 5000-9000 note", "user 0-900  "]] {
        let figures = figures(lines);
        assert_eq!((figures.turn_count.value(), figures.reach_ms), (Some(&0), None));
        assert_eq!(talk(&figures), Default::default());
        let absent = [
            figures.exchanges.absent,
            figures.length_ms.absent,
            figures.talk.absent,
            figures.silence.absent,
            figures.hold.absent,
            figures.interruptions_by_user.absent,
            figures.overlaps_by_agent.absent,
            figures.response_latency.absent,
        ];
        assert_eq!(absent, [Some(Absent::NothingSaid); 8]);
    }
    assert_eq!((BySide::default().agent_ratio(), Talk::default().words_per_minute()), (None, None));
}

#[test]
fn each_side_is_counted_by_the_time_it_speaks_and_people_on_the_agents_side_with_the_agent() {
    let figures =
        figures(&["agent 0-3000 one two three", "user 3000-4000 four", "human_agent 4000-7000 five six seven eight nine"]);
    assert_eq!((figures.turn_count.counted, figures.exchanges.counted, figures.reach_ms), (3, 1, Some(7_000)));
    let (agent, user) = talk(&figures);
    assert_eq!((agent, user), (Talk { ms: 6_000, words: 8 }, Talk { ms: 1_000, words: 1 }));
    assert_eq!(figures.talk.counted.agent_ratio(), Some(6.0 / 7.0));
    assert_eq!((agent.words_per_minute(), user.words_per_minute()), (Some(80.0), Some(60.0)));
    assert_eq!(figures.talk.turns, [0, 1, 2]);
}

#[test]
fn an_exchange_is_a_run_of_the_user_that_the_agents_side_answers() {
    for (lines, expected) in [
        (&["user - a", "user - b", "agent - c", "human_agent - d"] as Lines, 1),
        (&["agent - a", "user - b", "tool - c", "agent - d", "user - e"], 1),
        (&["agent - a", "agent - b"], 0),
        (&["user - a", "agent - b", "user - c", "agent - d"], 2),
    ] {
        assert_eq!(figures(lines).exchanges.value(), Some(&expected), "{lines:?}");
    }
}

#[test]
fn turns_are_counted_by_their_starts() {
    let counted = |lines: Lines| (figures(lines).turn_count.counted, figures(lines).exchanges.counted);
    // Told late, because it lasted long.
    assert_eq!(counted(&["user 0-1000 a", "user 4000-5000 b", "agent 2000-3000 c"]), (3, 1));
    assert_eq!(counted(&["user 4000-5000 b", "agent 6000-7000 c", "agent 2000-3000 a"]), (3, 1));
    // Those of one instant stay as they came, and those without a start behind the turn they followed.
    assert_eq!(counted(&["agent 0- a", "user 5000- b", "agent 5000- c", "user 5000- d"]), (4, 1));
    assert_eq!(counted(&["agent - a", "user 9000- b", "agent - c", "user 1000- d", "agent - e"]), (5, 2));
    // Times that cannot be true are none.
    assert_eq!(counted(&["user 1750000000000- a", "agent 1000-2000 b", "user 3000-4000 c"]), (3, 1));
}

#[test]
fn the_time_of_day_orders_turns_only_where_no_turn_has_a_start() {
    let at = |line: &str, millis| Turn { at: colloquy_types::Timestamp::from_millis(millis).ok(), ..turn(line) };
    let turns = [at("user - a", 1_000), at("user - b", 3_000), at("agent - c", 2_000)];
    assert_eq!((turn_count(&turns), of(&turns).exchanges.counted), (3, 1));
    let [first, second, third] = turns;
    let mixed = [first, second, Turn { start_ms: Some(0), ..third }];
    assert_eq!(turn_count(&mixed), 2);
}

#[test]
fn a_conversation_lasts_from_the_first_start_to_the_last_end() {
    let length = |lines: Lines| (figures(lines).length_ms.value().copied(), figures(lines).length_ms.turns);
    assert_eq!(length(&["agent 500-3000 a", "user 1000-9000 b", "agent 4000-5000 c"]), (Some(8_500), vec![0, 1]));
    // It is not over where the last turn only begins.
    assert_eq!(length(&["agent 500-3000 a", "user 4000- b"]).0, None);
    assert_eq!(length(&["agent 500- a", "user 1000-4000 b"]).0, Some(3_500));
    assert_eq!(length(&["agent -3000 a"]).0, None);
}

#[test]
fn turns_of_one_side_that_overlap_are_counted_once_and_interrupt_nobody() {
    for lines in [
        ["agent 0-4000 a", "human_agent 2000-5000 b", "agent 2500-3000 c"],
        ["agent 0-5000 a", "agent 1000-2000 b", "human_agent 0-5000 c"],
    ] {
        let figures = figures(&lines);
        assert_eq!(talk(&figures).0.ms, 5_000);
        assert_eq!([seen(&figures.interruptions_by_agent), seen(&figures.interruptions_by_user)], [(0, 0); 2]);
        assert_eq!([seen(&figures.overlaps_by_agent), seen(&figures.overlaps_by_user)], [(0, 0); 2]);
    }
}

#[test]
fn words_say_more_of_when_a_turn_was_spoken_than_the_turn_does() {
    let word = |start_ms, end_ms| Word { text: "word".to_owned(), start_ms, end_ms };
    let spoken = Turn { words: vec![word(500, 900), word(1_000, 1_500)], ..turn("user 0-60000 word word") };
    let figures = of(std::slice::from_ref(&spoken));
    assert_eq!((talk(&figures).1, figures.reach_ms), (Talk { ms: 1_000, words: 2 }, Some(1_500)));
    let backwards = Turn { words: spoken.words.iter().rev().cloned().collect(), ..spoken };
    assert_eq!(talk(&of(&[backwards])).1.ms, 1_000);
}

#[test]
fn words_are_counted_in_scripts_without_blanks_too_and_punctuation_is_none() {
    let words = |text: &str| talk(&figures(&[&format!("user 0-1000 {text}")])).1.words;
    assert_eq!(["It's 5 o'clock — well…", "你好吗", "…"].map(words), [4, 3, 0]);
}

#[test]
fn what_was_not_heard_was_not_said() {
    let figures = of(&[cut("agent 0-6000 one two three four five six", "one two"), cut("agent 7000-9000 never heard", " ")]);
    assert_eq!((talk(&figures).0, figures.turn_count.counted), (Talk { ms: 6_000, words: 2 }, 1));
}

#[test]
fn a_turn_without_times_is_counted_as_a_turn_and_for_no_time() {
    let figures = figures(&["agent 0-1000 a", "user - b c", "agent 9000- d", "user -9500 e"]);
    assert_eq!((figures.turn_count.counted, figures.exchanges.counted, figures.reach_ms), (4, 1, Some(9_500)));
    assert_eq!(talk(&figures), (Talk { ms: 1_000, words: 1 }, Talk::default()));
}

#[test]
fn impossible_times_count_as_missing() {
    let figures = figures(&["user 5000-4000 ends before it begins", "agent 1750000000000-1750000001000 a date"]);
    assert_eq!((talk(&figures), figures.reach_ms), (Default::default(), Some(5_000)));
    assert_eq!(figures.talk.absent, Some(Absent::NoTimes));
}

#[test]
fn what_is_measured_is_absent_where_a_side_spoke_and_nobody_knows_when() {
    let reasons = |lines: Lines| {
        let figures = figures(lines);
        [figures.talk.absent, figures.silence.absent, figures.interruptions_by_user.absent, figures.response_latency.absent]
    };
    assert_eq!(reasons(&["agent - a", "user - b"]), [Some(Absent::NoTimes); 4]);
    assert_eq!(reasons(&["agent 0-1000 a", "user - b"]), [Some(Absent::NoTimesOfUser); 4]);
    assert_eq!(reasons(&["agent 0- a", "user 0-1000 b"]), [Some(Absent::NoTimesOfAgent); 4]);
    // Who said nothing needs no times; only an answer needs two.
    assert_eq!(reasons(&["agent 0-1000 a", "agent - b"]), [None, None, None, Some(Absent::NoAnswer)]);
}

#[test]
fn silence_is_a_gap_of_three_seconds_between_any_two_turns() {
    type Expected = (i64, i64, u32);
    let table: [(Lines, Expected, &[u32]); 9] = [
        // Before the first turn and after the last there is none.
        (&["agent 60000-61000 a"], (0, 0, 0), &[]),
        (&["agent 0-1000 a", "user 3999-5000 b"], (0, 0, 0), &[]),
        (&["agent 0-1000 a", "user 4000-5000 b"], (3_000, 3_000, 1), &[0, 1]),
        (&["agent 0-1000 a", "agent 4000-5000 b", "user 10000-11000 c"], (8_000, 5_000, 2), &[0, 1, 2]),
        // Somebody speaks all the while.
        (&["agent 0-9000 a", "user 1000-2000 b", "user 8000-10000 c"], (0, 0, 0), &[]),
        // A moment in between parts a gap in two.
        (&["agent 0-1000 a", "user 4500-4500 b", "agent 8000-9000 c"], (7_000, 3_500, 2), &[0, 1, 2]),
        // It begins where the last of those who spoke ceased.
        (&["agent 0-4000 a", "user 1000-2000 b", "user 9000-9500 c"], (5_000, 5_000, 1), &[0, 2]),
        // Nobody knows how long the turn that begins at 4 s lasts.
        (&["agent 0-1000 a", "user 4000- b", "agent 9000-9500 c", "user 12500-13000 d"], (6_000, 3_000, 2), &[0, 1, 2, 3]),
        // Nobody knows when the turn in between was spoken.
        (&["agent 0-1000 a", "user - b", "agent 9000-9500 c", "user 12500-13000 d"], (3_000, 3_000, 1), &[2, 3]),
    ];
    for (lines, expected, turns) in table {
        let silence = figures(lines).silence;
        assert_eq!((silence.counted.total_ms, silence.counted.longest_ms, silence.counted.count), expected, "{lines:?}");
        assert_eq!(silence.turns, turns, "{lines:?}");
    }
}

#[test]
fn the_longest_silence_is_known_by_the_turn_before_it() {
    let table: [(Lines, Option<u32>); 4] = [
        (&["agent 0-1000 a", "user 2000-3000 b"], None),
        (&["agent 0-1000 a", "user 5000-6000 b", "agent 20000-21000 c", "user 25000-26000 d"], Some(1)),
        // Of two as long it is the last.
        (&["agent 0-1000 a", "user 11000-12000 b", "agent 22000-23000 c"], Some(1)),
        // Whoever ceased last.
        (&["agent 0-4000 a", "user 1000-2000 b", "user 19000-19500 c"], Some(0)),
    ];
    for (lines, expected) in table {
        assert_eq!(figures(lines).silence.counted.longest_after, expected, "{lines:?}");
    }
}

#[test]
fn how_long_a_pause_is_silence_is_a_setting() {
    let turns = turns(&["agent 0-1000 a", "user 2999-4000 b", "agent 6000-7000 c"]);
    let count = |silence_ms| Figures::of(&turns, Settings { silence_ms }).silence.counted.count;
    assert_eq!([2_001, 2_000, 1_999, 1, 0, i64::MIN, i64::MAX].map(count), [0, 1, 2, 2, 2, 2, 0]);
}

#[test]
fn an_interruption_overlaps_a_while_makes_the_other_side_cease_and_says_something() {
    // The turns, then how often and how long the user interrupted and overlapped.
    let table: [(Lines, Seen, Seen); 16] = [
        (&["agent 0-3000 a", "user 3000-4000 no"], (0, 0), (0, 0)),
        (&["agent 0-3000 a", "user 2000-4000 no"], (1, 1_000), (0, 0)),
        // The agent goes on for too long.
        (&["agent 0-3001 a", "user 2000-4000 no"], (0, 0), (1, 1_001)),
        (&["agent 0-5000 a", "user 1000-2000 no"], (0, 0), (1, 1_000)),
        // Both talk too shortly.
        (&["agent 0-2300 a", "user 2000-4000 no"], (1, 300), (0, 0)),
        (&["agent 0-2299 a", "user 2000-4000 no"], (0, 0), (1, 299)),
        (&["agent 0-2900 a", "user 2000-2200 no"], (0, 0), (1, 200)),
        // Says nothing of its own.
        (&["agent 0-3000 a", "user 2000-4000 uh-huh, yeah"], (0, 0), (1, 1_000)),
        // The agent goes on in the same breath.
        (&["agent 0-2500 a", "agent 2500-6000 b", "user 2000-4000 no"], (0, 0), (1, 2_000)),
        (&["agent 0-2500 a", "agent 2501-6000 b", "user 2000-2400 no"], (1, 400), (0, 0)),
        // Twice into the same turn.
        (&["agent 0-5000 a", "user 1000-2000 no", "user 4500-6000 stop"], (1, 500), (1, 1_000)),
        // Once into two turns that run.
        (&["agent 0-2000 a", "human_agent 0-2500 b", "user 1700-5000 no"], (1, 800), (0, 0)),
        // Two turns of the user at once: both interrupt, each moment counts once.
        (&["agent 0-2000 a", "user 1000-4000 no", "user 1500-3000 stop"], (2, 1_000), (0, 0)),
        // In the same instant.
        (&["agent 0-500 a", "user 0-2000 no"], (0, 0), (0, 0)),
        // No time at all.
        (&["agent 0-5000 a", "user 1000-1000 no"], (0, 0), (0, 0)),
        (&["agent 1000-1000 a", "user 0-2000 no", "agent 500- c"], (0, 0), (0, 0)),
    ];
    for (lines, interruptions, overlaps) in table {
        let found = figures(lines);
        let by_user = [seen(&found.interruptions_by_user), seen(&found.overlaps_by_user)];
        assert_eq!(by_user, [interruptions, overlaps], "{lines:?}");
        // The same the other way round.
        let swapped: Vec<String> = lines
            .iter()
            .map(|line| match line.split_once(' ').unwrap() {
                ("user", rest) => format!("agent {rest}"),
                (_, rest) => format!("user {rest}"),
            })
            .collect();
        let found = figures(&swapped.iter().map(String::as_str).collect::<Vec<_>>());
        let by_agent = [seen(&found.interruptions_by_agent), seen(&found.overlaps_by_agent)];
        assert_eq!(by_agent, [interruptions, overlaps], "{lines:?}");
    }
}

#[test]
fn an_interruption_comes_from_the_turn_that_makes_it_and_the_one_it_breaks_into() {
    let found = figures(&["agent 0-1000 a", "user 2000-3000 b", "agent 4000-6000 c", "user 5500-7000 no"]);
    assert_eq!((found.interruptions_by_user.turns, found.overlaps_by_user.turns), (vec![2, 3], vec![]));
}

#[test]
fn a_turn_that_was_cut_was_interrupted_and_counts_once() {
    let by_user = |turns: &[Turn]| seen(&of(turns).interruptions_by_user);
    // The provider ends the turn where the user begins, or knows no times.
    assert_eq!(by_user(&[cut("agent 0-2000 one two", "one"), turn("user 2000-3000 stop")]), (1, 0));
    let untimed = of(&[cut("agent - one two", "one"), turn("user - stop")]);
    assert_eq!((seen(&untimed.interruptions_by_user), untimed.interruptions_by_user.absent), ((1, 0), None));
    assert_eq!((untimed.interruptions_by_user.turns, untimed.overlaps_by_user.absent), (vec![0], Some(Absent::NoTimes)));
    assert_eq!(by_user(&[cut("agent 0-2000 one two", "one"), turn("user 1500-3000 stop")]), (1, 500));
    // It was all heard, or it is the user's.
    assert_eq!(by_user(&[cut("agent 0-2000 one two", "one two "), cut("user 2000-3000 one two", "one")]), (0, 0));
    // Another turn was interrupted by what the times show.
    let turns =
        [turn("agent 0-2000 a"), turn("user 1000-2000 b"), cut("agent 4000-5000 one two", "one"), turn("user 5200-6000 c")];
    let found = of(&turns).interruptions_by_user;
    assert_eq!((seen(&found), found.turns), ((2, 1_000), vec![0, 1, 2, 3]));
}

#[test]
fn a_backchannel_cuts_nobody_nor_does_who_begins_far_from_where_the_speech_ended() {
    let table: [(&[&str], Seen, Seen); 6] = [
        (&["user 2000-2200 mhm"], (0, 0), (1, 200)),
        (&["user 9900-10500 mhm"], (0, 0), (1, 100)),
        (&["user 2000-2400 stop"], (0, 0), (1, 400)),
        (&["user 2000-2200 mhm", "user 9900-10500 stop"], (1, 100), (1, 200)),
        (&["user 11000-11500 stop"], (1, 0), (0, 0)),
        // Whoever spoke since, or nobody did: the call was over.
        (&["user 11001-11500 stop"], (0, 0), (0, 0)),
    ];
    for (lines, interruptions, overlaps) in table {
        let all: Vec<Turn> = [cut("agent 0-10000 one two", "one")].into_iter().chain(turns(lines)).collect();
        let found = of(&all);
        assert_eq!([seen(&found.interruptions_by_user), seen(&found.overlaps_by_user)], [interruptions, overlaps], "{lines:?}");
    }
    assert_eq!(seen(&of(&[cut("agent 0-10000 one two", "one")]).interruptions_by_user), (0, 0));
}

#[test]
fn a_cut_stands_for_itself_where_nobody_knows_when_the_speech_ended_or_the_user_began() {
    for others in [["agent 0- one two", "user 2000-2200 mhm"], ["agent 0-10000 one two", "user - stop"]] {
        let found = of(&[cut(others[0], "one"), turn(others[1])]).interruptions_by_user;
        assert_eq!((seen(&found), found.turns, found.absent), ((1, 0), vec![0], None), "{others:?}");
    }
}

#[test]
fn who_cuts_two_interrupts_once() {
    let cuts = [cut("agent 0-2000 one two", "one"), cut("human_agent 0-2050 three four", "three")];
    let after = of(&[cuts.to_vec(), turns(&["user 2100-3000 stop"])].concat()).interruptions_by_user;
    assert_eq!((seen(&after), after.turns), ((1, 0), vec![0, 1, 2]));
    let within = of(&[cuts.to_vec(), turns(&["user 2000-3000 stop"])].concat()).interruptions_by_user;
    assert_eq!(seen(&within), (1, 50));
}

#[test]
fn what_was_said_last_into_a_turn_that_was_cut_interrupted_it() {
    let turns =
        [cut("agent 0-5000 one two", "one"), turn("user 1000-2000 mhm"), turn("user 4900-6000 stop"), turn("agent 7000-8000 ok")];
    let found = of(&turns);
    assert_eq!((seen(&found.interruptions_by_user), seen(&found.overlaps_by_user)), ((1, 100), (1, 1_000)));
    assert_eq!(found.interruptions_by_user.turns, [0, 2]);
}

#[test]
fn one_that_interrupts_two_is_counted_once_whichever_of_the_two_is_told_first() {
    // The longer one goes on for too long: only the cut of the shorter one says who interrupted.
    let short = cut("agent 4000-7000 one two", "one");
    let long = cut("human_agent 4000-8000 three four", "three");
    let user = [turn("user 6900-9000 stop"), turn("user 6950-9000 mhm")];
    for agents in [[short.clone(), long.clone()], [long, short]] {
        let found = of(&[agents.to_vec(), user.to_vec()].concat());
        assert_eq!((seen(&found.interruptions_by_user), seen(&found.overlaps_by_user)), ((1, 1_100), (1, 1_050)));
    }
}

#[test]
fn a_latency_is_from_the_end_of_the_users_turns_to_the_beginning_of_the_answer() {
    let table: [(Lines, &[f64]); 11] = [
        (&["user 0-1000 a", "agent 1800-3000 b", "user 3000-4000 c", "agent 4200-5000 d"], &[200.0, 800.0]),
        // To the next of the user's turns, from the last.
        (&["user 0-1000 a", "user 2000-3000 b", "agent 3500-4000 c", "agent 9000-9500 d"], &[500.0]),
        (&["user 0-5000 a", "user 2000-3000 b", "agent 5500-6000 c"], &[500.0]),
        (&["user 0-1000 a", "agent 1000-2000 b"], &[0.0]),
        // The agent barges in.
        (&["user 0-1000 a", "agent 900-2000 b"], &[]),
        // The user is heard while the agent speaks, and the agent goes on.
        (&["agent 0-5000 a", "user 1000-2000 mhm", "agent 6000-7000 b"], &[]),
        // The user barges in, and is answered.
        (&["agent 0-2000 a", "user 1500-3000 no", "agent 3400-4000 b"], &[400.0]),
        // Nobody knows when the user ended, or the agent began.
        (&["user 0- a", "agent 1000-2000 b"], &[]),
        (&["user 0-1000 a", "agent - b", "agent 5000-6000 c"], &[]),
        (&["user 0-1000 a", "user - b", "agent 5000-6000 c"], &[]),
        (&["agent 0-1000 a", "user 2000-3000 b"], &[]),
    ];
    for (lines, expected) in table {
        assert_eq!(figures(lines).response_latency.counted, Distribution::of(expected.iter().copied()), "{lines:?}");
    }
    let answered = figures(&["agent 0-1 a", "user 0-1000 a", "user 2000-3000 b", "agent 3500-4000 c"]).response_latency;
    assert_eq!((answered.turns, answered.absent), (vec![2, 3], None));
    assert_eq!(figures(&["agent 0-1000 a", "user 2000-3000 b"]).response_latency.absent, Some(Absent::NoAnswer));
}

#[test]
fn a_hold_is_announced_and_lasts_until_the_agent_speaks_again() {
    let table: [(Lines, Seen); 9] = [
        (&["agent 0-1000 One moment, please.", "agent 9000-9500 Here it is."], (1, 8_000)),
        // What the user says is no waiting.
        (&["agent 0-1000 Please hold.", "user 1500-3500 sure", "agent 9000-9500 Thanks."], (1, 6_000)),
        // Nobody had to wait, or nobody said so.
        (&["agent 0-1000 One moment, please.", "agent 3999-5000 Here it is."], (0, 0)),
        (&["agent 0-1000 Let me see.", "agent 9000-9500 Here it is."], (0, 0)),
        // The person was asked something and answered.
        (&["agent 0-1000 One moment. Your name?", "user 5000-6000 Ann", "agent 6100-7000 Thanks."], (0, 0)),
        // Twice.
        (&["agent 0-1000 Hold on.", "agent 5000-6000 Un moment.", "human_agent 9000-9500 Hi."], (2, 7_000)),
        // The person hung up while waiting.
        (&["agent 0-1000 Please hold.", "user 31000-32000 Hello?"], (1, 30_000)),
        // How long the user spoke is not known.
        (&["agent 0-1000 Please hold.", "user 5000- sure", "agent 9000-9500 Thanks."], (1, 4_000)),
        // A person on the agent's side speaks all the while.
        (&["human_agent 0-9000 a", "agent 100-1000 Please hold.", "agent 9500-9900 Thanks."], (0, 0)),
    ];
    for (lines, expected) in table {
        let hold = figures(lines).hold;
        assert_eq!((hold.counted.count, hold.counted.total_ms, hold.absent), (expected.0, expected.1, None), "{lines:?}");
    }
    let hold = figures(&["user 0-1 a", "agent 2-3 b", "agent 10-1000 Hold on.", "user 2000-3000 ok", "agent 9000-9500 c"]).hold;
    assert_eq!(hold.turns, [2, 4]);
}

#[test]
fn tools_and_the_platform_put_people_on_hold_too() {
    let tool = |name: &str| {
        let call = ToolCall { name: Some(name.to_owned()), ..Default::default() };
        vec![
            turn("agent 0-1000 I will ask."),
            Turn { tool_call: Some(call), text: None, ..turn("tool 1000-1100 x") },
            turn("agent 9000-9500 Back."),
        ]
    };
    for (name, count) in [("put_on_hold", 1), ("holdCall", 1), ("HOLD", 1), ("household_lookup", 0), ("threshold", 0), ("", 0)] {
        assert_eq!(of(&tool(name)).hold.counted.count, count, "{name:?}");
    }
    let noted = figures(&["agent 0-1000 I will ask.", "system 1000-1000 The call is on hold.", "agent 9000-9500 Back."]);
    assert_eq!((noted.hold.counted.count, noted.hold.counted.total_ms), (1, 8_000));
}

#[test]
fn two_holds_do_not_count_the_same_time_when_an_end_contradicts_the_order_of_turns() {
    let found = figures(&["agent 0-0 please hold", "agent 7000- a", "agent 4000- b", "human_agent -0 please hold"]);
    assert_eq!((found.hold.counted, found.hold.absent), (Hold { total_ms: 4_000, count: 1 }, None));
}

#[test]
fn a_hold_nobody_knows_the_length_of_is_absent_and_none_that_was_not_announced() {
    assert_eq!(figures(&["agent - Please hold.", "agent - Thanks."]).hold.absent, Some(Absent::NoTimesOfHold));
    assert_eq!(
        figures(&["agent 0-1000 Please hold.", "user - ok", "agent 9000-9500 Thanks."]).hold.absent,
        Some(Absent::NoTimesOfHold)
    );
    assert_eq!(figures(&["agent - Hello.", "user 0-500 Hi."]).hold.value(), Some(&Hold::default()));
    assert_eq!(figures(&["agent - Hello.", "user - Hi."]).hold.absent, Some(Absent::NoTimes));
}

#[test]
fn a_hundred_thousand_turns_are_counted_in_time_that_grows_with_their_number() {
    let began = std::time::Instant::now();
    // Every turn overlaps thousands of others, is cut, and announces a hold.
    let turns: Vec<Turn> = (0..100_000_i64)
        .map(|number| {
            let role = ["agent", "user", "human_agent"][(number % 3) as usize];
            cut(&format!("{role} {}-{} please hold on now", number * 10, number * 10 + 90_000), "please hold")
        })
        .collect();
    let figures = of(&turns);
    assert_eq!(figures.turn_count.counted, 100_000);
    // Work that grew with the square would take an hour.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

fn any_turn() -> impl Strategy<Value = Turn> {
    let time = || prop_oneof![4 => (0..9_000_i64).prop_map(Some), 1 => any::<i64>().prop_map(Some), 1 => Just(None)];
    let text = || prop::option::of(prop_oneof!["[a ]{0,5}", Just("mhm".to_owned()), Just("please hold".to_owned())]);
    (prop::sample::select(Role::ALL), time(), time(), text(), text()).prop_map(|(role, start_ms, end_ms, text, heard_text)| {
        Turn { start_ms, end_ms, text, heard_text, ..Turn::new(TurnId(Uuid::nil()), role) }
    })
}

/// A turn of which it is known when it was spoken; many begin and end in the same instants.
fn any_timed_turn() -> impl Strategy<Value = Turn> {
    (any_turn(), 0..9_i64, 0..5_i64).prop_map(|(turn, start, length)| Turn {
        start_ms: Some(start * 1_000),
        end_ms: Some((start + length) * 1_000),
        ..turn
    })
}

/// The same, of somebody who speaks.
fn any_speech() -> impl Strategy<Value = Turn> {
    let speaks: Vec<Role> = Role::ALL.iter().copied().filter(|role| role.is_spoken()).collect();
    (any_timed_turn(), prop::sample::select(speaks)).prop_map(|(turn, role)| Turn { role, ..turn })
}

/// What does not depend on where turns stand in the transcript, without the places.
fn measured(figures: &Figures) -> impl PartialEq + std::fmt::Debug + use<> {
    let silence = crate::Silence { longest_after: None, ..figures.silence.counted };
    (
        (figures.reach_ms, figures.length_ms.counted, figures.talk.counted, silence, figures.hold.counted),
        [
            (figures.interruptions_by_user.counted, figures.interruptions_by_agent.counted),
            (figures.overlaps_by_user.counted, figures.overlaps_by_agent.counted),
        ],
        figures.response_latency.counted,
        [figures.talk.absent, figures.silence.absent, figures.hold.absent, figures.response_latency.absent],
    )
}

proptest! {
    #[test]
    fn what_is_measured_depends_on_the_times_and_not_on_the_order_of_turns(
        (turns, shuffled) in prop::collection::vec(any_speech(), 0..14)
            .prop_flat_map(|turns| (Just(turns.clone()), Just(turns).prop_shuffle()))
    ) {
        prop_assert_eq!(measured(&of(&turns)), measured(&of(&shuffled)));
    }

    #[test]
    fn nothing_lasts_longer_than_the_conversation(turns in prop::collection::vec(any_turn(), 0..14)) {
        let figures = of(&turns);
        let reach = figures.reach_ms.unwrap_or(0);
        let (agent, user) = talk(&figures);
        for crosstalk in [
            &figures.interruptions_by_user,
            &figures.interruptions_by_agent,
            &figures.overlaps_by_user,
            &figures.overlaps_by_agent,
        ] {
            let Interruptions { count, overlap_ms } = crosstalk.counted;
            prop_assert!(overlap_ms >= 0 && overlap_ms <= agent.ms.min(user.ms));
            prop_assert!(usize::try_from(count).unwrap() <= turns.len());
        }
        let silence = figures.silence.counted;
        prop_assert!(agent.ms.max(user.ms) + silence.total_ms <= reach, "{figures:?}");
        prop_assert!(agent.ms.max(user.ms) + figures.hold.counted.total_ms <= reach, "{figures:?}");
        prop_assert!((0..=reach).contains(&figures.length_ms.counted));
        prop_assert!(silence.longest_ms * i64::from(silence.count) >= silence.total_ms);
        prop_assert!(silence.total_ms >= SILENCE_MS * i64::from(silence.count));
        prop_assert!(figures.talk.counted.agent_ratio().is_none_or(|ratio| (0.0..=1.0).contains(&ratio)));
        prop_assert!(figures.exchanges.counted <= figures.turn_count.counted);
        let latency = figures.response_latency.counted;
        prop_assert!(latency.is_none_or(|latency| latency.min >= 0.0 && latency.max <= reach as f64));
        prop_assert_eq!(latency.is_none(), figures.response_latency.absent.is_some());
    }

    #[test]
    fn a_figure_names_turns_that_were_spoken_each_once(turns in prop::collection::vec(any_turn(), 0..14)) {
        let figures = of(&turns);
        let named = [
            &figures.turn_count.turns, &figures.length_ms.turns, &figures.talk.turns, &figures.silence.turns, &figures.hold.turns,
            &figures.interruptions_by_user.turns, &figures.overlaps_by_agent.turns, &figures.response_latency.turns,
        ];
        for places in named {
            prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(places.iter().all(|place| turns[*place as usize].is_spoken()));
        }
        let silence = &figures.silence;
        prop_assert_eq!(silence.counted.longest_after.is_some(), silence.counted.count > 0);
        prop_assert!(silence.counted.longest_after.is_none_or(|place| silence.turns.contains(&place)));
    }

    #[test]
    fn of_two_conversations_one_after_the_other_figures_add_up(
        first in prop::collection::vec(any_timed_turn(), 0..8), second in prop::collection::vec(any_timed_turn(), 0..8)
    ) {
        // An hour later, so that nothing of one runs into the other.
        let hour = |ms: Option<i64>| ms.map(|ms| ms + 3_600_000);
        let later = |turn: &Turn| Turn { start_ms: hour(turn.start_ms), end_ms: hour(turn.end_ms), ..turn.clone() };
        let both: Vec<Turn> = first.iter().cloned().chain(second.iter().map(later)).collect();
        let (first, second, both) = (of(&first), of(&second), of(&both));
        let talk_ms = |figures: &Figures| (talk(figures).0.ms, talk(figures).1.ms);
        prop_assert_eq!(talk_ms(&both), (talk_ms(&first).0 + talk_ms(&second).0, talk_ms(&first).1 + talk_ms(&second).1));
        type Pick = fn(&Figures) -> Seen;
        let picks: [Pick; 4] = [
            |figures| seen(&figures.interruptions_by_user), |figures| seen(&figures.interruptions_by_agent),
            |figures| seen(&figures.overlaps_by_user), |figures| seen(&figures.overlaps_by_agent),
        ];
        for pick in picks {
            let (first, second) = (pick(&first), pick(&second));
            prop_assert_eq!(pick(&both), (first.0 + second.0, first.1 + second.1));
        }
        // Only the pause between them is new.
        let between = u32::from(first.reach_ms.is_some() && second.reach_ms.is_some());
        prop_assert_eq!(both.silence.counted.count, first.silence.counted.count + second.silence.counted.count + between);
    }
}
