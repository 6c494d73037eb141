//! List functions: rows go in as the function asks for them, text comes out as it is sent.
//!
//! The deadline counts the function's own time: not the time for which the index is slow to give
//! rows or the client slow to take text. Little is under way at any time: one batch of rows in the
//! worker, some chunks on the way to the client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::debug;

use crate::batch::is_refusal;
use crate::error::ScriptError;
use crate::pool::{Lease, Pool};
use crate::process::{Process, Received, failure, log, out_of_turn};
use crate::program::{DesignProgram, Load};
use crate::scripts::{Listing, Owner};
use crate::wire::{Answer, Ending, FrameWriter, Request};

/// Chunks that wait for the client.
const CHUNKS: usize = 8;

/// A client that takes nothing for so long has the list ended.
const CLIENT: Duration = Duration::from_secs(60);

/// So many bytes of rows go into the worker at a time.
const ROWS_BYTES: usize = 64 * 1024;

/// What a list function is called with.
pub(crate) struct Call {
    pub(crate) program: Arc<DesignProgram>,
    pub(crate) name: String,
    pub(crate) head: String,
    pub(crate) req: String,
    pub(crate) rows: mpsc::Receiver<Bytes>,
}

/// Starts a list function and waits for its status and headers.
pub(crate) async fn list(
    pool: &Arc<Pool>,
    owner: &Owner,
    call: Call,
) -> Result<Listing, ScriptError> {
    let lease = pool.lease(owner).await?;
    let (start, started) = oneshot::channel();
    let (chunks, receiver) = mpsc::channel(CHUNKS);
    let pool = Arc::clone(pool);
    tokio::spawn(async move {
        let mut out = Out {
            chunks,
            start: Some(start),
        };
        let end = tokio::select! {
            end = perform(lease, call, &mut out) => end,
            () = pool.closed() => Err(ScriptError::Disabled),
        };
        if let Err(error) = end {
            out.fail(error).await;
        }
    });
    match started.await {
        Ok(Ok(start)) => Ok(Listing {
            start,
            chunks: receiver,
        }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ScriptError::Crashed(
            "the list ended without a word".to_owned(),
        )),
    }
}

/// Where the list goes: first its start, then its text.
struct Out {
    chunks: mpsc::Sender<Result<Bytes, ScriptError>>,
    start: Option<oneshot::Sender<Result<String, ScriptError>>>,
}

impl Out {
    fn start(&mut self, text: String) -> Result<(), ScriptError> {
        let start = self
            .start
            .take()
            .ok_or_else(|| out_of_turn(Answer::Start))?;
        // Nobody may be there any more to hear it; then the first chunk finds out.
        let _unheard = start.send(Ok(text)).is_err();
        Ok(())
    }

    /// Sends text; false when the client has gone.
    async fn chunk(&mut self, text: Bytes) -> Result<bool, ScriptError> {
        if self.start.is_some() {
            return Err(out_of_turn(Answer::Chunk));
        }
        match timeout(CLIENT, self.chunks.send(Ok(text))).await {
            Ok(sent) => Ok(sent.is_ok()),
            Err(_) => Ok(false),
        }
    }

    async fn fail(mut self, error: ScriptError) {
        let unheard = match self.start.take() {
            Some(start) => start.send(Err(error)).is_err(),
            None => !matches!(
                timeout(CLIENT, self.chunks.send(Err(error))).await,
                Ok(Ok(()))
            ),
        };
        if unheard {
            debug!("a list failed after its client had gone");
        }
    }
}

/// Runs the function to its end. A client that goes away ends it too, with its process.
async fn perform(mut lease: Lease, call: Call, out: &mut Out) -> Result<(), ScriptError> {
    let Call {
        program,
        name,
        head,
        req,
        mut rows,
    } = call;
    let process = lease.process(Some(program.fingerprint())).await?;
    let ended = match process.load(&*program).await {
        Ok(number) => {
            let mut frame = FrameWriter::default();
            frame
                .begin(Request::List.number())
                .number(number)
                .text(name.as_bytes());
            frame.array(&[head, req]).end();
            process.send(frame.bytes()).await?;
            converse(process, &mut rows, out).await
        }
        Err(error) => Err(error),
    };
    match ended {
        Ok(true) => lease.finish(),
        Ok(false) => {}
        Err(error) => {
            if is_refusal(&error) {
                lease.finish();
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Answers the function's wishes; false when its process is to end with it.
async fn converse(
    process: &mut Process,
    rows: &mut mpsc::Receiver<Bytes>,
    out: &mut Out,
) -> Result<bool, ScriptError> {
    loop {
        let Received { answer, mut fields } = process.receive().await?;
        match answer {
            Answer::WantRows => {
                let Some(frame) = gather(rows, out).await else {
                    return Ok(false);
                };
                process.send(frame.bytes()).await?;
            }
            Answer::Start => out.start(String::from_utf8_lossy(fields.0).into_owned())?,
            Answer::Chunk => {
                if !out.chunk(Bytes::copy_from_slice(fields.0)).await? {
                    return Ok(false);
                }
            }
            Answer::Log => log(fields),
            Answer::Failed => return Err(failure(fields)),
            Answer::Ended if out.start.is_some() => return Err(out_of_turn(answer)),
            Answer::Ended => {
                return Ok(fields.byte().and_then(Ending::parse) == Some(Ending::Whole));
            }
            Answer::Ready | Answer::Done | Answer::Lines => return Err(out_of_turn(answer)),
        }
    }
}

/// Rows that are there, one at least; none when there are no more. Without a frame, the client
/// has gone.
async fn gather(rows: &mut mpsc::Receiver<Bytes>, out: &Out) -> Option<FrameWriter> {
    let first = tokio::select! {
        first = rows.recv() => first,
        () = out.chunks.closed() => return None,
    };
    let mut frame = FrameWriter::default();
    frame.begin(Request::Rows.number()).rest(b"[");
    if let Some(first) = first {
        frame.rest(&first);
        while frame.bytes().len() < ROWS_BYTES {
            let Ok(row) = rows.try_recv() else { break };
            frame.rest(b",").rest(&row);
        }
    }
    frame.rest(b"]").end();
    Some(frame)
}
