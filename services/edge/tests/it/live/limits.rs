//! Who may open streams, how many, and how they end.

use std::time::Duration;

use colloquy_edge::StreamSettings;
use tokio::net::{TcpSocket, TcpStream};

use super::stage::{LIMIT, Stage, path, position};
use crate::fake::KNOWN;

#[tokio::test]
async fn whatever_is_wrong_is_said_before_the_upgrade() {
    let stage = Stage::new();
    stage.fake.access().add("writer", "default", &["events:write"]);
    let edge = stage.edge().await;
    let (path, unknown) = (path(), "/v1/conversations/01980000-0000-7000-8000-0000000000ff/stream".to_owned());
    let with = |query: &str| format!("{path}?{query}");
    let key = [("x-api-key", "k")];
    type Case<'a> = (String, &'a [(&'static str, &'a str)], u16);
    let cases: [Case<'_>; 13] = [
        (path.clone(), &[], 401),
        (path.clone(), &[("x-api-key", "no")], 401),
        (path.clone(), &[("x-api-key", "writer")], 403),
        (unknown.clone(), &key, 404),
        (format!("{unknown}?after=0"), &key, 404),
        ("/v1/conversations/nonsense/stream".to_owned(), &key, 404),
        (with("after=x"), &key, 400),
        (with("after=-1"), &key, 400),
        (with("after="), &key, 400),
        (with("after=99999999999999999999999"), &key, 400),
        (with("after=9000000000000"), &key, 400),
        (with("agent_id=a"), &key, 400),
        (path.clone(), &[("x-api-key", "k"), ("last-event-id", "x")], 400),
    ];
    for (path, headers, status) in cases {
        let refused = edge.try_connect(&path, headers).await.err().unwrap_or_else(|| panic!("{path} opened"));
        assert_eq!(refused.status, status, "{path} {headers:?}");
        assert_eq!(refused.problem["status"], status, "{path}: {refused:?}");
    }
    let plain = stage.fake.get(&path).await;
    assert_eq!((plain.status.as_u16(), plain.header("upgrade")), (426, "websocket"));
    assert!(plain.json()["detail"].as_str().unwrap().contains("text/event-stream"));
    for query in ["kinds=no.such", "kinds=control.offered", "kinds=", "after=x", "nope=1"] {
        let refused = edge.try_connect(&format!("/v1/stream?{query}"), &key).await.err().unwrap();
        assert_eq!(refused.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_conversation_has_every_name_and_both_paths() {
    let stage = Stage::new();
    let id = colloquy_types::ConversationId::derive(&"default".parse().unwrap(), colloquy_types::Provider::ElevenLabs, "conv_1");
    let conversation = colloquy_proto::conversation::v1::Conversation {
        conversation_id: id.to_string(),
        external_id: "conv_1".to_owned(),
        provider: "elevenlabs".to_owned(),
        ..Default::default()
    };
    stage.fake.set_conversation(conversation);
    let edge = stage.edge().await;
    for path in ["/v1/conversations/elevenlabs:conv_1/stream", &format!("/v1/voiceai/conversations/{id}/stream")] {
        let mut client = edge.connect(path).await;
        assert_eq!(client.next().await["conversation_id"], id.to_string());
        let said = stage.say_in(id, "hello");
        assert_eq!(position(&client.next().await), said);
    }
}

#[tokio::test]
async fn a_browser_names_its_key_as_a_protocol() {
    let stage = Stage::new();
    let edge = stage.edge().await;
    let mut client = edge.try_connect(&path(), &[("sec-websocket-protocol", "colloquy.v1, api-key.k")]).await.unwrap();
    client.next().await;
    let refused = edge.try_connect(&path(), &[("sec-websocket-protocol", "colloquy.v1, api-key.no")]).await.err().unwrap();
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn too_many_streams_are_refused_with_the_limit() {
    let stage = Stage::new();
    stage.fake.access().add("other", "default", &["conversations:read"]);
    let edge = stage.edge_with(StreamSettings { max_per_key: 2, max_streams: 3, ..StreamSettings::default() }).await;
    let mut first = edge.connect(&path()).await;
    first.next().await;
    let _second = edge.connect(&path()).await;
    let refused = edge.try_connect(&path(), &[("x-api-key", "k")]).await.err().unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.problem["detail"].as_str().unwrap().contains("this API key has 2"), "{refused:?}");
    let _third = edge.try_connect(&path(), &[("x-api-key", "other")]).await.unwrap();
    let refused = edge.try_connect(&path(), &[("x-api-key", "other")]).await.err().unwrap();
    assert!(refused.status == 429 && refused.problem["detail"].as_str().unwrap().contains("this server holds 3"), "{refused:?}");
    // A place that is left is free for the next.
    drop(first);
    let free = async {
        while edge.try_connect(&path(), &[("x-api-key", "k")]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, free).await.expect("the place becomes free");
}

#[tokio::test]
async fn a_revoked_key_ends_its_streams_and_no_other() {
    let stage = Stage::new();
    stage.fake.access().add("revoked", "default", &["conversations:read"]);
    stage.fake.access().add("changed", "default", &["conversations:read", "transcripts:read"]);
    let settings = StreamSettings { key_check_interval: Duration::from_millis(50), ..StreamSettings::default() };
    let edge = stage.edge_with(settings).await;
    let mut streams = Vec::new();
    for key in ["revoked", "revoked", "changed"] {
        streams.push(edge.try_connect(&path(), &[("x-api-key", key)]).await.unwrap());
    }
    let mut other = edge.connect("/v1/stream").await;
    other.next().await;
    stage.fake.access().revoke("revoked");
    stage.fake.access().add("changed", "default", &["conversations:read"]);
    for stream in &mut streams {
        assert_eq!(stream.end().await, 4401);
    }
    let said = stage.say("still heard");
    assert_eq!(position(&other.next().await), said);
}

/// A connection into which little fits, so that a client that does not read is soon felt.
async fn narrow(edge: &super::stage::Edge) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(edge.address).await.unwrap()
}

#[tokio::test]
async fn one_key_that_catches_up_leaves_room_for_others() {
    let stage = Stage::new();
    stage.fake.access().add("greedy", "default", &["conversations:read", "transcripts:read"]);
    // Far more than any connection holds.
    stage.say(&"x".repeat(24 << 20));
    let last = stage.say("last");
    let edge = stage.edge_with(StreamSettings { max_catch_ups_at_once: 2, ..StreamSettings::default() }).await;
    let catching_up = format!("{}?after=0", path());
    // It reads nothing, and so keeps its turn; what more it wants waits for that one.
    let _greedy = edge.try_connect_over(narrow(&edge).await, &catching_up, &[("x-api-key", "greedy")]).await.unwrap();
    let more = edge.try_connect(&catching_up, &[("x-api-key", "greedy")]);
    let _more = tokio::time::timeout(Duration::from_secs(2), more).await;
    let mut other = edge.connect(&format!("{}?after={}", path(), last - 1)).await;
    assert_eq!(position(&other.next().await), last);
}

#[tokio::test]
async fn streams_end_with_the_server_and_say_so() {
    let stage = Stage::new();
    let mut edge = stage.edge().await;
    let mut clients = [edge.connect(&path()).await, edge.connect("/v1/stream").await];
    for client in &mut clients {
        client.next().await;
    }
    let mut events = edge.events(&path(), &[]).await;
    assert_eq!(events.next().await.1["type"], "snapshot");
    edge.stop.cancel();
    for client in &mut clients {
        assert_eq!(client.end().await, 1012);
    }
    let (id, closed) = events.next().await;
    assert_eq!((id, closed["type"].as_str(), closed["data"]["code"].as_u64()), (None, Some("closed"), Some(1012)));
    tokio::time::timeout(LIMIT, &mut edge.ended).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn a_log_that_cannot_be_followed_is_said_to_be_away() {
    let stage = Stage::new();
    stage.log().set_away(true);
    let edge = stage.edge().await;
    let refused = edge.try_connect(&path(), &[("x-api-key", "k")]).await.err().unwrap();
    assert_eq!((refused.status, refused.problem["request_id"].is_string()), (503, true), "{refused:?}");
    stage.log().set_away(false);
    let mut client = loop {
        if let Ok(client) = edge.try_connect(&path(), &[("x-api-key", "k")]).await {
            break client;
        }
    };
    assert_eq!(client.next().await["data"]["conversation"]["conversation_id"], KNOWN);
}
