//! Retell's API.

use colloquy_control::vendor::{Action, Failure, Retell, Target, Vendor};
use colloquy_events::CommandKind;
use colloquy_types::Provider;

use crate::fake::{Fake, answer};
use crate::{KEY, TIMING, courier, every_action, target};

fn retell() -> Retell {
    Retell::new(courier(), TIMING)
}

#[tokio::test]
async fn context_and_an_end_are_requests_with_the_key() {
    let fake = Fake::start(vec![answer(200, r#"{"success":true}"#), answer(204, "")]).await;
    let call = target(Provider::Retell, &fake.url);
    let context = Action::InjectContext("The invoice is paid.".to_owned());
    assert_eq!(retell().perform(&call, &context).await, Ok(()));
    assert_eq!(retell().perform(&call, &Action::End).await, Ok(()));
    let chat = Target { channel: Some("sms".to_owned()), ..call };
    assert_eq!(retell().perform(&chat, &Action::End).await, Ok(()));

    let seen = fake.seen();
    let lines: Vec<_> = seen.iter().map(|seen| (seen.line.as_str(), seen.body.as_str())).collect();
    let injected = r#"{"call_control":{"additional_context":"The invoice is paid."}}"#;
    assert_eq!(
        lines,
        [("PATCH /v2/update-live-call/conv_1", injected), ("POST /v2/stop-call/conv_1", ""), ("PATCH /end-chat/conv_1", "")]
    );
    assert!(seen.iter().all(|seen| seen.headers["authorization"] == format!("Bearer {KEY}")), "{seen:?}");
    assert_eq!(seen[0].headers["content-type"], "application/json");
    assert_eq!(seen[1].headers.get("content-type"), None);
}

#[tokio::test]
async fn what_retell_cannot_do_is_neither_offered_nor_sent() {
    let fake = Fake::start(vec![answer(200, "")]).await;
    for channel in [Some("phone"), Some("web"), Some("chat"), None] {
        let target = Target { channel: channel.map(str::to_owned), ..target(Provider::Retell, &fake.url) };
        let (commands, why) = retell().capabilities(&target);
        assert!(!why.is_empty() && commands.contains(&CommandKind::End), "{channel:?}: {commands:?}");
        assert_eq!(commands.contains(&CommandKind::InjectContext), channel != Some("chat"));
        for action in every_action().into_iter().filter(|action| !commands.contains(&action.kind())) {
            let refused = retell().perform(&target, &action).await;
            assert_eq!(refused, Err(Failure::Refused(why.clone())), "{channel:?} {action:?}");
        }
    }
    assert_eq!(fake.seen(), []);
    let (commands, why) = retell().capabilities(&Target { api_key: None, ..target(Provider::Retell, &fake.url) });
    assert!(commands.is_empty() && !why.is_empty());
}

#[tokio::test]
async fn an_id_cannot_lead_to_another_place() {
    let fake = Fake::start(vec![answer(204, "")]).await;
    let call = target(Provider::Retell, &fake.url.join("/prefix/").unwrap());
    let odd = Target { external_id: "../x?y=z#w".to_owned(), ..call.clone() };
    assert_eq!(retell().perform(&odd, &Action::End).await, Ok(()));
    assert_eq!(fake.only().line, "POST /prefix/v2/stop-call/..%2Fx%3Fy=z%23w");
    for id in ["", ".", ".."] {
        let target = Target { external_id: id.to_owned(), ..call.clone() };
        assert_eq!(retell().perform(&target, &Action::End).await, Err(Failure::Ended), "{id:?}");
    }
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_that_denies_success_is_a_refusal() {
    let fake = Fake::start(vec![answer(200, r#"{"success":false}"#)]).await;
    let refused = retell().perform(&target(Provider::Retell, &fake.url), &Action::InjectContext("a".to_owned())).await;
    assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
}
