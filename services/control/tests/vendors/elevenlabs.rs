//! ElevenLabs' monitor socket.

use colloquy_control::vendor::{Action, ElevenLabs, Failure, Target, Timing, Vendor};
use colloquy_events::CommandKind;
use colloquy_types::Provider;

use crate::fake::{Fake, answer, answer_with};
use crate::fake_socket::{FakeSocket, Then};
use crate::{HASTY, KEY, TIMING, courier, every_action, guarded, target};

fn elevenlabs() -> ElevenLabs {
    patient(TIMING)
}

fn patient(timing: Timing) -> ElevenLabs {
    ElevenLabs::new(courier(), timing)
}

fn on(channel: Option<&str>, url: &url::Url) -> Target {
    Target { channel: channel.map(str::to_owned), ..target(Provider::ElevenLabs, url) }
}

fn say() -> Action {
    Action::Say("Hello".to_owned())
}

#[tokio::test]
async fn every_command_is_one_frame_behind_a_handshake_with_the_key() {
    let expected = [
        r#"{"command_type":"enable_human_takeover"}"#,
        r#"{"command_type":"disable_human_takeover"}"#,
        r#"{"command_type":"send_human_message","parameters":{"text":"Good day, ä\"\n"}}"#,
        r#"{"command_type":"contextual_update","parameters":{"contextual_update":"The invoice is paid."}}"#,
        r#"{"command_type":"transfer_to_number","parameters":{"phone_number":"+14155550100"}}"#,
        r#"{"command_type":"end_call"}"#,
    ];
    let actions = every_action().into_iter().filter(|action| action.kind() != CommandKind::Mute);
    for (action, frame) in actions.zip(expected) {
        let fake = FakeSocket::start(vec![Then::Obey]).await;
        assert_eq!(elevenlabs().perform(&on(None, &fake.url), &action).await, Ok(()), "{action:?}");
        let seen = fake.only().await;
        assert_eq!(seen.path, "/v1/convai/conversations/conv_1/monitor");
        assert_eq!(seen.key.as_deref(), Some(KEY));
        assert_eq!(seen.host, fake.url.port().map(|port| format!("127.0.0.1:{port}")));
        assert_eq!(seen.frames, [frame]);
    }
}

