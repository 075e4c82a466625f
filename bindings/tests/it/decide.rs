//! What an app decides of its writes, and how it hears of their ends, through the exported objects.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use rejoin_core::block_on;
use rejoin_ffi::{
    ConflictPolicy, HistoryBounds, Keep, MutationState, ParkReason, PatchKind, RejoinError, Undone,
    VerdictKind, VerdictObserver, Verdicts,
};

use crate::cloud::{Cloud, URL};
use crate::home::{Home, next, statement, text};

/// Long enough for any machine; a test that waits so long has failed.
const PATIENT: Option<u32> = Some(60_000);

fn synced(cloud: &Arc<Cloud>) -> Home {
    let url = |config: &mut rejoin_ffi::ClientConfig| config.server_url = Some(URL.to_owned());
    let home = Home::with(url, None, Some(Arc::clone(cloud) as _));
    sync(&home);
    home
}

fn sync(home: &Home) {
    block_on(home.client.sync_and_wait(PATIENT)).unwrap();
}

/// The id of what is written last.
fn wrote(home: &Home, sql: &str) -> String {
    home.runs(sql);
    block_on(home.client.pending()).unwrap().pop().unwrap().id
}

fn reasons(home: &Home) -> Vec<Option<ParkReason>> {
    block_on(home.client.pending()).unwrap().into_iter().map(|one| one.reason).collect()
}

/// A device of which a create was refused, with an edit upon it; their ids.
fn refused(cloud: &Arc<Cloud>) -> (Home, String, String) {
    let home = synced(cloud);
    block_on(home.client.stop()).unwrap();
    let create = wrote(&home, "INSERT INTO task (id, title) VALUES ('t1', 'refused')");
    let edit = wrote(&home, "UPDATE task SET user_id = NULL, title = 'more'");
    sync(&home);
    block_on(home.client.stop()).unwrap();
    assert_eq!(reasons(&home), [Some(ParkReason::Rejected), Some(ParkReason::Depends)]);
    (home, create, edit)
}

#[test]
fn an_edit_of_a_refused_create_cannot_be_retried_alone_and_the_create_is_named() {
    let cloud = Cloud::new();
    let (home, create, edit) = refused(&cloud);
    let error = block_on(home.client.retry(edit.clone())).unwrap_err();
    assert!(matches!(&error, RejoinError::StandsOn { id, .. } if *id == create), "{error:?}");
    assert_eq!(block_on(home.client.retry_chain(create.clone())).unwrap(), [create.clone(), edit]);
    assert_eq!(reasons(&home), [None, None], "offered again");
    block_on(home.client.discard(create.clone())).unwrap();
    let error = block_on(home.client.retry(create)).unwrap_err();
    assert!(matches!(error, RejoinError::InvalidInput { .. }), "{error:?}");
}

#[test]
fn a_refused_write_is_mended_in_one_crossing_and_its_chain_goes_along() {
    let cloud = Cloud::new();
    let (home, create, edit) = refused(&cloud);
    let mend = statement("UPDATE task SET title = ? WHERE title = 'refused'", &["good"]);
    let mended = block_on(home.client.edit(create.clone(), vec![mend])).unwrap().unwrap();
    assert_ne!(mended, create);
    assert_eq!(block_on(home.client.retry_chain(mended)).unwrap(), [edit]);
    sync(&home);
    assert_eq!((cloud.titles(), reasons(&home).len()), (vec!["more".to_owned()], 0));
}

#[test]
fn a_refused_write_is_mended_by_a_transaction_that_is_held() {
    let cloud = Cloud::new();
    let (home, create, _) = refused(&cloud);
    block_on(async {
        let tx = home.client.begin_edit(create.clone()).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(tx.edited(), None);
        let tx = home.client.begin_edit(create.clone()).await.unwrap();
        let set = "UPDATE task SET title = ?".to_owned();
        assert_eq!(tx.execute(set, vec![text("good")]).await.unwrap(), 1);
        assert_eq!(tx.edited(), None);
        tx.commit().await.unwrap();
        let mended = tx.edited().unwrap();
        assert!(home.client.pending().await.unwrap().iter().any(|one| one.id == mended));
        let again = home.client.begin_edit(create).await.unwrap_err();
        assert!(matches!(again, RejoinError::InvalidInput { .. }), "{again:?}");
    });
}

