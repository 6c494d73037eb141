//! A bounded queue of log lines with one thread that writes them.
//!
//! Putting a line in takes a lock and a copy and never waits for the reader of the log. Lines are
//! gathered for a moment, so that a busy server makes one system call for many. When the reader is
//! too slow and the queue is full, lines are dropped and counted, and the count is written as soon
//! as there is room: a gap is said, never hidden.

use crate::config::LogFormat;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// The most bytes that wait to be written.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// So many bytes are written at once, without waiting for more.
const GATHERED_BYTES: usize = 32 << 10;
/// So long are lines gathered.
const GATHER_TIME: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    dropped: u64,
    closed: bool,
}

struct Shared {
    lines: Mutex<Lines>,
    changed: Condvar,
}

impl Shared {
    /// A thread that panicked while it held the lock has at worst cut a line short.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the queue where lines go in.
#[derive(Clone)]
pub(super) struct LogQueue(Arc<Shared>);

/// The thread at the other end; dropping it writes what is left and ends it.
pub(super) struct LogWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl LogQueue {
    /// A queue whose lines are written to `sink`.
    pub(super) fn start(
        mut sink: Box<dyn Write + Send>,
        format: LogFormat,
    ) -> io::Result<(Self, LogWriter)> {
        let shared = Arc::new(Shared {
            lines: Mutex::default(),
            changed: Condvar::new(),
        });
        let queue = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&queue, sink.as_mut(), format))?;
        let writer = LogWriter {
            shared: Arc::clone(&shared),
            thread: Some(thread),
        };
        Ok((Self(shared), writer))
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &LogQueue {
    /// Takes a whole line, or drops a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock();
        let before = lines.bytes.len();
        if before.saturating_add(line.len()) > QUEUE_BYTES_MAX {
            lines.dropped = lines.dropped.saturating_add(1);
            return Ok(line.len());
        }
        lines.bytes.extend_from_slice(line);
        // The thread looks up only when something begins and when enough is gathered.
        let after = lines.bytes.len();
        drop(lines);
        if before == 0 || (before < GATHERED_BYTES && after >= GATHERED_BYTES) {
            self.0.changed.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // If it panicked, there is nobody left to tell.
            drop(thread.join());
        }
    }
}

fn write_lines(shared: &Shared, sink: &mut dyn Write, format: LogFormat) {
    let mut batch = Vec::new();
    loop {
        let lines = shared.lock();
        let lines = shared
            .changed
            .wait_while(lines, |l| l.bytes.is_empty() && !l.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut lines, _) = shared
            .changed
            .wait_timeout_while(lines, GATHER_TIME, |l| {
                l.bytes.len() < GATHERED_BYTES && !l.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut batch, &mut lines.bytes);
        let (dropped, closed) = (std::mem::take(&mut lines.dropped), lines.closed);
        drop(lines);
        if dropped > 0 {
            batch.extend_from_slice(gap(dropped, format).as_bytes());
        }
        // Where standard error is closed, nobody can be told about it.
        drop(sink.write_all(&batch).and_then(|()| sink.flush()));
        batch.clear();
        if closed {
            return;
        }
    }
}

/// The line that stands for dropped ones.
fn gap(dropped: u64, format: LogFormat) -> String {
    let said = format!("{dropped} log lines were dropped: nobody reads them fast enough");
    match format {
        LogFormat::Text => format!("WARN adea::telemetry: {said}\n"),
        LogFormat::Json => format!("{{\"level\":\"WARN\",\"message\":\"{said}\"}}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A sink that waits for leave before each write and keeps what came.
    struct Slow {
        leave: Receiver<()>,
        entered: Sender<()>,
        out: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.entered.send(()).unwrap_or_default();
            self.leave.recv().unwrap_or_default();
            self.out.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue in front of a [`Slow`] sink, and the test's hold on it.
    struct Case {
        queue: LogQueue,
        writer: LogWriter,
        leave: Sender<()>,
        entered: Receiver<()>,
        out: Arc<Mutex<Vec<u8>>>,
    }

    fn slow(format: LogFormat) -> Case {
        let (leave, wait) = channel();
        let (enter, entered) = channel();
        let out = Arc::new(Mutex::new(Vec::new()));
        let sink = Slow {
            leave: wait,
            entered: enter,
            out: Arc::clone(&out),
        };
        let (queue, writer) = LogQueue::start(Box::new(sink), format).unwrap();
        Case {
            queue,
            writer,
            leave,
            entered,
            out,
        }
    }

    impl Case {
        fn put(&self, line: &[u8]) {
            (&self.queue).write_all(line).unwrap();
        }

        /// Lets the sink run, ends the writer, and returns what was written.
        fn end(self) -> String {
            drop(self.leave);
            drop(self.writer);
            String::from_utf8(self.out.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn what_was_logged_is_written_before_the_writer_is_gone() {
        let case = slow(LogFormat::Text);
        for number in 0..100 {
            case.put(format!("line {number}\n").as_bytes());
        }
        let text = case.end();
        assert_eq!(text.lines().count(), 100);
        assert!(text.starts_with("line 0\n") && text.ends_with("line 99\n"));
    }

    #[test]
    fn a_stuck_reader_costs_lines_but_no_time_and_the_gap_is_told() {
        let case = slow(LogFormat::Json);
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        case.put(&line);
        case.entered.recv().unwrap();
        // The sink is stuck now; a full queue and ten lines more return at once.
        for _ in 0..(QUEUE_BYTES_MAX / line.len()) + 10 {
            case.put(&line);
        }
        let text = case.end();
        assert_eq!(text.len() / line.len(), 1 + QUEUE_BYTES_MAX / line.len());
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert!(
            last["message"]
                .as_str()
                .unwrap()
                .starts_with("10 log lines")
        );
    }
}
