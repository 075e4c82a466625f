//! Entries on a metered network.

use rejoin_core::{Metered, Network};
use rejoin_tests::{Device, Store};

use super::{SEATS, server};
use crate::client::{PATIENCE, Phone, Served};

#[test]
fn entry_is_published_on_a_metered_network_and_rows_are_not_pulled() {
    let server = server(Store::Sqlite);
    let network = Served::new(&server);
    let phone = Phone::with("ana", Some(&network.url), |config| config.metered = Metered::PushOnly);
    phone.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    phone.sync();
    phone.client.sync().set_network(Network { online: true, metered: true });
    let mut other = Device::new("ana", 5);
    other.sync(&server);
    other.write("INSERT INTO halls (id, name) VALUES ('p1', 'Hall')");
    other.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, 'other', 1)");
    other.sync(&server);
    phone.run("INSERT INTO seats VALUES ('s2', 'e1', NULL, 'phone', 2)");
    let queue = phone.client.queue();
    for _ in 0..600 {
        if queue.counts().wait().unwrap().pending == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(server.see(SEATS), "s1|e1|-|other|1 s2|e1|-|phone|2");
    let halls = "SELECT count(*) FROM halls";
    assert_eq!(phone.client.query_scalar(halls, ()).wait().unwrap(), Some(0_i64), "held back");
    phone.client.sync().set_network(Network { online: true, metered: false });
    phone.sync();
    assert_eq!(phone.client.query_scalar(halls, ()).wait().unwrap(), Some(1_i64));
}
