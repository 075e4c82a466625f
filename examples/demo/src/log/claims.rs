//! The claims of the log model. As in [`crate::claims`], checks read only the databases.

use anyhow::{Result, ensure};

use super::TABLES;
use crate::claims::{Claim, everywhere};
use crate::scene::{Scene, cell, rows, tamper};

/// Concerts, by the numbers of their places.
pub(crate) const OSLO: &str = "concert-3143244";
pub(crate) const REYKJAVIK: &str = "concert-3413829";
pub(crate) const KEFLAVIK: &str = "concert-3415496";

/// The published entries of each device.
const MADE: [(&str, usize); 2] = [("tablet", 8), ("phone", 10)];

/// In the order in which the demo checks them.
pub(crate) const CLAIMS: [Claim; 14] = [
    Claim {
        says: "The concerts and seats that the tablet wrote are on the server and on the other user's phone.",
        proof: |scene| equal_rows(scene, "TRUE", &["tablet", "phone"]),
        sabotage: |scene| {
            tamper(&scene.device("phone"), "DELETE FROM seats WHERE id = 'concert-3143244/2'")
        },
    },
    Claim {
        says: "Offline, each device shows its own buyers; the server has none.",
        proof: |scene| {
            buyers(scene, "tablet", "Ann Dan")?;
            buyers(scene, "phone", "Ben Cleo")?;
            buyers(scene, "server", "- -")
        },
        sabotage: |scene| tamper(&scene.server(), "UPDATE seats SET buyer = 'Ann'"),
    },
    Claim {
        says: "Each seat belongs to its earlier buyer everywhere, whichever device synced first.",
        proof: |scene| {
            ["server", "tablet", "phone"]
                .iter()
                .try_for_each(|name| buyers(scene, name, "Ann Cleo"))
        },
        sabotage: |scene| {
            tamper(&scene.server(), "UPDATE seats SET buyer = 'Dan' WHERE buyer = 'Cleo'")
        },
    },
    Claim {
        says: "Each later sale is parked on its device as unreplayable, with the message of the rule.",
        proof: |scene| {
            parked(scene, "tablet", &[UNREPLAYABLE], "the seat is sold")?;
            parked(scene, "phone", &[UNREPLAYABLE], "the seat is sold")
        },
        sabotage: |scene| tamper(&scene.device("tablet"), "UPDATE rejoin_verdict SET detail = ''"),
    },
    Claim {
        says: "In each column the later edit stays, although it was sent first: Hall B, doors at 19:00.",
        proof: |scene| everywhere(scene, &concert(OSLO), "B 19:00 open"),
        sabotage: |scene| tamper(&scene.device("phone"), "UPDATE concerts SET hall = 'A'"),
    },
    Claim {
        says: "The guest added after the closing is on no list, although the closing arrived second; the earlier guest is on it.",
        proof: |scene| {
            everywhere(scene, GUESTS, "Eva")?;
            everywhere(scene, &concert(REYKJAVIK), "- - closed")?;
            parked(scene, "phone", &[UNREPLAYABLE, UNREPLAYABLE], "the guest list is closed")
        },
        sabotage: |scene| {
            tamper(&scene.device("tablet"), "INSERT INTO guests (id, name) VALUES ('x', 'Finn')")
        },
    },
    Claim {
        says: "Discarding ended the rejected actions: nothing is parked, and no row changed.",
        proof: |scene| {
            ["tablet", "phone"].iter().try_for_each(|name| parked(scene, name, &[], ""))?;
            everywhere(scene, GUESTS, "Eva")?;
            buyers(scene, "server", "Ann Cleo")?;
            equal_rows(scene, "TRUE", &["tablet", "phone"])
        },
        sabotage: |scene| {
            tamper(&scene.device("phone"), "UPDATE rejoin_log_entry SET own = 3 WHERE own = 0")
        },
    },
    Claim {
        says: "The user who left the bucket of Norway has none of its rows; the guest added there is parked as refused.",
        proof: |scene| {
            equal_rows(scene, "country = 'IS'", &["phone"])?;
            parked(scene, "phone", &[REFUSED], "")
        },
        sabotage: |scene| {
            tamper(&scene.device("phone"), "INSERT INTO guests (id, country) VALUES ('x', 'NO')")
        },
    },
    Claim {
        says: "Nothing else is affected: the edit of Oslo is void, and the same user's edit of Reykjavik is everywhere.",
        proof: |scene| {
            for name in ["server", "tablet"] {
                let found = cell(&scene.device(name), &concert(OSLO))?;
                ensure!(found == "B 19:00 open", "{name}: {found}");
            }
            everywhere(scene, &concert(REYKJAVIK), "- 20:00 closed")
        },
        sabotage: |scene| tamper(&scene.server(), "UPDATE concerts SET hall = 'C'"),
    },
    Claim {
        says: "Two entries of each device are on the server, and not acknowledged on the device.",
        proof: |scene| ["tablet", "phone"].iter().try_for_each(|name| two_uncertain(scene, name)),
        sabotage: |scene| tamper(&scene.device("tablet"), "UPDATE rejoin_log_entry SET own = 0"),
    },
    Claim {
        says: "The authority gave the seat to its earlier buyer, on the server and the tablet; the phone is away.",
        proof: |scene| {
            for (name, buyer) in [("server", "Ines"), ("tablet", "Ines"), ("phone", "Jon")] {
                let found = cell(&scene.device(name), &buyer_of(KEFLAVIK))?;
                ensure!(found == buyer, "{name}: the buyer is {found}, not {buyer}");
            }
            Ok(())
        },
        sabotage: |scene| {
            tamper(&scene.server(), "UPDATE seats SET buyer = 'Jon' WHERE buyer = 'Ines'")
        },
    },
    Claim {
        says: "The phone has the corrected seat, and a verdict that says so.",
        proof: |scene| {
            everywhere(scene, &buyer_of(KEFLAVIK), "Ines")?;
            let last = "SELECT detail FROM rejoin_verdict ORDER BY number DESC LIMIT 1";
            let last = cell(&scene.device("phone"), last)?;
            ensure!(last.contains("corrected"), "the last verdict is {last}");
            Ok(())
        },
        sabotage: |scene| tamper(&scene.device("phone"), "DELETE FROM rejoin_verdict"),
    },
    Claim {
        says: "After lost responses and a restart, the server has each published entry once.",
        proof: once_on_the_server,
        sabotage: |scene| {
            tamper(
                &scene.server(),
                "INSERT INTO rejoin_log_entry (id, key, position, author, body)
                 SELECT key, id, position + 1, author, body FROM rejoin_log_entry ORDER BY position DESC LIMIT 1",
            )
        },
    },
    Claim {
        says: "Server and tablet have the same rows, and the phone has its user's part of them.",
        proof: |scene| {
            equal_rows(scene, "TRUE", &["tablet"])?;
            equal_rows(scene, "country = 'IS'", &["phone"])
        },
        sabotage: |scene| tamper(&scene.device("phone"), "UPDATE seats SET buyer = 'Ida'"),
    },
];

