//! What names a replication: the same from the same to the same, now and after a restart.
//!
//! The name is a hash of who runs it, both ends and which documents; the place reached is stored under
//! it on both sides. A password is not part of it, so that a changed one does not begin anew; the user
//! is, since another may read other documents.

use std::fmt;

use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use crate::description::{Description, Filter};
use crate::endpoint::Endpoint;

/// The version of how the name is made; in checkpoints. `CouchDB` is at 4, whose form ours has.
pub const VERSION: u64 = 4;

/// The name of a replication.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicationId {
    base: String,
    extension: String,
}

impl ReplicationId {
    /// The name of what `description` asks for, at the server `uuid`, in the name of `user`.
    #[must_use]
    pub fn of(description: &Description, uuid: &str, user: Option<&str>) -> Self {
        let mut parts = vec![
            json!("adea"),
            json!(uuid),
            endpoint(&description.source, user),
            endpoint(&description.target, user),
        ];
        match &description.filter {
            Filter::All => {}
            Filter::Ids(ids) => parts.push(json!(["doc_ids", ids])),
            Filter::Selector(selector) => parts.push(json!(["selector", selector])),
            Filter::Function { name, parameters } => {
                parts.push(json!(["filter", name, sorted(parameters)]));
            }
        }
        if description.winning_revisions_only {
            parts.push(json!("winning_revs_only"));
        }
        let mut extension = String::new();
        if description.continuous {
            extension.push_str("+continuous");
        }
        if description.create_target.is_some() {
            extension.push_str("+create_target");
        }
        Self {
            base: hashed(Value::Array(parts).to_string().as_bytes()),
            extension,
        }
    }

    /// Reads one that a client sends, who may have lost a plus on the way.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.replace(' ', "+");
        let (base, extension) = text.split_at(text.find('+').unwrap_or(text.len()));
        Self {
            base: base.to_owned(),
            extension: extension.to_owned(),
        }
    }

    /// The name of the local documents that hold its checkpoints: those of a filter function change
    /// with its code.
    #[must_use]
    pub fn checkpoint(&self, filter_code: Option<&str>) -> String {
        match filter_code {
            None => self.base.clone(),
            Some(code) => hashed(format!("{} {code}", self.base).as_bytes()),
        }
    }

    /// The name without what is appended to it.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }
}

impl fmt::Display for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.base, self.extension)
    }
}

fn endpoint(endpoint: &Endpoint, user: Option<&str>) -> Value {
    match endpoint {
        Endpoint::Local(name) => json!(["local", name, user]),
        Endpoint::Remote(remote) => {
            let address = &remote.address;
            let mut headers: Vec<(String, String)> = remote
                .headers
                .iter()
                .filter(|(name, _)| **name != http::header::AUTHORIZATION)
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    (name.as_str().to_owned(), value)
                })
                .collect();
            headers.sort();
            json!([
                "remote",
                address.name(),
                address.host(),
                address.unusual_port(),
                address.path(),
                headers
            ])
        }
    }
}

/// An object in the order of its names.
fn sorted(fields: &serde_json::Map<String, Value>) -> Value {
    let mut members: Vec<_> = fields.iter().collect();
    members.sort_by_key(|(name, _)| name.as_str());
    json!(members)
}

fn hashed(bytes: &[u8]) -> String {
    let hash: [u8; 16] = Md5::digest(bytes).into();
    format!("{:032x}", u128::from_be_bytes(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(fields: Value) -> String {
        let Value::Object(fields) = fields else {
            panic!()
        };
        let description = Description::read(&fields).unwrap();
        ReplicationId::of(&description, "uuid", Some("ann")).to_string()
    }

    #[test]
    fn a_name_stays_and_differs_where_the_documents_may() {
        let plain = name(json!({"source": "http://u:p@h:5984/a", "target": "b"}));
        assert_eq!(
            plain, "23396c8529a43efed4c85b2ff9b51c38",
            "checkpoints hang on it"
        );
        for same in [
            json!({"source": "http://u:other@h/a/", "target": "b"}),
            json!({"source": {"url": "http://h/a", "auth": {"basic": {"username": "u", "password": "x"}}}, "target": "b"}),
            json!({"source": "http://u:p@h/a", "target": "b", "worker_processes": 1, "use_checkpoints": false}),
        ] {
            assert_eq!(name(same), plain);
        }
        assert_eq!(
            name(
                json!({"source": "http://u:p@h/a", "target": "b", "continuous": true, "create_target": true})
            ),
            format!("{plain}+continuous+create_target")
        );
        let ends = |more: Value| {
            let mut fields = json!({"source": "http://u:p@h/a", "target": "b"});
            fields
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            name(fields)
        };
        let mut names = vec![
            plain,
            name(json!({"source": "http://v:p@h/a", "target": "b"})),
            name(json!({"source": "http://u:p@h:1/a", "target": "b"})),
            name(
                json!({"source": {"url": "http://u:p@h/a", "headers": {"x": "y"}}, "target": "b"}),
            ),
            name(json!({"source": "http://u:p@h/a", "target": "c"})),
            ends(json!({"doc_ids": []})),
            ends(json!({"doc_ids": ["a"]})),
            ends(json!({"selector": {"a": 1}})),
            ends(json!({"filter": "d/f"})),
            ends(json!({"filter": "d/f", "query_params": {"a": "1"}})),
            ends(json!({"winning_revs_only": true})),
        ];
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(
            ends(json!({"filter": "d/f", "query_params": {"a": "1", "b": 2}})),
            ends(json!({"filter": "d/f", "query_params": {"b": 2, "a": "1"}}))
        );
    }

    #[test]
    fn a_name_survives_a_client_that_loses_its_plus() {
        let id = ReplicationId::parse("abc continuous");
        assert_eq!(
            (id.base(), id.to_string().as_str()),
            ("abc", "abc+continuous")
        );
    }
}
