//! The recorded sessions in order, with the operator's changes between them.

use rejoin_server::{Auth, JwtConfig};

use super::run::{ANNA, BEN, HASH, Run};
use super::tables::{TABLES, owned};

/// The stock server: bootstrap, first rows, last writer wins, bad records, deletes, moves, values,
/// a schema change.
pub(super) fn stock() -> Run {
    let mut run = Run::new("2026-11-20T06:41:50Z", TABLES, owned);
    run.headers.push(("X-App-Version".to_owned(), "1.3.0".to_owned()));
    begin(&mut run);
    first_rows(&mut run);
    last_writer_wins(&mut run);
    bad_records(&mut run);
    deletes(&mut run);
    moves(&mut run);
    values(&mut run);
    schema_changes(&mut run);
    run
}

fn begin(run: &mut Run) {
    run.replay("01-schema");
    run.replay("02-tables");
    run.names_user = false;
    run.replay("03-schema-noauth");
    run.names_user = true;
    run.replay_all(ANNA, 4..=19);
    run.is_now(0);
    run.replay("20-pull-after-empty-snapshot");
    run.register(BEN, "b1");
}

fn first_rows(run: &mut Run) {
    let at = "2026-11-20T06:41:50.865967Z";
    run.sql(at, &product("a1", "'Widget', 9.99, 100, 0, x'00ff10'"));
    run.is_now(1);
    run.sql(at, &product("a2", "'Gizmo', 4.5, 1, 1, NULL"));
    run.is_now(2);
    run.sql(
        "2026-11-20T06:41:50.878475Z",
        "INSERT INTO categories (id, name, description, search_tags)
         VALUES ('00000000-0000-0000-0000-0000000000c1', 'Electronics', 'x', '[\"a\",\"b\"]')",
    );
    run.is_now(3);
    run.replay("30-push-create-parent-child");
    run.replay("31-push-create-retry");
    run.replay_all(ANNA, 32..=34);
    run.replay("35-pull-after-snapshot");
    run.replay("36-pull-known-buckets");
    run.replay_as(BEN, "37-snapshot-other-user-leak");
    run.replay("38-pull-limit-and-order");
    run.replay("39-pull-tables-filter");
}

fn product(end: &str, values: &str) -> String {
    format!(
        "INSERT INTO products (id, name, unit_price, units_in_stock, discontinued, thumbnail)
         VALUES ('00000000-0000-0000-0000-0000000000{end}', {values})"
    )
}

fn last_writer_wins(run: &mut Run) {
    run.replay_all(ANNA, 40..=58);
    run.replay_as(BEN, "59-no-rls-cross-user-update");
    // Ours keeps Anna's row; the session continues with the row of the recorded server.
    run.sql("2026-11-20T06:42:51.806299Z", &order("d1", "ship_address = 'HACKED'"));
}

fn order(end: &str, set: &str) -> String {
    format!("UPDATE orders SET {set} WHERE id LIKE '%-{end:0>12}'")
}

fn bad_records(run: &mut Run) {
    for name in [
        "60-batch-poison-unknown-column",
        "61-batch-bad-enum",
        "62-batch-bad-uuid",
        "63-batch-fk-violation",
        "64-batch-child-before-parent",
    ] {
        run.replay(name);
        // The recorded server had kept nothing of the batch.
        run.alter("DELETE FROM order_details WHERE id LIKE '%-000000000f0_'");
        run.alter("DELETE FROM orders WHERE id LIKE '%-000000000f0_'");
    }
    run.replay("65-batch-mixed-terminal");
    run.is_now(14);
}

fn deletes(run: &mut Run) {
    run.replay_all(ANNA, 70..=76);
    let gone = "DELETE FROM order_details WHERE id LIKE '%-0000000000e1';
                DELETE FROM orders WHERE id LIKE '%-000000000f02'";
    run.sql("2026-11-20T06:42:53.5Z", gone);
    run.replay("77-pull-hard-delete");
}

fn moves(run: &mut Run) {
    run.sql("2026-11-20T06:42:54.083652Z", &order("f00", &format!("user_id = '{BEN}'")));
    run.replay("80-bucket-move-old-owner");
    run.replay_as(BEN, "81-bucket-move-new-owner");
    let taken = format!("UPDATE categories SET user_id = '{ANNA}' WHERE id LIKE '%-0000000000c1'");
    run.sql("2026-11-20T06:42:54.6Z", &taken);
    run.replay("82-global-to-user-owner");
    run.replay_as(BEN, "83-global-to-user-other");
    run.replay("84-create-family");
    run.is_now(25);
    run.sql("2026-11-20T06:42:55.735395Z", &order("ab1", &format!("user_id = '{BEN}'")));
    run.replay_as(BEN, "85-parent-move-child-stale");
    run.is_now(27);
    run.sql("2026-11-20T06:42:56.2Z", &order("d1", "ship_address = ship_address || 'x'"));
    run.sql("2026-11-20T06:42:56.276994Z", &order("d1", "ship_address = ship_address || 'y'"));
    run.replay("86-pull-dedup");
}

