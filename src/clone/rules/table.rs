//! The rules, in the order of the kernel's checks: the first that is broken gives the
//! error. Long, as there are so many.

use CloneFlags as F;

use super::{Condition, Decides, Facts, Rule, Span, Version};
use crate::clone::args::{SIZE_MAX, SIZE_VER0, SIZE_VER2};
use crate::clone::flags::{CSIGNAL, CloneFlags, NAMESPACES};
use crate::clone::request::{Body, SetTid, Tail};
use crate::ids::Errno;

/// The flags of Linux 7.1.
pub(super) const OF_7_1: CloneFlags = CloneFlags(
    CloneFlags::AUTOREAP.0
        | CloneFlags::NNP.0
        | CloneFlags::PIDFD_AUTOKILL.0
        | CloneFlags::EMPTY_MNTNS.0,
);
/// The bits of clone's exit signal that clone3 has no flag for.
const SIGNAL_BITS: CloneFlags = CloneFlags(CSIGNAL & !CloneFlags::NEWTIME.0);
/// What is about the flags of Linux 7.1.
const SINCE_7_1: Span = Span::Since(Version(7, 1));
/// No flag in particular.
pub(super) const NONE: CloneFlags = CloneFlags(0);

/// The flags that make namespaces. CLONE_EMPTY_MNTNS implies CLONE_NEWNS.
pub(in crate::clone) const NEW_NAMESPACES: CloneFlags = {
    let mut bits = CloneFlags::EMPTY_MNTNS.0;
    let mut index = 0;
    while index < NAMESPACES.len() {
        bits |= NAMESPACES[index].0.0;
        index += 1;
    }
    CloneFlags(bits)
};

/// A rule that the arguments decide, in all versions.
const fn rule(
    errno: Errno,
    text: &'static str,
    about: CloneFlags,
    applies: fn(&Facts) -> bool,
) -> Rule {
    Rule {
        errno,
        text,
        about,
        decides: Decides::Arguments,
        span: Span::All,
        applies,
    }
}

impl Rule {
    const fn in_span(self, span: Span) -> Rule {
        Rule { span, ..self }
    }

    const fn by_caller(self, condition: Condition) -> Rule {
        Rule {
            decides: Decides::Caller(condition),
            ..self
        }
    }
}

const fn both(a: CloneFlags, b: CloneFlags) -> CloneFlags {
    CloneFlags(a.0 | b.0)
}

