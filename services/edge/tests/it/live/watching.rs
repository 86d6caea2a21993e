//! What a stream shows.

use std::time::Duration;

use colloquy_edge::StreamSettings;
use colloquy_events::{Command, CommandKind, ControlOffer, Data, EndStatus, Ended};
use colloquy_types::ConversationId;
use futures::SinkExt;
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::Message;
use tonic::Status;
use uuid::Uuid;

use super::log::event;
use super::stage::{LIMIT, Stage, known, path, position, turn};
use crate::fake::{KNOWN, running};

#[tokio::test]
async fn a_conversation_begins_with_a_snapshot_and_goes_on_in_order() {
    let stage = Stage::new();
    stage.say("before");
    let edge = stage.edge().await;
    let mut client = edge.connect(&path()).await;
    let snapshot = client.next().await;
    assert_eq!((snapshot["type"].as_str(), snapshot["conversation_id"].as_str()), (Some("snapshot"), Some(KNOWN)));
    assert_eq!(snapshot["data"]["conversation"]["conversation_id"], KNOWN);
    assert!(snapshot["data"]["turns"].is_array() && snapshot["data"]["metrics"]["talk"].is_object());
    let minimum = format!("min_position: {}", position(&snapshot));
    for method in ["GetConversation", "GetTranscript"] {
        assert!(stage.fake.last(method).message.contains(&minimum), "{method} waits for the snapshot's position");
    }
    let others = ConversationId::generate();
    for index in 0..50 {
        stage.say_in(others, "elsewhere");
        let said = stage.say(&format!("{index}"));
        let frame = client.next().await;
        assert_eq!((position(&frame), frame["data"]["text"].as_str()), (said, Some(format!("{index}").as_str())));
        assert!(said > position(&snapshot));
    }
    assert_eq!(stage.log().followed(), 1);
    // After the end there is still something to come.
    stage.log().append("default", vec![event(known(), Data::Ended(Ended::new(EndStatus::Completed)))]);
    assert_eq!(client.next().await["type"], "conversation.ended");
    let late = stage.say("late");
    assert_eq!(position(&client.next().await), late);
}

