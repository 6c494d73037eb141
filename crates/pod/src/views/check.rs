//! What a design document must be like to be saved.
//!
//! A document that no index could be built from is refused when it is written, as long as somebody
//! is there to read why: first its shape, then its built-in reduces, then whether its functions
//! compile. What came by replication was checked elsewhere, or not at all, so everybody who reads
//! a design document passes over what makes no sense.

use adea_script::{Owner, Purpose, ScriptError};
use serde_json::{Map, Value};

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;
use crate::views::design::builtin;

/// The kinds of JSON values that a field may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Text,
    Array,
}

impl Kind {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Object(_) => Some(Self::Object),
            Value::String(_) => Some(Self::Text),
            Value::Array(_) => Some(Self::Array),
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Text => "string",
            Self::Array => "array",
        }
    }
}

/// A step of a path into the document, and what may be there. `None` stands for every name.
type Step = (Option<&'static str>, &'static [Kind]);

const OBJECT: &[Kind] = &[Kind::Object];
const TEXT: &[Kind] = &[Kind::Text];
const FUNCTIONS: &[Kind] = &[Kind::Object, Kind::Text];

/// What `CouchDB` looks at, in its order.
const SHAPE: &[&[Step]] = &[
    &[(Some("filters"), OBJECT), (None, FUNCTIONS)],
    &[(Some("language"), TEXT)],
    &[(Some("lists"), OBJECT), (None, FUNCTIONS)],
    &[(Some("options"), OBJECT)],
    &[(Some("rewrites"), &[Kind::Text, Kind::Array])],
    &[(Some("shows"), OBJECT), (None, FUNCTIONS)],
    &[(Some("updates"), OBJECT), (None, FUNCTIONS)],
    &[(Some("views"), OBJECT), (Some("lib"), OBJECT)],
    &[
        (Some("views"), OBJECT),
        (None, OBJECT),
        (Some("reduce"), TEXT),
    ],
];

fn invalid(reason: impl Into<String>) -> PodError {
    PodError::InvalidDesign {
        error: "invalid_design_doc",
        reason: reason.into(),
    }
}

impl Pod {
    /// Refuses a design document whose views could not be built; `json` is its body.
    ///
    /// # Errors
    /// [`PodError::InvalidDesign`] with the reason, [`PodError::Script`] if its functions could
    /// not be tried.
    pub(crate) async fn check_design_document(
        &self,
        entry: &DatabaseEntry,
        json: &[u8],
    ) -> Result<(), PodError> {
        // Deeper than is parsed, it has no views that anybody could build.
        let Ok(members) = serde_json::from_slice::<Map<String, Value>>(json) else {
            return Ok(());
        };
        check_shape(entry, &members)?;
        let functions = functions_of(&members)?;
        if functions.is_empty() {
            return Ok(());
        }
        let owner = Owner {
            database: entry.number.0,
            purpose: Purpose::Compile,
        };
        let lib = members.get("views").and_then(|views| views.get("lib"));
        let lib = lib.map(Value::to_string);
        let scripts = &self.inner.scripts;
        for (kind, view, source) in functions {
            let function = [(view.clone(), source)];
            match scripts.compile(&owner, lib.as_deref(), &function).await {
                // Where no function is run, none need compile.
                Ok(()) | Err(ScriptError::Disabled) => {}
                Err(ScriptError::Compilation { reason, .. }) => {
                    let whole = format!(
                        "Compilation of the {kind} function in the '{view}' view failed: {reason}"
                    );
                    return Err(PodError::InvalidDesign {
                        error: "compilation_error",
                        reason: whole,
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn check_shape(entry: &DatabaseEntry, members: &Map<String, Value>) -> Result<(), PodError> {
    for path in SHAPE {
        check_path(members, path, "")?;
    }
    let query = members.get("language").and_then(Value::as_str) == Some("query");
    let map: &[Kind] = if query { OBJECT } else { TEXT };
    let views = members.get("views").and_then(Value::as_object);
    for (name, view) in views.into_iter().flatten() {
        if name == "lib" {
            continue;
        }
        match view.get("map") {
            None => return Err(invalid(format!("View `{name}` must contain map function"))),
            Some(value) => check_kind(value, map, &format!("views.{name}.map"))?,
        }
    }
    let partitioned = members
        .get("options")
        .and_then(|options| options.get("partitioned"));
    if partitioned == Some(&Value::Bool(true)) && !entry.settings.partitioned {
        return Err(invalid(
            "partitioned option cannot be true in a non-partitioned database.",
        ));
    }
    Ok(())
}

fn check_path(members: &Map<String, Value>, path: &[Step], above: &str) -> Result<(), PodError> {
    let Some(((name, kinds), rest)) = path.split_first() else {
        return Ok(());
    };
    for (found, value) in members {
        if name.is_some_and(|name| name != found) {
            continue;
        }
        let place = format!("{above}{found}");
        check_kind(value, kinds, &place)?;
        if let Value::Object(inside) = value {
            check_path(inside, rest, &format!("{place}."))?;
        }
    }
    Ok(())
}

fn check_kind(value: &Value, kinds: &[Kind], place: &str) -> Result<(), PodError> {
    if Kind::of(value).is_some_and(|kind| kinds.contains(&kind)) {
        return Ok(());
    }
    // As CouchDB lists them, the last first.
    let names: Vec<_> = kinds.iter().rev().map(|kind| kind.name()).collect();
    let names = names.join(" or ");
    Err(invalid(format!("`{place}` field must have {names} type")))
}

/// The functions that must compile: what they are, of which view, and their text.
fn functions_of(
    members: &Map<String, Value>,
) -> Result<Vec<(&'static str, String, String)>, PodError> {
    let mut functions = Vec::new();
    let language = members.get("language").and_then(Value::as_str);
    if language.is_some_and(|language| language != "javascript") {
        return Ok(functions);
    }
    let views = members.get("views").and_then(Value::as_object);
    for (name, view) in views
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "lib")
    {
        if let Some(source) = view.get("map").and_then(Value::as_str) {
            functions.push(("map", name.clone(), source.to_owned()));
        }
        let Some(source) = view.get("reduce").and_then(Value::as_str) else {
            continue;
        };
        match builtin(source) {
            Ok(Some(_)) => {}
            Ok(None) => functions.push(("reduce", name.clone(), source.to_owned())),
            Err(_) => {
                let reason = format!("`{source}` is not a supported reduce function.");
                return Err(invalid(reason));
            }
        }
    }
    Ok(functions)
}
