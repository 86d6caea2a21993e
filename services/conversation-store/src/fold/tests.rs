use colloquy_events::{
    Alert, Analysis, Authority, CallSuccessful, Command, CommandDone, CommandKind, CommandRefused, ControlOffer, Cost, EndStatus,
    Ended, ErrorRaised, Facts, Feedback, LeaseChange, LeaseState, LiveStatus, Outcome, Recording, RecordingChannel,
    ResolutionStatus, Role, Session, SessionEnd, Severity, Speech, SpeechState, Status, Transfer, Turn, Update,
};
use colloquy_types::{ConversationId, EventId, Provider, TurnId};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::conversation::{RecordingPlace, Satisfaction};
use crate::convert::record;

fn event(number: u64, at: i64, data: Data) -> Event {
    Event {
        event_id: EventId(Uuid::from_u128(u128::from(number))),
        conversation_id: ConversationId(Uuid::nil()),
        provider: Provider::Native,
        external_id: "c".to_owned(),
        occurred_at: Timestamp::from_millis(at).unwrap(),
        ordinal: 0,
        data,
    }
}

fn object(value: Value) -> Option<JsonMap> {
    value.as_object().cloned()
}

fn folded(events: &[Event]) -> Conversation {
    fold(events).unwrap()
}

#[test]
fn nothing_folds_to_nothing() {
    assert_eq!(fold(&[]), None);
}

#[test]
fn a_later_poorer_event_never_clears_a_richer_one() {
    let facts = Facts {
        channel: Some("phone".to_owned()),
        metadata: object(json!({"a": 1, "b": 1})),
        tags: vec!["x".to_owned()],
        ..Facts::default()
    };
    let later = Facts { metadata: object(json!({"b": 2})), tags: vec!["y".to_owned(), "x".to_owned()], ..Facts::default() };
    let rich = Ended { end_reason: Some("user_ended".to_owned()), duration_ms: Some(5), ..Ended::new(EndStatus::Completed) };
    let events = [
        event(1, 10, Data::Started(facts)),
        event(2, 20, Data::Updated(Update { facts: later, status: None })),
        event(3, 30, Data::Ended(rich)),
        event(4, 40, Data::Ended(Ended::new(EndStatus::Completed))),
    ];
    let conversation = folded(&events);
    assert_eq!(conversation.channel.as_deref(), Some("phone"));
    assert_eq!(Value::Object(conversation.metadata), json!({"a": 1, "b": 2}));
    assert_eq!(conversation.tags, ["x", "y"]);
    assert_eq!(conversation.end_reason.as_deref(), Some("user_ended"));
    assert_eq!(conversation.duration_ms, Some(5));
}

#[test]
fn a_real_end_beats_an_inferred_one_whenever_it_comes() {
    let inferred = Ended { end_reason: Some("unknown_end".to_owned()), inferred: true, ..Ended::new(EndStatus::Failed) };
    let live = event(1, 1, Data::Started(Facts::default()));
    let closed = folded(&[live.clone(), event(2, 500, Data::Ended(inferred.clone()))]);
    assert_eq!((closed.status, closed.end_reason.as_deref()), (Status::Failed, Some("unknown_end")));
    assert_eq!(closed.ended_at, None);
    let real = event(3, 100, Data::Ended(Ended::new(EndStatus::Completed)));
    let mended = folded(&[live, real, event(2, 500, Data::Ended(inferred))]);
    assert_eq!((mended.status, mended.end_reason), (Status::Completed, None));
    assert_eq!(mended.ended_at, Timestamp::from_millis(100).ok());
}

#[test]
fn terminal_beats_live_even_when_the_live_event_is_younger() {
    let update = Update { status: Some(LiveStatus::InProgress), ..Update::default() };
    let events = [event(1, 10, Data::Ended(Ended::new(EndStatus::Abandoned))), event(2, 99, Data::Updated(update))];
    assert_eq!(folded(&events).status, Status::Abandoned);
}

#[test]
fn a_conversation_only_announced_is_initiated_until_something_happens() {
    let announced = event(1, 1, Data::Updated(Update { status: Some(LiveStatus::Initiated), ..Update::default() }));
    assert_eq!(folded(std::slice::from_ref(&announced)).status, Status::Initiated);
    let turn = event(2, 2, Data::TurnAdded(Turn::new(TurnId(Uuid::nil()), Role::User)));
    assert_eq!(folded(&[announced, turn]).status, Status::InProgress);
}

