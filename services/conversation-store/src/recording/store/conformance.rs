//! What every backend must do, run on each.

use colloquy_events::RecordingChannel;
use colloquy_types::{ConversationId, Timestamp};

use super::Fetch;
use crate::recording::journal::Described;
use crate::recording::testing::{NOW, World, at, available, conversation_id, event, organization, postgres, sqlite};

macro_rules! suite {
    ($engine:ident; $($case:ident),+ $(,)?) => { mod $engine { $(
        #[tokio::test]
        async fn $case() {
            if let Some(world) = super::$engine().await {
                super::$case(world).await;
            }
        }
    )+ } };
}
macro_rules! on_both {
    ($($case:ident),+ $(,)?) => { suite!(sqlite; $($case),+); suite!(postgres; $($case),+); };
}
on_both!(
    a_url_is_claimed_once_until_its_claim_runs_out,
    a_claim_can_be_renewed_and_given_back,
    a_new_url_makes_the_work_due_at_once_and_takes_it_from_its_worker,
    what_is_stored_is_kept_and_no_longer_to_be_fetched,
    a_failure_ends_the_work_until_another_announcement,
    claims_take_no_more_than_asked_and_the_longest_due_first,
    another_organization_has_none_of_it,
);

async fn claim(world: &World, now: i64) -> Vec<Fetch> {
    world.recordings.store.claim(at(now), at(now + 1_000), 10).await.unwrap()
}

async fn hold(world: &World, fetch: &Fetch, until: i64) -> bool {
    world.recordings.store.hold(fetch, at(until)).await.unwrap()
}

async fn a_url_is_claimed_once_until_its_claim_runs_out(world: World) {
    assert_eq!(claim(&world, NOW).await, []);
    world.announce("ended", "https://files.example/1").await;
    let first = claim(&world, NOW).await;
    let [fetch] = &first[..] else { panic!("{first:?}") };
    assert_eq!((fetch.conversation_id, fetch.channel, fetch.attempt), (conversation_id(), RecordingChannel::Mixed, 1));
    assert_eq!((fetch.url.as_str(), fetch.content_type.as_deref()), ("https://files.example/1", Some("audio/mpeg")));
    assert_eq!(claim(&world, NOW + 999).await, []);
    let second = claim(&world, NOW + 1_000).await;
    assert_eq!(second, [Fetch { attempt: 2, ..fetch.clone() }]);
    assert!(!hold(&world, fetch, NOW + 9_000).await, "the first claim is over");
}

async fn a_claim_can_be_renewed_and_given_back(world: World) {
    world.announce("ended", "https://files.example/1").await;
    let fetch = claim(&world, NOW).await.remove(0);
    assert!(hold(&world, &fetch, NOW + 5_000).await);
    assert_eq!(claim(&world, NOW + 4_999).await, []);
    world.recordings.store.release(&fetch, at(NOW + 2_000)).await.unwrap();
    assert_eq!(claim(&world, NOW + 1_999).await, []);
    assert_eq!(claim(&world, NOW + 2_000).await, [fetch], "it counts as not tried");
}

async fn a_new_url_makes_the_work_due_at_once_and_takes_it_from_its_worker(world: World) {
    world.announce("ended", "https://files.example/1").await;
    let old = claim(&world, NOW).await.remove(0);
    // A repeat of what is known changes nothing.
    world.log.write(event("again", NOW - 1, 0, available("https://files.example/0"))).await;
    assert!(hold(&world, &old, NOW + 60_000).await);
    world.log.write(event("analyzed", NOW, 1, available("https://files.example/2"))).await;
    assert!(!hold(&world, &old, NOW + 60_000).await);
    let new = claim(&world, NOW).await.remove(0);
    assert_eq!((new.url.as_str(), new.attempt), ("https://files.example/2", 1));
}

async fn stored(world: &World, bytes: &[u8]) -> String {
    let conversation = world.recordings.store.conversation(&organization("acme"), conversation_id()).await.unwrap().unwrap();
    let mut upload = world.recordings.objects.upload(organization("acme"));
    upload.write(bytes).await.unwrap();
    let object = upload.finish().await.unwrap();
    let described = Described { channel: RecordingChannel::Mixed, content_type: "audio/wav".to_owned(), duration_ms: Some(5) };
    world.recordings.journal.stored(&conversation, &object, described).await.unwrap();
    object.key.to_string()
}

async fn what_is_stored_is_kept_and_no_longer_to_be_fetched(world: World) {
    world.announce("ended", "https://files.example/1").await;
    let fetch = claim(&world, NOW).await.remove(0);
    let key = stored(&world, b"abc").await;
    assert!(!hold(&world, &fetch, NOW + 60_000).await);
    let kept = world.recordings.store.kept(&organization("acme"), conversation_id()).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].object_key.as_str(), kept[0].content_type.as_deref()), (key.as_str(), Some("audio/wav")));
    // A later signed URL of the same recording is not fetched any more.
    world.log.write(event("analyzed", NOW + 5, 0, available("https://files.example/2"))).await;
    assert_eq!(claim(&world, NOW + 1_000_000).await, []);
}

async fn a_failure_ends_the_work_until_another_announcement(world: World) {
    world.announce("ended", "https://files.example/1").await;
    let fetch = claim(&world, NOW).await.remove(0);
    let conversation = world.recordings.store.conversation(&organization("acme"), conversation_id()).await.unwrap().unwrap();
    let events = world.recordings.store.events(&organization("acme"), &conversation).await.unwrap();
    let announced = events.iter().find(|event| fetch.came_in(event)).unwrap();
    let journal = &world.recordings.journal;
    journal.failed(&organization("acme"), announced, fetch.channel, "gone".to_owned()).await.unwrap();
    assert!(!hold(&world, &fetch, NOW + 60_000).await);
    assert_eq!(claim(&world, NOW + 1_000_000).await, []);
    // The next delivery of the same call is dated to the same instant, and brings the same address.
    world.log.write(event("analyzed", NOW, 1, available("https://files.example/1"))).await;
    assert_eq!(claim(&world, NOW + 1_000_000).await, [fetch]);
}

async fn claims_take_no_more_than_asked_and_the_longest_due_first(world: World) {
    for (number, due) in [(1_u8, 3_i64), (2, 1), (3, 2)] {
        let id = ConversationId::derive(&organization("acme"), colloquy_types::Provider::Retell, &number.to_string());
        let announced = event(&number.to_string(), NOW, 0, available(&format!("https://files.example/{number}")));
        world.clock.set(at(NOW + due));
        world.log.write(colloquy_events::Event { conversation_id: id, external_id: number.to_string(), ..announced }).await;
    }
    let urls = |mut fetches: Vec<Fetch>| {
        fetches.sort_by(|a, b| a.url.cmp(&b.url));
        fetches.into_iter().map(|fetch| fetch.url).collect::<Vec<_>>()
    };
    let until: Timestamp = at(NOW + 60_000);
    let first = world.recordings.store.claim(at(NOW + 10), until, 2).await.unwrap();
    assert_eq!(urls(first), ["https://files.example/2", "https://files.example/3"]);
    let rest = world.recordings.store.claim(at(NOW + 10), until, 2).await.unwrap();
    assert_eq!(urls(rest), ["https://files.example/1"]);
}

async fn another_organization_has_none_of_it(world: World) {
    world.start_conversation().await;
    stored(&world, b"abc").await;
    let other = organization("other");
    assert_eq!(world.recordings.store.kept(&other, conversation_id()).await.unwrap(), []);
    assert!(world.recordings.store.conversation(&other, conversation_id()).await.unwrap().is_none());
}
