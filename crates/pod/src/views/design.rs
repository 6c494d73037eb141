//! A design document as the indexes it asks for.
//!
//! Each distinct map function is one index, named by a hash of all that decides its rows: the
//! function, the library it may require, its options, and how keys are written. So the same
//! function under two names, or in two design documents, is one index. Reduce functions hang on
//! the index of their map, each named by a hash of its own.
//!
//! Invariant: a signature that is used twice computes the same rows twice.

use std::sync::Arc;

use adea_documents::collation::{Collation, SORT_KEY_VERSION};
use adea_documents::index::Signature;
use adea_documents::index::builtin::{Builtin, UnknownBuiltin};
use adea_documents::revision::Revision;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::find::MangoIndex;
use crate::indexing::{IndexPlan, Mapper, Reducer};

/// What the functions of a design document are written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Language {
    /// JavaScript; what is meant when nothing is said.
    Javascript,
    /// Mango: a map function is an object with `fields`.
    Query,
    /// What is not run here.
    Other(String),
}

impl Language {
    /// Its name, as design documents have it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Javascript => "javascript",
            Self::Query => "query",
            Self::Other(other) => other,
        }
    }
}

/// A view: an index, and perhaps a reduce over it.
#[derive(Clone, Debug)]
pub struct DesignView {
    /// Its name.
    pub name: String,
    /// Which of the design document's plans is its index.
    pub(crate) plan: usize,
    /// Its reduce, by the number in the plan.
    pub(crate) reduce: Option<usize>,
}

/// A design document, as far as it asks for indexes.
#[derive(Debug)]
pub struct Design {
    /// Its id, `_design/` and all.
    pub id: String,
    /// The revision that was read.
    pub revision: Revision,
    /// What its functions are written in.
    pub language: Language,
    /// Whether its indexes are parted like the database.
    pub partitioned: bool,
    /// Whether it asks to be indexed before anybody queries it; so is said unless it says no.
    pub autoupdate: bool,
    /// Its views.
    pub views: Vec<DesignView>,
    pub(crate) plans: Vec<Arc<IndexPlan>>,
    /// Its Mango indexes; each has its plan among the others.
    pub(crate) mango: Vec<Arc<MangoIndex>>,
}

/// What decides rows besides the function itself.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Options {
    include_design: bool,
    local_seq: bool,
    partitioned: bool,
    raw: bool,
}

impl Design {
    /// Reads the JSON text of design document `id`. What is no view is passed over: documents
    /// that came by replication were not checked.
    pub(crate) fn parse(id: &str, revision: Revision, partitioned: bool, json: &[u8]) -> Self {
        let members: Map<String, Value> = serde_json::from_slice(json).unwrap_or_default();
        let language = match members.get("language").and_then(Value::as_str) {
            None | Some("javascript") => Language::Javascript,
            Some("query") => Language::Query,
            Some(other) => Language::Other(other.to_owned()),
        };
        let options = members.get("options");
        let options = Options {
            include_design: flag(options, "include_design").unwrap_or(false),
            local_seq: flag(options, "local_seq").unwrap_or(false),
            // Only a partitioned database has anything to part.
            partitioned: partitioned && flag(options, "partitioned").unwrap_or(true),
            raw: collation_of(options) == Some("raw"),
        };
        let mut design = Self {
            id: id.to_owned(),
            revision,
            language,
            partitioned: options.partitioned,
            autoupdate: members.get("autoupdate").and_then(Value::as_bool) != Some(false),
            views: Vec::new(),
            plans: Vec::new(),
            mango: Vec::new(),
        };
        if let Some(Value::Object(views)) = members.get("views") {
            design.read_views(views, options);
        }
        design
    }

