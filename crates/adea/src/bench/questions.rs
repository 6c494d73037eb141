//! The questions of the phases that ask the same thing many times.

use super::connection::Request;
use super::corpus::{Chance, Corpus};
use super::driver::Question;
use super::wire::{count, find};
use std::ops::Range;

/// Creates the documents from `first` on, one a request.
pub(super) struct PutDocuments {
    /// The database.
    pub(super) database: String,
    /// The documents.
    pub(super) corpus: Corpus,
    /// The number of the first.
    pub(super) first: usize,
}

impl Question for PutDocuments {
    fn status(&self) -> u16 {
        201
    }

    fn ask(&self, n: usize, request: &mut Request) {
        let number = self.first + n;
        request.method = "PUT";
        request.path = format!("/{}/{}", self.database, self.corpus.id(number));
        request.body.clear();
        self.corpus.body(number, &mut request.body);
    }

    fn check(&self, n: usize, answer: &[u8]) -> Result<(), String> {
        let id = self.corpus.id(self.first + n);
        if find(answer, b"\"ok\":true").is_some() && find(answer, id.as_bytes()).is_some() {
            return Ok(());
        }
        Err(wrong("ok and the id of the document", answer))
    }
}

/// Creates the documents from `first` on, `batch` a request.
pub(super) struct BulkDocuments {
    /// The database.
    pub(super) database: String,
    /// The documents.
    pub(super) corpus: Corpus,
    /// Their numbers.
    pub(super) documents: Range<usize>,
    /// How many a request; the last has the rest.
    pub(super) batch: usize,
}

impl BulkDocuments {
    /// How many requests it takes.
    pub(super) fn requests(&self) -> usize {
        self.documents.len().div_ceil(self.batch.max(1))
    }

    fn part(&self, n: usize) -> Range<usize> {
        let start = self.documents.start + n * self.batch;
        start..(start + self.batch).min(self.documents.end)
    }
}

impl Question for BulkDocuments {
    fn status(&self) -> u16 {
        201
    }

    fn ask(&self, n: usize, request: &mut Request) {
        request.method = "POST";
        request.path = format!("/{}/_bulk_docs", self.database);
        request.body.clear();
        self.corpus.bulk(self.part(n), &mut request.body);
    }

    fn check(&self, n: usize, answer: &[u8]) -> Result<(), String> {
        let expected = self.part(n).len();
        let created = count(answer, b"\"rev\":");
        if created == expected && find(answer, b"\"error\"").is_none() {
            return Ok(());
        }
        Err(format!(
            "{created} of {expected} documents were created: {}",
            beginning(answer)
        ))
    }
}

/// Reads documents at random.
pub(super) struct GetDocuments {
    /// The database.
    pub(super) database: String,
    /// The documents.
    pub(super) corpus: Corpus,
    /// How many there are.
    pub(super) loaded: usize,
}

impl GetDocuments {
    fn number(&self, n: usize) -> usize {
        let seed = u64::try_from(n).unwrap_or(u64::MAX);
        Chance(seed ^ 0x6765_7473).below(self.loaded)
    }
}

impl Question for GetDocuments {
    fn status(&self) -> u16 {
        200
    }

    fn ask(&self, n: usize, request: &mut Request) {
        request.method = "GET";
        let id = self.corpus.id(self.number(n));
        request.path = format!("/{}/{id}", self.database);
    }

    fn check(&self, n: usize, answer: &[u8]) -> Result<(), String> {
        let id = self.corpus.id(self.number(n));
        let right = answer.len() > self.corpus.body_bytes()
            && answer.starts_with(format!("{{\"_id\":\"{id}\",\"_rev\":\"1-").as_bytes());
        if right {
            return Ok(());
        }
        Err(wrong("the document with its first revision", answer))
    }
}

/// Asks the bare server for an answer of a given size.
pub(super) struct Constant {
    /// Sent along, if the question is a PUT.
    pub(super) body: Option<Vec<u8>>,
    /// The size of the answer.
    pub(super) answer_bytes: usize,
}

impl Question for Constant {
    fn status(&self) -> u16 {
        200
    }

    fn ask(&self, _: usize, request: &mut Request) {
        request.method = if self.body.is_some() { "PUT" } else { "GET" };
        // As long as the path of a document, so that there is as much to read.
        request.path = format!("/{:0>48}", self.answer_bytes);
        request.body.clear();
        request
            .body
            .extend_from_slice(self.body.as_deref().unwrap_or_default());
    }

    fn check(&self, _: usize, answer: &[u8]) -> Result<(), String> {
        if answer.len() == self.answer_bytes {
            return Ok(());
        }
        Err(format!("{} bytes came", answer.len()))
    }
}

fn wrong(expected: &str, answer: &[u8]) -> String {
    format!("expected {expected}, and this came: {}", beginning(answer))
}

fn beginning(answer: &[u8]) -> String {
    let start = answer.get(..300).unwrap_or(answer);
    String::from_utf8_lossy(start).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> Corpus {
        Corpus::new(1, 510)
    }

    #[test]
    fn a_put_must_be_confirmed_for_the_right_document() {
        let put = PutDocuments {
            database: "d".to_owned(),
            corpus: corpus(),
            first: 3,
        };
        let mut request = Request::default();
        put.ask(1, &mut request);
        assert_eq!(request.path, format!("/d/{}", corpus().id(4)));
        assert_eq!(request.body.len(), 510);
        let answer = |id: String| format!("{{\"ok\":true,\"id\":\"{id}\",\"rev\":\"1-a\"}}");
        assert!(put.check(1, answer(corpus().id(4)).as_bytes()).is_ok());
        assert!(put.check(1, answer(corpus().id(5)).as_bytes()).is_err());
        assert!(put.check(1, b"{}").is_err());
    }

    #[test]
    fn a_bulk_request_must_confirm_each_row() {
        let bulk = BulkDocuments {
            database: "d".to_owned(),
            corpus: corpus(),
            documents: 5..10,
            batch: 2,
        };
        assert_eq!(bulk.requests(), 3);
        assert_eq!(bulk.part(2), 9..10);
        let row = "{\"ok\":true,\"id\":\"x\",\"rev\":\"1-a\"}";
        assert!(bulk.check(2, format!("[{row}]").as_bytes()).is_ok());
        assert!(bulk.check(0, format!("[{row}]").as_bytes()).is_err());
        let conflict = "{\"id\":\"x\",\"error\":\"conflict\",\"reason\":\"\"}";
        assert!(
            bulk.check(0, format!("[{row},{conflict}]").as_bytes())
                .is_err()
        );
    }

    #[test]
    fn a_document_that_was_read_must_be_the_one_asked_for() {
        let get = GetDocuments {
            database: "d".to_owned(),
            corpus: corpus(),
            loaded: 100,
        };
        let mut request = Request::default();
        get.ask(7, &mut request);
        let id = request.path.trim_start_matches("/d/").to_owned();
        let filler = "x".repeat(510);
        let answer = format!("{{\"_id\":\"{id}\",\"_rev\":\"1-a\",\"f\":\"{filler}\"}}");
        assert!(get.check(7, answer.as_bytes()).is_ok());
        assert!(
            get.check(7, answer.replace("1-a", "2-a").as_bytes())
                .is_err()
        );
        let numbers: std::collections::HashSet<_> = (0..50).map(|n| get.number(n)).collect();
        assert!(numbers.len() > 20);
    }
}
