//! One run: its wall time, and the CPU time of everything in it.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// No run takes longer: what does hangs.
const LIMIT: Duration = Duration::from_secs(1200);

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// From before the start of the tracer to its end.
    pub(crate) wall: Duration,
    /// User and system time of the tracer and of all that it traced.
    pub(crate) cpu: Duration,
}

/// Makes orphans of what is run children of this process, so that their CPU time is seen.
///
/// # Errors
/// As prctl(2).
pub(crate) fn adopt_orphans() -> Result<(), String> {
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|errno| format!("cannot become a subreaper: {errno}"))
}

/// What cargo adds to the environment changes what programs do: a search path for
/// libraries makes each exec look into a dozen directories first.
const KEPT: [&str; 11] = [
    "CARGO_HOME",
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "TERM",
    "TMPDIR",
    "USER",
];

/// A command as a user would run it, in the environment that he has outside of cargo.
pub(crate) fn command<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().as_ref().map_or(OsStr::new(""), AsRef::as_ref));
    command.args(words).env_clear();
    let kept = KEPT
        .iter()
        .filter_map(|name| Some((name, env::var_os(name)?)));
    command.envs(kept);
    command
}

/// Runs a command to its end, and waits for all that it leaves behind. What it writes to
/// its standard error goes to the file `errors`.
///
/// # Errors
/// Where it can't be run, fails or hangs: the reason, one line.
pub(crate) fn run(command: &mut Command, errors: &Path) -> Result<Cost, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let stderr = File::create(errors)
        .map_err(|error| format!("cannot write to {}: {error}", errors.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    let cpu_before = children_cpu()?;
    let start = Instant::now();
    let child = command
        .spawn()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    let status = wait(child);
    let wall = start.elapsed();
    reap_the_rest();
    let cpu = children_cpu()?.saturating_sub(cpu_before);
    let status = status?;
    if status.success() {
        return Ok(Cost { wall, cpu });
    }
    Err(format!(
        "{}: {}",
        how_it_ended(status),
        complaint(errors).unwrap_or_else(|| "it said nothing".to_owned())
    ))
}

fn wait(mut child: Child) -> Result<ExitStatus, String> {
    let pid = Pid::from_raw(child.id() as i32);
    let (done, watched) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hangs = watched.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        if hangs {
            // Not reaped yet, or somebody would have said so: the number is its own.
            let _ = kill(pid, Signal::SIGKILL);
        }
        hangs
    });
    let status = child.wait();
    drop(done);
    if watchdog.join().unwrap_or(false) {
        return Err(format!("killed: it took over {} s", LIMIT.as_secs()));
    }
    status.map_err(|error| format!("cannot wait: {error}"))
}

/// Waits for adopted orphans. What still runs now was left behind by a tracer that ended
/// before its tracees, and is killed.
fn reap_the_rest() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            Ok(nix::sys::wait::WaitStatus::StillAlive) => {
                for pid in children() {
                    let _ = kill(pid, Signal::SIGKILL);
                }
                // Blocks: no turning in circles until they are gone.
                let _ = waitpid(None, Some(WaitPidFlag::__WALL));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

fn children() -> Vec<Pid> {
    let own = std::process::id();
    let list = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
    let list = list.unwrap_or_default();
    let numbers = list.split_ascii_whitespace();
    numbers
        .filter_map(|word| word.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

/// User and system time of all children that were waited for, and theirs.
fn children_cpu() -> Result<Duration, String> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_err(|errno| format!("cannot read the CPU time: {errno}"))?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
    }
}

/// What went wrong: the first line that calls itself an error, else the last that says
/// anything.
fn complaint(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.clone().find(|line| line.starts_with("error"));
    Some(first.or_else(|| lines.next_back())?.to_owned())
}
