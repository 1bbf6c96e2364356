//! The pages, and what stands in them between fences.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A page.
pub(crate) struct Page {
    /// Its path below the root.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What stands between fences.
#[derive(Debug)]
pub(crate) struct Block {
    /// Where it is, for whoever has to mend it.
    pub(crate) place: String,
    /// The words after the fence.
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// All of them: those of a new one are tested without more ado.
pub(crate) fn all() -> Vec<Page> {
    let guides = fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let guides = guides.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut paths: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md"].map(|name| Path::new(ROOT).join(name)).into();
    paths.extend(guides);
    let pages = paths.iter().map(|path| Page {
        name: path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(path).unwrap(),
    });
    pages.collect()
}

pub(crate) fn page(name: &str) -> Page {
    all().into_iter().find(|page| page.name == name).unwrap()
}

impl Page {
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (number, line) in self.text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(kind)) => {
                    let place = format!("{}:{}", self.name, number + 1);
                    open = Some(Block { place, kind: kind.to_owned(), text: String::new() });
                }
                (Some(_), Some("")) => blocks.extend(open.take()),
                (Some(block), _) => block.text.extend([line, "\n"]),
                (None, None) => {
                    let place = format!("{}:{}", self.name, number + 1);
                    assert!(
                        !line.starts_with("    "),
                        "{place}: code is to stand between fences, with its kind"
                    );
                }
            }
        }
        assert!(open.is_none(), "{open:?}");
        blocks
    }
}
