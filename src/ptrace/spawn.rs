//! Finding and starting the program, untouched by the way it is started:
//! seized before its exec, with the signals, streams and descriptors that it
//! would have without forktrace.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use nix::unistd::{AccessFlags, Uid, User, access, getgrouplist};

use super::sys::{self, Inherited, Plan, RunAs, Waiting};
use super::{attach, filter, live};
use crate::event::{Stops, Wanted};
use crate::ids::{Errno, Tid};

/// Why a program can't be launched.
#[derive(Debug)]
pub enum LaunchError {
    /// There is no such program: exit status 127.
    NotFound(anyhow::Error),
    /// It can't be executed: exit status 126.
    NotExecutable(anyhow::Error),
    /// Tracing can't start: exit status 1.
    Refused(anyhow::Error),
}

/// The search path where PATH is not set (execvp(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Finds a command as execvp(3) does: a name with a slash is a path, any
/// other is looked for in PATH.
///
/// # Errors
/// `NotFound` or `NotExecutable`, with a message.
pub fn find(command: &OsStr) -> Result<PathBuf, LaunchError> {
    let shown = command.to_string_lossy();
    if command.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(command));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| OsString::from(DEFAULT_PATH));
    let mut denied = None;
    for dir in path.as_bytes().split(|byte| *byte == b':') {
        let dir = if dir.is_empty() { b"." } else { dir };
        let candidate = Path::new(OsStr::from_bytes(dir)).join(command);
        if !candidate.is_file() || command.is_empty() {
            continue;
        }
        match access(&candidate, AccessFlags::X_OK) {
            Ok(()) => return Ok(candidate),
            Err(_) => denied = Some(candidate),
        }
    }
    match denied {
        Some(file) => Err(LaunchError::NotExecutable(anyhow!(
            "cannot execute {}: Permission denied; is it meant to be a program (chmod +x)?",
            file.display()
        ))),
        None => Err(LaunchError::NotFound(anyhow!(
            "cannot find the command '{shown}': check its name and PATH"
        ))),
    }
}

/// A program that exists but could not be executed.
pub fn exec_failed(path: &Path, errno: Errno) -> LaunchError {
    let exists = path.exists();
    let path = path.display();
    match errno {
        Errno::ENOENT if exists => LaunchError::NotFound(anyhow!(
            "cannot execute {path}: its interpreter (the #! line, or the loader) does not exist"
        )),
        Errno::ENOENT => {
            LaunchError::NotFound(anyhow!("cannot find {path}: No such file or directory"))
        }
        _ => LaunchError::NotExecutable(anyhow!("cannot execute {path}: {}", errno.text())),
    }
}

/// A program that is seized and stopped, or will stop at once, before exec.
pub struct Launched {
    /// The child that will be the program.
    pub waiting: Waiting,
    /// Where it will stop: not what was asked for if that was refused and
    /// `may_fall_back`.
    pub stops: Stops,
    /// Something that the user should know, one line.
    pub notice: Option<String>,
}

/// What to launch.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Whether another way to stop may be taken if that one is refused.
    pub may_fall_back: bool,
    /// Whether tracees die with the program and with forktrace.
    pub kill_on_exit: bool,
    /// The user to run it as.
    pub user: Option<RunAs>,
    /// Whether forktrace's own process becomes the program, and tracing goes
    /// on in a grandchild of it.
    pub detached: bool,
}

/// Forks the program's process, with a filter where `stops` needs one (which
/// stops the calls that wait as well if `waits` says so), and seizes it.
///
/// # Errors
/// Where the kernel refuses the filter (unless `may_fall_back`: then stops at
/// every system call take its place) or tracing.
pub fn launch(
    path: &Path,
    launch: &Launch,
    inherited: &Inherited,
    stops: Stops,
    waits: Wanted,
) -> anyhow::Result<Launched> {
    let string = |s: OsString| CString::new(s.into_vec()).context("the command holds a NUL byte");
    let mut plan = Plan {
        path: string(path.as_os_str().to_owned())?,
        argv: launch
            .command
            .iter()
            .cloned()
            .map(string)
            .collect::<anyhow::Result<_>>()?,
        filter: (stops == Stops::Seccomp).then(|| filter::program(waits)),
        inherited,
        user: launch.user.clone(),
        detached: launch.detached,
    };
    let mut stops = stops;
    let mut notice = None;
    let mut waiting = sys::fork_waiting(&plan).map_err(fork_failed)?;
    if waiting.filter_errno != Errno(0) {
        let refused = waiting.filter_errno;
        if !launch.may_fall_back || launch.detached {
            give_up(waiting);
            bail!(
                "the kernel refuses the seccomp filter: {refused}; use --stops=event or --stops=syscall"
            );
        }
        give_up(waiting);
        notice = Some(format!(
            "the kernel refuses the seccomp filter: {refused}; using --stops=syscall, which is slower"
        ));
        stops = Stops::Syscall;
        plan.filter = None;
        waiting = sys::fork_waiting(&plan).map_err(fork_failed)?;
    }
    if launch.detached {
        waiting.introduce();
        // The answer says only that it was heard.
        let _ = waiting.report();
    }
    let tid = waiting.tid;
    let options = options(stops, launch.kill_on_exit);
    if let Err(errno) = sys::seize(tid, options).and_then(|()| sys::interrupt(tid)) {
        let hint = refusal_hint(errno, tid);
        give_up(waiting);
        bail!("cannot trace: {errno}{hint}");
    }
    Ok(Launched {
        waiting,
        stops,
        notice,
    })
}

