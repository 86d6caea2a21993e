//! Own agents: they come for their commands and say what became of them.

use std::time::Duration;

use colloquy_proto::control::v1 as pb;
use colloquy_types::Provider;
use tonic::{Code, Streaming};

use crate::harness::{World, command, on_both_engines, say, with};

on_both_engines!(
    commands_are_handed_out_until_they_are_answered,
    an_agent_says_why_it_refuses_and_its_first_answer_counts,
    a_subscriber_gets_what_nobody_answered_and_only_of_its_agent,
    commands_that_nobody_answers_are_rejected,
    commands_to_own_conversations_end_with_them,
    another_tenant_is_handed_nothing,
);

async fn subscribe(world: &World, organization_id: &str, agent_id: &str) -> Streaming<pb::SubscribeResponse> {
    let request = pb::SubscribeRequest { agent_id: agent_id.to_owned() };
    world.client_of(organization_id, "events:write").subscribe(request).await.unwrap().into_inner()
}

async fn next(handed: &mut Streaming<pb::SubscribeResponse>) -> pb::Command {
    let next = tokio::time::timeout(Duration::from_secs(10), handed.message()).await;
    next.expect("a command within ten seconds").unwrap().unwrap().command.unwrap()
}

async fn report(world: &World, command: &pb::Command, rejected: Option<&str>) -> pb::Command {
    let rejected = rejected.map(str::to_owned);
    let request = pb::ReportCommandRequest { command_id: command.command_id.clone(), rejected };
    world.client().report_command(request).await.unwrap().into_inner().command.unwrap()
}

async fn commands_are_handed_out_until_they_are_answered(world: World) {
    let name = world.conversation(Provider::Native, "own_1").await;
    let mut handed = subscribe(&world, "acme", "").await;
    let lease = world.take_over(&name).await;
    let first = next(&mut handed).await;
    assert_eq!((first.command.as_str(), first.external_id.as_str(), first.holder.as_str()), ("take_over", "own_1", "Ada"));
    assert_eq!(next(&mut handed).await, first);
    assert_eq!(report(&world, &first, None).await.state, "applied");
    world.client().send_command(with(&lease, say(&name, "hello"))).await.unwrap();
    // What was on its way when it was answered may come once more.
    let mut second = next(&mut handed).await;
    while second.command_id == first.command_id {
        second = next(&mut handed).await;
    }
    assert_eq!((second.command.as_str(), second.text.as_deref()), ("say", Some("hello")));
    report(&world, &second, None).await;
    world.until_told(&name, &["accepted take_over", "taken Ada", "applied take_over", "accepted say", "applied say"]).await;
    assert_eq!(world.vapi.performed(), []);
}

async fn an_agent_says_why_it_refuses_and_its_first_answer_counts(world: World) {
    let name = world.conversation(Provider::Native, "own_1").await;
    world.take_over(&name).await;
    let first = next(&mut subscribe(&world, "acme", "").await).await;
    let refused = report(&world, &first, Some("I am busy")).await;
    assert_eq!((refused.state.as_str(), refused.reason.as_deref()), ("rejected", Some("agent_refused")));
    assert_eq!(refused.detail.as_deref(), Some("I am busy"));
    assert_eq!(report(&world, &first, None).await, refused);
    world.until_told(&name, &["accepted take_over", "taken Ada", "rejected take_over: agent_refused"]).await;
    let long = pb::ReportCommandRequest { command_id: first.command_id, rejected: Some("x".repeat(501)) };
    assert_eq!(world.client().report_command(long).await.unwrap_err().code(), Code::InvalidArgument);
    let unknown = pb::ReportCommandRequest { command_id: uuid::Uuid::nil().to_string(), rejected: None };
    assert_eq!(world.client().report_command(unknown).await.unwrap_err().code(), Code::NotFound);
}

async fn a_subscriber_gets_what_nobody_answered_and_only_of_its_agent(world: World) {
    let name = world.conversation(Provider::Native, "own_1").await;
    let lease = world.take_over(&name).await;
    world.client().send_command(with(&lease, say(&name, "hello"))).await.unwrap();
    let mut others = subscribe(&world, "acme", "agent-2").await;
    let mut own = subscribe(&world, "acme", "agent-1").await;
    assert_eq!((next(&mut own).await.command.as_str(), next(&mut own).await.command.as_str()), ("take_over", "say"));
    assert!(tokio::time::timeout(Duration::from_millis(300), others.message()).await.is_err());
}

async fn commands_that_nobody_answers_are_rejected(world: World) {
    let name = world.conversation(Provider::Native, "own_1").await;
    let request = pb::SendCommandRequest { lease_seconds: 600, ..command(&name, "take_over") };
    world.client().send_command(request).await.unwrap();
    world.clock.advance_millis(59_999);
    world.until_states(&name, &["take_over accepted"]).await;
    world.clock.advance_millis(1);
    world.until_states(&name, &["take_over rejected: no_answer"]).await;
    world.until_last_told(&name, "rejected take_over: no_answer").await;
}

async fn commands_to_own_conversations_end_with_them(world: World) {
    // Nobody was told of it before the end.
    let name = world.conversation(Provider::Native, "own_1").await;
    world.take_over(&name).await;
    world.end(Provider::Native, "own_1").await;
    world.until_states(&name, &["take_over rejected: conversation_ended"]).await;
    // The agent ended the conversation, as it was told; what it says of that may come later or never.
    let name = world.conversation(Provider::Native, "own_2").await;
    let mut handed = subscribe(&world, "acme", "").await;
    let lease = world.take_over(&name).await;
    let first = next(&mut handed).await;
    report(&world, &first, None).await;
    world.client().send_command(with(&lease, command(&name, "end"))).await.unwrap();
    while next(&mut handed).await.command != "end" {}
    world.end(Provider::Native, "own_2").await;
    world.until_states(&name, &["take_over applied", "end applied"]).await;
}

async fn another_tenant_is_handed_nothing(world: World) {
    let name = world.conversation(Provider::Native, "own_1").await;
    let mut others = subscribe(&world, "other", "").await;
    world.take_over(&name).await;
    next(&mut subscribe(&world, "acme", "").await).await;
    assert!(tokio::time::timeout(Duration::from_millis(300), others.message()).await.is_err());
}
