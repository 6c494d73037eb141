//! The child process: confined before it reads a word of foreign code, it loads programs and
//! answers requests, one after another, until its input ends.
//!
//! It holds no state that the server would miss: killed at any moment, it costs the request at
//! work and nothing else.

mod clock;
mod confine;
mod engine;
mod input;
mod output;
mod program;
mod run;

use std::collections::HashMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::Error;

use crate::wire::{self, Answer, Ending, Fields, ProgramKind, Request};
use clock::Clock;
use engine::{Engine, Outcome};
use output::Output;
use program::{Loaded, Program};
use run::{After, Run};

/// Processor time between two requests is renewed no more often.
const RENEWAL: Duration = Duration::from_secs(1);

/// Runs the worker on standard input and output until the input ends. The binary calls this for
/// `js-worker` before it makes anything else.
#[must_use]
pub fn run() -> ExitCode {
    let Some((Request::Setup, fields)) = input::next_request() else {
        return ExitCode::FAILURE;
    };
    let Some(mut worker) = Worker::set_up(Fields(&fields)) else {
        return ExitCode::FAILURE;
    };
    while let Some((request, fields)) = input::next_request() {
        worker.renew();
        match worker.answer(request, Fields(&fields)) {
            Some(Ok(After::Sound)) => {}
            Some(Ok(After::Spent)) => break,
            // A frame that is none, or an engine that fails by itself: the server starts another.
            Some(Err(_)) | None => return ExitCode::FAILURE,
        }
    }
    // Programs are not taken down one by one: the process ends.
    std::process::exit(0)
}

struct Worker {
    programs: HashMap<u64, Program>,
    engine: Engine,
    timeout: Duration,
    renewed: Instant,
}

impl Worker {
    /// Confines the process and makes the engine.
    fn set_up(mut fields: Fields<'_>) -> Option<Self> {
        let version = fields.number()?;
        let memory = fields.number()?;
        let timeout = Duration::from_millis(fields.number()?);
        if version != u64::from(wire::VERSION) {
            return None;
        }
        let missing = confine::confine(memory);
        let output = Rc::new(Output::default());
        let clock = Rc::new(Clock::new(timeout));
        let memory = usize::try_from(memory).ok()?;
        let engine = Engine::new(memory, clock, Rc::clone(&output)).ok()?;
        output.frame(Answer::Ready, |frame| {
            frame.number(version).text(missing.as_bytes());
        });
        output.flush();
        let worker = Self {
            programs: HashMap::new(),
            engine,
            timeout,
            renewed: Instant::now(),
        };
        confine::renew_processor_time(worker.processor_time());
        Some(worker)
    }

    /// As much as a request that is answered in time can need, its batches included.
    fn processor_time(&self) -> Duration {
        self.timeout
            .saturating_mul(100)
            .saturating_add(Duration::from_secs(60))
    }

    fn renew(&mut self) {
        if self.renewed.elapsed() > RENEWAL {
            confine::renew_processor_time(self.processor_time());
            self.renewed = Instant::now();
        }
    }

    fn answer(&mut self, request: Request, mut fields: Fields<'_>) -> Option<Result<After, Error>> {
        self.engine.begin_request();
        // Also before foreign code: making a realm runs the environment.
        self.engine.clock.begin();
        self.engine.clock.heard();
        match request {
            Request::Load => {
                let number = fields.number()?;
                let kind = ProgramKind::parse(fields.byte()?)?;
                let loaded = program::load(&self.engine, kind, fields)?;
                Some(loaded.map(|loaded| self.keep(Some(number), loaded)))
            }
            Request::Compile => {
                let loaded = program::compile(&self.engine, fields)?;
                Some(loaded.map(|loaded| self.keep(None, loaded)))
            }
            Request::Run => {
                let program = self.programs.get(&fields.number()?)?;
                Some(run::run(&self.engine, program, &Run::parse(fields)?))
            }
            Request::List => {
                let program = self.programs.get(&fields.number()?)?;
                let (name, arguments) = (fields.string()?, fields.text()?);
                Some(self.list(program, name, arguments))
            }
            Request::Setup | Request::Rows => None,
        }
    }

    /// Keeps what was loaded under a number, and answers.
    fn keep(&mut self, number: Option<u64>, loaded: Loaded) -> After {
        match loaded {
            Loaded::Program(program) => {
                if let Some(number) = number {
                    self.programs.insert(number, program);
                }
                self.done();
                After::Sound
            }
            Loaded::Failed(after) => after,
        }
    }

    fn list(&self, program: &Program, name: &str, arguments: &[u8]) -> Result<After, Error> {
        let after = program
            .realm
            .with(&self.engine.clock, |door| -> Result<_, Error> {
                self.engine.clock.begin();
                let path = ["lists", name];
                let outcome = match run::choose(&door, &path)? {
                    Ok(()) => match door.parse(arguments) {
                        Ok(arguments) => door.call(&door.entry("list")?, (arguments,)),
                        Err(outcome) => outcome,
                    },
                    Err(outcome) => outcome,
                };
                let done = outcome == Outcome::Text(String::new());
                Ok((!done).then(|| run::fail(&self.engine, &path.join("."), outcome)))
            })??;
        Ok(after.unwrap_or_else(|| run::end(&self.engine, Ending::Whole)))
    }

    fn done(&self) {
        self.engine.output.frame(Answer::Done, |_| ());
        self.engine.output.flush();
    }
}