    fn read_views(&mut self, views: &Map<String, Value>, options: Options) {
        if self.language == Language::Query {
            self.read_mango(views, options);
        }
        if self.language != Language::Javascript {
            return;
        }
        let lib = views.get("lib").filter(|lib| !lib.is_null());
        let lib: Option<Arc<str>> = lib.map(|lib| lib.to_string().into());
        let mut building: Vec<IndexPlan> = Vec::new();
        for (name, view) in views.iter().filter(|(name, _)| *name != "lib") {
            let Some(source) = view.get("map").and_then(Value::as_str) else {
                continue;
            };
            let raw = collation_of(view.get("options")).map_or(options.raw, |name| name == "raw");
            let options = Options { raw, ..options };
            let signature = map_signature(source, lib.as_deref(), options);
            let known = building.iter().position(|plan| plan.signature == signature);
            let plan = known.unwrap_or_else(|| {
                building.push(self.plan(signature, source, lib.clone(), options));
                building.len() - 1
            });
            let reduce = view.get("reduce").and_then(Value::as_str);
            let reduce = reduce.and_then(|source| {
                let plan = building.get_mut(plan)?;
                Some(add_reduce(plan, source))
            });
            self.views.push(DesignView {
                name: name.clone(),
                plan,
                reduce,
            });
        }
        self.plans = building.into_iter().map(Arc::new).collect();
    }

    fn read_mango(&mut self, views: &Map<String, Value>, options: Options) {
        for (name, view) in views {
            if let Some(index) = MangoIndex::read(&self.id, name, view, options.partitioned) {
                self.plans.push(Arc::clone(&index.plan));
                self.mango.push(Arc::new(index));
            }
        }
    }

    fn plan(
        &self,
        signature: Signature,
        source: &str,
        lib: Option<Arc<str>>,
        options: Options,
    ) -> IndexPlan {
        IndexPlan {
            signature,
            mapper: Mapper::Script {
                lib,
                source: source.into(),
            },
            reduces: Vec::new(),
            collation: if options.raw {
                Collation::Raw
            } else {
                Collation::Unicode
            },
            include_design: options.include_design,
            local_seq: options.local_seq,
            partitioned: options.partitioned,
            name: self.id.clone(),
        }
    }

    /// The view `name`.
    pub(crate) fn view(&self, name: &str) -> Option<(&DesignView, &Arc<IndexPlan>)> {
        let view = self.views.iter().find(|view| view.name == name)?;
        Some((view, self.plans.get(view.plan)?))
    }

    /// A name for all its indexes together.
    #[must_use]
    pub fn signature(&self) -> Signature {
        let mut hash = Sha256::new();
        for plan in &self.plans {
            hash.update(plan.signature.0);
            for (signature, _) in &plan.reduces {
                hash.update(signature.0);
            }
        }
        shortened(hash)
    }
}

/// The place of the reduce `source` in `plan`, put there if it is new.
fn add_reduce(plan: &mut IndexPlan, source: &str) -> usize {
    let reducer = match builtin(source) {
        Ok(Some(builtin)) => Reducer::Builtin(builtin),
        // An unknown builtin is refused when it is saved; one that came in another way fails as a
        // function that does not compile.
        Ok(None) | Err(_) => Reducer::Script {
            source: source.into(),
        },
    };
    let mut hash = Sha256::new();
    hash.update(b"reduce 1\0");
    hash.update(source.trim());
    let signature = shortened(hash);
    let known = plan
        .reduces
        .iter()
        .position(|(known, _)| *known == signature);
    known.unwrap_or_else(|| {
        plan.reduces.push((signature, reducer));
        plan.reduces.len() - 1
    })
}

/// The built-in reduce that `source` names. What stands behind the name does not count, as in
/// `CouchDB`.
///
/// # Errors
/// [`UnknownBuiltin`] for another name.
pub(crate) fn builtin(source: &str) -> Result<Option<Builtin>, UnknownBuiltin> {
    let source = source.trim();
    Builtin::parse(source).or_else(|unknown| {
        let mut names = PREFIXES.iter().filter(|name| source.starts_with(**name));
        names
            .next()
            .map_or(Err(unknown), |name| Builtin::parse(name))
    })
}

