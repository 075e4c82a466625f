//! A `[[tables]]` block, read key by key.

use std::collections::BTreeMap;

use rejoin_protocol::Policy;
use rejoin_protocol::manifest::{ReferenceAction, Rule, SyncModel};

use super::super::reader::{ConfigReader, TableMembers};
use super::super::{ParentConfig, TableConfig};
use crate::error::ProblemKind;
use crate::model::PushPolicy;
use crate::model::resolver::Resolve;

/// Reads a table; `None` if its name is already in use.
pub(super) fn read(
    reader: &mut ConfigReader<'_>,
    mut members: TableMembers,
    before: &[TableConfig],
) -> Option<TableConfig> {
    let place = members.place.clone();
    if !members.has("name") {
        reader.problem(&format!("{place}.name"), "missing: name the table");
    }
    let mut table = TableConfig::new(reader.text(&mut members, "name").unwrap_or_default());
    let is_second = before.iter().any(|known| known.name == table.name);
    if is_second {
        let place = format!("{place}.name");
        reader.problem_of(ProblemKind::DuplicateTable, &place, "the table is configured twice");
    } else if !table.name.is_empty() {
        members = reader.rename(members, format!("tables.{}", table.name));
    }
    match reader.text(&mut members, "sync").as_deref() {
        None | Some("rows") => {}
        Some("log") => table.sync = SyncModel::Log,
        Some(_) => reader.problem(&format!("{place}.sync"), "\"rows\" or \"log\""),
    }
    table.push = read_push(reader, &mut members);
    read_conflicts(reader, &mut members, &mut table);
    table.owner_column = reader.text(&mut members, "owner_column");
    table.parent = read_parent(reader, &mut members);
    table.allow_global_read = reader.truth(&mut members, "allow_global_read").unwrap_or(false);
    table.infer_rules = reader.truth(&mut members, "infer_rules").unwrap_or(true);
    table.protected = reader.texts(&mut members, "protected");
    read_buckets(reader, &mut members, &mut table);
    table.dependencies = reader.texts(&mut members, "dependencies");
    if members.has("sync_columns") {
        table.sync_columns = Some(reader.texts(&mut members, "sync_columns"));
    }
    table.id_column = reader.text(&mut members, "id_column");
    let columns = [
        ("updated_at_column", &mut table.updated_at_column),
        ("deleted_at_column", &mut table.deleted_at_column),
    ];
    for (name, column) in columns {
        if let Some(text) = reader.text(&mut members, name) {
            *column = text;
        }
    }
    for rule in reader.tables(&mut members, "rules") {
        table.rules.extend(read_rule(reader, rule));
    }
    reader.leftover(&members);
    (!is_second).then_some(table)
}

/// Reads who may write: `write`, or `push`, the word of v0.1.2.
fn read_push(reader: &mut ConfigReader<'_>, members: &mut TableMembers) -> Option<PushPolicy> {
    if let Some(word) = reader.text(members, "write") {
        let place = format!("{}.write", members.place);
        if members.has("push") {
            reader.problem(&place, "set `write` or `push`, not both");
            reader.text(members, "push");
        }
        return match word.as_str() {
            "owner" => Some(PushPolicy::OwnerOnly),
            "bucket" => Some(PushPolicy::Bucket),
            "insert" => Some(PushPolicy::InsertOnly),
            _ => {
                let why = "\"owner\", \"bucket\" or \"insert\"";
                reader.problem_of(ProblemKind::InvalidPushPolicy, &place, why);
                None
            }
        };
    }
    match reader.text(members, "push")?.as_str() {
        "owner_only" => Some(PushPolicy::OwnerOnly),
        "disabled" => Some(PushPolicy::Disabled),
        _ => {
            let place = format!("{}.push", members.place);
            let why = "\"owner_only\" or \"disabled\"";
            reader.problem_of(ProblemKind::InvalidPushPolicy, &place, why);
            None
        }
    }
}

/// Reads the buckets of rows besides the owner's.
fn read_buckets(
    reader: &mut ConfigReader<'_>,
    members: &mut TableMembers,
    table: &mut TableConfig,
) {
    table.bucket_by_column = reader.text(members, "bucket_by_column");
    table.bucket_prefix = reader.text(members, "bucket_prefix");
    table.bucket_function = reader.text(members, "bucket_function");
    table.max_buckets_per_event = reader
        .number(members, "max_buckets_per_event")
        .map(|most| u32::try_from(most).unwrap_or(u32::MAX));
    table.global_when_bucket_null =
        reader.truth(members, "global_when_bucket_null").unwrap_or(false);
}

