//! Small rows and actions for the tests of this crate.
//!
//! A row has a column `buckets` with the names of its buckets, a text, a number and an owner. Its
//! table is the first letter of its id, so that tests can write `r0`.

use std::sync::Arc;

use uuid::Uuid;

use super::effect::{Effect, Effects};
use super::entry::Intent;
use super::handler::{Draft, Handlers, Stop};
use super::ids::{AuthorId, Buckets, EntryId, Name};
use super::row::{Columns, LogRow, Placement, RowName};
use rejoin_protocol::Value;

/// Places a row in the buckets of its column `buckets`: names separated by spaces.
#[derive(Debug)]
pub struct Column;

impl Placement for Column {
    fn buckets(&self, _: &RowName, image: &LogRow) -> Buckets {
        let text = image.get("buckets").and_then(Value::as_text).unwrap_or_default();
        text.split_whitespace().collect()
    }
}

pub fn row(id: &str) -> RowName {
    RowName::new(&id[..1], id)
}

pub fn image(buckets: &str, text: &str) -> LogRow {
    LogRow::from([
        ("buckets", Value::from(buckets)),
        ("text", Value::from(text)),
        ("number", Value::from(0)),
        ("owner", Value::Null),
    ])
}

pub fn buckets(names: &str) -> Buckets {
    names.split_whitespace().collect()
}

pub fn author(number: u128) -> AuthorId {
    AuthorId(Uuid::from_u128(number))
}

pub fn entry(number: u128) -> EntryId {
    EntryId(Uuid::from_u128(number))
}

pub fn columns<V: Into<Value>>(name: &str, value: V) -> Columns {
    Columns::from([(Name::from(name), value.into())])
}

/// One effect, as captured from plain SQL.
pub fn plain(id: &str, effect: Effect) -> Effects {
    [(row(id), effect)].into_iter().collect()
}

/// `action row argument ...`
pub fn intent(words: &str) -> Intent {
    let mut words = words.split_whitespace();
    let action = Name::from(words.next().unwrap_or_default());
    let arguments = words.enumerate().map(|(at, word)| (Name::from(at.to_string()), word.into()));
    Intent { action, version: 1, arguments: Arc::new(arguments.collect()) }
}

/// The actions of the tests.
#[derive(Debug)]
pub struct Actions;

impl Handlers for Actions {
    fn run(&self, intent: &Intent, draft: &mut Draft<'_>) -> Result<(), Stop> {
        let word = |at: usize| {
            let value = intent.arguments.get(at.to_string().as_str());
            value.and_then(Value::as_text).unwrap_or_default()
        };
        run(intent.action.as_str(), [word(0), word(1), word(2)], draft)
    }
}

fn run(action: &str, [first, second, third]: [&str; 3], draft: &mut Draft<'_>) -> Result<(), Stop> {
    match action {
        "append" => {
            let text = text(&present(draft, first)?) + second;
            set(draft, first, "text", text)
        }
        "take" => {
            let number = number(&present(draft, first)?);
            refuse_if(number >= second.parse().unwrap_or(i64::MAX), "none left")?;
            set(draft, first, "number", number + 1)
        }
        "sell" => {
            let owner = present(draft, first)?.get("owner").cloned();
            refuse_if(owner != Some(Value::Null), "sold")?;
            let owner = draft.entry().to_string();
            set(draft, first, "owner", owner)
        }
        "create" => create(draft, first, second),
        "delete" => draft.remove(&row(first)).map(|_| ()),
        "move" => {
            present(draft, first)?;
            member(draft, second)?;
            set(draft, first, "buckets", second)
        }
        "put" => {
            member(draft, second)?;
            if draft.row(&row(first))?.is_some() {
                return set(draft, first, "text", third);
            }
            draft.put(&row(first), image(second, third));
            Ok(())
        }
        "transfer" => transfer(draft, first, second),
        "count" => create_if_few(draft, first, second, &["d"]),
        "crowd" => create_if_few(draft, first, second, &["d", "k", "r"]),
        // Writes only if the value differs.
        "reset" => match number(&present(draft, first)?) {
            0 => Ok(()),
            _ => set(draft, first, "number", 0),
        },
        "toggle" => {
            let number = number(&present(draft, first)?);
            set(draft, first, "number", 1 - number.clamp(0, 1))
        }
        _ => Err(Stop::NoHandler),
    }
}

fn create(draft: &mut Draft<'_>, bucket: &str, text: &str) -> Result<(), Stop> {
    member(draft, bucket)?;
    let id = format!("d{}", draft.entry());
    draft.put(&row(&id), image(bucket, text));
    Ok(())
}

/// Creates a row unless these tables already have enough.
fn create_if_few(
    draft: &mut Draft<'_>,
    bucket: &str,
    limit: &str,
    tables: &[&str],
) -> Result<(), Stop> {
    let mut rows = 0;
    for table in tables {
        rows += draft.table(&Name::from(*table))?.len();
    }
    refuse_if(rows >= limit.parse().unwrap_or(usize::MAX), "full")?;
    create(draft, bucket, &format!("one of {rows}"))
}

fn transfer(draft: &mut Draft<'_>, from: &str, to: &str) -> Result<(), Stop> {
    let (has, had) = (number(&present(draft, from)?), number(&present(draft, to)?));
    refuse_if(has <= 0, "empty")?;
    if from == to {
        return Ok(());
    }
    set(draft, from, "number", has - 1)?;
    set(draft, to, "number", had + 1)
}

/// Other code under the same names: it appends in capital letters.
#[derive(Debug)]
pub struct Louder;

impl Handlers for Louder {
    fn run(&self, meant: &Intent, draft: &mut Draft<'_>) -> Result<(), Stop> {
        let words: Vec<_> = meant.arguments.values().filter_map(Value::as_text).collect();
        match (meant.action.as_str(), &words[..]) {
            ("append", [id, text]) => {
                Actions.run(&intent(&format!("append {id} {}", text.to_uppercase())), draft)
            }
            _ => Actions.run(meant, draft),
        }
    }
}

fn present(draft: &mut Draft<'_>, id: &str) -> Result<LogRow, Stop> {
    draft.row(&row(id))?.ok_or_else(|| Stop::Refused(format!("{id} is gone")))
}

fn refuse_if(refused: bool, reason: &str) -> Result<(), Stop> {
    if refused { Err(Stop::Refused(reason.to_owned())) } else { Ok(()) }
}

fn member(draft: &mut Draft<'_>, bucket: &str) -> Result<(), Stop> {
    let stranger = draft.buckets().is_some_and(|buckets| !buckets.contains(bucket));
    refuse_if(stranger, "no member")
}

fn set<V: Into<Value>>(
    draft: &mut Draft<'_>,
    id: &str,
    column: &str,
    value: V,
) -> Result<(), Stop> {
    draft.set(&row(id), &columns(column, value)).map(|_| ())
}

fn text(image: &LogRow) -> String {
    image.get("text").and_then(Value::as_text).unwrap_or_default().to_owned()
}

fn number(image: &LogRow) -> i64 {
    match image.get("number") {
        Some(Value::Integer(number)) => *number,
        _ => 0,
    }
}
