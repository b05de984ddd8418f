//! The child that becomes the program, from fork to exec.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{Inherited, check, closed_at_start, last_errno};
use crate::ids::{Errno, Tid};

/// All that a child needs on its way to exec, made before the fork: there
/// nothing may be allocated.
pub struct Plan<'a> {
    /// The program's file.
    pub path: CString,
    /// Its arguments.
    pub argv: Vec<CString>,
    /// The seccomp filter to install, if any.
    pub filter: Option<Vec<libc::sock_filter>>,
    /// What to restore.
    pub inherited: &'a Inherited,
    /// Whom to run it as.
    pub user: Option<RunAs>,
    /// Whether the calling process is to become the program, and the tracer
    /// goes on in a grandchild.
    pub detached: bool,
}

/// A user to run the program as.
#[derive(Debug, Clone)]
pub struct RunAs {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A child that waits for leave to exec.
pub struct Waiting {
    /// Its tid.
    pub tid: Tid,
    /// The errno of the filter's refusal, 0 for none.
    pub filter_errno: Errno,
    go: OwnedFd,
    report: OwnedFd,
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Forks a child that installs its filter, says so, and waits. All pipes are
/// closed at exec: the program finds none of them.
///
/// # Errors
/// Where no pipe or process is to be had.
pub fn fork_waiting(plan: &Plan<'_>) -> io::Result<Waiting> {
    let (report_read, report_write) = pipe()?;
    let (go_read, go_write) = pipe()?;
    let argv = pointers(&plan.argv);
    let shell = c"/bin/sh";
    let mut shell_argv = vec![shell.as_ptr(), plan.path.as_ptr()];
    shell_argv.extend_from_slice(argv.get(1..).unwrap_or(&[ptr::null()]));
    // SAFETY: only numbers.
    let original = unsafe { libc::getpid() };
    // SAFETY: only async-signal-safe calls are made on the way to exec; the
    // tracer of a detached run is meant to be called with one thread.
    let pid = unsafe { libc::fork() };
    if pid == -1 {
        return Err(io::Error::last_os_error());
    }
    let becomes_program = if plan.detached {
        if pid == 0 {
            detach();
        } else {
            // SAFETY: no status is asked for.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
        }
        pid != 0
    } else {
        pid == 0
    };
    if becomes_program {
        // The write end must not stay open here, or the death of the tracer
        // would go unnoticed.
        drop(go_write);
        // SAFETY: the pointer arrays are null-terminated and live; `child`
        // never returns.
        unsafe {
            child(
                plan,
                &argv,
                &shell_argv,
                report_write.as_raw_fd(),
                go_read.as_raw_fd(),
            )
        }
    }
    drop(report_write);
    let mut waiting = Waiting {
        tid: Tid(if plan.detached { original } else { pid }),
        filter_errno: Errno(0),
        go: go_write,
        report: report_read,
    };
    waiting.filter_errno = waiting.report().unwrap_or(Errno(libc::ESRCH));
    Ok(waiting)
}

/// Called in a child of the process that becomes the program: goes on in a
/// grandchild of that, in a process group of its own, so that neither its
/// parent's wait nor the terminal's signals find it.
fn detach() {
    // SAFETY: one thread, and system calls on numbers.
    unsafe {
        match libc::fork() {
            0 => {
                libc::setpgid(0, 0);
            }
            -1 => libc::_exit(1),
            _ => libc::_exit(0),
        }
    }
}

impl Waiting {
    /// Tells the child who is going to trace it: where Yama allows tracing of
    /// descendants only, one that is no ancestor needs leave.
    pub fn introduce(&self) {
        // SAFETY: only numbers.
        self.tell(unsafe { libc::getpid() });
    }

    /// Lets the child exec. The pipe to read a failure from stays.
    pub fn go(&self) {
        self.tell(0);
    }

    fn tell(&self, word: i32) {
        let bytes = word.to_ne_bytes();
        // SAFETY: a live buffer to an open pipe; so few bytes go at once.
        unsafe { libc::write(self.go.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    }

    /// The next error number that the child reports; `None` once it has
    /// exec'd or died.
    pub fn report(&self) -> Option<Errno> {
        let mut bytes = [0u8; 4];
        loop {
            // SAFETY: four bytes into a live buffer from an open pipe.
            let got = unsafe { libc::read(self.report.as_raw_fd(), bytes.as_mut_ptr().cast(), 4) };
            match got {
                4 => return Some(Errno(i32::from_ne_bytes(bytes))),
                -1 if last_errno() == Errno(libc::EINTR) => {}
                _ => return None,
            }
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: a live array of two; the descriptors are new and owned here.
    unsafe {
        if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|s| CStr::as_ptr(s))
        .chain([ptr::null()])
        .collect()
}

/// The child's way to exec: async-signal-safe calls only.
///
/// # Safety
/// To be called in a freshly forked child, with null-terminated arrays.
unsafe fn child(
    plan: &Plan<'_>,
    argv: &[*const c_char],
    shell_argv: &[*const c_char],
    report: RawFd,
    go: RawFd,
) -> ! {
    // SAFETY: see above; all pointers are live until exec or exit.
    unsafe {
        for (signal, action) in &plan.inherited.actions {
            libc::sigaction(*signal, action, ptr::null_mut());
        }
        let tell = |errno: Errno| {
            let bytes = errno.0.to_ne_bytes();
            libc::write(report, bytes.as_ptr().cast(), bytes.len());
        };
        tell(match &plan.filter {
            Some(filter) => install_filter(filter).err().unwrap_or(Errno(0)),
            None => Errno(0),
        });
        loop {
            let mut word = [0u8; 4];
            match libc::read(go, word.as_mut_ptr().cast(), word.len()) {
                4 if word == [0; 4] => break,
                4 => {
                    let tracer = i32::from_ne_bytes(word) as libc::c_ulong;
                    libc::prctl(libc::PR_SET_PTRACER, tracer, 0, 0, 0);
                    tell(Errno(0));
                }
                -1 if last_errno() == Errno(libc::EINTR) => {}
                _ => libc::_exit(1),
            }
        }
        if let Some(user) = &plan.user
            && (libc::setgroups(user.groups.len(), user.groups.as_ptr()) == -1
                || libc::setresgid(user.gid, user.gid, user.gid) == -1
                || libc::setresuid(user.uid, user.uid, user.uid) == -1)
        {
            tell(last_errno());
            libc::_exit(126);
        }
        for fd in 0..3 {
            if closed_at_start(fd) {
                libc::close(fd);
            }
        }
        libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const plan.inherited.mask,
            ptr::null_mut(),
        );
        libc::execve(plan.path.as_ptr(), argv.as_ptr(), environ);
        let mut errno = last_errno();
        if errno == Errno::ENOEXEC {
            // A script without #!, as execvp(3) treats it.
            libc::execve(shell_argv[0], shell_argv.as_ptr(), environ);
            errno = last_errno();
        }
        tell(errno);
        libc::_exit(if errno == Errno::ENOENT { 127 } else { 126 })
    }
}

/// Installs a filter, if need be by giving up privileges that exec might gain
/// (no_new_privs), which one without CAP_SYS_ADMIN has to.
fn install_filter(filter: &[libc::sock_filter]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    let install = || {
        // SAFETY: `program` describes the live array `filter`, which the
        // kernel copies.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            )
        };
        check(result).map(drop)
    };
    match install() {
        Err(Errno::EACCES) => {
            // SAFETY: a system call on numbers.
            check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
            install()
        }
        other => other,
    }
}