pub(super) const RULES: &[Rule] = &[
    // clone3 reads its structure.
    rule(Errno::E2BIG, "the structure is larger than a page", NONE, |f| {
        f.clone3().is_some_and(|call| call.size > SIZE_MAX as u64)
    }),
    rule(
        Errno::EINVAL,
        "the structure is smaller than its first version, 64 bytes",
        NONE,
        |f| f.shorter_than(SIZE_VER0),
    ),
    rule(Errno::EFAULT, "the structure can't be read", NONE, |f| {
        f.clone3().is_some_and(|call| call.body == Body::Unreadable)
    }),
    rule(
        Errno::EFAULT,
        "the end of the structure can't be read",
        NONE,
        |f| matches!(f.tail(), Some(Tail::Unreadable { .. })),
    ),
    rule(
        Errno::E2BIG,
        "the structure has non-zero bytes behind the last field that the kernel knows",
        NONE,
        |f| matches!(f.tail(), Some(Tail::NonZero { .. })),
    ),
    rule(Errno::E2BIG, "the kernel has no set_tid", NONE, |f| {
        f.gives_set_tid() || f.set_tid_size() != 0
    })
    .in_span(Span::Before(Version(5, 5))),
    rule(Errno::E2BIG, "the kernel has no cgroup", NONE, |f| {
        f.args(|a| a.cgroup != 0)
    })
    .in_span(Span::Before(Version(5, 7))),
    rule(
        Errno::EINVAL,
        "set_tid has more pids than pid namespaces can be nested, 32",
        NONE,
        |f| f.set_tid_size() > 32,
    ),
    rule(
        Errno::EINVAL,
        "clone3 needs set_tid and set_tid_size together",
        NONE,
        |f| f.gives_set_tid() != (f.set_tid_size() != 0),
    ),
    rule(Errno::EINVAL, "the exit signal is no signal", NONE, |f| {
        f.args(|a| a.exit_signal > 64)
    }),
    rule(
        Errno::EINVAL,
        "CLONE_INTO_CGROUP needs a file descriptor in cgroup, and a structure of 88 bytes that has it",
        F::INTO_CGROUP,
        |f| {
            f.has(F::INTO_CGROUP)
                && (f.args(|a| a.cgroup > i32::MAX as u64) || f.shorter_than(SIZE_VER2))
        },
    )
    .in_span(Span::Since(Version(5, 7))),
    rule(Errno::EFAULT, "set_tid can't be read", NONE, |f| {
        (1..=32).contains(&f.set_tid_size())
            && match f.set_tid() {
                Some(SetTid::Address) => f.args(|a| a.set_tid != 0),
                Some(SetTid::Pids(pids)) => (pids.len() as u64) < f.set_tid_size(),
                None => false,
            }
    }),
    // clone3 looks at its flags.
    rule(
        Errno::EINVAL,
        "flag bits that no kernel known to forktrace has",
        NONE,
        |f| f.clone3().is_some() && f.flags.unknown() & !SIGNAL_BITS.0 != 0,
    ),
    rule(
        Errno::EINVAL,
        "flag bits that the kernel doesn't know",
        OF_7_1,
        |f| f.any(OF_7_1),
    )
    .in_span(Span::Before(Version(7, 1))),
    rule(
        Errno::EINVAL,
        "CLONE_INTO_CGROUP is a flag that the kernel doesn't know",
        F::INTO_CGROUP,
        |f| f.has(F::INTO_CGROUP),
    )
    .in_span(Span::Before(Version(5, 7))),
    rule(
        Errno::EINVAL,
        "CLONE_CLEAR_SIGHAND is a flag that the kernel doesn't know",
        F::CLEAR_SIGHAND,
        |f| f.has(F::CLEAR_SIGHAND),
    )
    .in_span(Span::Before(Version(5, 5))),
    rule(
        Errno::EINVAL,
        "clone3 refuses CLONE_DETACHED",
        F::DETACHED,
        |f| f.clone3().is_some() && f.has(F::DETACHED),
    ),
    rule(
        Errno::EINVAL,
        "clone3 takes no exit signal in its flags: exit_signal is a field of its own",
        NONE,
        |f| f.clone3().is_some() && f.any(SIGNAL_BITS),
    ),
    rule(
        Errno::EINVAL,
        "clone3 refuses CLONE_NEWTIME, as any bit of clone's exit signal",
        F::NEWTIME,
        |f| f.has(F::NEWTIME),
    )
    .in_span(Span::Before(Version(6, 3))),
    rule(
        Errno::EINVAL,
        "CLONE_CLEAR_SIGHAND contradicts CLONE_SIGHAND",
        both(F::CLEAR_SIGHAND, F::SIGHAND),
        |f| f.has(F::CLEAR_SIGHAND | F::SIGHAND),
    ),
    rule(
        Errno::EINVAL,
        "clone3 takes no exit signal with CLONE_THREAD or CLONE_PARENT",
        both(F::THREAD, F::PARENT),
        |f| f.args(|a| a.exit_signal != 0) && f.any(F::THREAD | F::PARENT),
    ),
    rule(
        Errno::EINVAL,
        "clone3 needs stack and stack_size together",
        NONE,
        |f| f.args(|a| (a.stack == 0) != (a.stack_size == 0)),
    )
    .in_span(Span::Since(Version(5, 4))),
    rule(
        Errno::EINVAL,
        "the stack lies beyond the memory that programs can have",
        NONE,
        |f| {
            f.args(|a| {
                a.stack
                    .checked_add(a.stack_size)
                    .is_none_or(|end| end >> 63 == 1)
            })
        },
    )
    .in_span(Span::Since(Version(5, 4))),
    // All calls.
    rule(
        Errno::EINVAL,
        "in clone CLONE_PIDFD and CLONE_PARENT_SETTID would store at one address",
        both(F::PIDFD, F::PARENT_SETTID),
        |f| f.clone() && f.has(F::PIDFD | F::PARENT_SETTID),
    ),
    rule(
        Errno::EINVAL,
        "CLONE_PIDFD and CLONE_PARENT_SETTID would store at one address",
        both(F::PIDFD, F::PARENT_SETTID),
        |f| f.has(F::PIDFD | F::PARENT_SETTID) && f.args(|a| a.pidfd == a.parent_tid),
    )
    .in_span(Span::Since(Version(5, 10))),
    rule(
        Errno::EINVAL,
        "CLONE_FS doesn't go with a new mount or user namespace",
        CloneFlags(F::FS.0 | F::NEWNS.0 | F::EMPTY_MNTNS.0 | F::NEWUSER.0),
        |f| f.has(F::FS) && f.any(F::NEWNS | F::NEWUSER),
    ),
    rule(
        Errno::EINVAL,
        "CLONE_THREAD needs CLONE_SIGHAND",
        both(F::THREAD, F::SIGHAND),
        |f| f.has(F::THREAD) && !f.has(F::SIGHAND),
    ),
    rule(
        Errno::EINVAL,
        "CLONE_SIGHAND needs CLONE_VM",
        both(F::SIGHAND, F::VM),
        |f| f.has(F::SIGHAND) && !f.has(F::VM),
    ),
    rule(
        Errno::EINVAL,
        "CLONE_PARENT, where the caller is init (pid 1) of a pid namespace",
        F::PARENT,
        |f| f.has(F::PARENT),
    )
    .by_caller(Condition::Init),
    rule(
        Errno::EINVAL,
        "CLONE_THREAD doesn't go with a new user or pid namespace",
        CloneFlags(F::THREAD.0 | F::NEWUSER.0 | F::NEWPID.0),
        |f| f.has(F::THREAD) && f.any(F::NEWUSER | F::NEWPID),
    ),
    rule(
        Errno::EINVAL,
        "CLONE_THREAD, where the caller's children belong to another pid namespace than itself \
         (unshare, setns)",
        F::THREAD,
        |f| f.has(F::THREAD),
    )
    .by_caller(Condition::ChildrenElsewhere),
    rule(
        Errno::EINVAL,
        "CLONE_NEWPID, where the caller's children belong to another pid namespace than itself \
         (unshare, setns)",
        F::NEWPID,
        |f| f.has(F::NEWPID),
    )
    .by_caller(Condition::ChildrenElsewhere),
    rule(
        Errno::EINVAL,
        "CLONE_PIDFD doesn't go with CLONE_DETACHED",
        both(F::PIDFD, F::DETACHED),
        |f| f.has(F::PIDFD | F::DETACHED),
    ),
    rule(
        Errno::EINVAL,
        "CLONE_PIDFD doesn't go with CLONE_THREAD",
        both(F::PIDFD, F::THREAD),
        |f| f.has(F::PIDFD | F::THREAD),
    )
    .in_span(Span::Before(Version(6, 9))),
    rule(
        Errno::EINVAL,
        "CLONE_AUTOREAP doesn't go with CLONE_THREAD or CLONE_PARENT",
        CloneFlags(F::AUTOREAP.0 | F::THREAD.0 | F::PARENT.0),
        |f| f.has(F::AUTOREAP) && f.any(F::THREAD | F::PARENT),
    )
    .in_span(SINCE_7_1),
    rule(
        Errno::EINVAL,
        "CLONE_AUTOREAP takes no exit signal",
        F::AUTOREAP,
        |f| f.has(F::AUTOREAP) && f.args(|a| a.exit_signal != 0),
    )
    .in_span(SINCE_7_1),
    rule(
        Errno::EINVAL,
        "CLONE_PARENT, where the caller was made with CLONE_AUTOREAP",
        F::PARENT,
        |f| f.has(F::PARENT),
    )
    .by_caller(Condition::Autoreaped)
    .in_span(SINCE_7_1),
    rule(
        Errno::EINVAL,
        "CLONE_NNP doesn't go with CLONE_THREAD",
        both(F::NNP, F::THREAD),
        |f| f.has(F::NNP | F::THREAD),
    )
    .in_span(SINCE_7_1),
    rule(
        Errno::EINVAL,
        "CLONE_PIDFD_AUTOKILL needs CLONE_PIDFD and CLONE_AUTOREAP",
        CloneFlags(F::PIDFD_AUTOKILL.0 | F::PIDFD.0 | F::AUTOREAP.0),
        |f| f.has(F::PIDFD_AUTOKILL) && !f.has(F::PIDFD | F::AUTOREAP),
    )
    .in_span(SINCE_7_1),
    rule(
        Errno::EINVAL,
        "CLONE_PIDFD_AUTOKILL doesn't go with CLONE_THREAD",
        both(F::PIDFD_AUTOKILL, F::THREAD),
        |f| f.has(F::PIDFD_AUTOKILL | F::THREAD),
    )
    .in_span(SINCE_7_1),
    rule(
        Errno::EPERM,
        "CLONE_PIDFD_AUTOKILL without CLONE_NNP, where the caller has no CAP_SYS_ADMIN",
        both(F::PIDFD_AUTOKILL, F::NNP),
        |f| f.has(F::PIDFD_AUTOKILL) && !f.has(F::NNP),
    )
    .by_caller(Condition::NoSysAdmin)
    .in_span(SINCE_7_1),
    rule(
        Errno::EPERM,
        "a new namespace, where the caller has no CAP_SYS_ADMIN",
        CloneFlags(NEW_NAMESPACES.0 & !F::NEWUSER.0),
        |f| f.any(NEW_NAMESPACES) && !f.has(F::NEWUSER),
    )
    .by_caller(Condition::NoSysAdmin),
    rule(
        Errno::EPERM,
        "CLONE_NEWUSER, where the caller is in a chroot, or its user or group has no id in its \
         own user namespace",
        F::NEWUSER,
        |f| f.has(F::NEWUSER),
    )
    .by_caller(Condition::NoUserNamespace),
    rule(
        Errno::ENOSPC,
        "a new namespace, where a limit in /proc/sys/user is reached, or user or pid namespaces \
         are nested 32 deep",
        NEW_NAMESPACES,
        |f| f.any(NEW_NAMESPACES),
    )
    .by_caller(Condition::NamespaceLimit),
    rule(
        Errno::EINVAL,
        "CLONE_SYSVSEM doesn't go with a new IPC namespace",
        both(F::SYSVSEM, F::NEWIPC),
        |f| f.has(F::NEWIPC | F::SYSVSEM),
    ),
    rule(Errno::EINVAL, "set_tid has a pid below 1", NONE, |f| {
        f.request
            .set_tid()
            .is_some_and(|pids| pids.iter().any(|pid| *pid < 1))
    }),
    rule(
        Errno::EINVAL,
        "the first pid in a new pid namespace is 1, and set_tid has another",
        F::NEWPID,
        |f| {
            f.has(F::NEWPID)
                && f.request
                    .set_tid()
                    .is_some_and(|pids| pids.first().is_some_and(|pid| *pid != 1))
        },
    ),
    rule(
        Errno::EINVAL,
        "set_tid, where it has more pids than the child has pid namespaces, or one above pid_max",
        NONE,
        |f| f.gives_set_tid(),
    )
    .by_caller(Condition::SetTidBeyond),
    rule(
        Errno::EPERM,
        "set_tid, where the caller has no CAP_CHECKPOINT_RESTORE (before Linux 5.9: CAP_SYS_ADMIN)",
        NONE,
        |f| f.gives_set_tid(),
    )
    .by_caller(Condition::NoSetTid),
    rule(
        Errno::EEXIST,
        "set_tid, where such a pid is taken",
        NONE,
        |f| f.gives_set_tid(),
    )
    .by_caller(Condition::PidTaken),
    rule(
        Errno::EBADF,
        "CLONE_INTO_CGROUP, where cgroup is no open directory of a cgroup",
        F::INTO_CGROUP,
        |f| f.has(F::INTO_CGROUP),
    )
    .by_caller(Condition::NoCgroup),
    rule(
        Errno::EACCES,
        "CLONE_INTO_CGROUP, where the caller may not put processes there",
        F::INTO_CGROUP,
        |f| f.has(F::INTO_CGROUP),
    )
    .by_caller(Condition::CgroupForbidden),
    rule(
        Errno::EOPNOTSUPP,
        "CLONE_INTO_CGROUP, where the cgroup is in the state \"domain invalid\" (cgroup.type)",
        F::INTO_CGROUP,
        |f| f.has(F::INTO_CGROUP),
    )
    .by_caller(Condition::CgroupInvalid),
    rule(
        Errno::EBUSY,
        "CLONE_INTO_CGROUP, where a domain controller is enabled in the cgroup \
         (cgroup.subtree_control)",
        F::INTO_CGROUP,
        |f| f.has(F::INTO_CGROUP),
    )
    .by_caller(Condition::CgroupBusy),
];
