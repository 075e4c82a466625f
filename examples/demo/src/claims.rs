//! The claims of the demo. Each has a check and a fault (`--sabotage`) that the check must detect.
//!
//! A check reads the databases, never the reports of a process.

use anyhow::{Result, ensure};

use crate::edits::{CONTESTED, DELETED, EDITS, MERGED};
use crate::scene::{Scene, TABLES, cell, number, rows, tamper};
use crate::stock::claims::{DEEDS, KOTLIN, RUST};
use crate::{digests, stock, surveys, team};

/// A claim: its text, its check, and the fault that `--sabotage` injects.
pub(crate) struct Claim {
    pub(crate) says: &'static str,
    pub(crate) proof: fn(&Scene) -> Result<()>,
    pub(crate) sabotage: fn(&Scene) -> Result<()>,
}

/// In the order in which the demo checks them.
pub(crate) const CLAIMS: [Claim; 27] = [
    Claim {
        says: "The first sync copied every place to both devices.",
        proof: first_sync_is_whole,
        sabotage: |scene| {
            tamper(&scene.device("phone"), "DELETE FROM places WHERE id = 'geo-1850147'")
        },
    },
    Claim {
        says: "Offline edits are visible on their device at once; the server has none of them.",
        proof: offline_edits_are_local,
        sabotage: |scene| {
            tamper(
                &scene.server(),
                "UPDATE places SET status = 'inspected' WHERE id = 'geo-3413829'",
            )
        },
    },
    Claim {
        says: "The tablet was killed before the response to its push: the server has the mutations, the tablet has no verdict.",
        proof: killed_before_response,
        sabotage: |scene| tamper(&scene.device("tablet"), "UPDATE rejoin_mutation SET state = 0"),
    },
    Claim {
        says: "After the restart the tablet sent its mutations again; none was applied twice.",
        proof: applied_once,
        sabotage: |scene| {
            tamper(
                &scene.server(),
                "INSERT INTO visits (id, place_id, score) SELECT id || '-again', place_id, score FROM visits WHERE id = 'visit-tablet'",
            )
        },
    },
    Claim {
        says: "Edits of different columns of one row were merged.",
        proof: columns_merged,
        sabotage: |scene| {
            tamper(
                &scene.device("tablet"),
                "UPDATE places SET inspector = NULL WHERE id = 'geo-3413829'",
            )
        },
    },
    Claim {
        says: "Edits of the same column: the first to arrive was accepted, the other is parked with both values.",
        proof: contested_is_parked,
        sabotage: |scene| {
            tamper(&scene.server(), "UPDATE places SET status = 'urgent' WHERE id = 'geo-3161732'")
        },
    },
    Claim {
        says: "Delete against edit: the row is deleted everywhere, and the edit is parked.",
        proof: delete_against_edit,
        sabotage: |scene| {
            tamper(&scene.server(), "UPDATE places SET deleted_at = NULL WHERE id = 'geo-2988507'")
        },
    },
    Claim {
        says: "New rows arrived on the other device with their children.",
        proof: children_arrived,
        sabotage: |scene| {
            tamper(&scene.device("phone"), "DELETE FROM notes WHERE id = 'note-tablet-2'")
        },
    },
    Claim {
        says: "The write that violates the server's CHECK is parked with its reason and payload, and blocked no other mutation.",
        proof: refused_is_parked,
        sabotage: |scene| {
            tamper(&scene.device("phone"), "UPDATE rejoin_mutation SET reason = NULL")
        },
    },
    Claim {
        says: "Both devices performed take_part offline: the tablet shows 3 parts left, the phone 1, the server 5.",
        proof: |scene| stock::claims::taken_apart(scene, &RUST),
        sabotage: |scene| stock::claims::change(scene, &RUST, "server", 3),
    },
    Claim {
        says: "Both actions count: the phone's ran again on the tablet's result, and 1 part is left everywhere.",
        proof: |scene| stock::claims::both_count(scene, &RUST),
        sabotage: |scene| stock::claims::change(scene, &RUST, "server", 3),
    },
    Claim {
        says: "The third take_part exceeds the remaining stock: it is parked with its arguments and the rule's message, and changes no row.",
        proof: |scene| stock::claims::too_much_is_parked(scene, &RUST),
        sabotage: |scene| {
            tamper(
                &scene.device("phone"),
                "UPDATE rejoin_mutation SET args = '{}' WHERE action IS NOT NULL",
            )
        },
    },
    Claim {
        says: "An undo returned the 2 parts on the server and both devices; the undo of an action that others depend on was refused.",
        proof: |scene| stock::claims::undone(scene, &RUST),
        sabotage: |scene| stock::claims::change(scene, &RUST, "tablet", 1),
    },
    Claim {
        says: "A redo took them again on the server and both devices.",
        proof: |scene| stock::claims::redone(scene, &RUST),
        sabotage: |scene| stock::claims::change(scene, &RUST, "phone", 3),
    },
    Claim {
        says: "The digests of every synced table are equal on the server and both devices.",
        proof: digests_agree,
        sabotage: |scene| {
            tamper(
                &scene.device("phone"),
                "UPDATE places SET population = population + 1 WHERE id = 'geo-18918'",
            )
        },
    },
    Claim {
        says: "Each edit was accepted once by the server or is parked on its device.",
        proof: all_accounted_for,
        sabotage: |scene| tamper(&scene.device("tablet"), "DELETE FROM rejoin_history"),
    },
    Claim {
        says: "The app's own table of members decided who got the inspections of the team: two members and a viewer.",
        proof: team::rows_reach_the_team,
        sabotage: |scene| tamper(&scene.device("vera"), "DELETE FROM inspections"),
    },
    Claim {
        says: "Offline edits of one inspection by two members, in different columns, reached the whole team.",
        proof: team::members_are_merged,
        sabotage: |scene| tamper(&scene.device("ana"), "UPDATE inspections SET note = NULL"),
    },
    Claim {
        says: "The viewer's edit is parked with the name of the bucket, and changed nothing.",
        proof: team::viewer_is_parked,
        sabotage: |scene| {
            tamper(&scene.server(), "UPDATE inspections SET state = 'mine' WHERE id = 'roof'")
        },
    },
    Claim {
        says: "A member who left the team while offline: the edit is parked, the rows left the device.",
        proof: team::left_member_is_parked,
        sabotage: |scene| tamper(&scene.device("ben"), "DELETE FROM rejoin_mutation"),
    },
    Claim {
        says: "A subscription brought the surveys of one site to one device; no other device has them.",
        proof: surveys::site_is_on_one_device,
        sabotage: |scene| tamper(&scene.device("ana"), "DELETE FROM surveys"),
    },
    Claim {
        says: "The subscription ended while an edit of a survey waited: the edit was accepted, and the surveys left the device.",
        proof: surveys::edit_outlives_the_subscription,
        sabotage: |scene| {
            tamper(&scene.server(), "UPDATE surveys SET finding = 'dry' WHERE id = 'cellar'")
        },
    },
    Claim {
        says: "Kotlin: both devices performed the same declared action offline, and each sees only its own.",
        proof: |scene| stock::claims::taken_apart(scene, &KOTLIN),
        sabotage: |scene| stock::claims::change(scene, &KOTLIN, "server", 3),
    },
    Claim {
        says: "Kotlin: the device's action ran again on the tablet's result, and 1 part is left everywhere.",
        proof: |scene| stock::claims::both_count(scene, &KOTLIN),
        sabotage: |scene| stock::claims::change(scene, &KOTLIN, "kotlin", 3),
    },
    Claim {
        says: "Kotlin: the action that exceeds the remaining stock is parked there with the rule's message.",
        proof: |scene| stock::claims::too_much_is_parked(scene, &KOTLIN),
        sabotage: |scene| {
            tamper(&scene.device("kotlin"), "UPDATE rejoin_mutation SET detail = NULL")
        },
    },
    Claim {
        says: "Kotlin: an undo returned the 2 parts on the server and both devices.",
        proof: |scene| stock::claims::undone(scene, &KOTLIN),
        sabotage: |scene| stock::claims::change(scene, &KOTLIN, "tablet", 1),
    },
    Claim {
        says: "Kotlin: a redo took them again on the server and both devices.",
        proof: |scene| stock::claims::redone(scene, &KOTLIN),
        sabotage: |scene| tamper(&scene.device("kotlin"), "DELETE FROM rejoin_history"),
    },
];

