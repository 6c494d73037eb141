//! Batches: inputs through one action of a program, an answer for each unit.
//!
//! A unit is an input through one function. The worker answers in order, so the number of lines
//! that came says which unit was at work when the process was lost. The rest of the batch goes to
//! a new process, which sends each line at once; if that is lost as well, the unit at work is to
//! blame, is answered as stopped, and the others go on. So one poisonous document spoils neither
//! its batch nor the next. After [`CULPRITS_MAX`] of them the call fails: then it is the function.
//!
//! The deadline counts from one sign of life to the next. The worker gives one at least every
//! twentieth of it, between units; so a batch may take as long as it likes, a unit may not.

use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;

use crate::error::ScriptError;
use crate::pool::{Lease, Pool};
use crate::process::{Process, Received, failure, log, out_of_turn};
use crate::program::Load;
use crate::scripts::{Owner, ReduceCall};
use crate::wire::{Action, Answer, Ending, Fields, FrameWriter, Request, put_array};

/// Units of one call that may be stopped before the call fails.
const CULPRITS_MAX: usize = 2;

/// So many bytes of inputs go into a request, and so many inputs.
const REQUEST_BYTES: usize = 256 * 1024;
const REQUEST_INPUTS: usize = 2000;

/// All answers of one call together; a caller who wants more asks for fewer inputs.
const ANSWERS_BYTES_MAX: usize = 256 << 20;

/// Longer frames are read beside the runtime's threads.
const LONG_FRAME_BYTES: usize = 256 * 1024;

/// What is to be done.
pub(crate) struct Batch<'b> {
    pub(crate) program: &'b dyn Load,
    pub(crate) action: Action,
    /// The function in the design document.
    pub(crate) path: &'b [&'b str],
    /// What all inputs share.
    pub(crate) shared: Option<&'b str>,
    pub(crate) inputs: Inputs<'b>,
    /// Units of an input.
    pub(crate) units: usize,
}

/// What functions are called with. On the wire each is one JSON text.
#[derive(Clone, Copy)]
pub(crate) enum Inputs<'b> {
    Documents(&'b [Bytes]),
    Reduces(&'b [ReduceCall]),
    Validations(&'b [[Bytes; 4]]),
    /// The arguments of each call.
    Calls(&'b [Vec<Bytes>]),
    /// The arguments of the only call.
    Arguments(&'b [String]),
}

impl Inputs<'_> {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Documents(documents) => documents.len(),
            Self::Reduces(calls) => calls.len(),
            Self::Validations(calls) => calls.len(),
            Self::Calls(calls) => calls.len(),
            Self::Arguments(_) => 1,
        }
    }

    fn write(&self, at: usize, frame: &mut FrameWriter) {
        match self {
            Self::Documents(documents) => {
                frame.text(
                    documents
                        .get(at)
                        .map(|document| &**document)
                        .unwrap_or_default(),
                );
            }
            Self::Reduces(calls) => {
                if let Some(call) = calls.get(at) {
                    frame.written(|bytes| write_reduce(call, bytes));
                }
            }
            Self::Validations(calls) => {
                frame.array(calls.get(at).map(|call| &call[..]).unwrap_or_default());
            }
            Self::Calls(calls) => {
                frame.array(calls.get(at).map(Vec::as_slice).unwrap_or_default());
            }
            Self::Arguments(arguments) => {
                frame.array(arguments);
            }
        }
    }
}

/// `[function,keys,values,length]`, the length being about that of what `CouchDB` would send.
fn write_reduce(call: &ReduceCall, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.extend_from_slice(format!("[{},", call.function).as_bytes());
    match &call.keys {
        None => bytes.extend_from_slice(b"null"),
        Some(keys) => put_array(bytes, keys),
    }
    bytes.push(b',');
    put_array(bytes, &call.values);
    let frame = r#"["rereduce",[],[]]"#.len() + call.values.len() * 3;
    let length = bytes.len() - start + frame;
    bytes.extend_from_slice(format!(",{length}]").as_bytes());
}

/// How lines become answers.
pub(crate) struct Reading<A> {
    /// A line of the worker.
    pub(crate) line: fn(&str) -> A,
    /// A unit that was stopped.
    pub(crate) stopped: fn(&ScriptError) -> A,
}

impl<A> Clone for Reading<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Reading<A> {}

/// What a request came to.
enum Outcome {
    /// It ran to an end, for all inputs or for memory.
    Ended(Ending),
    /// The process was lost at work.
    Lost(ScriptError),
    /// It was answered that the call cannot be done; the process is sound.
    Refused(ScriptError),
}

/// Runs a batch: an answer for each unit, in order.
pub(crate) async fn run<A: Send + 'static>(
    pool: &Arc<Pool>,
    owner: &Owner,
    batch: &Batch<'_>,
    reading: Reading<A>,
) -> Result<Vec<A>, ScriptError> {
    let mut lease = pool.lease(owner).await?;
    let program = batch.program.fingerprint();
    if let Err(error) = lease.refuse_barred(program) {
        lease.finish();
        return Err(error);
    }
    let done = run_leased(&mut lease, owner, batch, reading).await;
    match &done {
        Err(ScriptError::TimedOut) => lease.bar(program, &ScriptError::TimedOut),
        Err(error) if !is_refusal(error) => {}
        Ok(_) | Err(_) => lease.finish(),
    }
    done
}

