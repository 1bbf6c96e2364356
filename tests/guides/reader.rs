//! Somebody who reads a page and copies its commands, one after the other.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use serde_json::Value;
use tempfile::TempDir;

use crate::pages::{ROOT, all};
use crate::programs::{Running, free_address, said, shell, wait_for};

/// What is done instead of a command, and why.
const INSTEAD: [(&str, &str); 3] = [
    // The test has built the program, and has it on its path.
    ("cargo install --path .", ":"),
    // An optimised build takes minutes, and the demo has no end.
    ("cargo run --release -- demo", "xbr-seller demo --sales 3 --json"),
    // What is in the environment is for pytest to know.
    ("PYTEST_ARGS=\"-k restart\" scripts/test peers", "scripts/test peers"),
];

/// Pages whose commands belong to something that runs, which their own tests provide.
const ELSEWHERE: [&str; 2] = ["docs/http.md", "docs/operations.md"];

struct Reader {
    folder: TempDir,
    /// Where the shell is.
    here: PathBuf,
    /// The addresses that were printed, by the file of the key.
    addresses: BTreeMap<String, String>,
    /// What has not ended, in the order of its start.
    running: Vec<Running>,
}

impl Reader {
    /// With a copy of the configurations whose ports nobody else has.
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("config")).unwrap();
        let (market, http) = (free_address().to_string(), free_address().to_string());
        for entry in fs::read_dir(Path::new(ROOT).join("config")).unwrap().map(Result::unwrap) {
            let Ok(text) = fs::read_to_string(entry.path()) else { continue };
            let text = text.replace("127.0.0.1:8080", &market).replace("127.0.0.1:7070", &http);
            fs::write(folder.path().join("config").join(entry.file_name()), text).unwrap();
        }
        let here = folder.path().to_owned();
        Self { folder, here, addresses: BTreeMap::new(), running: Vec::new() }
    }

    fn follow(&mut self, place: &str, line: &str) {
        let mut command = line.split(" #").next().unwrap_or_default().trim().to_owned();
        if command.is_empty() || command.starts_with('#') {
            return;
        }
        if let Some((_, instead)) = INSTEAD.iter().find(|(shown, _)| *shown == command) {
            command = (*instead).to_owned();
        }
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            [":"] => {}
            [script, args @ ..] if script.trim_start_matches("./").starts_with("scripts/") => {
                check_script(place, script, args);
            }
            ["cargo", "bench", "--workspace", "--bench", name] => {
                // It takes minutes. That it compiles is seen to by the lints.
                let source = Path::new(ROOT).join("benches/benches").join(name).with_extension("rs");
                assert!(source.exists(), "{place}: there is no benchmark {name}");
            }
            ["cd", folder] => {
                self.here.push(folder);
                assert!(self.here.is_dir(), "{place}: {folder}");
            }
            ["xbr-seller", "market", "--config", _] | ["xbr-seller", "run", ..] => self.start(&words),
            ["xbr-seller", "buy", ..] => self.buy(place, &words),
            ["xbr-seller", ..] => self.run(place, &command),
            _ => panic!("{place}: nobody knows how to try {command:?}"),
        }
    }

    /// Runs a command to its end.
    fn run(&mut self, place: &str, command: &str) {
        let who = if command.contains("--buyer 0x…") { "buyer.key" } else { "seller.key" };
        let address = self.addresses.get(who).map_or("0x…", String::as_str);
        let command = command.replace("0x…", address);
        let output = shell(&command, &self.here).output().unwrap();
        assert!(output.status.success(), "{place}: {command}\n{}", said(&output));
        if let Some(file) = command.strip_prefix("xbr-seller keygen --out ") {
            let told = String::from_utf8(output.stdout).unwrap();
            let address = told.lines().find_map(|line| line.strip_prefix("address:"));
            self.addresses.insert(file.to_owned(), address.unwrap().trim().to_owned());
        }
    }

    /// Starts something in a terminal of its own, and waits until it has.
    fn start(&mut self, words: &[&str]) {
        if let Some(maker) = self.addresses.get("market.key") {
            // As the text says.
            for file in ["seller.toml", "buyer.toml"].map(|file| self.here.join(file)) {
                let text = fs::read_to_string(&file).unwrap();
                fs::write(&file, text.replace("0x9a6ee47cdde089c8cea4c6b1aeee86eda770a3be", maker)).unwrap();
            }
        }
        self.running.push(Running::start(self.command(words), "\"started\""));
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
        command.args(&words[1..]).current_dir(&self.here).stdin(Stdio::piped());
        command
    }

    /// Types events into the seller until the buyer shows one.
    fn buy(&mut self, place: &str, words: &[&str]) {
        let mut buyer = self.command(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (lines, bought) = channel();
        let stdout = BufReader::new(buyer.stdout.take().unwrap());
        std::thread::spawn(move || {
            // One is enough.
            stdout.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let seller = self.running.last_mut().unwrap();
        let line = wait_for(place, || {
            seller.feed("{\"temperature\": 21.5}\n");
            bought.try_recv().ok()
        });
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["payload"]["temperature"].to_string(), "21.5", "{place}: {line}");
        buyer.kill().unwrap();
        buyer.wait().unwrap();
    }

    /// Ends what runs, the last first.
    fn leave(mut self) {
        while let Some(running) = self.running.pop() {
            running.stop();
        }
        drop(self.folder);
    }
}

/// A script of the project takes minutes, or calls this test: that it is there, and knows what it is told, has to do.
fn check_script(place: &str, script: &str, args: &[&str]) {
    let help = help_of(&Path::new(ROOT).join(script));
    for arg in args.iter().filter(|arg| arg.parse::<u64>().is_err()) {
        assert!(help.contains(arg), "{place}: {script} does not know {arg}: {help}");
    }
}

/// What a script says of itself, if it knows how to without doing anything.
pub(crate) fn help_of(script: &Path) -> String {
    let text = fs::read_to_string(script).unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(text.contains("-h | --help)") || text.contains("argparse"), "{} has a --help", script.display());
    let output = Command::new(script).arg("--help").output().unwrap();
    assert!(output.status.success(), "{} --help: {}", script.display(), said(&output));
    said(&output)
}

#[test]
fn whoever_copies_the_commands_of_a_page_gets_there() {
    let mut followed = 0;
    for page in all().iter().filter(|page| !ELSEWHERE.contains(&page.name.as_str())) {
        let mut reader = Reader::new();
        for block in page.blocks().iter().filter(|block| block.kind == "sh") {
            for line in block.text.lines() {
                reader.follow(&block.place, line);
                followed += 1;
            }
        }
        reader.leave();
    }
    assert!(followed > 15, "{followed}");
}
