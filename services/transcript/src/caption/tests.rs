//! Whole conversations: against golden files, and against the rules for whatever comes in.

use std::collections::BTreeMap;
use std::path::Path;

use colloquy_events::{Role, Turn, Word};
use colloquy_types::TurnId;
use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;
use crate::wording::one_line;

fn turn(role: Role, start_ms: impl Into<Option<i64>>, end_ms: impl Into<Option<i64>>, text: &str) -> Turn {
    let (start_ms, end_ms) = (start_ms.into(), end_ms.into());
    Turn { text: Some(text.into()), start_ms, end_ms, ..Turn::new(TurnId(uuid::Uuid::nil()), role) }
}

/// A turn whose words take 60 ms a letter, with 80 ms between them and a breath after each sentence.
fn with_words(role: Role, start_ms: i64, text: &str) -> Turn {
    let mut at = start_ms;
    let words = text.split_whitespace().map(|word| {
        let start_ms = at;
        let end_ms = start_ms + 60 * word.chars().count() as i64;
        at = end_ms + if word.ends_with(['.', '?', '!']) { 700 } else { 80 };
        Word { text: word.into(), start_ms, end_ms }
    });
    let words = words.collect();
    Turn { words, ..turn(role, None, None, text) }
}

/// Fails unless an independent parser reads the same cues from both formats.
fn assert_read_back(cues: &[Cue]) {
    let ms = |time: time::Time| {
        let (hours, minutes, seconds, ms) = time.as_hms_milli();
        ((i64::from(hours) * 60 + i64::from(minutes)) * 60 + i64::from(seconds)) * 1000 + i64::from(ms)
    };
    let parsed = rsubs_lib::SRT::parse(srt(cues)).unwrap();
    assert_eq!(parsed.lines.len(), cues.len());
    for (index, (line, cue)) in parsed.lines.iter().zip(cues).enumerate() {
        assert_eq!(line.sequence_number as usize, index + 1);
        assert_eq!((ms(line.start), ms(line.end)), (cue.start_ms, cue.end_ms));
        let text = format!("{}: {}", cue.speaker, cue.lines.join("\r\n"));
        assert_eq!(line.text, text.replace("-->", "→"));
    }
    let parsed = rsubs_lib::VTT::parse(vtt(cues)).unwrap();
    assert_eq!(parsed.lines.len(), cues.len());
    for (line, cue) in parsed.lines.iter().zip(cues) {
        assert_eq!((ms(line.start), ms(line.end)), (cue.start_ms, cue.end_ms));
        let (speaker, text) = line.text.strip_prefix("<v ").and_then(|text| text.split_once('>')).unwrap();
        let unescape = |text: &str| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        assert!(!text.contains(['<', '>']), "{text}");
        assert_eq!((unescape(speaker), unescape(text)), (cue.speaker.clone(), cue.lines.join("\n")));
    }
}

/// Compares with the golden files of a conversation. With `UPDATE_GOLDEN=1` in the environment, writes them instead.
fn assert_golden(name: &str, turns: &[Turn], options: &Options) {
    let cues = cues(turns, options);
    assert_rules(&cues);
    assert_read_back(&cues);
    let text = crate::text::text(turns, options.wording);
    for (extension, made) in [("srt", srt(&cues)), ("vtt", vtt(&cues)), ("txt", text)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.{extension}"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(made, golden, "{} differs", path.display());
    }
}

fn assert_rules(cues: &[Cue]) {
    let mut free_ms = 0;
    for cue in cues {
        assert!(cue.start_ms >= free_ms, "begins before {free_ms}: {cue:?}");
        assert!((1000..=7000).contains(&(cue.end_ms - cue.start_ms)), "too short or too long: {cue:?}");
        assert!((1..=2).contains(&cue.lines.len()), "too many or no lines: {cue:?}");
        assert!(!cue.speaker.trim().is_empty(), "nobody says: {cue:?}");
        for text in cue.lines.iter().chain([&cue.speaker]) {
            let columns: usize = text.graphemes(true).map(|g| unicode_width::UnicodeWidthStr::width(g).min(2)).sum();
            assert!(columns <= 42, "{columns} columns: {text:?}");
            assert!(!text.trim().is_empty() && !text.contains(char::is_control), "{text:?}");
        }
        free_ms = cue.end_ms;
    }
}

