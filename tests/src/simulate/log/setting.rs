//! The setting of a run, by its seed: users, buckets, network faults and clock errors.
//!
//! Runs come in kinds, one after the other, so that every rule has runs in which it matters; the
//! last kind combines all.

use fastrand::Rng;

use crate::Store;

/// The focus of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Pure actions on shared rows.
    Plain,
    /// Plain SQL beside them: inserts over rows, updates of missing ones, deletes, NULLs.
    Sql,
    /// Actions that read rows visible only to their author.
    Private,
    /// Rows that move between buckets, and members of only some of them.
    Moves,
    /// Rows in several buckets at once.
    Wide,
    /// Members who join.
    Joins,
    /// Members who join and leave.
    Members,
    /// A horizon that rises early.
    Compacted,
    /// Clocks that are minutes wrong, and a server that limits drift.
    Drift,
    /// An authority, and authors that disappear.
    Authority,
    /// An authority that sees more than the authors.
    AuthorityMoves,
    /// Authors that disappear.
    Leavers,
    /// One row that all devices edit.
    Hot,
    /// One or two rows that all devices edit, and messages that arrive late or twice.
    Slow,
    /// Rows that depend on others, which are deleted and created.
    Parents,
    /// A server that is restored from a backup.
    Restored,
    /// Databases that are copied, or restored from a backup.
    Copies,
    /// An action that is not deterministic.
    Impure,
    /// Apps of several versions, and a column that older ones do not have.
    Versions,
    /// Everything at once.
    Everything,
}

/// In the order of the seeds.
pub(super) const KINDS: [Kind; 20] = [
    Kind::Plain,
    Kind::Sql,
    Kind::Private,
    Kind::Moves,
    Kind::Wide,
    Kind::Joins,
    Kind::Members,
    Kind::Compacted,
    Kind::Drift,
    Kind::Authority,
    Kind::AuthorityMoves,
    Kind::Leavers,
    Kind::Hot,
    Kind::Slow,
    Kind::Parents,
    Kind::Restored,
    Kind::Copies,
    Kind::Impure,
    Kind::Versions,
    Kind::Everything,
];

const CORE: [&str; 7] = ["append", "increment", "sell", "transfer", "delete", "append", "toggle"];
const WHOLE: [&str; 12] = [
    "create", "child", "blank", "upsert", "reset", "blind", "stamp", "cap", "cap_all", "empty",
    "grow", "plant",
];
const PARENTS: [&str; 9] =
    ["child", "child", "child", "empty", "empty", "plant", "plant", "delete", "delete"];
const HOT: [&str; 5] = ["append", "increment", "toggle", "sell", "transfer"];

/// The setting of a run.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // Each is an independent property of a run.
pub(super) struct Setting {
    pub(super) kind: Kind,
    /// The user of each device.
    pub(super) users: Vec<usize>,
    /// The shared buckets of each user.
    pub(super) members: Vec<Vec<&'static str>>,
    /// All shared buckets.
    pub(super) buckets: &'static [&'static str],
    /// Rows of `item` at the start.
    pub(super) rows: usize,
    /// The operations of devices: names of actions, and `sql`.
    pub(super) operations: Vec<&'static str>,
    /// How far each device's clock is ahead of the true time, in milliseconds.
    pub(super) skews: Vec<i64>,
    /// The clock drift that the server tolerates, in milliseconds.
    pub(super) drift: u64,
    /// The retention time before the horizon, in milliseconds.
    pub(super) retention: u64,
    /// Items of a page.
    pub(super) page: usize,
    /// Percentage of messages with a fault.
    pub(super) faults: u64,
    pub(super) authority: bool,
    pub(super) joins: bool,
    pub(super) leaves: bool,
    pub(super) compaction: bool,
    /// Whether some devices disappear.
    pub(super) leavers: bool,
    pub(super) backups: bool,
    pub(super) copies: bool,
    pub(super) upgrades: bool,
    /// Whether modified clients publish, too.
    pub(super) forgers: bool,
    /// Rows or items of a snapshot page, in runs whose messages travel as bytes.
    pub(super) bytes: Option<usize>,
    /// Where the server's log is, unless it is in memory.
    pub(super) database: Option<Store>,
    /// Whether the devices are in SQLite files.
    pub(super) devices_in_files: bool,
}

/// All possible shared buckets.
const SHARED: [&str; 3] = ["A", "B", "C"];

impl Setting {
    /// The setting of this seed.
    pub(super) fn of(seed: u64) -> Self {
        let kind = KINDS[usize::try_from(seed).unwrap_or_default() % KINDS.len()];
        let round = usize::try_from(seed).unwrap_or_default() / KINDS.len();
        let bytes = (round % 4 == 3).then(|| [1, 2, 5, 100][round / 4 % 4]);
        let setting = Self::kind(kind, &mut Rng::with_seed(seed ^ 0x5e77_1265));
        // Some rows of these actions lack a column that others have; a device's table gives it to all.
        let is_uneven =
            setting.operations.iter().any(|operation| matches!(*operation, "grow" | "child"));
        Self {
            bytes,
            database: matches!(round % 8, 1 | 3).then_some(Store::Sqlite),
            devices_in_files: round % 3 == 1 && !is_uneven,
            // Clients that put rows into buckets of others meet actions that never end then.
            forgers: round % 5 == 4 && setting.deterministic(),
            ..setting
        }
    }

