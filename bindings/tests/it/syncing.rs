//! Syncing through a foreign transport, with a foreign token provider.

use std::sync::Arc;

use rejoin_core::block_on;
use rejoin_ffi::{
    FirstSync, MutationState, ParkReason, PatchKind, RejoinError, RowSyncState, SqlValue,
    SyncState, TokenProvider, Verdict,
};

use crate::cloud::{Cloud, Fault, Provider, URL, Word};
use crate::home::{Home, text};

/// Long enough for any machine; a test that waits so long has failed.
const PATIENT: Option<u32> = Some(60_000);

fn device(cloud: &Arc<Cloud>, tokens: Option<Arc<dyn TokenProvider>>) -> Home {
    let url = |config: &mut rejoin_ffi::ClientConfig| config.server_url = Some(URL.to_owned());
    Home::with(url, tokens, Some(Arc::clone(cloud) as _))
}

fn synced(cloud: &Arc<Cloud>) -> Home {
    let home = device(cloud, None);
    block_on(home.client.wait_for_first_sync(PATIENT)).unwrap();
    home
}

#[test]
fn what_is_written_here_arrives_there_and_on_another_device() {
    let cloud = Cloud::new();
    let (phone, tablet) = (synced(&cloud), synced(&cloud));
    phone.runs("INSERT INTO task (id, title) VALUES ('t1', 'buy milk')");
    let report = block_on(phone.client.sync_and_wait(PATIENT)).unwrap();
    assert_eq!((report.parked, report.still_pending), (0, 0));
    assert_eq!(cloud.titles(), ["buy milk"]);
    block_on(tablet.client.sync_and_wait(PATIENT)).unwrap();
    assert_eq!(tablet.sees("SELECT title FROM task"), ["buy milk"]);
    assert_eq!(tablet.client.status().first_sync, FirstSync::Done);
    let asked = cloud.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|request| request.url.starts_with(URL) && request.timeout_ms >= 1000));
}

#[test]
fn a_full_text_index_finds_what_came_from_elsewhere() {
    let cloud = Cloud::new();
    let (phone, tablet) = (synced(&cloud), synced(&cloud));
    let made = |tokenizer: Option<&str>| {
        let (table, columns) = ("task".to_owned(), vec!["title".to_owned()]);
        block_on(tablet.client.create_search_index(table, columns, tokenizer.map(str::to_owned)))
    };
    assert_eq!(made(None).as_deref(), Ok("search_task"));
    phone.runs("INSERT INTO task (id, title) VALUES ('t1', 'two caf\u{e9}s')");
    block_on(phone.client.sync_and_wait(PATIENT)).unwrap();
    block_on(tablet.client.sync_and_wait(PATIENT)).unwrap();
    let found = |words: &str| {
        tablet.sees(&format!("SELECT id FROM search_task WHERE search_task MATCH '{words}'"))
    };
    assert_eq!(found("cafes"), ["t1"]);
    assert!(found("wo").is_empty());
    assert_eq!(made(Some("trigram")).as_deref(), Ok("search_task"));
    assert_eq!(found("caf"), ["t1"]);
    let error = made(Some("nonsense")).unwrap_err();
    assert!(matches!(error, RejoinError::InvalidInput { .. }), "{error:?}");
    block_on(tablet.client.drop_search_index("task".to_owned())).unwrap();
    assert!(tablet.sees("SELECT name FROM sqlite_schema WHERE name = 'search_task'").is_empty());
}

#[test]
fn a_write_is_shown_as_pending_until_its_verdict() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    block_on(home.client.stop()).unwrap();
    assert_eq!(home.client.status().state, SyncState::Stopped);
    home.runs("INSERT INTO task (id, title) VALUES ('t1', 'buy milk')");
    let pending = block_on(home.client.pending()).unwrap();
    let [write] = pending.as_slice() else { panic!("{pending:?}") };
    assert_eq!((write.state, write.reason, write.attempt), (MutationState::Pending, None, 1));
    assert_eq!((write.rows[0].table.as_str(), &write.rows[0].key), ("task", &text("t1")));
    assert_eq!(write.rows[0].operation, PatchKind::Insert);
    let title = write.rows[0].columns.iter().find(|column| column.name == "title").unwrap();
    assert_eq!((&title.old_value, &title.new_value), (&SqlValue::Null, &text("buy milk")));
    let shown = || block_on(home.client.row_sync_state("task".into(), text("t1"))).unwrap();
    assert_eq!(shown(), RowSyncState::Pending);
    assert_eq!(block_on(home.client.verdict(write.id.clone(), PATIENT)), Ok(Verdict::Accepted));
    assert_eq!((shown(), cloud.titles()), (RowSyncState::Synced, vec!["buy milk".to_owned()]));
}

