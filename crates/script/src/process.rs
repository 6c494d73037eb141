//! One worker process as the server sees it: frames out, frames in, dead at the deadline.
//!
//! Whoever holds a [`Process`] is the only one to speak to it. Dropped, it is killed; so a caller
//! who goes away in the middle of a request leaves nothing behind.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::pipe::fcntl_setpipe_size;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::error::ScriptError;
use crate::program::{Fingerprint, Load};
use crate::scripts::ScriptOptions;
use crate::wire::{self, Answer, Fault, Fields, FrameWriter, HEAD_BYTES, Request};

/// Starting may take so long, and so may a request on its way into the pipe.
const START: Duration = Duration::from_secs(20);

/// What fits in a pipe: a batch should go in at once.
const PIPE_BYTES: usize = 256 * 1024;

/// Programs in one process; with more of them it is replaced.
const PROGRAMS_MAX: usize = 16;

/// A running worker.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// What came in: bytes from `taken` on are not taken yet.
    buffer: Vec<u8>,
    taken: usize,
    programs: HashMap<Fingerprint, u64>,
    timeout: Duration,
    frame_bytes_max: usize,
    started: Instant,
    /// Its place among the processes that may run.
    _room: OwnedSemaphorePermit,
}

/// A frame that came in.
#[derive(Debug)]
pub(crate) struct Received<'p> {
    pub(crate) answer: Answer,
    pub(crate) fields: Fields<'p>,
}

impl Process {
    /// Starts a worker and hears that it is confined.
    pub(crate) async fn start(
        options: &ScriptOptions,
        room: OwnedSemaphorePermit,
    ) -> Result<Self, ScriptError> {
        let (program, arguments) = options
            .command
            .split_first()
            .ok_or_else(|| ScriptError::Crashed("no command".to_owned()))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Starting a process takes milliseconds.
        let child = tokio::task::spawn_blocking(move || command.spawn());
        let mut child = match child.await {
            Ok(Ok(child)) => child,
            Ok(Err(error)) => return Err(ScriptError::Crashed(format!("cannot start: {error}"))),
            Err(error) => return Err(ScriptError::Crashed(format!("cannot start: {error}"))),
        };
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(ScriptError::Crashed("no pipes".to_owned()));
        };
        // Where pipes may not grow, batches go through in pieces.
        let _small = fcntl_setpipe_size(&input, PIPE_BYTES).is_err();
        tokio::spawn(hear_complaints(errors));
        let mut process = Self {
            child,
            input,
            output,
            buffer: Vec::new(),
            taken: 0,
            programs: HashMap::new(),
            timeout: options.timeout,
            frame_bytes_max: options.memory_bytes.saturating_mul(4),
            started: Instant::now(),
            _room: room,
        };
        process.greet(options).await?;
        Ok(process)
    }

    async fn greet(&mut self, options: &ScriptOptions) -> Result<(), ScriptError> {
        let mut frame = FrameWriter::default();
        let milliseconds = u64::try_from(options.timeout.as_millis()).unwrap_or(u64::MAX);
        frame
            .begin(Request::Setup.number())
            .number(u64::from(wire::VERSION))
            .number(options.memory_bytes as u64)
            .number(milliseconds)
            .end();
        self.send(frame.bytes()).await?;
        let Received { answer, mut fields } = self.receive_within(START).await?;
        let version = fields.number();
        let missing = fields.string().unwrap_or_default();
        if answer != Answer::Ready || version != Some(u64::from(wire::VERSION)) {
            return Err(ScriptError::Crashed("it is of another version".to_owned()));
        }
        if !missing.is_empty() {
            warn_once(missing);
        }
        Ok(())
    }

    /// The process id, as long as it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Has it not ended by itself?
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How long it has been running.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// May it be given another program?
    pub(crate) fn has_room_for(&self, program: &Fingerprint) -> bool {
        self.programs.contains_key(program) || self.programs.len() < PROGRAMS_MAX
    }

    /// The number of a program, loaded if need be.
    pub(crate) async fn load(&mut self, program: &dyn Load) -> Result<u64, ScriptError> {
        if let Some(number) = self.programs.get(program.fingerprint()) {
            return Ok(*number);
        }
        let number = self.programs.len() as u64;
        let mut frame = FrameWriter::default();
        frame.begin(Request::Load.number()).number(number);
        program.write(&mut frame);
        frame.end();
        self.send(frame.bytes()).await?;
        self.done().await?;
        self.programs.insert(*program.fingerprint(), number);
        Ok(number)
    }

    /// Waits for `Done`.
    pub(crate) async fn done(&mut self) -> Result<(), ScriptError> {
        loop {
            let Received { answer, fields } = self.receive().await?;
            match answer {
                Answer::Done => return Ok(()),
                Answer::Log => log(fields),
                Answer::Failed => return Err(failure(fields)),
                Answer::Ready
                | Answer::Lines
                | Answer::Ended
                | Answer::WantRows
                | Answer::Start
                | Answer::Chunk => return Err(out_of_turn(answer)),
            }
        }
    }

    /// Sends frames.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> Result<(), ScriptError> {
        match timeout(START, self.input.write_all(frames)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.end(&error.to_string()).await),
            Err(_) => Err(ScriptError::TimedOut),
        }
    }

    /// The next frame; an error if it is not whole before the deadline of a unit.
    pub(crate) async fn receive(&mut self) -> Result<Received<'_>, ScriptError> {
        self.receive_within(self.timeout).await
    }

    async fn receive_within(&mut self, limit: Duration) -> Result<Received<'_>, ScriptError> {
        let length = match timeout(limit, self.fill_frame()).await {
            Ok(filled) => filled?,
            Err(_) => return Err(ScriptError::TimedOut),
        };
        let from = self.taken;
        self.taken = from.saturating_add(HEAD_BYTES).saturating_add(length);
        let frame = self.buffer.get(from..self.taken).unwrap_or_default();
        let parsed = frame
            .split_first_chunk::<HEAD_BYTES>()
            .and_then(|(head, fields)| {
                Answer::parse(wire::head(*head).1).map(|answer| (answer, fields))
            });
        match parsed {
            Some((answer, fields)) => Ok(Received {
                answer,
                fields: Fields(fields),
            }),
            None => Err(ScriptError::Crashed(
                "it answered what is no answer".to_owned(),
            )),
        }
    }

    /// Reads until there is a whole frame after what is taken; its length after its head.
    async fn fill_frame(&mut self) -> Result<usize, ScriptError> {
        loop {
            let rest = self.buffer.get(self.taken..).unwrap_or_default();
            if let Some(head) = rest.first_chunk::<HEAD_BYTES>() {
                let (length, _) = wire::head(*head);
                if length > self.frame_bytes_max {
                    return Err(ScriptError::Crashed("its answer is too long".to_owned()));
                }
                if rest.len() >= HEAD_BYTES.saturating_add(length) {
                    return Ok(length);
                }
            }
            if self.taken > 0 {
                self.buffer.drain(..self.taken);
                self.taken = 0;
                self.buffer.shrink_to(PIPE_BYTES);
            }
            self.buffer.reserve(64 * 1024);
            match self.output.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(self.end("it closed its output").await),
                Ok(_) => {}
                Err(error) => return Err(self.end(&error.to_string()).await),
            }
        }
    }

    /// What to say of a process that does not speak any more.
    async fn end(&mut self, why: &str) -> ScriptError {
        let grace = Duration::from_secs(1);
        match timeout(grace, self.child.wait()).await {
            Ok(Ok(status)) => ScriptError::Crashed(status.to_string()),
            Ok(Err(_)) | Err(_) => ScriptError::Crashed(why.to_owned()),
        }
    }
}

