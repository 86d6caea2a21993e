//! Who may command a conversation.

use colloquy_control::vendor::{Action, Failure};
use colloquy_proto::control::v1 as pb;
use colloquy_types::Provider;
use futures::future::join_all;
use tonic::Code;

use crate::harness::{World, command, eventually, key, on_both_engines, refused, say, with};
use crate::vendor::Behaviour;

on_both_engines!(
    one_of_many_who_take_over_at_once_gets_the_conversation,
    a_lease_can_be_renewed_and_nobody_is_bothered,
    a_lease_that_nobody_renews_runs_out_and_the_agent_speaks_again,
    what_ran_out_does_not_count_even_before_it_is_swept,
    a_holder_hands_over_and_the_old_lease_is_worth_nothing,
    an_administrator_takes_a_conversation_away,
    a_released_conversation_is_free,
    the_lease_of_an_ended_conversation_ends_without_a_word_to_the_vendor,
    nobody_is_told_the_id_of_a_lease,
    an_idempotency_key_makes_nobody_a_holder,
    a_provider_that_cannot_silence_its_agent_has_leases_all_the_same,
);

async fn one_of_many_who_take_over_at_once_gets_the_conversation(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let answers = join_all((0..8).map(|number| {
        let request = pb::SendCommandRequest { holder: format!("person {number}"), ..command(&name, "take_over") };
        let mut client = world.client();
        async move { client.send_command(request).await }
    }));
    let (won, lost): (Vec<_>, Vec<_>) = answers.await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    let lease = won.into_iter().next().unwrap().unwrap().into_inner().lease.unwrap();
    for status in lost {
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains(&format!("'{}'", lease.holder)), "{}", status.message());
    }
    let taken = format!("taken {}", lease.holder);
    world.until_told(&name, &["accepted take_over", &taken, "applied take_over"]).await;
    assert_eq!(world.vapi.performed(), [Action::TakeOver]);
}

async fn a_lease_can_be_renewed_and_nobody_is_bothered(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    world.until_states(&name, &["take_over applied"]).await;
    for _ in 0..3 {
        world.clock.advance_millis(20_000);
        let renewed = world.client().send_command(with(&lease, command(&name, "take_over"))).await.unwrap().into_inner();
        let renewed_lease = renewed.lease.unwrap();
        assert_eq!((&renewed_lease.lease_id, &renewed_lease.holder), (&lease.lease_id, &lease.holder));
        assert_eq!(renewed.command.unwrap().command, "take_over");
        assert!(renewed.position > 0);
        assert!(renewed_lease.expires_at.unwrap().seconds > lease.expires_at.unwrap().seconds);
    }
    world.until_told(&name, &["accepted take_over", "taken Ada", "applied take_over"]).await;
    assert_eq!(world.vapi.performed(), [Action::TakeOver]);
}

async fn a_lease_that_nobody_renews_runs_out_and_the_agent_speaks_again(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let request = pb::SendCommandRequest { holder: "Ada".to_owned(), lease_seconds: 5, ..command(&name, "take_over") };
    let lease = world.client().send_command(request).await.unwrap().into_inner().lease.unwrap();
    world.until_states(&name, &["take_over applied"]).await;
    world.clock.advance_millis(4_999);
    world.client().send_command(with(&lease, say(&name, "hello"))).await.unwrap();
    world.until_states(&name, &["take_over applied", "say applied"]).await;
    world.clock.advance_millis(1);
    world.until_states(&name, &["take_over applied", "say applied", "release applied"]).await;
    assert_eq!(world.vapi.performed(), [Action::TakeOver, Action::Say("hello".to_owned()), Action::Release]);
    let told = ["accepted take_over", "taken Ada", "applied take_over", "accepted say", "applied say"];
    let told = [&told[..], &["expired Ada", "accepted release", "applied release"]].concat();
    world.until_told(&name, &told).await;
    assert_eq!(world.control(&name).await.lease, None);
    let (code, reason, _) = refused(world.client(), with(&lease, say(&name, "too late"))).await;
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "LEASE_LOST"));
    world.take_over(&name).await;
}

