//! How processes come and go.

use std::time::Duration;

use adea_script::{DesignProgram, MapProgram, ScriptError, Scripts};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{HASTY, PATIENT, documents, emitted, map_one, options, owner, scripts};

const HONEST: &str = "function(doc){emit(1,2)}";

async fn works(scripts: &Scripts, database: u64) {
    let mapped = map_one(scripts, &owner(database), HONEST, "{}").await;
    assert_eq!(mapped, Ok(emitted(&[("1", "2")])));
}

fn id(scripts: &Scripts, database: u64) -> Option<u32> {
    let processes = scripts.processes();
    processes
        .iter()
        .find(|(whose, _)| *whose == owner(database))
        .map(|(_, id)| *id)
}

fn kill(id: u32) {
    let killed = std::process::Command::new("kill")
        .args(["-9", &id.to_string()])
        .status();
    assert!(killed.unwrap().success());
}

#[tokio::test]
async fn a_process_serves_its_owner_again_and_again() {
    let scripts = scripts(PATIENT);
    works(&scripts, 1).await;
    let first = id(&scripts, 1).unwrap();
    for _ in 0..5 {
        works(&scripts, 1).await;
    }
    works(&scripts, 2).await;
    assert_eq!(id(&scripts, 1), Some(first));
    assert_ne!(id(&scripts, 2), Some(first));
}