#[test]
fn a_chain_is_given_up_together() {
    let cloud = Cloud::new();
    let (home, create, edit) = refused(&cloud);
    let gone = block_on(home.client.discard_chain(create.clone())).unwrap();
    assert_eq!((gone, reasons(&home).len()), (vec![create, edit], 0));
}

/// Passes on what it hears, and throws.
struct Ears(Mutex<Sender<Verdicts>>);

impl VerdictObserver for Ears {
    fn on_verdicts(&self, verdicts: Verdicts) -> Result<(), RejoinError> {
        let _ = self.0.lock().unwrap().send(verdicts);
        Err(RejoinError::Callback { reason: "IllegalStateException".to_owned() })
    }
}

#[test]
fn verdicts_are_told_until_they_are_acknowledged_and_each_once_to_a_subscription() {
    let cloud = Cloud::new();
    let (home, create, edit) = refused(&cloud);
    let news = block_on(home.client.verdicts(10)).unwrap();
    let told: Vec<_> = news.entries.iter().map(|one| (&one.id, one.kind, one.reason)).collect();
    let parked = VerdictKind::Parked;
    assert_eq!(
        told,
        [(&create, parked, Some(ParkReason::Rejected)), (&edit, parked, Some(ParkReason::Depends))]
    );
    let [first, second] = news.entries.as_slice() else { panic!("{news:?}") };
    assert!(first.detail.is_some() && first.at_ms > 0 && first.attempt == 1 && news.missed == 0);
    assert_eq!(second.because_of.as_ref(), Some(&create));
    assert_eq!(block_on(home.client.verdicts(1)).unwrap().entries, std::slice::from_ref(first));
    block_on(home.client.acknowledge_verdicts(first.number)).unwrap();
    let (tell, told) = mpsc::channel();
    let subscription = home.client.watch_verdicts(Arc::new(Ears(Mutex::new(tell))));
    assert_eq!(next(&told).entries, std::slice::from_ref(second));
    let id = wrote(&home, "INSERT INTO task (id, title) VALUES ('t2', 'good')");
    sync(&home);
    let accepted = next(&told).entries;
    assert_eq!((&accepted[0].id, accepted[0].kind), (&id, VerdictKind::Accepted));
    subscription.cancel();
    let left = block_on(home.client.verdicts(10)).unwrap().entries;
    assert_eq!(left, [vec![second.clone()], accepted].concat(), "told is not known");
}

#[test]
fn what_was_accepted_is_shown_taken_back_and_done_again() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    home.runs("INSERT INTO task (id, title) VALUES ('t1', 'one')");
    sync(&home);
    let edit = wrote(&home, "UPDATE task SET title = 'two'");
    assert_eq!(block_on(home.client.undo(edit)), Ok(Undone::GivenUp));
    let edit = wrote(&home, "UPDATE task SET title = 'two'");
    sync(&home);
    let history = block_on(home.client.history(1)).unwrap();
    let [newest] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!((&newest.id, &newest.undoes), (&edit, &None));
    assert!(newest.accepted_ms >= newest.written_ms && newest.seq > 0 && newest.attempt == 1);
    assert_eq!(newest.rows[0].operation, PatchKind::Update);
    let title = newest.rows[0].columns.iter().find(|column| column.name == "title").unwrap();
    assert_eq!((&title.old_value, &title.new_value), (&text("one"), &text("two")));
    let Undone::By { id } = block_on(home.client.undo(edit.clone())).unwrap() else { panic!() };
    sync(&home);
    assert_eq!(cloud.titles(), ["one"]);
    assert_eq!(block_on(home.client.history(1)).unwrap()[0].undoes, Some(edit.clone()));
    assert_ne!(id, edit);
    assert!(matches!(block_on(home.client.redo(edit.clone())), Ok(Undone::By { .. })));
    sync(&home);
    assert_eq!(cloud.titles(), ["two"]);
    let bounds = HistoryBounds { count: Some(1), bytes: None, age_seconds: None };
    assert_eq!(block_on(home.client.prune(bounds)), Ok(3));
    let error = block_on(home.client.undo(edit)).unwrap_err();
    assert!(matches!(error, RejoinError::InvalidInput { .. }), "{error:?}");
}

