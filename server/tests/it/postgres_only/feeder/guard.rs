//! A server without an installed resolver does not remove it: it does not start, or stops serving,
//! unless configured to.

use std::process::Output;

use rejoin_server::{Config, Server, ServerError};

use super::{A, B, configure, document, fed, give, put, restart, world};
use crate::binary::rejoin;
use crate::world::{Backend, World};

/// What is installed: the triggers, and the buckets of rows.
fn installed(world: &World) -> String {
    let triggers = world.one(
        "SELECT string_agg(oid || ' ' || tgenabled::text, ',' ORDER BY oid) FROM pg_trigger WHERE starts_with(tgname, '~rejoin')",
    );
    let members = "SELECT string_agg(record_id || ' ' || bucket, ',' ORDER BY record_id, bucket) FROM rejoin_member";
    triggers + &world.one(members)
}

fn lost(config: Config) -> Vec<String> {
    match Server::open(config) {
        Err(ServerError::ResolverMissing { tables }) => tables,
        other => panic!("{other:?}"),
    }
}

/// The same tables without the resolver, as in the binary; and without the table.
fn unknowing(world: &World) -> [Config; 2] {
    let mut plain = world.config.clone();
    plain.tables[0].bucket_resolver = None;
    let mut without = plain.clone();
    without.tables = vec![rejoin_server::TableConfig::owned("letters", "owner")];
    [plain, without]
}

fn run(world: &World, settings: &str, arguments: &[&str]) -> Output {
    let text = format!(
        "store = \"{}\"\n{settings}\nauth = {{ header = \"X-User-ID\" }}\nlisten = \"127.0.0.1:0\"\n\
         [[tables]]\nname = \"documents\"\nowner_column = \"owner\"\n\
         [[tables]]\nname = \"notes\"\nparent_table = \"documents\"\nparent_fk_col = \"document\"\n",
        world.database.as_ref().unwrap().url
    );
    std::fs::write(world.folder.path().join("rejoin.toml"), text).unwrap();
    rejoin(world.folder.path(), arguments).output().unwrap()
}

#[tokio::test]
async fn server_without_the_resolver_refuses_to_start() {
    let (world, _) = world(Backend::Postgres);
    world.write("CREATE TABLE letters(id text PRIMARY KEY, owner text, updated_at text)");
    give(&world, &["x"]);
    put(&world, A, "x", "a");
    fed(&world.server);
    let mut x = world.device("x", "d").await;
    assert_eq!(x.snapshot(9).await, [document(A)]);
    let before = installed(&world);
    for config in unknowing(&world) {
        assert_eq!(lost(config.clone()), ["documents"]);
        assert_eq!(lost(config.dropping_resolver("letters")), ["documents"]);
    }
    for command in [&["serve"][..], &["check"], &["compact"], &["replay"], &["rls", "--print"]] {
        let output = run(&world, "", command);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{command:?}");
        assert!(words.contains("documents") && words.contains("drop_resolvers"), "{words}");
    }
    // Commands that only inspect the database work.
    let seen = |arguments: &[&str]| {
        let output = run(&world, "", arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(seen(&["clients"]).contains("x\td\t"));
    assert!(seen(&["schema", "--history"]).starts_with(&format!("{}\t{}", x.version, x.hash)));
    assert!(seen(&["schema"]).contains(&x.hash));
    assert_eq!(installed(&world), before, "nothing was removed or recreated");
    put(&world, B, "x", "b");
    fed(&world.server);
    assert_eq!(x.pull().await, [document(B)], "and no device rebuilds");
}

/// A running server without the resolver cannot serve the table, and reports it.
#[tokio::test]
async fn running_server_stops_serving_when_a_resolver_appears() {
    let (mut world, _) = world(Backend::Postgres);
    let table = world.config.tables[0].clone();
    world.config = world.config.dropping_resolver("documents");
    world.config.tables[0].bucket_resolver = None;
    restart(&mut world);
    world.config.drop_resolvers.clear();
    restart(&mut world);
    let ready = world.server.readiness();
    assert!(ready.is_ready(), "{ready:?}");
    let mut host = world.config.clone();
    host.tables[0] = table;
    if host.row_security.is_some() {
        let script = rejoin_server::row_security(&host).unwrap();
        world.database.as_ref().unwrap().session().run(&script);
    }
    let host = Server::open(host).unwrap();
    let before = installed(&world);
    let (status, ..) = world.send("GET", "/readyz", &[], "").await;
    let why = world.server.readiness().schema.failing;
    assert_eq!((status, why), (503, Some("the tables can no longer be synced")));
    assert!(host.readiness().is_ready());
    assert_eq!(installed(&world), before);
}

#[tokio::test]
async fn resolver_is_removed_if_configured() {
    let (mut world, readers) = world(Backend::Postgres);
    give(&world, &["x"]);
    put(&world, A, "x", "a");
    fed(&world.server);
    world.server.shutdown();
    let dropping = "drop_resolvers = [\"documents\"]";
    if world.config.row_security.is_none() {
        let output = run(&world, dropping, &["check"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let [plain, _] = unknowing(&world);
    world.config = plain.clone().dropping_resolver("documents");
    restart(&mut world);
    assert_eq!(world.device("x", "d").await.snapshot(9).await, [""; 0]);
    world.config = plain;
    restart(&mut world);
    // It is removed: a repeated setting has no effect, and a new resolver is installed as new.
    world.config.tables.clear();
    world.config = configure(&readers)(world.config.clone());
    restart(&mut world);
    fed(&world.server);
    assert_eq!(readers.asked(), ["create a ->x", "create a ->x"]);
    assert_eq!(world.device("x", "d").await.snapshot(9).await, [document(A)]);
}
