//! What becomes of commands.

use std::sync::atomic::Ordering;

use colloquy_control::vendor::{Action, Failure};
use colloquy_events::{Data, Facts};
use colloquy_proto::control::v1 as pb;
use colloquy_proto::conversation::v1 as conversation;
use colloquy_types::{ConversationId, OrganizationId, Position, Provider};
use futures::future::join_all;
use tonic::Code;

use crate::harness::{World, acme, command, eventually, on_both_engines, refused, say, with};
use crate::vendor::Behaviour;

on_both_engines!(
    every_command_reaches_the_vendor_in_order_and_both_its_events_the_log,
    the_same_key_is_the_same_command_however_often_and_at_once,
    a_key_names_its_command_for_a_day,
    what_the_vendor_says_becomes_the_reason,
    a_vendor_that_does_not_answer_one_tenant_keeps_no_other_waiting,
    a_vendor_that_cannot_be_reached_is_tried_again,
    what_may_be_done_twice_is_repeated_when_nobody_knows,
    an_end_whose_answer_got_lost_is_applied_when_the_conversation_is_over,
    one_conversation_does_not_hold_up_another,
    without_credentials_nothing_is_taken,
    a_conversation_that_only_the_store_knows_can_be_steered,
);

async fn every_command_reaches_the_vendor_in_order_and_both_its_events_the_log(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    let commands = [
        say(&name, "one moment"),
        pb::SendCommandRequest { text: Some("a person helps".to_owned()), ..command(&name, "inject_context") },
        command(&name, "mute"),
        pb::SendCommandRequest { muted: Some(false), ..command(&name, "mute") },
        pb::SendCommandRequest { destination: Some("+1 202 555 0123".to_owned()), ..command(&name, "transfer") },
        command(&name, "end"),
    ];
    let mut positions = vec![Position::START];
    for request in commands {
        let answer = world.client().send_command(with(&lease, request)).await.unwrap().into_inner();
        let given = answer.command.unwrap();
        assert_eq!((given.holder.as_str(), given.external_id.as_str(), answer.lease), ("Ada", "call_1", None));
        positions.push(Position(answer.position));
    }
    assert!(positions.is_sorted_by(|earlier, later| earlier < later), "{positions:?}");
    let kinds = ["take_over", "say", "inject_context", "mute", "mute", "transfer", "end"];
    let states: Vec<String> = kinds.iter().map(|kind| format!("{kind} applied")).collect();
    let commands = world.until_states(&name, &states.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(commands.iter().all(|command| command.finished_at.is_some() && command.accepted_at.is_some()));
    assert_eq!(commands[5].destination.as_deref(), Some("+12025550123"));
    let expected = [
        Action::TakeOver,
        Action::Say("one moment".to_owned()),
        Action::InjectContext("a person helps".to_owned()),
        Action::Mute(true),
        Action::Mute(false),
        Action::Transfer("+12025550123".to_owned()),
        Action::End,
    ];
    assert_eq!(world.vapi.performed(), expected);
    let told = world.until_last_told(&name, "applied end").await;
    for (position, kind) in positions[1..].iter().zip(&kinds[1..]) {
        assert!(told.contains(&(*position, format!("accepted {kind}"))), "{kind} at {position} in {told:?}");
    }
    for kind in kinds {
        let place = |word: &str| told.iter().position(|(_, told)| *told == format!("{word} {kind}")).unwrap();
        assert!(place("accepted") < place("applied"), "{told:?}");
    }
}

async fn the_same_key_is_the_same_command_however_often_and_at_once(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let take = pb::SendCommandRequest { idempotency_key: "take".to_owned(), ..command(&name, "take_over") };
    let mut client = world.client();
    let first = client.send_command(take.clone()).await.unwrap().into_inner();
    let again = client.send_command(take).await.unwrap().into_inner();
    assert_eq!((&again.lease, again.position), (&first.lease, first.position));
    let lease = first.lease.unwrap();
    let request = pb::SendCommandRequest { idempotency_key: "key".to_owned(), ..with(&lease, say(&name, "hello")) };
    let answers = join_all((0..8).map(|_| {
        let (mut client, request) = (world.client(), request.clone());
        async move { client.send_command(request).await.unwrap().into_inner() }
    }))
    .await;
    let ids: Vec<&str> = answers.iter().map(|answer| answer.command.as_ref().unwrap().command_id.as_str()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(answers.iter().all(|answer| answer.position == answers[0].position && answer.position > 0));
    world.until_states(&name, &["take_over applied", "say applied"]).await;
    // Also once it is done, and without a lease any more.
    world.client().send_command(with(&lease, command(&name, "release"))).await.unwrap();
    let done = world.client().send_command(request.clone()).await.unwrap().into_inner();
    assert_eq!((done.position, done.command.unwrap().state.as_str()), (answers[0].position, "applied"));
    assert_eq!(world.vapi.performed().iter().filter(|action| matches!(action, Action::Say(_))).count(), 1);
    let other = pb::SendCommandRequest { text: Some("goodbye".to_owned()), ..request };
    let (code, reason, _) = refused(world.client(), other).await;
    assert_eq!((code, reason.as_str()), (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED"));
}

async fn a_key_names_its_command_for_a_day(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let take = pb::SendCommandRequest { idempotency_key: "key".to_owned(), ..command(&name, "take_over") };
    let mut client = world.client();
    let first = client.send_command(take.clone()).await.unwrap().into_inner();
    world.until_states(&name, &["take_over applied"]).await;
    world.clock.advance_millis(24 * 60 * 60 * 1_000 - 1);
    let again = client.send_command(take.clone()).await.unwrap().into_inner();
    assert_eq!(again.lease, None, "it ran out, whether that was noticed or not");
    assert_eq!(again.command.unwrap().command_id, first.command.unwrap().command_id);
    world.until_states(&name, &["take_over applied", "release applied"]).await;
    world.clock.advance_millis(1);
    let next = client.send_command(take).await.unwrap().into_inner();
    assert!(next.lease.is_some() && next.position > again.position);
}

async fn what_the_vendor_says_becomes_the_reason(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    world.until_states(&name, &["take_over applied"]).await;
    let failures = [
        (Failure::Refused("no such tool".to_owned()), "say rejected: vendor_refused"),
        (Failure::Ended, "say rejected: conversation_ended"),
        (Failure::Unknown("the connection broke".to_owned()), "say rejected: outcome_unknown"),
    ];
    let mut states = vec!["take_over applied"];
    for (failure, state) in failures {
        world.vapi.next(Behaviour::Fail(failure));
        world.client().send_command(with(&lease, say(&name, "hello"))).await.unwrap();
        states.push(state);
        world.until_states(&name, &states).await;
    }
    let commands = world.commands(&name).await;
    assert_eq!(commands[1].detail.as_deref(), Some("no such tool"));
    assert_eq!(world.vapi.performed().len(), 4);
    world.until_last_told(&name, "rejected say: outcome_unknown").await;
}

async fn a_vendor_that_does_not_answer_one_tenant_keeps_no_other_waiting(world: World) {
    const CALLS: usize = 140;
    world.vapi.be_silent_for("dead_");
    for number in 0..CALLS {
        world.happened(Provider::Vapi, &format!("dead_{number}"), Data::Started(Facts::default()));
    }
    let other: OrganizationId = "other".parse().unwrap();
    world.happened_to(other, Provider::Vapi, "alive", Data::Started(Facts::default()));
    let mut theirs = world.client_of("other", "conversations:read,conversations:write");
    let alive = pb::GetControlRequest { conversation_id: "vapi:alive".to_owned() };
    eventually("the log was read", async || theirs.get_control(alive.clone()).await.is_ok()).await;
    let mut client = world.client();
    for number in 0..CALLS {
        client.send_command(command(&format!("vapi:dead_{number}"), "take_over")).await.unwrap();
    }
    theirs.send_command(command("vapi:alive", "take_over")).await.unwrap();
    eventually("the other tenant's command is carried out", async || {
        let told = theirs.get_control(alive.clone()).await.unwrap().into_inner();
        told.commands[0].state == "applied"
    })
    .await;
    let tried = world.vapi.performed().len() - 1;
    assert!((32..48).contains(&tried), "{tried} commands to the vendor that does not answer");
}

async fn a_vendor_that_cannot_be_reached_is_tried_again(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    world.until_states(&name, &["take_over applied"]).await;
    let unreachable = || Behaviour::Fail(Failure::Unavailable("connection refused".to_owned()));
    world.vapi.next(unreachable());
    world.vapi.next(unreachable());
    world.client().send_command(with(&lease, say(&name, "third time"))).await.unwrap();
    world.until_states(&name, &["take_over applied", "say applied"]).await;
    assert_eq!(world.vapi.performed().len(), 4);
    for _ in 0..100 {
        world.vapi.next(unreachable());
    }
    world.client().send_command(with(&lease, say(&name, "never"))).await.unwrap();
    let states = ["take_over applied", "say applied", "say rejected: vendor_unavailable"];
    world.until_states(&name, &states).await;
}

async fn what_may_be_done_twice_is_repeated_when_nobody_knows(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    world.until_states(&name, &["take_over applied"]).await;
    world.vapi.next(Behaviour::Fail(Failure::Unknown("the connection broke".to_owned())));
    world.client().send_command(with(&lease, command(&name, "mute"))).await.unwrap();
    world.until_states(&name, &["take_over applied", "mute applied"]).await;
    assert_eq!(world.vapi.performed(), [Action::TakeOver, Action::Mute(true), Action::Mute(true)]);
}

async fn an_end_whose_answer_got_lost_is_applied_when_the_conversation_is_over(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    world.vapi.next(Behaviour::Fail(Failure::Unknown("the connection broke".to_owned())));
    world.until_states(&name, &["take_over applied"]).await;
    world.vapi.next(Behaviour::Fail(Failure::Unknown("the connection broke".to_owned())));
    world.vapi.next(Behaviour::Fail(Failure::Ended));
    world.client().send_command(with(&lease, command(&name, "end"))).await.unwrap();
    world.until_states(&name, &["take_over applied", "end applied"]).await;
}

async fn one_conversation_does_not_hold_up_another(world: World) {
    let (slow, quick) = (world.conversation(Provider::Vapi, "slow").await, world.conversation(Provider::Vapi, "quick").await);
    world.vapi.next(Behaviour::Hang);
    world.take_over(&slow).await;
    crate::harness::eventually("the vendor hangs", async || world.vapi.performed().len() == 1).await;
    let lease = world.take_over(&quick).await;
    world.client().send_command(with(&lease, say(&quick, "hello"))).await.unwrap();
    world.until_states(&quick, &["take_over applied", "say applied"]).await;
    world.until_states(&slow, &["take_over accepted"]).await;
    assert_eq!(world.vapi.performed_for("quick").len(), 2);
}

async fn without_credentials_nothing_is_taken(world: World) {
    world.sources.down.store(true, Ordering::SeqCst);
    world.happened(Provider::Vapi, "call_1", colloquy_events::Data::Started(colloquy_events::Facts::default()));
    let name = "vapi:call_1";
    crate::harness::eventually("the conversation is known", async || {
        let status = world.client().send_command(command(name, "take_over")).await.unwrap_err();
        status.code() == Code::Unavailable
    })
    .await;
    world.sources.down.store(false, Ordering::SeqCst);
    world.take_over(name).await;
    world.until_states(name, &["take_over applied"]).await;
}

async fn a_conversation_that_only_the_store_knows_can_be_steered(world: World) {
    let add = |external_id: &str, status: conversation::ConversationStatus| {
        world.conversations.add(conversation::Conversation {
            conversation_id: ConversationId::derive(&acme(), Provider::Native, external_id).to_string(),
            external_id: external_id.to_owned(),
            provider: "native".to_owned(),
            organization_id: "acme".to_owned(),
            status: status.into(),
            ..Default::default()
        });
    };
    add("running", conversation::ConversationStatus::InProgress);
    add("over", conversation::ConversationStatus::Completed);
    world.take_over("native:running").await;
    world.until_states("native:running", &["take_over accepted"]).await;
    let (code, reason, _) = refused(world.client(), command("native:over", "take_over")).await;
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "CONVERSATION_ENDED"));
}

#[tokio::test]
async fn two_replicas_carry_out_each_command_once() {
    let Some(world) = World::on_postgresql().await else { return };
    let _other = world.replica().await;
    let mut names = Vec::new();
    for number in 0..10 {
        names.push(world.conversation(Provider::Vapi, &format!("call_{number}")).await);
    }
    for name in &names {
        let lease = world.take_over(name).await;
        world.client().send_command(with(&lease, say(name, "hello"))).await.unwrap();
    }
    for name in &names {
        world.until_states(name, &["take_over applied", "say applied"]).await;
        let (_, external_id) = name.split_once(':').unwrap();
        assert_eq!(world.vapi.performed_for(external_id), [Action::TakeOver, Action::Say("hello".to_owned())]);
        let told = ["accepted take_over", "taken Ada", "accepted say", "applied take_over", "applied say"];
        let mut told_in_any_order = world.until_last_told(name, "applied say").await;
        told_in_any_order.sort_by(|(_, one), (_, other)| one.cmp(other));
        let told_in_any_order: Vec<&str> = told_in_any_order.iter().map(|(_, word)| word.as_str()).collect();
        let mut told = told.to_vec();
        told.sort_unstable();
        assert_eq!(told_in_any_order, told);
    }
}
