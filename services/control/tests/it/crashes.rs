//! A process that dies between any two steps loses nothing, and does nothing twice that must not be.

use colloquy_control::vendor::Action;
use colloquy_proto::control::v1 as pb;
use colloquy_types::Provider;
use tonic::Code;

use crate::harness::{World, command, eventually, key, on_both_engines, refused, say, with};
use crate::vendor::Behaviour;

on_both_engines!(
    a_command_that_the_log_did_not_take_is_told_and_carried_out_later,
    a_command_that_may_have_been_carried_out_is_not_carried_out_again,
    a_command_that_may_be_repeated_is,
    an_end_that_took_place_while_the_process_was_dead_is_applied,
    a_command_to_a_conversation_that_ended_meanwhile_is_rejected,
    what_became_of_a_command_is_told_once_the_log_is_back,
    a_lease_runs_out_also_while_the_service_is_down,
    what_the_log_does_not_take_of_one_conversation_holds_up_no_other,
    a_process_that_is_stopped_ends,
);

async fn a_command_that_the_log_did_not_take_is_told_and_carried_out_later(mut world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    world.log.set_down(true);
    let request = pb::SendCommandRequest { idempotency_key: "key".to_owned(), ..command(&name, "take_over") };
    let somebody = key("acme", "conversations:write");
    let (code, reason, problem) = refused(world.client_as(somebody.clone()), request.clone()).await;
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "COMMAND_NOT_ANNOUNCED"));
    assert!(problem.retry_after.is_some());
    world.until_states(&name, &["take_over accepted"]).await;
    world.crash().await;
    assert_eq!(world.vapi.performed(), []);
    world.log.set_down(false);
    world.start().await;
    world.clock.advance_millis(2_000);
    world.until_states(&name, &["take_over applied"]).await;
    let answer = world.client_as(somebody).send_command(request).await.unwrap().into_inner();
    assert!(answer.position > 0 && answer.lease.is_some());
    let holder = answer.lease.unwrap().holder;
    world.until_told(&name, &["accepted take_over", &format!("taken {holder}"), "applied take_over"]).await;
    assert_eq!(world.vapi.performed(), [Action::TakeOver]);
}

/// Kills the service while the vendor carries out `request`, and starts it again when the dead one's claim has run out.
async fn die_while(world: &mut World, name: &str, request: pb::SendCommandRequest) {
    let lease_for_long = pb::SendCommandRequest { lease_seconds: 600, ..command(name, "take_over") };
    let lease = world.client().send_command(lease_for_long).await.unwrap().into_inner().lease.unwrap();
    world.until_states(name, &["take_over applied"]).await;
    world.vapi.next(Behaviour::Hang);
    world.client().send_command(with(&lease, request)).await.unwrap();
    eventually("the vendor is called", async || world.vapi.performed().len() == 2).await;
    world.crash().await;
}

async fn a_command_that_may_have_been_carried_out_is_not_carried_out_again(mut world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    die_while(&mut world, &name, say(&name, "hello")).await;
    world.start().await;
    world.until_states(&name, &["take_over applied", "say accepted"]).await;
    world.clock.advance_millis(60_000);
    world.until_states(&name, &["take_over applied", "say rejected: outcome_unknown"]).await;
    assert_eq!(world.vapi.performed().len(), 2);
    world.until_last_told(&name, "rejected say: outcome_unknown").await;
}

async fn a_command_that_may_be_repeated_is(mut world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    die_while(&mut world, &name, command(&name, "mute")).await;
    world.start().await;
    world.clock.advance_millis(60_000);
    world.until_states(&name, &["take_over applied", "mute applied"]).await;
    assert_eq!(world.vapi.performed(), [Action::TakeOver, Action::Mute(true), Action::Mute(true)]);
}

async fn an_end_that_took_place_while_the_process_was_dead_is_applied(mut world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    die_while(&mut world, &name, command(&name, "end")).await;
    world.start().await;
    world.end(Provider::Vapi, "call_1").await;
    world.clock.advance_millis(60_000);
    world.until_states(&name, &["take_over applied", "end applied"]).await;
    assert_eq!(world.vapi.performed().len(), 2);
}

async fn a_command_to_a_conversation_that_ended_meanwhile_is_rejected(mut world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    die_while(&mut world, &name, command(&name, "mute")).await;
    world.start().await;
    world.end(Provider::Vapi, "call_1").await;
    world.clock.advance_millis(60_000);
    world.until_states(&name, &["take_over applied", "mute rejected: conversation_ended"]).await;
    // The end of the conversation ends the lease as well, whichever is noticed first.
    world.until_told_in_any_order(&name, &["rejected mute: conversation_ended", "released"]).await;
}

async fn what_became_of_a_command_is_told_once_the_log_is_back(mut world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    world.vapi.next(Behaviour::DoWhileTheLogBreaks(world.log.clone()));
    world.take_over(&name).await;
    world.until_states(&name, &["take_over applied"]).await;
    world.crash().await;
    assert_eq!(world.told(&name), ["accepted take_over", "taken Ada"]);
    world.log.set_down(false);
    world.start().await;
    world.clock.advance_millis(2_000);
    world.until_told(&name, &["accepted take_over", "taken Ada", "applied take_over"]).await;
    assert_eq!(world.vapi.performed(), [Action::TakeOver]);
}

async fn a_lease_runs_out_also_while_the_service_is_down(mut world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    world.take_over(&name).await;
    world.until_states(&name, &["take_over applied"]).await;
    world.stop().await;
    world.clock.advance_millis(3_600_000);
    world.start().await;
    world.until_states(&name, &["take_over applied", "release applied"]).await;
}

async fn what_the_log_does_not_take_of_one_conversation_holds_up_no_other(mut world: World) {
    let calls = ["call_1", "call_2", "call_3", "call_4"];
    for call in calls {
        world.conversation(Provider::Vapi, call).await;
    }
    world.log.set_down(true);
    for call in calls {
        refused(world.client(), command(&format!("vapi:{call}"), "take_over")).await;
    }
    world.crash().await;
    for call in &calls[..3] {
        world.log.refuse(call);
    }
    world.log.set_down(false);
    world.start().await;
    world.clock.advance_millis(2_000);
    world.until_states("vapi:call_4", &["take_over applied"]).await;
    world.until_states("vapi:call_1", &["take_over accepted"]).await;
    assert_eq!(world.vapi.performed(), [Action::TakeOver]);
}

async fn a_process_that_is_stopped_ends(mut world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    world.take_over(&name).await;
    let mut client = world.client();
    let mut handed = client.subscribe(pb::SubscribeRequest::default()).await.unwrap().into_inner();
    world.stop().await;
    assert!(handed.message().await.unwrap().is_none());
}
