//! Outside crates and who may use them.
//!
//! What is slow to compile, large or a decision of its own has one keeper, so that it can be
//! replaced in one place. What decides (`base`, `documents`, `accounts`) has no runtime, and so no
//! way to wait, to read a socket or to start a task.

use crate::floors::is_ours;
use crate::manifest::Manifest;

/// Those that every crate may use.
const ANYBODY: &[&str] = &[
    "base",
    "store",
    "script",
    "multipart",
    "outbound",
    "documents",
    "access",
    "accounts",
    "files",
    "mail",
    "replication",
    "pod",
    "http",
    "adea",
    "xtask",
];

/// An outside crate and the crates that may use it, without `adea-` before their names.
pub const KEEPERS: &[(&str, &[&str])] = &[
    ("argon2", &["accounts"]),
    ("aws-lc-rs", &["accounts"]),
    ("base64", ANYBODY),
    ("bcrypt", &["accounts"]),
    (
        "bytes",
        &[
            "documents",
            "files",
            "script",
            "multipart",
            "outbound",
            "replication",
            "pod",
            "http",
            "adea",
        ],
    ),
    ("clap", &["adea"]),
    ("flate2", &["files", "http"]),
    ("getrandom", &["base"]),
    ("governor", &["pod"]),
    ("hashbrown", &["store"]),
    ("hmac", &["access", "accounts"]),
    ("http", &["outbound", "replication", "http", "adea"]),
    ("http-body", &["outbound", "http"]),
    ("http-body-util", &["outbound", "http", "adea"]),
    ("httpdate", &["http"]),
    ("hyper", &["outbound", "http", "adea"]),
    ("hyper-rustls", &["outbound"]),
    ("hyper-util", &["outbound", "http", "adea"]),
    ("icu_collator", &["documents"]),
    ("idna", &["accounts"]),
    ("itoa", ANYBODY),
    ("jsonschema", &["access"]),
    ("jsonwebtoken", &["accounts"]),
    ("lettre", &["mail"]),
    ("libz-sys", &["files", "http"]),
    ("md-5", &["documents", "files", "replication"]),
    ("memchr", ANYBODY),
    ("minijinja", &["mail"]),
    ("num-bigint", &["documents"]),
    ("parking_lot", ANYBODY),
    ("pbkdf2", &["accounts"]),
    ("prometheus-client", &["http"]),
    ("regex", &["accounts", "documents"]),
    ("rocksdb", &["store"]),
    ("rquickjs", &["script"]),
    ("rustix", &["script", "adea"]),
    ("rustls", &["outbound"]),
    ("seccompiler", &["script"]),
    ("serde", ANYBODY),
    ("serde_json", ANYBODY),
    ("sha1", &["accounts", "pod"]),
    (
        "sha2",
        &["access", "accounts", "files", "script", "documents", "pod"],
    ),
    ("socket2", &["http"]),
    ("subtle", &["access", "accounts"]),
    ("thiserror", ANYBODY),
    (
        "tokio",
        &[
            "store",
            "script",
            "outbound",
            "files",
            "replication",
            "mail",
            "pod",
            "http",
            "adea",
        ],
    ),
    ("toml_edit", &["adea", "xtask"]),
    ("tower-service", &["outbound"]),
    (
        "tracing",
        &[
            "store",
            "script",
            "outbound",
            "files",
            "replication",
            "mail",
            "pod",
            "http",
            "adea",
        ],
    ),
    ("tracing-subscriber", &["adea"]),
    ("unicode-normalization", &["accounts"]),
    ("unicode-security", &["accounts"]),
    ("utoipa", &["http"]),
    ("webauthn-rs", &["accounts"]),
    ("xxhash-rust", &["documents", "accounts"]),
];

/// Outside crates that only tests use, wherever they like.
pub const OF_TESTS: &[&str] = &["proptest", "tempfile"];

/// Outside crates in the hands of somebody who is not their keeper, or that have none.
#[must_use]
pub fn strangers(manifest: &Manifest) -> Vec<String> {
    let name = &manifest.name;
    let short = name.strip_prefix("adea-").unwrap_or(name);
    let check = |used: &String| match KEEPERS.iter().find(|(known, _)| known == used) {
        None => Some(format!(
            "{name} uses {used}, which has no keeper: name one in xtask/src/keepers.rs"
        )),
        Some((_, keepers)) if !keepers.contains(&short) => Some(format!(
            "{name} uses {used}, which is for {} only",
            keepers.join(", ")
        )),
        Some(_) => None,
    };
    let outside = manifest.dependencies.iter().filter(|used| !is_ours(used));
    let of_tests = manifest
        .dev_dependencies
        .iter()
        .filter(|used| !is_ours(used) && !OF_TESTS.contains(&used.as_str()));
    outside.chain(of_tests).filter_map(check).collect()
}

/// Entries of [`KEEPERS`] that nobody uses any more.
#[must_use]
pub fn unused(manifests: &[Manifest]) -> Vec<String> {
    KEEPERS
        .iter()
        .filter(|(known, _)| {
            !manifests
                .iter()
                .any(|manifest| manifest.dependencies.iter().any(|used| used == known))
        })
        .map(|(known, _)| format!("nobody uses {known}: take it out of xtask/src/keepers.rs"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, table: &str, used: &str) -> Manifest {
        let text = format!("[package]\nname = \"{name}\"\n[{table}]\n{used} = \"1\"\n");
        Manifest::parse(&text).unwrap()
    }

    #[test]
    fn keepers_keep() {
        for (name, used) in [
            ("adea-store", "rocksdb"),
            ("adea-http", "hyper"),
            ("adea", "clap"),
            ("adea-base", "thiserror"),
            ("xtask", "toml_edit"),
        ] {
            assert_eq!(strangers(&manifest(name, "dependencies", used)), [""; 0]);
        }
        let test = manifest("adea-base", "dev-dependencies", "proptest");
        assert_eq!(strangers(&test), [""; 0]);
    }

    #[test]
    fn strangers_are_seen() {
        for (name, table, used) in [
            ("adea-documents", "dependencies", "rocksdb"),
            ("adea-documents", "dependencies", "tokio"),
            ("adea-pod", "dependencies", "hyper"),
            ("adea-http", "dev-dependencies", "clap"),
            ("adea-http", "dependencies", "proptest"),
            ("adea-http", "dependencies", "never-heard-of"),
        ] {
            assert_eq!(strangers(&manifest(name, table, used)).len(), 1, "{used}");
        }
    }

    #[test]
    fn entries_that_nobody_uses_are_seen() {
        let all: Vec<Manifest> = KEEPERS
            .iter()
            .map(|(used, _)| manifest("adea", "dependencies", used))
            .collect();
        assert_eq!(unused(&all), [""; 0]);
        assert_eq!(unused(&all[1..]).len(), 1);
    }
}