#[test]
fn a_refused_write_is_parked_with_its_reason_and_can_be_discarded() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    home.runs("INSERT INTO task (id, title) VALUES ('t1', 'refused')");
    let id = block_on(home.client.pending()).unwrap()[0].id.clone();
    let verdict = block_on(home.client.verdict(id.clone(), PATIENT)).unwrap();
    let Verdict::Parked { reason, detail } = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason, Some(ParkReason::Rejected), "{detail:?}");
    assert_eq!(block_on(home.client.pending_counts()).unwrap().parked, 1);
    block_on(home.client.discard(id.clone())).unwrap();
    assert_eq!(block_on(home.client.verdict(id, PATIENT)), Ok(Verdict::Unknown));
}

#[test]
fn what_a_transport_throws_is_offline_and_tried_again() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    for (fault, words) in [
        (Fault::Offline, "no bars"),
        (Fault::ThrowsLate, "ConnectionReset"),
        (Fault::Panics, "panicked"),
    ] {
        cloud.fails(Some(fault));
        home.runs(&format!("INSERT INTO task (id, title) VALUES ('{words}', 'buy milk')"));
        let error = block_on(home.client.sync_and_wait(PATIENT)).unwrap_err();
        assert!(matches!(&error, RejoinError::Offline { reason } if reason.contains(words)));
    }
    cloud.fails(None);
    block_on(home.client.sync_and_wait(PATIENT)).unwrap();
    assert_eq!(cloud.titles(), ["buy milk"; 3], "what was carried out twice was done once");
}

#[test]
fn a_refused_token_is_refreshed_and_the_request_made_again() {
    let cloud = Cloud::new();
    *cloud.good.lock().unwrap() = Some("new".to_owned());
    let provider = Provider::new(Word::Token("old"), Word::Token("new"));
    let home = device(&cloud, Some(provider.clone()));
    block_on(home.client.wait_for_first_sync(PATIENT)).unwrap();
    assert!(provider.asked.lock().unwrap().starts_with(&[false, true]));
}

#[test]
fn without_a_good_token_the_queue_waits_until_the_credentials_change() {
    for refused in [Word::Nobody, Word::Token("old")] {
        let cloud = Cloud::new();
        *cloud.good.lock().unwrap() = Some("new".to_owned());
        let provider = Provider::new(refused.clone(), refused);
        let home = device(&cloud, Some(provider.clone()));
        let error = block_on(home.client.sync_and_wait(PATIENT)).unwrap_err();
        assert!(matches!(error, RejoinError::Unauthorized { .. }), "{error:?}");
        *provider.now.lock().unwrap() = Word::Token("new");
        block_on(home.client.credentials_changed()).unwrap();
        block_on(home.client.sync_and_wait(PATIENT)).unwrap();
    }
}

#[test]
fn what_a_provider_throws_means_not_now() {
    let cloud = Cloud::new();
    let provider = Provider::new(Word::Throws, Word::Throws);
    let home = device(&cloud, Some(provider.clone()));
    for (word, says) in [(Word::Throws, "IdentityException"), (Word::Panics, "panicked")] {
        *provider.now.lock().unwrap() = word;
        let error = block_on(home.client.sync_and_wait(PATIENT)).unwrap_err();
        assert!(matches!(&error, RejoinError::Offline { reason } if reason.contains(says)));
    }
    *provider.now.lock().unwrap() = Word::Token("any");
    block_on(home.client.sync_and_wait(PATIENT)).unwrap();
}

#[test]
fn suspending_disconnects_the_transport_and_resuming_syncs_again() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    block_on(home.client.start()).unwrap();
    block_on(home.client.suspend()).unwrap();
    assert_eq!(*cloud.disconnected.lock().unwrap(), 1, "what it throws then changes nothing");
    block_on(home.client.resume()).unwrap();
    home.runs("INSERT INTO task (id, title) VALUES ('t1', 'buy milk')");
    block_on(home.client.sync_now()).unwrap();
    block_on(home.client.sync_and_wait(PATIENT)).unwrap();
    assert_eq!(cloud.titles(), ["buy milk"]);
}
