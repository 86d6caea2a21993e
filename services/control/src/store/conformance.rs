//! What every store must do.

use async_trait::async_trait;
use colloquy_events::LeaseState;
use colloquy_types::{ConversationId, OrganizationId, Position, Provider, RecordId, SourceId, Timestamp};
use futures::future::join_all;
use uuid::Uuid;

use super::{ControlStore, SetAside};
use crate::command::{Command, Outcome, Reason, State};
use crate::conversation::{Conversation, Sign};
use crate::ending;
use crate::lease::Lease;
use crate::scene::{Change, Find, Scene};
use crate::vendor::Action;

/// A store with a database of its own.
#[async_trait]
pub(crate) trait Harness: Sized + Send + Sync {
    /// Opens an empty one; `None` when its engine is not there and need not be.
    async fn start() -> Option<Self>;
    /// Returns the store.
    fn store(&self) -> &dyn ControlStore;
    /// Returns the reasons in `set_aside`.
    async fn reasons_set_aside(&self) -> Vec<String>;
}

macro_rules! control_store_suite {
    ($harness:ty) => {
        $crate::store::conformance::control_store_suite!(@cases $harness;
            what_signs_say_is_merged_whatever_comes_again,
            only_the_source_a_conversation_came_through_says_where_it_is_steered,
            an_inferred_end_is_undone_by_a_later_sign_of_life_and_a_real_one_is_not,
            a_conversation_that_the_log_tells_of_later_keeps_what_was_learned,
            batches_of_any_size_are_kept_whole,
            a_batch_moves_the_position_only_forward,
            a_change_is_written_whole,
            changes_to_one_conversation_happen_one_after_the_other,
            an_idempotency_key_is_found_in_its_conversation_only,
            a_command_is_handed_out_once_and_only_when_the_log_has_it,
            commands_to_one_conversation_are_handed_out_in_their_order,
            commands_of_organizations_that_have_their_share_are_left,
            a_claim_that_ran_out_is_no_claim,
            a_command_ends_once,
            own_agents_are_handed_the_commands_of_their_conversations,
            what_nobody_answers_is_found,
            leases_that_ran_out_and_those_of_ended_conversations_are_found,
            events_wait_in_their_order_until_the_log_has_them,
            ended_conversations_are_forgotten_when_nothing_is_left_to_do,
            a_record_is_set_aside_once,
        );
    };
    (@cases $harness:ty; $($case:ident),+ $(,)?) => { $(
        #[tokio::test]
        async fn $case() {
            if let Some(harness) = <$harness as $crate::store::conformance::Harness>::start().await {
                $crate::store::conformance::$case(&harness).await;
            }
        }
    )+ };
}
pub(crate) use control_store_suite;

const NOW: i64 = 1_800_000_000_000;
/// No command.
const NONE: [Uuid; 0] = [];

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOW + millis).unwrap()
}

fn organization(name: &str) -> OrganizationId {
    name.parse().unwrap()
}

fn id(conversation: u128) -> ConversationId {
    ConversationId(Uuid::from_u128(conversation))
}

fn running(organization_id: &str, conversation: u128, provider: Provider) -> Sign {
    Sign {
        conversation: Conversation {
            organization_id: organization(organization_id),
            conversation_id: id(conversation),
            provider,
            external_id: format!("call_{conversation}"),
            source_id: None,
            agent_id: None,
            channel: None,
            control_url: None,
            ended: false,
        },
        inferred_end: Position::START,
        alive: Position::new(1, 0),
        at: at(0),
    }
}

fn ended(sign: Sign) -> Sign {
    Sign { conversation: Conversation { ended: true, ..sign.conversation }, alive: Position::START, ..sign }
}

async fn apply(store: &dyn ControlStore, sign: Sign) {
    store.apply(&[sign], Position::START).await.unwrap();
}

async fn conversation(store: &dyn ControlStore, conversation: u128) -> Conversation {
    store.conversation(&organization("acme"), id(conversation)).await.unwrap().unwrap()
}