#[tokio::test]
async fn more_owners_than_processes_take_turns() {
    let mut options = options(PATIENT);
    options.processes_max = 2;
    let scripts = Scripts::new(options);
    for round in 0..2 {
        for database in 0..5 {
            works(&scripts, database).await;
            assert!(scripts.processes().len() <= 2, "in round {round}");
        }
    }
    // The one that was idle for longest went.
    assert!(id(&scripts, 4).is_some() && id(&scripts, 3).is_some() && id(&scripts, 2).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_are_all_answered() {
    let mut options = options(PATIENT);
    options.processes_max = 2;
    let scripts = Scripts::new(options);
    let calls: Vec<_> = (0..60)
        .map(|number| {
            let scripts = scripts.clone();
            tokio::spawn(async move { works(&scripts, number % 6).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert!(scripts.processes().len() <= 2);
}

#[tokio::test]
async fn a_process_that_was_killed_is_replaced() {
    let scripts = scripts(PATIENT);
    works(&scripts, 1).await;
    let first = id(&scripts, 1).unwrap();
    kill(first);
    works(&scripts, 1).await;
    assert_ne!(id(&scripts, 1), Some(first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_work_costs_nothing() {
    let scripts = scripts(PATIENT);
    works(&scripts, 1).await;
    let first = id(&scripts, 1).unwrap();
    let program = MapProgram::new(
        None,
        vec!["function(doc){for (var i = 0; i < 3000; i++); emit(doc.n)}".to_owned()],
    );
    let docs: Vec<Bytes> = (0..3000).map(|n| format!("{{\"n\":{n}}}").into()).collect();
    let batch = {
        let scripts = scripts.clone();
        tokio::spawn(async move { scripts.map(&owner(1), &program, &docs).await })
    };
    tokio::task::yield_now().await;
    kill(first);
    let mapped = batch.await.unwrap().unwrap();
    for (n, document) in mapped.iter().enumerate() {
        assert_eq!(document[0], emitted(&[(&n.to_string(), "null")]));
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_no_process() {
    let scripts = scripts(PATIENT);
    works(&scripts, 1).await;
    let first = id(&scripts, 1);
    let owner = owner(1);
    let call = map_one(&scripts, &owner, "function(doc){while(true){}}", "{}");
    assert!(
        tokio::time::timeout(Duration::from_millis(200), call)
            .await
            .is_err()
    );
    assert_eq!(id(&scripts, 1), None);
    works(&scripts, 1).await;
    assert_ne!(id(&scripts, 1), first);
}

#[tokio::test]
async fn idle_processes_end() {
    let mut options = options(PATIENT);
    options.idle = Duration::from_millis(50);
    let scripts = Scripts::new(options);
    works(&scripts, 1).await;
    let ended = async {
        while !scripts.processes().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENT, ended).await.unwrap();
    works(&scripts, 1).await;
}

#[tokio::test]
async fn nobody_waits_for_room_for_ever() {
    let mut options = options(HASTY);
    options.processes_max = 1;
    let scripts = Scripts::new(options);
    let design = DesignProgram::new(
        r#"{"_id":"_design/d","lists":{"l":"function(){send('x'); while(getRow()) {} }"}}"#
            .to_owned(),
    );
    // A list whose rows do not come keeps its process.
    let (rows, wanted) = mpsc::channel(1);
    let list = scripts
        .list(
            &owner(1),
            &design,
            "l",
            "{}".to_owned(),
            "{}".to_owned(),
            wanted,
        )
        .await;
    let mut list = list.unwrap();
    let mapped = map_one(&scripts, &owner(2), HONEST, "{}").await;
    assert_eq!(mapped, Err(ScriptError::TooBusy));
    drop(rows);
    assert_eq!(list.chunks.recv().await, Some(Ok("x".into())));
    assert_eq!(list.chunks.recv().await, None);
    works(&scripts, 2).await;
}

#[tokio::test]
async fn programs_beyond_measure_restart_the_process() {
    let scripts = scripts(PATIENT);
    for number in 0..40 {
        let source = format!("function(doc){{emit({number})}}");
        let mapped = map_one(&scripts, &owner(1), &source, "{}").await;
        assert_eq!(mapped, Ok(emitted(&[(&number.to_string(), "null")])));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_calls_under_way() {
    let scripts = scripts(PATIENT);
    works(&scripts, 2).await;
    let call = {
        let scripts = scripts.clone();
        tokio::spawn(async move {
            map_one(&scripts, &owner(1), "function(doc){while(true){}}", "{}").await
        })
    };
    while id(&scripts, 1).is_none() {
        tokio::task::yield_now().await;
    }
    scripts.close();
    assert_eq!(call.await.unwrap(), Err(ScriptError::Disabled));
    assert_eq!(
        map_one(&scripts, &owner(3), HONEST, "{}").await,
        Err(ScriptError::Disabled)
    );
    assert!(scripts.processes().is_empty());
    let program = MapProgram::new(None, vec![HONEST.to_owned()]);
    assert_eq!(
        scripts.map(&owner(2), &program, &documents(&["{}"])).await,
        Err(ScriptError::Disabled)
    );
}

#[tokio::test]
async fn a_worker_has_nothing_of_the_server() {
    let scripts = scripts(PATIENT);
    works(&scripts, 1).await;
    let id = id(&scripts, 1).unwrap();
    let proc =
        |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
    assert_eq!(proc("environ"), "");
    assert_eq!(
        std::fs::read_link(format!("/proc/{id}/cwd"))
            .unwrap()
            .to_str(),
        Some("/")
    );
    for entry in std::fs::read_dir(format!("/proc/{id}/fd")).unwrap() {
        let number: u32 = entry
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(number <= 2 || is_inherited(number), "descriptor {number}");
    }
    let limits = proc("limits");
    for (name, most) in [
        ("Max open files", "8"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(
            line[name.len()..].split_whitespace().next(),
            Some(most),
            "{line}"
        );
    }
    let status = proc("status");
    let seccomp = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"))
        .unwrap();
    assert_eq!(seccomp.trim(), "2", "system calls are filtered");
}

/// Did whoever started the tests leave us this descriptor, to be left to others in turn?
fn is_inherited(descriptor: u32) -> bool {
    let info =
        std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default();
    let flags = info
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .unwrap_or_default();
    let close_on_exec = 0o2_000_000;
    u32::from_str_radix(flags.trim(), 8).is_ok_and(|flags| flags & close_on_exec == 0)
}
