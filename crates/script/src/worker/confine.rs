//! What the process gives up before it reads a word of foreign code.
//!
//! Files, sockets, other processes: a system call that a process which reads a pipe and allocates
//! memory has no use for is refused with `EPERM`. Memory, descriptors, file size and core dumps
//! are limited too, so that little is left where the kernel knows no filters. The server's own
//! kill at the deadline relies on nothing here.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Address space for what is not JavaScript: the program itself, its stacks, frames under way.
const ADDRESS_SPACE_BYTES: u64 = 1 << 30;

/// `PROT_EXEC`, which no mapping may ask for.
const EXECUTABLE: u64 = 4;

/// Confines the process; an empty text, or what could not be had, for the log.
pub(crate) fn confine(memory_bytes: u64) -> String {
    let mut refused = Vec::new();
    if let Err(error) = watch_parent() {
        refused.push(format!("no watch over the server: {error}"));
    }
    let space = memory_bytes
        .saturating_mul(2)
        .saturating_add(ADDRESS_SPACE_BYTES);
    for (name, resource, most) in [
        ("address space", Resource::As, space),
        ("open files", Resource::Nofile, 8),
        ("file size", Resource::Fsize, 0),
        ("core dump", Resource::Core, 0),
    ] {
        if let Err(error) = limit(resource, most) {
            refused.push(format!("no limit of {name}: {error}"));
        }
    }
    if let Err(error) = filter() {
        refused.push(format!("no filter of system calls: {error}"));
    }
    refused.join("; ")
}

/// Lets the process use so much more processor time from now on; the kernel ends it after that.
/// The server ends it sooner, unless the server is gone.
pub(crate) fn renew_processor_time(more: Duration) {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    let most = u64::try_from(used)
        .unwrap_or(0)
        .saturating_add(more.as_secs());
    let hard = getrlimit(Resource::Cpu).maximum;
    let current = Some(hard.map_or(most, |hard| most.min(hard)));
    // A kernel that refuses leaves the limit that was there.
    let _refused = setrlimit(
        Resource::Cpu,
        Rlimit {
            current,
            maximum: hard,
        },
    )
    .err();
}

fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let hard = getrlimit(resource).maximum;
    let most = Some(hard.map_or(most, |hard| most.min(hard)));
    setrlimit(
        resource,
        Rlimit {
            current: most,
            maximum: most,
        },
    )
}

/// Ends the process when the server's end of the pipe is closed, whatever the engine is doing.
fn watch_parent() -> std::io::Result<()> {
    let (ready, set_up) = std::sync::mpsc::channel();
    let watch = move || {
        let stdin = std::io::stdin();
        // Its beginning needs calls that the filter will refuse.
        drop(ready);
        loop {
            let mut ends = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::empty())];
            let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
            match poll(&mut ends, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
                Ok(_) if ends.iter().any(|end| end.revents().intersects(gone)) => {
                    // Not `exit`: that would run others' destructors beside a working engine.
                    std::process::abort();
                }
                Ok(_) => {}
            }
        }
    };
    std::thread::Builder::new()
        .name("watch".to_owned())
        .stack_size(64 * 1024)
        .spawn(watch)?;
    let (Ok(()) | Err(_)) = set_up.recv();
    Ok(())
}

fn filter() -> Result<(), Box<dyn std::error::Error>> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let column = match architecture {
        TargetArch::x86_64 => 0,
        TargetArch::aarch64 | TargetArch::riscv64 => 1,
    };
    let mut rules = std::collections::BTreeMap::new();
    for (_, numbers, rule) in CALLS {
        let Some(number) = numbers.get(column).copied().filter(|number| *number >= 0) else {
            continue;
        };
        rules.insert(number, rule.conditions()?);
    }
    let program: BpfProgram = SeccompFilter::new(
        rules,
        SeccompAction::Errno(1),
        SeccompAction::Allow,
        architecture,
    )?
    .try_into()?;
    seccompiler::apply_filter_all_threads(&program)?;
    Ok(())
}

/// What of a call is allowed.
#[derive(Clone, Copy)]
enum Rule {
    Any,
    /// The first argument is one of the standard descriptors.
    Standard,
    /// The third argument asks for nothing executable.
    NotExecutable,
    /// The first argument is 0: the process itself.
    Itself,
    /// The first argument is the number of this process.
    OwnNumber,
}

impl Rule {
    fn conditions(self) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        let condition = |argument, operator, value| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
                .and_then(|condition| SeccompRule::new(vec![condition]))
                .map(|rule| vec![rule])
        };
        match self {
            Self::Any => Ok(Vec::new()),
            Self::Standard => condition(0, SeccompCmpOp::Le, 2),
            Self::NotExecutable => condition(2, SeccompCmpOp::MaskedEq(EXECUTABLE), 0),
            Self::Itself => condition(0, SeccompCmpOp::Eq, 0),
            Self::OwnNumber => condition(0, SeccompCmpOp::Eq, u64::from(std::process::id())),
        }
    }
}

/// The calls a worker needs: name, numbers on `x86_64` and on the architectures with the generic
/// table, and what of them.
const CALLS: &[(&str, [i64; 2], Rule)] = &[
    ("read", [0, 63], Rule::Standard),
    ("write", [1, 64], Rule::Standard),
    ("writev", [20, 66], Rule::Standard),
    ("poll", [7, -1], Rule::Any),
    ("ppoll", [271, 73], Rule::Any),
    ("mmap", [9, 222], Rule::NotExecutable),
    ("mprotect", [10, 226], Rule::NotExecutable),
    ("munmap", [11, 215], Rule::Any),
    ("mremap", [25, 216], Rule::Any),
    ("madvise", [28, 233], Rule::Any),
    ("brk", [12, 214], Rule::Any),
    ("futex", [202, 98], Rule::Any),
    ("sched_yield", [24, 124], Rule::Any),
    ("restart_syscall", [219, 128], Rule::Any),
    ("rt_sigreturn", [15, 139], Rule::Any),
    ("rt_sigprocmask", [14, 135], Rule::Any),
    ("rt_sigaction", [13, 134], Rule::Any),
    ("sigaltstack", [131, 132], Rule::Any),
    ("getpid", [39, 172], Rule::Any),
    ("gettid", [186, 178], Rule::Any),
    ("tgkill", [234, 131], Rule::OwnNumber),
    ("clock_gettime", [228, 113], Rule::Any),
    ("gettimeofday", [96, 169], Rule::Any),
    ("getrandom", [318, 278], Rule::Any),
    ("prlimit64", [302, 261], Rule::Itself),
    ("getrlimit", [97, 163], Rule::Any),
    ("setrlimit", [160, 164], Rule::Any),
    ("exit", [60, 93], Rule::Any),
    ("exit_group", [231, 94], Rule::Any),
];