/// Makes a change to a conversation of acme, which must be known.
async fn change<T: Send>(
    store: &dyn ControlStore,
    conversation: u128,
    find: Find<'_>,
    mut make: impl FnMut(&Scene, &mut Change) -> T + Send,
) -> T {
    let mut made = None;
    let mut decide = |scene: &Scene| {
        let mut change = Change::of(scene, at(0));
        made = Some(make(scene, &mut change));
        Some(change)
    };
    assert!(store.change(&organization("acme"), id(conversation), find, &mut decide).await.unwrap());
    made.unwrap()
}

/// Gives a command, and tells the log.
async fn give(store: &dyn ControlStore, conversation: u128, action: Action) -> Command {
    let command = change(store, conversation, Find::Nothing, |_, change| change.accept(action.clone(), "Ada", None, None)).await;
    tell(store, conversation).await;
    command
}

async fn tell(store: &dyn ControlStore, conversation: u128) {
    let acme = organization("acme");
    if let Some((_, notes)) = store.notes(&acme, id(conversation), 100).await.unwrap() {
        let notes: Vec<_> = notes.into_iter().map(|note| (note, Position(77))).collect();
        store.announced(&acme, id(conversation), &notes).await.unwrap();
    }
}

async fn finish(store: &dyn ControlStore, command: &Command, outcome: Outcome) {
    let mut decide = |scene: &Scene| ending::finish(scene, outcome.clone(), at(9));
    let (organization_id, conversation_id) = (&command.organization_id, command.conversation_id);
    store.change(organization_id, conversation_id, Find::Id(command.command_id), &mut decide).await.unwrap();
}

fn lease(number: u128, expires_at: Timestamp) -> Lease {
    Lease {
        lease_id: Uuid::from_u128(number),
        command_id: Uuid::nil(),
        holder: "Ada".to_owned(),
        key_id: "key".to_owned(),
        taken_at: at(0),
        expires_at,
    }
}

async fn claim(store: &dyn ControlStore, now: i64, until: i64) -> Vec<Uuid> {
    let claimed = store.claim(at(now), at(until), &[], 10).await.unwrap();
    claimed.into_iter().map(|given| given.command.command_id).collect()
}

pub(crate) async fn what_signs_say_is_merged_whatever_comes_again(harness: &impl Harness) {
    let store = harness.store();
    let mut first = running("acme", 1, Provider::Vapi);
    first.conversation.control_url = Some("https://vapi.example/1".to_owned());
    first.conversation.agent_id = Some("agent".to_owned());
    let mut second = running("acme", 1, Provider::Vapi);
    second.conversation.source_id = Some(SourceId(Uuid::from_u128(5)));
    second.conversation.channel = Some("phone".to_owned());
    for sign in [first.clone(), second.clone(), first.clone(), running("other", 1, Provider::Retell)] {
        apply(store, sign).await;
    }
    let known = conversation(store, 1).await;
    assert_eq!((known.provider, known.external_id.as_str()), (Provider::Vapi, "call_1"));
    assert_eq!((known.agent_id.as_deref(), known.channel.as_deref()), (Some("agent"), Some("phone")));
    assert_eq!(known.source_id, Some(SourceId(Uuid::from_u128(5))));
    assert_eq!(known.control_url.as_deref(), Some("https://vapi.example/1"));
    apply(store, ended(second)).await;
    apply(store, first).await;
    let known = conversation(store, 1).await;
    assert_eq!((known.ended, known.control_url), (true, None));
}