fn values(run: &mut Run) {
    for name in [
        "90-array-as-json-array",
        "92-json-as-string",
        "94-numeric-string",
        "95-empty-batch",
        "96-push-null-changes",
        "97-bad-client-time",
        "91-array-as-string",
        "93-int-as-float",
        "93b-int-as-1e3",
        "94b-future-clock",
        "100-pull-negative-checkpoint",
        "101-pull-checkpoint-ahead",
    ] {
        run.replay(name);
    }
    let version = run.headers.pop().unwrap();
    run.replay_as("AAAAAAAA-1111-1111-1111-111111111111", "102-upper-case-user");
    run.headers.push(version);
    run.replay("103-register-malformed-app-version");
}

fn schema_changes(run: &mut Run) {
    run.known.positions.insert(10, run.known.positions[&5]);
    run.alter("ALTER TABLE products ADD COLUMN color text NOT NULL DEFAULT 'red'");
    run.replay("110-pull-after-schema-change");
    run.replay("111-schema-v2");
    run.alter("ALTER TABLE products DROP COLUMN color");
    run.replay("112-schema-reverted");
    run.alter("ALTER TABLE products ADD COLUMN area point");
    run.replay("113-schema-unsupported-type");
}

/// A column that only the server can fill.
pub(super) fn server_only() -> Run {
    let with_code = TABLES.replacen(
        "user_id uuid NOT NULL,",
        "user_id uuid NOT NULL, code text NOT NULL DEFAULT (lower('X')),",
        1,
    );
    let mut run = Run::new("2026-11-20T06:43:53Z", &with_code, owned);
    run.replay("114-schema-server-only-notnull");
    run
}

/// A server mounted as a library, with row-level access: other users' rows, vetoes, clocks, the end
/// of the log.
pub(super) fn library() -> Run {
    let mut run = Run::new("2026-11-20T06:44:52Z", TABLES, |config| {
        let mut config = owned(config);
        config.limits.plain_clock_ms = 5_000;
        config
    });
    run.schema_is(1, HASH);
    run.is_now(0);
    for (user, client) in [(ANNA, "c1"), (ANNA, "c2"), (ANNA, "stale"), (BEN, "b1")] {
        run.register(user, client);
        run.snapshot(user, client);
    }
    run.sql(
        "2026-11-20T06:44:52.580763Z",
        "INSERT INTO categories (id, name) VALUES ('00000000-0000-0000-0000-0000000000c1', 'Glob')",
    );
    run.is_now(1);
    run.replay("120-rls-setup");
    run.replay_as(BEN, "121-rls-snapshot-b");
    run.replay_all(BEN, 122..=125);
    run.alter(
        "CREATE TRIGGER veto BEFORE INSERT ON orders WHEN NEW.ship_address = 'v'
         BEGIN SELECT RAISE(ABORT, 'vetoed'); END",
    );
    run.replay("128-hook-veto");
    run.replay_all(ANNA, 129..=134);
    run.is_now(5);
    run.compact();
    run.replay("141-after-compaction-write");
    run.replay("142-pull-false-snapshot-required");
    run.replay("146-snapshot-cursor-tamper");
    run.replay_as(BEN, "126-rls-update-global");
    run.replay_as(BEN, "127-rls-delete-global");
    moved_family(&mut run);
    run
}

fn moved_family(run: &mut Run) {
    run.replay("128b-setup");
    run.is_now(13);
    run.sql("2026-11-20T06:45:55.826186Z", &order("51", &format!("user_id = '{BEN}'")));
    let touched = "UPDATE order_details SET quantity = 5 WHERE id LIKE '%-000000000052'";
    run.sql("2026-11-20T06:45:55.87015Z", touched);
    run.replay("148-rls-moved-family-old");
    run.replay_as(BEN, "149-rls-moved-family-new");
    let deleted = format!(
        "INSERT INTO orders (id, user_id, deleted_at)
         VALUES ('00000000-0000-0000-0000-000000000061', '{ANNA}', '2026-11-20T06:45:56.680533Z')"
    );
    run.sql("2026-11-20T06:45:56.680533Z", &deleted);
    run.replay("149b-insert-already-deleted");
    run.database_goes();
    run.replay("150-db-closed-503");
    run.replay("151-db-closed-schema-500");
}

