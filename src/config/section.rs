//! Taking typed values out of a table, key by key. What is wrong is noted and reading goes on, so that an
//! operator hears of everything at once.

use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::document::{Content, Node, Table};
use super::problem::{Place, Problem, ProblemKind};

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Report(RefCell<Vec<Problem>>);

impl Report {
    pub(super) fn note(&self, place: Place, key: impl Into<String>, kind: ProblemKind) {
        self.0.borrow_mut().push(Problem { place, key: key.into(), kind });
    }

    /// How much is wrong so far.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn extend(&self, problems: Vec<Problem>) {
        self.0.borrow_mut().extend(problems);
    }

    /// Everything, in the order of the file; what is in no line comes last.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|problem| match problem.place {
            Place::Line(line) => line,
            Place::Variable(_) | Place::Option(_) | Place::Default => usize::MAX,
        });
        problems
    }
}

/// A value that was read, with what a later complaint about it needs.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) value: T,
}

impl<T> Located<T> {
    /// Notes that the value cannot be used after all.
    pub(super) fn complain(&self, report: &Report, kind: ProblemKind) {
        report.note(self.place.clone(), self.key.clone(), kind);
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { place: self.place, key: self.key, value: change(self.value) }
    }
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    report: &'a Report,
    place: Place,
    path: String,
    table: Table,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(report: &'a Report, place: Place, path: impl Into<String>, table: Table) -> Self {
        Self { report, place, path: path.into(), table, known: Vec::new() }
    }

    /// Where the table begins.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Whether there is a key that nobody has asked for yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The path of a key of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes something about the table as a whole, or about what its keys mean together.
    pub(super) fn complain(&self, kind: ProblemKind) {
        self.report.note(self.place.clone(), self.path.clone(), kind);
    }

    /// The value of a key, if it is there and can be used.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(Node) -> Result<T, ProblemKind>,
    ) -> Option<T> {
        self.located(key, parse).map(|located| located.value)
    }

    /// [`optional`](Self::optional), with its place.
    pub(super) fn located<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(Node) -> Result<T, ProblemKind>,
    ) -> Option<Located<T>> {
        self.known.push(key);
        let node = self.table.remove(key)?;
        let (place, path) = (node.place.clone(), self.path_of(key));
        match parse(node) {
            Ok(value) => Some(Located { place, key: path, value }),
            Err(kind) => {
                self.report.note(place, path, kind);
                None
            }
        }
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        parse: impl FnOnce(Node) -> Result<T, ProblemKind>,
    ) -> Option<Located<T>> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.report.note(self.place.clone(), self.path_of(key), ProblemKind::Missing { expected });
            return None;
        }
        self.located(key, parse)
    }

    /// A table below this one. A missing one reads as an empty one.
    pub(super) fn table(&mut self, key: &'static str) -> Section<'a> {
        let found = self.located(key, table).map(|found| (found.place, found.value));
        let (place, table) = found.unwrap_or_else(|| (self.place.clone(), Table::new()));
        Section::new(self.report, place, self.path_of(key), table)
    }

    /// The tables of an array of tables.
    pub(super) fn tables(&mut self, key: &'static str, expected: &'static str) -> Vec<Section<'a>> {
        let entries = self.optional(key, |node| list(node, expected)).unwrap_or_default();
        let mut sections = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let (place, path) = (entry.place.clone(), format!("{}[{index}]", self.path_of(key)));
            match table(entry) {
                Ok(table) => sections.push(Section::new(self.report, place, path, table)),
                Err(kind) => self.report.note(place, path, kind),
            }
        }
        sections
    }

    /// [`tables`](Self::tables), at least one.
    pub(super) fn required_tables(&mut self, key: &'static str, expected: &'static str) -> Vec<Section<'a>> {
        let before = self.report.count();
        let sections = self.tables(key, expected);
        if sections.is_empty() && self.report.count() == before {
            self.report.note(self.place.clone(), self.path_of(key), ProblemKind::Missing { expected });
        }
        sections
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(&self) {
        for (key, node) in &self.table {
            let near = |known: &&&'static str| strsim::damerau_levenshtein(key, known);
            let suggestion = self.known.iter().min_by_key(near).copied();
            let suggestion = suggestion.filter(|known| near(&known) <= 1 + known.len() / 4);
            let kind = ProblemKind::Unknown { suggestion, known: self.known.clone() };
            self.report.note(node.place.clone(), self.path_of(key), kind);
        }
    }
}