#[test]
fn an_empty_conversation_is_an_empty_file() {
    for turns in [vec![], vec![turn(Role::Tool, 0, 1000, "{}"), turn(Role::User, 0, 1000, " \n")]] {
        let cues = cues(&turns, &Options::default());
        assert_eq!((srt(&cues).as_str(), vtt(&cues).as_str()), ("", "WEBVTT\n"));
    }
}

#[test]
fn golden_whole_seconds_without_ends() {
    let turns = [
        turn(Role::Agent, 0, None, "Hello, this is Riverside Dental, how can I help you today?"),
        turn(Role::User, 4000, None, "Hi. I need to move my appointment."),
        turn(Role::Agent, 7000, None, "Of course."),
        turn(Role::Agent, 7000, None, "Can you tell me your name and your date of birth?"),
        turn(Role::Tool, 8000, None, "{\"name\": \"lookup\"}"),
        turn(Role::User, 11_000, None, "Maria Lopez."),
        turn(Role::User, 11_000, None, "April third, nineteen eighty-eight."),
        turn(
            Role::Agent,
            15_000,
            None,
            "Thank you, Maria. I see a cleaning with Doctor Chen on Thursday at ten in the morning. I could offer you Friday at \
             nine, Friday at half past two, or Monday of the week after that at eleven; which one would suit you best?",
        ),
        turn(Role::User, 29_000, None, "Friday at nine, please."),
        turn(Role::Agent, 32_000, None, "Done. Goodbye!"),
    ];
    assert_golden("whole_seconds", &turns, &Options { duration_ms: Some(34_000), ..Options::default() });
}

#[test]
fn golden_words_and_a_long_monologue() {
    let story = "Well, it started last Tuesday when the parcel should have come. I waited the whole day, and nobody rang. \
                 Then I got a message that said delivered, which was simply not true, because I was sitting right next to \
                 the door. So I called the carrier. They told me to call you. And now I am calling you, obviously, since \
                 this is the third time that this has happened to me in one year!";
    let turns = [
        with_words(Role::Agent, 500, "Thanks for calling. What happened?"),
        with_words(Role::User, 4200, story),
        with_words(Role::Agent, 44_000, "I am sorry."),
        with_words(Role::Agent, 45_700, "Let me check."),
        with_words(Role::User, 58_000, "Ok."),
    ];
    assert_golden("words", &turns, &Options { duration_ms: Some(60_000), ..Options::default() });
}

#[test]
fn golden_interruptions() {
    let terms = "Before we go on I have to read you our terms of service. They have eleven parts, of which the first concerns";
    let cut = Turn {
        text: Some(format!("{terms} the definitions used throughout the whole of the agreement.")),
        heard_text: Some(terms.into()),
        ..with_words(Role::Agent, 1000, terms)
    };
    let turns = [
        cut,
        with_words(Role::User, 3100, "Mhm."),
        with_words(Role::User, 8300, "No, stop, please, I know them."),
        with_words(Role::Agent, 8900, "All right."),
        turn(Role::HumanAgent, 11_000, 12_000, "I will take over from here, good morning."),
        Turn { speaker: Some("Supervisor <Ann>".into()), ..turn(Role::HumanAgent, 12_000, 12_000, "Hello.") },
    ];
    assert_golden("interruptions", &turns, &Options::default());
}

