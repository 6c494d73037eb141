//! Asking a function of a design document who may read what is written.
//!
//! Invariant: what the function does not answer with a list, in time and without an error, is not
//! stored.

use std::sync::Arc;

use adea_access::AccessList;
use adea_base::DocumentId;
use adea_documents::labels::DraftLabel;
use adea_documents::render::{Meta, Rendering};
use adea_documents::revision::{Revision, RevisionId};
use adea_script::{Owner, Purpose, ScriptError};
use bytes::Bytes;

use super::{Case, Judged};
use crate::access::WriteRefused;
use crate::access::label::{Labelling, label_of};
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;

impl Pod {
    /// Gives those drafts their label of which a function says it, and judges them by it.
    pub(super) async fn label_by_function(
        &self,
        entry: &DatabaseEntry,
        cases: &mut Vec<Case>,
        judged: &mut Judged,
    ) {
        let Some(labelling) = &entry.writing.labelling else {
            return;
        };
        let documents: Vec<Bytes> = cases
            .iter()
            .filter(|case| case.question.is_some())
            .map(|case| document(case.draft.id().as_str(), &case.draft.draft.json))
            .collect();
        let mut answers = self
            .ask_lists(entry, labelling, documents)
            .await
            .into_iter();
        let mut open = Vec::with_capacity(cases.len());
        for mut case in cases.drain(..) {
            let settled = match case.question.take() {
                None => Ok(()),
                Some(question) => {
                    let missing = || Err(function("too few answers").into());
                    let answer = answers.next().unwrap_or_else(missing);
                    answer.and_then(|answer| {
                        let list = labelling.answered(&answer, question.author())?;
                        Ok(question.settle(Some(list), &mut case.draft)?)
                    })
                }
            };
            match settled {
                Ok(()) => open.push(case),
                Err(refused) => judged.refused.push((case.at, refused)),
            }
        }
        *cases = open;
    }

    /// The label of a body that is stored already, by the rule in force; `creator` is who made the
    /// document, if that is known.
    ///
    /// # Errors
    /// [`PodError::NotTaken`] if none can be told: then nobody but administrators may see it.
    /// [`PodError::Script`] if the function gave no answer now.
    pub(crate) async fn label_of_body(
        &self,
        entry: &DatabaseEntry,
        id: &DocumentId,
        json: &[u8],
        creator: Option<&Arc<str>>,
    ) -> Result<DraftLabel, PodError> {
        let Some(labelling) = &entry.writing.labelling else {
            return Ok(label_of(&AccessList::admin()));
        };
        if id.is_design() {
            return Ok(label_of(&labelling.of_design(json)));
        }
        let list = match labelling.list_of(id.as_str(), json, creator)? {
            Some(list) => list,
            None => {
                let documents = vec![document(id.as_str(), json)];
                let answers = self.ask_lists(entry, labelling, documents).await;
                let missing = || Err(function("too few answers").into());
                let answer = answers.into_iter().next().unwrap_or_else(missing)?;
                labelling.answered(&answer, creator)?
            }
        };
        Ok(label_of(&list))
    }

    /// What the access function of the database answers for each document, as JSON text.
    pub(crate) async fn ask_lists(
        &self,
        entry: &DatabaseEntry,
        labelling: &Labelling,
        documents: Vec<Bytes>,
    ) -> Vec<Result<String, PodError>> {
        let count = documents.len();
        let all = |error: &dyn Fn() -> PodError| (0..count).map(|_| Err(error())).collect();
        let (program, name) = match labelling.function() {
            Some((Ok(program), name)) => (program, name),
            Some((Err(reason), _)) => return all(&|| function(reason).into()),
            None => return all(&|| function("there is none").into()),
        };
        let owner = Owner {
            database: entry.number.0,
            purpose: Purpose::Access,
        };
        let calls: Vec<Vec<Bytes>> = documents.into_iter().map(|one| vec![one]).collect();
        let scripts = &self.inner.scripts;
        match scripts.answers(&owner, program, &[name], &calls).await {
            Ok(answers) if answers.len() == count => answers
                .into_iter()
                .map(|answer| answer.map_err(fault))
                .collect(),
            Ok(_) => all(&|| function("too few answers").into()),
            Err(error) => all(&|| fault(error.clone())),
        }
    }
}

/// A document as the function sees it.
pub(crate) fn document(id: &str, json: &[u8]) -> Bytes {
    let none = Revision {
        generation: 0,
        id: RevisionId::Md5([0; 16]),
    };
    let rendering = Rendering {
        id,
        revision: &none,
        deleted: false,
        json,
        attachments: &[],
        meta: &Meta::default(),
        encoding_info: false,
    };
    let mut out = Vec::with_capacity(json.len() + 100);
    rendering.write_unrevised(&mut out);
    Bytes::from(out)
}

/// What is told of a function that failed. One that could not be asked may be asked again.
fn fault(error: ScriptError) -> PodError {
    match error {
        ScriptError::Threw { error, reason } => function(&format!("{error}: {reason}")).into(),
        ScriptError::Compilation { .. }
        | ScriptError::Missing(_)
        | ScriptError::TimedOut
        | ScriptError::TooMuchMemory => function(&error.to_string()).into(),
        ScriptError::Crashed(_) | ScriptError::TooBusy | ScriptError::Disabled => error.into(),
    }
}

fn function(reason: &str) -> WriteRefused {
    /// What a function throws may be long.
    const SHOWN_MAX: usize = 500;
    let shown: String = reason.chars().take(SHOWN_MAX).collect();
    WriteRefused::Function(shown)
}
