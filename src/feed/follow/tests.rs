//! Rotations one by one, and a file that has everything done to it by chance.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::follower::{Follower, Step};
use super::position::{Mark, Position, StateFile};
use crate::feed::lines::LineError;

const MAX: usize = 1000;

/// A file that somebody writes lines into.
struct Log {
    folder: TempDir,
    file: File,
}

impl Log {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = create(&folder.path().join("log"));
        Self { folder, file }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn former(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("log.{number}"))
    }

    fn write(&mut self, text: &str) {
        self.file.write_all(text.as_bytes()).unwrap();
    }

    fn shift(&self) {
        let count = (1..).take_while(|number| self.former(*number).exists()).count();
        for number in (1..=count).rev() {
            fs::rename(self.former(number), self.former(number + 1)).unwrap();
        }
    }

    /// Makes way for a new file. Returns the old one, still open.
    fn rename(&mut self) -> File {
        self.shift();
        fs::rename(self.path(), self.former(1)).unwrap();
        let new = create(&self.path());
        std::mem::replace(&mut self.file, new)
    }

    /// Copies the file and cuts it.
    fn copy_and_cut(&mut self) {
        self.shift();
        fs::copy(self.path(), self.former(1)).unwrap();
        self.file.set_len(0).unwrap();
    }

    fn follow(&self, from: Option<&Arc<Position>>) -> Follower {
        Follower::new(&self.path(), MAX, from.map(|position| kept(&position.mark())))
    }
}

fn create(path: &std::path::Path) -> File {
    OpenOptions::new().append(true).create_new(true).open(path).unwrap()
}

/// A mark that has been on disk.
fn kept(mark: &Mark) -> Mark {
    serde_json::from_str(&serde_json::to_string(mark).unwrap()).unwrap()
}

/// Reads until there is no more: the lines, and the last place.
fn read(follower: &mut Follower) -> (Vec<String>, Option<Arc<Position>>) {
    let (mut lines, mut last) = (Vec::new(), None);
    loop {
        match follower.step().unwrap() {
            Step::Idle => return (lines, last),
            Step::Begun(position) => last = Some(position),
            Step::Line { position, text } => {
                lines.push(text.unwrap());
                last = Some(position);
            }
        }
    }
}

#[test]
fn a_line_is_taken_when_its_end_is_there() {
    let mut log = Log::new();
    let mut follower = log.follow(None);
    log.write("one\nt");
    assert_eq!(read(&mut follower).0, ["one"]);
    log.write("w");
    assert!(read(&mut follower).0.is_empty());
    log.write("o\n");
    let (lines, last) = read(&mut follower);
    assert_eq!(lines, ["two"]);
    assert_eq!(last.map(|last| (last.offset, last.line)), Some((8, 2)));
}

#[test]
fn a_file_that_is_not_there_yet_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let mut follower = Follower::new(&path, MAX, None);
    assert_eq!(follower.step().unwrap(), Step::Idle);
    fs::write(&path, "one\n").unwrap();
    assert_eq!(read(&mut follower).0, ["one"]);
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let error = Follower::new(folder.path(), MAX, None).step().unwrap_err();
    assert!(error.to_string().contains("only those can be followed"), "{error}");
}