/// What a frame `Failed` says.
pub(crate) fn failure(mut fields: Fields<'_>) -> ScriptError {
    let parts = (
        fields.byte().and_then(Fault::parse),
        fields.string(),
        fields.string(),
    );
    let (Some(fault), Some(error), Some(reason)) = parts else {
        return ScriptError::Crashed("it failed without a reason".to_owned());
    };
    let (error, reason) = (error.to_owned(), reason.to_owned());
    match fault {
        Fault::Compilation => ScriptError::Compilation {
            name: error,
            reason,
        },
        Fault::Missing => ScriptError::Missing(reason),
        Fault::Threw => ScriptError::Threw { error, reason },
        Fault::TimedOut => ScriptError::TimedOut,
        Fault::Memory => ScriptError::TooMuchMemory,
    }
}

/// An answer that does not belong here.
pub(crate) fn out_of_turn(answer: Answer) -> ScriptError {
    ScriptError::Crashed(format!("it answered {answer:?} out of turn"))
}

/// A line that a function logged.
pub(crate) fn log(fields: Fields<'_>) {
    debug!(line = %String::from_utf8_lossy(fields.0), "a design function logged a line");
}

/// Says once what a worker could not confine.
fn warn_once(missing: &str) {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        warn!(
            missing,
            "workers of design functions run with less confinement: {missing}"
        );
    });
}

/// Logs the first lines that a worker writes to standard error; after those it is closed.
async fn hear_complaints(errors: ChildStderr) {
    let mut lines = BufReader::new(errors.take(64 * 1024)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let line: String = line.chars().take(500).collect();
        debug!(line, "a worker of design functions complains: {line}");
    }
}
