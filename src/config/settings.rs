//! Every key that a configuration sets, with its value: to tell what has changed when it is read again.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Content, Node, Table};

/// The keys of a file, with the environment laid over it, but for those of the list `[[api]]`. Values are texts to
/// compare by, nothing more; secrets are in files of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn of(document: &Table) -> Self {
        let mut settings = BTreeMap::new();
        for (key, node) in document.iter().filter(|(key, _)| *key != "api") {
            note(&mut settings, key.clone(), node);
        }
        Self(settings)
    }

    /// The keys that others set to something else, or that only one of the two sets, but for these.
    pub fn differences(&self, other: &Self, except: &[&str]) -> Vec<String> {
        let keys: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differ = keys.into_iter().filter(|key| self.0.get(*key) != other.0.get(*key));
        differ.filter(|key| !except.contains(&key.as_str())).cloned().collect()
    }
}

fn note(settings: &mut BTreeMap<String, String>, key: String, node: &Node) {
    let value = match &node.content {
        Content::Table(table) => {
            table.iter().for_each(|(name, node)| note(settings, format!("{key}.{name}"), node));
            return;
        }
        Content::List(list) => {
            list.iter().enumerate().for_each(|(i, node)| note(settings, format!("{key}[{i}]"), node));
            // A list that has become shorter differs in its length as well.
            list.len().to_string()
        }
        Content::Text(text) | Content::Raw(text) => text.clone(),
        Content::Integer(integer) => integer.to_string(),
        Content::Boolean(boolean) => boolean.to_string(),
        Content::Other(kind) => (*kind).to_owned(),
    };
    settings.insert(key, value);
}
