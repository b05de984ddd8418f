//! The small numbers of the kernel, each in a type of its own, so that a tid
//! can't be taken for a signal or an error number by mistake.

use std::fmt;

/// A process as user space sees it: a thread group id (tgid), in the pid
/// namespace of the tracer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(pub i32);

/// A thread id, in the pid namespace of the tracer. The leader of a thread
/// group has the number of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tid(pub i32);

/// A signal number. Real-time signals exist, so this is no closed enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(pub i32);

/// An error number as a system call returned it (positive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// The name of a thread, any bytes but NUL: at most 15 (`TASK_COMM_LEN`, proc(5)
/// on `/proc/pid/comm`). Empty where it is not known, or really empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Comm([u8; Comm::MAX]);

impl Comm {
    /// The most bytes that the kernel keeps.
    pub const MAX: usize = 15;

    /// The name, cut where the kernel would cut it.
    pub fn new(name: &[u8]) -> Comm {
        let mut bytes = [0; Comm::MAX];
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        let length = end.min(Comm::MAX);
        bytes[..length].copy_from_slice(&name[..length]);
        Comm(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(Comm::MAX);
        &self.0[..end]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0[0] == 0
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Comm({:?})", String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Tid> for Pid {
    /// The group that `tid` leads.
    fn from(tid: Tid) -> Pid {
        Pid(tid.0)
    }
}

impl From<Pid> for Tid {
    /// The leader of the group.
    fn from(pid: Pid) -> Tid {
        Tid(pid.0)
    }
}

/// Names of signals 1 to 31 on x86 (signal(7)).
const SIGNAL_NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The first real-time signal as the kernel counts (glibc keeps some for
/// itself and starts higher).
const KERNEL_SIGRTMIN: i32 = 32;
/// The last signal.
const KERNEL_SIGRTMAX: i32 = 64;

impl Signal {
    /// What a parent expects at a child's exit.
    pub const CHLD: Signal = Signal(17);

    /// The signal of this name, as [`Signal`] is displayed or by one of the
    /// other names of signal(7): `SIGCHLD`, `SIGRT_2`, `SIGPOLL`.
    pub fn from_name(name: &str) -> Option<Signal> {
        let index = |name| SIGNAL_NAMES.iter().position(|known| *known == name);
        if let Some(index) = index(name) {
            return Some(Signal(index as i32 + 1));
        }
        if let Some(number) = name.strip_prefix("SIGRT_") {
            let number: i32 = number.parse().ok()?;
            let signal = Signal(KERNEL_SIGRTMIN.checked_add(number)?);
            return (number >= 0 && signal.exists()).then_some(signal);
        }
        let other = match name {
            "SIGCLD" => "SIGCHLD",
            "SIGPOLL" => "SIGIO",
            "SIGIOT" => "SIGABRT",
            "SIGUNUSED" => "SIGSYS",
            _ => return None,
        };
        index(other).map(|index| Signal(index as i32 + 1))
    }

    /// Whether it is one of the first 31, of which only one of a kind is pending
    /// at a time (signal(7)).
    pub fn is_standard(self) -> bool {
        (1..KERNEL_SIGRTMIN).contains(&self.0)
    }

    /// Whether the kernel has such a signal: exit signals are not checked, and
    /// one that doesn't exist is not sent (`valid_signal`, kernel/signal.c).
    pub fn exists(self) -> bool {
        (1..=KERNEL_SIGRTMAX).contains(&self.0)
    }
}

impl fmt::Display for Signal {
    /// The name as strace writes it: `SIGCHLD`, `SIGRT_2`, else the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n @ 1..=31 => f.write_str(SIGNAL_NAMES[n as usize - 1]),
            n @ KERNEL_SIGRTMIN..=KERNEL_SIGRTMAX => write!(f, "SIGRT_{}", n - KERNEL_SIGRTMIN),
            n => write!(f, "{n}"),
        }
    }
}

impl Errno {
    /// EPERM: not permitted.
    pub const EPERM: Errno = Errno(1);
    /// ENOENT: no such file.
    pub const ENOENT: Errno = Errno(2);
    /// ESRCH: no such process; of a tracee, also that it isn't stopped.
    pub const ESRCH: Errno = Errno(3);
    /// EINTR: a signal came first.
    pub const EINTR: Errno = Errno(4);
    /// EIO: of ptrace, a request that can't be carried out, or isn't known.
    pub const EIO: Errno = Errno(5);
    /// E2BIG: argument list, or structure, too big.
    pub const E2BIG: Errno = Errno(7);
    /// ENOEXEC: not an executable format.
    pub const ENOEXEC: Errno = Errno(8);
    /// EBADF: no such file descriptor.
    pub const EBADF: Errno = Errno(9);
    /// EAGAIN: a limit was reached.
    pub const EAGAIN: Errno = Errno(11);
    /// ENOMEM: out of memory.
    pub const ENOMEM: Errno = Errno(12);
    /// EACCES: permission denied by a file's mode.
    pub const EACCES: Errno = Errno(13);
    /// EFAULT: a bad address.
    pub const EFAULT: Errno = Errno(14);
    /// EBUSY: in use, also: a cgroup whose processes belong below it.
    pub const EBUSY: Errno = Errno(16);
    /// EEXIST: exists already.
    pub const EEXIST: Errno = Errno(17);
    /// ENODEV: no such device; of a cgroup, that it was removed.
    pub const ENODEV: Errno = Errno(19);
    /// ENOTDIR: a file where a directory is needed.
    pub const ENOTDIR: Errno = Errno(20);
    /// EINVAL: invalid argument.
    pub const EINVAL: Errno = Errno(22);
    /// ETXTBSY: a program that is open for writing.
    pub const ETXTBSY: Errno = Errno(26);
    /// ENOSPC: no space, also: namespace limit.
    pub const ENOSPC: Errno = Errno(28);
    /// ENAMETOOLONG: a path, or a part of it, is too long.
    pub const ENAMETOOLONG: Errno = Errno(36);
    /// ENOSYS: no such system call.
    pub const ENOSYS: Errno = Errno(38);
    /// ELOOP: too many symbolic links, or scripts as interpreters of scripts.
    pub const ELOOP: Errno = Errno(40);
    /// ELIBBAD: a program's loader is none.
    pub const ELIBBAD: Errno = Errno(80);
    /// EUSERS: too many users, also: namespace nesting.
    pub const EUSERS: Errno = Errno(87);
    /// EOPNOTSUPP: not supported, also: by a cgroup that is invalid.
    pub const EOPNOTSUPP: Errno = Errno(95);

