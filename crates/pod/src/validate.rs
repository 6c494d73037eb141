//! Judging what is to be written: `validate_doc_update` of every design document, and the built-in
//! rules of accounts.
//!
//! A function may take seconds, and the store's thread decides for everybody, so it never waits for
//! one: drafts are judged before their transaction, over a view. The transaction then asks two cheap
//! questions: are these still the functions in force ([`DesignChanges`]), and is each document's
//! record still the one that was seen (its sequence). A draft for which the answer is no is judged
//! again; the others are written.
//!
//! Invariant: a document that is accepted satisfied, against the revision that it follows, all
//! functions that were in force at its commit. See docs/adr/0011.

#[cfg(test)]
pub(crate) mod access_tests;
mod changes;
mod labels;
mod schema;
mod shown;
mod standing;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use adea_accounts::Refusal;
use adea_documents::json::{for_each_member, normalise, read_text};
use adea_documents::reader::{IdRange, Reader};
use adea_documents::record::Body;
use adea_documents::render::{Meta, Rendering};
use adea_documents::revision::Revision;
use adea_documents::selector::Selector;
use adea_script::{DesignProgram, Owner, Purpose, ScriptError, Verdict};
use adea_store::Direction;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

pub(crate) use changes::DesignChanges;
use shown::Plan;
pub(crate) use shown::{Shown, user_context};
use standing::Question;

use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_document::Prepared;
use crate::write_user::parse_body;

/// What `CouchDB` says of a document that a selector does not match.
const NOT_VALID: &str = "document is not valid";
/// `CouchDB`'s word for a function that cannot be understood.
const COMPILATION: &str = "compilation_error";
/// More drafts than this are read and matched off the threads that serve requests.
const FEW: usize = 8;
/// How many drafts may fail by themselves before the rest of a batch is given up.
const FAILURES_MAX: usize = 2;

/// The functions that judge what is written to a database, in the order of their design documents.
#[derive(Debug, Default)]
pub(crate) struct Validators(Vec<Validator>);

#[derive(Debug)]
struct Validator {
    design: String,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Function(Arc<DesignProgram>),
    /// The form of `language: "query"`.
    Selector(Box<Selector>),
    /// It cannot be understood, so nothing satisfies it.
    Broken(String),
}

impl Validators {
    /// Reads those of a database.
    pub(crate) fn load(reader: &Reader<'_>) -> Result<Self, PodError> {
        let mut designs = Vec::new();
        let range = IdRange {
            first: Some("_design/".to_owned()),
            last: Some(("_design0".to_owned(), false)),
        };
        reader.walk_documents(&range, Direction::Forward, |id, head| {
            if let (Some(body), false) = (head.winner.body, head.winner.deleted) {
                designs.push((id.to_owned(), head.winner.revision, body));
            }
            ControlFlow::Continue(())
        })?;
        let mut found = Vec::new();
        for (id, revision, body) in designs {
            let Some(stored) = reader.body(body)? else {
                continue;
            };
            let body = Body::decode(&stored)?;
            let rendering = Rendering {
                id: &id,
                revision: &revision,
                deleted: false,
                json: &body.json,
                attachments: &body.attachments,
                meta: &Meta::default(),
                encoding_info: false,
            };
            if let Some(rule) = Rule::of(&rendering)? {
                found.push(Validator { design: id, rule });
            }
        }
        Ok(Self(found))
    }

    /// Whether nothing is judged.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Rule {
    /// The rule that a design document makes, if it makes one.
    fn of(design: &Rendering<'_>) -> Result<Option<Self>, PodError> {
        let (rule, by_selector) = rule_of(design.json)?;
        let Some(rule) = rule else {
            return Ok(None);
        };
        if by_selector {
            return Ok(Some(Self::by_selector(&rule)));
        }
        let mut document = Vec::with_capacity(design.json.len() + 100);
        design.write(&mut document);
        let document = String::from_utf8_lossy(&document).into_owned();
        Ok(Some(Self::Function(DesignProgram::new(document))))
    }

