//! The smallest host of workers: with `js-worker` it is one, as the binary of the server is.
//!
//! The crate's tests start it. Without an argument it measures what design functions cost, in
//! processor time of both processes.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use adea_script::{MapProgram, Owner, Purpose, ReduceCall, ReduceProgram, ScriptOptions, Scripts};
use bytes::Bytes;

fn main() -> ExitCode {
    if std::env::args()
        .nth(1)
        .is_some_and(|command| command == "js-worker")
    {
        return adea_script::worker::run();
    }
    let runtime = tokio::runtime::Runtime::new();
    match runtime.map(|runtime| runtime.block_on(measure())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&error.to_string()),
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(error: &str) -> ExitCode {
    say(&format!("js_worker: {error}"));
    ExitCode::FAILURE
}

#[expect(clippy::print_stdout, reason = "it is what the example is for")]
fn say(line: &str) {
    println!("{line}");
}

const MAPS: &[(&str, &str)] = &[
    ("one field", "function (doc) { emit(doc.name, null); }"),
    (
        "array and sum",
        "function (doc) { if (doc.type === 'order') emit([doc.city, doc.born], doc.total); }",
    ),
    ("nothing", "function (doc) {}"),
    (
        "tags",
        "function (doc) { doc.tags.forEach(function (tag) { emit(tag, {id: doc._id, n: doc.total}); }); }",
    ),
];

const REDUCE: &str = "function (keys, values, rereduce) { return sum(values); }";

async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let scripts = Scripts::new(ScriptOptions {
        command: vec![std::env::current_exe()?.into(), "js-worker".into()],
        memory_bytes: 64 << 20,
        timeout: Duration::from_secs(5),
        processes_max: 2,
        idle: Duration::from_secs(60),
    });
    let owner = Owner {
        database: 1,
        purpose: Purpose::Index,
    };
    let documents: Vec<Bytes> = (0..500).map(document).collect();
    let bytes = documents.iter().map(Bytes::len).sum::<usize>() / documents.len();
    say(&format!(
        "documents of {bytes} bytes, in batches of {}",
        documents.len()
    ));
    for (name, source) in MAPS {
        let program = MapProgram::new(None, vec![(*source).to_owned()]);
        scripts.map(&owner, &program, &documents).await?;
        let (before, start) = (processor_time(&scripts)?, Instant::now());
        let rounds = 40;
        for _ in 0..rounds {
            scripts.map(&owner, &program, &documents).await?;
        }
        report(
            name,
            before,
            processor_time(&scripts)?,
            start,
            rounds * documents.len(),
        );
    }
    let program = ReduceProgram::new(None, vec![REDUCE.to_owned()]);
    let calls: Vec<ReduceCall> = (0..200)
        .map(|_| ReduceCall {
            function: 0,
            keys: Some(
                (0..32)
                    .map(|n| format!("[\"name {n}\",\"doc{n:06}\"]"))
                    .collect(),
            ),
            values: (0..32).map(|n| n.to_string()).collect(),
        })
        .collect();
    scripts.reduce(&owner, &program, calls.clone()).await?;
    let (before, start) = (processor_time(&scripts)?, Instant::now());
    let rounds = 40;
    for _ in 0..rounds {
        scripts.reduce(&owner, &program, calls.clone()).await?;
    }
    report(
        "reduce of 32",
        before,
        processor_time(&scripts)?,
        start,
        rounds * calls.len(),
    );
    Ok(())
}

fn document(number: usize) -> Bytes {
    Bytes::from(format!(
        "{{\"_id\":\"doc{number:08}\",\"_rev\":\"1-967a00dff5e02add41819138abb3284d\",\"type\":\"order\",\
         \"name\":\"Ada Lovelace {number}\",\"city\":\"London\",\"born\":{},\"total\":{}.25,\"paid\":true,\
         \"tags\":[\"red\",\"green\",\"blue\"],\"address\":{{\"street\":\"St James's Square {number}\",\
         \"zip\":\"SW1Y 4JH\",\"geo\":[51.50722,-0.1275]}},\"note\":\"{}\"}}",
        1815 + number % 200,
        number % 1000,
        "a line of text that nobody reads; ".repeat(6),
    ))
}

/// Nanoseconds of this process and of the workers.
fn processor_time(scripts: &Scripts) -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let mut workers = 0;
    for (_, id) in scripts.processes() {
        workers += tasks(&id.to_string())?;
    }
    Ok((tasks("self")?, workers))
}

fn tasks(process: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += text.split(' ').next().unwrap_or("0").parse::<u64>()?;
    }
    Ok(total)
}

fn report(name: &str, before: (u64, u64), after: (u64, u64), start: Instant, units: usize) {
    let each = |from: u64, to: u64| (to - from) as f64 / 1000.0 / units as f64;
    let wall = start.elapsed().as_secs_f64() * 1e6 / units as f64;
    let (server, worker) = (each(before.0, after.0), each(before.1, after.1));
    say(&format!(
        "{name:>14}: {:.2} µs CPU each (server {server:.2}, worker {worker:.2}), {wall:.2} µs wall",
        server + worker,
    ));
}