    /// The restart codes, which only a tracer sees: the kernel repeats the
    /// call, or turns the code into EINTR (include/linux/errno.h). As strace
    /// writes them: name and what happens.
    pub fn restart(self) -> Option<(&'static str, &'static str)> {
        match self.0 {
            512 => Some(("ERESTARTSYS", "To be restarted if SA_RESTART is set")),
            513 => Some(("ERESTARTNOINTR", "To be restarted")),
            514 => Some(("ERESTARTNOHAND", "To be restarted if no handler")),
            516 => Some(("ERESTART_RESTARTBLOCK", "Interrupted by signal")),
            _ => None,
        }
    }

    /// The error of this name: `EAGAIN`, also the restart codes, and second names
    /// (errno(3)).
    pub fn from_name(name: &str) -> Option<Errno> {
        let name = match name {
            "EWOULDBLOCK" => "EAGAIN",
            "ENOTSUP" => "EOPNOTSUPP",
            "EDEADLOCK" => "EDEADLK",
            name => name,
        };
        // 133 is the last (EHWPOISON).
        (1..=133)
            .chain([512, 513, 514, 516])
            .map(Errno)
            .find(|errno| errno.symbol().is_some_and(|known| known == name))
    }

    /// The symbolic name (errno(3)), or `None` for a number without one.
    pub fn name(self) -> Option<String> {
        match nix::errno::Errno::from_raw(self.0) {
            nix::errno::Errno::UnknownErrno => None,
            known => Some(format!("{known:?}")),
        }
    }

    /// The symbolic name, also of the restart codes; `None` for a number without
    /// one.
    pub fn symbol(self) -> Option<String> {
        match self.restart() {
            Some((name, _)) => Some(name.to_owned()),
            None => self.name(),
        }
    }

    /// The C library's sentence for it: "Resource temporarily unavailable".
    pub fn text(self) -> String {
        let full = std::io::Error::from_raw_os_error(self.0).to_string();
        match full.rfind(" (os error") {
            Some(end) => full[..end].to_owned(),
            None => full,
        }
    }
}

impl fmt::Display for Errno {
    /// As strace writes an error after `-1`: `EAGAIN (Resource temporarily unavailable)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.text()),
            None => write!(f, "{} ({})", self.0, self.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_as_strace_names_them() {
        for (number, name) in [
            (1, "SIGHUP"),
            (6, "SIGABRT"),
            (17, "SIGCHLD"),
            (29, "SIGIO"),
            (31, "SIGSYS"),
            (32, "SIGRT_0"),
            (64, "SIGRT_32"),
            (0, "0"),
            (65, "65"),
            (255, "255"),
        ] {
            assert_eq!(Signal(number).to_string(), name);
            let found = Signal::from_name(name);
            assert_eq!(found, Some(Signal(number)).filter(|s| s.exists()));
        }
        assert_eq!(Signal::from_name("SIGPOLL"), Some(Signal(29)));
        for name in [
            "",
            "SIG",
            "SIGRT_",
            "SIGRT_33",
            "SIGRT_-1",
            "SIGRT_+1x",
            "CHLD",
        ] {
            assert_eq!(Signal::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn names_of_threads_are_cut_as_the_kernel_cuts_them() {
        assert_eq!(Comm::new(b"ruby").as_bytes(), b"ruby");
        assert_eq!(Comm::new(b"a\0b").as_bytes(), b"a");
        assert_eq!(
            Comm::new(b"0123456789abcdefg").as_bytes(),
            b"0123456789abcde"
        );
        assert!(Comm::new(b"").is_empty() && Comm::default().is_empty());
        assert_eq!(Comm::new(b"\xff\n").as_bytes(), b"\xff\n");
    }

    #[test]
    fn errors_carry_name_and_sentence() {
        assert_eq!(
            Errno::EAGAIN.to_string(),
            "EAGAIN (Resource temporarily unavailable)"
        );
        assert_eq!(
            Errno::ENOSYS.to_string(),
            "ENOSYS (Function not implemented)"
        );
        assert_eq!(Errno(9999).name(), None);
        assert!(Errno(513).restart().is_some());
        for errno in [Errno::EAGAIN, Errno::EUSERS, Errno(133), Errno(513)] {
            let name = errno.symbol().unwrap();
            assert_eq!(Errno::from_name(&name), Some(errno));
        }
        assert_eq!(Errno(513).symbol().as_deref(), Some("ERESTARTNOINTR"));
        assert_eq!(Errno(9999).symbol(), None);
        assert_eq!(Errno::from_name("ENOTHING"), None);
        for (name, number) in [
            ("EWOULDBLOCK", libc::EWOULDBLOCK),
            ("ENOTSUP", libc::ENOTSUP),
            ("EDEADLOCK", libc::EDEADLOCK),
        ] {
            assert_eq!(Errno::from_name(name), Some(Errno(number)), "{name}");
        }
    }
}