/// Why there is no process to be had.
fn fork_failed(error: io::Error) -> anyhow::Error {
    let errno = Errno(error.raw_os_error().unwrap_or(0));
    let hint = match errno {
        Errno::EAGAIN => "; a limit on processes is reached (ulimit -u, a cgroup's pids.max)",
        _ => "",
    };
    anyhow!("cannot fork: {errno}{hint}")
}

/// Lets a child that waits for leave to exec end without it.
fn give_up(waiting: Waiting) {
    let tid = waiting.tid;
    drop(waiting);
    sys::reap(tid);
}

/// The user to run a program as, by name or number.
///
/// # Errors
/// Where there is no such user, or forktrace isn't root.
pub fn user(name: &str) -> anyhow::Result<RunAs> {
    if !nix::unistd::geteuid().is_root() {
        bail!("-u {name}: only root can run a program as another user");
    }
    let by_number = || Some(User::from_uid(Uid::from_raw(name.parse().ok()?)));
    let user = match User::from_name(name) {
        Ok(Some(user)) => Some(user),
        _ => by_number().and_then(Result::ok).flatten(),
    }
    .ok_or_else(|| match name.parse::<u32>() {
        // Which groups would it have?
        Ok(_) => anyhow!(
            "-u {name}: the user database has no user of this number; to run with bare numbers: \
             forktrace [OPTIONS] -- setpriv --reuid={name} --regid=GID --clear-groups COMMAND"
        ),
        Err(_) => anyhow!("-u {name}: there is no such user"),
    })?;
    let login = CString::new(user.name.as_str()).context("a user's name")?;
    let groups = getgrouplist(&login, user.gid).context("cannot read the user's groups")?;
    Ok(RunAs {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups.iter().map(|gid| gid.as_raw()).collect(),
    })
}

/// The ptrace options for a way to stop.
pub fn options(stops: Stops, kill_on_exit: bool) -> i32 {
    let mut options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    if stops == Stops::Seccomp {
        // Without a tracer the filtered calls would fail with ENOSYS for ever:
        // a clear end is the better one.
        options |= libc::PTRACE_O_TRACESECCOMP | libc::PTRACE_O_EXITKILL;
    }
    if kill_on_exit {
        options |= libc::PTRACE_O_EXITKILL;
    }
    options
}

fn refusal_hint(errno: Errno, tid: Tid) -> String {
    match (errno, live::tracer_of(tid)) {
        (Errno::EPERM, Some(tracer)) => format!(
            "; process {} traces it already, as it does forktrace and its children",
            tracer.0
        ),
        (Errno::EPERM, None) => launch_hint(&attach::yama_scope()).to_owned(),
        (Errno::ENOSYS, _) => attach::NO_PTRACE.to_owned(),
        _ => String::new(),
    }
}

/// What to do where tracing one's own child is not permitted, given Yama's
/// scope: 0 and 1 allow it, 2 asks for CAP_SYS_PTRACE, 3 forbids all.
fn launch_hint(scope: &str) -> &'static str {
    match scope {
        "2" => {
            "; kernel.yama.ptrace_scope is 2: tracing needs CAP_SYS_PTRACE, even of one's own \
             children (sudo, or sysctl kernel.yama.ptrace_scope=1)"
        }
        "3" => "; kernel.yama.ptrace_scope is 3: tracing is forbidden until reboot",
        _ => {
            "; ptrace is forbidden here, by a seccomp filter or a security module: in a container \
             allow it (docker run --cap-add=SYS_PTRACE)"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_setting_that_is_to_blame() {
        for (scope, words) in [
            ("", "--cap-add=SYS_PTRACE"),
            ("0", "--cap-add=SYS_PTRACE"),
            ("1", "--cap-add=SYS_PTRACE"),
            ("2", "ptrace_scope is 2: tracing needs CAP_SYS_PTRACE"),
            ("3", "ptrace_scope is 3: tracing is forbidden"),
        ] {
            let hint = launch_hint(scope);
            assert!(
                hint.starts_with("; ") && hint.contains(words),
                "{scope}: {hint}"
            );
        }
    }
}
