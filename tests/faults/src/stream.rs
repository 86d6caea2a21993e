//! A stream of deliveries, sent the way vendors send them: what is refused again, what is acknowledged never again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use colloquy_e2e::Source;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use tokio::task::JoinSet;

use crate::deliveries::Delivery;

/// How many deliveries are under way at once.
const CLIENTS: usize = 4;
/// How long a client rests after an acknowledgement: all together send some fifty a second.
const REST: Duration = Duration::from_millis(60);
/// How long a client waits after nobody answered.
const NOBODY: Duration = Duration::from_millis(200);
/// After this a client gives a request up: longer than any service may take to refuse.
const PATIENCE: Duration = Duration::from_secs(40);
/// A stream that has not ended by then never will.
const LIMIT: Duration = Duration::from_secs(120);

/// What deliveries are sent with.
#[derive(Clone)]
pub(crate) struct Sender {
    http: reqwest::Client,
    bases: Arc<[String]>,
    sources: Arc<[Source]>,
    key: &'static str,
    turn: Arc<AtomicUsize>,
}

/// What was answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) unanswered: usize,
    /// Answers that are neither an acknowledgement nor a 503 that says when to come again, and how often each came.
    pub(crate) wrong: BTreeMap<String, usize>,
    pub(crate) slowest: Duration,
}

/// A stream under way.
pub struct Stream {
    clients: JoinSet<()>,
    answers: Arc<Mutex<Answers>>,
    total: usize,
}

/// What became of one attempt.
enum Answer {
    Acknowledged,
    Refused(Duration),
    Nobody,
    Wrong(String),
}

impl Sender {
    pub(crate) fn new(bases: &[String], sources: Vec<Source>, key: &'static str) -> Self {
        // A fresh connection for each request: a broken one must not make the client look unanswered twice.
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(CLIENTS).build().unwrap();
        Self { http, bases: bases.into(), sources: sources.into(), key, turn: Arc::default() }
    }

    async fn send(&self, delivery: &Delivery) -> Answer {
        // Another edge each time, as behind a balancer.
        let base = &self.bases[self.turn.fetch_add(1, Ordering::Relaxed) % self.bases.len()];
        let answer = match delivery {
            Delivery::Webhook(provider, body) => {
                let source = self.sources.iter().find(|source| source.provider == *provider).unwrap();
                source.deliver_to(&self.http, base, body).await
            }
            Delivery::Events(body) => {
                self.http.post(format!("{base}/v1/events")).header("x-api-key", self.key).json(body).send().await
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => return Answer::Wrong(format!("no answer within {PATIENCE:?}")),
            Err(_) => return Answer::Nobody,
        };
        let status = answer.status();
        let hint = answer.headers().get(RETRY_AFTER).and_then(|hint| hint.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let Ok(body) = answer.text().await else { return Answer::Nobody };
        match (status, hint) {
            // In quarantine it is safe, but it is not where a good delivery belongs.
            (status, _) if status.is_success() && !body.contains("\"quarantine_id\":\"") => Answer::Acknowledged,
            (StatusCode::SERVICE_UNAVAILABLE, Some(hint)) => Answer::Refused(hint),
            (status, hint) => Answer::Wrong(format!("{status}, retry-after {hint:?}: {}", without_request_id(&body))),
        }
    }
}

/// Request ids differ, and the same refusal should be counted as the same.
fn without_request_id(body: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(mut problem) => {
            problem.as_object_mut().map(|problem| problem.remove("request_id"));
            problem.to_string()
        }
        Err(_) => body.to_owned(),
    }
}

impl Stream {
    pub(crate) fn start(sender: &Sender, deliveries: Vec<Delivery>) -> Self {
        let answers = Arc::new(Mutex::new(Answers::default()));
        let total = deliveries.len();
        let waiting = Arc::new(Mutex::new(deliveries.into_iter()));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (sender, waiting, answers) = (sender.clone(), waiting.clone(), answers.clone());
            clients.spawn(async move {
                loop {
                    let next = waiting.lock().unwrap().next();
                    let Some(delivery) = next else { return };
                    deliver(&sender, &delivery, &answers).await;
                    tokio::time::sleep(REST).await;
                }
            });
        }
        Self { clients, answers, total }
    }

    /// Waits until `percent` of the deliveries are acknowledged.
    ///
    /// # Panics
    /// When they are not within bounded time.
    pub async fn reaches(&self, percent: usize) {
        let wanted = (self.total * percent).div_ceil(100);
        let reached = || async { self.answers.lock().unwrap().acknowledged >= wanted };
        colloquy_testkit::until(LIMIT, &format!("{percent} % of the deliveries are acknowledged"), reached).await;
    }

    /// Returns how many attempts were refused or not answered so far.
    pub fn refusals(&self) -> usize {
        let answers = self.answers.lock().unwrap();
        answers.refused + answers.unanswered
    }

    /// Returns how many deliveries were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.answers.lock().unwrap().acknowledged
    }

    /// Waits until every delivery is acknowledged.
    pub(crate) async fn ends(mut self) -> Answers {
        let all = async {
            while self
                .clients
                .join_next()
                .await
                .is_some_and(|ended| ended.map_or_else(|_| panic!("a client panicked"), |()| true))
            {}
        };
        if tokio::time::timeout(LIMIT, all).await.is_err() {
            panic!("the stream does not end: {:?}", self.answers.lock().unwrap());
        }
        std::mem::take(&mut *self.answers.lock().unwrap())
    }
}

async fn deliver(sender: &Sender, delivery: &Delivery, answers: &Mutex<Answers>) {
    loop {
        let started = Instant::now();
        let answer = sender.send(delivery).await;
        let wait = {
            let mut answers = answers.lock().unwrap();
            answers.slowest = answers.slowest.max(started.elapsed());
            match answer {
                Answer::Acknowledged => {
                    answers.acknowledged += 1;
                    return;
                }
                Answer::Refused(hint) => {
                    answers.refused += 1;
                    hint
                }
                Answer::Nobody => {
                    answers.unanswered += 1;
                    NOBODY
                }
                Answer::Wrong(what) => {
                    *answers.wrong.entry(what).or_default() += 1;
                    NOBODY
                }
            }
        };
        tokio::time::sleep(wait).await;
    }
}
