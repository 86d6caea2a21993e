//! What the service answers.

use std::time::Duration;

use colloquy_events::{Data, Event, Facts, Role, Turn, Update};
use colloquy_proto::transcript::v1 as pb;
use colloquy_service::Caller;
use colloquy_types::{ConversationId, EventId, OrganizationId, Provider, Timestamp, TurnId};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{Client, Harness};
use crate::samples::{self, native, organization};

const NATIVE: &str = "native:native-1";

async fn with_samples() -> (Harness, Client) {
    let harness = Harness::start().await;
    for provider in Provider::ALL {
        harness.apply(&samples::records(provider)).await;
    }
    let client = harness.client(&organization(), "transcripts:read");
    (harness, client)
}

async fn get(client: &mut Client, conversation_id: &str) -> Result<pb::GetTranscriptResponse, Status> {
    get_from(client, conversation_id, 0).await
}

async fn get_from(client: &mut Client, conversation_id: &str, min_position: u64) -> Result<pb::GetTranscriptResponse, Status> {
    let request =
        pb::GetTranscriptRequest { conversation_id: conversation_id.to_owned(), min_position, organization_id: String::new() };
    client.get_transcript(request).await.map(tonic::Response::into_inner)
}

async fn render(
    client: &mut Client,
    conversation_id: &str,
    format: pb::TranscriptFormat,
    language: &str,
) -> Result<pb::RenderTranscriptResponse, Status> {
    let request = pb::RenderTranscriptRequest {
        conversation_id: conversation_id.to_owned(),
        format: format.into(),
        language: language.to_owned(),
        min_position: 0,
    };
    client.render_transcript(request).await.map(tonic::Response::into_inner)
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}

fn bad_fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    details.bad_request().unwrap().field_violations.iter().map(|bad| bad.field.clone()).collect()
}

#[tokio::test]
async fn a_conversation_is_read_by_either_of_its_names() {
    let (_harness, mut client) = with_samples().await;
    let by_name = get(&mut client, NATIVE).await.unwrap();
    let id = ConversationId::derive(&organization(), Provider::Native, "native-1").to_string();
    assert_eq!(by_name.conversation_id, id);
    assert_eq!(get(&mut client, &id).await.unwrap(), by_name);
    assert_eq!((by_name.status.as_str(), by_name.language.as_deref()), ("completed", Some("de")));
    assert_eq!(by_name.translation_language.as_deref(), Some("en-US"));
}