#[test]
fn a_persons_judgement_beats_the_providers_and_that_beats_our_own() {
    let by = |authority, summary: &str, success| Analysis {
        summary: Some(summary.to_owned()),
        call_successful: Some(success),
        satisfaction_score: Some(2.5),
        ..Analysis::by(authority)
    };
    let own = event(1, 900, Data::Analyzed(by(Authority::Own, "own", CallSuccessful::Failure)));
    let provider = event(2, 500, Data::Analyzed(by(Authority::Provider, "provider", CallSuccessful::Success)));
    let human = event(3, 100, Data::Analyzed(by(Authority::Human, "human", CallSuccessful::Unknown)));
    assert_eq!(folded(&[own.clone(), provider.clone()]).analytics.summary.as_deref(), Some("provider"));
    let all = folded(&[human, own, provider]).analytics;
    assert_eq!(all.summary.as_deref(), Some("human"));
    assert_eq!(all.call_successful, CallSuccessful::Success);
    assert_eq!(all.satisfaction, Some(Satisfaction::Inferred(2.5)));
}

#[test]
fn what_a_provider_leaves_empty_takes_nothing_away() {
    let said = Analysis {
        summary: Some("They talked of a bill.".to_owned()),
        topics: Some(vec!["billing".to_owned()]),
        keywords: Some(vec!["bill".to_owned()]),
        intent: Some("complain".to_owned()),
        ..Analysis::by(Authority::Own)
    };
    let empty = Analysis {
        summary: Some(" ".to_owned()),
        topics: Some(Vec::new()),
        keywords: Some(Vec::new()),
        intent: Some(String::new()),
        ..Analysis::by(Authority::Provider)
    };
    let own = event(1, 100, Data::Analyzed(said.clone()));
    let provider = event(2, 200, Data::Analyzed(empty));
    let analytics = folded(&[own, provider]).analytics;
    assert_eq!((analytics.summary, analytics.intent), (said.summary, said.intent));
    assert_eq!((Some(analytics.topics), Some(analytics.keywords)), (said.topics, said.keywords));
}

#[test]
fn our_own_judgement_leads_where_the_organization_trusts_it_more_and_a_persons_leads_always() {
    let by = |number, at, authority: Authority| {
        let analysis = Analysis {
            summary: Some(authority.to_string()),
            intent: (authority == Authority::OwnLeading).then(|| "refund".to_owned()),
            ..Analysis::by(authority)
        };
        event(number, at, Data::Analyzed(analysis))
    };
    // Time does not count among authorities, but for ours.
    let all = [
        by(1, 100, Authority::Own),
        by(2, 300, Authority::Provider),
        by(3, 200, Authority::OwnLeading),
        by(4, 100, Authority::Human),
    ];
    for (count, leading) in [(1, "own"), (2, "provider"), (3, "own_leading"), (4, "human")] {
        let analytics = folded(&all[..count]).analytics;
        assert_eq!(analytics.summary.as_deref(), Some(leading));
        assert_eq!(analytics.intent.is_some(), count >= 3);
    }
}

#[test]
fn of_our_own_judgements_only_the_last_told_counts_whatever_its_weight() {
    let own = |number, at, authority, intent: Option<&str>, score| {
        let (intent, sentiment_score) = (intent.map(str::to_owned), Some(score));
        event(number, at, Data::Analyzed(Analysis { intent, sentiment_score, ..Analysis::by(authority) }))
    };
    let provider = Analysis { sentiment_score: Some(0.5), ..Analysis::by(Authority::Provider) };
    let events = [
        event(1, 10, Data::Analyzed(provider)),
        own(2, 20, Authority::Own, Some("refund"), 0.1),
        own(3, 30, Authority::OwnLeading, Some("refund"), 0.2),
        own(4, 40, Authority::OwnLeading, None, 0.3),
        own(5, 50, Authority::Own, None, 0.4),
    ];
    for (told, intent, score) in [(2, Some("refund"), 0.5), (3, Some("refund"), 0.2), (4, None, 0.3), (5, None, 0.5)] {
        let analytics = folded(&events[..told]).analytics;
        assert_eq!((analytics.intent.as_deref(), analytics.sentiment_score), (intent, Some(score)), "{told} were told");
    }
    let authorities: Vec<Authority> = folded(&events).judgements.into_iter().map(|(authority, _)| authority).collect();
    assert_eq!(authorities, [Authority::Own, Authority::Provider]);
}