/// Apps that are too old, and credentials.
pub(super) fn doors() -> Vec<Run> {
    let mut aged = Run::new("2026-11-20T06:46:00Z", TABLES, |config| {
        let mut config = owned(config);
        config.min_app_version = Some("1.2.0".to_owned());
        config
    });
    aged.schema_is(1, HASH);
    let versions = [
        (Some("1.1.9"), "170-426-header"),
        (Some("banana"), "171-426-garbage-version"),
        (None, "172-no-version-header"),
        (None, "173-426-register-body"),
        (None, "174-register-garbage-appversion"),
        (Some("v1.2.0-beta"), "175-prerelease"),
    ];
    for (version, name) in versions {
        aged.headers = version
            .map(|version| ("X-App-Version".to_owned(), version.to_owned()))
            .into_iter()
            .collect();
        aged.replay(name);
    }
    let mut guarded = Run::new("2026-11-20T06:46:03Z", TABLES, owned);
    guarded.schema_is(1, HASH);
    guarded.names_user = false;
    let mut jwt = JwtConfig::new("a secret of thirty-two bytes or more", "", "");
    (jwt.issuer, jwt.audience, jwt.user_claim) = (None, None, "uid".to_owned());
    for (claims, needs_expiry, name) in [
        (Some(format!(r#"{{"uid":"{ANNA}"}}"#)), false, "180-jwt-ok"),
        (None, true, "181-jwt-missing"),
        (Some(format!(r#"{{"uid":"{ANNA}","exp":1}}"#)), true, "182-jwt-expired"),
        (Some(String::from("bad")), true, "183-jwt-bad-sig"),
        (Some(format!(r#"{{"sub":"{ANNA}"}}"#)), false, "184-jwt-no-claim"),
        (Some(format!(r#"{{"uid":"{ANNA}"}}"#)), true, "185-jwt-no-exp"),
    ] {
        jwt.require_expiry = needs_expiry;
        guarded.config.auth = Auth::Jwt(jwt.clone());
        guarded.restart();
        guarded.headers.clear();
        if let Some(claims) = claims {
            let token = super::token(&claims, &jwt.secret);
            guarded.headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        }
        guarded.replay(name);
    }
    vec![aged, guarded]
}

/// Every type of value, and an unreachable database.
pub(super) fn types() -> Run {
    let wider = "ALTER TABLE orders ADD COLUMN blob bytea; ALTER TABLE orders ADD COLUMN price decimal text;
        ALTER TABLE orders ADD COLUMN flag boolean; ALTER TABLE orders ADD COLUMN tstz timestamptz;
        ALTER TABLE orders ADD COLUMN tm time; ALTER TABLE orders ADD COLUMN iv text";
    let mut run = Run::new("2026-11-20T06:46:05Z", &format!("{TABLES};{wider}"), owned);
    run.schema_is(3, "725bcd71698442fff755c5c96b8974b721c379c1a23e63129e8f6546cdc8c925");
    run.register(ANNA, "c1");
    run.snapshot(ANNA, "c1");
    run.is_now(1);
    run.is_now(1542);
    run.replay_all(ANNA, 190..=196);
    run.replay("199-push-after-walsender-kill");
    run.database_goes();
    run.replay("197-pg-down");
    run.replay("198-pg-down-2");
    run
}

/// Settings from the documentation of v0.1.2, and columns that it cannot carry.
pub(super) fn settings() -> Run {
    let before = "INSERT INTO products (id, name) VALUES
        ('1bfdb133-180b-4090-8f11-b24248bf5044', 'b'), ('9bfdb133-180b-4090-8f11-b24248bf5044', 'a');
        UPDATE products SET updated_at = '2026-11-20T06:53:09.372331Z'";
    let mut run = Run::new("2026-11-20T06:53:09Z", &format!("{TABLES};{before}"), owned);
    run.schema_is(1, "9d380feefceaa9083dbf2b12385f529507ecc3190c3bb0d3d63d30d1dd903bc2");
    run.register(ANNA, "c1");
    run.register(ANNA, "c2");
    run.replay("210-snapshot-empty-log");
    run.is_now(0);
    run.snapshot(ANNA, "c2");
    run.replay("211-child-bucket-setup");
    run.is_now(5);
    run.replay("212-child-bucket-never-delivered");
    run.replay("213-sync-columns-pull");
    run.replay("214-base-sqlite-format");
    run.alter("ALTER TABLE orders ADD COLUMN gen text GENERATED ALWAYS AS (upper(ship_address))");
    run.replay("215-schema-generated");
    run.replay("216-push-generated");
    run.alter("ALTER TABLE products ADD COLUMN seen_at timestamptz(3)");
    run.replay("217-timestamptz-precision");
    run
}

/// A pull of some of the tables.
pub(super) fn filter() -> Run {
    let mut run = Run::new("2026-11-20T07:02:37Z", TABLES, owned);
    run.schema_is(1, HASH);
    run.register(ANNA, "c");
    run.snapshot(ANNA, "c");
    run.is_now(0);
    let rows = format!(
        "INSERT INTO orders (id, user_id) VALUES ('00000000-0000-0000-0000-000000000001', '{ANNA}');
         INSERT INTO products (id, name) VALUES ('8a9f5a9c-e62e-4e00-aa65-156da616cca6', 'p')"
    );
    run.sql("2026-11-20T07:02:38.10339Z", &rows);
    run.replay("221-tables-filter-step1");
    run.replay("222-tables-filter-step2");
    run
}
