//! `rejoin inspect --serve`: the inspection as a page for one browser on this machine.
//!
//! - Only 127.0.0.1 is bound, and a request with another `Host` is refused (DNS rebinding).
//! - The URL has a random token. Its first use sets a cookie, and every other request needs the cookie.
//! - There is no request that writes: `GET` only, and the file is opened read-only for each inspection.
//!
//! It does not protect from programs that can read the memory, the terminal or the browser of the
//! user. A browser sends the cookie to every port of 127.0.0.1, so do not open untrusted local
//! servers in the same browser.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use rejoin_core::Inspection;
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

/// Added to every response. Nothing is cached, embedded, or loaded from elsewhere.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What the requests share.
struct Page {
    file: PathBuf,
    port: u16,
    token: Uuid,
    is_spent: AtomicBool,
    session: Uuid,
}

/// A refused request: its status and what to do.
type Refusal = (StatusCode, String);

/// Serves the inspection of a file until the process ends.
///
/// # Errors
///
/// Those of [`Inspection::of`], before anything is served; if the port is not free.
pub(crate) fn run(file: PathBuf, port: u16) -> Result<()> {
    Inspection::of(&file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| {
            format!("port {port} of 127.0.0.1 cannot be used: choose another one, or omit --port")
        })?;
        let port = listener.local_addr()?.port();
        let (token, session) = (Uuid::new_v4(), Uuid::new_v4());
        let page = Arc::new(Page { file, port, token, is_spent: AtomicBool::new(false), session });
        let mut out = std::io::stdout();
        writeln!(out, "http://127.0.0.1:{port}/?token={}", token.simple())?;
        writeln!(out, "The URL works once, in one browser. Ctrl-C ends the command.")?;
        Ok(axum::serve(listener, router(page)).await?)
    })
}

fn router(page: Arc<Page>) -> Router {
    let text = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route("/", text("text/html; charset=utf-8", include_str!("serve/page.html")))
        .route("/page.css", text("text/css; charset=utf-8", include_str!("serve/page.css")))
        .route("/page.js", text("text/javascript; charset=utf-8", include_str!("serve/page.js")))
        .route("/inspection.json", get(inspection))
        .layer(from_fn_with_state(Arc::clone(&page), admit))
        .with_state(page)
}

/// Reads the file. The runtime has one thread, so one inspection runs at a time.
async fn inspection(State(page): State<Arc<Page>>) -> Response {
    match Inspection::of(&page.file) {
        Ok(found) => Json(found.to_json()).into_response(),
        Err(error) => {
            let error = format!("{} cannot be read: {error}", page.file.display());
            (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": error }))).into_response()
        }
    }
}

/// Answers a request that [`Page::check`] accepts; sets the headers of every response.
async fn admit(State(page): State<Arc<Page>>, request: Request, next: Next) -> Response {
    let mut response = match page.check(&request) {
        Ok(new_cookie) => {
            let mut response = next.run(request).await;
            if let Some(cookie) = new_cookie {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Page {
    /// Accepts a request with the cookie, or with the unspent token; returns the cookie to set for the latter.
    fn check(&self, request: &Request) -> Result<Option<HeaderValue>, Refusal> {
        let refuse = |status, text: &str| Err((status, format!("{text}\n")));
        if request.method() != Method::GET {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "Only GET: the page is read-only.");
        }
        if !self.is_own_host(request.headers()) {
            return refuse(StatusCode::FORBIDDEN, "Open the URL that the command has printed.");
        }
        let cookie = format!("rejoin_inspect_{}={}", self.port, self.session.simple());
        if has_cookie(request.headers(), &cookie) {
            return Ok(None);
        }
        let token = request.uri().query().and_then(|query| query.strip_prefix("token="));
        if request.uri().path() != "/" || token.map(Uuid::parse_str) != Some(Ok(self.token)) {
            let text = "No valid token: open the URL that the command has printed.";
            return refuse(StatusCode::FORBIDDEN, text);
        }
        if self.is_spent.swap(true, Ordering::Relaxed) {
            let text = "The token was used: start `rejoin inspect --serve` again for a new one.";
            return refuse(StatusCode::FORBIDDEN, text);
        }
        let cookie = format!("{cookie}; HttpOnly; SameSite=Strict; Path=/");
        Ok(HeaderValue::try_from(cookie).ok())
    }

    fn is_own_host(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let own = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{}", self.port));
        host.is_some_and(|host| own.iter().any(|one| host.eq_ignore_ascii_case(one)))
    }
}

fn has_cookie(headers: &HeaderMap, cookie: &str) -> bool {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).any(|one| one.trim() == cookie)
}