#[test]
fn the_language_is_the_one_that_was_told_and_the_one_that_was_detected_where_none_was() {
    let in_language = |language: &str| Facts { language: Some(language.to_owned()), ..Facts::default() };
    let detected = |number, at, language| {
        event(number, at, Data::Analyzed(Analysis { facts: in_language(language), ..Analysis::by(Authority::Own) }))
    };
    let told = event(1, 10, Data::Updated(Update { facts: in_language("nl"), ..Update::default() }));
    let nothing_told = event(1, 10, Data::Updated(Update::default()));
    let (earlier, later) = (detected(2, 20, "en"), detected(3, 30, "de"));
    let found = |events: &[&Event]| {
        let found = folded(&events.iter().copied().cloned().collect::<Vec<_>>());
        (found.language, found.language_is_detected)
    };
    assert_eq!(found(&[&nothing_told]), (None, false));
    assert_eq!(found(&[&later, &earlier, &nothing_told]), (Some("de".to_owned()), true));
    assert_eq!(found(&[&later, &earlier, &told]), (Some("nl".to_owned()), false));
    // What is not found any more is not so any more.
    let unsure = event(4, 40, Data::Analyzed(Analysis::by(Authority::OwnLeading)));
    assert_eq!(found(&[&later, &nothing_told, &unsure]), (None, false));
}

#[test]
fn what_each_authority_judged_is_kept_beside_what_leads() {
    let analyzed = |number, at, analysis| event(number, at, Data::Analyzed(analysis));
    let provider = |score| Analysis {
        satisfaction_score: Some(score),
        call_successful: Some(CallSuccessful::Success),
        topics: Some(vec!["billing".to_owned()]),
        ..Analysis::by(Authority::Provider)
    };
    let own = Analysis { sentiment_score: Some(-0.5), ..Analysis::by(Authority::Own) };
    let rated = Data::FeedbackGiven(Feedback { rating: Some(5), thumbs: None, comment: None });
    let events = [
        analyzed(1, 10, provider(2.0)),
        analyzed(2, 20, provider(3.0)),
        analyzed(3, 30, own),
        event(4, 40, rated),
        event(5, 50, Data::TransferUpdated(Transfer { state: TransferState::Bridged, destination: None })),
    ];
    let conversation = folded(&events);
    let [(Authority::Own, own), (Authority::Provider, provider)] = conversation.judgements.as_slice() else {
        panic!("{:?}", conversation.judgements)
    };
    assert_eq!((own.sentiment_score, own.satisfaction, own.topics.len()), (Some(-0.5), None, 0));
    assert_eq!((own.call_successful, own.resolution_status), (CallSuccessful::Unknown, ResolutionStatus::Unknown));
    assert_eq!((provider.satisfaction, provider.sentiment_score), (Some(Satisfaction::Inferred(3.0)), None));
    assert_eq!(conversation.analytics.satisfaction, Some(Satisfaction::Caller(5.0)));
    assert_eq!(conversation.analytics.resolution_status, ResolutionStatus::Transferred);
}

#[test]
fn a_rating_by_a_person_is_the_satisfaction() {
    let inferred = Analysis { satisfaction_score: Some(2.0), ..Analysis::by(Authority::Provider) };
    let rated = |number, at, rating, thumbs| event(number, at, Data::FeedbackGiven(Feedback { rating, thumbs, comment: None }));
    let events = [
        event(1, 1, Data::Analyzed(inferred)),
        rated(2, 10, Some(3), None),
        rated(3, 20, None, Some(colloquy_events::Thumbs::Down)),
    ];
    let conversation = folded(&events);
    assert_eq!(conversation.analytics.satisfaction, Some(Satisfaction::Caller(1.0)));
    assert_eq!(conversation.feedback.len(), 2);
}

