//! Finds the tables to test: reads `/sync/schema` and tries to create a row.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::bench::{Bench, Reader};
use crate::expect::{self, Ended, ScenarioResult, fail, hold};

/// Overrides from the command line.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) table: Option<String>,
    pub(crate) values: Vec<(String, Value)>,
    pub(crate) leave: Vec<String>,
}

/// A column that devices may write.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The type name in the database, in lower case.
    pub(crate) db_type: String,
    pub(crate) logical: String,
    pub(crate) nullable: bool,
    has_default: bool,
}

impl Column {
    pub(crate) fn is_decimal(&self) -> bool {
        self.db_type.starts_with("numeric") || self.db_type.starts_with("decimal")
    }

    pub(crate) fn is_array(&self) -> bool {
        self.db_type.ends_with("[]")
    }

    /// Whether the column accepts any text.
    fn is_text(&self) -> bool {
        const TEXTS: &[&str] =
            &["text", "varchar", "character varying", "citext", "clob", "nvarchar"];
        self.logical == "string"
            && TEXTS.iter().any(|text| self.db_type.starts_with(text))
            && !self.db_type.contains('(')
    }

    /// A valid value.
    fn example(&self) -> Value {
        match self.logical.as_str() {
            "int" | "int64" | "float" => json!(1),
            "boolean" => json!(true),
            "datetime" => json!("2026-01-31T12:00:00.000000Z"),
            "date" => json!("2026-01-31"),
            "time" => json!("12:00:00"),
            "json" if self.is_array() => json!([]),
            "json" => json!({}),
            "bytes" => json!("\\x00"),
            _ if self.db_type == "uuid" => json!(Uuid::new_v4().to_string()),
            _ => json!("conformance"),
        }
    }
}

/// A table whose rows belong to the user who creates them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// The text column that most scenarios write.
    pub(crate) text: String,
    pub(crate) updated_at: String,
    /// Empty if the table has no soft delete.
    pub(crate) deleted_at: String,
    /// The owner column, if the schema names it.
    pub(crate) owner: Option<String>,
    pub(crate) columns: Vec<Column>,
    pub(crate) required: Vec<(String, Value)>,
}

impl Table {
    /// The first column that matches.
    pub(crate) fn column(
        &self,
        what: &str,
        is: impl Fn(&Column) -> bool,
    ) -> ScenarioResult<Column> {
        let found = self.columns.iter().find(|column| is(column)).cloned();
        found.map_or_else(|| expect::skip(&format!("{} has no column of {what}", self.name)), Ok)
    }
}

/// A table whose rows have the tested table as their parent.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) table: Table,
    pub(crate) parent_column: String,
}

impl Child {
    /// The columns of a child of this row.
    pub(crate) fn data(&self, parent: &str) -> Value {
        let mut data: serde_json::Map<String, Value> =
            self.table.required.iter().cloned().collect();
        data.insert(self.parent_column.clone(), json!(parent));
        if !self.table.text.is_empty() {
            data.insert(self.table.text.clone(), json!("child"));
        }
        Value::Object(data)
    }
}

