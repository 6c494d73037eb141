//! Files of the repository: where they lie, and which of them should not be there.

use std::io;
use std::path::{Path, PathBuf};

/// Directories that hold what is built or installed, never what is written by hand.
const BUILT: [&str; 6] = [
    "target",
    "node_modules",
    "adea-data",
    "artifacts",
    "corpus",
    "coverage",
];

/// Endings of files that are built, or left behind by a program.
const BUILT_ENDINGS: [&str; 10] = [
    ".o", ".a", ".so", ".rlib", ".rmeta", ".d", ".sst", ".log", ".pyc", ".orig",
];

/// The repository's directory.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Files under `directory` whose names end in `ending`, in order, without what was built. Links are
/// not followed: what they lead to is found where it lies.
///
/// # Errors
/// If a directory cannot be read.
pub fn files(directory: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            let name = name.to_string_lossy();
            if kind.is_dir() && !BUILT.contains(&name.as_ref()) && name != ".git" {
                left.push(entry.path());
            } else if kind.is_file() && name.ends_with(ending) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Those of the tracked `paths` (relative, with `/`) that are built and not written.
#[must_use]
pub fn build_output<'p>(paths: impl Iterator<Item = &'p str>) -> Vec<String> {
    paths
        .filter(|path| {
            path.split('/')
                .rev()
                .skip(1)
                .any(|part| BUILT.contains(&part))
                || BUILT_ENDINGS.iter().any(|ending| path.ends_with(ending))
        })
        .map(|path| format!("{path} is built or left behind: it does not belong here"))
        .collect()
}

/// The relative targets of links in a Markdown text, without what stands behind `#`.
#[must_use]
pub fn relative_links(markdown: &str) -> Vec<&str> {
    markdown
        .split("](")
        .skip(1)
        .filter_map(|after| after.split_once(')'))
        .filter_map(|(target, _)| target.split('#').next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_output_is_seen() {
        let good = ["crates/store/src/store.rs", "docs/target.md", "Cargo.lock"];
        assert_eq!(build_output(good.into_iter()), [""; 0]);
        let bad = [
            "target/release/adea",
            "fuzz/target/x",
            "tests/compat/node_modules/a/b.js",
            "adea-data/store/CURRENT",
            "fuzz/corpus/json/1",
            "crates/x.rlib",
            "server.log",
        ];
        assert_eq!(build_output(bad.into_iter()).len(), bad.len());
    }

    #[test]
    fn links_are_found() {
        let text = "[a](docs/a.md) [b](https://example.org) [c](b.md#part) [d](#here)";
        assert_eq!(relative_links(text), ["docs/a.md", "b.md"]);
    }

    #[test]
    fn files_are_found_in_order() {
        let found = files(&root().join("xtask/src"), ".rs").unwrap();
        assert!(found.is_sorted());
        assert!(found.iter().any(|path| path.ends_with("repository.rs")));
        assert!(found.iter().all(|path| path.is_file()));
    }
}
