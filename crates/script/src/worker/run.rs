//! Runs: a batch of inputs through one action of one program, a line for each unit.
//!
//! A line is JSON; or `!` and the JSON of `[error, reason]` when the function threw; `F` and the
//! same when what it threw ends the whole call; `T` when it was stopped for time. After a unit
//! that finds no memory there are no more lines: the worker says so and ends itself, since what
//! remains of its memory is not to be trusted.

use rquickjs::{Error, Function};

use crate::wire::{Action, Answer, Ending, Fault, Fields};
use crate::worker::engine::{Door, Engine, Outcome};
use crate::worker::program::Program;

/// The request `Run` after the program's number.
pub(crate) struct Run<'f> {
    /// Send each line at once, so that the server sees which unit is at work.
    pub(crate) careful: bool,
    /// Lines of the first input that are answered already.
    pub(crate) skip: usize,
    pub(crate) action: Action,
    /// The path of the function in the design document.
    pub(crate) path: Vec<&'f str>,
    /// The request that a filter sees.
    pub(crate) shared: Option<&'f str>,
    pub(crate) inputs: Fields<'f>,
}

impl<'f> Run<'f> {
    /// The fields of the frame.
    pub(crate) fn parse(mut fields: Fields<'f>) -> Option<Self> {
        Some(Self {
            careful: fields.byte()? != 0,
            skip: usize::try_from(fields.number()?).ok()?,
            action: Action::parse(fields.byte()?)?,
            path: fields.strings()?,
            shared: fields.option()?,
            inputs: fields,
        })
    }
}

/// What is left of the worker after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It can go on.
    Sound,
    /// It must end.
    Spent,
}

/// Runs and answers.
pub(crate) fn run(engine: &Engine, program: &Program, run: &Run<'_>) -> Result<After, Error> {
    let ending = program
        .realm
        .with(&engine.clock, |door| -> Result<_, Error> {
            if let Some(after) = prepare(engine, &door, run)? {
                return Ok(Err(after));
            }
            let work = Work {
                engine,
                door: &door,
                run,
                functions: program.functions,
            };
            work.inputs().map(Ok)
        })??;
    Ok(match ending {
        Err(after) => after,
        Ok(ending) => end(engine, ending),
    })
}

/// Says how a run or a list ended.
pub(crate) fn end(engine: &Engine, ending: Ending) -> After {
    let ending = match ending {
        Ending::Whole if !engine.run_down() => Ending::Spent,
        ending @ (Ending::Whole | Ending::Spent | Ending::Memory | Ending::Stopped) => ending,
    };
    engine.output.frame(Answer::Ended, |frame| {
        frame.byte(ending.number());
    });
    engine.output.flush();
    if ending == Ending::Whole {
        After::Sound
    } else {
        After::Spent
    }
}

/// Chooses the function and hands over what all inputs share. When that failed it was answered.
fn prepare(engine: &Engine, door: &Door<'_, '_>, run: &Run<'_>) -> Result<Option<After>, Error> {
    engine.clock.begin();
    if matches!(run.action, Action::Map | Action::Reduce) {
        return Ok(None);
    }
    if let Err(outcome) = choose(door, &run.path)? {
        return Ok(Some(fail(engine, &run.path.join("."), outcome)));
    }
    if let Some(request) = run.shared {
        match door.parse(request.as_bytes()) {
            Ok(request) => door.entry("setRequest")?.call::<_, ()>((request,))?,
            Err(outcome) => return Ok(Some(fail(engine, "req", outcome))),
        }
    }
    Ok(None)
}

/// Makes the function at a path of the design document the one that is called.
pub(crate) fn choose(door: &Door<'_, '_>, path: &[&str]) -> Result<Result<(), Outcome>, Error> {
    let outcome = match door.strings(path) {
        Ok(names) => door.call(&door.entry("choose")?, (names,)),
        Err(outcome) => outcome,
    };
    let done = outcome == Outcome::Text(String::new());
    Ok(if done { Ok(()) } else { Err(outcome) })
}

/// Answers that the whole call failed, and says whether the worker can go on.
pub(crate) fn fail(engine: &Engine, name: &str, outcome: Outcome) -> After {
    let none = String::new;
    let (fault, error, reason) = match outcome {
        Outcome::Interrupted => (Fault::TimedOut, none(), none()),
        Outcome::Exhausted => (Fault::Memory, none(), none()),
        Outcome::Text(text) if text == "M" => (Fault::Memory, none(), none()),
        Outcome::Broken(message) => (Fault::Threw, "unnamed_error".to_owned(), message),
        Outcome::Text(text) => {
            let (error, reason) = crate::lines::thrown(text.get(1..).unwrap_or_default());
            match error.as_str() {
                "compilation_error" => (Fault::Compilation, name.to_owned(), reason),
                "not_found" if reason.starts_with("missing ") => (Fault::Missing, none(), reason),
                _ => (Fault::Threw, error, reason),
            }
        }
    };
    engine.output.frame(Answer::Failed, |frame| {
        frame
            .byte(fault.number())
            .text(error.as_bytes())
            .text(reason.as_bytes());
    });
    engine.output.flush();
    // What was stopped is left half done, as a module that was being loaded.
    if matches!(fault, Fault::Memory | Fault::TimedOut) {
        After::Spent
    } else {
        After::Sound
    }
}