/// Reads the schema, registers one up-to-date device per user, and selects the tables.
pub(crate) fn find(bench: &mut Bench, wishes: &Wishes) -> ScenarioResult {
    let exchange = bench.get("/sync/schema")?;
    expect::equal("the status of /sync/schema", exchange.status, 200)?;
    let schema = exchange.json();
    bench.version = expect::number(&schema, "schema_version")?;
    expect::text(&schema, "schema_hash")?.clone_into(&mut bench.hash);
    for user in bench.users() {
        let client_id = bench.device(user)?;
        let (_, checkpoint) = bench.snapshot(user, &client_id, 1_000)?;
        bench.readers.push(Reader { client_id, checkpoint });
    }
    let tables = expect::list(&schema, "tables")?;
    let is_read_only = |table: &Value| table["push_policy"] == "disabled";
    bench.read_only = tables
        .iter()
        .find(|table| is_read_only(table))
        .and_then(|table| table["table_name"].as_str())
        .map(str::to_owned);
    let mut found: Vec<Table> = tables
        .iter()
        .filter(|table| {
            is_owners(table)
                && wishes.table.as_deref().is_none_or(|name| table["table_name"] == name)
        })
        .filter_map(|table| read(table, wishes))
        .filter(|table| !table.text.is_empty())
        .collect();
    hold(
        !found.is_empty(),
        "no table that devices write has an owner, a text key and a text column",
    )?;
    // Prefer the table with most column types.
    found.sort_by_key(|table| std::cmp::Reverse(kinds(table)));
    let mut refused = String::new();
    for table in found {
        bench.place = table;
        match bench.create(0, "conformance") {
            Ok(_) => {
                bench.child =
                    tables.iter().find_map(|table| child_of(table, &bench.place.name, wishes));
                return Ok(());
            }
            Err(Ended::Failed(why) | Ended::Skipped(why)) => {
                refused = format!("{refused} {}: {why}.", bench.place.name);
            }
        }
    }
    fail(format!("no table takes a row; try --table, --value or --leave.{refused}"))
}

fn is_owners(table: &Value) -> bool {
    let has_parent = table["parent_table"].as_str().is_some_and(|parent| !parent.is_empty());
    table["push_policy"] == "owner_only" && !has_parent
}

fn child_of(table: &Value, parent: &str, wishes: &Wishes) -> Option<Child> {
    if table["push_policy"] != "owner_only" || table["parent_table"] != parent {
        return None;
    }
    let parent_column = table["parent_fk_col"].as_str()?.to_owned();
    Some(Child { table: read(table, wishes)?, parent_column })
}

/// Number of different column types of a table.
fn kinds(table: &Table) -> usize {
    let mut kinds: Vec<&str> = table.columns.iter().map(|column| column.logical.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.len()
}

/// Converts a schema table; `None` if its key is not text.
fn read(table: &Value, wishes: &Wishes) -> Option<Table> {
    let text = |name: &str| table[name].as_str().unwrap_or_default().to_owned();
    let (updated_at, deleted_at) = (text("updated_at_column"), text("deleted_at_column"));
    let by_bucket = text("bucket_by_column");
    let is_by_user = text("bucket_prefix") == "user:";
    let owner = Some(by_bucket.clone()).filter(|column| !column.is_empty() && is_by_user);
    let mut columns = Vec::new();
    for column in table["columns"].as_array()? {
        let of = |name: &str| column[name].as_str().unwrap_or_default().to_owned();
        if column["is_primary_key"] == true {
            if of("logical_type") != "string" {
                return None;
            }
            continue;
        }
        let name = of("name");
        let fixed =
            ["created_at", "updated_at", "deleted_at", &updated_at, &deleted_at, &by_bucket];
        if fixed.contains(&name.as_str()) || wishes.leave.contains(&name) {
            continue;
        }
        columns.push(Column {
            name,
            db_type: of("db_type").to_lowercase(),
            logical: of("logical_type"),
            nullable: column["nullable"] == true,
            has_default: of("default_kind") != "none",
        });
    }
    let parent = text("parent_fk_col");
    let given = |name: &str| wishes.values.iter().find(|(column, _)| column == name);
    let text_column = columns
        .iter()
        .find(|column| column.is_text() && column.name != parent && given(&column.name).is_none());
    let text_column = text_column.map(|column| column.name.clone()).unwrap_or_default();
    let is_needed = |column: &&Column| {
        column.name != parent
            && (!column.nullable && !column.has_default || given(&column.name).is_some())
    };
    let value = |column: &Column| {
        let value =
            given(&column.name).map_or_else(|| column.example(), |(_, value)| value.clone());
        (column.name.clone(), value)
    };
    let required = columns.iter().filter(is_needed).map(value).collect();
    columns.retain(|column| column.name != parent && given(&column.name).is_none());
    let name = text("table_name");
    Some(Table { name, text: text_column, updated_at, deleted_at, owner, columns, required })
}