const DEVICES: [&str; 2] = ["tablet", "phone"];

fn first_sync_is_whole(scene: &Scene) -> Result<()> {
    const SQL: &str = "SELECT id, name, country, latitude, longitude, population, timezone, status FROM places ORDER BY id";
    let server = rows(&scene.server(), SQL)?;
    ensure!(server.len() >= 2_000, "the server has only {} places", server.len());
    for name in DEVICES {
        let device = rows(&scene.device(name), SQL)?;
        ensure!(
            device.len() == server.len(),
            "{name} has {} of {} places",
            device.len(),
            server.len()
        );
        ensure!(device == server, "{name} has all places, but some values differ");
    }
    Ok(())
}

fn offline_edits_are_local(scene: &Scene) -> Result<()> {
    let status = |id: &str| format!("SELECT status FROM places WHERE id = '{id}'");
    let edits = [
        ("tablet", status(MERGED), "inspected"),
        ("tablet", status(CONTESTED), "closed"),
        ("tablet", status(DELETED), "(no row)"),
        ("tablet", "SELECT count(*) FROM notes".to_owned(), "2"),
        ("phone", format!("SELECT inspector FROM places WHERE id = '{MERGED}'"), "Ada"),
        ("phone", status(CONTESTED), "urgent"),
        ("phone", status(DELETED), "revisit"),
        ("phone", "SELECT score FROM visits WHERE id = 'visit-phone'".to_owned(), "72"),
        ("phone", "SELECT score FROM visits WHERE id = 'visit-refused'".to_owned(), "140"),
    ];
    for (name, sql, expected) in edits {
        let found = cell(&scene.device(name), &sql)?;
        ensure!(found == expected, "{name}: {sql}: expected {expected}, found {found}");
    }
    let touched = "SELECT count(*) FROM places WHERE status IS DISTINCT FROM 'open' OR inspector IS NOT NULL OR deleted_at IS NOT NULL";
    for sql in [touched, "SELECT count(*) FROM visits", "SELECT count(*) FROM notes"] {
        let found = number(&scene.server(), sql)?;
        ensure!(found == 0, "the server already has {found} of the edits ({sql})");
    }
    Ok(())
}

