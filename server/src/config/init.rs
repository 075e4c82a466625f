//! The configuration that `rejoin-server init` writes: every key with its meaning and default.

/// A commented configuration, valid as soon as the database has the table.
pub const TEMPLATE: &str = r#"# Rejoin server. The environment overrides: REJOIN_LISTEN, REJOIN_DATABASE, REJOIN_AUTH_JWT_SECRET, ...

# Where to listen; port 0 takes a free one, which is printed at start.
listen = "127.0.0.1:7878"

# The SQLite file with your tables, which must exist; a relative path is meant from this file's folder.
database = "app.db"

# Or a PostgreSQL database (13 or newer) with your tables, instead of `database`; better set REJOIN_STORE, which replaces it.
# store = "postgres://rejoin:password@localhost:5432/app"
# A pooler in front of it that chooses a session for each transaction, such as PgBouncer: the transactions of requests use it.
# pooler = "postgres://rejoin:password@localhost:6432/app"
# A hot standby of it: pulls read there while it is not behind.
# replica = "postgres://rejoin:password@standby.example.org:5432/app"

# Where shared pages are stored for all servers: a folder, or s3://bucket/folder with the usual variables AWS_... See docs/scale.md.
# page_store = "s3://app-pages/rejoin"

# A function of the PostgreSQL database that names further buckets of each row, and the most that it may name. See docs/access.md.
# bucket_function = "app.buckets"
# max_buckets_per_event = 100

# Tables whose bucket resolver (host code) is to be removed. See docs/access.md.
# drop_resolvers = ["tasks"]

# Whether a start refuses a table that can no longer be synced; by default it is left out, and the others are served.
# strict = false

# The oldest accepted app version (X-App-Version); older apps get 426 with a request to upgrade.
# min_app_version = "1.0.0"

[auth]
# The header that names the user: trusted as it is, so for development, on a loopback address only.
header = "X-User-ID"

# For production, instead of the header: a JWT in `Authorization: Bearer`.
# [auth.jwt]
# secret = "at least 32 bytes; better set REJOIN_AUTH_JWT_SECRET"
# algorithm = "HS256"               # or HS384, HS512
# Or, instead of the secret, the issuer's keys (RS256, ES256), which may change while the server runs:
#   jwks = "keys.json"              a file beside this one
#   jwks_url = "https://example.org/.well-known/jwks.json"
# issuer = "https://example.org"    # or any_issuer = true
# audience = "my-app"               # or any_audience = true
# user_claim = "sub"
# require_expiry = true
# leeway_seconds = 0                # by which the issuer's clock may differ

[limits]
body = 8_388_608       # bytes of a request, decompressed
groups = 1_000         # mutations in one push
changes = 10_000       # changed rows in one push
page = 10_000          # rows in one page, 1 to 10000
page_bytes = 4_194_304 # bytes of rows after which a page ends early
wait_ms = 5_000        # how long a request waits while another program writes
push_ms = 2_000        # how long one push works; the device sends the rest again
lag_ms = 5_000         # maximum lag of sequencer and feeder before /readyz reports it
grace_ms = 10_000      # time that running requests get at shutdown
plain_clock_ms = 0     # how far the clock of a Synchro SDK may be behind
log_drift_ms = 60000   # how far the time of an entry of the log may be ahead
connections = 10_000   # open at once, below `ulimit -n`; further ones wait
header_timeout_ms = 10_000 # in which the header of a request must arrive
idle_timeout_ms = 75_000 # in which a connection must send a request, or read its answer
streams_per_user = 100 # open event streams of one user
requests_per_user = 8  # requests of one user in progress
verdicts_per_device = 10_000 # verdicts that a device has not confirmed
bodies = 268_435_456   # bytes of the requests in progress of all users
staged_per_user = 268_435_456 # bytes of large mutations that arrive in parts
devices_per_user = 1_000 # devices of one user that were seen within retention.verdict_days
rejections_per_user = 10_000 # stored rejections of one user within an hour
log_entries_per_user = 100_000 # entries of the log of one user within an hour

[retention]
log_days = 30          # a device that is silent for longer rebuilds by snapshot
verdict_days = 90      # the verdicts of a device that is silent for longer are forgotten
batch = 10_000         # how much one transaction of a compaction forgets
every_minutes = 60     # from one compaction to the next; 0 is never (`rejoin-server compact`)
schema_days = 90       # a Synchro SDK goes on with an older schema if columns or tables have only come since; 0: not at all

# Metrics and traces by OTLP over HTTP; where to and how often is said by the standard variables OTEL_... See docs/operate.md.
# [telemetry]
# otlp = true

# Row level security of PostgreSQL, beside the server's own predicates; first run what `rejoin-server rls --print` prints.
# [postgres]
# rls = true
# role = "rejoin_app"               # the role that each request takes; it must not pass by the policies
# allow_bypass = false              # serve although it does

# One block per synced table. Its columns are read from the database: one key column (TEXT or INTEGER), `updated_at`
# (TEXT or DATETIME, the server writes it), and `deleted_at` if deletes shall be soft. UNIQUE beside the key is refused.
# A row is readable by the user named in its owner column, or by the owner of its parent; otherwise by no one.
[[tables]]
name = "tasks"
owner_column = "owner_id"

# [[tables]]
# name = "notes"
# parent_table = "tasks"            # the owner of the task owns its notes
# parent_fk_col = "task_id"
# protected = ["score"]             # further columns that devices may not write
# sync_columns = ["body"]           # the columns that devices get, beside those that the server needs; all by default
# bucket_by_column = "team_id"      # users with the bucket `team:<team_id>` read the row, too
# bucket_prefix = "team:"           # "user:" by default
# dependencies = ["tasks"]          # a hint to Synchro SDKs, beside the parent and foreign keys
# id_column = "id"                  # the primary key, if you want it checked
# write = "owner"                   # or "bucket": all users with the right to write the bucket; "insert": all users, none reads
# policy = "accept_server"          # or "rebase", "keep_local", "manual", "last_write_wins": an edit meets another
# resolver = "column_merge"         # or "server_wins": nothing merges
# infer_rules = true                # carry NOT NULL, references and indexes to devices; CHECKs never are
# rules = [{ kind = "check", name = "short", expression = "length(body) < 1000" }]

# [[tables]]
# name = "countries"
# allow_global_read = true          # without an owner: readable by all users, writable by none
# global_when_bucket_null = false   # with bucket_by_column: rows that name no bucket are public
# updated_at_column = "updated_at"
# deleted_at_column = "deleted_at"

# The buckets of users, from a table of your own: beside those of the table `rejoin_bucket`.
# [membership]
# query = "SELECT user_id, 'team:' || team_id AS bucket, role <> 'viewer' AS writes FROM team_member"
# tables = ["team_member"]          # their changes wake the users concerned

# Rows that a device holds only while it subscribes to them. See docs/subscriptions.md.
# [[streams]]
# name = "project"
# parameters = [{ name = "project", type = "text" }]
# bucket = "project:{project}"      # a table has bucket_prefix = "project:"
# allow = "SELECT role <> 'viewer' FROM project_member WHERE user_id = :user AND project_id = :project"

# What is asked before an action of the app is taken: queries that must give a number other than 0, in the transaction of the
# push. They name the action's parameters, and :user. See docs/actions.md.
# [[actions]]
# name = "leave"
# version = 1                       # left out: every version
# parameters = [{ name = "ward", type = "text" }]
# checks = [{ sql = "SELECT count(*) > 1 FROM shifts WHERE ward = :ward AND on_call", message = "one person must stay" }]
"#;
