//! Conversations that no provider should send, and some do.

use colloquy_analytics::analysis::{Analysis, Rules, Taxonomy, TopicPhrases, analyse};
use colloquy_analytics::input::Input;
use colloquy_events::{Role, Sentiment, Turn};
use colloquy_types::TurnId;
use proptest::prelude::*;

use crate::samples;

/// Returns a conversation that ended and of which only the turns are known.
fn conversation(turns: &[(Role, &str)]) -> Input {
    let (_, mut input) = samples::all().into_iter().find(|(name, _)| name == "vapi__end-of-call-report").unwrap();
    input.record.language = None;
    input.record.judgements.clear();
    let id = input.record.conversation_id;
    input.turns =
        (0..).zip(turns).map(|(place, (role, text))| turn(TurnId::derive(id, &format!("{place}")), *role, text)).collect();
    input
}

fn turn(turn_id: TurnId, role: Role, text: &str) -> Turn {
    Turn { text: Some(text.to_owned()), ..Turn::new(turn_id, role) }
}

fn analysed(turns: &[(Role, &str)]) -> Analysis {
    analyse(&conversation(turns), &Rules::default())
}

#[test]
fn an_empty_conversation_has_reasons_for_everything_that_is_said() {
    let analysis = analysed(&[]);
    let reasons = [
        analysis.sentiment.absent_because,
        analysis.keywords.absent_because,
        analysis.topics.absent_because,
        analysis.intent.absent_because,
        analysis.language.absent_because,
        analysis.resolution.absent_because,
        analysis.talk.absent_because,
        analysis.satisfaction_inferred.absent_because,
    ];
    assert!(reasons.iter().all(Option::is_some), "{reasons:?}");
    assert_eq!(analysis.turn_count.value, Some(0));
}

#[test]
fn emoji_alone_are_neither_language_nor_topic_nor_mood() {
    let analysis = analysed(&[(Role::User, "👍🏽👍"), (Role::Agent, "🙂"), (Role::User, "😡😡😡")]);
    assert_eq!(analysis.language.absent_because.as_deref(), Some("too little was said to tell the language"));
    assert_eq!((analysis.topics.value, analysis.intent.value, analysis.keywords.value), (None, None, None));
    let reason = analysis.sentiment.absent_because.unwrap();
    assert_eq!(reason, "VADER covers English; the language could not be told");
    assert_eq!(analysis.turn_count.value, Some(3));
}

#[test]
fn control_characters_and_directions_hide_nothing() {
    let analysis = analysed(&[
        (Role::User, "\0I want to cancel my\u{200b} subscription\u{202e} now please, and I want my money back\u{7}"),
        (Role::Agent, "\u{1b}[31mSure, I can do that for you\0\0\0"),
    ]);
    assert_eq!(analysis.language.value.as_deref(), Some("en"));
    assert!(analysis.intent.value.is_some());
    let names: Vec<&str> = analysis.topics.value.iter().flatten().map(|topic| topic.name.as_str()).collect();
    assert!(names.contains(&"cancellation") && names.contains(&"refund"), "{names:?}");
}

#[test]
fn right_to_left_languages_are_known_and_the_rest_says_why_not() {
    let hebrew = analysed(&[(Role::User, "שלום, אני רוצה לבטל את התור שלי ליום חמישי בבקשה")]);
    assert_eq!(hebrew.language.value.as_deref(), Some("he"));
    assert_eq!(hebrew.sentiment.absent_because.as_deref(), Some("VADER covers English; the language is he"));
    let arabic = analysed(&[(Role::User, "مرحبا، أريد إلغاء موعدي يوم الخميس من فضلك لأنني مريض ولا أستطيع الحضور إلى العيادة")]);
    assert_eq!(arabic.language.value.as_deref(), Some("ar"));
    assert!(arabic.topics.absent_because.is_some() && arabic.keywords.value.is_some());
}

