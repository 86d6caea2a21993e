//! What search answers.

use std::collections::BTreeSet;

use colloquy_proto::transcript::v1 as pb;
use colloquy_service::Caller;
use colloquy_types::Provider;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{Client, Harness};
use crate::samples::{self, organization};

async fn with_samples() -> (Harness, Client) {
    let harness = Harness::start().await;
    for provider in Provider::ALL {
        harness.apply(&samples::records(provider)).await;
    }
    let client = harness.client(&organization(), "transcripts:read");
    (harness, client)
}

fn asking(query: &str) -> pb::SearchTurnsRequest {
    pb::SearchTurnsRequest { query: query.to_owned(), ..Default::default() }
}

async fn search(client: &mut Client, request: pb::SearchTurnsRequest) -> Result<pb::SearchTurnsResponse, Status> {
    client.search_turns(request).await.map(tonic::Response::into_inner)
}

async fn transcript(client: &mut Client, conversation_id: &str) -> pb::GetTranscriptResponse {
    let request = pb::GetTranscriptRequest { conversation_id: conversation_id.to_owned(), ..Default::default() };
    client.get_transcript(request).await.unwrap().into_inner()
}

fn bad_field(status: &Status) -> (String, String) {
    let details = status.get_error_details();
    let bad = details.bad_request().unwrap().field_violations.first().unwrap().clone();
    (bad.field, bad.description)
}

fn highlighted(hit: &pb::SearchHit) -> Vec<String> {
    let part = |span: &pb::Highlight| hit.snippet.chars().skip(span.from as usize).take((span.to - span.from) as usize).collect();
    hit.highlights.iter().map(part).collect()
}

#[tokio::test]
async fn a_hit_says_what_was_said_where_when_and_by_whom() {
    let (_harness, mut client) = with_samples().await;
    let hits = search(&mut client, asking("MOCHTE termin*")).await.unwrap().hits;
    let whole = transcript(&mut client, "native:native-1").await;
    let turn = &whole.turns[1];
    assert_eq!(hits.len(), 1, "{hits:?}");
    let hit = &hits[0];
    assert_eq!((&hit.conversation_id, &hit.turn_id, hit.index), (&whole.conversation_id, &turn.turn_id, turn.index));
    assert_eq!((hit.role(), hit.agent_id.as_deref()), (pb::TurnRole::User, Some("a1")));
    assert_eq!((hit.snippet.as_str(), hit.start_ms), ("Ich möchte einen Termin.", Some(3_000)));
    assert_eq!(highlighted(hit), ["möchte", "Termin"]);
    assert!(hit.at.is_some() && hit.relevance.is_none());
}

#[tokio::test]
async fn every_turn_of_every_sample_is_found_by_its_words() {
    let (_harness, mut client) = with_samples().await;
    let records = Provider::ALL.into_iter().flat_map(samples::records);
    let conversations: BTreeSet<String> =
        records.flat_map(|record| record.events).map(|event| event.conversation_id.to_string()).collect();
    let mut looked_for = 0;
    for conversation_id in conversations {
        for turn in transcript(&mut client, &conversation_id).await.turns {
            let is_spoken = [pb::TurnRole::Agent, pb::TurnRole::User, pb::TurnRole::HumanAgent].contains(&turn.role());
            let text = turn.heard_text.or(turn.text).unwrap_or_default();
            if turn.partial || !text.chars().any(char::is_alphanumeric) {
                continue;
            }
            let words: Vec<&str> = text.split_whitespace().take(15).collect();
            let conversation_id = Some(conversation_id.clone());
            let request = pb::SearchTurnsRequest { conversation_id, page_size: 100, ..asking(&words.join(" ")) };
            let found = search(&mut client, request).await.unwrap().hits;
            assert_eq!(found.iter().any(|found| found.turn_id == turn.turn_id), is_spoken, "{text}");
            looked_for += 1;
        }
    }
    assert!(looked_for > 20, "{looked_for}");
}

#[tokio::test]
async fn what_nobody_heard_and_what_may_still_change_is_not_found() {
    let (_harness, mut client) = with_samples().await;
    assert_eq!(search(&mut client, asking("\"ich habe neun uhr\"")).await.unwrap().hits.len(), 1);
    assert_eq!(search(&mut client, asking("\"halb elf\"")).await.unwrap().hits.len(), 0);
    assert_eq!(search(&mut client, asking("ger")).await.unwrap().hits.len(), 0);
}

