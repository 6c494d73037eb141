//! QuickJS with its limits, and one realm for each program.
//!
//! A realm has no way out: no files, no modules, no timers. Its door (`environment.js`) is an
//! object of functions that take values and answer with text, so that a document costs one
//! crossing into JavaScript however much it emits.

use std::rc::Rc;
use std::time::Instant;

use rquickjs::context::intrinsic::{
    Date, Eval, Json, MapSet, Promise, Proxy, RegExp, RegExpCompiler, TypedArrays, WeakRef,
};
use rquickjs::function::{Args, IntoArgs};
use rquickjs::{Array, Context, Ctx, Error, Function, Object, Persistent, Runtime, Value};

use crate::wire::{Answer, Request};
use crate::worker::clock::Clock;
use crate::worker::input::next_request;
use crate::worker::output::Output;

/// Stack of JavaScript; the main thread has eight times that.
const STACK_BYTES: usize = 1 << 20;

/// Characters of all that the functions of a request may log.
const LOG_BYTES: usize = 16 * 1024;

/// Tasks that a program may have left behind and that are run down after a request.
const JOBS_MAX: usize = 1000;

type Intrinsics = (
    Date,
    Eval,
    RegExpCompiler,
    RegExp,
    Json,
    Proxy,
    MapSet,
    TypedArrays,
    Promise,
    WeakRef,
);

/// The engine and what its callbacks share with the loop.
pub(crate) struct Engine {
    runtime: Runtime,
    pub(crate) clock: Rc<Clock>,
    pub(crate) output: Rc<Output>,
    logged: Rc<std::cell::Cell<usize>>,
}

/// What came of a call into JavaScript.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The text that the door answered with.
    Text(String),
    /// The unit was stopped for time.
    Interrupted,
    /// There was no memory left, not even for an answer.
    Exhausted,
    /// The door itself failed, as when the stack was used up before it.
    Broken(String),
}

impl Engine {
    /// An engine that may use so much memory.
    pub(crate) fn new(
        memory_bytes: usize,
        clock: Rc<Clock>,
        output: Rc<Output>,
    ) -> Result<Self, Error> {
        let runtime = Runtime::new()?;
        runtime.set_memory_limit(memory_bytes);
        runtime.set_max_stack_size(STACK_BYTES);
        let asked = Rc::clone(&clock);
        let flushed = Rc::clone(&output);
        runtime.set_interrupt_handler(Some(Box::new(move || {
            // Lines that wait while a unit takes long would make the server guess which it is.
            if asked.is_due() && flushed.has_lines() {
                flushed.flush();
                asked.heard();
            }
            asked.interrupt()
        })));
        Ok(Self {
            runtime,
            clock,
            output,
            logged: Rc::default(),
        })
    }

    /// A realm with an environment and no program yet.
    pub(crate) fn realm(&self) -> Result<Realm, Error> {
        let context = Context::custom::<Intrinsics>(&self.runtime)?;
        let door = context.with(|ctx| {
            let make: Function<'_> = ctx.eval(include_str!("environment.js"))?;
            let door: Object<'_> = make.call((self.host(&ctx)?,))?;
            Ok::<_, Error>(Persistent::save(&ctx, door))
        })?;
        Ok(Realm { door, context })
    }

    /// A new request: functions may log again.
    pub(crate) fn begin_request(&self) {
        self.logged.set(0);
    }

    /// Runs down what promises left behind; false if there is no end to it.
    pub(crate) fn run_down(&self) -> bool {
        for _ in 0..JOBS_MAX {
            if !self.runtime.is_job_pending() {
                return true;
            }
            self.clock.begin();
            // What such a task throws has nobody to hear it.
            let _thrown = self.runtime.execute_pending_job().is_err();
            if self.clock.was_interrupted() {
                return false;
            }
        }
        !self.runtime.is_job_pending()
    }

