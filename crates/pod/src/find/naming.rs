//! The name of an index that was given none.
//!
//! `CouchDB` takes the SHA-1 of the request as an Erlang term, so that the same request finds the
//! same index. Ours are the same names: whoever remembers one, or replicates the design document,
//! finds it here, too.

use adea_documents::json::{JsonError, erlang_external};
use sha1::{Digest as _, Sha1};

/// What decides the name.
pub(super) struct Naming<'n> {
    /// The `index` of the request, as JSON.
    pub(super) definition: &'n str,
    pub(super) design: Option<&'n str>,
    pub(super) name: Option<&'n str>,
    pub(super) partitioned: Option<bool>,
    pub(super) kind: &'n str,
    /// The write quorum that was asked for; 2 if none was.
    pub(super) quorum: &'n str,
}

impl Naming<'_> {
    /// The hash of `{Definition, Options}`, the options in the order of their names.
    pub(super) fn name(&self) -> Result<String, JsonError> {
        let json = |value: &str| erlang_external(value.as_bytes());
        let text = |value: &str| json(&serde_json::Value::from(value).to_string());
        let automatic = |value: Option<&str>| value.map_or_else(|| Ok(atom("auto_name")), text);
        let definition = json(self.definition)?;
        let options = [
            ("ddoc", automatic(self.design)?),
            ("def", definition.clone()),
            ("name", automatic(self.name)?),
            (
                "partitioned",
                match self.partitioned {
                    None => atom("db_default"),
                    Some(parted) => json(if parted { "true" } else { "false" })?,
                },
            ),
            ("type", text(self.kind)?),
            ("w", json(self.quorum)?),
        ];
        let mut hash = Sha1::new();
        hash.update([VERSION, TUPLE, 2]);
        hash.update(definition);
        hash.update([LIST, 0, 0, 0, 6]);
        for (name, value) in options {
            hash.update([TUPLE, 2]);
            hash.update(atom(name));
            hash.update(value);
        }
        hash.update([NIL]);
        Ok(hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }
}

const VERSION: u8 = 131;
const TUPLE: u8 = 104;
const LIST: u8 = 108;
const NIL: u8 = 106;
const ATOM: u8 = 100;

fn atom(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    [&[ATOM, 0, length], name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(definition: &str, name: Option<&str>, quorum: &str, expected: &str) {
        let naming = Naming {
            definition,
            design: None,
            name,
            partitioned: None,
            kind: "json",
            quorum,
        };
        assert_eq!(naming.name().unwrap(), expected);
    }

    /// The first was recorded from `CouchDB` 3.5.
    #[test]
    fn names_are_those_of_couchdb() {
        check(
            r#"{"fields":["zz"]}"#,
            None,
            "2",
            "41ad7836cd6d3b4d246fd04d93aca97d8eaa9567",
        );
        check(
            r#"{"fields":["age"]}"#,
            Some("age"),
            "3",
            "39e5d7fc94ce74fc5ed0b10975943a7bf3746eae",
        );
    }
}
