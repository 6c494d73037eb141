//! The inbox for signing up: a database that everybody writes to and administrators read.
//!
//! What somebody writes there never gets into the store, since a password is in it: what is stored
//! under the id that he chose is the answer. Whoever knows the id fetches the answer, and nobody else can
//! guess it.

use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::json::parse_document;
use adea_documents::revision::Revision;
use serde_json::{Map, Value, json};

use crate::admins::ADMIN_ROLE;
use crate::error::PodError;
use crate::pod::Pod;
use crate::read_document::{Told, Which};
use crate::write_document::DraftedEdit;

/// The `type` of what is written into the inbox, and of what is answered.
pub const SIGN_UP_TYPE: &str = "signup";

/// In whose name answers are written and read.
fn server() -> Caller {
    Caller::named("_sign_up", vec![ADMIN_ROLE.to_owned()])
}

impl Pod {
    /// Whether the database is the inbox for signing up.
    #[must_use]
    pub fn is_sign_up_inbox(&self, database: &DatabaseName) -> bool {
        self.auth().accounts.sign_up_inbox.as_ref() == Some(database)
    }

    /// Stores an answer under `id`, in place of the one that is `before`.
    ///
    /// # Errors
    /// [`PodError::Write`] if there is something under that id.
    pub async fn put_sign_up_answer(
        &self,
        inbox: &DatabaseName,
        id: &str,
        before: Option<Revision>,
        answer: Map<String, Value>,
    ) -> Result<Revision, PodError> {
        let entry = self.database(inbox)?;
        let mut answer = answer;
        answer.insert("type".to_owned(), json!(SIGN_UP_TYPE));
        let now_ms = self.inner.clock.now_unix_ms();
        answer.insert("time_ms".to_owned(), json!(now_ms));
        let draft = parse_document(Value::Object(answer).to_string().as_bytes())?;
        let id = DocumentId::parse(id).map_err(|_| PodError::Missing)?;
        let edit = DraftedEdit::Edit(before);
        let caller = server();
        let prepared = self.prepare(&entry, &caller, id, draft, edit, Vec::new());
        self.write(&entry, prepared.await?).await
    }

    /// The answer under `id`.
    ///
    /// # Errors
    /// [`PodError::Missing`] if there is none, or something that is no answer.
    pub fn sign_up_answer(
        &self,
        inbox: &DatabaseName,
        id: &str,
    ) -> Result<(Revision, Map<String, Value>), PodError> {
        let entry = self.database(inbox)?;
        let found = self.read(&entry, &server(), id, &Which::Winner, Told::default())?;
        match serde_json::from_slice(&found.body.json) {
            Ok(Value::Object(answer)) if answer.get("type") == Some(&json!(SIGN_UP_TYPE)) => {
                Ok((found.revision, answer))
            }
            Ok(_) | Err(_) => Err(PodError::Missing),
        }
    }
}