pub(crate) async fn only_the_source_a_conversation_came_through_says_where_it_is_steered(harness: &impl Harness) {
    let store = harness.store();
    let says = |source: u128, url: Option<&str>| {
        let mut sign = running("acme", 1, Provider::Vapi);
        sign.conversation.source_id = Some(SourceId(Uuid::from_u128(source)));
        sign.conversation.control_url = url.map(str::to_owned);
        sign
    };
    let steered = async || {
        let known = conversation(store, 1).await;
        (known.source_id.map(|id| id.0.as_u128()), known.control_url)
    };
    let (own, forged) = ("https://vapi.example/own", "https://attacker.example/forged");
    // One batch, in the order in which the sources were heard.
    store.apply(&[says(9, Some(own)), says(2, Some(forged))], Position::START).await.unwrap();
    assert_eq!(steered().await, (Some(9), Some(own.to_owned())));
    apply(store, says(2, Some(forged))).await;
    assert_eq!(steered().await, (Some(9), Some(own.to_owned())));
    // What the other says beside it does not cover what the own one says.
    let later = "https://vapi.example/later";
    store.apply(&[says(2, Some(forged)), says(9, Some(later))], Position::START).await.unwrap();
    assert_eq!(steered().await, (Some(9), Some(later.to_owned())));
    apply(store, says(9, None)).await;
    assert_eq!(steered().await, (Some(9), Some(later.to_owned())));
}

pub(crate) async fn an_inferred_end_is_undone_by_a_later_sign_of_life_and_a_real_one_is_not(harness: &impl Harness) {
    let store = harness.store();
    let sign = |alive: u64, inferred_end: u64| Sign {
        alive: Position(alive),
        inferred_end: Position(inferred_end),
        ..running("acme", 1, Provider::Vapi)
    };
    let steps = [((5, 0), false), ((0, 9), true), ((7, 0), true), ((11, 0), false), ((0, 9), false), ((0, 12), true)];
    for ((alive, inferred_end), expected) in steps {
        apply(store, sign(alive, inferred_end)).await;
        assert_eq!(conversation(store, 1).await.ended, expected, "after {alive}, {inferred_end}");
    }
    apply(store, sign(13, 0)).await;
    apply(store, ended(sign(0, 0))).await;
    apply(store, sign(99, 0)).await;
    assert!(conversation(store, 1).await.ended);
}

pub(crate) async fn a_conversation_that_the_log_tells_of_later_keeps_what_was_learned(harness: &impl Harness) {
    let store = harness.store();
    let mut learned = running("acme", 1, Provider::Retell).conversation;
    learned.agent_id = Some("agent".to_owned());
    store.learn(&learned, at(0)).await.unwrap();
    assert_eq!(conversation(store, 1).await, learned);
    let mut sign = running("acme", 1, Provider::Retell);
    sign.conversation.source_id = Some(SourceId(Uuid::from_u128(5)));
    apply(store, sign.clone()).await;
    store.learn(&Conversation { agent_id: None, ..learned.clone() }, at(1)).await.unwrap();
    assert_eq!(conversation(store, 1).await, Conversation { source_id: sign.conversation.source_id, ..learned });
}

pub(crate) async fn batches_of_any_size_are_kept_whole(harness: &impl Harness) {
    let store = harness.store();
    for (number, size) in [0_u128, 1, 2, 63, 64, 65, 200].into_iter().enumerate() {
        let first = number as u128 * 1_000;
        let signs: Vec<Sign> = (first..first + size).map(|id| running("acme", id, Provider::Vapi)).collect();
        store.apply(&signs, Position::end_of(number as u64)).await.unwrap();
        for conversation_number in first..first + size {
            assert_eq!(conversation(store, conversation_number).await.external_id, format!("call_{conversation_number}"));
        }
        assert_eq!(store.conversation(&organization("acme"), id(first + size)).await.unwrap(), None);
    }
}

pub(crate) async fn a_batch_moves_the_position_only_forward(harness: &impl Harness) {
    let store = harness.store();
    assert_eq!(store.position().await.unwrap(), Position::START);
    store.apply(&[running("acme", 1, Provider::Vapi)], Position::end_of(7)).await.unwrap();
    store.apply(&[], Position::end_of(5)).await.unwrap();
    assert_eq!(store.position().await.unwrap(), Position::end_of(7));
}