#[tokio::test]
async fn turns_have_everything_that_is_known_of_them() {
    let (_harness, mut client) = with_samples().await;
    let turns = get(&mut client, NATIVE).await.unwrap().turns;
    assert_eq!(turns.iter().map(|turn| turn.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(turns[0].translated_text.as_deref(), Some("Good day! How can I help?"));
    assert_eq!((turns[0].timing(), turns[1].timing()), (pb::Timing::Turn, pb::Timing::Word));
    assert_eq!((turns[1].words.len(), turns[1].start_ms, turns[1].end_ms), (4, Some(3000), Some(5200)));
    let call = turns[2].tool_call.as_ref().unwrap();
    assert_eq!((call.name.as_deref(), call.arguments_json.as_deref()), (Some("find_slots"), Some(r#"{"day":"friday"}"#)));
    assert_eq!(turns[2].timing(), pb::Timing::Unspecified);
    assert_eq!(turns[3].tool_result.as_ref().unwrap().content_json.as_deref(), Some(r#"["09:00","10:30"]"#));
    assert_eq!(turns[4].heard_text.as_deref(), Some("Ich habe neun Uhr"));
    assert_eq!((turns[0].heard_text.as_deref(), turns[4].timing()), (None, pb::Timing::Estimated));
    let message = turns[5].message.as_ref().unwrap();
    assert_eq!((message.r#type.as_deref(), message.delivery_status.as_deref()), (Some("sms"), Some("delivered")));
    assert_eq!(message.attachments_json.as_deref(), Some(r#"[{"name":"card.pdf"}]"#));
    assert_eq!((turns[5].partial, turns[6].partial), (false, true));
}

#[tokio::test]
async fn every_format_has_its_content_type() {
    let (_harness, mut client) = with_samples().await;
    let cases = [
        (pb::TranscriptFormat::Text, "text/plain; charset=utf-8", "Agent: Guten Tag! Wie kann ich helfen?\n"),
        (pb::TranscriptFormat::Srt, "application/x-subrip", "1\n00:00:00,500 --> 00:00:02,600\nAna: Guten Tag!"),
        (pb::TranscriptFormat::Vtt, "text/vtt", "WEBVTT\n"),
    ];
    for (format, content_type, beginning) in cases {
        let rendered = render(&mut client, NATIVE, format, "").await.unwrap();
        assert_eq!((rendered.content_type.as_str(), rendered.language.as_deref()), (content_type, Some("de")));
        assert!(rendered.content.starts_with(beginning), "{}", rendered.content);
    }
}

#[tokio::test]
async fn a_language_picks_the_translation_and_an_unknown_one_is_told_what_there_is() {
    let (_harness, mut client) = with_samples().await;
    let translated = render(&mut client, NATIVE, pb::TranscriptFormat::Text, "EN").await.unwrap();
    assert_eq!(translated.language.as_deref(), Some("en-US"));
    assert!(translated.content.starts_with("Agent: Good day! How can I help?\n"));
    let original = render(&mut client, NATIVE, pb::TranscriptFormat::Text, "de-AT").await.unwrap();
    assert_eq!(original, render(&mut client, NATIVE, pb::TranscriptFormat::Text, "").await.unwrap());
    for unknown in ["fr", "x".repeat(4096).as_str(), "💥"] {
        let status = render(&mut client, NATIVE, pb::TranscriptFormat::Text, unknown).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec!["language".to_owned()]));
        assert!(status.message().contains("de, en-US"), "{}", status.message());
    }
}

#[tokio::test]
async fn bad_requests_name_every_bad_field() {
    let (_harness, mut client) = with_samples().await;
    for bad in ["", "native", "native:", "nobody:x", &format!("native:{}", "x".repeat(4096)), &"x".repeat(4096)] {
        let status = get(&mut client, bad).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec!["conversation_id".to_owned()]));
        assert!(status.message().len() < 200, "the id is not repeated");
        let status = render(&mut client, bad, pb::TranscriptFormat::Unspecified, "").await.unwrap_err();
        assert_eq!(bad_fields(&status), ["conversation_id", "format"]);
    }
}

#[tokio::test]
async fn what_does_not_exist_and_what_is_anothers_look_the_same() {
    let (harness, mut client) = with_samples().await;
    let id = get(&mut client, NATIVE).await.unwrap().conversation_id;
    let other: OrganizationId = "other".parse().unwrap();
    let mut stranger = harness.client(&other, "admin");
    let nobodys = ConversationId::generate().to_string();
    for conversation in [&nobodys, &id] {
        let status = get(&mut stranger, conversation).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "CONVERSATION_NOT_FOUND"));
        assert_eq!(status.message(), format!("conversation '{conversation}' does not exist"));
        let status = render(&mut stranger, conversation, pb::TranscriptFormat::Srt, "").await.unwrap_err();
        assert_eq!(reason(&status), "CONVERSATION_NOT_FOUND");
    }
    assert_eq!(get(&mut stranger, NATIVE).await.unwrap_err().code(), Code::NotFound);
}

async fn figures(
    client: &mut Client,
    conversation_id: &str,
    min_position: Option<u64>,
) -> Result<pb::GetFiguresResponse, Status> {
    let request = pb::GetFiguresRequest { conversation_id: conversation_id.to_owned(), min_position };
    client.get_figures(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn figures_tell_who_spoke_how_long_and_need_no_scope_for_transcripts() {
    let (harness, mut reader) = with_samples().await;
    assert_eq!(figures(&mut reader, NATIVE, None).await.unwrap_err().code(), Code::PermissionDenied);
    let mut client = harness.client(&organization(), "conversations:read");
    let figures_of_native = figures(&mut client, NATIVE, None).await.unwrap();
    let id = ConversationId::derive(&organization(), Provider::Native, "native-1").to_string();
    let expected = pb::GetFiguresResponse {
        conversation_id: id.clone(),
        // Agent, user, agent, user, and the agent's partial turn.
        turn_count: 5,
        duration_ms: Some(6_000),
        talk: Some(pb::TalkFigures {
            agent_ms: 2_100,
            user_ms: 2_200,
            ratio: Some(2_100.0 / 4_300.0),
            agent_words_per_minute: Some(6.0 * 60_000.0 / 2_100.0),
            user_words_per_minute: Some(4.0 * 60_000.0 / 2_200.0),
        }),
        silence: Some(pb::SilenceFigures::default()),
        // Cut, as its heard text shows.
        interruptions_by_user: Some(pb::InterruptionFigures { count: 1, overlap_ms: 0 }),
        interruptions_by_agent: Some(pb::InterruptionFigures::default()),
    };
    assert_eq!(figures_of_native, expected);
    assert_eq!(figures(&mut client, &id, Some(0)).await.unwrap(), expected);

    assert_eq!(figures(&mut client, "native:none", None).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(bad_fields(&figures(&mut client, "?", None).await.unwrap_err()), ["conversation_id"]);
    let mut other = harness.client(&"other".parse().unwrap(), "conversations:read");
    assert_eq!(figures(&mut other, &id, None).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn figures_follow_a_conversation_while_it_runs() {
    let (harness, _) = with_samples().await;
    let mut client = harness.client(&organization(), "conversations:read");
    let spoken = |number: u32, role, start_ms, end_ms| {
        let mut event = said(ConversationId(uuid::Uuid::from_u128(7)), number, "one two");
        if let Data::TurnAdded(turn) = &mut event.data {
            (turn.role, turn.start_ms, turn.end_ms) = (role, Some(start_ms), Some(end_ms));
        }
        samples::record(&organization(), vec![event])
    };
    let id = ConversationId(uuid::Uuid::from_u128(7)).to_string();
    harness.apply(&[spoken(0, Role::Agent, 0, 2_000)]).await;
    let first = figures(&mut client, &id, None).await.unwrap();
    assert_eq!((first.turn_count, first.duration_ms, first.talk.unwrap().ratio), (1, Some(2_000), Some(1.0)));
    let next = harness.next_position();
    let later = tokio::spawn(async move { figures(&mut client, &id, Some(next.0)).await.unwrap() });
    harness.apply(&[spoken(1, Role::User, 1_500, 3_500)]).await;
    let second = later.await.unwrap();
    assert_eq!((second.turn_count, second.duration_ms, second.talk.unwrap().ratio), (2, Some(3_500), Some(0.5)));
    assert_eq!(second.interruptions_by_user, Some(pb::InterruptionFigures { count: 1, overlap_ms: 500 }));
}

#[tokio::test]
async fn reading_needs_the_scope_for_transcripts() {
    let (harness, _) = with_samples().await;
    let without = "conversations:read,conversations:write,audio:read,analytics:read,events:write,webhooks:write";
    let cases = [
        (harness.client(&organization(), without), Code::PermissionDenied, "SCOPE_MISSING"),
        (harness.client_of(Caller::Anonymous), Code::Unauthenticated, "API_KEY_MISSING"),
    ];
    for (mut client, code, expected) in cases {
        // Before anything else is looked at.
        for conversation in [NATIVE, "?"] {
            let status = get(&mut client, conversation).await.unwrap_err();
            assert_eq!((status.code(), reason(&status).as_str()), (code, expected));
            let status = render(&mut client, conversation, pb::TranscriptFormat::Text, "").await.unwrap_err();
            assert_eq!((status.code(), reason(&status).as_str()), (code, expected));
        }
    }
    assert!(get(&mut harness.client(&organization(), "admin"), NATIVE).await.is_ok());
}

#[tokio::test]
async fn transcripts_read_together_are_those_read_alone() {
    let (harness, mut client) = with_samples().await;
    let batch = async |client: &mut Client, conversation_ids: Vec<String>| {
        let request = pb::BatchGetTranscriptsRequest { conversation_ids, ..Default::default() };
        client.batch_get_transcripts(request).await.map(tonic::Response::into_inner)
    };
    let names = [NATIVE, "native:none", "native:native-2", NATIVE].map(str::to_owned).to_vec();
    let mut alone = Vec::new();
    for name in [NATIVE, "native:native-2"] {
        alone.extend(get(&mut client, name).await);
    }
    let together = batch(&mut client, names.clone()).await.unwrap();
    assert!(!alone.is_empty());
    assert_eq!((together.transcripts, together.left_out_ids), (alone, Vec::new()));
    for (names, field) in [(Vec::new(), "conversation_ids"), (vec!["?".to_owned()], "conversation_ids[0]")] {
        assert_eq!(bad_fields(&batch(&mut client, names).await.unwrap_err()), [field]);
    }
    let mut stranger = harness.client(&"other".parse().unwrap(), "transcripts:read");
    assert_eq!(batch(&mut stranger, names.clone()).await.unwrap().transcripts, []);
    let mut reader = harness.client(&organization(), "conversations:read");
    assert_eq!(batch(&mut reader, names).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_service_names_the_organization_it_reads_for() {
    let (harness, _) = with_samples().await;
    let mut client = harness.client_of(Caller::Service);
    let of = |organization_id: &str| pb::GetTranscriptRequest {
        conversation_id: NATIVE.to_owned(),
        organization_id: organization_id.to_owned(),
        ..Default::default()
    };
    assert_eq!(client.get_transcript(of("acme")).await.unwrap().into_inner().turns.len(), 7);
    assert_eq!(client.get_transcript(of("other")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(bad_fields(&client.get_transcript(of("")).await.unwrap_err()), ["organization_id"]);
    for status in [
        render(&mut client, NATIVE, pb::TranscriptFormat::Text, "").await.unwrap_err(),
        figures(&mut client, NATIVE, None).await.unwrap_err(),
    ] {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "ORGANIZATION_MISSING"));
    }
    let mut key = harness.client(&organization(), "transcripts:read");
    assert_eq!(key.get_transcript(of("other")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_read_waits_for_the_position_it_asks_for() {
    let (harness, mut client) = with_samples().await;
    let position = harness.next_position().0;
    let mut waiting = tokio::spawn(async move { get_from(&mut client, NATIVE, position).await });
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err(), "it did not wait");
    let late = native("e12", "turn.added", "2026-03-02T15:00:20Z", r#"{"index": 7, "role": "user", "text": "Tschüss!"}"#);
    harness.apply(&[samples::native_record(&organization(), &[late])]).await;
    let turns = waiting.await.unwrap().unwrap().turns;
    assert!(turns.iter().any(|turn| turn.text.as_deref() == Some("Tschüss!")));
}

#[tokio::test]
async fn a_position_that_never_comes_is_an_answer_to_try_again() {
    let harness = Harness::start().await;
    // The database is open: from here on only the wait itself takes time, and it takes none.
    tokio::time::pause();
    let mut client = harness.client(&organization(), "transcripts:read");
    let status = get_from(&mut client, NATIVE, u64::MAX).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "POSITION_NOT_REACHED"));
    assert_eq!(status.get_error_details().retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
}

#[tokio::test]
async fn a_conversation_of_which_nothing_was_said_has_an_empty_transcript() {
    let (harness, mut client) = with_samples().await;
    let event = Event {
        event_id: EventId::generate(),
        conversation_id: ConversationId::generate(),
        provider: Provider::Vapi,
        external_id: "silent".to_owned(),
        occurred_at: Timestamp::default(),
        ordinal: 0,
        data: Data::Updated(Update { facts: Facts { channel: Some("phone".to_owned()), ..Facts::default() }, status: None }),
    };
    let id = event.conversation_id.to_string();
    harness.apply(&[samples::record(&organization(), vec![event])]).await;
    let transcript = get(&mut client, &id).await.unwrap();
    assert_eq!((transcript.status.as_str(), transcript.turns.len()), ("initiated", 0));
    assert_eq!(render(&mut client, &id, pb::TranscriptFormat::Text, "").await.unwrap().content, "");
    assert!(render(&mut client, &id, pb::TranscriptFormat::Vtt, "").await.unwrap().content.starts_with("WEBVTT"));
}

fn said(conversation_id: ConversationId, number: u32, text: &str) -> Event {
    let turn_id = TurnId::derive(conversation_id, &number.to_string());
    let turn = Turn { index: Some(number), text: Some(text.to_owned()), ..Turn::new(turn_id, Role::User) };
    Event {
        event_id: EventId::derive(conversation_id, &[&number.to_string()]),
        conversation_id,
        provider: Provider::Native,
        external_id: "long".to_owned(),
        occurred_at: Timestamp::from_millis(i64::from(number)).unwrap(),
        ordinal: 0,
        data: Data::TurnAdded(turn),
    }
}

#[tokio::test]
async fn a_hundred_thousand_turns_are_answered_whole() {
    let (harness, mut client) = with_samples().await;
    let id = ConversationId::generate();
    let numbers: Vec<u32> = (0..100_000).collect();
    for numbers in numbers.chunks(10_000) {
        let events = numbers.iter().map(|&number| said(id, number, "And another thing.")).collect();
        harness.apply_unsearched(&[samples::record(&organization(), events)]).await;
    }
    let turns = get(&mut client, &id.to_string()).await.unwrap().turns;
    assert_eq!(turns.len(), 100_000);
    assert!(turns.iter().enumerate().all(|(place, turn)| turn.index as usize == place));
    assert_eq!(turns[99_999].turn_id, TurnId::derive(id, "99999").to_string());
}

#[tokio::test]
async fn a_transcript_longer_than_a_message_is_refused_clearly() {
    let (harness, mut client) = with_samples().await;
    let id = ConversationId::generate();
    let text = "x".repeat(5 << 20);
    for number in 0..8 {
        harness.apply_unsearched(&[samples::record(&organization(), vec![said(id, number, &text)])]).await;
    }
    let status = get(&mut client, &id.to_string()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "TRANSCRIPT_TOO_LONG"));
    assert!(status.message().contains("32 MiB"), "{}", status.message());
}
