//! The building: which crate stands on which floor, and that arrows go down only.
//!
//! A crate uses floors below its own. There are no arrows between crates of one floor, so that each
//! can be read, tested and replaced without its neighbours.

use crate::manifest::Manifest;

/// The crates of the product and their floors. A new crate goes beside others, never between two
/// floors; those that are not there yet have their place kept.
pub const FLOORS: &[(&str, u8)] = &[
    ("adea-base", 0),
    ("adea-store", 1),
    ("adea-script", 1),
    ("adea-multipart", 1),
    ("adea-outbound", 1),
    ("adea-documents", 2),
    ("adea-accounts", 2),
    ("adea-files", 2),
    ("adea-mail", 2),
    ("adea-replication", 2),
    ("adea-access", 2),
    ("adea-feeds", 2),
    ("adea-logux", 2),
    ("adea-ring", 2),
    ("adea-pod", 3),
    ("adea-http", 4),
    ("adea", 5),
];

/// The floor of a crate of the product.
#[must_use]
pub fn floor(name: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, floor)| *floor)
}

/// Arrows of `manifest` that go up or sideways, also those of its tests.
#[must_use]
pub fn wrong_arrows(manifest: &Manifest) -> Vec<String> {
    let name = &manifest.name;
    let Some(own) = floor(name) else {
        return vec![format!(
            "{name} stands on no floor: give it one in xtask/src/floors.rs"
        )];
    };
    let all = manifest
        .dependencies
        .iter()
        .chain(&manifest.dev_dependencies);
    all.filter(|used| is_ours(used))
        .filter_map(|used| match floor(used) {
            None => Some(format!("{name} uses {used}, which stands on no floor")),
            Some(floor) if floor >= own => Some(format!(
                "{name} (floor {own}) uses {used} (floor {floor}): arrows go down only"
            )),
            Some(_) => None,
        })
        .collect()
}

/// Whether a crate is one of the product's own.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    name == "adea" || name.starts_with("adea-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, table: &str, used: &str) -> Vec<String> {
        let text = format!(
            "[package]\nname = \"{name}\"\n[{table}]\n{used} = {{ workspace = true }}\nbytes = \"1\"\n"
        );
        wrong_arrows(&Manifest::parse(&text).unwrap())
    }

    #[test]
    fn arrows_down_are_right() {
        for (name, used) in [
            ("adea", "adea-http"),
            ("adea", "adea-base"),
            ("adea-pod", "adea-files"),
            ("adea-documents", "adea-store"),
        ] {
            assert_eq!(faults(name, "dependencies", used), [""; 0]);
        }
    }

    #[test]
    fn arrows_sideways_and_up_are_wrong_in_tests_too() {
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, used) in [
                ("adea-documents", "adea-accounts"),
                ("adea-documents", "adea-pod"),
                ("adea-store", "adea-documents"),
                ("adea-base", "adea-store"),
                ("adea-pod", "adea-http"),
                ("adea-http", "adea"),
            ] {
                assert_eq!(faults(name, table, used).len(), 1, "{name} -> {used}");
            }
        }
    }

    #[test]
    fn every_crate_needs_a_floor() {
        assert_eq!(faults("adea-cellar", "dependencies", "adea-base").len(), 1);
        assert_eq!(faults("adea-pod", "dependencies", "adea-cellar").len(), 1);
    }
}
