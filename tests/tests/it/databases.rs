//! Several databases behind one nginx, which knows only addresses.

use rejoin_tests::{Backend, Nginx, Store};

use crate::client::{PATIENCE, Phone, Served};
use crate::{apply, each_store};

/// nginx as docs/scale.md configures it.
#[apply(each_store)]
fn nginx_chooses_the_database_of_a_group(store: Store) {
    let groups = [Backend::on(store), Backend::on(store)];
    let served = groups.each_ref().map(Served::uncounted);
    let folder = tempfile::tempdir().unwrap();
    let page = include_str!("../../../docs/scale.md").split("## Several databases").nth(1).unwrap();
    let replaced = [
        ("http://127.0.0.1:8081", served[0].url.as_str()),
        ("http://127.0.0.1:8082", served[1].url.as_str()),
    ];
    let nginx = Nginx::start(page, &replaced, folder.path());
    let phone = |group: &str| {
        let phone = Phone::new("ana", Some(&format!("{}/{group}", nginx.url)));
        phone.client.start().unwrap();
        phone.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
        phone
    };
    let phones = ["north", "south"].map(|group| {
        let phone = phone(group);
        phone.run(&format!("INSERT INTO places (id, name) VALUES ('p1', '{group}')"));
        assert_eq!(phone.sync().still_pending, 0);
        phone
    });
    for (at, group) in ["north", "south"].into_iter().enumerate() {
        let rows = format!("p1={group}");
        assert_eq!(phones[at].names(), rows);
        assert_eq!(phone(group).names(), rows, "another device of the group");
        assert_eq!(groups[at].side_session().texts("SELECT name FROM places"), [group]);
    }
    let requests = nginx.requests();
    assert!(requests.iter().any(|line| line.contains("/south/sync/push 200")), "{requests:#?}");
}