async fn what_ran_out_does_not_count_even_before_it_is_swept(mut world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    world.until_states(&name, &["take_over applied"]).await;
    // Nobody sweeps in a stopped service; its methods still answer.
    let mut client = world.client();
    world.crash().await;
    world.clock.advance_millis(30_000);
    let status = client.send_command(with(&lease, say(&name, "hello"))).await.unwrap_err();
    assert_eq!(status.message(), "the lease does not count any more; nobody holds the conversation");
    let status = client.send_command(with(&lease, command(&name, "take_over"))).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let request = pb::SendCommandRequest { holder: "Grace".to_owned(), ..command(&name, "take_over") };
    client.send_command(request).await.unwrap();
    let told = ["accepted take_over", "taken Ada", "applied take_over", "expired Ada", "accepted take_over", "taken Grace"];
    world.until_told(&name, &told).await;
}

async fn a_holder_hands_over_and_the_old_lease_is_worth_nothing(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    world.until_states(&name, &["take_over applied"]).await;
    let request = pb::SendCommandRequest {
        holder: "Grace".to_owned(),
        idempotency_key: "hand over".to_owned(),
        ..with(&lease, command(&name, "take_over"))
    };
    let mut client = world.client();
    let next = client.send_command(request.clone()).await.unwrap().into_inner().lease.unwrap();
    assert_eq!(next.holder, "Grace");
    assert_ne!(next.lease_id, lease.lease_id);
    let again = client.send_command(request).await.unwrap().into_inner().lease.unwrap();
    assert_eq!(again, next);
    let (_, reason, problem) = refused(world.client(), with(&lease, say(&name, "hello"))).await;
    assert_eq!(reason, "LEASE_LOST");
    assert!(problem.message.contains("'Grace' holds the conversation until 2027-"), "{}", problem.message);
    world.client().send_command(with(&next, say(&name, "hello"))).await.unwrap();
    let states = ["take_over applied", "take_over applied", "say applied"];
    let commands = world.until_states(&name, &states).await;
    assert_eq!(commands[2].holder, "Grace");
    assert_eq!(world.vapi.performed(), [Action::TakeOver, Action::Say("hello".to_owned())]);
    let told = ["accepted take_over", "taken Ada", "applied take_over"];
    let told = [&told[..], &["accepted take_over", "handed_over Grace", "applied take_over", "accepted say", "applied say"]];
    world.until_told(&name, &told.concat()).await;
}

async fn an_administrator_takes_a_conversation_away(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    let (_, reason, problem) = refused(world.client(), command(&name, "take_over")).await;
    assert_eq!(reason, "LEASE_HELD");
    assert!(!problem.message.contains(&lease.lease_id), "{}", problem.message);
    let force = pb::SendCommandRequest { force: true, holder: "Boss".to_owned(), ..command(&name, "take_over") };
    let (code, reason, _) = refused(world.client(), force.clone()).await;
    assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "SCOPE_MISSING"));
    let mut administrator = world.client_of("acme", "admin");
    let taken = administrator.send_command(force).await.unwrap().into_inner().lease.unwrap();
    let (_, reason, _) = refused(world.client(), with(&lease, say(&name, "hello"))).await;
    assert_eq!(reason, "LEASE_LOST");
    world.client().send_command(with(&taken, say(&name, "hello"))).await.unwrap();
    let release = pb::SendCommandRequest { force: true, ..command(&name, "release") };
    administrator.send_command(release).await.unwrap();
    let states = ["take_over applied", "take_over applied", "say applied", "release applied"];
    world.until_states(&name, &states).await;
    let told = world.until_last_told(&name, "applied release").await;
    let told: Vec<&str> = told.iter().map(|(_, word)| word.as_str()).collect();
    let told: Vec<&str> = told.into_iter().filter(|word| !word.contains('_') && !word.contains("say")).collect();
    assert_eq!(told, ["taken Ada", "forced Ada", "taken Boss", "forced Boss", "accepted release", "applied release"]);
    assert_eq!(world.control(&name).await.lease, None);
}

