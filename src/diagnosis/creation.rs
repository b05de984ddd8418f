//! Why a creating call failed. The rules of the kernel's clone paths are those
//! of [`rules`], each either decided by the arguments or by evidence; the limits
//! come after them.

use super::evidence::{
    Capability, CgroupFd, Evidence, Fact, Init, PidNamespaces, Place, Root, Status, Use, Users,
    Verdict,
};
use super::{Cause, Causes, Certainty, Reason, limits, sorted};
use crate::clone::rules::{self, Condition, Decides, Rule, Span, Version};
use crate::clone::{CloneFlags, Request, Spec};
use crate::ids::Errno;

/// The first kernel that has clone3.
const CLONE3: Version = Version(5, 3);

/// What made a creating call fail with this error, as far as the evidence goes.
pub fn diagnose(request: &Request, errno: Errno, evidence: &Evidence) -> Causes {
    if errno.restart().is_some() {
        return vec![Cause::certain(Reason::Restarted)];
    }
    // Filters come before the kernel's own checks.
    if evidence.verdict == Fact::Read(Verdict::Error(errno)) {
        return vec![Cause::certain(filter(evidence))];
    }
    let mut causes = broken_rules(request, errno, evidence);
    match errno {
        Errno::EAGAIN => causes.extend(limits::reached(evidence)),
        Errno::ENOMEM => causes.extend(memory(request, evidence)),
        Errno::ENOSYS => causes.extend(no_call(request, evidence)),
        Errno::ENODEV | Errno::ENOENT => causes.extend(cgroup(errno, evidence)),
        _ => {}
    }
    if !is_explained(&causes) && filter_may_answer(evidence) {
        causes.push(Cause::possible(filter(evidence)));
    }
    sorted(causes)
}

fn is_explained(causes: &[Cause]) -> bool {
    causes
        .iter()
        .any(|cause| cause.certainty == Certainty::Certain)
}

/// That a filter answered.
pub(super) fn filter(evidence: &Evidence) -> Reason {
    match evidence.status.get() {
        Some(Status { seccomp: 1, .. }) => Reason::SeccompStrict,
        _ => Reason::SeccompFilter {
            filters: evidence.foreign_filters().filter(|filters| *filters > 0),
        },
    }
}

/// Whether the program has filters of which it isn't known what they answer.
fn filter_may_answer(evidence: &Evidence) -> bool {
    let decided = matches!(evidence.verdict, Fact::Read(Verdict::Passes));
    !decided
        && evidence
            .foreign_filters()
            .is_some_and(|filters| filters > 0)
}

/// The rules that are broken, or may be: the kernel stops at the first that is.
fn broken_rules(request: &Request, errno: Errno, evidence: &Evidence) -> Causes {
    let mut causes = Causes::new();
    for rule in rules::concerning(request).filter(|rule| rule.errno == errno) {
        let in_force = match (evidence.release.get(), rule.span) {
            (Some(release), span) => span.covers(*release),
            (None, Span::All | Span::Since(_)) => true,
            (None, Span::Before(_)) => {
                causes.push(Cause::possible(in_words(rule)));
                continue;
            }
        };
        if !in_force {
            continue;
        }
        match rule.decides {
            Decides::Arguments => causes.push(Cause::certain(in_words(rule))),
            Decides::Caller(condition) => {
                causes.extend(judge(rule, condition, request, evidence));
            }
        }
        if is_explained(&causes) {
            break;
        }
    }
    causes
}

fn in_words(rule: &Rule) -> Reason {
    Reason::Rule {
        text: match rule.span {
            Span::Before(version) => format!("{} (before Linux {version})", rule.text),
            Span::All | Span::Since(_) => rule.text.to_owned(),
        },
    }
}

