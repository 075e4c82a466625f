//! The tables of the recordings, as an app would declare them in SQLite: the same names, meanings,
//! defaults and rules.
//!
//! A CHECK replaces the constraint of a PostgreSQL type (an enumeration, a UUID).

use rejoin_server::{Config, TableConfig};

/// The four tables: one with owners, its child, one with optional owners, one shared by all.
pub(super) const TABLES: &str = "
    CREATE TABLE orders (
        id uuid PRIMARY KEY NOT NULL DEFAULT (lower(hex(randomblob(16)))) CHECK (length(id) = 36),
        user_id uuid NOT NULL,
        status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'shipped')),
        order_date datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
        required_date date, preferred_ship_time time,
        ship_address text NOT NULL DEFAULT '',
        metadata jsonb NOT NULL DEFAULT '{}',
        total_cents bigint NOT NULL DEFAULT 0,
        created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
        updated_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
        deleted_at datetime);
    CREATE TABLE order_details (
        id uuid PRIMARY KEY NOT NULL DEFAULT (lower(hex(randomblob(16)))) CHECK (length(id) = 36),
        order_id uuid NOT NULL REFERENCES orders (id),
        product_name text NOT NULL DEFAULT '',
        quantity int4 NOT NULL DEFAULT 1,
        unit_price numeric(10,2) NOT NULL DEFAULT 0,
        created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
        updated_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
        deleted_at datetime);
    CREATE TABLE categories (
        id uuid PRIMARY KEY NOT NULL DEFAULT (lower(hex(randomblob(16)))) CHECK (length(id) = 36),
        user_id uuid,
        name text NOT NULL DEFAULT '',
        description text NOT NULL DEFAULT '',
        search_tags json NOT NULL DEFAULT '[]',
        created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
        updated_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
        deleted_at datetime);
    CREATE TABLE products (
        id uuid PRIMARY KEY NOT NULL DEFAULT (lower(hex(randomblob(16)))) CHECK (length(id) = 36),
        name text NOT NULL DEFAULT '',
        unit_price numeric(10,2) NOT NULL DEFAULT 0,
        units_in_stock int4 NOT NULL DEFAULT 0,
        discontinued boolean NOT NULL DEFAULT 0,
        thumbnail bytea,
        created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
        updated_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
        deleted_at datetime);
";

/// The ownership, as configured on the recorded server.
pub(super) fn owned(config: Config) -> Config {
    let shared =
        TableConfig { allow_global_read: true, ..TableConfig::owned("categories", "user_id") };
    config
        .with_table(TableConfig::owned("orders", "user_id"))
        .with_table(TableConfig::child("order_details", "orders", "order_id"))
        .with_table(TableConfig::global("products"))
        .with_table(shared)
}