fn killed_before_response(scene: &Scene) -> Result<()> {
    let arrived =
        number(&scene.server(), "SELECT count(*) FROM notes WHERE visit_id = 'visit-tablet'")?;
    ensure!(arrived == 2, "the server has {arrived} of the tablet's 2 notes");
    let made = made_on("tablet");
    let uncertain = number(
        &scene.device("tablet"),
        "SELECT count(*) FROM rejoin_mutation WHERE state IN (1, 2)",
    )?;
    ensure!(
        uncertain == made,
        "{uncertain} of the tablet's {made} mutations are sent and without a verdict"
    );
    let accepted = number(&scene.device("tablet"), "SELECT count(*) FROM rejoin_history")?;
    ensure!(accepted == 0, "the tablet has {accepted} accepted mutations");
    Ok(())
}

fn applied_once(scene: &Scene) -> Result<()> {
    for (sql, expected) in [("SELECT count(*) FROM visits", 2), ("SELECT count(*) FROM notes", 3)] {
        let found = number(&scene.server(), sql)?;
        ensure!(found == expected, "{sql} on the server: expected {expected}, found {found}");
    }
    let accepted = number(&scene.device("tablet"), "SELECT count(*) FROM rejoin_history")?;
    ensure!(accepted == made_on("tablet"), "the tablet has {accepted} accepted mutations");
    Ok(())
}

fn columns_merged(scene: &Scene) -> Result<()> {
    everywhere(
        scene,
        &format!(
            "SELECT status || ' by ' || inspector FROM places WHERE id = '{MERGED}' AND deleted_at IS NULL"
        ),
        "inspected by Ada",
    )
}

fn contested_is_parked(scene: &Scene) -> Result<()> {
    everywhere(scene, &format!("SELECT status FROM places WHERE id = '{CONTESTED}'"), "closed")?;
    let detail = parked_detail(scene, CONTESTED)?;
    ensure!(
        detail.contains("urgent") && detail.contains("closed"),
        "parked without both values: {detail}"
    );
    Ok(())
}

