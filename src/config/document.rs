//! The configuration as a tree that remembers where each value comes from: the TOML file, with the
//! environment variables `XBR_SELLER__SECTION__KEY` laid over it.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{ConfigError, Place, Problem, ProblemKind};

/// What the names of overriding environment variables begin with.
pub(super) const PREFIX: &str = "XBR_SELLER__";

/// An option of the command line that stands for a key.
#[derive(Debug, Clone)]
pub(super) struct CliOption {
    /// With its dashes, for messages.
    pub(super) name: &'static str,
    /// The path of the key.
    pub(super) key: &'static str,
    pub(super) value: String,
}

/// A table: its keys in alphabetical order.
pub(super) type Table = BTreeMap<String, Node>;

/// A value, and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A string of the file.
    Text(String),
    /// What an environment variable holds, whose type is the one that is expected of it.
    Raw(String),
    Integer(i128),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// Something that no key takes: a float or a date.
    Other(&'static str),
}

impl Node {
    /// The type, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Text(_) | Content::Raw(_) => "a string",
            Content::Integer(_) => "an integer",
            Content::Boolean(_) => "a boolean",
            Content::List(_) => "a list",
            Content::Table(_) => "a table",
            Content::Other(kind) => kind,
        }
    }

    /// An environment variable's value where a list or a table is expected: in the notation of TOML.
    pub(super) fn expand(self) -> Result<Self, ProblemKind> {
        let Content::Raw(raw) = &self.content else { return Ok(self) };
        let text = format!("value = {raw}\n");
        let wrong =
            || ProblemKind::Value { reason: "is not a list or table in the notation of TOML".to_owned() };
        let table = DeTable::parse(&text).map_err(|_| wrong())?;
        let place = self.place.clone();
        let mut table = convert_table(table.get_ref(), &|_| place.clone());
        table.remove("value").ok_or_else(wrong)
    }
}

/// Reads the file's text.
pub(super) fn parse(path: &Path, text: &str) -> Result<Table, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let before = text.get(..offset).unwrap_or(text);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        // The parser's advice may run over several lines.
        let reason = error.message().lines().collect::<Vec<_>>().join(", ");
        ConfigError::Syntax { path: path.to_owned(), line: line_of(text, offset), column, reason }
    })?;
    Ok(convert_table(table.get_ref(), &|offset| Place::Line(line_of(text, offset))))
}

/// Lays environment variables over the file, in the order of their names.
pub(super) fn override_with(
    table: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<Problem> {
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort();
    let mut problems = Vec::new();
    for (name, value) in variables {
        let key = name.strip_prefix(PREFIX).unwrap_or(&name).to_ascii_lowercase().replace("__", ".");
        problems.extend(lay_over(table, Place::Variable(name), key, value));
    }
    problems
}

/// Lays options of the command line over the file and the environment.
pub(super) fn set_options(table: &mut Table, options: &[CliOption]) -> Vec<Problem> {
    let set = |option: &CliOption| {
        let CliOption { name, key, value } = option;
        lay_over(table, Place::Option(name), (*key).to_owned(), value.clone())
    };
    options.iter().filter_map(set).collect()
}

fn lay_over(table: &mut Table, place: Place, key: String, value: String) -> Option<Problem> {
    let parts: Vec<&str> = key.split('.').collect();
    let raw = Node { place: place.clone(), content: Content::Raw(value) };
    set(table, &parts, raw).err().map(|kind| Problem { place, key, kind })
}

fn set(table: &mut Table, parts: &[&str], value: Node) -> Result<(), ProblemKind> {
    match parts {
        [] => Ok(()),
        [key] => {
            table.insert((*key).to_owned(), value);
            Ok(())
        }
        [key, rest @ ..] => {
            let is_list = rest.first().is_some_and(|part| part.bytes().all(|c| c.is_ascii_digit()));
            let empty = if is_list { Content::List(Vec::new()) } else { Content::Table(Table::new()) };
            let node = table
                .entry((*key).to_owned())
                .or_insert_with(|| Node { place: value.place.clone(), content: empty });
            set_below(node, rest, value)
        }
    }
}

fn set_below(node: &mut Node, parts: &[&str], value: Node) -> Result<(), ProblemKind> {
    *node = node.clone().expand()?;
    let actual = node.kind();
    match (&mut node.content, parts) {
        (Content::Table(table), parts) => set(table, parts, value),
        (Content::List(entries), [index, rest @ ..]) => {
            let count = entries.len();
            let index = index.parse().ok().filter(|index| *index <= count);
            let index: usize = index.ok_or(ProblemKind::Index { count })?;
            if index == count {
                entries.push(Node { place: value.place.clone(), content: Content::Table(Table::new()) });
            }
            match (entries.get_mut(index), rest) {
                (Some(entry), []) => *entry = value,
                (Some(entry), rest) => set_below(entry, rest, value)?,
                (None, _) => {}
            }
            Ok(())
        }
        _ => Err(ProblemKind::Type { expected: "a table or a list, to be overridden in part", actual }),
    }
}

fn convert_table(table: &DeTable<'_>, place: &dyn Fn(usize) -> Place) -> Table {
    let entry = |(key, value): (&Spanned<_>, &Spanned<_>)| {
        let text: &std::borrow::Cow<'_, str> = key.get_ref();
        (text.to_string(), convert(value.get_ref(), key.span().start, place))
    };
    table.iter().map(entry).collect()
}

fn convert(value: &DeValue<'_>, offset: usize, place: &dyn Fn(usize) -> Place) -> Node {
    let content = match value {
        DeValue::String(text) => Content::Text(text.to_string()),
        DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(integer) => Content::Integer(integer),
            Err(_) => Content::Other("an integer out of range"),
        },
        DeValue::Boolean(boolean) => Content::Boolean(*boolean),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| convert(item.get_ref(), item.span().start, place));
            Content::List(items.collect())
        }
        DeValue::Table(table) => Content::Table(convert_table(table, place)),
        DeValue::Float(_) => Content::Other("a float"),
        DeValue::Datetime(_) => Content::Other("a date or time"),
    };
    Node { place: place(offset), content }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