#[tokio::test]
async fn pages_follow_each_other_and_their_tokens_belong_to_one_search() {
    let (_harness, mut client) = with_samples().await;
    for order_by in ["newest", "relevance"] {
        let all = pb::SearchTurnsRequest { order_by: order_by.to_owned(), page_size: 100, ..asking("i*  -zzz") };
        let Err(short) = search(&mut client, all.clone()).await else { panic!("one letter is no prefix") };
        assert_eq!(bad_field(&short).0, "query");
        let all = pb::SearchTurnsRequest { query: "the".to_owned(), ..all };
        let expected = search(&mut client, all.clone()).await.unwrap();
        assert!(expected.next_page_token.is_empty() && expected.hits.len() > 2, "{}", expected.hits.len());
        assert_eq!(expected.hits[0].relevance.is_some(), order_by == "relevance");
        let mut found = Vec::new();
        let mut request = pb::SearchTurnsRequest { page_size: 1, ..all };
        loop {
            let page = search(&mut client, request.clone()).await.unwrap();
            assert_eq!(page.hits.len(), 1);
            found.extend(page.hits);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
            let others = [
                pb::SearchTurnsRequest { query: "a".to_owned(), ..request.clone() },
                pb::SearchTurnsRequest { agent_id: Some("x".to_owned()), ..request.clone() },
                pb::SearchTurnsRequest { roles: vec![1], ..request.clone() },
                pb::SearchTurnsRequest { page_token: "forged".to_owned(), ..request.clone() },
            ];
            for other in others {
                let refused = search(&mut client, other).await.unwrap_err();
                assert_eq!((refused.code(), bad_field(&refused).0.as_str()), (Code::InvalidArgument, "page_token"));
            }
        }
        assert_eq!(found, expected.hits);
    }
}

#[tokio::test]
async fn what_was_said_in_long_conversations_is_shown_too() {
    let harness = Harness::start().await;
    // Together they are more than is read at once; the middle one is so alone.
    let lengths = [100, 700_000, 100, 300_000, 300_000];
    for (number, length) in lengths.into_iter().enumerate() {
        let text = format!("refund {}", "a word ".repeat(length));
        harness.apply(&[samples::said(number as u128, &text)]).await;
    }
    let mut client = harness.client(&organization(), "transcripts:read");
    let hits = search(&mut client, asking("refund")).await.unwrap().hits;
    let conversations: BTreeSet<String> = hits.iter().map(|hit| hit.conversation_id.clone()).collect();
    assert_eq!((hits.len(), conversations.len()), (lengths.len(), lengths.len()));
    assert!(hits.iter().all(|hit| highlighted(hit) == ["refund"]));
}

#[tokio::test]
async fn a_bad_query_says_where_and_why() {
    let (_harness, mut client) = with_samples().await;
    let cases = [
        ("", "must be 1 to 500 characters"),
        ("?!", "must hold a word: letters or digits, not symbols alone"),
        ("one \"two", "column 5: the phrase that begins here has no closing quotation mark"),
        (&"word ".repeat(10_000), "must be 1 to 500 characters"),
    ];
    for (query, message) in cases {
        let refused = search(&mut client, asking(query)).await.unwrap_err();
        assert_eq!((refused.code(), bad_field(&refused)), (Code::InvalidArgument, ("query".to_owned(), message.to_owned())));
        let request = pb::MatchConversationsRequest { query: query.to_owned(), ..Default::default() };
        let refused = client.match_conversations(request).await.unwrap_err();
        assert_eq!(bad_field(&refused), ("query".to_owned(), message.to_owned()));
    }
}

#[tokio::test]
async fn only_who_may_read_transcripts_may_search_them() {
    let (harness, _) = with_samples().await;
    let mut poor = harness.client(&organization(), "conversations:read");
    assert_eq!(search(&mut poor, asking("the")).await.unwrap_err().code(), Code::PermissionDenied);
    let mut nobody = harness.client_of(Caller::Anonymous);
    assert_eq!(search(&mut nobody, asking("the")).await.unwrap_err().code(), Code::Unauthenticated);
    let mut other = harness.client(&"other".parse().unwrap(), "transcripts:read");
    assert_eq!(search(&mut other, asking("the")).await.unwrap().hits, []);
    let named = pb::SearchTurnsRequest { organization_id: organization().to_string(), ..asking("the") };
    assert_eq!(search(&mut other, named.clone()).await.unwrap_err().code(), Code::NotFound);
    let mut service = harness.client_of(Caller::Service);
    assert_eq!(search(&mut service, asking("the")).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(!search(&mut service, named).await.unwrap().hits.is_empty());
}

#[tokio::test]
async fn conversations_are_matched_for_a_list() {
    let (_harness, mut client) = with_samples().await;
    let native = transcript(&mut client, "native:native-1").await.conversation_id;
    let request = pb::MatchConversationsRequest { query: "einen termin".to_owned(), ..Default::default() };
    let all = client.match_conversations(request.clone()).await.unwrap().into_inner();
    assert_eq!((all.conversation_ids, all.truncated), (vec![native.clone()], false));
    let among = vec![native.clone(), uuid::Uuid::nil().to_string()];
    let some = client.match_conversations(pb::MatchConversationsRequest { conversation_ids: among, ..request.clone() }).await;
    assert_eq!(some.unwrap().into_inner().conversation_ids, [native]);
    let among = vec![uuid::Uuid::nil().to_string()];
    let none = client.match_conversations(pb::MatchConversationsRequest { conversation_ids: among, ..request }).await;
    assert!(none.unwrap().into_inner().conversation_ids.is_empty());
}

#[tokio::test]
async fn a_search_waits_for_what_was_just_written() {
    let harness = Harness::start().await;
    let mut client = harness.client(&organization(), "transcripts:read");
    let min_position = harness.next_position().0;
    let asked = pb::SearchTurnsRequest { min_position, ..asking("termin") };
    let waiting = tokio::spawn(async move { search(&mut client, asked).await });
    harness.apply(&samples::records(Provider::Native)).await;
    assert_eq!(waiting.await.unwrap().unwrap().hits.len(), 1);
}
