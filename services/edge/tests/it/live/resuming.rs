//! Going on where one was: no gap, no repeat.

use std::collections::BTreeSet;
use std::time::Duration;

use colloquy_events::Event;
use colloquy_types::ConversationId;

use super::log::event;
use super::stage::{Client, Edge, LIMIT, Stage, known, path, position, turn};

#[tokio::test]
async fn a_stream_goes_on_after_any_position_on_any_server() {
    let stage = Stage::new();
    let edges = [stage.edge().await, stage.edge().await];
    let mut all = vec![0];
    for count in [1, 3, 2] {
        all.extend(stage.log().append("default", (0..count).map(|_| event(known(), turn("text"))).collect()));
    }
    for edge in &edges {
        for (index, after) in all.clone().into_iter().enumerate() {
            let mut client = edge.connect(&format!("{}?after={after}", path())).await;
            for expected in &all[index + 1..] {
                assert_eq!(position(&client.next().await), *expected);
            }
            let live = stage.say("live");
            assert_eq!(position(&client.next().await), live, "after {after}");
            all.push(live);
        }
    }
}

#[tokio::test]
async fn a_position_from_a_server_that_saw_more_is_waited_for() {
    let stage = Stage::new();
    let edge = stage.edge().await;
    stage.say("seen");
    let mut client = edge.connect(&path()).await;
    client.next().await;
    stage.log().lag_behind();
    let ahead = stage.say("ahead");
    let resuming = format!("{}?after={ahead}", path());
    let (resumed, ()) = tokio::join!(edge.connect(&resuming), async {
        // The server has asked at least once by the time the log comes up.
        while !stage.log().tails().iter().any(|tail| tail.after_position == Some(ahead)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stage.log().come_up();
    });
    let mut resumed: Client = resumed;
    let next = stage.say("next");
    assert_eq!(position(&resumed.next().await), next);
    assert_eq!(position(&client.next().await), ahead);
    assert_eq!(position(&client.next().await), next);
}

#[tokio::test]
async fn a_broken_upstream_leaves_no_gap() {
    let stage = Stage::new();
    let edge = stage.edge().await;
    let mut client = edge.connect(&path()).await;
    client.next().await;
    for round in 0..5 {
        let before = stage.say("before");
        assert_eq!(position(&client.next().await), before);
        stage.log().set_away(round % 2 == 0);
        let during = stage.say("during");
        stage.log().set_away(false);
        let after = stage.say("after");
        assert_eq!(position(&client.next().await), during);
        assert_eq!(position(&client.next().await), after);
    }
}

#[tokio::test]
async fn events_carry_their_positions_as_ids_and_are_resumed_by_them() {
    let stage = Stage::new();
    let edge = stage.edge().await;
    let mut events = edge.events(&path(), &[]).await;
    let head = events.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
    let (id, snapshot) = events.next().await;
    assert_eq!((id, snapshot["type"].as_str()), (Some(position(&snapshot)), Some("snapshot")));
    let said = [stage.say("one"), stage.say("two"), stage.say("three")];
    for expected in said {
        let (id, frame) = events.next().await;
        assert_eq!((id, position(&frame)), (Some(expected), expected));
    }
    drop(events);
    // A browser asks for the same address again, and says what it got last.
    let again = format!("{}?after=0", path());
    let mut events = edge.events(&again, &[("last-event-id", &said[1].to_string())]).await;
    assert_eq!(events.next().await.0, Some(said[2]));
    let mut organization = edge.events("/v1/stream?kinds=turn.added", &[("last-event-id", &said[0].to_string())]).await;
    assert_eq!(organization.next().await.0, Some(said[1]));
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

enum Following {
    Socket(Box<Client>),
    Events(super::stage::Events),
}

impl Following {
    async fn begin(edge: &Edge, path: &str, after: Option<u64>, dice: &mut Dice) -> Self {
        let path = after.map_or(path.to_owned(), |after| format!("{path}?after={after}"));
        if dice.roll(2) == 0 {
            return Self::Events(edge.events(&path, &[]).await);
        }
        Self::Socket(Box::new(edge.connect(&path).await))
    }

    async fn next(&mut self) -> serde_json::Value {
        match self {
            Self::Socket(client) => client.next().await,
            Self::Events(events) => events.next().await.1,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_every_position_is_seen_exactly_once() {
    for seed in 1..=12 {
        let stage = Stage::new();
        let edges = [stage.edge().await, stage.edge().await];
        let mut dice = Dice(seed);
        let other = ConversationId::generate();
        let path = if seed % 3 == 0 { "/v1/stream".to_owned() } else { path() };
        let mut following = Following::begin(&edges[0], &path, None, &mut dice).await;
        let snapshot = following.next().await;
        assert_eq!(snapshot["type"], "snapshot");
        let begun = position(&snapshot);

        let log = stage.log().clone();
        let mut writer_dice = Dice(seed + 1_000);
        let whole = seed % 3 == 0;
        let writing = tokio::spawn(async move {
            let mut expected = BTreeSet::new();
            for _ in 0..300 {
                let ids: Vec<ConversationId> =
                    (0..=writer_dice.roll(3)).map(|_| if writer_dice.roll(3) == 0 { other } else { known() }).collect();
                let record: Vec<Event> = ids.iter().map(|id| event(*id, turn("text"))).collect();
                let positions = log.append("default", record);
                expected.extend(positions.into_iter().zip(ids).filter(|(_, id)| whole || *id == known()).map(|(at, _)| at));
                match writer_dice.roll(40) {
                    0 => log.break_streams(),
                    1..=20 => tokio::task::yield_now().await,
                    21..=24 => tokio::time::sleep(Duration::from_millis(1)).await,
                    _ => {}
                }
            }
            let last = log.append("default", vec![event(known(), turn("last"))])[0];
            expected.insert(last);
            (expected, last)
        });

        let mut seen = Vec::new();
        let mut at = begun;
        let follow = async {
            loop {
                for _ in 0..=dice.roll(30) {
                    let frame = following.next().await;
                    // A client that missed something goes on from where it has everything.
                    if frame["type"] == "lagged" {
                        assert!(position(&frame) >= at);
                        at = position(&frame);
                        break;
                    }
                    assert_eq!(frame["type"], "turn.added", "{frame}");
                    at = position(&frame);
                    seen.push(at);
                    if frame["data"]["text"] == "last" {
                        return;
                    }
                }
                let edge = &edges[dice.roll(2) as usize];
                following = Following::begin(edge, &path, Some(at), &mut dice).await;
            }
        };
        tokio::time::timeout(LIMIT * 2, follow).await.expect("the last one comes");
        let (expected, last) = writing.await.unwrap();
        assert_eq!(seen.last(), Some(&last));
        let expected: Vec<u64> = expected.into_iter().filter(|position| *position > begun).collect();
        assert_eq!(seen, expected, "seed {seed}");
    }
}
