//! Shared pages: read from their store if there is one and it has the page, otherwise from the database.
//!
//! Any cache may keep a page, for as long as devices may still ask for it. All other responses, errors too, are private to
//! one device.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use rejoin_protocol::PAGE_END_HEADER;

use super::exchange::{PageEndHeader, block};
use super::{LEVEL, PRIVATE, PUBLIC, asks_for_extensions, door, refused};
use crate::Shared;
use crate::admission::Endpoint;
use crate::engine::{Engine, snapshot};
use crate::error::Fault;
use crate::page_store::{KEPT, StoredPage};

/// Its name in error messages.
const DOING: &str = "shared page";

const ZSTD: HeaderValue = HeaderValue::from_static("zstd");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const VARY: HeaderValue = HeaderValue::from_static("accept-encoding");

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Path(address): Path<String>,
    request: Request,
) -> Response {
    let mut response = found(shared, address, request).await;
    let cached = if response.status() == StatusCode::OK { public(KEPT) } else { PRIVATE };
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(cached);
    response
}

async fn found(shared: Arc<Shared>, address: String, request: Request) -> Response {
    let extended = asks_for_extensions(request.headers());
    let from = (request.headers(), request.extensions());
    let caller = match door::enter(&shared, from, extended, Endpoint::Snapshot).await {
        Ok((caller, _)) => caller,
        Err(fault) => return refused(&shared, &fault, extended, DOING),
    };
    if let Some(pages) = &shared.pages
        && let Some(page) = pages.get(&address, shared.engine.clock.now()).await
        && let Some(response) = stored(page, request.headers()).await
    {
        return response;
    }
    let end = PageEndHeader::default();
    let (ends, named) = (end.clone(), address.clone());
    let work = move |engine: &Engine| {
        let page = snapshot::shared::page(engine, &caller, &named)?;
        ends.is_of(&page);
        Ok(page)
    };
    let response = end.added_to(block(Arc::clone(&shared), DOING, extended, work).await);
    if response.status() == StatusCode::OK {
        store(&shared, address, response).await
    } else {
        response
    }
}

/// Permits caches to keep a response for this many seconds.
fn public(seconds: i64) -> HeaderValue {
    let text = format!("{PUBLIC}, max-age={seconds}, immutable");
    HeaderValue::from_str(&text).unwrap_or(PRIVATE)
}

/// The response with a stored page; `None` if the page cannot be decompressed for a device without zstd.
async fn stored(page: StoredPage, headers: &HeaderMap) -> Option<Response> {
    let mut response = Response::new(Body::empty());
    let named = response.headers_mut();
    named.insert(header::CONTENT_TYPE, JSON);
    named.insert(header::CACHE_CONTROL, public(page.rest));
    if let Ok(end) = HeaderValue::from_str(&page.end)
        && !end.is_empty()
    {
        named.insert(PAGE_END_HEADER, end);
    }
    *response.body_mut() = if takes_zstd(headers) {
        response.headers_mut().insert(header::CONTENT_ENCODING, ZSTD);
        response.headers_mut().insert(header::VARY, VARY);
        Body::from(page.body)
    } else {
        let unpacked = tokio::task::spawn_blocking(move || zstd::decode_all(&*page.body)).await;
        Body::from(unpacked.ok()?.ok()?)
    };
    Some(response)
}

/// Whether the client accepts zstd without conditions. With any, the page is compressed again.
fn takes_zstd(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|it| it.to_str().ok());
    accepted.flat_map(|it| it.split(',')).any(|encoding| encoding.trim() == "zstd")
}

/// Stores a page while the response is sent.
#[allow(clippy::disallowed_methods)] // No response waits for it, and it ends by itself.
async fn store(shared: &Shared, address: String, response: Response) -> Response {
    let Some(pages) = shared.pages.clone() else { return response };
    let (parts, body) = response.into_parts();
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return refused(shared, &Fault::Internal(error.to_string()), true, DOING),
    };
    let end = parts.headers.get(PAGE_END_HEADER).and_then(|end| end.to_str().ok());
    tokio::spawn(pages.put(address, end.unwrap_or_default().to_owned(), body.clone(), LEVEL));
    Response::from_parts(parts, Body::from(body))
}