pub(crate) async fn a_change_is_written_whole(harness: &impl Harness) {
    let store = harness.store();
    apply(store, running("acme", 1, Provider::Vapi)).await;
    let actions =
        [Action::TakeOver, Action::Say("hello".to_owned()), Action::Transfer("+12025550123".to_owned()), Action::Mute(false)];
    let lease = lease(9, at(30_000));
    let given = change(store, 1, Find::Nothing, |scene, change| {
        assert_eq!((scene.numbered, &scene.lease, &scene.command), (0, &None, &None));
        let given: Vec<Command> = actions.iter().map(|action| change.accept(action.clone(), "Ada", None, None)).collect();
        change.hold(lease.clone(), LeaseState::Taken);
        change.finish(&given[0], Outcome::Applied);
        given
    })
    .await;
    let acme = organization("acme");
    assert_eq!(store.lease(&acme, id(1)).await.unwrap(), Some(lease.clone()));
    let mut kept = store.commands(&acme, id(1), 100).await.unwrap();
    kept.reverse();
    assert_eq!((&kept[0].state, kept[0].finished_at), (&State::Applied, Some(at(0))));
    assert_eq!(kept[1..], given[1..]);
    assert_eq!(store.commands(&acme, id(1), 2).await.unwrap().len(), 2);
    assert_eq!(store.command(&acme, given[1].command_id).await.unwrap().unwrap().command, given[1]);
    assert_eq!(store.command(&organization("other"), given[1].command_id).await.unwrap(), None);
    change(store, 1, Find::Id(given[2].command_id), |scene, change| {
        assert_eq!((scene.numbered, &scene.lease), (6, &Some(lease.clone())));
        assert_eq!(scene.command.as_ref(), Some(&given[2]));
        change.free(&lease, LeaseState::Released);
    })
    .await;
    assert_eq!(store.lease(&acme, id(1)).await.unwrap(), None);
    let mut never = |_: &Scene| -> Option<Change> { panic!("there is no such conversation") };
    assert!(!store.change(&acme, id(2), Find::Nothing, &mut never).await.unwrap());
}

pub(crate) async fn changes_to_one_conversation_happen_one_after_the_other(harness: &impl Harness) {
    let store = harness.store();
    apply(store, running("acme", 1, Provider::Vapi)).await;
    let taken = join_all((1..=8).map(|number| async move {
        change(store, 1, Find::Nothing, |scene, change| {
            change.accept(Action::TakeOver, "Ada", None, None);
            let free = scene.lease.is_none();
            if free {
                change.hold(lease(number, at(30_000)), LeaseState::Taken);
            }
            free
        })
        .await
    }));
    assert_eq!(taken.await.into_iter().filter(|taken| *taken).count(), 1);
    let commands = store.commands(&organization("acme"), id(1), 100).await.unwrap();
    assert_eq!(commands.len(), 8);
    assert!(commands.is_sorted_by(|later, earlier| later.number > earlier.number));
}

pub(crate) async fn an_idempotency_key_is_found_in_its_conversation_only(harness: &impl Harness) {
    let store = harness.store();
    for conversation in [1, 2] {
        apply(store, running("acme", conversation, Provider::Vapi)).await;
    }
    let end = |_: &Scene, change: &mut Change| change.accept(Action::End, "Ada", None, Some("key"));
    let first = change(store, 1, Find::Key("key"), end).await;
    let found = change(store, 1, Find::Key("key"), |scene, _| scene.command.clone()).await;
    assert_eq!(found, Some(first.clone()));
    assert_eq!(change(store, 1, Find::Key("other"), |scene, _| scene.command.clone()).await, None);
    assert_eq!(change(store, 2, Find::Key("key"), |scene, _| scene.command.clone()).await, None);
    change(store, 2, Find::Key("key"), end).await;
    let again = change(store, 1, Find::Key("key"), |scene, change| {
        change.key_freed = scene.command.as_ref().map(|command| command.command_id);
        change.accept(Action::End, "Ada", None, Some("key"))
    })
    .await;
    let found = change(store, 1, Find::Key("key"), |scene, _| scene.command.clone()).await;
    assert_eq!(found.map(|command| command.command_id), Some(again.command_id));
}

