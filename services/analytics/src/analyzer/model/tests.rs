//! The model behind an endpoint that does what endpoints do.

use std::time::{Duration, Instant};

use super::*;
use crate::analyzer::fake::{Fake, Reply, completion};
use crate::analyzer::samples;
use crate::analyzer::transcript::Transcript;

fn hasty() -> Patience {
    Patience {
        timeout: Duration::from_millis(300),
        tries: 3,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_secs(2),
        most_bytes: 10_000,
    }
}

fn prompt() -> Prompt {
    Prompt::of(&samples::definition(), &Transcript::of(&samples::input("acme", 1, &["Hello", "By e-mail"])))
}

async fn ask(fake: &Fake, patience: Patience) -> Result<Answer, AskError> {
    OpenAi::new(&fake.settings(), patience).unwrap().ask(&prompt()).await
}

#[tokio::test]
async fn a_question_is_sent_with_its_schema_and_answered() {
    let fake = Fake::start().await;
    let answer = ask(&fake, hasty()).await.unwrap();
    assert_eq!(answer, Answer { text: samples::answer().to_string(), usage: Usage { input: 900, output: 100 } });
    let (headers, asked) = fake.asked().remove(0);
    assert_eq!(headers["authorization"], "Bearer sk-secret");
    assert_eq!(asked["model"], "small");
    assert_eq!(asked["temperature"], 0);
    assert_eq!(asked["response_format"]["json_schema"]["strict"], true);
    assert_eq!(asked["response_format"]["json_schema"]["schema"], prompt().schema);
    assert_eq!(asked["messages"][1]["content"], prompt().user);
}

#[tokio::test]
async fn without_a_key_none_is_sent() {
    let fake = Fake::start().await;
    let settings = crate::ModelSettings { api_key: String::new(), ..fake.settings() };
    OpenAi::new(&settings, hasty()).unwrap().ask(&prompt()).await.unwrap();
    assert!(!fake.asked()[0].0.contains_key("authorization"));
}

#[test]
fn what_passes_is_tried_again_unless_the_endpoint_wants_to_be_left_alone_for_long() {
    let wait = |tried: u32, after: Option<u64>| hasty().before_next(tried, after.map(Duration::from_millis));
    for (tried, longest) in [(1, 1), (2, 2)] {
        assert!(wait(tried, None).unwrap() <= Duration::from_millis(longest));
    }
    assert_eq!(wait(1, Some(50)), Some(Duration::from_millis(50)));
    assert_eq!(wait(1, Some(30_000)), None);
    assert_eq!(wait(3, None), None);
    let slow = Patience { tries: 100, first_wait: Duration::from_secs(3_600), ..hasty() };
    assert!(slow.before_next(90, None).unwrap() <= slow.longest_wait);
}

#[tokio::test]
async fn who_wants_to_be_left_alone_says_for_how_long() {
    let fake = Fake::start().await;
    fake.always(Reply::Status(429, Some("30")));
    let Err(AskError::Later { after, usage, .. }) = ask(&fake, hasty()).await else { panic!("it is asked later") };
    assert_eq!((after, usage), (Some(Duration::from_secs(30)), Usage::default()));
}

#[tokio::test]
async fn who_never_answers_is_not_waited_for() {
    let fake = Fake::start().await;
    fake.always(Reply::After(Duration::from_secs(3_600)));
    let began = Instant::now();
    let Err(AskError::Later { usage, why, .. }) = ask(&fake, hasty()).await else { panic!("it is asked later") };
    assert!(began.elapsed() < Duration::from_secs(5));
    // It may have been answered after all.
    assert_eq!(usage, prompt().most());
    assert_eq!(why, "the model did not answer in time");
}

#[tokio::test]
async fn who_is_slow_is_waited_for() {
    let fake = Fake::start().await;
    fake.next([Reply::After(Duration::from_millis(100))]);
    let patience = Patience { timeout: Duration::from_secs(30), ..hasty() };
    assert!(ask(&fake, patience).await.is_ok());
}

#[tokio::test]
async fn what_is_no_answer_is_unusable() {
    let fake = Fake::start().await;
    let choice = |choice: serde_json::Value| serde_json::json!({ "choices": [choice] }).to_string();
    let message = serde_json::json!({ "content": "{}" });
    for body in [
        "<html>".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        choice(serde_json::json!({})),
        choice(serde_json::json!({ "message": { "content": null, "refusal": "no" } })),
        choice(serde_json::json!({ "message": message, "finish_reason": "length" })),
        choice(serde_json::json!({ "message": message, "finish_reason": "content_filter" })),
        completion(&"x".repeat(20_000)).to_string(),
    ] {
        fake.next([Reply::Body(body.clone())]);
        let answer = ask(&fake, hasty()).await;
        assert!(matches!(answer, Err(AskError::Unusable { .. })), "{body:.100}: {answer:?}");
    }
}

#[tokio::test]
async fn what_the_endpoint_says_of_a_refusal_is_not_repeated() {
    let fake = Fake::start().await;
    for status in [400, 401, 404, 302] {
        fake.next([Reply::Status(status, None)]);
        let Err(AskError::Refused(why)) = ask(&fake, hasty()).await else { panic!("it is refused") };
        assert_eq!(why, format!("the model's endpoint answered {status}"));
    }
    assert_eq!(fake.asked().len(), 4);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_asked_later() {
    let fake = Fake::start().await;
    let settings = crate::ModelSettings { url: "http://127.0.0.1:9".to_owned(), ..fake.settings() };
    let answer = OpenAi::new(&settings, hasty()).unwrap().ask(&prompt()).await;
    assert!(matches!(answer, Err(AskError::Later { usage: Usage { input: 0, output: 0 }, .. })), "{answer:?}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_the_start() {
    let good = Fake::start().await.settings();
    for (url, api_key) in [("nonsense", ""), ("ftp://example.com", ""), (&good.url, "two\nlines")] {
        let settings = crate::ModelSettings { url: url.to_owned(), api_key: api_key.to_owned(), ..good.clone() };
        let error = OpenAi::new(&settings, hasty()).err().unwrap().to_string();
        assert!(api_key.is_empty() || !error.contains(api_key), "{error}");
    }
}