#[tokio::test]
async fn one_subscription_serves_every_socket_and_ends_when_nobody_listens() {
    let stage = Stage::new();
    let edge = stage.edge_with(StreamSettings { idle_after: Duration::from_millis(50), ..StreamSettings::default() }).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = edge.connect(&path()).await;
        client.next().await;
        clients.push(client);
    }
    let said = stage.say("to everybody");
    for client in &mut clients {
        assert_eq!(position(&client.next().await), said);
    }
    assert_eq!(stage.log().followed(), 1);
    drop(clients);
    // Once nobody listened for a while, it begins anew for the next.
    let mut tries = 0;
    while stage.log().followed() == 1 {
        tries += 1;
        assert!(tries < 200, "it never ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
        edge.connect(&path()).await.next().await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let mut client = edge.connect(&path()).await;
    client.next().await;
    let said = stage.say("again");
    assert_eq!(position(&client.next().await), said);
}

#[tokio::test]
async fn figures_follow_what_happens_but_not_too_often() {
    let stage = Stage::new();
    let edge = stage.edge().await;
    let mut clients = [edge.connect(&path()).await, edge.connect(&path()).await];
    for client in &mut clients {
        client.next().await;
    }
    for _ in 0..40 {
        stage.say("more");
    }
    for client in &mut clients {
        let figures = client.next_of("metrics").await;
        assert!(figures["position"].is_null() && figures["conversation_id"] == KNOWN, "{figures}");
        for key in
            ["duration_seconds", "turn_count", "talk", "silence", "interruptions", "sentiment", "sentiment_score", "topics"]
        {
            assert!(figures["data"].get(key).is_some(), "{key} in {figures}");
        }
        assert_eq!((&figures["data"]["sentiment"], &figures["data"]["topics"][0]), (&"negative".into(), &"billing".into()));
    }
    let reads = stage.fake.calls().iter().filter(|call| call.method == "GetFigures").count();
    assert!(reads <= 2 + 3, "two snapshots, and figures twice a second: {reads}");
    assert!(
        stage.fake.calls().iter().filter(|call| call.method == "GetFigures").all(|call| call.api_key.as_deref() == Some("k"))
    );
}

/// Returns how often analysers were asked for what they say.
fn asked_analysers(stage: &Stage) -> usize {
    stage.fake.calls().iter().filter(|call| call.method == "GetConversationAnalytics").count()
}

#[tokio::test]
async fn the_mood_of_the_last_words_follows_although_nobody_speaks_again() {
    let stage = Stage::new();
    stage.fake.set_analysed(1, "neutral");
    let edge = stage.edge().await;
    let (mut one, mut other) = (edge.connect(&path()).await, edge.connect(&path()).await);
    let mut events = edge.events(&path(), &[]).await;
    assert!(events.head().await.contains("200"));
    one.next().await;
    other.next().await;
    events.next().await;
    let begun = asked_analysers(&stage);
    let said = stage.say("That is terrible.");
    for client in [&mut one, &mut other] {
        assert_eq!(client.next_of("metrics").await["data"]["sentiment"], "neutral", "analysers come behind");
    }
    stage.fake.set_analysed(said, "negative");
    for client in [&mut one, &mut other] {
        assert_eq!(client.next_of("metrics").await["data"]["sentiment"], "negative");
    }
    assert_eq!(events.next_of("metrics").await["data"]["sentiment"], "neutral");
    assert_eq!(events.next_of("metrics").await["data"]["sentiment"], "negative");
    assert_eq!(asked_analysers(&stage), begun + 2, "once with the figures, once after: for all who listen together");
}

#[tokio::test]
async fn the_mood_of_what_was_said_before_a_stream_began_follows_too() {
    let stage = Stage::new();
    stage.fake.set_conversation(running());
    let said = stage.say("That is terrible.");
    stage.fake.set_analysed(1, "neutral");
    let edge = stage.edge().await;
    let mut client = edge.connect(&path()).await;
    assert_eq!(client.next().await["data"]["metrics"]["sentiment"], "neutral");
    stage.fake.set_analysed(said, "negative");
    assert_eq!(client.next_of("metrics").await["data"]["sentiment"], "negative");
}

#[tokio::test]
async fn figures_that_could_not_be_read_are_read_again_although_nobody_speaks_again() {
    let stage = Stage::new();
    stage.fake.set_analysed(1, "neutral");
    let edge = stage.edge().await;
    let mut client = edge.connect(&path()).await;
    client.next().await;
    let reads = || stage.fake.calls().iter().filter(|call| call.method == "GetConversation").count();
    let before = reads();
    stage.fake.fail("GetConversation", Status::internal("not now"));
    let said = stage.say("That is terrible.");
    let read = async {
        while reads() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, read).await.expect("figures are read");
    stage.fake.set_analysed(said, "negative");
    stage.fake.fail("nothing", Status::internal("not now"));
    assert_eq!(client.next_of("metrics").await["data"]["sentiment"], "negative");
}

#[tokio::test]
async fn the_mood_is_for_those_whose_keys_may_read_analytics_whoever_came_first() {
    const MOOD_KEYS: [&str; 2] = ["analyst", "plain"];
    for first in MOOD_KEYS {
        let stage = Stage::new();
        stage.fake.access().add("analyst", "default", &["conversations:read", "analytics:read"]);
        stage.fake.access().add("plain", "default", &["conversations:read"]);
        let edge = stage.edge().await;
        let mut keys = MOOD_KEYS;
        keys.sort_by_key(|key| *key != first);
        for other_path in [path(), "/v1/stream".to_owned()] {
            let mut one = edge.try_connect(&path(), &[("x-api-key", keys[0])]).await.unwrap();
            let mut other = edge.try_connect(&other_path, &[("x-api-key", keys[1])]).await.unwrap();
            one.next().await;
            other.next().await;
            stage.say("That is terrible.");
            for (client, key) in [(&mut one, keys[0]), (&mut other, keys[1])] {
                let figures = client.next_of("metrics").await;
                let mood = (&figures["data"]["sentiment"], figures["data"]["topics"].as_array().unwrap().len());
                let expected = if key == "analyst" { (&"negative".into(), 1) } else { (&serde_json::Value::Null, 0) };
                assert_eq!(mood, expected, "{key}, when {first} came first, to {other_path}");
            }
        }
    }
}

#[tokio::test]
async fn an_organizations_stream_shows_the_mood_of_the_last_words_too() {
    let stage = Stage::new();
    stage.fake.set_analysed(1, "neutral");
    let edge = stage.edge().await;
    let mut client = edge.connect("/v1/stream").await;
    client.next().await;
    let said = stage.say("That is terrible.");
    assert_eq!(client.next_of("metrics").await["data"]["sentiment"], "neutral");
    stage.fake.set_analysed(said, "negative");
    assert_eq!(client.next_of("metrics").await["data"]["sentiment"], "negative");
}

#[tokio::test]
async fn who_may_not_read_words_sees_none_and_nobody_sees_what_is_private() {
    let stage = Stage::new();
    stage.fake.access().add("wordless", "default", &["conversations:read"]);
    let edge = stage.edge().await;
    let mut client = edge.try_connect(&path(), &[("x-api-key", "wordless")]).await.unwrap();
    let mut whole = edge.connect(&path()).await;
    let snapshot = client.next().await;
    assert!(snapshot["data"]["turns"].is_null(), "{snapshot}");
    whole.next().await;
    let command = Command {
        command_id: Uuid::nil(),
        command: CommandKind::Say,
        text: Some("marked".to_owned()),
        destination: None,
        muted: None,
        holder: None,
    };
    let offer = ControlOffer { url: "https://marked.example".to_owned() };
    let events = vec![
        event(known(), Data::ControlOffered(offer)),
        event(known(), turn("marked")),
        event(known(), Data::ControlAccepted(command)),
    ];
    let positions = stage.log().append("default", events);
    for (index, kind) in [(1, "turn.added"), (2, "control.accepted")] {
        let (without, with) = (client.next().await, whole.next().await);
        assert_eq!((position(&without), position(&with)), (positions[index], positions[index]));
        assert_eq!((without["type"].as_str(), with["type"].as_str()), (Some(kind), Some(kind)));
        assert!(!without.to_string().contains("marked") && with.to_string().contains("marked"));
    }
    // The same holds for what is read again.
    let again = format!("{}?after=0", path());
    let mut again = edge.try_connect(&again, &[("x-api-key", "wordless")]).await.unwrap();
    for index in [1, 2] {
        let frame = again.next().await;
        assert!(position(&frame) == positions[index] && !frame.to_string().contains("marked"), "{frame}");
    }
}

#[tokio::test]
async fn a_client_that_is_too_slow_is_told_and_begins_anew() {
    let stage = Stage::new();
    let settings = StreamSettings { queue_frames: 8, queue_bytes: 64 << 10, ..StreamSettings::default() };
    let edge = stage.edge_with(settings).await;
    // Little fits into the connection, so the client's slowness is soon felt.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let stream = socket.connect(edge.address).await.unwrap();
    let mut client = edge.try_connect_over(stream, &path(), &[("x-api-key", "k")]).await.unwrap();
    let mut seen = vec![position(&client.next().await)];
    let long = "x".repeat(64 << 10);
    let mut all = Vec::new();
    for _ in 0..200 {
        all.push(stage.say(&long));
    }
    let lagged = loop {
        let frame = client.next().await;
        if frame["type"] == "lagged" {
            break frame;
        }
        seen.push(position(&frame));
    };
    let last_seen = *seen.last().unwrap();
    assert_eq!(position(&lagged), last_seen, "after it, everything was missed");
    let first_missed = all.iter().copied().find(|said| *said > last_seen).unwrap();
    assert_eq!(lagged["data"]["missed_from"].as_u64(), Some(first_missed));
    assert!(lagged["data"]["frames"].as_u64() > Some(0));
    let mut snapshot = client.next().await;
    loop {
        assert_eq!(snapshot["type"], "snapshot");
        assert!(position(&snapshot) >= first_missed);
        if position(&snapshot) >= *all.last().unwrap() {
            break;
        }
        // It was too slow once more.
        while client.next().await["type"] != "lagged" {}
        snapshot = client.next().await;
    }
    let said = stage.say("short");
    assert_eq!(position(&client.next().await), said);
    // What was missed can be had.
    let mut again = edge.connect(&format!("{}?after={last_seen}", path())).await;
    let missed: Vec<u64> = all.iter().copied().filter(|said| *said > last_seen).collect();
    for expected in missed.into_iter().chain([said]) {
        assert_eq!(position(&again.next().await), expected);
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let stage = Stage::new();
    let settings = StreamSettings { send_timeout: Duration::from_millis(100), ..StreamSettings::default() };
    let edge = stage.edge_with(settings).await;
    let mut client = edge.connect(&path()).await;
    client.next().await;
    let long = "x".repeat(256 << 10);
    // Far more than any connection holds; then the end comes, whatever was sent before it.
    for _ in 0..64 {
        stage.say(&long);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    tokio::time::timeout(LIMIT, client.end()).await.expect("it ends");
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_gone_and_one_that_does_stays() {
    let stage = Stage::new();
    let settings = StreamSettings { ping_interval: Duration::from_millis(50), ..StreamSettings::default() };
    let edge = stage.edge_with(settings).await;
    let mut silent = edge.connect(&path()).await;
    let mut talking = edge.connect(&path()).await;
    talking.next().await;
    // Reading answers pings, so the silent one does not read; the other lives through many.
    let said = stage.say("later");
    assert_eq!(position(&talking.next().await), said);
    let reading = tokio::spawn(async move {
        let code = tokio::time::timeout(Duration::from_millis(600), talking.end()).await;
        assert!(code.is_err(), "it ended: {code:?}");
    });
    reading.await.unwrap();
    assert_eq!(silent.end().await, 4408);
}

#[tokio::test]
async fn clients_have_little_to_say() {
    let stage = Stage::new();
    let edge = stage.edge().await;
    let mut client = edge.connect(&path()).await;
    client.0.send(Message::text("hello")).await.unwrap();
    client.next().await;
    let said = stage.say("still here");
    assert_eq!(position(&client.next().await), said);
    client.0.send(Message::text("x".repeat(5_000))).await.unwrap();
    assert_eq!(client.end().await, 1009);
    let mut client = edge.connect(&path()).await;
    for _ in 0..200 {
        if client.0.send(Message::text("hello")).await.is_err() {
            break;
        }
    }
    assert_eq!(client.end().await, 1008);
}