    fn by_selector(rule: &[u8]) -> Self {
        match selector_of(rule) {
            Ok(selector) => Self::Selector(Box::new(selector)),
            Err(reason) => Self::Broken(reason),
        }
    }
}

/// What a design document says about validating, and whether that is a selector.
fn rule_of(design: &[u8]) -> Result<(Option<Vec<u8>>, bool), PodError> {
    let (mut rule, mut by_selector) = (None, false);
    for_each_member(design, |name, value| {
        match name {
            "validate_doc_update" => rule = Some(normalise(value)?),
            "language" => by_selector = read_text(value)?.as_deref() == Some("query"),
            _ => {}
        }
        Ok::<_, PodError>(())
    })?;
    Ok((rule.filter(|rule| rule != b"null"), by_selector))
}

/// The selector that validates, checked.
fn selector_of(rule: &[u8]) -> Result<Selector, String> {
    let value: Value = parse_body(rule).map_err(|error| error.to_string())?;
    let fields = value
        .as_object()
        .ok_or("validate_doc_update of a query must be a selector")?;
    let strange = fields.keys().find(|name| {
        let root = name.split('.').next().unwrap_or("");
        !name.starts_with('$') && !["newDoc", "oldDoc", "userCtx", "secObj"].contains(&root)
    });
    if let Some(strange) = strange {
        return Err(format!(
            "validate_doc_update may only ask about newDoc, oldDoc, userCtx and secObj, not {strange}"
        ));
    }
    Selector::parse(&value).map_err(|error| error.reason())
}

/// Refuses a design document that validates by a selector which is none.
///
/// # Errors
/// [`PodError::InvalidDesign`] with what is wrong about it.
pub(crate) fn check_rule(design: &[u8]) -> Result<(), PodError> {
    let (rule, by_selector) = rule_of(design)?;
    let Some(rule) = rule.filter(|_| by_selector) else {
        return Ok(());
    };
    selector_of(&rule)
        .map(drop)
        .map_err(|reason| PodError::InvalidDesign {
            error: COMPILATION,
            reason,
        })
}

/// A draft that is being written, by its place among the others.
pub(crate) type Placed = (usize, Prepared);
/// A draft that was refused, by its place among the others.
pub(crate) type Refused = (usize, PodError);

/// What came of judging drafts.
#[derive(Default)]
pub(crate) struct Judged {
    /// Those that may be written, with the sequence of the record that each was judged against.
    pub(crate) accepted: Vec<Placed>,
    /// Those that may not.
    pub(crate) refused: Vec<Refused>,
    /// Those that bring nothing new, and their revisions.
    pub(crate) known: Vec<(usize, Revision)>,
}

/// A draft that is being judged, and what the functions are shown of it.
struct Case {
    at: usize,
    draft: Prepared,
    /// What the rules ask once a function has said who may read it.
    question: Option<Question>,
    shown: Option<Shown>,
}

/// What the functions are shown of a case, by its place.
type Asked<'s> = (usize, &'s Shown);

impl Pod {
    /// Judges drafts as the database stands now.
    pub(crate) async fn judge(
        &self,
        entry: &Arc<DatabaseEntry>,
        drafts: Vec<Placed>,
    ) -> Result<Judged, PodError> {
        let (mut cases, mut judged) = self.show(entry, drafts).await?;
        if cases.iter().any(|case| case.question.is_some()) {
            self.label_by_function(entry, &mut cases, &mut judged).await;
        }
        for validator in &entry.validators.0 {
            let asked: Vec<Asked<'_>> = cases
                .iter()
                .enumerate()
                .filter_map(|(n, case)| Some((n, case.shown.as_ref()?)))
                .collect();
            if asked.is_empty() {
                break;
            }
            let errors = self.refusals(entry, validator, &asked).await;
            for (n, error) in errors.into_iter().rev() {
                let case = cases.remove(n);
                judged.refused.push((case.at, error));
            }
        }
        let accepted = cases.into_iter().map(|case| (case.at, case.draft));
        judged.accepted.extend(accepted);
        self.plan_merges(entry, &mut judged.accepted).await?;
        Ok(judged)
    }