/// What the evidence says of a rule that the caller's state decides: nothing if
/// it is not broken.
fn judge(rule: &Rule, condition: Condition, request: &Request, evidence: &Evidence) -> Causes {
    let flags = request.flags();
    let decided = |broken: Option<bool>, reason: Reason| match broken {
        Some(true) => vec![Cause::certain(reason)],
        Some(false) => Causes::new(),
        None => vec![Cause::possible(in_words(rule))],
    };
    let capability = |capability: &str, needed_for: String| Reason::Capability {
        capability: capability.to_owned(),
        needed_for,
    };
    match condition {
        Condition::Init => {
            let status = evidence.status.get();
            let init = status.and_then(|status| status.ns_tgids.last().map(|own| *own == 1));
            decided(init, in_words(rule))
        }
        // Nothing tells that of a process.
        Condition::Autoreaped => vec![Cause::possible(in_words(rule))],
        Condition::ChildrenElsewhere => {
            let elsewhere = |ns: &PidNamespaces| ns.children != Some(ns.own);
            decided(evidence.pid_namespaces.get().map(elsewhere), in_words(rule))
        }
        Condition::NoSysAdmin => decided(
            evidence.has(Capability::SYS_ADMIN).map(|has| !has),
            capability("CAP_SYS_ADMIN", names(flags, rule.about)),
        ),
        Condition::NoUserNamespace => user_namespace(rule, evidence),
        Condition::NamespaceLimit => namespace_limit(rule, flags, evidence),
        Condition::SetTidBeyond => set_tid_beyond(rule, request, evidence),
        Condition::NoSetTid => {
            let may = |capability| evidence.has(capability);
            let lacks = may(Capability::CHECKPOINT_RESTORE)
                .zip(may(Capability::SYS_ADMIN))
                .map(|(restore, admin)| !restore && !admin);
            // Capabilities in a user namespace don't count in pid namespaces that
            // belong to others.
            let elsewhere = evidence
                .user_namespace
                .get()
                .is_none_or(|namespace| namespace.place == Place::Made);
            match lacks {
                Some(false) if elsewhere => vec![Cause::possible(in_words(rule))],
                lacks => decided(
                    lacks,
                    capability("CAP_CHECKPOINT_RESTORE", "set_tid".to_owned()),
                ),
            }
        }
        Condition::PidTaken => match evidence.taken.get().and_then(|taken| taken.first()) {
            Some(pid) => vec![Cause::certain(Reason::PidTaken { pid: *pid })],
            None => vec![Cause::possible(in_words(rule))],
        },
        Condition::NoCgroup => {
            let fd = request.clone_args().map_or(0, |args| args.cgroup);
            match evidence.cgroup_fd.get() {
                Some(CgroupFd::Closed) => vec![Cause::certain(Reason::CgroupClosed { fd })],
                Some(CgroupFd::Other { path }) => {
                    let path = path.clone();
                    vec![Cause::certain(Reason::CgroupOther { fd, path })]
                }
                Some(CgroupFd::Cgroup { .. } | CgroupFd::Removed { .. }) => Causes::new(),
                None => vec![Cause::possible(in_words(rule))],
            }
        }
        Condition::CgroupInvalid | Condition::CgroupBusy => match evidence.cgroup_fd.get() {
            Some(_) => cgroup(rule.errno, evidence),
            None => vec![Cause::possible(in_words(rule))],
        },
        Condition::CgroupForbidden => match (evidence.cgroup_fd.get(), evidence.status.get()) {
            (
                Some(CgroupFd::Cgroup {
                    path,
                    procs: Some(procs),
                    ..
                }),
                Some(status),
            ) if !procs.permits(status, Use::Write) => {
                vec![Cause::certain(Reason::CgroupForbidden {
                    path: path.clone(),
                    mode: procs.permissions(),
                    owner: procs.uid,
                })]
            }
            _ => vec![Cause::possible(in_words(rule))],
        },
    }
}

/// The flags that a rule is about, as one writes them.
fn names(flags: CloneFlags, about: CloneFlags) -> String {
    let names: Vec<&str> = flags
        .iter()
        .filter(|(flag, _)| about.any(*flag))
        .map(|(_, name)| name)
        .collect();
    names.join("|")
}

fn user_namespace(rule: &Rule, evidence: &Evidence) -> Causes {
    if evidence.root == Fact::Read(Root::Directory) {
        return vec![Cause::certain(Reason::Chroot)];
    }
    if evidence.users == Fact::Read(Users::None) {
        return vec![Cause::certain(Reason::NoUsers)];
    }
    let lacks = evidence.has(Capability::SYS_ADMIN) == Some(false);
    let sysctl = |name: &str, value: u64| Reason::UserNamespaceSysctl {
        sysctl: name.to_owned(),
        value,
    };
    let mut causes = Causes::new();
    if let (true, Some(0)) = (lacks, evidence.unprivileged_userns.get()) {
        let reason = sysctl("kernel.unprivileged_userns_clone", 0);
        return vec![Cause::certain(reason)];
    }
    if let (true, Some(value @ 1..)) = (lacks, evidence.apparmor_userns.get()) {
        let reason = sysctl("kernel.apparmor_restrict_unprivileged_userns", *value);
        causes.push(Cause::possible(reason));
    }
    causes.push(Cause::possible(in_words(rule)));
    causes
}

/// How deep pid namespaces may be nested (`MAX_PID_NS_LEVEL`), and user
/// namespaces, of which one more fits (kernel/user_namespace.c).
const PID_LEVELS: u32 = 32;
const USER_LEVELS: u32 = 33;