/// One run inside its realm.
struct Work<'w, 'js> {
    engine: &'w Engine,
    door: &'w Door<'js, 'w>,
    run: &'w Run<'w>,
    functions: usize,
}

impl<'js> Work<'_, 'js> {
    fn inputs(&self) -> Result<Ending, Error> {
        let Engine { clock, output, .. } = self.engine;
        let entry = self.door.entry(match self.run.action {
            Action::Map => "map",
            Action::Reduce => "reduce",
            Action::Validate => "validate",
            Action::Filter => "filter",
            Action::ViewFilter => "viewFilter",
            Action::Call => "call",
            Action::Answer => "answer",
        })?;
        let mut inputs = self.run.inputs;
        let mut skip = self.run.skip;
        while let Some(input) = inputs.text() {
            let ending = match self.run.action {
                Action::Map => self.map(&entry, input, skip)?,
                Action::Reduce
                | Action::Validate
                | Action::Filter
                | Action::ViewFilter
                | Action::Call
                | Action::Answer => self.line(&entry, input),
            };
            if ending != Ending::Whole {
                return Ok(ending);
            }
            skip = 0;
            if self.run.careful || output.is_full() || clock.is_due() {
                output.flush();
                clock.heard();
            }
        }
        Ok(Ending::Whole)
    }

    /// One input, one line.
    fn line(&self, entry: &Function<'js>, input: &[u8]) -> Ending {
        self.engine.clock.begin();
        let outcome = match self.door.parse(input) {
            Err(outcome) => outcome,
            Ok(value) if self.run.action == Action::Call => {
                let kind = self.run.path.first().copied().unwrap_or_default();
                self.door.call(entry, (kind, value))
            }
            Ok(value) => self.door.call(entry, (value,)),
        };
        let (line, ending) = match outcome {
            Outcome::Text(text) if text == "M" => return Ending::Memory,
            Outcome::Exhausted => return Ending::Memory,
            Outcome::Text(text) => (text, Ending::Whole),
            Outcome::Interrupted => ("T".to_owned(), Ending::Stopped),
            Outcome::Broken(message) => (threw(&message), Ending::Whole),
        };
        self.engine.output.lines(line.as_bytes());
        self.engine.output.lines(b"\n");
        ending
    }

    /// One document, a line for each map function.
    fn map(&self, entry: &Function<'js>, document: &[u8], skip: usize) -> Result<Ending, Error> {
        let mut from = skip;
        while from < self.functions {
            let to = if self.run.careful {
                from + 1
            } else {
                self.functions
            };
            self.engine.clock.begin();
            let outcome = match self.door.parse(document) {
                Ok(value) => self.door.call(entry, (value, from, to)),
                Err(outcome) => outcome,
            };
            match outcome {
                Outcome::Text(text) if !self.mapped(&text) => return Ok(Ending::Memory),
                Outcome::Text(_) => from = to,
                Outcome::Exhausted => return Ok(Ending::Memory),
                Outcome::Interrupted => {
                    self.stopped()?;
                    return Ok(Ending::Stopped);
                }
                Outcome::Broken(message) => {
                    from += 1;
                    self.engine.output.lines(threw(&message).as_bytes());
                    self.engine.output.lines(b"\n");
                }
            }
            if self.run.careful {
                self.engine.output.flush();
                self.engine.clock.heard();
            }
        }
        Ok(Ending::Whole)
    }

    fn mapped(&self, lines: &str) -> bool {
        let sound = lines.strip_suffix('M');
        self.engine.output.lines(sound.unwrap_or(lines).as_bytes());
        sound.is_none()
    }

    /// The lines of the functions before the one that was stopped, and its own.
    fn stopped(&self) -> Result<(), Error> {
        self.engine.clock.begin();
        let outcome = self.door.call(&self.door.entry("stopped")?, ());
        let Outcome::Text(lines) = outcome else {
            return Err(Error::Unknown);
        };
        self.engine.output.lines(lines.as_bytes());
        self.engine.output.lines(b"T\n");
        Ok(())
    }
}

fn threw(message: &str) -> String {
    crate::lines::threw_line("unnamed_error", message)
}
