//! The log over both databases: the contract of log stores, order of commits, failures, and the rows
//! in the application's own tables.

use rejoin_log::fixture::{image, row};
use rejoin_log::server::store::LogStore as _;
use rejoin_server::store::{read, write};

use fixture::{NOW, fresh};

mod batch;
mod current;
mod failures;
mod fixture;
mod order;
mod refused;
mod security;
mod wrapped;

mod sqlite {
    use super::fixture::{each_call, fresh};
    use crate::world::Backend;

    rejoin_log::log_store_contract!(each_call(&fresh(Backend::Sqlite)));

    mod batched {
        use crate::log_store::fixture::in_batch;
        use crate::world::Backend;

        rejoin_log::log_store_contract!(run: |clause| in_batch(Backend::Sqlite, clause));
    }
}

mod postgres {
    use super::fixture::{each_call, fresh};
    use crate::world::Backend;

    rejoin_log::log_store_contract!(each_call(&fresh(Backend::Postgres)));

    mod batched {
        use crate::log_store::fixture::in_batch;
        use crate::world::Backend;

        rejoin_log::log_store_contract!(run: |clause| in_batch(Backend::Postgres, clause));
    }
}

#[macro_rules_attribute::apply(stores!)]
fn base_rows_are_read_in_parts(backend: crate::world::Backend) {
    let fresh = fresh(backend);
    let store = &*fresh.store;
    write(store, NOW, |writing| {
        let mut log = writing.log();
        for id in ["r1", "k9", "r0", "r\u{e9}", "k0"] {
            log.put_base(&row(id), Some(&image("a", id))).map_err(|error| log.fault(error))?;
        }
        Ok(())
    })
    .unwrap();
    let part = |after: Option<&str>, limit| {
        let after = after.map(row);
        let found = read(store, |reading| {
            let log = reading.log();
            log.base_after(after.as_ref(), limit).map_err(|error| log.fault(error))
        });
        found.unwrap().into_iter().map(|(row, _)| row.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(part(None, 9), ["k0", "k9", "r0", "r1", "r\u{e9}"]);
    assert_eq!(part(None, 2), ["k0", "k9"]);
    assert_eq!(part(Some("k9"), 2), ["r0", "r1"], "the next table follows");
    assert_eq!(part(Some("k5"), 1), ["k9"], "the row itself need not be there");
    assert_eq!(part(Some("r\u{e9}"), 2), [""; 0]);
}

#[macro_rules_attribute::apply(stores!)]
fn a_read_transaction_refuses_writes(backend: crate::world::Backend) {
    let fresh = fresh(backend);
    let refused = read(&*fresh.store, |reading| {
        let mut log = reading.log();
        Ok(log.put_base(&row("r0"), None).unwrap_err().0)
    });
    assert_eq!(refused.unwrap(), "a read transaction writes nothing: use Store::write");
}
