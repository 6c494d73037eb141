//! Histories that once went wrong.

use adea_base::{DatabaseName, DocumentId, Scope};
use adea_documents::reader::Reader;
use adea_documents::revision::RevisionId;
use adea_documents::writer::Draft;

use crate::command::{Bench, Command, Write};

#[expect(clippy::disallowed_methods, reason = "the tests read all there is")]
fn whole() -> Scope {
    Scope::aggregate()
}

/// A replica that offers more ancestors than are remembered here says nothing new, however often
/// it does so.
#[test]
fn ancestors_beyond_the_limit_are_no_change() {
    let bench = Bench::new();
    let created = bench.run(&Command::Create(DatabaseName::parse("db").unwrap(), 2));
    let database = created.unwrap().number;
    let parsed = adea_documents::json::parse_document(b"{}").unwrap();
    let draft = Draft {
        id: DocumentId::parse("doc").unwrap(),
        deleted: false,
        attachments: Vec::new(),
        json: parsed.body,
        term: parsed.term,
        label: None,
        author: None,
        creator: None,
    };
    let path = ["d", "c", "b", "a"].map(|id| RevisionId::parse(id).unwrap());
    let write = Write::Replicate(draft, 4, path.to_vec());
    let command = Command::Write(database, vec![write], false);
    let first = bench.run(&command).unwrap();
    let second = bench.run(&command).unwrap();
    assert_eq!(second.outcomes, first.outcomes);
    let view = bench.store.view();
    let reader = Reader {
        view: view.as_ref(),
        database,
        scope: whole(),
    };
    assert_eq!(reader.record("doc").unwrap().unwrap().tree.len(), 2);
}