#[test]
fn the_later_patch_wins_over_every_provider() {
    let patch = |number, at, patch| event(number, at, Data::Patched(patch));
    let started = Facts {
        client_id: Some("provider".to_owned()),
        user_id: Some("u".to_owned()),
        tags: vec!["p".to_owned()],
        metadata: object(json!({"keep": 1, "drop": 1, "deep": {"a": 1, "b": 1}})),
        ..Facts::default()
    };
    let first = Patch {
        tags: Some(vec!["a".to_owned()]),
        metadata: object(json!({"drop": null, "deep": {"b": null, "c": 2}, "new": {"x": null, "y": 1}})),
        client_id: Change::To(Some("mine".to_owned())),
        user_id: Change::To(None),
    };
    let second = Patch { tags: Some(vec!["b".to_owned(), "b".to_owned()]), ..Patch::default() };
    let late = Facts { client_id: Some("late".to_owned()), ..Facts::default() };
    let conversation = folded(&[
        patch(3, 200, second),
        patch(2, 100, first),
        event(4, 300, Data::Updated(Update { facts: late, status: None })),
        event(1, 1, Data::Started(started)),
    ]);
    assert_eq!(conversation.tags, ["b"]);
    assert_eq!(conversation.client_id.as_deref(), Some("mine"));
    assert_eq!(conversation.user_id, None);
    assert_eq!(Value::Object(conversation.metadata), json!({"keep": 1, "deep": {"a": 1, "c": 2}, "new": {"y": 1}}));
}

#[test]
fn one_agents_name_does_not_stick_to_the_next() {
    let agent = |id: &str, name: Option<&str>| Facts {
        agent_id: Some(id.to_owned()),
        agent_name: name.map(str::to_owned),
        ..Facts::default()
    };
    let events = [
        event(1, 1, Data::Started(agent("a", Some("Ann")))),
        event(2, 2, Data::Updated(Update { facts: agent("b", None), status: None })),
    ];
    let conversation = folded(&events);
    assert_eq!((conversation.agent.id.as_deref(), conversation.agent.name), (Some("b"), None));
}

#[test]
fn a_transfer_between_agents_gives_several_sessions_in_time_order() {
    let session = |id: &str| Session { session_id: id.to_owned(), agent_id: Some(format!("agent {id}")), agent_version_id: None };
    let end = SessionEnd { session: session("1"), reason: Some("transferred".to_owned()) };
    let events = [
        event(3, 20, Data::SessionStarted(session("2"))),
        event(2, 20, Data::SessionEnded(end)),
        event(1, 10, Data::SessionStarted(session("1"))),
    ];
    let sessions = folded(&events).sessions;
    let seen: Vec<_> = sessions.iter().map(|session| (session.session_id.as_str(), session.ended_at.is_some())).collect();
    assert_eq!(seen, [("1", true), ("2", false)]);
}

#[test]
fn without_sessions_the_agent_has_one_from_start_to_end() {
    let facts = Facts { agent_id: Some("a".to_owned()), started_at: Timestamp::from_millis(10).ok(), ..Facts::default() };
    let ended = Ended { facts, duration_ms: Some(90), ..Ended::new(EndStatus::Completed) };
    let conversation = folded(&[event(1, 500, Data::Ended(ended))]);
    assert_eq!(conversation.ended_at, Timestamp::from_millis(100).ok());
    let [session] = conversation.sessions.as_slice() else { panic!("one session") };
    assert_eq!(
        (session.agent_id.as_deref(), session.started_at, session.ended_at),
        (Some("a"), conversation.started_at, conversation.ended_at)
    );
}

#[test]
fn a_transfer_resolves_what_nobody_judged() {
    let transferred = Ended { transferred_to: Some("+12025550123".to_owned()), ..Ended::new(EndStatus::Completed) };
    let mut events = vec![event(1, 1, Data::Ended(transferred))];
    assert_eq!(folded(&events).analytics.resolution_status, ResolutionStatus::Transferred);
    let judged = Analysis { resolution_status: Some(ResolutionStatus::Escalated), ..Analysis::by(Authority::Own) };
    events.push(event(2, 2, Data::Analyzed(judged)));
    assert_eq!(folded(&events).analytics.resolution_status, ResolutionStatus::Escalated);
}

#[test]
fn a_stored_recording_is_not_replaced_by_an_address() {
    let recording = |url: Option<&str>, key: Option<&str>| Recording {
        url: url.map(str::to_owned),
        object_key: key.map(str::to_owned),
        sha256: None,
        size_bytes: None,
        content_type: None,
        duration_ms: None,
        channel: RecordingChannel::Mixed,
    };
    let events = [
        event(1, 1, Data::RecordingAvailable(recording(None, Some("k")))),
        event(2, 9, Data::RecordingAvailable(recording(Some("https://x"), None))),
    ];
    let recordings = folded(&events).recordings;
    assert!(matches!(&recordings[0].place, RecordingPlace::Stored { object_key, .. } if object_key == "k"));
}

