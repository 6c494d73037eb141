//! That a write which is whole stays whole, whatever the disk does.

use std::sync::Arc;

use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::json::parse_document;
use adea_store::{Fault, Faulty};
use serde_json::json;

use crate::error::PodError;
use crate::pod::Pod;
use crate::write_document::{DraftedEdit, Prepared};
use crate::write_user::tests::over;

fn notes() -> DatabaseName {
    DatabaseName::parse("notes").unwrap()
}

async fn drafts(pod: &Pod, count: usize) -> Vec<Prepared> {
    let entry = pod.database(&notes()).unwrap();
    let root = Caller::named("root", vec!["_admin".to_owned()]);
    let mut drafts = Vec::new();
    for n in 0..count {
        let json = json!({ "n": n, "_attachments": { "f": { "data": "aGk=" } } });
        let draft = parse_document(json.to_string().as_bytes()).unwrap();
        let id = DocumentId::parse(&format!("d{n}")).unwrap();
        let edit = DraftedEdit::Edit(None);
        let prepared = pod.prepare(&entry, &root, id, draft, edit, Vec::new());
        drafts.push(prepared.await.unwrap());
    }
    drafts
}

/// Power goes at the commit of an atomic write: of its documents all are there afterwards, or none.
#[tokio::test]
async fn an_atomic_write_survives_a_power_cut_as_a_whole_or_not_at_all() {
    const COUNT: usize = 60;
    for (fault, expected) in [
        (None, COUNT),
        (
            Some(Fault::SyncFails {
                after: 0,
                survives: true,
            }),
            COUNT,
        ),
        (
            Some(Fault::SyncFails {
                after: 0,
                survives: false,
            }),
            0,
        ),
        (Some(Fault::DiskFull { after: 0 }), 0),
    ] {
        let engine = Arc::new(Faulty::new());
        let pod = over(Arc::clone(&engine)).await;
        pod.create_database(&notes(), false).await.unwrap();
        let drafts = drafts(&pod, COUNT).await;
        if let Some(fault) = fault {
            engine.inject(fault);
        }
        let entry = pod.database(&notes()).unwrap();
        let written = pod.write_all(&entry, drafts).await;
        assert_eq!(written.is_ok(), fault.is_none(), "{fault:?}");
        if fault.is_some() {
            assert!(matches!(written, Err(PodError::Commit(_))), "{fault:?}");
        }
        let restarted = over(Arc::new(engine.power_cut())).await;
        let entry = restarted.database(&notes()).unwrap();
        let found = restarted.statistics(&entry).unwrap();
        assert_eq!(found.documents, expected as u64, "{fault:?}");
        assert_eq!(found.external_bytes > 0, expected > 0, "{fault:?}");
    }
}