async fn run_leased<A: Send + 'static>(
    lease: &mut Lease,
    owner: &Owner,
    batch: &Batch<'_>,
    reading: Reading<A>,
) -> Result<Vec<A>, ScriptError> {
    let total = batch.inputs.count().saturating_mul(batch.units);
    let mut work = Work {
        owner: owner.clone(),
        answers: Vec::with_capacity(total),
        reading,
        bytes: 0,
        culprits: 0,
        fatal: None,
    };
    let mut careful = false;
    let mut suspect = None;
    while work.answers.len() < total {
        let before = work.answers.len();
        let fresh = !lease.is_warm();
        let outcome = request(lease, batch, &mut work, careful).await?;
        let unit = work.answers.len();
        match outcome {
            Outcome::Refused(error) => return Err(error),
            Outcome::Ended(Ending::Whole) => careful = false,
            Outcome::Ended(Ending::Spent | Ending::Stopped) => {
                lease.discard();
                careful = false;
            }
            Outcome::Ended(Ending::Memory) => {
                lease.discard();
                // In a process with a past, the past may be what took the memory.
                if (fresh && unit == before) || suspect == Some(unit) {
                    work.blame(&ScriptError::TooMuchMemory)?;
                }
                suspect = Some(unit);
            }
            Outcome::Lost(error) => {
                lease.discard();
                let alone = total - unit == 1 && error == ScriptError::TimedOut;
                if careful || alone {
                    work.blame(&error)?;
                    careful = false;
                } else {
                    careful = true;
                }
            }
        }
    }
    Ok(work.answers)
}

/// Answers so far.
struct Work<A> {
    owner: Owner,
    answers: Vec<A>,
    reading: Reading<A>,
    bytes: usize,
    culprits: usize,
    /// What a function threw to end the whole call.
    fatal: Option<ScriptError>,
}

impl<A: Send + 'static> Work<A> {
    /// The next unit was stopped, and is the reason for it.
    fn blame(&mut self, error: &ScriptError) -> Result<(), ScriptError> {
        let Owner { database, purpose } = &self.owner;
        warn!(database, ?purpose, %error, "a function of a design document was stopped: {error}");
        self.culprits += 1;
        if self.culprits > CULPRITS_MAX {
            return Err(error.clone());
        }
        self.answers.push((self.reading.stopped)(error));
        Ok(())
    }

    /// Lines that came.
    async fn read(&mut self, fields: Fields<'_>, most: usize) -> Result<(), ScriptError> {
        let broken = || ScriptError::Crashed("it answered what are no lines".to_owned());
        self.bytes = self.bytes.saturating_add(fields.0.len());
        if self.bytes > ANSWERS_BYTES_MAX {
            return Err(ScriptError::TooMuchMemory);
        }
        let text = std::str::from_utf8(fields.0).map_err(|_| broken())?;
        let text = text.strip_suffix('\n').ok_or_else(broken)?;
        let read = self.reading;
        let lines = if text.len() > LONG_FRAME_BYTES {
            let text = text.to_owned();
            let read = tokio::task::spawn_blocking(move || read_lines(&text, read));
            read.await.map_err(|_| broken())?
        } else {
            read_lines(text, read)
        };
        if self.answers.len().saturating_add(lines.len()) > most {
            return Err(broken());
        }
        for line in lines {
            match line {
                Line::Answer(answer) => self.answers.push(answer),
                Line::TimedOut => self.blame(&ScriptError::TimedOut)?,
                Line::Fatal(error) => {
                    self.answers.push((self.reading.stopped)(&error));
                    self.fatal.get_or_insert(error);
                }
            }
        }
        Ok(())
    }
}

