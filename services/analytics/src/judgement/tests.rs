use colloquy_events::Sentiment;
use serde_json::json;

use super::*;

fn custom(values: &[(&str, i64)]) -> JsonMap {
    values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

fn by(authority: &str, intent: &str) -> (String, Judgement) {
    (authority.to_owned(), Judgement { intent: Some(intent.to_owned()), ..Default::default() })
}

#[test]
fn a_person_leads_then_the_provider_or_our_own_as_the_organization_wants() {
    let own = by("own", "own now").1;
    let leads = |authorities: &[(&str, &str)], own_leads| {
        let told = authorities.iter().map(|(authority, intent)| by(authority, intent)).collect();
        leading(&told, &own, own_leads).intent.unwrap()
    };
    let all = [("own", "own then"), ("provider", "provider"), ("own_leading", "own then"), ("human", "human")];
    assert_eq!([leads(&all, false), leads(&all, true)], ["human", "human"]);
    assert_eq!([leads(&all[..3], false), leads(&all[..3], true)], ["provider", "own now"]);
    assert_eq!([leads(&all[..1], false), leads(&[], true)], ["own now", "own now"]);
}

#[test]
fn what_our_analysers_do_not_find_any_more_does_not_linger() {
    let told = BTreeMap::from([by("own", "then"), by("own_leading", "then")]);
    for own_leads in [false, true] {
        assert_eq!(leading(&told, &Judgement::default(), own_leads), Judgement::default());
    }
}

#[test]
fn each_value_comes_from_the_weightiest_who_says_something_of_it() {
    let told = BTreeMap::from([
        (
            "human".to_owned(),
            Judgement {
                call_successful: Some(CallSuccessful::Unknown),
                topics: Some(Vec::new()),
                sentiment: Some(Sentiment::Negative),
                custom_analysis: custom(&[("a", 1)]),
                ..Default::default()
            },
        ),
        (
            "provider".to_owned(),
            Judgement {
                call_successful: Some(CallSuccessful::Failure),
                summary: Some(" ".to_owned()),
                sentiment: Some(Sentiment::Positive),
                satisfaction_score: Some(9.0),
                custom_analysis: custom(&[("a", 2), ("b", 2)]),
                ..Default::default()
            },
        ),
        ("own".to_owned(), Judgement { summary: Some("then".to_owned()), ..Default::default() }),
    ]);
    let own = Judgement {
        topics: Some(vec!["billing".to_owned()]),
        satisfaction_score: Some(2.0),
        sentiment_score: Some(f64::NAN),
        custom_analysis: custom(&[("b", 3), ("c", 3)]),
        ..Default::default()
    };
    let expected = Judgement {
        call_successful: Some(CallSuccessful::Failure),
        sentiment: Some(Sentiment::Negative),
        topics: Some(vec!["billing".to_owned()]),
        satisfaction_score: Some(2.0),
        custom_analysis: custom(&[("a", 1), ("b", 2), ("c", 3)]),
        ..Default::default()
    };
    assert_eq!(leading(&told, &own, false), expected);
}

#[test]
fn our_own_judgement_is_told_with_the_weight_the_organization_gives_it() {
    let own = Judgement {
        call_successful: Some(CallSuccessful::Unknown),
        intent: Some("book".to_owned()),
        topics: Some(Vec::new()),
        custom_analysis: custom(&[("a", 1)]),
        ..Default::default()
    };
    for (own_leads, authority) in [(false, Authority::Own), (true, Authority::OwnLeading)] {
        let expected = Judged {
            facts: Facts { language: Some("de".to_owned()), ..Facts::default() },
            intent: Some("book".to_owned()),
            custom_analysis: Some(custom(&[("a", 1)])),
            ..Judged::by(authority)
        };
        assert_eq!(to_event(&own, Some("de"), own_leads), expected);
    }
    assert_eq!(to_event(&Judgement::default(), None, false), Judged::by(Authority::Own));
}

#[test]
fn what_was_written_is_read_again() {
    let own = Judgement {
        call_successful: Some(CallSuccessful::Success),
        summary: Some("It went well.".to_owned()),
        sentiment: Some(Sentiment::Neutral),
        sentiment_score: Some(0.01),
        topics: Some(vec!["a".to_owned()]),
        keywords: Some(vec!["b".to_owned()]),
        intent: Some("c".to_owned()),
        resolution_status: Some(ResolutionStatus::Escalated),
        satisfaction_score: Some(3.5),
        custom_analysis: custom(&[("d", 1)]),
    };
    for judgement in [own, Judgement::default()] {
        let read = all_from_pb(&[to_pb("provider", &judgement)]).unwrap();
        assert_eq!(read, BTreeMap::from([("provider".to_owned(), judgement)]));
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let bad = |judgement: pb::Judgement| all_from_pb(&[judgement]).unwrap_err().field;
    let human = || pb::Judgement { authority: "human".to_owned(), ..Default::default() };
    let analytics = |analytics| pb::Judgement { analytics: Some(analytics), ..human() };
    assert_eq!(bad(pb::Judgement::default()), "judgements[0].authority");
    assert_eq!(bad(pb::Judgement { call_successful: "maybe".to_owned(), ..human() }), "judgements[0].call_successful");
    let sentiment = pb::Analytics { sentiment: Some("sad".to_owned()), ..Default::default() };
    assert_eq!(bad(analytics(sentiment)), "judgements[0].analytics.sentiment");
    let custom = pb::Analytics { custom_analysis_json: "[]".to_owned(), ..Default::default() };
    assert_eq!(bad(analytics(custom)), "judgements[0].analytics.custom_analysis_json");
}