fn delete_against_edit(scene: &Scene) -> Result<()> {
    everywhere(
        scene,
        &format!("SELECT count(*) FROM places WHERE id = '{DELETED}' AND deleted_at IS NULL"),
        "0",
    )?;
    parked_detail(scene, DELETED).map(drop)
}

fn children_arrived(scene: &Scene) -> Result<()> {
    everywhere(
        scene,
        "SELECT string_agg(visits.id || ': ' || score || ', ' || notes.id, '; ' ORDER BY notes.id)
         FROM visits JOIN notes ON notes.visit_id = visits.id WHERE place_id = 'geo-1850147'",
        "visit-phone: 72, note-phone-1; visit-tablet: 88, note-tablet-1; visit-tablet: 88, note-tablet-2",
    )
}

fn refused_is_parked(scene: &Scene) -> Result<()> {
    everywhere(scene, "SELECT count(*) FROM visits WHERE id = 'visit-refused'", "0")?;
    let detail = parked_detail(scene, "visit-refused")?;
    ensure!(detail.contains("constraint.check"), "parked without the server's reason: {detail}");
    let reasons = number(
        &scene.device("phone"),
        "SELECT count(*) FROM rejoin_mutation WHERE state = 3 AND reason IS NOT NULL AND length(effect) > 0",
    )?;
    ensure!(reasons == 3, "{reasons} of the 3 parked edits have a reason and a payload");
    Ok(())
}

fn digests_agree(scene: &Scene) -> Result<()> {
    for table in TABLES {
        let server = digests::server(scene, table)?;
        for name in DEVICES {
            let device = digests::device(scene, name, table)?;
            ensure!(device == server, "{table}: the server has {server:?}, the {name} {device:?}");
        }
    }
    Ok(())
}

fn all_accounted_for(scene: &Scene) -> Result<()> {
    for name in DEVICES {
        let waiting =
            number(&scene.device(name), "SELECT count(*) FROM rejoin_mutation WHERE state <> 3")?;
        ensure!(waiting == 0, "{waiting} edits of the {name} are still pending");
        let accepted = rows(&scene.device(name), "SELECT lower(hex(id)) FROM rejoin_history")?;
        let parked = rows(
            &scene.device(name),
            "SELECT lower(hex(id)) FROM rejoin_mutation WHERE state = 3",
        )?;
        let actions = DEEDS.iter().map(|(device, count)| if *device == name { *count } else { 0 });
        let made = made_on(name) + actions.sum::<i64>();
        let found = i64::try_from(accepted.len() + parked.len())?;
        ensure!(found == made, "the {name} made {made} edits, but {found} are accepted or parked");
        for (ids, expected) in [(&accepted, 1), (&parked, 0)] {
            for id in ids.iter().flatten() {
                let sql = format!(
                    "SELECT count(*) FROM rejoin_verdict WHERE replace(mutation_id, '-', '') = '{id}' AND ending = 'accepted'"
                );
                let found = number(&scene.server(), &sql)?;
                ensure!(found == expected, "the server accepted {id} of the {name} {found} times");
            }
        }
    }
    Ok(())
}

fn made_on(device: &str) -> i64 {
    EDITS.iter().map(|edit| i64::from(edit.device == device)).sum()
}

/// Checks that the server and both devices return the expected cell.
pub(crate) fn everywhere(scene: &Scene, sql: &str, expected: &str) -> Result<()> {
    for (name, site) in [
        ("server", scene.server()),
        ("tablet", scene.device("tablet")),
        ("phone", scene.device("phone")),
    ] {
        let found = cell(&site, sql)?;
        ensure!(found == expected, "{name}: {sql}: expected {expected}, found {found}");
    }
    Ok(())
}

/// The stored detail of the phone's parked edit of this row.
fn parked_detail(scene: &Scene, row: &str) -> Result<String> {
    let parked =
        rows(&scene.device("phone"), "SELECT detail FROM rejoin_mutation WHERE state = 3")?;
    parked
        .into_iter()
        .flatten()
        .find(|detail| detail.contains(row))
        .ok_or_else(|| anyhow::anyhow!("the phone has parked no edit of {row}"))
}
