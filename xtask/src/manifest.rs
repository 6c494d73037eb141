//! What a `Cargo.toml` says that the rules ask about: the crate's name, and what it depends on.

use toml_edit::{DocumentMut, Item, TableLike};

/// A crate's manifest, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The package's name.
    pub name: String,
    /// What it uses when it runs or is built.
    pub dependencies: Vec<String>,
    /// What only its tests use.
    pub dev_dependencies: Vec<String>,
}

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// A sentence that says why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: DocumentMut = text
            .parse()
            .map_err(|error| format!("a manifest is no TOML: {error}"))?;
        let root = document.as_table();
        let name = root
            .get("package")
            .and_then(Item::as_table_like)
            .and_then(|package| package.get("name"))
            .and_then(Item::as_str)
            .ok_or("a manifest has no package name")?
            .to_owned();
        let mut manifest = Self {
            name,
            dependencies: Vec::new(),
            dev_dependencies: Vec::new(),
        };
        manifest.read(root);
        // `[target.'cfg(…)'.dependencies]` are dependencies too.
        let targets = root.get("target").and_then(Item::as_table_like);
        for (_, target) in targets.into_iter().flat_map(TableLike::iter) {
            if let Some(target) = target.as_table_like() {
                manifest.read(target);
            }
        }
        Ok(manifest)
    }

    fn read(&mut self, tables: &dyn TableLike) {
        self.dependencies.extend(names(tables, "dependencies"));
        self.dependencies
            .extend(names(tables, "build-dependencies"));
        self.dev_dependencies
            .extend(names(tables, "dev-dependencies"));
    }
}

/// The packages that a table of dependencies names, also where it calls them otherwise.
fn names(tables: &dyn TableLike, table: &str) -> Vec<String> {
    let Some(table) = tables.get(table).and_then(Item::as_table_like) else {
        return Vec::new();
    };
    table
        .iter()
        .map(|(key, value)| {
            value
                .as_table_like()
                .and_then(|value| value.get("package"))
                .and_then(Item::as_str)
                .unwrap_or(key)
                .to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_found_in_every_form() {
        let manifest = Manifest::parse(
            r#"
            [package]
            name = "adea-documents"
            [dependencies]
            adea-base = { workspace = true }
            hidden = { package = "adea-accounts", path = "../accounts" }
            [dependencies.bytes]
            workspace = true
            [build-dependencies]
            cc = "1"
            [target.'cfg(unix)'.dependencies]
            libc = "0.2"
            [dev-dependencies]
            proptest = "1"
            "#,
        )
        .unwrap();
        assert_eq!(manifest.name, "adea-documents");
        assert_eq!(
            manifest.dependencies,
            ["adea-base", "adea-accounts", "bytes", "cc", "libc"]
        );
        assert_eq!(manifest.dev_dependencies, ["proptest"]);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        assert!(Manifest::parse("[workspace]").is_err());
        assert!(Manifest::parse("= 1").is_err());
    }
}