/// A string.
pub(super) fn text(node: Node) -> Result<String, ProblemKind> {
    text_that_is(node, "a string")
}

/// A string, described for whoever gave something else.
pub(super) fn text_that_is(node: Node, expected: &'static str) -> Result<String, ProblemKind> {
    let actual = node.kind();
    match node.content {
        Content::Text(text) | Content::Raw(text) => Ok(text),
        _ => Err(ProblemKind::Type { expected, actual }),
    }
}

/// A string that is parsed.
pub(super) fn parsed<T>(node: Node) -> Result<T, ProblemKind>
where
    T: FromStr<Err: Display>,
{
    text(node)?.parse().map_err(ProblemKind::value)
}

/// One of some words.
pub(super) fn word<T: Copy>(node: Node, words: &[(&str, T)]) -> Result<T, ProblemKind> {
    let text = text(node)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        ProblemKind::Value {
            reason: format!("must be one of {}, got {:?}", names.join(", "), shorten(&text)),
        }
    })
}

/// An integer within bounds.
pub(super) fn integer<T>(node: Node, least: T, most: T) -> Result<T, ProblemKind>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    let expected = "an integer";
    let actual = node.kind();
    let integer = match node.content {
        Content::Integer(integer) => integer,
        Content::Raw(raw) => raw.trim().parse().map_err(|_| ProblemKind::Type { expected, actual })?,
        _ => return Err(ProblemKind::Type { expected, actual }),
    };
    let value = T::try_from(integer).ok().filter(|value| *value >= least && *value <= most);
    value.ok_or_else(|| ProblemKind::Value {
        reason: format!("must be from {least} to {most}, got {integer}"),
    })
}

/// `true` or `false`.
pub(super) fn boolean(node: Node) -> Result<bool, ProblemKind> {
    let actual = node.kind();
    match node.content {
        Content::Boolean(boolean) => Ok(boolean),
        Content::Raw(raw) => {
            raw.trim().parse().map_err(|_| ProblemKind::Type { expected: "true or false", actual })
        }
        _ => Err(ProblemKind::Type { expected: "true or false", actual }),
    }
}

/// A duration such as `"10s"`.
pub(super) fn duration(node: Node) -> Result<Duration, ProblemKind> {
    let text = text_that_is(node, "a duration such as \"10s\" or \"1m 30s\"")?;
    let wrong = |error| {
        let text = shorten(&text);
        ProblemKind::Value {
            reason: format!("must be a duration such as 10s or 1m 30s, got {text:?}: {error}"),
        }
    };
    humantime::parse_duration(&text).map_err(wrong)
}

/// A list; from the environment in the notation of TOML, or with commas between its strings.
pub(super) fn list(node: Node, expected: &'static str) -> Result<Vec<Node>, ProblemKind> {
    if let Content::Raw(raw) = &node.content
        && !raw.trim_start().starts_with('[')
    {
        let item =
            |text: &str| Node { place: node.place.clone(), content: Content::Raw(text.trim().to_owned()) };
        return Ok(raw.split(',').map(item).collect());
    }
    let node = node.expand()?;
    let actual = node.kind();
    match node.content {
        Content::List(items) => Ok(items),
        _ => Err(ProblemKind::Type { expected, actual }),
    }
}

/// A table; from the environment in the notation of TOML.
pub(super) fn table(node: Node) -> Result<Table, ProblemKind> {
    let node = node.expand()?;
    let actual = node.kind();
    match node.content {
        Content::Table(table) => Ok(table),
        _ => Err(ProblemKind::Type { expected: "a table", actual }),
    }
}

/// A text that may be long, cut for a message.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}
