//! A batched publish stores what an unbatched one stores, with few statements.

use macro_rules_attribute::apply;
use rejoin_log::effect::Effect;
use rejoin_log::entry::{Offer, Revision};
use rejoin_log::fixture::{author, columns, image, row};
use rejoin_log::message::Publish;
use rejoin_protocol::Value;
use rejoin_server::error::Fault;
use rejoin_server::store::{Writing, write};

use super::fixture::{
    Fresh, NOW, TIME, create, fault, fresh, insert, offer, publish, request, server,
};
use crate::world::Backend;

/// Requests of three authors with few rows, at keys that often come late; some offers come again
/// with another content.
fn requests(seed: u64) -> Vec<(u128, Publish)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut sent: Vec<Offer> = Vec::new();
    let mut requests = Vec::new();
    for number in 1..=12 {
        let by = rng.u128(1..=3);
        let mut offers = Vec::new();
        for _ in 0..rng.usize(1..12) {
            let mut effects = Vec::new();
            for _ in 0..rng.usize(1..4) {
                let id = ["r0", "r1", "r2", "k0"][rng.usize(..4)];
                let text = rng.u8(..5).to_string();
                // The authors may not write in `c`: such an entry ends its request.
                let to = if rng.u8(..32) == 0 { "c" } else { ["a", "b", "a b"][rng.usize(..3)] };
                effects.push((
                    row(id),
                    match rng.u8(..6) {
                        0 | 1 => Effect::Insert(image(to, &text)),
                        2 => Effect::Delete,
                        3 => Effect::Update(columns("buckets", to)),
                        _ => Effect::Update(columns("text", text.as_str())),
                    },
                ));
            }
            let mut made = offer(by, rng.u64(1..900), effects.into_iter().collect());
            made.revision = Revision(rng.u32(..3));
            sent.push(made.clone());
            offers.push(made);
        }
        let own: Vec<&Offer> = sent.iter().filter(|of| of.key.author == author(by)).collect();
        let mut again = own[rng.usize(..own.len())].clone();
        again.revision = Revision(4);
        again.effects = [(row("r0"), Effect::Delete), (row("r3"), Effect::Insert(image("a", "x")))]
            .into_iter()
            .collect();
        offers.push(again);
        requests.push((by, request(number, offers)));
    }
    requests
}

fn publish_alone(fresh: &Fresh, by: u128, request: &Publish) -> Result<(), Fault> {
    write(&*fresh.store, NOW, |writing| {
        let log = writing.log();
        let published = server(log).publish(author(by), request, TIME);
        published.map(drop).map_err(|error| fault(log, error))
    })
}

#[apply(stores!)]
fn batched_publish_stores_what_an_unbatched_one_does(backend: Backend) {
    for seed in 0..4 {
        let (batched, alone) = (fresh(backend), fresh(backend));
        for fresh in [&batched, &alone] {
            create(&*fresh.store, 3);
        }
        for (by, request) in requests(seed) {
            publish_alone(&alone, by, &request).unwrap();
            publish(&*batched.store, by, request.number, request.offers).unwrap();
            assert_eq!(batched.all(), alone.all(), "seed {seed}, request {}", request.number);
        }
        assert!(batched.rows(&["rejoin_log_entry"]).len() > 30);
    }
}

/// The number of statements that this connection executed.
fn executed(writing: &dyn Writing) -> i64 {
    let sql = "SELECT sum(generic_plans + custom_plans)::bigint FROM pg_prepared_statements";
    match writing.query(sql, &[]).unwrap()[0][0] {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn hundred_new_entries_cost_few_statements_on_postgres() {
    let fresh = fresh(Backend::Postgres);
    create(&*fresh.store, 2);
    for number in 1..=3 {
        let numbers = number * 1_000..number * 1_000 + 100;
        let offers = numbers.map(|number| insert(2, number, &format!("r{number}"))).collect();
        let publish = request(number, offers);
        let count = write(&*fresh.store, NOW, |writing| {
            let log = writing.log();
            let mut server = server(log);
            let before = executed(writing);
            let published = log.batched(|| server.publish(author(2), &publish, TIME));
            published.map_err(|error| fault(log, error))?;
            Ok(executed(writing) - before)
        });
        // The author, its membership, the author again, the ids, two reads and three writes, the
        // facts, and the query that counts.
        assert!(count.as_ref().is_ok_and(|count| *count <= 12), "{count:?}");
    }
    assert_eq!(fresh.rows(&["r"]).len(), 300);
}

#[apply(stores!)]
fn error_of_a_batch_is_named_and_leaves_nothing(backend: Backend) {
    let fresh = fresh(backend);
    create(&*fresh.store, 1);
    let before = fresh.all();
    fresh.run(match backend {
        Backend::Sqlite => {
            "CREATE TRIGGER refuses BEFORE INSERT ON rejoin_log_link WHEN new.row_id = 'k1'
             BEGIN SELECT raise(ABORT, 'not this link'); END"
        }
        _ => {
            "CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'not this link'; END $$;
             CREATE TRIGGER refuses BEFORE INSERT ON rejoin.log_link FOR EACH ROW
             WHEN (new.row_id = 'k1') EXECUTE FUNCTION refuses()"
        }
    });
    let offers = |number| vec![insert(1, number, "r1"), insert(1, number + 1, "k1")];
    let failed = publish(&*fresh.store, 1, 1, offers(1)).unwrap_err().to_string();
    assert!(failed.contains("not this link"), "{failed}");
    assert_eq!(fresh.all(), before);
    publish(&*fresh.store, 1, 1, vec![insert(1, 9, "r1")]).unwrap();
    assert_eq!(fresh.rows(&["r", "k"]).len(), 1);
}
