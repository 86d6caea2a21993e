//! What search must find, whatever the engine.

use std::sync::Arc;

use colloquy_events::{Data, Event, Facts, Record, Role, Turn};
use colloquy_log_client::Reader as _;
use colloquy_service::Progress;
use colloquy_storage::{Database, DatabaseUrl, Durability};
use colloquy_types::{ConversationId, EventId, OrganizationId, Position, Provider, RecordId, SystemClock, Timestamp, TurnId};
use uuid::Uuid;

use super::{Find, Found, Matching, Order, Place, SearchStore, TURNS_EACH, Written, open};
use crate::kept;
use crate::search::SPOKEN;
use crate::search::query::Query;
use crate::search::reader::{Reader, touched};
use crate::store::{TranscriptStore, migrations};

/// A store with a database of its own.
struct Fixture {
    index: Arc<dyn SearchStore>,
    transcripts: Arc<dyn TranscriptStore>,
    database: Database,
    _folder: tempfile::TempDir,
}

async fn fixture(url: impl FnOnce(&std::path::Path) -> DatabaseUrl) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&url(folder.path()), crate::NAME, Durability::Lazy, &migrations()).await.unwrap();
    Fixture { index: open(&database), transcripts: crate::store::open(&database), database, _folder: folder }
}

async fn sqlite() -> Option<Fixture> {
    Some(fixture(|folder| DatabaseUrl::SqliteFolder(folder.to_owned())).await)
}

/// `None` when there is no server and none is required.
async fn postgres() -> Option<Fixture> {
    let url = colloquy_testkit::postgres::database_url().await?;
    Some(fixture(|_| DatabaseUrl::Postgres(url)).await)
}

macro_rules! search_store_suite {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite { $(
            #[tokio::test]
            async fn $case() {
                super::$case(&super::sqlite().await.unwrap()).await;
            }
        )+ }
        mod on_postgres { $(
            #[tokio::test]
            async fn $case() {
                if let Some(fixture) = super::postgres().await {
                    super::$case(&fixture).await;
                }
            }
        )+ }
    };
}

search_store_suite!(
    words_phrases_prefixes_and_exclusions_find_the_same,
    text_of_any_script_is_found,
    no_text_is_syntax,
    organizations_do_not_see_each_other,
    turns_are_found_by_role_agent_conversation_and_time,
    newest_first_is_a_total_order_however_it_is_paged,
    relevance_prefers_the_shorter_turn_and_then_the_newer,
    pages_go_on_while_turns_are_added,
    what_a_final_transcript_leaves_out_is_found_no_more,
    only_turns_that_changed_are_written,
    a_batch_and_its_position_are_kept_together,
    conversations_are_matched_among_some_or_all,
    a_word_repeated_hundreds_of_times_stays_where_it_is,
    thousands_of_turns_of_one_moment_are_all_found,
    turns_of_one_moment_and_one_id_are_found_in_each_conversation,
    who_leads_may_become_known_later,
    parts_hold_everything_once,
    the_index_waits_for_the_transcripts,
    two_who_index_one_conversation_lose_nothing,
);