async fn a_released_conversation_is_free(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    let (_, reason, _) = refused(world.client(), command(&name, "release")).await;
    assert_eq!(reason, "LEASE_REQUIRED");
    let released = world.client().send_command(with(&lease, command(&name, "release"))).await.unwrap().into_inner();
    assert_eq!((released.lease, released.command.unwrap().holder), (None, "Ada".to_owned()));
    let (_, reason, problem) = refused(world.client(), with(&lease, command(&name, "release"))).await;
    assert_eq!(reason, "LEASE_LOST");
    assert!(problem.message.contains("nobody holds the conversation"), "{}", problem.message);
    world.until_states(&name, &["take_over applied", "release applied"]).await;
    world.take_over(&name).await;
}

async fn the_lease_of_an_ended_conversation_ends_without_a_word_to_the_vendor(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    world.take_over(&name).await;
    world.until_states(&name, &["take_over applied"]).await;
    world.end(Provider::Vapi, "call_1").await;
    world.until_told(&name, &["accepted take_over", "taken Ada", "applied take_over", "released Ada"]).await;
    assert_eq!(world.vapi.performed(), [Action::TakeOver]);
    assert_eq!(world.control(&name).await.lease, None);
}

async fn nobody_is_told_the_id_of_a_lease(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let identity = key("acme", "conversations:write");
    let mut client = world.client_as(identity.clone());
    let lease = client.send_command(command(&name, "take_over")).await.unwrap().into_inner().lease.unwrap();
    let colloquy_service::Caller::Key(identity) = identity else { panic!("not a key") };
    assert_eq!(lease.holder, identity.key_id.to_string());
    let told = world.control(&name).await.lease.unwrap();
    assert_eq!(told, pb::Lease { lease_id: String::new(), ..lease });
}

async fn an_idempotency_key_makes_nobody_a_holder(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    // Two keys, and people who thought of the same idempotency key.
    let (mut one, two) = (world.client(), world.client());
    let take = pb::SendCommandRequest { idempotency_key: "take".to_owned(), ..command(&name, "take_over") };
    one.send_command(take.clone()).await.unwrap();
    let (code, reason, _) = refused(two, take).await;
    assert_eq!((code, reason.as_str()), (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED"));
    let name = world.conversation(Provider::Vapi, "call_2").await;
    let (mut one, mut two) = (world.client(), world.client());
    let named =
        pb::SendCommandRequest { idempotency_key: "take".to_owned(), holder: "Ada".to_owned(), ..command(&name, "take_over") };
    let first = one.send_command(named.clone()).await.unwrap().into_inner();
    let other = two.send_command(named.clone()).await.unwrap().into_inner();
    assert_eq!(other.command.unwrap().command_id, first.command.unwrap().command_id);
    assert_eq!(other.lease, None, "who holds it knows the lease, and nobody else");
    assert_eq!(one.send_command(named).await.unwrap().into_inner().lease, first.lease);
}

async fn a_provider_that_cannot_silence_its_agent_has_leases_all_the_same(world: World) {
    let name = world.conversation(Provider::Retell, "call_1").await;
    assert_eq!(world.control(&name).await.capabilities, ["take_over", "release", "inject_context", "end"]);
    let lease = world.take_over(&name).await;
    let context = pb::SendCommandRequest { text: Some("they are a regular".to_owned()), ..command(&name, "inject_context") };
    world.retell.next(Behaviour::Fail(Failure::Refused("not now".to_owned())));
    world.client().send_command(with(&lease, context.clone())).await.unwrap();
    world.client().send_command(with(&lease, context)).await.unwrap();
    world.client().send_command(with(&lease, command(&name, "release"))).await.unwrap();
    let refused = "inject_context rejected: vendor_refused";
    world.until_states(&name, &["take_over applied", refused, "inject_context applied", "release applied"]).await;
    assert_eq!(world.retell.performed().len(), 2);
    eventually("nobody holds it", async || world.control(&name).await.lease.is_none()).await;
}
