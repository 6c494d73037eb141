//! Any bytes as a document and as a bulk request: no panic, and what is stored is normal JSON.

#![no_main]

use adea_fuzz::json::{Draft, normalise, parse_bulk, parse_document};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let alone = parse_document(data);
    if let Ok(draft) = &alone {
        assert_is_normal(draft);
        let again = parse_document(&draft.body).expect("a stored body is a document");
        assert_eq!(again.body, draft.body);
        assert_eq!(again.id, None, "fields with a meaning are not stored");
    }
    if let Ok(bulk) = parse_bulk(data) {
        bulk.docs.iter().for_each(assert_is_normal);
    }

    // A document is the same inside of a bulk request.
    let request = [b"{\"new_edits\":false,\"docs\":[", data, b"]}"].concat();
    match (alone, parse_bulk(&request)) {
        (Ok(draft), bulk) => {
            let bulk = bulk.expect("a document can be sent in bulk");
            assert_eq!(bulk.new_edits, Some(false));
            assert_eq!(bulk.docs, [draft]);
        }
        // The bytes may be several documents, or leave the array; but not one.
        (Err(_), Ok(bulk)) => bulk.docs.iter().for_each(assert_is_normal),
        (Err(_), Err(_)) => {}
    }
});

/// The body is an object that another parser reads, and normalising it changes nothing.
fn assert_is_normal(draft: &Draft) {
    assert_eq!(normalise(&draft.body).as_ref(), Ok(&draft.body));
    match serde_json::from_slice::<Value>(&draft.body) {
        Ok(value) => assert!(value.is_object()),
        // We go deeper than the other parser does.
        Err(error) => assert!(error.to_string().contains("recursion limit"), "{error}"),
    }
}
