//! A statement that fails temporarily leaves its group undecided; other groups proceed.

use macro_rules_attribute::apply;
use rejoin_protocol::wire::push::Ending;
use serde_json::json;

use crate::log_capture::LogCapture;
use crate::world::{World, place};

/// A trigger that cannot run, one that rejects, and the statement that removes the first.
const IN_SQLITE: (&str, &str) = (
    "CREATE TRIGGER broken AFTER INSERT ON places WHEN NEW.name = 'poison'
     BEGIN SELECT json_extract('no json', '$'); END;
     CREATE TRIGGER strict AFTER INSERT ON places WHEN NEW.name = 'refused'
     BEGIN SELECT RAISE(ABORT, 'not such a name'); END;",
    "DROP TRIGGER broken",
);

const IN_POSTGRES: (&str, &str) = (
    "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN IF NEW.name = 'poison' THEN PERFORM no_such_function(); END IF; RETURN NULL; END $$;
     CREATE FUNCTION strict() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN IF NEW.name = 'refused' THEN RAISE 'not such a name'; END IF; RETURN NULL; END $$;
     CREATE TRIGGER broken AFTER INSERT ON places FOR EACH ROW EXECUTE FUNCTION broken();
     CREATE TRIGGER strict AFTER INSERT ON places FOR EACH ROW EXECUTE FUNCTION strict()",
    "DROP TRIGGER broken ON places",
);

#[apply(stores!)]
async fn failing_trigger_delays_its_own_group_only(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let (made, gone) = if world.database.is_some() { IN_POSTGRES } else { IN_SQLITE };
    world.write(made);
    let poison = anna.group("m1", &json!([place("p1", "poison")]));
    let refused = anna.group("m2", &json!([place("p2", "refused")]));
    let good = anna.group("m3", &json!([place("p3", "good")]));
    let mut next = anna.group("m4", &json!([place("p4", "after the first")]));
    next["after"] = json!(["m1"]);
    let log = LogCapture::begin();
    let answer = anna.push_groups(json!([poison, refused, good, next])).await.rejoin.unwrap();
    let found: Vec<(Ending, Option<&str>, bool)> =
        answer.verdicts.iter().map(|v| (v.verdict, v.code.as_deref(), v.retryable)).collect();
    let expected = [
        (Ending::Retry, Some("transient"), true),
        (Ending::Rejected, Some("constraint.trigger"), false),
        (Ending::Accepted, None, false),
        (Ending::Blocked, Some("blocked"), true),
    ];
    assert_eq!(found, expected);
    let words = answer.verdicts[0].message.as_deref().unwrap();
    let reason = if world.database.is_some() { "42883" } else { "malformed JSON" };
    let (_, log_id) = words.split_once("log_id ").unwrap();
    assert!(words.contains(reason), "{words}");
    assert_eq!(log.count(&["m1", log_id]), 1, "{words}");
    assert_eq!(answer.verdicts[1].message.as_deref(), Some("not such a name"));
    let absent: Vec<bool> = answer.rows.iter().map(|row| row.absent).collect();
    assert_eq!(absent, [true, true, false, true]);
    let kept = world.one("SELECT count(*) FROM rejoin_verdict WHERE mutation_id = 'm1'");
    assert_eq!(kept, "0", "nothing is stored");
    let mut last = anna.group("m5", &json!([place("p5", "poison")]));
    last["last_try"] = json!(true);
    let (verdict, _) = anna.push_group(last.clone()).await;
    assert_eq!((verdict.verdict, verdict.code.as_deref()), (Ending::Refused, Some("server_fault")));
    world.write(gone);
    last["last_try"] = json!(false);
    let (late, _) = anna.push_group(last.clone()).await;
    assert_eq!(late, verdict, "a request that comes late changes nothing");
    assert_eq!(log.count(&["m5", "nothing was decided"]), 1, "and is not logged again");
    last["attempt"] = json!(2);
    assert_eq!(anna.push_group(last).await.0.verdict, Ending::Accepted, "the app offered it again");
    assert_eq!(anna.push_group(poison).await.0.verdict, Ending::Accepted, "the same attempt");
    next["attempt"] = json!(2);
    assert_eq!(anna.push_group(next).await.0.verdict, Ending::Accepted);
}