/// What somebody does to a running conversation.
fn commands() -> [Data; 4] {
    let (command_id, command) = (Uuid::from_u128(9), CommandKind::Say);
    let given = Command {
        command_id,
        command,
        text: Some("one moment".to_owned()),
        destination: Some("+12025550177".to_owned()),
        muted: None,
        holder: Some("ann".to_owned()),
    };
    let refused = CommandRefused { command_id, command, reason: "vendor_refused".to_owned(), detail: None };
    let lease = LeaseChange { state: LeaseState::Taken, holder: "ann".to_owned(), expires_at: Timestamp::from_millis(5).ok() };
    [
        Data::ControlAccepted(given),
        Data::ControlApplied(CommandDone { command_id, command }),
        Data::ControlRejected(refused),
        Data::ControlLeaseChanged(lease),
    ]
}

/// What is not of the record.
fn passing() -> [Data; 5] {
    let alert = Alert {
        alert_id: Uuid::from_u128(1),
        rule_id: Uuid::from_u128(2),
        rule_name: "angry".to_owned(),
        severity: Severity::Critical,
        evidence: None,
    };
    [
        Data::SpeechUpdated(Speech { role: Role::User, state: SpeechState::Started }),
        Data::ControlOffered(ControlOffer { url: "https://voice.example/control".to_owned() }),
        Data::AlertOpened(alert.clone()),
        Data::AlertAcknowledged(alert.clone()),
        Data::AlertResolved(alert),
    ]
}

#[test]
fn what_is_not_of_the_record_makes_none() {
    let events: Vec<Event> = passing().into_iter().enumerate().map(|(number, data)| event(number as u64, 1, data)).collect();
    assert_eq!(fold(&events), None);
}

#[test]
fn what_passes_and_what_is_done_to_a_conversation_changes_nothing_of_its_record() {
    let known = [
        vec![event(100, 50, Data::Started(Facts { agent_id: Some("a".to_owned()), ..Facts::default() }))],
        vec![event(100, 50, Data::Updated(Update { status: Some(LiveStatus::Initiated), ..Update::default() }))],
        vec![event(
            100,
            50,
            Data::TurnAdded(Turn { text: Some("hello".to_owned()), ..Turn::new(TurnId(Uuid::nil()), Role::User) }),
        )],
        vec![event(100, 50, Data::Ended(Ended::new(EndStatus::Completed)))],
    ];
    for known in known {
        // Before, at and after what is known.
        for time in [1, 50, 99] {
            let mut events = known.clone();
            for (number, data) in commands().into_iter().chain(passing()).enumerate() {
                events.push(event(number as u64, time, data));
            }
            assert_eq!(folded(&events), folded(&known), "{:?} at {time}", known[0].data);
        }
    }
}