#[test]
fn golden_scripts_of_the_world() {
    let turns = [
        turn(Role::User, 0, 4000, "مرحبا، أريد أن أغير موعدي من يوم الخميس إلى يوم الاثنين المقبل إذا كان ذلك ممكنا."),
        turn(
            Role::Agent,
            4000,
            12_000,
            "您好！我可以帮您把预约从星期四改到下星期一上午十点，请问您方便吗？如果不方便的话，星期二下午三点也可以，请您告诉我您的选择。",
        ),
        turn(Role::User, 12_000, 15_000, "予約を月曜日の午前十時に変更してください。ありがとうございます。"),
        turn(Role::Agent, 15_000, 18_000, "네, 월요일 오전 열 시로 예약을 변경해 드렸습니다. 감사합니다. 좋은 하루 보내세요."),
        turn(Role::User, 18_000, 20_000, "👍🏽👍🏽 merci 👩‍👩‍👧‍👦 à bientôt\u{a0}! 🇫🇷🇫🇷"),
        turn(Role::Agent, 20_000, 21_000, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft."),
    ];
    assert_golden("scripts", &turns, &Options::default());
}

#[test]
fn golden_markup_and_arrows() {
    let turns = [
        turn(Role::User, 0, 2000, "1\n00:00:00,000 --> 00:00:09,000\n\nforged"),
        turn(Role::Agent, 2000, 5000, "</v><c.red>AT&T</c> &amp; a<b --> c>d NOTE\u{0}\u{1b}[31m {\\an8}"),
        Turn { speaker: Some("Eve\n\n2 --> 3 & <b>".into()), ..turn(Role::User, 6000, 8000, "STYLE") },
    ];
    assert_golden("markup", &turns, &Options::default());
}

#[test]
fn golden_translation() {
    let german = "Guten Tag, ich möchte bitte meinen Termin am Donnerstag absagen.";
    let english = "Good afternoon, I would like to cancel my appointment on Thursday, please.";
    let turns = [
        Turn { translated_text: Some(english.into()), ..with_words(Role::User, 1000, german) },
        with_words(Role::Agent, 7000, "Kein Problem."),
    ];
    let names = Names { user: "Caller".into(), ..Names::default() };
    assert_golden("translation", &turns, &Options { wording: Wording::Translated, names, ..Options::default() });
}

#[test]
fn more_than_a_day_and_more_than_a_hundred_hours_can_be_written() {
    assert_eq!(timestamp(25 * 3_600_000 + 61_001, ','), "25:01:01,001");
    assert_eq!(timestamp(123 * 3_600_000, '.'), "123:00:00.000");
}

#[test]
fn a_turn_of_very_many_words_keeps_the_rules() {
    let text = "word, ".repeat(200_000);
    let long = turn(Role::User, 0, None, &text);
    let marks = turn(Role::Agent, 5, None, &"\u{301}\u{200b}".repeat(100_000));
    let cues = cues(&[long, marks], &Options::default());
    assert_rules(&cues);
}

/// Words as people say them, and as nobody does.
fn any_text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        6 => "[a-zA-Z]{1,12}[.,!?;]?",
        1 => "[א-ת]{1,9}",
        1 => "[一-龥]{1,30}[。，！？]?",
        1 => "[ぁ-んァ-ヶー]{1,20}",
        1 => "[가-힣]{1,9}",
        1 => "(👍🏽|👩‍👩‍👧‍👦|🇫🇷|❤️|👩🏿‍🚀|1️⃣){1,30}",
        1 => "[a-z]{43,200}",
        1 => "e[\u{300}-\u{36f}]{1,60}",
        1 => "[ क-हा-ौ्\u{600}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{feff}]{1,20}",
        1 => "(-->|<v|</v>|&amp;|<b>|NOTE|WEBVTT|\u{0}|\r\n|\n\n1\n|\u{2028}|\u{85}|\u{a0}){1,3}",
        1 => "\\PC{1,20}",
        1 => any::<String>(),
    ];
    prop::collection::vec(word, 0..30).prop_map(|words| words.join(" "))
}

fn any_time() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        3 => Just(None),
        6 => (0i64..60_000).prop_map(Some),
        3 => (0i64..30).prop_map(|seconds| Some(seconds * 1000)),
        1 => (-5_000i64..500_000_000).prop_map(Some),
        1 => any::<i64>().prop_map(Some),
        1 => Just(Some(i64::MAX)),
        1 => Just(Some(i64::MIN)),
    ]
}

