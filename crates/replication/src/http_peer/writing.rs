//! Writing documents as they are: many in one request, or one with its attachments streamed.

use adea_multipart::reader::Boundary;
use adea_multipart::writer::{AttachmentPart, RelatedWriter};
use adea_outbound::{Body, BodySender};
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::{ANSWER_MAX, Asking, Contents, HttpPeer, PeerError, SMALL_ANSWER_MAX, WriteFailure};
use super::{as_text, document_path, of_outbound, parsed, refusal};
use crate::transfer::{Following, Piece};

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    id: String,
    error: Option<String>,
    #[serde(default)]
    reason: Value,
}

fn part(following: &Following) -> AttachmentPart<'_> {
    AttachmentPart {
        name: &following.name,
        content_type: &following.content_type,
        length: following.length,
        gzip: following.gzip,
    }
}

impl HttpPeer {
    pub(super) async fn write_many(
        &self,
        documents: &[Bytes],
    ) -> Result<Vec<WriteFailure>, PeerError> {
        const OPEN: &[u8] = b"{\"new_edits\":false,\"docs\":[";
        let length: usize = documents.iter().map(|document| document.len() + 1).sum();
        let mut body = BytesMut::with_capacity(length + OPEN.len() + 2);
        body.extend_from_slice(OPEN);
        for (n, document) in documents.iter().enumerate() {
            if n > 0 {
                body.extend_from_slice(b",");
            }
            body.extend_from_slice(document);
        }
        body.extend_from_slice(b"]}");
        let _room = self.room().await?;
        let asking = Asking::json(Method::POST, "_bulk_docs", body.freeze());
        let answer = self.send(asking).await?;
        // Old servers say so where a document was refused.
        if !answer.status.is_success() && answer.status != StatusCode::EXPECTATION_FAILED {
            return Err(refusal(answer).await);
        }
        let told = answer.whole(ANSWER_MAX).await.map_err(of_outbound)?;
        let rows: Vec<Row> = parsed(&told)?;
        if rows.len() > documents.len() {
            return Err(PeerError::Nonsense("more rows than documents".to_owned()));
        }
        let failures = rows.into_iter().filter_map(|row| {
            Some(WriteFailure {
                id: row.id,
                error: row.error?,
                reason: as_text(&row.reason),
            })
        });
        Ok(failures.collect())
    }

    pub(super) async fn write_one(
        &self,
        id: &str,
        json: Bytes,
        contents: &mut Contents<'_>,
    ) -> Result<(), PeerError> {
        let rest = format!("{}?new_edits=false", document_path(id));
        if contents.following().is_empty() {
            let asking = Asking::json(Method::PUT, &rest, json);
            return self.ask(asking, SMALL_ANSWER_MAX).await.map(drop);
        }
        let writer = RelatedWriter::new(Boundary::from_random(self.options.entropy.bytes()));
        let length =
            writer.content_length(json.len() as u64, contents.following().iter().map(part));
        let (sender, body) = Body::coming(Some(length));
        let asking = Asking {
            content_type: Some(writer.content_type()),
            body,
            ..Asking::json(Method::PUT, &rest, Bytes::new())
        };
        let room = self.room().await?;
        let answered = {
            let mut sending = std::pin::pin!(self.send(asking));
            let mut feeding = std::pin::pin!(feed(sender, &writer, json, contents));
            tokio::select! {
                // An answer before the end is a refusal, or the connection went.
                answered = &mut sending => answered,
                fed = &mut feeding => match fed {
                    Ok(()) => sending.await,
                    Err(error) => Err(error),
                },
            }
        };
        drop(room);
        // That the source is at fault counts for more than what the target made of it.
        if let Some(fault) = contents.fault() {
            return Err(fault.clone());
        }
        let answer = answered?;
        if !answer.status.is_success() {
            return Err(refusal(answer).await);
        }
        answer.whole(SMALL_ANSWER_MAX).await.map_err(of_outbound)?;
        Ok(())
    }
}

/// Brings the document and what follows; the end is only said when all of it was right.
async fn feed(
    mut sender: BodySender,
    writer: &RelatedWriter,
    json: Bytes,
    contents: &mut Contents<'_>,
) -> Result<(), PeerError> {
    sender
        .send(writer.document_head())
        .await
        .map_err(of_outbound)?;
    sender.send(json).await.map_err(of_outbound)?;
    for following in contents.following() {
        let head = writer.attachment_head(&part(following));
        sender.send(head).await.map_err(of_outbound)?;
        while let Some(Piece::Data(data)) = contents.next().await? {
            sender.send(data).await.map_err(of_outbound)?;
        }
    }
    sender.send(writer.end()).await.map_err(of_outbound)?;
    sender.end();
    Ok(())
}
