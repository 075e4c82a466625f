//! The schema of a plain server, completed by what its manifest lacks.
//!
//! It has names, types and defaults. NOT NULL follows from `nullable`, as in the Synchro SDK.
//! Rules, indexes, owners and local-only tables stay as bundled with the app, or as received from a
//! Rejoin server, while no column of theirs is removed. Columns are identified by name: a rename is
//! a removed and an added column, and requires a snapshot.

use rejoin_protocol::manifest::{Manifest, ManifestExtension, Rule, TableExtension, TableManifest};

/// The server's manifest with the extensions of this device. `left_out` are tables that it has left out, or
/// parts of them, as they were declared.
pub(crate) fn completed(
    theirs: Manifest,
    ours: Option<&Manifest>,
    left_out: &[TableManifest],
) -> Manifest {
    let ours = || left_out.iter().chain(ours.into_iter().flat_map(|ours| &ours.tables));
    let mut manifest = Manifest { rejoin: None, ..theirs };
    for table in &mut manifest.tables {
        let mut stored = ours().filter(|stored| !is_local(stored));
        let stored = stored.find(|stored| stored.table_name == table.table_name);
        let extension = stored.map_or_else(TableExtension::default, |stored| kept(stored, table));
        table.rejoin = Some(TableExtension { rules: rules(&extension, table), ..extension });
    }
    for local in ours().filter(|stored| is_local(stored)) {
        if !manifest.tables.iter().any(|one| one.table_name == local.table_name) {
            manifest.tables.push(local.clone());
        }
    }
    manifest.tables.sort_by(|left, right| left.table_name.cmp(&right.table_name));
    manifest.rejoin = Some(ManifestExtension {
        rules_hash: manifest.rules_hash(),
        ..ManifestExtension::default()
    });
    manifest
}

fn is_local(table: &TableManifest) -> bool {
    table.rejoin.as_ref().is_some_and(|extension| extension.local_only)
}

/// The extensions of a table; none after a column was removed that they may use.
fn kept(stored: &TableManifest, table: &TableManifest) -> TableExtension {
    let stays = |name: &str| table.columns.iter().any(|column| column.name == name);
    let Some(extension) = stored.rejoin.clone() else { return TableExtension::default() };
    let computed = extension.generated.iter().map(|one| one.name.as_str());
    let gone = stored
        .columns
        .iter()
        .find(|column| !stays(&column.name) && !computed.clone().any(|name| name == column.name));
    if gone.is_some() { TableExtension::default() } else { extension }
}

/// The rules for local writes: the stored ones, and NOT NULL from the server's manifest.
fn rules(extension: &TableExtension, table: &TableManifest) -> Vec<Rule> {
    let mut rules: Vec<Rule> = extension
        .rules
        .iter()
        .filter(|rule| !matches!(rule, Rule::NotNull { .. }))
        .cloned()
        .collect();
    let owned = TableManifest { rejoin: Some(extension.clone()), ..table.clone() };
    let needed = table.columns.iter().filter(|column| {
        // The server fills the owner column and defaults that only it can compute.
        let is_filled = table.bucket_by_column.as_deref() == Some(&column.name)
            || column.default_kind == "server_only";
        !column.nullable
            && !column.is_primary_key
            && !is_filled
            && !owned.is_protected(&column.name)
            && !owned.is_generated(&column.name)
    });
    rules.extend(needed.map(|column| Rule::NotNull { column: column.name.clone() }));
    rules
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::manifest::{ColumnManifest, Index};

    use super::*;

    fn column(name: &str, nullable: bool, default_kind: &str) -> ColumnManifest {
        ColumnManifest {
            name: name.to_owned(),
            logical_type: "string".to_owned(),
            nullable,
            default_kind: default_kind.to_owned(),
            is_primary_key: name == "id",
            ..Default::default()
        }
    }

    fn table() -> TableManifest {
        TableManifest {
            table_name: "notes".to_owned(),
            primary_key: vec!["id".to_owned()],
            updated_at_column: "updated_at".to_owned(),
            deleted_at_column: "deleted_at".to_owned(),
            bucket_by_column: Some("user_id".to_owned()),
            columns: vec![
                column("id", false, "server_only"),
                column("user_id", false, "none"),
                column("title", false, "portable"),
                column("body", true, "none"),
                column("number", false, "server_only"),
                column("updated_at", false, "portable"),
            ],
            ..Default::default()
        }
    }

    fn plain(table: TableManifest) -> Manifest {
        Manifest::new(3, vec![table]).plain()
    }

    fn rules_of(manifest: &Manifest) -> Vec<Rule> {
        manifest.tables[0].rejoin.clone().map(|extension| extension.rules).unwrap_or_default()
    }

    fn not_null(column: &str) -> Rule {
        Rule::NotNull { column: column.to_owned() }
    }

    #[test]
    fn not_null_applies_to_app_columns_and_keeps_the_hash() {
        let theirs = plain(table());
        let made = completed(theirs.clone(), None, &[]);
        assert_eq!(rules_of(&made), [not_null("title")]);
        assert_eq!((made.hash(), made.schema_version), (theirs.schema_hash, 3));
        assert_eq!(
            completed(plain(table()), Some(&made), &[]),
            made,
            "completing twice changed the manifest"
        );
    }

    #[test]
    fn bundled_extensions_stay_until_a_column_is_removed() {
        let unique = Rule::Unique { columns: vec!["title".to_owned()] };
        let mut bundled = table();
        bundled.rejoin = Some(TableExtension {
            rules: vec![unique.clone(), not_null("body")],
            indexes: vec![Index { name: "by_title".to_owned(), columns: vec!["title".to_owned()] }],
            owner_column: Some("title".to_owned()),
            ..Default::default()
        });
        let mut drafts = TableManifest { table_name: "drafts".to_owned(), ..table() };
        drafts.rejoin = Some(TableExtension { local_only: true, ..Default::default() });
        let bundle = Manifest::new(1, vec![bundled, drafts]);
        let made = completed(plain(table()), Some(&bundle), &[]);
        let names: Vec<&str> = made.tables.iter().map(|table| table.table_name.as_str()).collect();
        assert_eq!(names, ["drafts", "notes"]);
        let notes = made.tables[1].rejoin.clone().unwrap();
        assert_eq!(notes.rules, [unique], "NOT NULL does not follow the server's manifest");
        assert_eq!(notes.indexes.len(), 1);
        let mut renamed = table();
        renamed.columns[3].name = "text".to_owned();
        let made = completed(plain(renamed), Some(&bundle), &[]);
        let notes = made.tables[1].rejoin.clone().unwrap();
        assert_eq!((notes.rules, notes.indexes.len()), (vec![not_null("title")], 0));
    }
}