/// A line that was read.
enum Line<A> {
    Answer(A),
    TimedOut,
    Fatal(ScriptError),
}

fn read_lines<A>(text: &str, reading: Reading<A>) -> Vec<Line<A>> {
    let read = |line: &str| {
        if line == "T" {
            return Line::TimedOut;
        }
        if let Some(json) = line.strip_prefix('F') {
            let (error, reason) = crate::lines::thrown(json);
            return Line::Fatal(ScriptError::Threw { error, reason });
        }
        Line::Answer((reading.line)(line))
    };
    text.split('\n').map(read).collect()
}

/// One request for as many of the inputs that are left as fit in it.
async fn request<A: Send + 'static>(
    lease: &mut Lease,
    batch: &Batch<'_>,
    work: &mut Work<A>,
    careful: bool,
) -> Result<Outcome, ScriptError> {
    let warm = lease.is_warm();
    let process = lease.process(Some(batch.program.fingerprint())).await?;
    let number = match process.load(batch.program).await {
        Ok(number) => number,
        Err(error @ ScriptError::Crashed(_)) if warm => return Ok(Outcome::Lost(error)),
        Err(error) if is_refusal(&error) => return Ok(Outcome::Refused(error)),
        Err(error) => return Err(error),
    };
    let (frame, most) = write_request(batch, work.answers.len(), number, careful);
    if let Err(error) = process.send(frame.bytes()).await {
        return Ok(Outcome::Lost(error));
    }
    drop(frame);
    answers(process, work, most).await
}

/// The request, and the number of answers there are after it.
fn write_request(
    batch: &Batch<'_>,
    answered: usize,
    number: u64,
    careful: bool,
) -> (FrameWriter, usize) {
    let first = answered.checked_div(batch.units).unwrap_or(0);
    let skip = answered.checked_rem(batch.units).unwrap_or(0);
    let mut frame = FrameWriter::default();
    frame.begin(Request::Run.number()).number(number);
    frame
        .byte(u8::from(careful))
        .number(skip as u64)
        .byte(batch.action.number());
    frame.number(batch.path.len() as u64);
    for name in batch.path {
        frame.text(name.as_bytes());
    }
    frame.option(batch.shared.map(str::as_bytes));
    let mut last = first;
    while last < batch.inputs.count() && last - first < REQUEST_INPUTS {
        batch.inputs.write(last, &mut frame);
        last += 1;
        if frame.bytes().len() > REQUEST_BYTES {
            break;
        }
    }
    frame.end();
    (frame, last.saturating_mul(batch.units))
}

/// Reads the answers of a request until it ends.
async fn answers<A: Send + 'static>(
    process: &mut Process,
    work: &mut Work<A>,
    most: usize,
) -> Result<Outcome, ScriptError> {
    let before = work.answers.len();
    loop {
        let Received { answer, mut fields } = match process.receive().await {
            Ok(received) => received,
            Err(error) => return Ok(Outcome::Lost(error)),
        };
        match answer {
            Answer::Lines => work.read(fields, most).await?,
            Answer::Log => log(fields),
            Answer::Failed => {
                let error = failure(fields);
                if is_refusal(&error) {
                    return Ok(Outcome::Refused(error));
                }
                return Err(error);
            }
            Answer::Ended => {
                if let Some(error) = work.fatal.take() {
                    return Ok(Outcome::Refused(error));
                }
                let progressed = work.answers.len() > before;
                return match fields.byte().and_then(Ending::parse) {
                    Some(Ending::Memory) => Ok(Outcome::Ended(Ending::Memory)),
                    Some(Ending::Stopped) if progressed => Ok(Outcome::Ended(Ending::Stopped)),
                    Some(ending) if work.answers.len() == most => Ok(Outcome::Ended(ending)),
                    _ => Err(ScriptError::Crashed("it answered too little".to_owned())),
                };
            }
            Answer::Ready | Answer::Done | Answer::WantRows | Answer::Start | Answer::Chunk => {
                return Err(out_of_turn(answer));
            }
        }
    }
}

/// Is it an answer of a process that goes on?
pub(crate) fn is_refusal(error: &ScriptError) -> bool {
    match error {
        ScriptError::Compilation { .. } | ScriptError::Missing(_) | ScriptError::Threw { .. } => {
            true
        }
        ScriptError::TimedOut
        | ScriptError::TooMuchMemory
        | ScriptError::Crashed(_)
        | ScriptError::TooBusy
        | ScriptError::Disabled => false,
    }
}