/// The built-in reduces whose name may be followed by anything.
const PREFIXES: [&str; 6] = [
    "_sum",
    "_count",
    "_stats",
    "_approx_count_distinct",
    "_first",
    "_last",
];

fn map_signature(source: &str, lib: Option<&str>, options: Options) -> Signature {
    let mut hash = Sha256::new();
    hash.update(b"javascript 1\0");
    hash.update(SORT_KEY_VERSION.to_be_bytes());
    let Options {
        include_design,
        local_seq,
        partitioned,
        raw,
    } = options;
    hash.update([include_design, local_seq, partitioned, raw].map(u8::from));
    let lib = lib.unwrap_or("");
    hash.update((lib.len() as u64).to_be_bytes());
    hash.update(lib);
    hash.update(source);
    shortened(hash)
}

pub(crate) fn shortened(hash: Sha256) -> Signature {
    let digest: [u8; 32] = hash.finalize().into();
    let (front, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    Signature(*front)
}

fn flag(options: Option<&Value>, name: &str) -> Option<bool> {
    options?.get(name)?.as_bool()
}

fn collation_of(options: Option<&Value>) -> Option<&str> {
    options?.get("collation")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn design(partitioned: bool, json: &str) -> Design {
        let revision = Revision::parse("1-a").unwrap();
        Design::parse("_design/d", revision, partitioned, json.as_bytes())
    }

    #[test]
    fn the_same_function_is_one_index() {
        let one = design(
            false,
            r#"{"views":{"lib":{"x":"1"},"a":{"map":"f","reduce":"_sum"},"b":{"map":"f","reduce":" _sum "},
               "c":{"map":"f"},"d":{"map":"g"},"e":{"map":"f","options":{"collation":"raw"}},"junk":7}}"#,
        );
        assert_eq!(one.plans.len(), 3);
        assert_eq!(one.views.len(), 5);
        let (a, plan) = one.view("a").unwrap();
        assert_eq!((a.plan, a.reduce), (0, Some(0)));
        assert_eq!(plan.reduces.len(), 1);
        assert_eq!(one.view("e").unwrap().1.collation, Collation::Raw);
        assert!(one.view("lib").is_none());
    }

    #[test]
    fn what_decides_rows_decides_the_signature() {
        let all = [
            design(false, r#"{"views":{"a":{"map":"f"}}}"#),
            design(false, r#"{"views":{"a":{"map":"g"}}}"#),
            design(false, r#"{"views":{"lib":{},"a":{"map":"f"}}}"#),
            design(
                false,
                r#"{"options":{"local_seq":true},"views":{"a":{"map":"f"}}}"#,
            ),
            design(
                false,
                r#"{"options":{"include_design":true},"views":{"a":{"map":"f"}}}"#,
            ),
            design(
                false,
                r#"{"options":{"collation":"raw"},"views":{"a":{"map":"f"}}}"#,
            ),
            design(true, r#"{"views":{"a":{"map":"f"}}}"#),
        ];
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                let same = one.plans[0].signature == other.plans[0].signature;
                assert_eq!(same, i == j, "{i} {j}");
            }
        }
        // What does not decide them does not.
        let elsewhere = design(
            true,
            r#"{"autoupdate":false,"options":{"partitioned":false},"views":{"z":{"map":"f","reduce":"_count"}}}"#,
        );
        assert_eq!(elsewhere.plans[0].signature, all[0].plans[0].signature);
    }

    #[test]
    fn what_is_no_design_asks_for_nothing() {
        for junk in [
            "[]",
            "{\"views\":7}",
            "{\"views\":{\"a\":{\"map\":7}}}",
            "{",
            "{\"language\":\"erlang\",\"views\":{\"a\":{\"map\":\"f\"}}}",
        ] {
            assert!(design(false, junk).plans.is_empty(), "{junk}");
        }
    }
}