/// Kinds of verdicts.
const REFUSED: &str = "12";
const UNREPLAYABLE: &str = "13";

const GUESTS: &str = "SELECT string_agg(name, ' ') FROM guests";

/// The edited columns of a concert.
fn concert(id: &str) -> String {
    format!(
        "SELECT coalesce(hall, '-') || ' ' || coalesce(doors, '-') || ' ' || status FROM concerts WHERE id = '{id}'"
    )
}

fn buyer_of(concert: &str) -> String {
    format!("SELECT buyer FROM seats WHERE id = '{concert}/1'")
}

/// Checks who has bought the contested seats, in Oslo and in Reykjavik.
fn buyers(scene: &Scene, name: &str, expected: &str) -> Result<()> {
    let sql =
        format!("SELECT buyer FROM seats WHERE id IN ('{OSLO}/1', '{REYKJAVIK}/1') ORDER BY id");
    let found = rows(&scene.device(name), &sql)?.concat().join(" ");
    ensure!(found == expected, "{name}: the buyers are {found}, not {expected}");
    Ok(())
}

/// Checks the last verdicts of the parked entries, and that the newest contains this message.
fn parked(scene: &Scene, name: &str, kinds: &[&str], message: &str) -> Result<()> {
    let sql = "SELECT kind, detail, max(number) FROM rejoin_log_entry AS entry
         LEFT JOIN rejoin_verdict ON mutation = entry.id WHERE own IN (2, 3) GROUP BY entry.id ORDER BY key";
    let found = rows(&scene.device(name), sql)?;
    let found_kinds: Vec<_> = found.iter().map(|row| row[0].as_str()).collect();
    ensure!(found_kinds == kinds, "{name}: parked with verdicts {found_kinds:?}, not {kinds:?}");
    let last = found.last().map_or("", |row| row[1].as_str());
    ensure!(last.contains(message), "{name}: {last} does not contain: {message}");
    Ok(())
}

/// Checks that all rows of the log of the server with this condition are those of the devices.
fn equal_rows(scene: &Scene, condition: &str, devices: &[&str]) -> Result<()> {
    for table in TABLES {
        let all = match table {
            "concerts" => "SELECT id, country, city, status, hall, doors FROM concerts",
            "seats" => "SELECT id, country, concert, buyer FROM seats",
            _ => "SELECT id, country, concert, name FROM guests",
        };
        let server = rows(&scene.server(), &format!("{all} WHERE {condition} ORDER BY id"))?;
        ensure!(!server.is_empty() || table == "guests", "the server has no {table}");
        for name in devices {
            let device = rows(&scene.device(name), &format!("{all} ORDER BY id"))?;
            let differing = server.iter().filter(|row| !device.contains(row)).count();
            ensure!(
                device == server,
                "{name} has {} {table}, the server {}, of which {differing} are not equal on the {name}",
                device.len(),
                server.len()
            );
        }
    }
    Ok(())
}

/// The ids of entries, in the form of either database.
fn ids(scene: &Scene, name: &str, condition: &str) -> Result<Vec<String>> {
    let sql = format!("SELECT id FROM rejoin_log_entry WHERE {condition}");
    let ids = rows(&scene.device(name), &sql)?.concat();
    let mut ids: Vec<_> = ids.iter().map(|id| id.trim_start_matches("\\x").to_owned()).collect();
    ids.sort();
    Ok(ids)
}

fn two_uncertain(scene: &Scene, name: &str) -> Result<()> {
    let unacknowledged = ids(scene, name, "own = 1")?;
    let count = unacknowledged.len();
    ensure!(count == 2, "{name}: {count} entries are not acknowledged, not 2");
    let server = ids(scene, "server", "TRUE")?;
    let arrived = unacknowledged.iter().filter(|id| server.contains(id)).count();
    ensure!(arrived == 2, "{name}: the server has {arrived} of its 2 entries");
    Ok(())
}

fn once_on_the_server(scene: &Scene) -> Result<()> {
    let mut own = Vec::new();
    for (name, made) in MADE {
        let published = ids(scene, name, "own = 0")?;
        let count = published.len();
        ensure!(count == made, "{name} made {made} entries, but {count} are acknowledged");
        own.extend(published);
    }
    own.sort();
    let server = ids(scene, "server", "TRUE")?;
    let (devices, count) = (own.len(), server.len());
    ensure!(own == server, "the devices published {devices} entries, the server has {count}");
    Ok(())
}