pub(crate) async fn a_command_is_handed_out_once_and_only_when_the_log_has_it(harness: &impl Harness) {
    let store = harness.store();
    let mut expected = Vec::new();
    for conversation in 1..=6 {
        apply(store, running("acme", conversation, Provider::Vapi)).await;
        let given = change(store, conversation, Find::Nothing, |_, change| change.accept(Action::End, "Ada", None, None));
        expected.push(given.await.command_id);
    }
    apply(store, running("acme", 7, Provider::Native)).await;
    give(store, 7, Action::End).await;
    assert_eq!(claim(store, 1, 60_000).await, NONE);
    for conversation in 1..=6 {
        tell(store, conversation).await;
    }
    let claimed = join_all((0..4).map(|_| claim(store, 1, 60_000))).await;
    let mut claimed: Vec<Uuid> = claimed.into_iter().flatten().collect();
    // A worker that finds rows locked leaves them to the others; whoever comes after sees what is left.
    claimed.extend(claim(store, 1, 60_000).await);
    claimed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(claimed, expected);
    assert_eq!(claim(store, 59_999, 60_000).await, NONE);
}

pub(crate) async fn commands_to_one_conversation_are_handed_out_in_their_order(harness: &impl Harness) {
    let store = harness.store();
    apply(store, running("acme", 1, Provider::Vapi)).await;
    let mut given = Vec::new();
    for text in ["one", "two", "three"] {
        given.push(give(store, 1, Action::Say(text.to_owned())).await);
    }
    for (round, command) in given.iter().enumerate() {
        assert_eq!(claim(store, 1, 60_000).await, [command.command_id], "round {round}");
        assert_eq!(claim(store, 1, 60_000).await, NONE, "round {round}");
        let outcome = if round == 1 { Outcome::Rejected(Reason::VendorRefused, "no".to_owned()) } else { Outcome::Applied };
        finish(store, command, outcome).await;
    }
    assert_eq!(claim(store, 90_000, 99_000).await, NONE);
}

pub(crate) async fn commands_of_organizations_that_have_their_share_are_left(harness: &impl Harness) {
    let store = harness.store();
    apply(store, running("acme", 1, Provider::Vapi)).await;
    let given = give(store, 1, Action::End).await;
    let but = |names: &[&str]| names.iter().map(|name| organization(name)).collect::<Vec<_>>();
    let full = but(&["other", "acme"]);
    assert_eq!(store.claim(at(0), at(100), &full, 10).await.unwrap(), []);
    let [claimed] = store.claim(at(0), at(100), &but(&["other"]), 10).await.unwrap().try_into().unwrap();
    assert_eq!(claimed.command.command_id, given.command_id);
}

pub(crate) async fn a_claim_that_ran_out_is_no_claim(harness: &impl Harness) {
    let store = harness.store();
    apply(store, running("acme", 1, Provider::Vapi)).await;
    give(store, 1, Action::Say("hello".to_owned())).await;
    let [first] = store.claim(at(0), at(100), &[], 10).await.unwrap().try_into().unwrap();
    let [second] = store.claim(at(100), at(200), &[], 10).await.unwrap().try_into().unwrap();
    assert_eq!((first.command.command_id, first.command.position), (second.command.command_id, Some(Position(77))));
    assert!(!store.start(&first.command).await.unwrap());
    store.unclaim(&first.command).await.unwrap();
    assert!(store.start(&second.command).await.unwrap());
    store.unclaim(&second.command).await.unwrap();
    let [third] = store.claim(at(101), at(300), &[], 10).await.unwrap().try_into().unwrap();
    assert_eq!(third.command.attempts, 1);
}