fn organization(name: &str) -> OrganizationId {
    name.parse().unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn conversation(number: u128) -> ConversationId {
    ConversationId(Uuid::from_u128(number))
}

/// Turns are numbered throughout: `said(7, …)` is said in the seventh second.
fn said(number: u128, role: Role, text: &str) -> Turn {
    Turn { text: Some(text.to_owned()), at: Some(at(number as i64 * 1_000)), ..Turn::new(TurnId(Uuid::from_u128(number)), role) }
}

fn record(organization_id: &str, conversation_number: u128, data: Vec<Data>) -> Record {
    let events = data.into_iter().map(|data| Event {
        event_id: EventId::generate(),
        conversation_id: conversation(conversation_number),
        provider: Provider::Native,
        external_id: "c".to_owned(),
        occurred_at: at(1_000),
        ordinal: 0,
        data,
    });
    Record {
        record_id: RecordId::generate(),
        organization_id: organization(organization_id),
        source_id: None,
        received_at: Timestamp::default(),
        events: events.collect(),
        traceparent: String::new(),
        sequence: 1,
    }
}

impl Fixture {
    /// Reads a record into both views.
    async fn tell(&self, record: Record) -> Written {
        self.tell_all(&[record]).await
    }

    async fn tell_all(&self, records: &[Record]) -> Written {
        self.transcripts.apply(&kept::rows(records), Position(1)).await.unwrap();
        self.index.index(&touched(records), Position(1)).await.unwrap()
    }

    /// Says something in conversation 1 of acme.
    async fn say(&self, turns: &[(u128, &str)]) -> Written {
        let turns = turns.iter().map(|(number, text)| Data::TurnAdded(said(*number, Role::User, text)));
        self.tell(record("acme", 1, turns.collect())).await
    }

    async fn found(&self, find: Find<'_>) -> Vec<Found> {
        self.index.find(&find).await.unwrap()
    }

    /// Returns the numbers of the turns of acme that fit, in order.
    async fn numbers(&self, text: &str) -> Vec<u128> {
        let query = query(text);
        numbers(&self.found(find(&organization("acme"), &query)).await)
    }
}

fn none() -> Written {
    Written::default()
}

fn query(text: &str) -> Query {
    text.parse().unwrap()
}

fn numbers(found: &[Found]) -> Vec<u128> {
    found.iter().map(|found| found.turn_id.0.as_u128()).collect()
}

const fn find<'a>(organization_id: &'a OrganizationId, query: &'a Query) -> Find<'a> {
    Find {
        organization_id,
        query,
        roles: &SPOKEN,
        agent_id: None,
        conversation_id: None,
        from: None,
        before: None,
        order: Order::Newest,
        after: None,
        limit: 1_000,
    }
}

async fn words_phrases_prefixes_and_exclusions_find_the_same(fixture: &Fixture) {
    let turns = [
        (1, "I want my money back"),
        (2, "Back to the money, please"),
        (3, "The refund was refused: no money-back guarantee"),
        (4, "Refunds are fine. I can't complain"),
        (5, "money money money"),
    ];
    fixture.say(&turns).await;
    let cases: &[(&str, &[u128])] = &[
        ("money", &[5, 3, 2, 1]),
        ("MONEY back", &[3, 2, 1]),
        ("\"money back\"", &[3, 1]),
        ("money-back", &[3, 1]),
        ("\"back money\"", &[]),
        ("\"money money money\"", &[5]),
        ("\"money money money money\"", &[]),
        ("refund", &[3]),
        ("refund*", &[4, 3]),
        ("ref* gua*", &[3]),
        ("\"no mon\"*", &[3]),
        ("\"no mon\"", &[]),
        ("money -back", &[5]),
        ("money -\"money back\"", &[5, 2]),
        ("money -ref* -\"money money\"", &[2, 1]),
        ("can't", &[4]),
        ("can", &[4]),
        ("money -money", &[]),
        ("nobody said this", &[]),
        ("back & money?", &[3, 2, 1]),
        // Words are of one turn, not of one conversation.
        ("want complain", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(fixture.numbers(text).await, *expected, "{text}");
    }
}

async fn text_of_any_script_is_found(fixture: &Fixture) {
    let turns = [
        (1, "Die Straße nach Köln ist GROSS"),
        (2, "¿Dónde está mi reembolso, señor Muñoz?"),
        (3, "我要退款，谢谢你"),
        (4, "أُرِيدُ اِسْتِرْدَادَ المَال"),
        (5, "👍🏽 great ❤️ thanks 🇩🇪"),
        (6, "Я хочу вернуть деньги, ещё раз"),
        (7, "हिन्दी में बात करें"),
        (8, "コーヒーが冷たい"),
        (9, "ฉันต้องการคืนเงิน"),
        (10, "환불해 주세요"),
        (11, "Τι ώρα είναι ο ΟΔΥΣΣΕΎΣ"),
        (12, "ｆｕｌｌ ｗｉｄｔｈ ２０２４"),
    ];
    fixture.say(&turns).await;
    let cases: &[(&str, &[u128])] = &[
        ("strasse koln", &[1]),
        ("STRASSE groß", &[1]),
        ("Stra*", &[1]),
        ("donde reembolso munoz", &[2]),
        ("SEÑOR", &[2]),
        ("退款", &[3]),
        ("款退", &[]),
        ("\"要退款\" 谢谢", &[3]),
        ("谢*", &[3]),
        ("اريد المال", &[4]),
        ("استرد*", &[4]),
        ("great thanks", &[5]),
        ("\"great thanks\"", &[5]),
        ("great 👍", &[5]),
        ("еще деньги", &[6]),
        ("ВЕРН*", &[6]),
        ("हिन्दी", &[7]),
        ("हन्दा", &[]),
        ("コーヒー", &[8]),
        ("ヒー", &[8]),
        ("คืนเงิน", &[9]),
        ("환불*", &[10]),
        ("οδυσσευς ωρα", &[11]),
        ("full width 2024", &[12]),
    ];
    for (text, expected) in cases {
        assert_eq!(fixture.numbers(text).await, *expected, "{text}");
    }
}

async fn no_text_is_syntax(fixture: &Fixture) {
    let turns = [
        (1, "'; drop table search_turns; --"),
        (2, "a NEAR b OR c AND NOT d"),
        (3, "\"quoted\" {curly} [square] col:value ^start"),
        (4, "x:* & !y | <-> 'z' \\ \0 % _"),
        (5, "plain"),
    ];
    fixture.say(&turns).await;
    let cases: &[(&str, &[u128])] = &[
        ("'; drop table search_turns; --", &[1]),
        ("plain OR quoted", &[]),
        ("plain') OR ('a", &[]),
        ("near OR and NOT", &[2]),
        ("NEAR(a b)", &[]),
        ("{curly} ^start words:value", &[]),
        ("{curly} ^start col:value", &[3]),
        ("x:A 'z'", &[]),
        ("x & !y | <-> 'z' \\", &[4]),
        ("%", &[]),
        ("1xplain", &[]),
        ("\\' plain", &[5]),
        ("plain \0", &[5]),
    ];
    for (text, expected) in cases {
        let Ok(query) = text.parse::<Query>() else {
            assert_eq!(*text, "%");
            continue;
        };
        let found = fixture.index.find(&find(&organization("acme"), &query)).await.unwrap();
        assert_eq!(numbers(&found), *expected, "{text}");
    }
    // Whatever is no word, alone and in numbers.
    for strange in ["ﷺ*", "\u{202e}abc", "ab\u{300}\u{301}*", "z\u{35f}\u{489}algo", &"退".repeat(500), &"a ".repeat(20)] {
        let query = query(strange);
        fixture.index.find(&find(&organization("acme"), &query)).await.unwrap();
    }
}

async fn organizations_do_not_see_each_other(fixture: &Fixture) {
    for (organization_id, number) in [("acme", 1), ("acme-eu", 2), ("beta", 3)] {
        let turn = said(number, Role::User, &format!("secret of {organization_id}"));
        fixture.tell(record(organization_id, number, vec![Data::TurnAdded(turn)])).await;
    }
    for (organization_id, expected) in [("acme", vec![1]), ("acme-eu", vec![2]), ("beta", vec![3]), ("nobody", vec![])] {
        let organization_id = organization(organization_id);
        let query = query("secret");
        assert_eq!(numbers(&fixture.found(find(&organization_id, &query)).await), expected);
        let matching = fixture.index.matching(&organization_id, &query, &[], 10).await.unwrap();
        assert_eq!(matching.conversations, expected.iter().copied().map(conversation).collect::<Vec<_>>());
        let among = [conversation(1), conversation(2), conversation(3)];
        let matching = fixture.index.matching(&organization_id, &query, &among, 10).await.unwrap();
        assert_eq!(matching.conversations, expected.into_iter().map(conversation).collect::<Vec<_>>());
    }
}

async fn turns_are_found_by_role_agent_conversation_and_time(fixture: &Fixture) {
    let led_by = |agent_id: &str| Data::Started(Facts { agent_id: Some(agent_id.to_owned()), ..Facts::default() });
    let roles = [(1, Role::Agent), (2, Role::User), (3, Role::HumanAgent), (4, Role::Tool), (5, Role::System)];
    let mut first: Vec<Data> = roles.map(|(number, role)| Data::TurnAdded(said(number, role, "hello"))).into();
    first.push(led_by("ana"));
    let second = vec![Data::TurnAdded(said(6, Role::User, "hello")), led_by("bob")];
    fixture.tell_all(&[record("acme", 1, first), record("acme", 2, second)]).await;

    let acme = organization("acme");
    let hello = query("hello");
    let all = find(&acme, &hello);
    let cases: [(&str, Find<'_>, &[u128]); 10] = [
        ("spoken", all.clone(), &[6, 3, 2, 1]),
        ("by a tool or the system", Find { roles: &[Role::Tool, Role::System], ..all.clone() }, &[5, 4]),
        ("by an agent", Find { roles: &[Role::Agent], ..all.clone() }, &[1]),
        ("led by ana", Find { agent_id: Some("ana"), ..all.clone() }, &[3, 2, 1]),
        ("led by nobody", Find { agent_id: Some("' or 1=1"), ..all.clone() }, &[]),
        ("in one conversation", Find { conversation_id: Some(conversation(2)), ..all.clone() }, &[6]),
        ("in none", Find { conversation_id: Some(conversation(9)), ..all.clone() }, &[]),
        ("from then on", Find { from: Some(3_000), ..all.clone() }, &[6, 3]),
        ("before then", Find { before: Some(3_000), ..all.clone() }, &[2, 1]),
        ("all of it", Find { from: Some(2_000), before: Some(3_001), agent_id: Some("ana"), ..all }, &[3, 2]),
    ];
    for (name, find, expected) in cases {
        let mut ranked = numbers(&fixture.found(Find { order: Order::Relevance, ..find.clone() }).await);
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(ranked, expected, "{name}, by relevance");
        assert_eq!(numbers(&fixture.found(find).await), expected, "{name}");
    }
}

/// Returns all pages of `size`.
async fn paged(fixture: &Fixture, find: &Find<'_>, size: u32) -> Vec<u128> {
    let mut all = Vec::new();
    let mut after: Option<Place> = None;
    loop {
        let page = fixture.found(Find { after, limit: size, ..find.clone() }).await;
        let Some(last) = page.last() else { return all };
        assert!(page.len() <= size as usize);
        after = Some(last.place());
        all.extend(numbers(&page));
    }
}

async fn newest_first_is_a_total_order_however_it_is_paged(fixture: &Fixture) {
    // Three moments, three conversations, each several times.
    let mut expected = Vec::new();
    for number in 0..27_u128 {
        let turn = Turn { at: Some(at(1_000 + (number % 3) as i64)), ..said(number + 1, Role::User, "hello") };
        fixture.tell(record("acme", 1 + number / 9, vec![Data::TurnAdded(turn)])).await;
        expected.push((std::cmp::Reverse(number % 3), number / 9, number + 1));
    }
    expected.sort_unstable();
    let expected: Vec<u128> = expected.into_iter().map(|(_, _, number)| number).collect();
    let (acme, hello) = (organization("acme"), query("hello"));
    let all = find(&acme, &hello);
    assert_eq!(numbers(&fixture.found(all.clone()).await), expected);
    for size in [1, 2, 5, 9, 26, 27, 28] {
        assert_eq!(paged(fixture, &all, size).await, expected, "{size}");
        let ranked = Find { order: Order::Relevance, ..all.clone() };
        assert_eq!(paged(fixture, &ranked, size).await, expected, "{size}, by relevance");
    }
}

async fn relevance_prefers_the_shorter_turn_and_then_the_newer(fixture: &Fixture) {
    let turns = [(1, "refund"), (2, "a refund of something, please"), (3, "the refund"), (4, "my refund"), (5, "no")];
    fixture.say(&turns).await;
    let (acme, refund) = (organization("acme"), query("refund"));
    let ranked = Find { order: Order::Relevance, ..find(&acme, &refund) };
    for size in [1, 2, 3, 10] {
        assert_eq!(paged(fixture, &ranked, size).await, [1, 4, 3, 2]);
    }
}

async fn pages_go_on_while_turns_are_added(fixture: &Fixture) {
    for number in 10..20 {
        fixture.say(&[(number, "hello")]).await;
    }
    let (acme, hello) = (organization("acme"), query("hello"));
    let mut all = Vec::new();
    let mut after = None;
    for round in 0.. {
        let page = fixture.found(Find { after, limit: 3, ..find(&acme, &hello) }).await;
        let Some(last) = page.last() else { break };
        after = Some(last.place());
        all.extend(numbers(&page));
        // Newer than everything: not on a later page.
        fixture.say(&[(100 + round, "hello")]).await;
    }
    assert_eq!(all, (10..20).rev().collect::<Vec<_>>());
}

async fn what_a_final_transcript_leaves_out_is_found_no_more(fixture: &Fixture) {
    fixture.say(&[(1, "helo therre"), (2, "good by")]).await;
    assert_eq!(fixture.numbers("helo").await, [1]);
    let partial = Turn { is_final: false, ..said(9, Role::Agent, "so far") };
    fixture.tell(record("acme", 1, vec![Data::TurnAdded(partial)])).await;
    assert_eq!(fixture.numbers("far").await, [0_u128; 0]);
    let turns = vec![said(2, Role::User, "good bye"), said(3, Role::User, "hello there")];
    let written = fixture.tell(record("acme", 1, vec![Data::TranscriptCompleted { turns, revision: 0 }])).await;
    assert_eq!(written, Written { changed: 2, removed: 1, ..none() });
    for (text, expected) in [("helo", vec![]), ("by", vec![]), ("bye", vec![2]), ("hello there", vec![3]), ("goo*", vec![2])] {
        assert_eq!(fixture.numbers(text).await, expected, "{text}");
    }
    let gone = Data::TranscriptCompleted { turns: Vec::new(), revision: 1 };
    assert_eq!(fixture.tell(record("acme", 1, vec![gone])).await, Written { removed: 2, ..none() });
    assert_eq!(fixture.numbers("hello").await, [0_u128; 0]);
}

async fn only_turns_that_changed_are_written(fixture: &Fixture) {
    let many: Vec<Data> =
        (1..=1_000).map(|number| Data::TurnAdded(said(number, Role::User, &format!("word {number}")))).collect();
    assert_eq!(fixture.tell(record("acme", 1, many)).await, Written { changed: 1_000, ..none() });
    assert_eq!(fixture.say(&[(1_001, "one more")]).await, Written { changed: 1, ..none() });
    let update = Data::TurnUpdated(said(500, Role::User, "other words"));
    assert_eq!(fixture.tell(record("acme", 1, vec![update])).await, Written { changed: 1, ..none() });
    assert_eq!(fixture.numbers("500").await, [0_u128; 0]);
    assert_eq!(fixture.numbers("other").await, [500]);
    let same = Data::TurnUpdated(said(500, Role::User, "other words"));
    assert_eq!(fixture.tell(record("acme", 1, vec![same])).await, Written::default());
    // Words that are said at another time than was known are found there.
    let later = Turn { at: Some(at(5_000_000)), ..said(7, Role::User, "word 7") };
    assert_eq!(
        fixture.tell(record("acme", 1, vec![Data::TurnUpdated(later)])).await,
        Written { changed: 1, moved: 994, ..none() }
    );
    assert_eq!(fixture.numbers("word").await[..2], [7, 1_000]);
}

async fn a_batch_and_its_position_are_kept_together(fixture: &Fixture) {
    let index = &fixture.index;
    assert_eq!(index.position().await.unwrap(), Position::START);
    index.index(&[], Position::end_of(7)).await.unwrap();
    index.index(&[], Position::end_of(5)).await.unwrap();
    assert_eq!(index.position().await.unwrap(), Position::end_of(7));
    // The transcripts' own reader has its own.
    assert_eq!(fixture.transcripts.position().await.unwrap(), Position::START);
}

async fn conversations_are_matched_among_some_or_all(fixture: &Fixture) {
    for number in 1..=30_u128 {
        let words = if number % 3 == 0 { "a refund please" } else { "nothing" };
        let system = Data::TurnAdded(said(number + 100, Role::System, "refund"));
        let turns = vec![Data::TurnAdded(said(number, Role::User, words)), system];
        fixture.tell(record("acme", number, turns)).await;
    }
    let (acme, refund) = (organization("acme"), query("refund"));
    let ids = |numbers: &[u128]| numbers.iter().copied().map(conversation).collect::<Vec<_>>();
    let matching = async |among: &[u128], limit| {
        let mut matching = fixture.index.matching(&acme, &refund, &ids(among), limit).await.unwrap();
        matching.conversations.sort_unstable();
        (matching.conversations, matching.truncated)
    };
    assert_eq!(matching(&[], 100).await, (ids(&[3, 6, 9, 12, 15, 18, 21, 24, 27, 30]), false));
    assert_eq!(matching(&[], 10).await, (ids(&[3, 6, 9, 12, 15, 18, 21, 24, 27, 30]), false));
    let (some, truncated) = matching(&[], 2).await;
    let fitting = ids(&[3, 6, 9, 12, 15, 18, 21, 24, 27, 30]);
    assert!(truncated && some.len() == 2 && some.iter().all(|id| fitting.contains(id)), "{some:?}");
    assert_eq!(matching(&[1, 2, 3, 4, 6, 99], 1).await, (ids(&[3, 6]), false));
    assert_eq!(matching(&[1, 2, 99], 1).await, (Vec::new(), false));
    let many: Vec<u128> = (1..=1_000).collect();
    assert_eq!(matching(&many, 1).await.0.len(), 10);
    // Said so often in one conversation that it is not known whether there are others.
    let again = (0..i64::from(TURNS_EACH) * 2).map(|number| Data::TurnAdded(said(1_000 + number as u128, Role::User, "bye now")));
    fixture.tell(record("acme", 40, again.collect())).await;
    let bye = query("bye");
    let matching = async |limit| fixture.index.matching(&acme, &bye, &[], limit).await.unwrap();
    assert_eq!(matching(1).await, Matching { conversations: ids(&[40]), truncated: true });
    assert_eq!(matching(2).await, Matching { conversations: ids(&[40]), truncated: false });
}

async fn a_word_repeated_hundreds_of_times_stays_where_it_is(fixture: &Fixture) {
    let text = format!("{}end of it", "la ".repeat(400));
    fixture.say(&[(1, text.as_str()), (2, &"word ".repeat(6_000))]).await;
    assert_eq!(fixture.numbers("la end").await, [1]);
    assert_eq!(fixture.numbers("\"end of it\"").await, [1]);
    // Beyond its 255th time a word is not indexed, on neither engine.
    assert_eq!(fixture.numbers("\"la end\"").await, [0_u128; 0]);
    assert_eq!(fixture.numbers("word").await, [2]);
}

async fn thousands_of_turns_of_one_moment_are_all_found(fixture: &Fixture) {
    let turn = |number: u128| Turn { at: Some(at(1_000)), ..said(number << 96, Role::User, "hello") };
    // Their ids are alike where ids of the index take their own part from.
    let turns: Vec<Data> = (1..=300).map(|number| Data::TurnAdded(turn(number))).collect();
    assert_eq!(fixture.tell(record("acme", 1, turns)).await.changed, 300);
    let (acme, hello) = (organization("acme"), query("hello"));
    let all = find(&acme, &hello);
    let found = paged(fixture, &all, 70).await;
    assert_eq!(found.len(), 300);
}

async fn turns_of_one_moment_and_one_id_are_found_in_each_conversation(fixture: &Fixture) {
    // Whoever sends events may number the turns of every conversation alike.
    let records: Vec<Record> = (1..=300)
        .map(|number| {
            let turns = (1..=2).map(|turn| Turn { at: Some(at(1_000)), ..said(turn, Role::User, "hello") });
            record("acme", number, turns.map(Data::TurnAdded).collect())
        })
        .collect();
    assert_eq!(fixture.tell_all(&records).await.changed, 600);
    let (acme, hello) = (organization("acme"), query("hello"));
    assert_eq!(paged(fixture, &find(&acme, &hello), 90).await.len(), 600);
}

async fn who_leads_may_become_known_later(fixture: &Fixture) {
    fixture.say(&[(1, "hello")]).await;
    let facts = |agent_id: &str| Facts { agent_id: Some(agent_id.to_owned()), ..Facts::default() };
    let started = fixture.tell(record("acme", 1, vec![Data::Started(facts("ana"))])).await;
    assert_eq!(started, Written { moved: 1, ..none() });
    let ended =
        colloquy_events::Ended { facts: facts("bob"), ..colloquy_events::Ended::new(colloquy_events::EndStatus::Completed) };
    fixture.tell(record("acme", 1, vec![Data::Ended(ended)])).await;
    // What is told late counts for less.
    fixture.tell(record("acme", 1, vec![Data::Started(facts("ana"))])).await;
    fixture.say(&[(2, "hello again")]).await;
    let (acme, hello) = (organization("acme"), query("hello"));
    let found = fixture.found(find(&acme, &hello)).await;
    let agents: Vec<_> = found.iter().map(|found| found.agent_id.as_deref()).collect();
    assert_eq!(agents, [Some("bob"), Some("bob")]);
}

async fn parts_hold_everything_once(fixture: &Fixture) {
    let mut state = 1_u32;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char::from(b'a' + (state % 26) as u8)
    };
    let noise: String = std::iter::repeat_with(&mut letter).take(300_000).collect();
    // Twelve megabytes, which are not read at once; one conversation alone is more than a part.
    let text = format!("hello {noise}");
    let mut records = Vec::new();
    for number in 1..=40 {
        let turns = if number == 7 { 20 } else { 1 };
        let turns = (0..turns).map(|turn| Data::TurnAdded(said(number * 100 + turn, Role::User, &text)));
        records.push(record("acme", number, turns.collect()));
    }
    assert_eq!(fixture.tell_all(&records).await.changed, 59);
    let (acme, hello) = (organization("acme"), query("hello"));
    assert_eq!(fixture.found(Find { limit: 100, ..find(&acme, &hello) }).await.len(), 59);
}

async fn the_index_waits_for_the_transcripts(fixture: &Fixture) {
    let progress = Progress::starting_at(Position::START);
    let (index, transcripts) = (Arc::clone(&fixture.index), Arc::clone(&fixture.transcripts));
    let reader = Reader::new(index, transcripts, progress.clone(), Arc::new(SystemClock));
    let records = vec![record("acme", 1, vec![Data::TurnAdded(said(1, Role::User, "hello"))])];
    let mut waiting = progress.waiting();
    let applying = tokio::spawn({
        let records = records.clone();
        async move { reader.apply(&records, Position::end_of(1)).await }
    });
    waiting.wait_for(|count| *count == 1).await.unwrap();
    assert_eq!(fixture.index.position().await.unwrap(), Position::START);
    fixture.transcripts.apply(&kept::rows(&records), Position::end_of(1)).await.unwrap();
    progress.advance_to(Position::end_of(1));
    applying.await.unwrap().unwrap();
    assert_eq!(fixture.index.position().await.unwrap(), Position::end_of(1));
    assert_eq!(fixture.numbers("hello").await, [1]);
}

async fn two_who_index_one_conversation_lose_nothing(fixture: &Fixture) {
    // Of a SQLite file there is one.
    let other = match &fixture.database {
        Database::Postgres(_) => open(&fixture.database),
        Database::Sqlite(_) => Arc::clone(&fixture.index),
    };
    let replicas = [Arc::clone(&fixture.index), other].into_iter().zip([0_u128, 1]).map(|(index, offset)| {
        let transcripts = Arc::clone(&fixture.transcripts);
        tokio::spawn(async move {
            for number in (1 + offset..=40).step_by(2) {
                let turn = Data::TurnAdded(said(number, Role::User, "hello"));
                let records = [record("acme", 1, vec![turn]), record("acme", 2 + number % 3, vec![])];
                transcripts.apply(&kept::rows(&records), Position(1)).await.unwrap();
                index.index(&touched(&records), Position(1)).await.unwrap();
            }
        })
    });
    for replica in replicas.collect::<Vec<_>>() {
        replica.await.unwrap();
    }
    assert_eq!(fixture.numbers("hello").await, (1..=40).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn turns_are_removed_from_sqlites_index_by_their_ids() {
    let fixture = sqlite().await.unwrap();
    let Database::Sqlite(database) = &fixture.database else { panic!("not SQLite") };
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(
        "explain query plan with k (id) as (values (1), (2)) delete from search_words where rowid in (select id from k)",
    )
    .fetch_all(database.writer())
    .await
    .unwrap();
    let step = &plan[0].3;
    assert!(step.starts_with("SCAN search_words VIRTUAL TABLE INDEX") && step.ends_with('='), "{plan:?}");
}

#[tokio::test]
async fn the_newest_are_read_from_sqlites_index_in_its_order() {
    let fixture = sqlite().await.unwrap();
    let Database::Sqlite(database) = &fixture.database else { panic!("not SQLite") };
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(
        "explain query plan select t.id from search_words w cross join search_turns t on t.id = w.rowid \
         where w.search_words match '\"1xa\"' and t.organization_id = 'a' and w.rowid between 1 and 9 order by w.rowid desc limit 5",
    )
    .fetch_all(database.readers())
    .await
    .unwrap();
    let steps: Vec<&str> = plan.iter().map(|(_, _, _, step)| step.as_str()).collect();
    assert!(steps[0].starts_with("SCAN w VIRTUAL TABLE INDEX"), "{steps:?}");
    assert!(steps[1].starts_with("SEARCH t USING INTEGER PRIMARY KEY"), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
}