/// Events of every kind, with times and facts that collide.
fn any_event() -> impl Strategy<Value = Event> {
    let text = || prop::option::of("[ab]{1,2}");
    let time = || prop::option::of((0..4_i64).prop_map(|at| Timestamp::from_millis(at * 1000).unwrap()));
    let map = || {
        prop::option::of(prop::collection::btree_map("[xy]", 0..3_i32, 0..3).prop_map(|map| {
            map.into_iter()
                .map(|(name, number)| (name, if number == 0 { Value::Null } else { json!(number) }))
                .collect::<JsonMap>()
        }))
    };
    let facts = (text(), text(), text(), time(), map(), prop::collection::vec("[ab]", 0..3)).prop_map(
        |(agent_id, agent_name, channel, started_at, metadata, tags)| Facts {
            agent_id,
            agent_name,
            channel,
            started_at,
            metadata,
            tags,
            ..Facts::default()
        },
    );
    let turn = (0..3_u128, prop_oneof![Just(Role::User), Just(Role::Agent)], any::<bool>(), text())
        .prop_map(|(name, role, is_final, text)| Turn { is_final, text, ..Turn::new(TurnId(Uuid::from_u128(name)), role) });
    let status = prop_oneof![Just(EndStatus::Completed), Just(EndStatus::Failed), Just(EndStatus::Abandoned)];
    let ended = (facts.clone(), status, text(), time(), prop::option::of(-5..9_i64), any::<bool>()).prop_map(
        |(facts, status, end_reason, ended_at, duration_ms, inferred)| Ended {
            facts,
            end_reason,
            ended_at,
            duration_ms,
            inferred,
            cost: duration_ms.map(|amount_micros| Cost {
                amount_micros,
                currency: "USD".to_owned(),
                source: "provider".to_owned(),
            }),
            ..Ended::new(status)
        },
    );
    let authority = prop::sample::select(Authority::ALL.to_vec());
    let analysis = (facts.clone(), authority, text(), prop::option::of(0.0..6.0_f64), text()).prop_map(
        |(facts, authority, summary, satisfaction_score, result)| Analysis {
            facts,
            summary,
            satisfaction_score,
            outcome: Some(Outcome { result, ..Outcome::default() }),
            ..Analysis::by(authority)
        },
    );
    let session = || (0..2_u8).prop_map(|id| Session { session_id: id.to_string(), agent_id: None, agent_version_id: None });
    let recording = (text(), text()).prop_map(|(url, object_key)| Recording {
        url,
        object_key,
        sha256: None,
        size_bytes: None,
        content_type: None,
        duration_ms: None,
        channel: RecordingChannel::User,
    });
    let live = prop::option::of(prop_oneof![Just(LiveStatus::Initiated), Just(LiveStatus::InProgress)]);
    let data = prop_oneof![
        facts.clone().prop_map(Data::Started),
        (facts, live).prop_map(|(facts, status)| Data::Updated(Update { facts, status })),
        ended.prop_map(Data::Ended),
        analysis.prop_map(Data::Analyzed),
        (map(), text()).prop_map(|(metadata, client)| {
            Data::Patched(Patch { metadata, client_id: Change::To(client), ..Patch::default() })
        }),
        turn.clone().prop_map(Data::TurnAdded),
        turn.clone().prop_map(Data::TurnUpdated),
        prop::collection::vec(turn.clone(), 0..3).prop_map(|turns| Data::TranscriptUpdated { turns }),
        (prop::collection::vec(turn, 0..3), 0..2_u32).prop_map(|(turns, revision)| Data::TranscriptCompleted { turns, revision }),
        session().prop_map(Data::SessionStarted),
        (session(), text()).prop_map(|(session, reason)| Data::SessionEnded(SessionEnd { session, reason })),
        text().prop_map(|destination| Data::TransferUpdated(Transfer { state: TransferState::Bridged, destination })),
        recording.prop_map(Data::RecordingAvailable),
        prop::option::of(0..7_u32).prop_map(|rating| Data::FeedbackGiven(Feedback { rating, ..Feedback::default() })),
        text().prop_map(|message| Data::ErrorRaised(ErrorRaised { code: "e".to_owned(), message, component: None })),
        prop::sample::select(commands().to_vec()),
    ];
    (any::<u64>(), 0..5_i64, data).prop_map(|(number, at, data)| event(number, at, data))
}

/// Some events, at least one of them of the record, and the same in another order with some of them several times.
fn shuffled() -> impl Strategy<Value = (Vec<Event>, Vec<Event>)> {
    let passing =
        (any::<u64>(), 0..5_i64, prop::sample::select(passing().to_vec())).prop_map(|(number, at, data)| event(number, at, data));
    let some = (prop::collection::vec(any_event(), 1..14), prop::collection::vec(passing, 0..3));
    some.prop_map(|(events, passing)| [events, passing].concat()).prop_flat_map(|events| {
        let repeated = prop::collection::vec(prop::sample::select(events.clone()), 0..6);
        let again = (Just(events.clone()), repeated).prop_map(|(events, repeated)| [events, repeated].concat()).prop_shuffle();
        (Just(events), again)
    })
}

proptest! {
    #[test]
    fn neither_order_nor_repeats_change_a_byte_of_the_record((events, shuffled) in shuffled()) {
        prop_assert_eq!(record::encode(&folded(&events)), record::encode(&folded(&shuffled)));
    }

    #[test]
    fn what_is_kept_of_turns_gives_the_same_record_as_all_of_them((events, shuffled) in shuffled()) {
        let named = crate::turn_events::Named {
            conversation_id: ConversationId(Uuid::nil()),
            provider: Provider::Native,
            external_id: "c".to_owned(),
        };
        let mut turns = crate::turn_events::TurnEvents::default();
        for event in &shuffled {
            turns.add(event, event.occurred_at);
        }
        let turns = crate::turn_events::TurnEvents::decode(&turns.encode(), &named).unwrap();
        let course = shuffled.iter().filter(|event| !event.data.is_about_turns()).map(|event| {
            crate::stored_event::decode(&crate::stored_event::encode(event), event.event_id.0, &named).unwrap().unwrap()
        });
        let kept: Vec<Event> = course.chain(turns.into_events().map(|(event, _)| event)).collect();
        prop_assert_eq!(record::encode(&folded(&events)), record::encode(&folded(&kept)));
    }
}