#[test]
fn a_line_that_is_too_long_is_told_once_and_passed_over() {
    let mut log = Log::new();
    let mut follower = log.follow(None);
    log.write(&format!("{}\nok\n", "x".repeat(200_000)));
    assert!(matches!(follower.step().unwrap(), Step::Begun(_)));
    let Step::Line { position, text } = follower.step().unwrap() else { panic!("no line") };
    assert_eq!((text, position.line), (Err(LineError::TooLong { max: MAX }), 1));
    assert_eq!(read(&mut follower).0, ["ok"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let mut log = Log::new();
    let mut follower = log.follow(None);
    log.write("1\n");
    assert_eq!(read(&mut follower).0, ["1"]);
    let mut old = log.rename();
    // Whoever writes has not noticed yet.
    old.write_all(b"2\n").unwrap();
    assert_eq!(read(&mut follower).0, ["2"]);
    old.write_all(b"3\nend").unwrap();
    log.write("4\n");
    assert_eq!(read(&mut follower).0, ["3", "end", "4"]);
}

#[test]
fn rotations_during_a_standstill_are_read_in_their_order() {
    let mut log = Log::new();
    log.write("1\n2\n");
    let mut follower = log.follow(None);
    let (_, last) = read(&mut follower);
    log.write("3\n");
    for text in ["4\n", "5\n", "6\n"] {
        drop(log.rename());
        log.write(text);
    }
    // What only looks like one of them is none.
    fs::write(log.path().with_extension("bak"), "no\n").unwrap();
    for mut follower in [follower, log.follow(last.as_ref())] {
        assert_eq!(read(&mut follower).0, ["3", "4", "5", "6"]);
    }
}

#[test]
fn a_file_that_is_copied_and_cut_is_read_on_in_the_copy() {
    let mut log = Log::new();
    log.write("1\n2\n");
    let mut follower = log.follow(None);
    let (_, last) = read(&mut follower);
    log.write("3\n4");
    log.copy_and_cut();
    log.write("5\n6\n7\n8\n");
    for mut follower in [follower, log.follow(last.as_ref())] {
        assert_eq!(read(&mut follower).0, ["3", "4", "5", "6", "7", "8"]);
    }
}

#[test]
fn a_file_that_is_cut_without_a_copy_is_read_from_its_start() {
    for longer in [false, true] {
        let mut log = Log::new();
        log.write("1\n2\n");
        let mut follower = log.follow(None);
        let (_, last) = read(&mut follower);
        log.file.set_len(0).unwrap();
        let after = if longer { vec!["7", "8", "9"] } else { vec!["7"] };
        log.write(&format!("{}\n", after.join("\n")));
        for mut follower in [follower, log.follow(last.as_ref())] {
            assert_eq!(read(&mut follower).0, after);
        }
    }
}

#[test]
fn a_file_that_has_gone_is_followed_by_those_that_came_after_it() {
    let mut log = Log::new();
    log.write("1\n");
    let (_, last) = read(&mut log.follow(None));
    drop(log.rename());
    log.write("2\n");
    drop(log.rename());
    log.write("3\n");
    fs::remove_file(log.former(2)).unwrap();
    assert_eq!(read(&mut log.follow(last.as_ref())).0, ["2", "3"]);
}

#[test]
fn a_file_that_was_replaced_by_a_longer_one_with_the_same_beginning_is_read_on() {
    let mut log = Log::new();
    log.write("1\n2\n");
    let (_, last) = read(&mut log.follow(None));
    let copy = log.folder.path().join("copy");
    fs::write(&copy, "1\n2\n3\n").unwrap();
    fs::rename(copy, log.path()).unwrap();
    assert_eq!(read(&mut log.follow(last.as_ref())).0, ["3"]);
}

#[test]
fn a_position_is_kept_as_a_whole_and_says_what_is_wrong_with_it() {
    let mut log = Log::new();
    log.write("1\n2\n");
    let (_, last) = read(&mut log.follow(None));
    let path = log.folder.path().join("state");
    let state = StateFile::new(&path);
    assert_eq!(state.load().unwrap(), None);
    let mark = last.unwrap().mark();
    state.store(&mark).unwrap();
    assert_eq!(state.load().unwrap(), Some(mark));
    let text = fs::read_to_string(&path).unwrap();
    for (bad, told) in [
        (text[..20].to_owned(), "holds no position"),
        (text.replace("\"version\":1", "\"version\":2"), "made by another version (2)"),
    ] {
        fs::write(&path, bad).unwrap();
        let error = state.load().unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("remove it to have the file read"), "{error}");
    }
}

#[derive(Debug, Clone)]
enum Act {
    /// Writes so many lines.
    Write(u64),
    /// Writes a part of a line, or the rest of it.
    Half,
    /// Rotates the file.
    Rotate,
    /// Writes a line into the file of before, as long as nothing is in the new one.
    Late,
    /// Takes so many steps.
    Read(usize),
    /// Ends the reader, with so many lines settled but not kept, and starts another.
    Crash(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..20_u64).prop_map(Act::Write),
        2 => Just(Act::Half),
        2 => Just(Act::Rotate),
        1 => Just(Act::Late),
        6 => (0..40_usize).prop_map(Act::Read),
        2 => (0..6_usize).prop_map(Act::Crash),
    ]
}