pub(crate) async fn a_command_ends_once(harness: &impl Harness) {
    let store = harness.store();
    apply(store, running("acme", 1, Provider::Vapi)).await;
    let command = give(store, 1, Action::End).await;
    finish(store, &command, Outcome::Rejected(Reason::VendorRefused, "no".to_owned())).await;
    finish(store, &command, Outcome::Applied).await;
    let kept = store.command(&organization("acme"), command.command_id).await.unwrap().unwrap().command;
    let state = State::Rejected { reason: "vendor_refused".to_owned(), detail: Some("no".to_owned()) };
    assert_eq!((kept.state, kept.finished_at), (state, Some(at(9))));
    let (_, notes) = store.notes(&organization("acme"), id(1), 100).await.unwrap().unwrap();
    assert_eq!(notes.len(), 1);
    assert!(!store.start(&kept_claimed(&command)).await.unwrap());
}

fn kept_claimed(command: &Command) -> Command {
    Command { claimed_until: Timestamp::default(), ..command.clone() }
}

pub(crate) async fn own_agents_are_handed_the_commands_of_their_conversations(harness: &impl Harness) {
    let store = harness.store();
    let mut given = Vec::new();
    for (conversation, agent) in [(1, "a"), (2, "b"), (3, "a")] {
        let mut sign = running("acme", conversation, Provider::Native);
        sign.conversation.agent_id = Some(agent.to_owned());
        apply(store, sign).await;
        given.push(give(store, conversation, Action::End).await.command_id);
    }
    apply(store, running("acme", 4, Provider::Vapi)).await;
    give(store, 4, Action::End).await;
    let acme = organization("acme");
    let handed = async |agent: Option<&str>| -> Vec<Uuid> {
        let handed = store.for_agents(&acme, agent, 10).await.unwrap();
        handed.into_iter().map(|given| given.command.command_id).collect()
    };
    assert_eq!(handed(None).await, given);
    assert_eq!(handed(Some("a")).await, [given[0], given[2]]);
    assert_eq!(handed(Some("c")).await, NONE);
    assert_eq!(store.for_agents(&organization("other"), None, 10).await.unwrap(), []);
    store.handed_out(&acme, given[0]).await.unwrap();
    let command = store.command(&acme, given[0]).await.unwrap().unwrap().command;
    assert_eq!(command.attempts, 1);
    finish(store, &command, Outcome::Applied).await;
    assert_eq!(handed(Some("a")).await, [given[2]]);
}

pub(crate) async fn what_nobody_answers_is_found(harness: &impl Harness) {
    let store = harness.store();
    for (conversation, provider) in [(1, Provider::Native), (2, Provider::Native), (3, Provider::Vapi)] {
        apply(store, running("acme", conversation, provider)).await;
        give(store, conversation, Action::End).await;
    }
    let unanswered = async |before: i64| -> Vec<ConversationId> {
        let unanswered = store.unanswered(at(before), 10).await.unwrap();
        unanswered.into_iter().map(|given| given.conversation.conversation_id).collect()
    };
    assert_eq!(unanswered(-1).await, []);
    apply(store, ended(running("acme", 2, Provider::Native))).await;
    assert_eq!(unanswered(-1).await, [id(2)]);
    let mut both = unanswered(0).await;
    both.sort_unstable();
    assert_eq!(both, [id(1), id(2)]);
}

pub(crate) async fn leases_that_ran_out_and_those_of_ended_conversations_are_found(harness: &impl Harness) {
    let store = harness.store();
    for (conversation, expires_at) in [(1, 100), (2, 200), (3, 900)] {
        apply(store, running("acme", conversation, Provider::Vapi)).await;
        change(store, conversation, Find::Nothing, |_, change| {
            change.hold(lease(conversation, at(expires_at)), LeaseState::Taken);
        })
        .await;
    }
    let acme = organization("acme");
    assert_eq!(store.to_free(at(99), 10).await.unwrap(), []);
    assert_eq!(store.to_free(at(200), 10).await.unwrap(), [(acme.clone(), id(1)), (acme.clone(), id(2))]);
    apply(store, ended(running("acme", 3, Provider::Vapi))).await;
    assert_eq!(store.to_free(at(99), 10).await.unwrap(), [(acme, id(3))]);
}