    /// A setting of this kind.
    pub(super) fn kind(kind: Kind, rng: &mut Rng) -> Self {
        use Kind::{
            Authority, AuthorityMoves, Compacted, Copies, Drift, Everything, Hot, Impure, Joins,
            Leavers, Members, Moves, Plain, Restored, Slow, Versions, Wide,
        };
        let all = matches!(kind, Everything);
        let some = all
            || matches!(kind, Moves | Wide | Joins | Members | AuthorityMoves)
            || rng.u8(..4) == 0;
        let buckets = match kind {
            Plain | Hot => &SHARED[..=rng.usize(..2)],
            Moves | Wide | Joins | Members | AuthorityMoves | Everything => {
                &SHARED[..2 + rng.usize(..2)]
            }
            _ => &SHARED[..=rng.usize(..3)],
        };
        let users = users(rng);
        let members = members(&users, buckets, some, rng);
        let clocks: i64 = match kind {
            Hot => 0,
            Drift | Slow => 600_000,
            Everything => [3_000, 600_000][rng.usize(..2)],
            _ => [0, 0, 1_000, 120_000][rng.usize(..4)],
        };
        Self {
            kind,
            rows: if matches!(kind, Hot | Slow) { 1 } else { 1 + rng.usize(..3) },
            operations: operations(kind, rng),
            skews: users.iter().map(|_| rng.i64(-clocks..=clocks)).collect(),
            drift: if matches!(kind, Drift | Slow | Everything) {
                [5_000, 60_000][rng.usize(..2)]
            } else {
                1 << 40
            },
            retention: [0, 2_000, 20_000][rng.usize(..3)],
            page: [1, 2, 5, 100][rng.usize(..4)],
            faults: match kind {
                Hot => 0,
                Slow => 60,
                _ if !all && rng.u8(..3) == 0 => 0,
                _ => 30,
            },
            authority: matches!(kind, Authority | AuthorityMoves) || all && rng.u8(..5) < 2,
            joins: all || matches!(kind, Joins | Members),
            leaves: all || kind == Members,
            compaction: matches!(kind, Compacted) || all || rng.u8(..12) == 0,
            leavers: kind == Leavers
                || matches!(kind, Authority | AuthorityMoves) && rng.bool()
                || all && rng.u8(..3) == 0,
            backups: kind == Restored,
            copies: kind == Copies || all && rng.u8(..3) == 0,
            upgrades: kind == Versions,
            forgers: false,
            bytes: None,
            database: None,
            devices_in_files: false,
            users,
            members,
            buckets,
        }
        .with_impure(kind == Impure)
    }

    fn with_impure(mut self, impure: bool) -> Self {
        if impure {
            self.operations.extend(["dice", "dice", "dice"]);
        }
        self
    }

    /// Whether messages are delayed.
    pub(super) fn is_slow(&self) -> bool {
        self.kind == Kind::Slow
    }

    /// Whether every action gives the same result whenever it runs again.
    pub(super) fn deterministic(&self) -> bool {
        self.kind != Kind::Impure
    }
}

/// 2 to 8 devices, mostly few; in a third of the runs some of them share a user.
fn users(rng: &mut Rng) -> Vec<usize> {
    let devices = [2, 2, 3, 3, 3, 4, 4, 5, 6, 8][rng.usize(..10)];
    let mut users: Vec<usize> = (0..devices).collect();
    if devices > 2 && rng.u8(..3) == 0 {
        for device in 1..devices {
            if rng.bool() {
                users[device] = users[device - 1];
            }
        }
    }
    users
}

fn members(
    users: &[usize],
    buckets: &[&'static str],
    some: bool,
    rng: &mut Rng,
) -> Vec<Vec<&'static str>> {
    users
        .iter()
        .map(|_| {
            if !some || rng.u8(..10) < 4 {
                return buckets.to_vec();
            }
            vec![buckets[rng.usize(..buckets.len())]]
        })
        .collect()
}

fn operations(kind: Kind, rng: &mut Rng) -> Vec<&'static str> {
    if matches!(kind, Kind::Hot | Kind::Slow) {
        return HOT.to_vec();
    }
    if kind == Kind::Parents {
        return PARENTS.to_vec();
    }
    let mut operations = CORE.to_vec();
    operations.extend(WHOLE);
    match kind {
        Kind::Plain | Kind::Drift => {}
        Kind::Private => operations.extend(["copy_secret"; 5]),
        Kind::Moves | Kind::AuthorityMoves => {
            operations.extend(["move", "move", "move", "move", "sql", "sql", "copy_secret"]);
        }
        Kind::Wide => operations.extend(["share", "share", "share", "share", "move", "sql", "sql"]),
        Kind::Joins | Kind::Members | Kind::Everything | Kind::Restored => {
            operations.extend([
                "move",
                "move",
                "share",
                "sql",
                "sql",
                "sql",
                "copy_secret",
                "undo",
            ]);
        }
        Kind::Versions => operations.extend(["append", "append", "grow", "grow", "sql"]),
        Kind::Sql => operations.extend(["sql"; 8]),
        _ => operations.extend(["sql", "sql", "sql", "undo", "undo"]),
    }
    if rng.bool() {
        // With fewer kinds of operations, operations of one kind meet more often.
        rng.shuffle(&mut operations);
        operations.truncate(operations.len() / 2);
    }
    operations
}
