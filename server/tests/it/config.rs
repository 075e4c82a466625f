//! Configuration: all problems at once with their lines, the template, the environment.

use rejoin_protocol::manifest::SyncModel;
use rejoin_server::{Auth, Config, Problem, PushPolicy, Retention, config::TEMPLATE};

fn problems(text: &str) -> Vec<Problem> {
    Config::from_toml(text, &[]).expect_err("it is good")
}

fn places(problems: &[Problem]) -> Vec<(usize, String)> {
    let place = |problem: &Problem| (problem.line.unwrap_or(0), problem.place.clone());
    problems.iter().map(place).collect()
}

#[test]
fn template_is_valid() {
    let config = Config::from_toml(TEMPLATE, &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:7878");
    assert_eq!(config.tables[0].name, "tasks");
    assert_eq!(config.tables[0].push_policy(), PushPolicy::OwnerOnly);
    assert!(matches!(config.auth, Auth::Header { .. }));
}

/// The commented-out examples of the template are valid too.
#[test]
fn template_examples_are_valid() {
    let is_key = |rest: &&str| {
        let key = rest.split(" = ").next().unwrap_or_default();
        rest.contains(" = ") && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    let mut text = String::new();
    // Replaces the setting instead of adding to it.
    let template = TEMPLATE.replace("header = \"X-User-ID\"\n", "");
    for line in template.replace("database = \"app.db\"\n", "").lines() {
        let example = line.strip_prefix("# ").filter(|rest| rest.starts_with('[') || is_key(rest));
        text.push_str(example.unwrap_or(line));
        text.push('\n');
    }
    let config = Config::from_toml(&text, &[]).unwrap();
    assert_eq!(config.tables.len(), 3);
    assert!(matches!(config.auth, Auth::Jwt(_)) && config.store.is_some());
    assert_eq!(config.tables[1].rules.len(), 1);
}

/// The fenced blocks of a page: the fence's info string, and the text.
pub(crate) fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fenced = page.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

/// The configurations in a page.
fn settings(page: &str) -> Vec<&str> {
    let toml = blocks(page).into_iter().filter(|(fence, _)| *fence == "toml");
    toml.map(|(_, text)| text).collect()
}

#[test]
fn server_guide_configuration_is_valid() {
    let [base, log] = settings(include_str!("../../../docs/server.md"))[..] else {
        panic!("server")
    };
    let postgres = settings(include_str!("../../../docs/postgresql.md"));
    let [store, pooler, replica] = postgres[..] else { panic!("postgresql") };
    let access = settings(include_str!("../../../docs/access.md"));
    let [membership, rls] = access[..] else { panic!("access") };
    let members = Config::from_toml(&[base, membership].concat(), &[]).unwrap().membership.unwrap();
    assert_eq!(members.tables, ["team_member"]);
    let [pages] = settings(include_str!("../../../docs/scale.md"))[..] else { panic!("scale") };
    let with_pages = Config::from_toml(&[pages, base].concat(), &[]).unwrap();
    assert_eq!(with_pages.page_store.as_deref(), Some("s3://app-pages/rejoin"));
    let with_log = Config::from_toml(&[base, log].concat(), &[]).unwrap();
    assert_eq!(with_log.tables[2].sync, SyncModel::Log);
    let config = Config::from_toml(base, &[]).unwrap();
    assert_eq!((config.tables.len(), config.store.is_none()), (2, true));
    let store = [store, pooler, replica, rls].concat();
    let over_postgres = base.replace("database = \"app.db\"\n", &store);
    let config = Config::from_toml(&over_postgres, &[]).unwrap();
    assert!(config.store.is_some() && config.pooler.is_some() && config.row_security.is_some());
    assert!(config.replica.is_some());
}

#[test]
fn operations_guide_settings_are_valid() {
    let blocks = settings(include_str!("../../../docs/operate.md"));
    assert_eq!(blocks.len(), 3);
    let secret = [(String::from("REJOIN_AUTH_JWT_SECRET"), "s".repeat(32))];
    // In the file that `init` writes, as the page says, in place of the header.
    let tables = TEMPLATE.find("[[tables]]").unwrap();
    for (auth, environment) in [(blocks[0], &[][..]), (blocks[1], &secret)] {
        let text = format!("database = \"a.db\"\n{auth}{}{}", blocks[2], &TEMPLATE[tables..]);
        let config = Config::from_toml(&text, environment).unwrap();
        assert!(
            matches!(&config.auth, Auth::Jwt(jwt) if jwt.keys.is_some() == environment.is_empty())
        );
        assert_eq!(config.retention, Retention::default(), "what the guide shows are the defaults");
    }
}

#[test]
fn settings_of_tables_and_issuers_are_valid() {
    let with = |auth: &str, tables: &str| {
        Config::from_toml(&format!("database = \"a.db\"\n{auth}{tables}"), &[]).unwrap()
    };
    let [auth, issuers @ ..] = &settings(include_str!("../../../docs/sign-in.md"))[..] else {
        panic!("no settings");
    };
    let tables = settings(include_str!("../../../docs/tables.md"));
    assert_eq!((issuers.len(), tables.len()), (5, 8));
    let all = with(auth, &tables.concat());
    assert_eq!((all.tables.len(), all.membership.is_some()), (11, true));
    let streams = settings(include_str!("../../../docs/subscriptions.md"));
    assert_eq!(with(auth, &streams.concat()).streams.len(), 1);
    for issuer in issuers {
        let config = with(issuer, tables[0]);
        assert!(matches!(&config.auth, Auth::Jwt(jwt) if jwt.keys.is_some()), "{issuer}");
    }
}

#[test]
fn postgres_store_url_is_read_and_its_password_hidden() {
    let with = |store: &str| {
        let line = format!("store = \"{store}\"\n");
        Config::from_toml(&TEMPLATE.replace("database = \"app.db\"\n", &line), &[])
    };
    let config = with("postgres://rejoin:hushhush@localhost:5432/app").unwrap();
    let printed = format!("{config:?}");
    assert!(printed.contains("localhost") && !printed.contains("hushhush"), "{printed}");
    for wrong in ["mysql://localhost/app", "app.db", "postgres://localhost/app?sslmode=allow"] {
        let problems = with(wrong).unwrap_err();
        assert_eq!(problems[0].place, "store", "{wrong}: {problems:?}");
    }
    for (wrong, base) in
        [("app.db", "store = 'postgres://localhost/app'"), ("postgres://x/app", "")]
    {
        for key in ["pooler", "replica"] {
            let lines = format!("{key} = \"{wrong}\"\n{base}\n");
            let text = TEMPLATE.replace("database = \"app.db\"\n", &lines);
            let problems = Config::from_toml(&text, &[]).unwrap_err();
            assert!(problems.iter().any(|problem| problem.place == key), "{wrong}: {problems:?}");
        }
    }
    let both = TEMPLATE.replace("database =", "store = \"postgres://localhost/app\"\ndatabase =");
    let problems = Config::from_toml(&both, &[]).unwrap_err();
    assert_eq!(problems[0].place, "database", "{problems:?}");
}

#[test]
fn environment_database_replaces_that_of_the_file() {
    let store = (String::from("REJOIN_STORE"), String::from("postgres://localhost/app"));
    let file = (String::from("REJOIN_DATABASE"), String::from("other.db"));
    let config = Config::from_toml(TEMPLATE, std::slice::from_ref(&store)).unwrap();
    assert!(config.store.is_some() && config.database.as_os_str().is_empty());
    let over_postgres =
        TEMPLATE.replace("database = \"app.db\"", "store = \"postgres://localhost/app\"");
    let config = Config::from_toml(&over_postgres, std::slice::from_ref(&file)).unwrap();
    assert!(config.store.is_none() && config.database.to_str() == Some("other.db"));
    let further =
        "pooler = \"postgres://localhost:6432/app\"\nreplica = \"postgres://standby/app\"";
    let with_both = format!("{further}\n{over_postgres}");
    let config = Config::from_toml(&with_both, &[]).unwrap();
    assert!(config.pooler.is_some() && config.replica.is_some());
    let config = Config::from_toml(&with_both, std::slice::from_ref(&store)).unwrap();
    let has_both = config.pooler.is_some() && config.replica.is_some();
    assert!(has_both, "the start checks that all lead to the same database");
    let config = Config::from_toml(&with_both, std::slice::from_ref(&file)).unwrap();
    assert!(config.pooler.is_none() && config.replica.is_none());
    let problems = Config::from_toml(TEMPLATE, &[store, file]).unwrap_err();
    assert_eq!(problems[0].place, "database", "{problems:?}");
    assert!(problems[0].why.contains("REJOIN_STORE"), "{problems:?}");
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let text = r#"
listen = "everywhere"
databse = "app.db"

[auth]
header = "X-User-ID"
[auth.jwt]
secret = "short"
issuer = "i"

[limits]
page = 50000
groups = "many"

[[tables]]
name = "places"
owner_colum = "owner"
push = "owner_only"

[[tables]]
name = "notes"
parent_table = "nowhere"
parent_fk_col = "x"
protected = ["created_at"]

[[tables]]
name = "notes"
parent_table = "places"
rules = [{ kind = "unique", columns = ["a"] }, { kind = "check", name = "c" }]
"#;
    let problems = problems(text);
    let expected = [
        (0, "database"),
        (2, "listen"),
        (3, "databse"),
        (6, "auth.header"),
        (7, "auth.jwt.audience"),
        (8, "auth.jwt.secret"),
        (12, "limits.page"),
        (13, "limits.groups"),
        (17, "tables.places.owner_colum"),
        (18, "tables.places.push"),
        (22, "tables.notes.parent_table"),
        (24, "tables.notes.protected"),
        (26, "tables[2].parent_fk_col"),
        (27, "tables[2].name"),
        (29, "tables[2].rules[0].kind"),
        (29, "tables[2].rules[1].expression"),
    ];
    let expected: Vec<(usize, String)> =
        expected.into_iter().map(|(line, place)| (line, String::from(place))).collect();
    assert_eq!(places(&problems), expected, "{problems:#?}");
    assert!(problems.iter().all(|problem| !problem.why.is_empty()));
    assert!(problems.windows(2).all(|pair| pair[0].line <= pair[1].line));
}

/// A file with one mistake, and the location of its problem.
#[test]
fn each_mistake_is_reported_at_its_line() {
    let good = "database = \"a.db\"\n[auth]\nheader = \"X-User-ID\"\n[[tables]]\nname = \"t\"\nowner_column = \"o\"\n";
    assert!(Config::from_toml(good, &[]).is_ok());
    let table: &[(&str, &str, usize, &str)] = &[
        ("database = \"a.db\"", "database = \"\"", 1, "database"),
        ("database = \"a.db\"", "database = 3", 1, "database"),
        ("database = \"a.db\"", "database = \"a.db\"\nlisten = \"0.0.0.0:80\"", 2, "listen"),
        ("header = \"X-User-ID\"", "header = \"X User\"", 3, "auth.header"),
        ("header = \"X-User-ID\"", "headers = \"X-User-ID\"", 3, "auth.headers"),
        ("name = \"t\"", "name = 7", 5, "tables[0].name"),
        ("owner_column = \"o\"", "push = \"always\"\nowner_column = \"o\"", 6, "tables.t.push"),
        ("owner_column = \"o\"", "policy = \"mine\"\nowner_column = \"o\"", 6, "tables.t.policy"),
        (
            "owner_column = \"o\"",
            "resolver = \"mine\"\nowner_column = \"o\"",
            6,
            "tables.t.resolver",
        ),
        (
            "owner_column = \"o\"",
            "policy = \"last_write_wins\"\nresolver = \"server_wins\"\nowner_column = \"o\"",
            7,
            "tables.t.resolver",
        ),
        (
            "owner_column = \"o\"",
            "skew_tolerance_ms = 1\nowner_column = \"o\"",
            6,
            "tables.t.skew_tolerance_ms",
        ),
        ("[auth]", "[retention]\nlog_days = 0\n[auth]", 3, "retention.log_days"),
        ("[auth]", "[retention]\nbatch = 0\n[auth]", 3, "retention.batch"),
        ("[auth]", "[limits]\nconnections = 0\n[auth]", 3, "limits.connections"),
        ("[auth]", "[limits]\nidle_timeout_ms = 9\n[auth]", 3, "limits.idle_timeout_ms"),
        ("[auth]", "[auth", 2, "syntax"),
        ("[[tables]]", "[tables]", 4, "tables"),
    ];
    for (from, to, line, place) in table {
        let text = good.replace(from, to);
        let found = places(&problems(&text));
        assert!(found.contains(&(*line, (*place).to_owned())), "{to}: {found:?}");
    }
}

#[test]
fn environment_overrides_and_its_problems_are_named() {
    let text = "database = \"a.db\"\n[auth.jwt]\nany_issuer = true\nany_audience = true\n[[tables]]\nname = \"t\"\nowner_column = \"o\"\n";
    let variable = |name: &str, value: &str| (String::from(name), String::from(value));
    let environment = [
        variable("REJOIN_LISTEN", "0.0.0.0:9000"),
        variable("REJOIN_DATABASE", "/data/b.db"),
        variable("REJOIN_AUTH_JWT_SECRET", "a secret of at least thirty-two bytes"),
        variable("REJOIN_LIMITS_PAGE", "50"),
        variable("REJOIN_LIMITS_LAG_MS", "51"),
        variable("REJOIN_LIMITS_GRACE_MS", "52"),
        variable("REJOIN_RETENTION_LOG_DAYS", "7"),
        variable("REJOIN_RETENTION_BATCH", "500"),
        variable("REJOIN_RETENTION_EVERY_MINUTES", "0"),
        variable("REJOIN_TELEMETRY_OTLP", "true"),
        variable("REJOIN_RETENTION_SCHEMA_DAYS", "3"),
        variable("UNRELATED", "x"),
    ];
    let config = Config::from_toml(text, &environment).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:9000");
    assert_eq!(config.database.to_str(), Some("/data/b.db"));
    assert_eq!((config.limits.page, config.limits.lag_ms, config.limits.grace_ms), (50, 51, 52));
    let retention =
        Retention { log_days: 7, verdict_days: 90, batch: 500, every_minutes: 0, schema_days: 3 };
    assert_eq!((config.retention, config.otlp), (retention, true));
    let wrong = [environment[2].clone(), variable("REJOIN_TELEMETRY_OTLP", "perhaps")];
    assert_eq!(Config::from_toml(text, &wrong).unwrap_err()[0].place, "telemetry.otlp");
    assert!(Config::from_toml(text, &[]).is_err(), "without the secret");
    let bad = [environment[2].clone(), variable("REJOIN_LIMITS_PAGE", "all")];
    let problems = Config::from_toml(text, &bad).unwrap_err();
    assert_eq!(problems[0].place, "REJOIN_LIMITS_PAGE");
}