/// A writer, a reader, and what they have done.
struct World {
    log: Log,
    follower: Follower,
    by_copy: bool,
    written: u64,
    half: bool,
    old: Option<File>,
    /// Whether the reader has read anything of the file since it was cut.
    has_read: bool,
    /// Each line that was read, and the place behind it.
    read: Vec<u64>,
    places: Vec<Arc<Position>>,
    /// What is on disk.
    kept: Option<Arc<Position>>,
    repeats: usize,
}

impl World {
    fn new(by_copy: bool) -> Self {
        let log = Log::new();
        let follower = log.follow(None);
        let (read, places) = (Vec::new(), Vec::new());
        let (old, kept) = (None, None);
        Self {
            log,
            follower,
            by_copy,
            written: 0,
            half: false,
            old,
            has_read: false,
            read,
            places,
            kept,
            repeats: 0,
        }
    }

    fn line(&mut self) -> String {
        self.written += 1;
        format!("{{\"number\":{}}}\n", self.written)
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Write(count) => {
                self.end_half();
                self.old = None;
                for _ in 0..*count {
                    let line = self.line();
                    self.log.write(&line);
                }
            }
            Act::Half if self.half => self.end_half(),
            Act::Half => {
                self.old = None;
                self.log.write("{\"number\":");
                self.half = true;
            }
            Act::Rotate => self.rotate(),
            Act::Late => {
                let line = format!("{{\"number\":{}}}\n", self.written + 1);
                if let Some(old) = &mut self.old {
                    old.write_all(line.as_bytes()).unwrap();
                    self.written += 1;
                }
            }
            Act::Read(steps) => {
                let _ = (0..*steps).all(|_| self.step());
            }
            Act::Crash(lost) => self.crash(*lost),
        }
    }

    fn end_half(&mut self) {
        if std::mem::take(&mut self.half) {
            self.written += 1;
            let rest = format!("{}}}\n", self.written);
            self.log.write(&rest);
        }
    }

    fn rotate(&mut self) {
        if !self.by_copy {
            self.end_half();
            // A writer that rotates again has noticed the rotation before.
            let old = self.log.rename();
            self.old = Some(old);
        } else if self.has_read && self.kept.as_ref().is_some_and(|kept| kept.offset > 0) {
            // Nobody can tell that a file was cut of which nothing was read.
            self.end_half();
            self.log.copy_and_cut();
            self.has_read = false;
        }
    }

    /// Whether there may be more.
    fn step(&mut self) -> bool {
        match self.follower.step().unwrap() {
            Step::Idle => return false,
            Step::Begun(position) => {
                self.kept = self.kept.take().or(Some(position));
                self.has_read = false;
            }
            Step::Line { position, text } => {
                let text = text.unwrap();
                let number = text.trim_start_matches("{\"number\":").trim_end_matches('}');
                self.read.push(number.parse().unwrap_or_else(|_| panic!("{text} was never written")));
                self.places.push(position);
                self.has_read = true;
            }
        }
        true
    }

    fn crash(&mut self, lost: usize) {
        let lost = lost.min(self.places.len());
        let kept = self.places.len() - lost;
        self.kept = kept.checked_sub(1).and_then(|at| self.places.get(at)).cloned().or(self.kept.take());
        self.repeats += lost;
        self.places.clear();
        self.follower = self.log.follow(self.kept.as_ref());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_line_is_ever_lost_and_lines_are_repeated_after_a_crash_only(
        by_copy: bool,
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut world = World::new(by_copy);
        while world.step() {}
        for act in &acts {
            world.act(act);
        }
        world.act(&Act::Write(1));
        while world.step() {}
        let mut seen = 0;
        let mut repeats = 0;
        for number in &world.read {
            prop_assert!(*number <= seen + 1, "{number} after {seen}: {:?}", world.read);
            repeats += usize::from(*number <= seen);
            seen = seen.max(*number);
        }
        prop_assert_eq!(seen, world.written);
        prop_assert!(repeats <= world.repeats, "{repeats} repeats");
    }
}