fn namespace_limit(rule: &Rule, flags: CloneFlags, evidence: &Evidence) -> Causes {
    let levels = |status: &Status| (status.ns_tgids.len() as u32).saturating_sub(1);
    let pid_depth = evidence.status.get().map(levels);
    let user_depth = evidence.user_namespace.get().and_then(|ns| ns.depth);
    if let (true, Some(depth @ USER_LEVELS..)) = (flags.has(CloneFlags::NEWUSER), user_depth) {
        return vec![Cause::certain(Reason::UserNesting { depth })];
    }
    let maxima = evidence.namespaces.get().map_or(&[][..], Vec::as_slice);
    let mut causes = Causes::new();
    for max in maxima.iter().filter(|max| flags.has(max.flag)) {
        let certainty = match max.max {
            0 => Certainty::Certain,
            _ => Certainty::Possible,
        };
        causes.push(Cause {
            certainty,
            reason: Reason::NamespaceMax {
                sysctl: max.sysctl.clone(),
                max: max.max,
            },
        });
    }
    if let (true, Some(depth @ PID_LEVELS..)) = (flags.has(CloneFlags::NEWPID), pid_depth) {
        causes.push(Cause::certain(Reason::PidNesting { depth }));
    }
    if is_explained(&causes) {
        causes.retain(|cause| cause.certainty == Certainty::Certain);
    } else if causes.is_empty() {
        causes.push(Cause::possible(in_words(rule)));
    }
    causes
}

fn set_tid_beyond(rule: &Rule, request: &Request, evidence: &Evidence) -> Causes {
    let pids = request.set_tid().unwrap_or_default();
    let made = u64::from(request.flags().has(CloneFlags::NEWPID));
    let levels = evidence
        .status
        .get()
        .map(|status| status.ns_tgids.len() as u64 + made);
    if let Some(levels) = levels
        && pids.len() as u64 > levels
    {
        let pids = pids.len() as u64;
        return vec![Cause::certain(Reason::SetTidLevels { pids, levels })];
    }
    // The largest number is one less.
    let beyond = |max: u64| pids.iter().find(|pid| i64::from(**pid) >= max as i64);
    if let Some(max) = evidence.pid_max.get()
        && let Some(pid) = beyond(*max)
    {
        let (pid, max) = (*pid, *max);
        return vec![Cause::certain(Reason::SetTidRange { pid, max })];
    }
    vec![Cause::possible(in_words(rule))]
}

fn cgroup(errno: Errno, evidence: &Evidence) -> Causes {
    let cause = match (errno, evidence.cgroup_fd.get()) {
        // The first from where its death is looked for, the other from the search
        // for its files before that.
        (Errno::ENODEV | Errno::ENOENT, Some(CgroupFd::Removed { path })) => {
            let path = path.clone();
            Cause::certain(Reason::CgroupRemoved { path })
        }
        (
            Errno::EBUSY,
            Some(CgroupFd::Cgroup {
                path, controllers, ..
            }),
        ) if !controllers.is_empty() => Cause::certain(Reason::CgroupBusy {
            path: path.clone(),
            controllers: controllers.clone(),
        }),
        (Errno::EOPNOTSUPP, Some(CgroupFd::Cgroup { path, kind, .. }))
            if !matches!(&kind[..], "" | "domain" | "domain threaded") =>
        {
            Cause::certain(Reason::CgroupThreaded {
                path: path.clone(),
                kind: kind.clone(),
            })
        }
        _ => return Causes::new(),
    };
    vec![cause]
}

fn no_call(request: &Request, evidence: &Evidence) -> Causes {
    if evidence.verdict == Fact::Read(Verdict::Passes) {
        return Causes::new();
    }
    let since = match request.spec {
        Spec::Clone3(_) => CLONE3,
        // Older than all kernels that forktrace runs on.
        Spec::Fork | Spec::Vfork | Spec::Clone(_) => Version(0, 0),
    };
    match (evidence.release.get(), evidence.foreign_filters()) {
        (Some(release), _) if *release < since => vec![Cause::certain(Reason::OldKernel {
            release: release.to_string(),
            since: since.to_string(),
        })],
        // Nobody else is left that could have said so.
        (Some(_), Some(1..)) => vec![Cause::certain(filter(evidence))],
        _ => Causes::new(),
    }
}

fn memory(request: &Request, evidence: &Evidence) -> Causes {
    if evidence.init == Fact::Read(Init::Dead) {
        return vec![Cause::certain(Reason::InitDied)];
    }
    let mut causes = Causes::new();
    let copies = !request.flags().has(CloneFlags::VM);
    let data = evidence.status.get().and_then(|status| status.data_kib);
    if let (true, Some(overcommit), Some(copy_kib)) = (copies, evidence.overcommit.get(), data)
        && overcommit.mode == 2
    {
        let reason = Reason::Overcommit {
            limit_kib: overcommit.limit_kib,
            committed_kib: overcommit.committed_kib,
            copy_kib,
        };
        if overcommit.committed_kib.saturating_add(copy_kib) > overcommit.limit_kib {
            return vec![Cause::certain(reason)];
        }
        causes.push(Cause::possible(reason));
    }
    causes.push(Cause::possible(Reason::NoMemory));
    causes
}

#[cfg(test)]
mod tests;
