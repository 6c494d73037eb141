//! The repository keeps its own rules. Each test lists all that is wrong, so that one run tells.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the repository has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::manifest::Manifest;
use xtask::{errors, floors, keepers, repository, source};

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A path as the sentences have it.
fn shown(path: &Path) -> String {
    let relative = path.strip_prefix(repository::root()).unwrap_or(path);
    relative.to_string_lossy().replace('\\', "/")
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn crate_manifests() -> Vec<Manifest> {
    let crates = repository::files(&repository::root().join("crates"), "Cargo.toml").unwrap();
    assert!(crates.len() >= 8, "the crates are found");
    crates
        .iter()
        .map(|path| Manifest::parse(&read(path)).unwrap())
        .collect()
}

fn own_manifest() -> Manifest {
    Manifest::parse(&read(&repository::root().join("xtask/Cargo.toml"))).unwrap()
}

#[test]
fn arrows_between_crates_go_down() {
    let manifests = crate_manifests();
    let faults: Vec<String> = manifests.iter().flat_map(floors::wrong_arrows).collect();
    assert_none(&faults);
    // What is held here bites: one wrong line in a real manifest is found.
    let documents = repository::root().join("crates/documents/Cargo.toml");
    let wrong = read(&documents).replacen(
        "[dependencies]\n",
        "[dependencies]\nadea-accounts = { workspace = true }\n",
        1,
    );
    assert_eq!(
        floors::wrong_arrows(&Manifest::parse(&wrong).unwrap()).len(),
        1
    );
}

#[test]
fn outside_crates_stay_with_their_keepers() {
    let mut manifests = crate_manifests();
    manifests.push(own_manifest());
    let mut faults: Vec<String> = manifests.iter().flat_map(keepers::strangers).collect();
    faults.extend(keepers::unused(&manifests));
    assert_none(&faults);
}

/// Sources, and whether only tests compile them.
fn sources() -> Vec<(PathBuf, String, bool)> {
    let root = repository::root();
    let mut paths = repository::files(&root.join("crates"), ".rs").unwrap();
    paths.extend(repository::files(&root.join("xtask"), ".rs").unwrap());
    paths.extend(repository::files(&root.join("fuzz"), ".rs").unwrap());
    let texts: Vec<(PathBuf, String)> = paths
        .into_iter()
        .map(|path| {
            let text = read(&path);
            (path, text)
        })
        .collect();
    let of_tests: Vec<PathBuf> = texts
        .iter()
        .flat_map(|(path, text)| {
            let inside = match path.file_name().and_then(|name| name.to_str()) {
                Some("lib.rs" | "main.rs") => path.parent().unwrap().to_owned(),
                _ => path.with_extension(""),
            };
            let modules = source::test_modules(text).into_iter();
            modules
                .map(move |module| inside.join(format!("{module}.rs")))
                .collect::<Vec<_>>()
        })
        .collect();
    texts
        .into_iter()
        .map(|(path, text)| {
            let is_test = of_tests.contains(&path) || shown(&path).contains("/tests/");
            (path, text, is_test)
        })
        .collect()
}

#[test]
fn sources_are_short_and_say_what_they_are_for() {
    let sources = sources();
    assert!(sources.len() > 100, "the sources are found");
    let faults: Vec<String> = sources
        .iter()
        .flat_map(|(path, text, is_test)| source::faults(&shown(path), text, *is_test))
        .collect();
    assert_none(&faults);
}

#[test]
fn every_error_word_is_documented() {
    let root = repository::root();
    // What can go wrong with accounts and what belongs to them has a file an area.
    let areas = repository::files(&root.join("crates/http/src/error"), ".rs").unwrap();
    let areas = areas.iter().map(|path| read(path));
    let source = read(&root.join("crates/http/src/error.rs")) + &areas.collect::<String>();
    let table = read(&root.join("docs/errors.md"));
    assert!(errors::answers_in_source(&source).unwrap().len() > 20);
    assert_none(&errors::faults(&source, &table).unwrap());
}

#[test]
fn the_repository_holds_no_build_output() {
    let root = repository::root();
    let ignored = read(&root.join(".gitignore"));
    for directory in ["/target", "node_modules", "/adea-data"] {
        assert!(
            ignored.lines().any(|line| line == directory),
            "{directory} is not ignored"
        );
    }
    // A source archive has no git, and nothing tracked to look at.
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(&root)
        .output();
    if let Ok(listed) = listed
        && listed.status.success()
    {
        let names = String::from_utf8(listed.stdout).unwrap();
        let paths = names.split('\0').filter(|path| !path.is_empty());
        assert_none(&repository::build_output(paths));
    }
}

#[test]
fn the_reference_of_settings_names_every_setting() {
    let root = repository::root();
    let reference = read(&root.join("docs/configuration.md"));
    let config = read(&root.join("crates/adea/src/config.rs"));
    // A setting is declared as `field: Type = "key", …`.
    let keys: Vec<&str> = config
        .split(" = \"")
        .skip(1)
        .filter_map(|after| after.split_once("\","))
        .map(|(key, _)| key)
        .filter(|key| {
            key.bytes()
                .all(|b| b.is_ascii_lowercase() || b"._".contains(&b))
        })
        .collect();
    assert!(keys.contains(&"listen") && keys.len() > 15, "{keys:?}");
    for key in keys {
        assert!(
            reference.contains(&format!("| `{key}` |")),
            "docs/configuration.md lacks {key}: adea config explain --markdown > docs/configuration.md"
        );
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = repository::root();
    let mut documents = repository::files(&root.join("docs"), ".md").unwrap();
    documents.push(root.join("README.md"));
    documents.push(root.join("fuzz/README.md"));
    assert!(documents.len() > 10, "the documents are found");
    let mut faults = Vec::new();
    for document in documents {
        let text = read(&document);
        let directory = document.parent().unwrap();
        for link in repository::relative_links(&text) {
            if !directory.join(link).exists() {
                faults.push(format!("{} links to {link}", shown(&document)));
            }
        }
    }
    assert_none(&faults);
}