pub(crate) async fn events_wait_in_their_order_until_the_log_has_them(harness: &impl Harness) {
    let store = harness.store();
    let acme = organization("acme");
    apply(store, running("acme", 1, Provider::Vapi)).await;
    assert_eq!(store.notes(&acme, id(1), 10).await.unwrap(), None);
    let mut noted = Vec::new();
    for _ in 0..3 {
        let made = change(store, 1, Find::Nothing, |_, change| {
            let command = change.accept(Action::Say("äö".to_owned()), "Ada", None, None);
            change.finish(&command, Outcome::Applied);
            change.notes.clone()
        });
        noted.extend(made.await);
    }
    let (conversation, notes) = store.notes(&acme, id(1), 10).await.unwrap().unwrap();
    assert_eq!((conversation.conversation_id, &notes), (id(1), &noted));
    assert_eq!(store.notes(&acme, id(1), 4).await.unwrap().unwrap().1, noted[..4]);
    assert_eq!(store.unannounced(at(-1), 10).await.unwrap(), []);
    assert_eq!(store.unannounced(at(0), 10).await.unwrap(), [(acme.clone(), id(1))]);
    let told: Vec<_> = notes[..3].iter().cloned().zip([Position(5), Position(6), Position(7)]).collect();
    store.announced(&acme, id(1), &told).await.unwrap();
    // Somebody else wrote the same at the same time, and knows less well where it is.
    let again: Vec<_> = notes[..1].iter().cloned().map(|note| (note, Position(9))).collect();
    store.announced(&acme, id(1), &again).await.unwrap();
    let mut commands = store.commands(&acme, id(1), 10).await.unwrap();
    commands.reverse();
    let positions: Vec<_> = commands.iter().map(|command| command.position).collect();
    assert_eq!(positions, [Some(Position(5)), Some(Position(7)), None]);
    assert_eq!(store.notes(&acme, id(1), 10).await.unwrap().unwrap().1, noted[3..]);
}

pub(crate) async fn ended_conversations_are_forgotten_when_nothing_is_left_to_do(harness: &impl Harness) {
    let store = harness.store();
    for conversation in 1..=4 {
        apply(store, running("acme", conversation, Provider::Vapi)).await;
    }
    let done = give(store, 1, Action::End).await;
    finish(store, &done, Outcome::Applied).await;
    tell(store, 1).await;
    give(store, 2, Action::End).await;
    change(store, 3, Find::Nothing, |_, change| change.hold(lease(3, at(0)), LeaseState::Taken)).await;
    tell(store, 3).await;
    for conversation in 1..=3 {
        apply(store, ended(running("acme", conversation, Provider::Vapi))).await;
    }
    assert_eq!(store.prune(at(0), 10).await.unwrap(), 0);
    assert_eq!(store.prune(at(1), 10).await.unwrap(), 1);
    let acme = organization("acme");
    assert_eq!(store.conversation(&acme, id(1)).await.unwrap(), None);
    assert_eq!(store.command(&acme, done.command_id).await.unwrap(), None);
    for conversation in 2..=4 {
        assert!(store.conversation(&acme, id(conversation)).await.unwrap().is_some(), "{conversation}");
    }
}

pub(crate) async fn a_record_is_set_aside_once(harness: &impl Harness) {
    let aside = |id: u128, reason: &str| SetAside {
        organization_id: organization("acme"),
        record_id: RecordId(Uuid::from_u128(id)),
        sequence: 3,
        reason: reason.to_owned(),
        at: at(0),
    };
    for (id, reason) in [(1, "first"), (1, "again"), (2, "second")] {
        harness.store().set_aside(&aside(id, reason)).await.unwrap();
    }
    assert_eq!(harness.reasons_set_aside().await, ["first", "second"]);
}