#[test]
fn what_has_changed_since_is_not_taken_back_and_the_rows_are_shown() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    let id = wrote(&home, "INSERT INTO task (id, title) VALUES ('t1', 'one')");
    sync(&home);
    home.runs("UPDATE task SET title = 'later'");
    let error = block_on(home.client.undo(id)).unwrap_err();
    let RejoinError::Changed { rows, .. } = &error else { panic!("{error:?}") };
    assert_eq!((rows[0].table.as_str(), &rows[0].key), ("task", &text("t1")));
    assert_eq!(rows[0].columns, ["title"]);
    let titles = [&rows[0].wrote, &rows[0].present].map(|row| {
        row.as_ref().unwrap().iter().find(|it| it.name == "title").map(|it| it.value.clone())
    });
    assert_eq!(titles, [Some(text("one")), Some(text("later"))]);
}

#[test]
fn a_file_begins_anew_when_all_that_waits_is_named() {
    let cloud = Cloud::new();
    let home = synced(&cloud);
    block_on(home.client.stop()).unwrap();
    home.runs("CREATE TABLE draft (id TEXT)");
    home.runs("INSERT INTO draft VALUES ('d')");
    let id = wrote(&home, "INSERT INTO task (id, title) VALUES ('t1', 'one')");
    let error = block_on(home.client.reset(Keep::Nothing, vec![])).unwrap_err();
    assert!(matches!(error, RejoinError::Unsent { waiting: 1, .. }), "{error:?}");
    let kept = block_on(home.client.reset(Keep::Pending, vec![])).unwrap();
    assert!(kept.given_up.is_empty());
    let gone = block_on(home.client.reset(Keep::Local, vec![id.clone()])).unwrap();
    assert_eq!((gone.given_up.len(), gone.rows, gone.local_rows), (1, 1, 0));
    assert_eq!((&gone.given_up[0].id, gone.given_up[0].state), (&id, MutationState::Pending));
    assert_eq!(home.sees("SELECT id FROM draft"), ["d"]);
    assert_eq!(block_on(home.client.reset(Keep::Nothing, vec![])).unwrap().local_rows, 1);
}

#[test]
fn a_device_has_a_policy_of_its_own_for_a_table() {
    let cloud = Cloud::new();
    let one = synced(&cloud);
    one.runs("INSERT INTO task (id, title) VALUES ('t1', 'first')");
    sync(&one);
    for (policy, title) in
        [(ConflictPolicy::Rebase, "mine"), (ConflictPolicy::AcceptServer, "theirs")]
    {
        let change = |config: &mut rejoin_ffi::ClientConfig| {
            config.server_url = Some(URL.to_owned());
            config.policies = Some([("task".to_owned(), policy)].into());
        };
        let two = Home::with(change, None, Some(Arc::clone(&cloud) as _));
        sync(&two);
        block_on(two.client.stop()).unwrap();
        one.runs("UPDATE task SET title = 'theirs'");
        sync(&one);
        two.runs("UPDATE task SET title = 'mine'");
        sync(&two);
        assert_eq!(cloud.titles(), [title], "{policy:?}");
        one.runs("UPDATE task SET title = 'between'");
        sync(&one);
    }
}
