//! The dashboard: a page for people, made of files that are built into the program. It needs no token, since there is
//! nothing in it; what it shows it reads from the interface as any other client does.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::get;

use super::body::typed;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// What each file is served with. Nothing is loaded from elsewhere, nothing inline runs, nobody may frame the page, and a
/// program that was replaced brings its own page at once.
const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-cache"),
];

/// A file of the page.
struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

static FILES: [File; 20] = [
    file("/", HTML, include_str!("dashboard/index.html")),
    file("/dashboard/icon.svg", SVG, include_str!("dashboard/icon.svg")),
    file("/dashboard/base.css", CSS, include_str!("dashboard/base.css")),
    file("/dashboard/figures.css", CSS, include_str!("dashboard/figures.css")),
    file("/dashboard/panels.css", CSS, include_str!("dashboard/panels.css")),
    file("/dashboard/amounts.js", SCRIPT, include_str!("dashboard/amounts.js")),
    file("/dashboard/apis.js", SCRIPT, include_str!("dashboard/apis.js")),
    file("/dashboard/charts.js", SCRIPT, include_str!("dashboard/charts.js")),
    file("/dashboard/confirm.js", SCRIPT, include_str!("dashboard/confirm.js")),
    file("/dashboard/dom.js", SCRIPT, include_str!("dashboard/dom.js")),
    file("/dashboard/head.js", SCRIPT, include_str!("dashboard/head.js")),
    file("/dashboard/main.js", SCRIPT, include_str!("dashboard/main.js")),
    file("/dashboard/market.js", SCRIPT, include_str!("dashboard/market.js")),
    file("/dashboard/model.js", SCRIPT, include_str!("dashboard/model.js")),
    file("/dashboard/sales.js", SCRIPT, include_str!("dashboard/sales.js")),
    file("/dashboard/service.js", SCRIPT, include_str!("dashboard/service.js")),
    file("/dashboard/source.js", SCRIPT, include_str!("dashboard/source.js")),
    file("/dashboard/times.js", SCRIPT, include_str!("dashboard/times.js")),
    file("/dashboard/totals.js", SCRIPT, include_str!("dashboard/totals.js")),
    file("/dashboard/track.js", SCRIPT, include_str!("dashboard/track.js")),
];

/// The page and its parts.
pub(super) fn routes() -> Router {
    FILES
        .iter()
        .fold(Router::new(), |router, file| router.route(file.path, get(move || async move { serve(file) })))
}

/// Whether a path is a file of the page.
pub(super) fn has(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

const fn file(path: &'static str, content_type: &'static str, text: &'static str) -> File {
    File { path, content_type, text }
}

fn serve(file: &File) -> Response {
    let mut response = typed(file.content_type, Body::from(file.text));
    let headers =
        HEADERS.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    response
}