    /// What one of the functions refuses, with the errors.
    async fn refusals(
        &self,
        entry: &DatabaseEntry,
        validator: &Validator,
        asked: &[Asked<'_>],
    ) -> Vec<(usize, PodError)> {
        match &validator.rule {
            Rule::Broken(reason) => asked
                .iter()
                .map(|(n, _)| (*n, broken(&validator.design, reason)))
                .collect(),
            Rule::Selector(selector) => by_selector(selector, asked, entry.security.as_text()),
            Rule::Function(program) => self.by_function(entry, program, asked).await,
        }
    }

    /// Whether all functions of the database accept what they are shown.
    pub(crate) async fn is_accepted(&self, entry: &DatabaseEntry, shown: &Shown) -> bool {
        for validator in &entry.validators.0 {
            let refused = self.refusals(entry, validator, &[(0, shown)]).await;
            if !refused.is_empty() {
                return false;
            }
        }
        true
    }

    /// Reads what the drafts follow, and makes what the functions are shown.
    async fn show(
        &self,
        entry: &Arc<DatabaseEntry>,
        drafts: Vec<Placed>,
    ) -> Result<(Vec<Case>, Judged), PodError> {
        if drafts.len() <= FEW {
            return self.show_now(entry, drafts);
        }
        let (pod, entry) = (self.clone(), Arc::clone(entry));
        spawn_blocking(move || pod.show_now(&entry, drafts))
            .await
            .map_err(|_| PodError::Interrupted)?
    }

    fn show_now(
        &self,
        entry: &DatabaseEntry,
        drafts: Vec<Placed>,
    ) -> Result<(Vec<Case>, Judged), PodError> {
        let view = self.view();
        let key = match &entry.writing.labelling {
            Some(_) => Some(self.virtual_key()?),
            None => None,
        };
        let (mut cases, mut judged) = (Vec::with_capacity(drafts.len()), Judged::default());
        for (at, mut draft) in drafts {
            let (sequence, plan) = shown::plan(view.as_ref(), entry, key.as_ref(), &mut draft)?;
            draft.judged = sequence;
            match plan {
                Plan::Refused(error) => judged.refused.push((at, error)),
                Plan::Known(revision) => judged.known.push((at, revision)),
                Plan::Asked { question, shown } => cases.push(Case {
                    at,
                    draft,
                    question,
                    shown,
                }),
            }
        }
        Ok((cases, judged))
    }

    /// What a function says of the cases named; one refused is named with the error.
    async fn by_function(
        &self,
        entry: &DatabaseEntry,
        program: &Arc<DesignProgram>,
        asked: &[Asked<'_>],
    ) -> Vec<(usize, PodError)> {
        let owner = Owner {
            database: entry.number.0,
            purpose: Purpose::Validate,
        };
        let security = Bytes::copy_from_slice(entry.security.as_text().as_bytes());
        let calls: Vec<[Bytes; 4]> = asked
            .iter()
            .map(|(_, shown)| {
                let user = shown.user.clone();
                [shown.new.clone(), shown.old.clone(), user, security.clone()]
            })
            .collect();
        let scripts = &self.inner.scripts;
        let verdicts = match scripts.validate(&owner, program, &calls).await {
            Ok(verdicts) if verdicts.len() == calls.len() => {
                verdicts.into_iter().map(Ok).collect::<Vec<_>>()
            }
            Ok(_) => vec![Err(ScriptError::Crashed(TOO_FEW.to_owned())); calls.len()],
            Err(error) if calls.len() == 1 || !of_one_call(&error) => {
                vec![Err(error); calls.len()]
            }
            // One of them broke it: the others get their answer one by one.
            Err(_) => {
                let (mut verdicts, mut failures) = (Vec::with_capacity(calls.len()), 0);
                let mut last = None;
                for call in &calls {
                    if let Some(error) = last.clone().filter(|_| failures >= FAILURES_MAX) {
                        verdicts.push(Err(error));
                        continue;
                    }
                    let one = scripts.validate(&owner, program, std::slice::from_ref(call));
                    let verdict = match one.await {
                        Ok(mut one) => one
                            .pop()
                            .ok_or_else(|| ScriptError::Crashed(TOO_FEW.to_owned())),
                        Err(error) => {
                            failures += 1;
                            last = Some(error.clone());
                            Err(error)
                        }
                    };
                    verdicts.push(verdict);
                }
                verdicts
            }
        };
        let refusals = asked.iter().zip(verdicts);
        refusals
            .filter_map(|((n, _), verdict)| Some((*n, refusal_of(verdict)?)))
            .collect()
    }
}

const TOO_FEW: &str = "fewer verdicts than documents";

/// Whether one document alone can be to blame for a batch that failed.
fn of_one_call(error: &ScriptError) -> bool {
    match error {
        ScriptError::TimedOut | ScriptError::TooMuchMemory | ScriptError::Crashed(_) => true,
        ScriptError::Compilation { .. }
        | ScriptError::Missing(_)
        | ScriptError::Threw { .. }
        | ScriptError::TooBusy
        | ScriptError::Disabled => false,
    }
}

fn broken(design: &str, reason: &str) -> PodError {
    PodError::Script(ScriptError::Threw {
        error: COMPILATION.to_owned(),
        reason: format!("validate_doc_update of {design} is no selector: {reason}"),
    })
}

fn refusal_of(verdict: Result<Verdict, ScriptError>) -> Option<PodError> {
    Some(match verdict {
        Ok(Verdict::Accepted) => return None,
        Ok(Verdict::Forbidden(reason)) => PodError::Refused(Refusal::Forbidden(Cow::Owned(reason))),
        Ok(Verdict::Unauthorized(reason)) => {
            PodError::Refused(Refusal::Unauthorized(Cow::Owned(reason)))
        }
        Ok(Verdict::Threw { error, reason }) => {
            PodError::Script(ScriptError::Threw { error, reason })
        }
        // Whoever writes is not to blame for what the design document says.
        Err(ScriptError::Compilation { reason, .. } | ScriptError::Missing(reason)) => {
            let error = COMPILATION.to_owned();
            PodError::Script(ScriptError::Threw { error, reason })
        }
        Err(error) => PodError::Script(error),
    })
}

/// What a selector says of the cases named.
fn by_selector(selector: &Selector, asked: &[Asked<'_>], security: &str) -> Vec<(usize, PodError)> {
    let security: Value = serde_json::from_str(security).unwrap_or(Value::Null);
    asked
        .iter()
        .filter_map(|(n, shown)| {
            let valid = shown.as_value(&security).is_some_and(|value| {
                // One that takes too long to tell is none that is known to be valid.
                selector.try_matches(&value).unwrap_or(false)
            });
            let refusal = || PodError::Refused(Refusal::Forbidden(Cow::Borrowed(NOT_VALID)));
            (!valid).then(|| (*n, refusal()))
        })
        .collect()
}

impl Shown {
    /// What a selector is matched against; `None` if it is deeper than is read.
    fn as_value(&self, security: &Value) -> Option<Value> {
        let new = parse_body(&self.new).ok()?;
        let old = parse_body(&self.old).ok()?;
        let user = parse_body(&self.user).ok()?;
        Some(json!({ "newDoc": new, "oldDoc": old, "userCtx": user, "secObj": security }))
    }
}
