//! What the text names is there: options, commands, files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::pages::{ROOT, all};
use crate::programs::{World, said};
use crate::reader::help_of;

/// Options of other programs that are named: of cargo and curl.
const FOREIGN: [&str; 6] = ["--bench", "--max-time", "--open", "--path", "--release", "--workspace"];

/// Whatever begins like an option.
fn options(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("--") && word.contains(|c: char| c.is_ascii_lowercase())).collect()
}

#[test]
fn every_option_that_is_named_is_one() {
    let world = World::new("");
    // Which has those of all commands.
    let mut helps = vec![world.succeed(&["completions", "bash"])];
    for entry in fs::read_dir(Path::new(ROOT).join("scripts")).unwrap().map(Result::unwrap) {
        helps.push(help_of(&entry.path()));
    }
    let known: BTreeSet<&str> = helps.iter().flat_map(|help| options(help)).chain(FOREIGN).collect();
    for page in all() {
        for option in options(&page.text) {
            assert!(known.contains(option), "{}: there is no option {option}", page.name);
        }
    }
}

#[test]
fn every_command_that_is_named_is_one() {
    let world = World::new("");
    let mut named = BTreeSet::new();
    for page in all() {
        for span in page.text.split("`xbr-seller ").skip(1) {
            let words = span.split('`').next().unwrap().split_whitespace();
            let is_command = |word: &&str| word.bytes().all(|c| c.is_ascii_lowercase());
            named.insert(words.take_while(is_command).map(str::to_owned).collect::<Vec<_>>());
        }
    }
    assert!(named.len() > 5, "{named:?}");
    for command in named {
        let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        world.succeed(&words);
    }
}

#[test]
fn every_link_leads_somewhere() {
    for page in all() {
        let folder = Path::new(ROOT).join(&page.name).parent().unwrap().to_owned();
        for link in page.text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            if !link.contains("://") {
                assert!(folder.join(file).exists(), "{}: {link}", page.name);
            }
        }
    }
}

/// Whether systemd can read the unit is for systemd to say; where it is not, that there are keys and values.
#[test]
fn the_unit_of_the_service_can_be_read() {
    let unit = fs::read_to_string(Path::new(ROOT).join("config/xbr-seller.service")).unwrap();
    let world = World::new("");
    let program = env!("CARGO_BIN_EXE_xbr-seller");
    world.write("xbr-seller.service", &unit.replace("/usr/local/bin/xbr-seller", program));
    let mut verify = Command::new("systemd-analyze");
    match verify.arg("verify").arg(world.path("xbr-seller.service")).output() {
        Ok(output) => {
            let told = said(&output);
            let about_it: Vec<_> = told.lines().filter(|line| line.contains("xbr-seller.service")).collect();
            assert!(about_it.is_empty(), "{told}");
        }
        Err(_) => {
            for line in unit.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
                let is_section = line.starts_with('[') && line.ends_with(']');
                assert!(
                    is_section || line.split_once('=').is_some_and(|(key, _)| !key.contains(' ')),
                    "{line}"
                );
            }
        }
    }
}

/// No image is built here: what it copies and runs is there.
#[test]
fn the_container_file_runs_what_there_is() {
    let text = fs::read_to_string(Path::new(ROOT).join("config/Containerfile")).unwrap();
    let words_of = |instruction: &str| -> Vec<String> {
        let list = text.lines().map(str::trim).find_map(|line| line.strip_prefix(instruction));
        serde_json::from_str(list.unwrap()).unwrap()
    };
    assert_eq!(words_of("ENTRYPOINT "), ["xbr-seller"]);
    let world = World::new("");
    // The first one is that of the health check, the other that of the image.
    let checks = words_of("CMD ");
    assert_eq!(checks[0], "xbr-seller");
    let default = text.lines().rev().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let default: Vec<String> = serde_json::from_str(default).unwrap();
    for command in [&checks[1..], &default] {
        let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        assert!(
            world.succeed(&words).contains("XBR_SELLER_CONFIG"),
            "{words:?} is told where the configuration is"
        );
    }
    let built = text.lines().find(|line| line.starts_with("RUN cargo ")).unwrap();
    assert!(built.ends_with("cargo build --release --locked --bin xbr-seller"), "{built}");
    assert!(text.contains("COPY --from=build /src/target/release/xbr-seller /usr/local/bin/xbr-seller\n"));
    let ignored = fs::read_to_string(Path::new(ROOT).join(".dockerignore")).unwrap();
    assert!(["target", ".git", ".peers"].iter().all(|name| ignored.lines().any(|line| line == *name)));
}
