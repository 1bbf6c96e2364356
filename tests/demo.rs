//! The demo as a program: what it prints, and that everybody's accounts agree, whatever fails.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers fail a test by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use xbr_core::Amount;

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
    command.arg("demo").args(args).env_clear().stdin(Stdio::null());
    command
}

/// The summary of a demo that ends well.
fn summary(args: &[&str]) -> Value {
    let output = demo(args).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary.get("agree"), Some(&true.into()), "{summary}");
    assert_eq!(summary.get("differences"), Some(&Value::Array(Vec::new())));
    summary
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn so_many_sales_as_were_asked_for_are_made_and_nobody_differs() {
    let summary = summary(&["--sales", "200", "--json"]);
    assert_eq!((&summary["sales"], &summary["refused"]), (&200.into(), &0.into()));
    assert!(summary["events"].as_u64() >= Some(200), "{summary}");
    assert!(summary["seconds"].is_number() && summary["sales_per_second"].is_number());
    let [buyers, maker, seller] = ["buyers", "market_maker", "seller"].map(|who| &summary[who]);
    assert_eq!((&buyers["deposited"], &buyers["lost"]), (&"6400000".into(), &"0".into()));
    for amount in [&maker["received"], &maker["paid"], &seller["earned"]] {
        assert_eq!(*amount, buyers["spent"]);
    }
    assert_eq!((&maker["conceded"], &seller["surplus"]), (&"0".into(), &"0".into()));
}

#[test]
fn the_accounts_agree_after_ten_thousand_sales_with_64_in_flight() {
    let summary = summary(&["--sales", "10000", "--in-flight", "64", "--json"]);
    assert_eq!(summary["sales"], 10_000, "{summary}");
}

#[test]
fn the_accounts_agree_after_two_thousand_sales_of_which_one_in_ten_fails() {
    let summary = summary(&["--sales", "2000", "--fail", "100", "--json"]);
    assert!(summary["sales"].as_u64() >= Some(2000), "{summary}");
    assert!(summary["refused"].as_u64() >= Some(150), "{summary}");
}

#[test]
fn a_file_is_sold_as_well_and_without_a_terminal_there_are_lines() {
    let folder = TempDir::new().unwrap();
    let feed = folder.path().join("feed.jsonl");
    fs::write(&feed, "{\"my\":1}\n{\"my\":2}\n").unwrap();
    let output = demo(&["--sales", "20", "--in-flight", "2", "--feed"]).arg(&feed).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("0 s: 0 keys sold (0.0/s)") && said.contains("20 keys sold in "), "{said}");
    assert!(said.ends_with("agree to the last unit of 10^-18 XBR.\n"), "{said}");
    assert!(!said.contains('\u{1b}'), "no control sequences: {said}");
}

#[test]
fn a_kept_folder_goes_on_from_where_it_was() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("market");
    let run = || summary(&["--sales", "20", "--in-flight", "3", "--json", "--dir", dir.to_str().unwrap()]);
    let spent = |summary: &Value| summary["buyers"]["spent"].as_str().unwrap().parse::<Amount>().unwrap();
    let (first, second) = (run(), run());
    assert_eq!((&first["sales"], &second["sales"]), (&20.into(), &20.into()));
    assert!(spent(&second) > spent(&first) && !spent(&first).is_zero(), "{first} {second}");
    assert_eq!(first["buyers"]["deposited"], second["buyers"]["deposited"]);
}

#[test]
fn its_dashboard_is_where_it_says_and_nowhere_without_a_screen() {
    let mut child =
        demo(&["--http", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    let address =
        line.trim().strip_prefix("the dashboard is at http://").and_then(|rest| rest.strip_suffix('/'));
    let address = address.unwrap_or_else(|| panic!("{line}")).to_owned();
    for (path, part) in [("/", "<title>xbr-seller</title>"), ("/v1/apis", "demo.wind"), ("/readyz", "true")] {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(part), "{path}: {answer}");
    }
    // Where somebody is already another demo says so.
    let second = demo(&["--http", &address, "--json"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains(&format!("cannot listen at {address}")), "{}", said(&second));
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    errors.read_to_string(&mut line).unwrap();

    let output = demo(&["--sales", "5"]).output().unwrap();
    assert!(output.status.success() && !said(&output).contains("http://"), "{}", said(&output));
}

#[test]
fn a_signal_ends_it_with_the_accounts() {
    for signal in ["-INT", "-TERM"] {
        let mut child = demo(&[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        lines.read_line(&mut said).unwrap();
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        lines.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
        assert!(said.ends_with("agree to the last unit of 10^-18 XBR.\n"), "{said}");
    }
}

#[test]
fn the_help_teaches_and_nonsense_is_refused() {
    let help = said(&demo(&["--help"]).output().unwrap());
    for word in ["Examples:", "--feed", "--in-flight", "agree to the last"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    for args in [&["--sales", "0"][..], &["--in-flight", "0"], &["--config", "nowhere.toml"]] {
        assert_eq!(demo(args).output().unwrap().status.code(), Some(2), "{args:?}");
    }
}
