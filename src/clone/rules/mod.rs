//! What the kernel refuses before it creates anything: the checks of
//! kernel/fork.c (`copy_clone_args_from_user`, `clone3_args_valid`,
//! `kernel_clone`, `copy_process`) and of what it calls, from Linux 5.3 to
//! 7.1, in the order in which they are made: the first that is broken gives
//! the error.
//!
//! `tests/rules.rs` makes the calls and compares what the kernel that it runs on
//! answers. What that can't check: rules whose [`Span`] leaves this kernel out,
//! so before Linux 7.1 all that is about the flags that came with it (there they
//! are refused as unknown), and those that the caller's state decides
//! ([`Decides::Caller`]), which it takes care not to break.

mod table;

use std::fmt;

use super::flags::CloneFlags;
use super::request::{Body, Clone3, Request, SetTid, Spec, Tail};
use crate::ids::Errno;
use table::RULES;

pub(super) use table::NEW_NAMESPACES;

/// A version of Linux: 6.18 is `Version(6, 18)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What decides whether a rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decides {
    /// The arguments alone: such a call fails whoever makes it.
    Arguments,
    /// Also the state of the caller, or of the system: such a call may fail.
    Caller(Condition),
}

/// The state in which a caller breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It is init (pid 1) of a pid namespace.
    Init,
    /// It was made with CLONE_AUTOREAP.
    Autoreaped,
    /// Its children belong to another pid namespace than itself.
    ChildrenElsewhere,
    /// It has no CAP_SYS_ADMIN.
    NoSysAdmin,
    /// It may make no user namespace.
    NoUserNamespace,
    /// A limit on namespaces is reached.
    NamespaceLimit,
    /// `set_tid` asks for more than the child's pid namespaces have.
    SetTidBeyond,
    /// It may not choose pids.
    NoSetTid,
    /// A pid that it chose is taken.
    PidTaken,
    /// The descriptor of a cgroup is none.
    NoCgroup,
    /// It may not put processes into that cgroup.
    CgroupForbidden,
    /// That cgroup is invalid.
    CgroupInvalid,
    /// That cgroup hands on controllers.
    CgroupBusy,
}

/// Which kernels have a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// All that have the call and its flags.
    All,
    /// This one and later ones.
    Since(Version),
    /// All before this one.
    Before(Version),
}

impl Span {
    /// Whether a kernel of this version has the rule.
    pub fn covers(self, version: Version) -> bool {
        match self {
            Span::All => true,
            Span::Since(first) => version >= first,
            Span::Before(end) => version < end,
        }
    }
}

/// A rule, and what the kernel answers to a call that breaks it.
pub struct Rule {
    /// The answer.
    pub errno: Errno,
    /// The rule, or (where [`Decides::Caller`]) when it is broken.
    pub text: &'static str,
    /// The flags that it is about; none where it is about other arguments.
    pub about: CloneFlags,
    /// What decides.
    pub decides: Decides,
    /// Which kernels have it.
    pub span: Span,
    /// Whether the arguments break it, or may break it.
    applies: fn(&Facts) -> bool,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.errno.0, self.text)
    }
}

/// The rules that the arguments break, in the kernel's order.
pub fn broken(request: &Request) -> impl Iterator<Item = &'static Rule> {
    concerning(request).filter(|rule| rule.decides == Decides::Arguments)
}

/// The rules that the call breaks where the caller is in a certain state.
pub fn perhaps_broken(request: &Request) -> impl Iterator<Item = &'static Rule> {
    concerning(request).filter(|rule| rule.decides != Decides::Arguments)
}

/// Both, in the kernel's order.
pub fn concerning(request: &Request) -> impl Iterator<Item = &'static Rule> {
    let facts = Facts::of(request);
    RULES.iter().filter(move |rule| (rule.applies)(&facts))
}

/// The rules that a flag is part of.
pub fn about(flag: CloneFlags) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(move |rule| rule.about.any(flag))
}

/// The rules that are answered with this error.
pub fn with_errno(errno: Errno) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(move |rule| rule.errno == errno)
}

/// The rule that makes a call fail on every kernel that may be met from now
/// on: the first that is broken and not of the past.
pub fn verdict(request: &Request) -> Option<&'static Rule> {
    broken(request).find(|rule| !matches!(rule.span, Span::Before(_)))
}

