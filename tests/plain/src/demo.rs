//! The four tables of the recorded exchanges: an owned table, a child table, a read-only table, and
//! a table whose rows may have no owner.

use crate::table::{Column, Table, Trigger};

/// The tables in registration order.
pub fn tables() -> Vec<Table> {
    let text = |name: &str| Column::new(name, "text").default("''::text");
    let orders = Table::owned("orders", "user_id")
        .column(Column::new("user_id", "uuid"))
        .column(status())
        .column(Column::new("order_date", "timestamp with time zone").default("now()"))
        .column(Column::new("required_date", "date").nullable())
        .column(Column::new("preferred_ship_time", "time without time zone").nullable())
        .column(text("ship_address"))
        .column(Column::new("metadata", "jsonb").default("'{}'::jsonb"))
        .column(Column::new("total_cents", "bigint").default("0"))
        .times();
    let order_details = Table::child("order_details", "orders", "order_id")
        .column(Column::new("order_id", "uuid"))
        .column(text("product_name"))
        .column(Column::new("quantity", "integer").default("1"))
        .column(Column::new("unit_price", "numeric(10,2)").default("0"))
        .times();
    let products = Table::new("products")
        .column(text("name"))
        .column(Column::new("unit_price", "numeric(10,2)").default("0"))
        .column(Column::new("units_in_stock", "integer").default("0"))
        .column(Column::new("discontinued", "boolean").default("false"))
        .column(Column::new("thumbnail", "bytea").nullable())
        .times();
    let categories = Table::owned("categories", "user_id")
        .global_read()
        .column(Column::new("user_id", "uuid").nullable())
        .column(text("name"))
        .column(text("description"))
        .column(Column::new("search_tags", "text[]").default("'{}'::text[]"))
        .times();
    vec![orders, order_details, products, categories]
}

/// The tables before the app added its trigger.
pub fn tables_without_trigger() -> Vec<Table> {
    tables().into_iter().map(|table| table.trigger(Trigger::LeftAlone)).collect()
}

fn status() -> Column {
    let labels = ["pending", "processing", "shipped", "delivered", "cancelled"];
    Column::new("status", "order_status").labels(&labels).default("'pending'::order_status")
}
