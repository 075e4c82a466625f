//! Where our server answers a plain client otherwise than the recorded one, and why: the list of `docs/protocol.md`.

/// A reason for which answers differ.
pub(super) struct Exception {
    /// The recorded exchanges.
    pub(super) fixtures: &'static [&'static str],
    /// What of the answer differs: a status, or members.
    pub(super) differs: &'static [&'static str],
    /// Why.
    pub(super) why: &'static str,
}

/// Every one. The numbers in brackets are chapters of the specification of v0.1.2 that name the defect.
pub(super) const EXCEPTIONS: &[Exception] = &[
    Exception {
        fixtures: &["01-schema", "111-schema-v2", "112-schema-reverted"],
        differs: &["tables[].columns[].db_type", "tables[].columns[].default_sql"],
        why: "SQLite's words for types and defaults; what a device reads (`logical_type`, `sqlite_default_sql`) is the same",
    },
    Exception {
        fixtures: &["01-schema", "111-schema-v2", "112-schema-reverted"],
        differs: &["tables[].columns[].sqlite_default_sql"],
        why: "an array's default is `'[]'`; v0.1.2 gives devices an object (6.3)",
    },
    Exception {
        fixtures: &["215-schema-generated"],
        differs: &[
            "tables[].columns[].db_type",
            "tables[].columns[].default_sql",
            "tables[].columns[].sqlite_default_sql",
            "tables[].columns[].default_kind",
            "tables[].bucket_by_column",
            "tables[].bucket_prefix",
        ],
        why: "as above; a generated column has no default (6.3), and a child's bucket is its parent's (3.5)",
    },
    Exception {
        fixtures: &["13-pull-unregistered", "14-push-unregistered"],
        differs: &["404"],
        why: "an unregistered device is told so, as a snapshot tells it (1.5)",
    },
    Exception {
        fixtures: &["174-register-garbage-appversion"],
        differs: &["426"],
        why: "a version that is none is too old (1.5)",
    },
    Exception {
        fixtures: &["151-db-closed-schema-500", "197-pg-down", "198-pg-down-2"],
        differs: &["503"],
        why: "a database that is away is away for a moment, at every endpoint (1.5)",
    },
    Exception {
        fixtures: &["133-retry-after-429", "134-retry-after-503"],
        differs: &["200"],
        why: "the recorded answer is a middleware's that the operator put before the server",
    },
    Exception {
        fixtures: &["130-stale-client-2"],
        differs: &["200"],
        why: "the hook that turned the silent device away is the operator's; without one it rebuilds by snapshot if it must",
    },
    Exception {
        fixtures: &["185-jwt-no-exp"],
        differs: &["401"],
        why: "a token must say when it ends, unless the configuration says otherwise (D31)",
    },
    Exception {
        fixtures: &["19-snapshot-empty", "210-snapshot-empty-log"],
        differs: &["checkpoint"],
        why: "a position is never 0, which devices take for `no snapshot yet` at every start (3.4)",
    },
    Exception {
        fixtures: &["103-register-malformed-app-version"],
        differs: &["checkpoint"],
        why: "from where the device last asked, noted at most once a minute; no SDK reads it",
    },
    Exception {
        fixtures: &["100-pull-negative-checkpoint"],
        differs: &["changes", "checkpoint", "has_more", "snapshot_reason", "snapshot_required"],
        why: "what stood before the log began is in no entry of it: a snapshot (C3)",
    },
    Exception {
        fixtures: &["101-pull-checkpoint-ahead"],
        differs: &["snapshot_reason", "snapshot_required"],
        why: "a position that the log has not reached is of a server that was restored: a snapshot (3.2)",
    },
    Exception {
        fixtures: &["142-pull-false-snapshot-required"],
        differs: &["changes", "checkpoint", "snapshot_reason", "snapshot_required"],
        why: "a device that had read all before the log was cut reads on (3.2)",
    },
    Exception {
        fixtures: &["32-snapshot-page1", "33-snapshot-page2", "34-snapshot-page3"],
        differs: &["records"],
        why: "tables go by name, not by the order of their registration; all pages together hold the same rows",
    },
    Exception {
        fixtures: &["146-snapshot-cursor-tamper"],
        differs: &["checkpoint", "records"],
        why: "a cursor that is not ours begins anew (D19)",
    },
    Exception {
        fixtures: &["37-snapshot-other-user-leak"],
        differs: &["records"],
        why: "strangers' rows are nobody else's (3.4)",
    },
    Exception {
        fixtures: &["59-no-rls-cross-user-update"],
        differs: &["`rejected_terminal record_not_found`"],
        why: "strangers' rows are nobody else's (3.4)",
    },
    Exception {
        fixtures: &["124-rls-create-colliding-id"],
        differs: &["200 `rejected_terminal record_not_found`"],
        why: "a bad record harms only itself (2.8)",
    },
    Exception {
        fixtures: &["126-rls-update-global", "127-rls-delete-global"],
        differs: &["`rejected_terminal record_not_found`"],
        why: "everybody's row is nobody's to write, however often it is tried (2.8)",
    },
    Exception {
        fixtures: &["60-batch-poison-unknown-column"],
        differs: &["200 `applied`, `applied`, `rejected_terminal invalid_data`"],
        why: "a bad record harms only itself (2.8)",
    },
    Exception {
        fixtures: &["61-batch-bad-enum", "62-batch-bad-uuid", "128-hook-veto"],
        differs: &["200 `rejected_terminal create_failed`"],
        why: "a bad record harms only itself (2.8); a veto is a trigger of the table",
    },
    Exception {
        fixtures: &["194-ts-null-required"],
        differs: &["200 `rejected_terminal update_failed`"],
        why: "a bad record harms only itself (2.8)",
    },
    Exception {
        fixtures: &["195-nul-char"],
        differs: &["200 `rejected_terminal invalid_data`"],
        why: "a bad record harms only itself (2.8)",
    },
    Exception {
        fixtures: &["63-batch-fk-violation", "125-rls-child-foreign-parent"],
        differs: &["200 `rejected_retryable create_failed`"],
        why: "a child whose parent is not there, or is a stranger's, waits for it (2.8)",
    },
    Exception {
        fixtures: &["64-batch-child-before-parent"],
        differs: &["200 `applied`, `applied`"],
        why: "a child waits for its parent within a push (2.8)",
    },
    Exception {
        fixtures: &["91-array-as-string"],
        differs: &["200 `applied`"],
        why: "arrays are read as the SDKs send them (2.9)",
    },
    Exception {
        fixtures: &["191-bool-as-int"],
        differs: &["`applied`"],
        why: "0 and 1 are read as truth values (2.9)",
    },
    Exception {
        fixtures: &["216-push-generated"],
        differs: &["200 `applied`"],
        why: "a generated column is dropped as a protected one is (6.3)",
    },
    Exception {
        fixtures: &["214-base-sqlite-format"],
        differs: &["200 `applied`"],
        why: "SQLite's own form of a base is read: one SDK sends it, and would send it for ever (8.9)",
    },
    Exception {
        fixtures: &["93-int-as-float"],
        differs: &["`rejected_terminal invalid_data`"],
        why: "1.5 is no integer and is not cut to one (2.9)",
    },
    Exception {
        fixtures: &[
            "31-push-create-retry",
            "44-update-base-stale-client-older",
            "45-update-nobase-older",
            "46-update-base-ahead",
            "48-update-retry-second",
        ],
        differs: &["rejected[].server_version.data.total_cents"],
        why: "integers keep all 64 bits (2.9)",
    },
    Exception {
        fixtures: &["86-pull-dedup"],
        differs: &["changes[].data.total_cents"],
        why: "integers keep all 64 bits (2.9)",
    },
    Exception {
        fixtures: &["196-pull-typed-row"],
        differs: &["changes[].data.blob"],
        why: "bytes are the bytes that were sent, not the letters of their base64 (2.9)",
    },
    Exception {
        fixtures: &["40-update-no-trigger"],
        differs: &["accepted[].server_updated_at"],
        why: "the version is the server's and rises with each write (2.6)",
    },
    Exception {
        fixtures: &["82-global-to-user-owner"],
        differs: &["changes", "deletes"],
        why: "a row that is still held is no delete (3.3)",
    },
    Exception {
        fixtures: &["85-parent-move-child-stale"],
        differs: &["changes"],
        why: "children go with their parent (3.5)",
    },
    Exception {
        fixtures: &["149b-insert-already-deleted"],
        differs: &["changes", "deletes"],
        why: "a deleted row is told as a delete, whoever deleted it",
    },
    Exception {
        fixtures: &["212-child-bucket-never-delivered"],
        differs: &["changes"],
        why: "children go with their parent (3.5)",
    },
    Exception {
        fixtures: &["212-child-bucket-never-delivered", "213-sync-columns-pull"],
        differs: &[
            "changes[].data.created_at",
            "changes[].data.description",
            "changes[].data.search_tags",
            "changes[].data.user_id",
        ],
        why: "every column that the schema lists is sent (6.1)",
    },
    Exception {
        fixtures: &["114-schema-server-only-notnull", "217-timestamptz-precision"],
        differs: &["200"],
        why: "such columns are synced (6.2, 6.3)",
    },
    Exception {
        fixtures: &["113-schema-unsupported-type"],
        differs: &["200"],
        why: "a column of a type that is not synced, which comes while the server runs, is left out and stops nobody",
    },
];