/// What the rules ask about a request.
struct Facts<'a> {
    request: &'a Request,
    flags: CloneFlags,
}

impl<'a> Facts<'a> {
    fn of(request: &'a Request) -> Facts<'a> {
        let mut flags = request.flags();
        // As the first thing that kernel_clone does.
        if flags.has(CloneFlags::EMPTY_MNTNS) {
            flags = flags | CloneFlags::NEWNS;
        }
        Facts { request, flags }
    }

    fn has(&self, flags: CloneFlags) -> bool {
        self.flags.has(flags)
    }

    fn any(&self, flags: CloneFlags) -> bool {
        self.flags.any(flags)
    }

    fn clone(&self) -> bool {
        matches!(self.request.spec, Spec::Clone(_))
    }

    fn clone3(&self) -> Option<&'a Clone3> {
        match &self.request.spec {
            Spec::Clone3(call) => Some(call),
            _ => None,
        }
    }

    /// Asks the structure of clone3, where it was read.
    fn args(&self, ask: impl FnOnce(&super::CloneArgs) -> bool) -> bool {
        self.request.clone_args().is_some_and(ask)
    }

    fn set_tid(&self) -> Option<&'a SetTid> {
        match &self.clone3()?.body {
            Body::Read { set_tid, .. } => Some(set_tid),
            _ => None,
        }
    }

    fn tail(&self) -> Option<&'a Tail> {
        match &self.clone3()?.body {
            Body::Read { tail, .. } => Some(tail),
            _ => None,
        }
    }

    /// Whether an array of pids is given: its address, or its content.
    fn gives_set_tid(&self) -> bool {
        self.args(|a| a.set_tid != 0) || matches!(self.set_tid(), Some(SetTid::Pids(_)))
    }

    fn set_tid_size(&self) -> u64 {
        self.request.clone_args().map_or(0, |a| a.set_tid_size)
    }

    /// The structure ends before a field that is `end` bytes long with it.
    fn shorter_than(&self, end: usize) -> bool {
        self.clone3().is_some_and(|call| call.size < end as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::table::{NONE, OF_7_1};
    use super::*;
    use crate::abi::{Abi, Syscall};
    use crate::clone::decode;
    use crate::clone::flags::NAMES;
    use crate::memory::Regions;
    use CloneFlags as F;

    fn clone(flags: u64) -> Request {
        let call = Syscall {
            abi: Abi::X86_64,
            nr: 56,
            args: [flags, 0, 0, 0, 0, 0],
        };
        decode(call, &mut Regions::default(), 32).unwrap()
    }

    #[test]
    fn what_programs_do_breaks_no_rule() {
        for flags in [0x11, 0x0120_0011, 0x003d_0f00, 0x4111] {
            assert_eq!(broken(&clone(flags)).count(), 0, "{flags:#x}");
            assert_eq!(
                perhaps_broken(&clone(flags)).count(),
                usize::from(flags == 0x003d_0f00)
            );
        }
    }

    fn clone3(flags: CloneFlags, exit_signal: u64) -> Request {
        let mut fields = [0u64; 11];
        fields[0] = flags.0;
        fields[1] = 0x6000;
        fields[3] = 0x7000;
        fields[4] = exit_signal;
        let bytes = fields.iter().flat_map(|field| field.to_le_bytes());
        let mut memory = Regions(vec![(0x4000, bytes.collect())]);
        let call = Syscall {
            abi: Abi::X86_64,
            nr: 435,
            args: [0x4000, 88, 0, 0, 0, 0],
        };
        decode(call, &mut memory, 32).unwrap()
    }

    /// What a kernel of a version answers to clone3, the state of the caller apart.
    fn answer(flags: CloneFlags, exit_signal: u64, version: Version) -> Option<&'static str> {
        broken(&clone3(flags, exit_signal))
            .find(|rule| rule.span.covers(version))
            .map(|rule| rule.text)
    }

    #[test]
    fn flags_of_7_1_have_their_rules() {
        const THREAD: CloneFlags = CloneFlags(F::THREAD.0 | F::SIGHAND.0 | F::VM.0);
        let autokill = F::PIDFD_AUTOKILL | F::PIDFD | F::AUTOREAP;
        for (flags, exit_signal, rule) in [
            (F::AUTOREAP, 0, None),
            (F::AUTOREAP | F::PIDFD, 0, None),
            (
                F::AUTOREAP | THREAD,
                0,
                Some("CLONE_AUTOREAP doesn't go with"),
            ),
            (
                F::AUTOREAP | F::PARENT,
                0,
                Some("CLONE_AUTOREAP doesn't go with"),
            ),
            (F::AUTOREAP, 17, Some("CLONE_AUTOREAP takes no exit signal")),
            (F::PARENT, 0, None),
            (F::NNP, 17, None),
            (F::NNP | THREAD, 0, Some("CLONE_NNP doesn't go with")),
            (autokill, 0, None),
            (autokill | F::NNP, 0, None),
            (F::PIDFD_AUTOKILL, 17, Some("CLONE_PIDFD_AUTOKILL needs")),
            (
                F::PIDFD_AUTOKILL | F::PIDFD,
                17,
                Some("CLONE_PIDFD_AUTOKILL needs"),
            ),
            (
                F::PIDFD_AUTOKILL | F::AUTOREAP,
                0,
                Some("CLONE_PIDFD_AUTOKILL needs"),
            ),
            (F::EMPTY_MNTNS, 17, None),
            (F::EMPTY_MNTNS | F::NEWNS, 17, None),
            (F::EMPTY_MNTNS | F::FS, 17, Some("CLONE_FS doesn't go with")),
        ] {
            let found = answer(flags, exit_signal, Version(7, 1));
            match rule {
                None => assert_eq!(found, None, "{flags}"),
                Some(rule) => assert!(found.unwrap().starts_with(rule), "{flags}: {found:?}"),
            }
            if flags.any(OF_7_1) {
                assert_eq!(
                    answer(flags, exit_signal, Version(7, 0)),
                    Some("flag bits that the kernel doesn't know"),
                    "{flags}"
                );
            }
        }
        // Each alone, though another comes first for a call.
        let texts = |flags| -> Vec<&str> {
            let request = clone3(flags, 0);
            let all = broken(&request).chain(perhaps_broken(&request));
            all.map(|rule| rule.text).collect()
        };
        let has = |flags, text: &str| texts(flags).iter().any(|rule| rule.starts_with(text));
        assert!(has(
            F::PIDFD_AUTOKILL | THREAD,
            "CLONE_PIDFD_AUTOKILL doesn't go with"
        ));
        assert!(has(autokill, "CLONE_PIDFD_AUTOKILL without CLONE_NNP"));
        assert!(!has(
            autokill | F::NNP,
            "CLONE_PIDFD_AUTOKILL without CLONE_NNP"
        ));
        assert!(has(
            F::PARENT,
            "CLONE_PARENT, where the caller was made with CLONE_AUTOREAP"
        ));
        assert!(has(
            F::EMPTY_MNTNS,
            "a new namespace, where the caller has no CAP_SYS_ADMIN"
        ));
    }

    /// clone(2), of CLONE_INTO_CGROUP.
    #[test]
    fn a_cgroup_may_take_no_process() {
        let request = clone3(F::INTO_CGROUP, 17);
        let errors: Vec<Errno> = perhaps_broken(&request).map(|rule| rule.errno).collect();
        for errno in [Errno::EBADF, Errno::EACCES, Errno::EOPNOTSUPP, Errno::EBUSY] {
            assert!(errors.contains(&errno), "{errno}");
        }
        assert_eq!(perhaps_broken(&clone3(F::NNP, 17)).count(), 0);
    }

    #[test]
    fn a_rule_is_about_flags_that_can_break_it() {
        for rule in RULES.iter().filter(|rule| rule.about != NONE) {
            for (flag, name) in NAMES.iter().filter(|(flag, _)| rule.about.any(*flag)) {
                assert!(about(*flag).any(|found| found.text == rule.text), "{name}");
            }
            assert_eq!(rule.about.unknown(), 0, "{rule:?}");
        }
    }

    #[test]
    fn spans_have_their_ends() {
        let v = Version;
        assert!(Span::All.covers(v(5, 3)));
        assert!(Span::Since(v(5, 10)).covers(v(5, 10)) && !Span::Since(v(5, 10)).covers(v(5, 9)));
        assert!(Span::Before(v(6, 9)).covers(v(6, 8)) && !Span::Before(v(6, 9)).covers(v(6, 9)));
    }
}
