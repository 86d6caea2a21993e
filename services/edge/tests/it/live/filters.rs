//! Streams of an organization.

use colloquy_events::{Change, Data, Facts, Patch};
use colloquy_proto::conversation::v1 as pb;
use colloquy_types::ConversationId;

use super::log::event;
use super::stage::{ALL, Stage, position, turn};

#[tokio::test]
async fn an_organization_sees_its_own_conversations_and_no_others() {
    let stage = Stage::new();
    stage.fake.access().add("foreign", "other", &ALL);
    let edge = stage.edge().await;
    let mut client = edge.connect("/v1/stream").await;
    let mut foreign = edge.try_connect("/v1/stream", &[("x-api-key", "foreign")]).await.unwrap();
    let snapshot = client.next().await;
    assert!(snapshot["data"]["conversations"].is_array() && snapshot["data"]["has_more"] == true, "{snapshot}");
    assert!(snapshot["conversation_id"].is_null());
    foreign.next().await;
    let ids = [ConversationId::generate(), ConversationId::generate()];
    for id in ids {
        let hidden = stage.log().append("other", vec![event(id, turn("foreign"))])[0];
        let said = stage.say_in(id, "own");
        let frame = client.next().await;
        assert_eq!((position(&frame), frame["conversation_id"].as_str()), (said, Some(id.to_string().as_str())));
        assert_eq!(position(&foreign.next().await), hidden);
    }
    // One id in two organizations is two conversations.
    let mut again = edge.try_connect("/v1/stream?after=0", &[("x-api-key", "foreign")]).await.unwrap();
    for _ in ids {
        assert_eq!(again.next().await["data"]["text"], "foreign");
    }
}

#[tokio::test]
async fn kinds_are_chosen_by_name() {
    let stage = Stage::new();
    let edge = stage.edge().await;
    let mut client = edge.connect("/v1/stream?kinds=conversation.started,feedback.given&kinds=conversation.patched").await;
    client.next().await;
    let id = ConversationId::generate();
    let started = event(id, Data::Started(Facts::default()));
    let patched = event(id, Data::Patched(Patch::default()));
    let positions = stage.log().append("default", vec![turn_of(id), started, turn_of(id), patched]);
    for (expected, kind) in [(positions[1], "conversation.started"), (positions[3], "conversation.patched")] {
        let frame = client.any().await;
        assert_eq!((position(&frame), frame["type"].as_str()), (expected, Some(kind)));
    }
    let mut again = edge.connect("/v1/stream?kinds=conversation.patched&after=0").await;
    assert_eq!(position(&again.any().await), positions[3]);
    let mut figures = edge.connect("/v1/stream?kinds=metrics").await;
    assert_eq!(figures.any().await["type"], "snapshot");
    stage.say("something");
    assert_eq!(figures.any().await["type"], "metrics");
}

fn turn_of(id: ConversationId) -> colloquy_events::Event {
    event(id, turn("text"))
}

#[tokio::test]
async fn agents_and_customers_are_known_from_events_or_else_from_the_record() {
    let stage = Stage::new();
    let [wanted, unwanted, unknown, erased] = [(); 4].map(|()| ConversationId::generate());
    let record = |id: ConversationId, agent: &str, client: Option<&str>| pb::Conversation {
        conversation_id: id.to_string(),
        agent_id: Some(agent.to_owned()),
        client_id: client.map(str::to_owned),
        ..Default::default()
    };
    stage.fake.add_conversation(record(unknown, "a", Some("c")));
    stage.fake.add_conversation(record(unwanted, "a", Some("d")));
    let edge = stage.edge().await;
    let mut client = edge.connect("/v1/stream?agent_id=a&client_id=c").await;
    let mut of_agent = edge.connect("/v1/stream?agent_id=a&kinds=turn.added").await;
    client.next().await;
    of_agent.next().await;
    let facts = |agent: &str, client: Option<&str>| Facts {
        agent_id: Some(agent.to_owned()),
        client_id: client.map(str::to_owned),
        ..Facts::default()
    };
    let started = stage.log().append("default", vec![event(wanted, Data::Started(facts("a", Some("c"))))])[0];
    let other_agent = stage.log().append("default", vec![event(erased, Data::Started(facts("b", None)))])[0];
    let said = [unwanted, wanted, unknown, erased].map(|id| stage.say_in(id, "hello"));
    for expected in [started, said[1], said[2]] {
        assert_eq!(position(&client.next().await), expected, "not {other_agent}");
    }
    for expected in &said[..3] {
        assert_eq!(position(&of_agent.next().await), *expected);
    }
    // Whose a conversation is may change.
    let patch = Patch { client_id: Change::To(Some("d".to_owned())), ..Patch::default() };
    stage.log().append("default", vec![event(wanted, Data::Patched(patch))]);
    stage.say_in(wanted, "no longer");
    let last = stage.say_in(unknown, "still");
    assert_eq!(position(&client.next().await), last);
    // And what was missed is narrowed likewise: by the record, as it is now.
    stage.fake.add_conversation(record(wanted, "a", Some("d")));
    let mut again = edge.connect("/v1/stream?agent_id=a&client_id=c&after=0").await;
    for expected in [said[2], last] {
        assert_eq!(position(&again.next().await), expected);
    }
    assert!(stage.fake.calls().iter().all(|call| call.api_key.as_deref() == Some("k")));
}