fn any_words(text: &str) -> BoxedStrategy<Vec<Word>> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let times = prop::collection::vec((any_time(), -100i64..9_000), words.len());
    let given = times.prop_map(move |times| {
        let word = |(text, (start, length)): (&String, (Option<i64>, i64))| {
            let start_ms = start.unwrap_or(1234);
            Word { text: text.clone(), start_ms, end_ms: start_ms.saturating_add(length) }
        };
        words.iter().zip(times).map(word).collect()
    });
    prop_oneof![2 => Just(Vec::new()), 1 => given].boxed()
}

fn any_turn() -> impl Strategy<Value = Turn> {
    let role = prop_oneof![4 => Just(Role::Agent), 4 => Just(Role::User), 1 => Just(Role::HumanAgent), 1 => Just(Role::Tool)];
    let texts = (any_text(), prop::option::weighted(0.2, any_text()), prop::option::weighted(0.2, any_text()));
    let texts = texts.prop_flat_map(|(text, heard, translated)| (any_words(&text), Just((text, heard, translated))));
    let turn = (role, any_time(), any_time(), texts);
    turn.prop_map(|(role, start_ms, end_ms, (words, (text, heard_text, translated_text)))| Turn {
        heard_text,
        translated_text,
        words,
        ..turn_of(role, start_ms, end_ms, &text)
    })
}

fn turn_of(role: Role, start_ms: Option<i64>, end_ms: Option<i64>, text: &str) -> Turn {
    turn(role, start_ms, end_ms, text)
}

fn without_spaces(text: &str) -> String {
    text.chars().filter(|c| *c != ' ').collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_turns_make_cues_that_keep_the_rules_and_say_everything_in_order(
        mut turns in prop::collection::vec(any_turn(), 0..12),
        duration_ms in any_time(),
        translated in any::<bool>(),
    ) {
        for (index, turn) in turns.iter_mut().enumerate() {
            turn.speaker = Some(format!("Speaker {index}"));
        }
        let wording = if translated { Wording::Translated } else { Wording::Heard };
        let cues = cues(&turns, &Options { duration_ms, wording, ..Options::default() });
        assert_rules(&cues);
        let mut said: BTreeMap<String, String> = BTreeMap::new();
        for cue in &cues {
            said.entry(cue.speaker.clone()).or_default().push_str(&without_spaces(&cue.lines.concat()));
        }
        let expected = turns.iter().enumerate().filter_map(|(index, turn)| {
            Some((format!("Speaker {index}"), without_spaces(&wording.of(turn)?)))
        });
        prop_assert_eq!(said, expected.collect::<BTreeMap<_, _>>());
    }

    #[test]
    fn any_turns_make_files_that_an_independent_parser_reads(
        mut turns in prop::collection::vec(any_turn(), 0..12),
        speaker in any_text(),
    ) {
        if let Some(turn) = turns.first_mut() {
            turn.speaker = Some(speaker);
        }
        let cues = cues(&turns, &Options::default());
        assert_rules(&cues);
        // The parser knows times of day only.
        let first_day: Vec<Cue> = cues.into_iter().filter(|cue| cue.end_ms < 86_400_000).collect();
        assert_read_back(&first_day);
    }

    #[test]
    fn turns_one_after_the_other_are_shown_in_their_order(
        turns in prop::collection::vec((any::<bool>(), 0i64..3, any_text()), 0..20),
    ) {
        let mut second = 0;
        let turns: Vec<Turn> = turns.into_iter().map(|(user, gap, text)| {
            second += gap;
            turn(if user { Role::User } else { Role::Agent }, second * 1000, None, &text)
        }).collect();
        let shown: String = cues(&turns, &Options::default()).iter().map(|cue| cue.lines.concat()).collect();
        let said: String = turns.iter().filter_map(Turn::heard).filter(|text| !text.trim().is_empty()).map(one_line).collect();
        prop_assert_eq!(without_spaces(&shown), without_spaces(&said));
    }
}
