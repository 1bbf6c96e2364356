//! The dashboard: its files are there for everybody, and whole; its figures only for those who may ask.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;

use crate::client::{Answer, get, post, request};
use crate::world::{Seller, World};

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The page and everything that it loads, by path.
fn loaded(seller: &Seller) -> BTreeMap<String, Answer> {
    let mut waiting = VecDeque::from(["/".to_owned()]);
    let mut files = BTreeMap::new();
    while let Some(path) = waiting.pop_front() {
        if files.contains_key(&path) {
            continue;
        }
        let file = seller.send(&get(&path));
        assert_eq!(file.status, 200, "{path}");
        let quoted = file.text().split('"').skip(1).step_by(2);
        let names = quoted.filter_map(|text| match text.strip_prefix("./") {
            Some(name) => Some(format!("/dashboard/{name}")),
            None => text.starts_with("/dashboard/").then(|| text.to_owned()),
        });
        waiting.extend(names);
        files.insert(path, file);
    }
    files
}

#[test]
fn the_page_is_whole_and_loads_nothing_from_elsewhere() {
    let world = World::new();
    let seller = world.seller(&[]);
    let files = loaded(&seller);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/dashboard");
    assert_eq!(
        files.len(),
        fs::read_dir(folder).unwrap().count(),
        "a file that nobody loads: {:?}",
        files.keys()
    );
    for (path, file) in &files {
        let content_type = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        for (header, value) in [
            ("content-type", content_type),
            ("content-security-policy", CSP),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(file.header(header), Some(value), "{path}");
        }
        let text = file.text().replace("http://www.w3.org/2000/svg", "");
        // The policy would stop what is inline, and what comes from elsewhere; what the service says is never markup.
        for forbidden in
            ["http://", "https://", "url(", "style=\"", "<style", "innerHTML", "insertAdjacentHTML"]
        {
            assert!(!text.contains(forbidden), "{forbidden} in {path}");
        }
        assert!(text.lines().count() < 500, "{path}");
    }
    assert_eq!(seller.send(&request("HEAD", "/")).status, 200);
    assert_eq!(seller.send(&post("/")).problem(405), "wamp.error.no_such_procedure");
    assert_eq!(seller.send(&get("/dashboard/none.js")).problem(404), "wamp.error.no_such_procedure");
    // A page whose name was made to point here gets nothing, this page included.
    let rebound = seller.send(&get("/").header("host", "example.org"));
    assert_eq!(rebound.problem(403), "wamp.error.not_authorized");
    seller.stop();
}

#[test]
fn a_token_is_wanted_for_the_figures_and_not_for_the_page() {
    let world = World::new();
    world.write("token", "0123456789abcdef0123456789abcdef\n");
    let seller = world.seller(&[("XBR_SELLER__HTTP__TOKEN_FILE", "token")]);
    assert!(loaded(&seller).len() > 10);
    for path in [
        "/v1/state",
        "/v1/events",
        "/v1/sales",
        "/metrics",
        "/dashboard/none.js",
        "/dashboard/../v1/state",
        "//",
    ] {
        assert_eq!(seller.send(&get(path)).problem(401), "wamp.error.authentication_failed", "{path}");
    }
    seller.stop();
}