    /// What the environment asks of the worker.
    fn host<'js>(&self, ctx: &Ctx<'js>) -> Result<Object<'js>, Error> {
        let host = Object::new(ctx.clone())?;
        let (output, logged) = (Rc::clone(&self.output), Rc::clone(&self.logged));
        let log = move |line: String| {
            let total = logged.get().saturating_add(line.len() + 1);
            if total <= LOG_BYTES {
                logged.set(total);
                output.frame(Answer::Log, |frame| {
                    frame.rest(line.as_bytes());
                });
            }
        };
        host.set("log", Function::new(ctx.clone(), log)?)?;
        for (name, answer) in [("start", Answer::Start), ("chunk", Answer::Chunk)] {
            let (output, clock) = (Rc::clone(&self.output), Rc::clone(&self.clock));
            let send = move |text: String| {
                output.frame(answer, |frame| {
                    frame.rest(text.as_bytes());
                });
                let start = Instant::now();
                output.flush();
                clock.excuse(start.elapsed());
                clock.heard();
            };
            host.set(name, Function::new(ctx.clone(), send)?)?;
        }
        let (output, clock) = (Rc::clone(&self.output), Rc::clone(&self.clock));
        let rows = move |ctx: Ctx<'js>| {
            let rows = want_rows(&output);
            clock.begin();
            ctx.json_parse(rows)
        };
        host.set("rows", Function::new(ctx.clone(), rows)?)?;
        let render: Function<'_> = ctx.eval(include_str!("render.js"))?;
        host.set("render", render)?;
        Ok(host)
    }
}

/// Asks the server for rows of the list at work, and waits.
fn want_rows(output: &Output) -> Vec<u8> {
    output.frame(Answer::WantRows, |_| ());
    output.flush();
    match next_request() {
        Some((Request::Rows, rows)) => rows,
        // The server has gone, or is not the server.
        _ => std::process::exit(0),
    }
}

/// A realm and its door. The door goes first when it is dropped.
pub(crate) struct Realm {
    door: Persistent<Object<'static>>,
    context: Context,
}

impl Realm {
    /// Enters the realm.
    pub(crate) fn with<R>(
        &self,
        clock: &Clock,
        work: impl FnOnce(Door<'_, '_>) -> R,
    ) -> Result<R, Error> {
        self.context.with(|ctx| {
            let object = self.door.clone().restore(&ctx)?;
            Ok(work(Door { ctx, object, clock }))
        })
    }
}

/// The inside of a realm, for as long as the worker is there.
pub(crate) struct Door<'js, 'c> {
    ctx: Ctx<'js>,
    object: Object<'js>,
    clock: &'c Clock,
}

impl<'js> Door<'js, '_> {
    /// A function of the environment.
    pub(crate) fn entry(&self, name: &str) -> Result<Function<'js>, Error> {
        self.object.get(name)
    }

    /// A value of JSON; else what is wrong with it.
    pub(crate) fn parse(&self, json: &[u8]) -> Result<Value<'js>, Outcome> {
        // With room for the zero that the engine wants at the end.
        let mut text = Vec::with_capacity(json.len() + 1);
        text.extend_from_slice(json);
        let json = text;
        self.ctx
            .json_parse(json)
            .map_err(|error| self.fault(&error))
    }

    /// An array of strings.
    pub(crate) fn strings(&self, strings: &[&str]) -> Result<Array<'js>, Outcome> {
        let fill = || {
            let array = Array::new(self.ctx.clone())?;
            for (at, string) in strings.iter().enumerate() {
                array.set(at, *string)?;
            }
            Ok(array)
        };
        fill().map_err(|error| self.fault(&error))
    }

    /// Calls an entry that answers with text.
    pub(crate) fn call<A: IntoArgs<'js>>(&self, entry: &Function<'js>, arguments: A) -> Outcome {
        let call = || {
            let mut args = Args::new(self.ctx.clone(), arguments.num_args());
            arguments.into_args(&mut args)?;
            let answer: rquickjs::String<'_> = args.apply(entry)?;
            answer.to_string()
        };
        match call() {
            Ok(text) => Outcome::Text(text),
            Err(error) => self.fault(&error),
        }
    }

    /// Why a call gave no text. Takes the exception out of the engine.
    fn fault(&self, error: &Error) -> Outcome {
        if !matches!(error, Error::Exception) {
            let exhausted = matches!(error, Error::Allocation | Error::Unknown);
            return if exhausted {
                Outcome::Exhausted
            } else {
                Outcome::Broken(error.to_string())
            };
        }
        let thrown = self.ctx.catch();
        if self.clock.was_interrupted() {
            return Outcome::Interrupted;
        }
        let Some(object) = thrown.as_object() else {
            // The engine throws nothing when it has no memory for an error.
            return Outcome::Exhausted;
        };
        let message: String = object.get("message").unwrap_or_default();
        if message == "out of memory" {
            return Outcome::Exhausted;
        }
        Outcome::Broken(message)
    }
}