fn read_parent(reader: &mut ConfigReader<'_>, members: &mut TableMembers) -> Option<ParentConfig> {
    let place = members.place.clone();
    let parent = reader.text(members, "parent_table");
    let column = reader.text(members, "parent_fk_col");
    match (parent, column) {
        (Some(table), Some(column)) => Some(ParentConfig { table, column }),
        (Some(table), None) => {
            let place = format!("{place}.parent_fk_col");
            let why = "missing: name the column that holds the parent's key";
            reader.problem_of(ProblemKind::MissingParentColumn, &place, why);
            // Keeps the parent, so that the ownership chain above it is still checked.
            Some(ParentConfig { table, column: String::new() })
        }
        (None, Some(_)) => {
            let place = format!("{place}.parent_table");
            let why = "missing: name the parent's table";
            reader.problem_of(ProblemKind::UnregisteredParent, &place, why);
            None
        }
        (None, None) => None,
    }
}

/// Reads the conflict policy and the resolver.
fn read_conflicts(
    reader: &mut ConfigReader<'_>,
    members: &mut TableMembers,
    table: &mut TableConfig,
) {
    let place = members.place.clone();
    if let Some(word) = reader.text(members, "policy") {
        if let Some(policy) = Policy::of_word(&word) {
            table.policy = policy;
        } else {
            let words = Policy::ALL.map(Policy::word).join(", ");
            reader.problem(&format!("{place}.policy"), &format!("one of {words}"));
        }
    }
    match reader.text(members, "resolver").as_deref() {
        None | Some("column_merge") => {}
        Some("server_wins") => table.resolver = Resolve::ServerWins,
        Some(_) => {
            reader.problem(&format!("{place}.resolver"), "\"column_merge\" or \"server_wins\"");
        }
    }
    if let Some(number) = reader.number(members, "skew_tolerance_ms") {
        table.skew_tolerance_ms = u32::try_from(number).unwrap_or(u32::MAX);
    }
}

fn read_rule(reader: &mut ConfigReader<'_>, mut rule: TableMembers) -> Option<Rule> {
    let place = rule.place.clone();
    let kind = reader.text(&mut rule, "kind").unwrap_or_default();
    let mut need = |reader: &mut ConfigReader<'_>, name: &str| {
        let text = reader.text(&mut rule, name);
        if text.is_none() {
            reader.problem(&format!("{place}.{name}"), "missing");
        }
        text
    };
    let read = match kind.as_str() {
        "not_null" => Some(Rule::NotNull { column: need(reader, "column")? }),
        "check" => {
            let name = need(reader, "name")?;
            Some(Rule::Check { name, expression: need(reader, "expression")? })
        }
        "references" => {
            let (column, table) = (need(reader, "column")?, need(reader, "table")?);
            let on_delete = action(reader, &mut rule, "on_delete");
            let on_update = action(reader, &mut rule, "on_update");
            Some(Rule::References { column, table, on_delete, on_update })
        }
        "unique" => {
            let why = "UNIQUE is not supported by the embedded store, which could not enforce it";
            reader.problem(&format!("{place}.kind"), why);
            reader.texts(&mut rule, "columns");
            None
        }
        _ => {
            reader.problem(&format!("{place}.kind"), "not_null, check or references");
            return None;
        }
    };
    reader.leftover(&rule);
    read
}

fn action(reader: &mut ConfigReader<'_>, rule: &mut TableMembers, name: &str) -> ReferenceAction {
    let actions = BTreeMap::from([
        ("no_action", ReferenceAction::NoAction),
        ("restrict", ReferenceAction::Restrict),
        ("cascade", ReferenceAction::Cascade),
        ("set_null", ReferenceAction::SetNull),
    ]);
    let Some(word) = reader.text(rule, name) else { return ReferenceAction::NoAction };
    actions.get(word.as_str()).copied().unwrap_or_else(|| {
        let why = "no_action, restrict, cascade or set_null";
        reader.problem(&format!("{}.{name}", rule.place), why);
        ReferenceAction::NoAction
    })
}
