//! The reference of an empty pull: a server with the same HTTP stack that runs one prepared SELECT
//! by key for each request, on one connection of the database.

use std::sync::Arc;

use anyhow::Result;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, Statement};

/// A running server; it ends with its runtime.
pub(crate) struct SelectServer {
    pub(crate) address: String,
    _runtime: Runtime,
}

struct Prepared {
    client: Client,
    select: Statement,
}

#[derive(Deserialize)]
struct Asked {
    id: String,
}

impl SelectServer {
    pub(crate) fn over(url: &str) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let address = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(async move { drop(connection.await) });
            let select = client.prepare("SELECT title FROM tasks WHERE id = $1").await?;
            let prepared = Arc::new(Prepared { client, select });
            let router = Router::new().route("/select", post(answered)).with_state(prepared);
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?.to_string();
            tokio::spawn(async move { drop(axum::serve(listener, router).await) });
            anyhow::Ok(address)
        })?;
        Ok(Self { address, _runtime: runtime })
    }
}

async fn answered(
    State(prepared): State<Arc<Prepared>>,
    Json(asked): Json<Asked>,
) -> Result<Json<Value>, StatusCode> {
    let rows = prepared.client.query(&prepared.select, &[&asked.id]).await;
    let rows = rows.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let title: String = rows.first().ok_or(StatusCode::NOT_FOUND)?.get(0);
    Ok(Json(json!({ "title": title })))
}