#[test]
fn who_mixes_languages_is_understood_turn_by_turn() {
    let analysis = analysed(&[
        (Role::Agent, "Hello and thank you for calling Harbour Dental, how can I help you today?"),
        (Role::User, "Hola, quiero cancelar mi cita del jueves porque no puedo ir a la clínica ese día por el trabajo"),
        (Role::Agent, "Sure, I can cancel it for you, is there anything else that I can do for you?"),
        (Role::User, "No thank you, that is all, you have been really great and very helpful with everything today!"),
    ]);
    assert_eq!(analysis.intent.value.as_deref(), Some("cancel_appointment"));
    let mood = analysis.sentiment.value.unwrap();
    assert_eq!((mood.label, mood.by_turn.len(), mood.by_turn[0].0), (Sentiment::Positive, 1, 3));
}

#[test]
fn a_hundred_thousand_turns_are_analysed_within_bounds() {
    let lines = [
        (Role::User, "I still have no internet and this is the third time that I call about my broken router"),
        (Role::Agent, "I am sorry to hear that. Could you restart the router and tell me which lights are on?"),
        (Role::User, "It doesn't help at all, I want to talk to a manager now"),
        (Role::Agent, "Let me check that for you, one moment please."),
    ];
    let turns: Vec<(Role, &str)> = lines.iter().copied().cycle().take(100_000).collect();
    let analysis = analysed(&turns);
    assert_eq!(analysis.turn_ids.len(), 100_000);
    assert_eq!(analysis.turn_count.value, Some(100_000));
    assert_eq!(analysis.intent.value.as_deref(), Some("report_problem"));
    assert!(analysis.sentiment.turns.len() <= 100 && analysis.sentiment.turn_count > 10_000);
    assert!(analysis.topics.value.iter().flatten().all(|topic| topic.turns.len() <= 100));
}

#[test]
fn one_enormous_turn_is_read_in_part() {
    let enormous = "good ".repeat(1_000_000);
    let analysis = analysed(&[(Role::User, &enormous), (Role::User, &"x".repeat(1_000_000))]);
    assert_eq!(analysis.turn_count.value, Some(1));
}

#[test]
fn an_enormous_taxonomy_of_phrases_that_begin_alike_is_searched_all_the_same() {
    let topics = (0..500).map(|topic| TopicPhrases {
        name: format!("topic {topic}"),
        phrases: (0..100)
            .map(|phrase| format!("i want to {}", "very ".repeat(phrase % 30) + &format!("do{topic}x{phrase}")))
            .collect(),
    });
    let rules = Rules { taxonomy: Taxonomy::new(topics.collect()), ..Rules::default() };
    let turns: Vec<(Role, &str)> = vec![(Role::User, "I want to very very very very very want to do499x1 it"); 50];
    let input = conversation(&turns);
    assert!(analyse(&input, &rules).topics.value.iter().flatten().all(|topic| topic.source != "taxonomy"));
    let input = conversation(&[(Role::User, "Well, I want to very do499x1, that is what I want")]);
    assert_eq!(analyse(&input, &rules).topics.value.unwrap()[0].name, "topic 499");
}

#[test]
fn a_taxonomy_of_one_word_written_many_times_costs_no_more_than_what_is_said() {
    let topic = |topic| TopicPhrases { name: format!("topic {topic}"), phrases: vec!["a".to_owned(); 100] };
    let rules = Rules { taxonomy: Taxonomy::new((0..500).map(topic).collect()), ..Rules::default() };
    let said = "a ".repeat(1_000);
    let input = conversation(&vec![(Role::User, said.as_str()); 300]);
    let began = std::time::Instant::now();
    let topics = analyse(&input, &rules).topics;
    // Were every word looked up in every phrase, it would take an hour.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    let own: Vec<usize> = topics.value.unwrap().iter().map(|topic| topic.turns.len()).collect();
    assert_eq!((own.len(), own.iter().max()), (200, Some(&100)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_conversation_is_analysed_the_same_every_time(
        said in prop::collection::vec((prop::sample::select(Role::ALL), any::<String>()), 0..6),
        familiar in prop::collection::vec("(I want|my|order|cancel|great|not|speak to a human|[a-z]{1,8}|[.,!? ]){0,12}", 0..6),
    ) {
        let mut turns: Vec<(Role, &str)> = said.iter().map(|(role, text)| (*role, text.as_str())).collect();
        turns.extend(familiar.iter().map(|text| (Role::User, text.as_str())));
        let input = conversation(&turns);
        let bytes = || serde_json::to_vec(&analyse(&input, &Rules::default())).unwrap();
        prop_assert_eq!(bytes(), bytes());
    }
}