#[tokio::test]
async fn what_a_channel_does_not_allow_is_neither_offered_nor_sent() {
    use CommandKind::{End, InjectContext, Release, Say, TakeOver, Transfer};
    let fake = FakeSocket::start(vec![Then::Obey]).await;
    let offers: [(Option<&str>, &[CommandKind]); 6] = [
        (Some("phone"), &[InjectContext, Transfer, End]),
        (Some("web"), &[InjectContext, End]),
        (Some("chat"), &[TakeOver, Release, Say, InjectContext, End]),
        (Some("sms"), &[TakeOver, Release, Say, InjectContext, End]),
        (Some("whatsapp"), &[TakeOver, Release, Say, InjectContext, End]),
        (None, &[TakeOver, Release, Say, InjectContext, Transfer, End]),
    ];
    for (channel, offered) in offers {
        let target = on(channel, &fake.url);
        let (commands, why) = elevenlabs().capabilities(&target);
        assert_eq!(commands, offered, "{channel:?}");
        assert!(!why.is_empty(), "{channel:?}");
        for action in every_action().into_iter().filter(|action| !offered.contains(&action.kind())) {
            let refused = elevenlabs().perform(&target, &action).await;
            assert_eq!(refused, Err(Failure::Refused(why.clone())), "{channel:?} {action:?}");
        }
    }
    let sip = elevenlabs().perform(&on(Some("phone"), &fake.url), &Action::Transfer("sip:a@b".to_owned())).await;
    assert!(matches!(sip, Err(Failure::Refused(_))), "{sip:?}");
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn an_objection_is_a_refusal_without_the_key() {
    let text = format!(r#"{{"type":"error","message":"{KEY} may not\u0007 write"}}"#);
    let fake = FakeSocket::start(vec![Then::Say(text)]).await;
    let refused = elevenlabs().perform(&on(None, &fake.url), &say()).await;
    assert_eq!(refused, Err(Failure::Refused("… may not write".to_owned())));
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_socket_that_closes_on_an_end_or_a_transfer_has_obeyed() {
    for then in [Then::Close(1000, ""), Then::Close(1001, "bye")] {
        for action in [Action::End, Action::Transfer("+14155550100".to_owned())] {
            let fake = FakeSocket::start(vec![then.clone()]).await;
            assert_eq!(elevenlabs().perform(&on(None, &fake.url), &action).await, Ok(()));
        }
        let fake = FakeSocket::start(vec![then]).await;
        assert_eq!(elevenlabs().perform(&on(None, &fake.url), &say()).await, Err(Failure::Ended));
    }
    let fake = FakeSocket::start(vec![Then::Close(1008, "agent may not be monitored")]).await;
    let refused = elevenlabs().perform(&on(None, &fake.url), &Action::End).await;
    assert_eq!(refused, Err(Failure::Refused("agent may not be monitored".to_owned())));
}

#[tokio::test]
async fn a_socket_that_closes_at_once_is_heard() {
    let fake = FakeSocket::start(vec![Then::Reject(1008, "monitoring is not enabled")]).await;
    let refused = elevenlabs().perform(&on(None, &fake.url), &say()).await;
    assert_eq!(refused, Err(Failure::Refused("monitoring is not enabled".to_owned())));
    let fake = FakeSocket::start(vec![Then::Reject(3000, "")]).await;
    let refused = elevenlabs().perform(&on(None, &fake.url), &Action::End).await;
    assert!(matches!(&refused, Err(Failure::Refused(why)) if why.contains("API key")), "{refused:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_made_again_only_for_what_may_be_done_twice() {
    for then in [Then::Drop, Then::Garbage, Then::Close(1011, "")] {
        let fake = FakeSocket::start(vec![then.clone(), Then::Obey]).await;
        assert_eq!(elevenlabs().perform(&on(None, &fake.url), &Action::TakeOver).await, Ok(()));
        assert_eq!(fake.seen().len(), 2);

        let fake = FakeSocket::start(vec![then, Then::Obey]).await;
        let unknown = elevenlabs().perform(&on(None, &fake.url), &say()).await;
        assert!(matches!(unknown, Err(Failure::Unknown(_))), "{unknown:?}");
        assert_eq!(fake.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_message_too_large_to_be_one_ends_the_attempt() {
    let fake = FakeSocket::start(vec![Then::Say("x".repeat(2 * 1024 * 1024))]).await;
    let unknown = elevenlabs().perform(&on(None, &fake.url), &say()).await;
    assert!(matches!(unknown, Err(Failure::Unknown(_))), "{unknown:?}");
}

#[tokio::test]
async fn a_command_that_is_not_confirmed_in_time_may_have_been_carried_out() {
    let fake = FakeSocket::start(vec![Then::Ignore]).await;
    let unknown = patient(HASTY).perform(&on(None, &fake.url), &say()).await;
    assert!(matches!(unknown, Err(Failure::Unknown(_))), "{unknown:?}");
}

#[tokio::test]
async fn a_handshake_that_is_refused_says_why() {
    let refused = |text: &str| Err(Failure::Refused(text.to_owned()));
    let bad_key = "the vendor does not accept the source's API key";
    let body = format!(r#"{{"detail":{{"status":"x","message":"no {KEY}"}}}}"#);
    for (then, result) in [
        (answer(401, &body), refused(bad_key)),
        (answer(403, &body), refused(bad_key)),
        (answer(404, &body), Err(Failure::Ended)),
        (answer(422, &body), refused("no …")),
        (answer(400, r#"{"detail":"Conversation is not active"}"#), Err(Failure::Ended)),
        (answer(200, "{}"), refused("the vendor's address does not speak WebSocket")),
        (
            answer_with(101, "Connection: Upgrade\r\nUpgrade: websocket\r\n", ""),
            refused("the vendor's address does not speak WebSocket"),
        ),
    ] {
        let fake = Fake::start(vec![then]).await;
        assert_eq!(elevenlabs().perform(&on(None, &fake.url), &say()).await, result);
        assert_eq!(fake.only().line, "GET /v1/convai/conversations/conv_1/monitor");
    }
}

#[tokio::test]
async fn a_handshake_commands_nothing_and_is_tried_again_for_every_command() {
    let retry = || answer_with(429, "Retry-After: 0\r\n", "");
    for then in [answer(500, "oh"), retry(), crate::fake::Then::Drop, crate::fake::Then::Slam] {
        let fake = Fake::start(vec![then]).await;
        let unavailable = elevenlabs().perform(&on(None, &fake.url), &say()).await;
        assert!(matches!(unavailable, Err(Failure::Unavailable(_))), "{unavailable:?}");
    }
    let fake = Fake::start(vec![crate::fake::Then::Hang]).await;
    let unavailable = patient(HASTY).perform(&on(None, &fake.url), &say()).await;
    assert!(matches!(unavailable, Err(Failure::Unavailable(_))), "{unavailable:?}");
}

#[tokio::test]
async fn this_machine_is_not_reached_unless_it_is_allowed() {
    let fake = FakeSocket::start(vec![Then::Obey]).await;
    let guarded = ElevenLabs::new(guarded(), TIMING);
    for url in [fake.url.clone(), format!("http://localhost:{}/", fake.url.port().unwrap()).parse().unwrap()] {
        let refused = guarded.perform(&on(None, &url), &say()).await;
        assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
    }
    assert!(fake.seen().is_empty());
}
