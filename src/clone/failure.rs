//! What it means that a creating call failed, in one line of plain words.

use super::request::{Kind, Request, Spec};
use super::rules::{self, Span};
use crate::diagnosis::{self, Cause};
use crate::ids::Errno;

/// What a call failed to create: "no thread created".
pub fn nothing(request: &Request) -> &'static str {
    match request.kind() {
        _ if !request.is_decoded() => "nothing created",
        Kind::Thread => "no thread created",
        Kind::Vfork => "no vfork child created",
        Kind::Process | Kind::SharedProcess => "no process created",
    }
}

/// Why a call failed, as far as its arguments and the error tell for certain.
pub fn failed(request: &Request, errno: Errno) -> String {
    if errno.restart().is_some() {
        return "nothing created: a signal came first, the kernel repeats the call".to_owned();
    }
    let nothing = nothing(request);
    match reason(request, errno) {
        Some(reason) => format!("{nothing}: {reason}"),
        None => nothing.to_owned(),
    }
}

/// Why a call failed, where that was found out; else as [`failed`].
pub fn failed_by(request: &Request, errno: Errno, why: &[Cause]) -> String {
    let Some(words) = diagnosis::words(why).filter(|_| errno.restart().is_none()) else {
        return failed(request, errno);
    };
    let then = match request.spec {
        Spec::Clone3(_) if errno == Errno::ENOSYS => "; glibc then falls back to clone",
        _ => "",
    };
    format!("{}: {words}{then}", nothing(request))
}

/// The rule that a call with this error breaks; one that all kernels have
/// before one that only this kernel may have. Where kernels from some version on
/// have one, and all before it another, both are told: it is not known here which
/// kernel answered.
fn rule(request: &Request, errno: Errno) -> Option<String> {
    let broken = || rules::broken(request).filter(|rule| rule.errno == errno);
    let of_old = |span| matches!(span, Span::Before(_));
    let new = broken().find(|rule| !of_old(rule.span));
    let old = broken().find(|rule| match (rule.span, new.map(|new| new.span)) {
        (Span::Before(end), Some(Span::Since(first))) => end >= first,
        (span, None) => of_old(span),
        _ => false,
    });
    let before = old.map(|rule| match rule.span {
        Span::Before(version) => format!("{} (before Linux {version})", rule.text),
        _ => rule.text.to_owned(),
    });
    match (before, new) {
        (Some(before), Some(new)) => Some(format!("{before}, or {}", new.text)),
        (Some(before), None) => Some(before),
        (None, new) => new.map(|rule| rule.text.to_owned()),
    }
}

fn reason(request: &Request, errno: Errno) -> Option<String> {
    if let Some(rule) = rule(request, errno) {
        return Some(rule);
    }
    circumstance(request, errno).map(str::to_owned)
}

/// What may be the cause of an error where no rule is known to be broken.
pub fn circumstance(request: &Request, errno: Errno) -> Option<&'static str> {
    let flags = request.flags();
    let clone3 = matches!(request.spec, Spec::Clone3(_));
    Some(match errno {
        Errno::EAGAIN => {
            "a limit is reached (ulimit -u, a cgroup's pids.max, kernel.threads-max or pid_max)"
        }
        Errno::ENOMEM => "out of memory, or the init of its pid namespace has died",
        Errno::EPERM if flags.any(rules::NEW_NAMESPACES) => {
            "new namespaces need privileges, or a seccomp filter refuses them"
        }
        Errno::EPERM => "a privilege is missing, or a seccomp filter refuses the call",
        Errno::ENOSYS if clone3 => {
            "the kernel lacks clone3 or a seccomp filter refuses it; glibc then falls back to clone"
        }
        Errno::ENOSYS => "the kernel lacks the call, or a seccomp filter refuses it",
        Errno::EINVAL if !request.is_decoded() => return None,
        Errno::EINVAL if request.kind() == Kind::Thread => {
            "flags that this kernel doesn't take together, or the caller's children belong to \
             another pid namespace than itself (unshare, setns)"
        }
        Errno::EINVAL => "flags or arguments that this kernel doesn't take together",
        Errno::E2BIG => "the structure has non-zero bytes that this kernel doesn't know",
        Errno::EFAULT => "an address in its arguments can't be read or written",
        Errno::EBADF => "a file descriptor in its arguments is not open",
        Errno::EEXIST => "the pid chosen with set_tid is taken",
        Errno::ENOSPC | Errno::EUSERS => "a limit on namespaces or their nesting is reached",
        Errno::EACCES => "no permission for the cgroup",
        Errno::EBUSY => {
            "a domain controller is enabled in the cgroup: its processes belong below it"
        }
        Errno::EOPNOTSUPP => "the cgroup is in the state \"domain invalid\": it takes no processes",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Abi, Syscall};
    use crate::clone::{CloneFlags, decode};
    use crate::diagnosis::Reason;
    use crate::memory::Regions;

    fn clone(flags: u64) -> Request {
        let call = Syscall {
            abi: Abi::X86_64,
            nr: 56,
            args: [flags, 0x5000, 0x7000, 0x7000, 0x9000, 0],
        };
        decode(call, &mut Regions::default(), 32).unwrap()
    }

    #[test]
    fn failures_name_the_rule_that_is_broken() {
        for (flags, rule) in [
            (
                0x1_0011u64,
                "no thread created: CLONE_THREAD needs CLONE_SIGHAND",
            ),
            (0x811, "no process created: CLONE_SIGHAND needs CLONE_VM"),
            (
                0x2_0211,
                "no process created: CLONE_FS doesn't go with a new mount or user namespace",
            ),
        ] {
            assert_eq!(failed(&clone(flags), Errno::EINVAL), rule);
        }
        assert_eq!(
            failed(&clone(17), Errno(513)),
            "nothing created: a signal came first, the kernel repeats the call"
        );
        assert!(failed(&clone(0x3d0f00), Errno::EAGAIN).starts_with("no thread created: a limit"));
    }

    #[test]
    fn what_was_found_out_is_said_instead() {
        let why = [Cause::certain(Reason::ThreadsMax { max: 9, tasks: 9 })];
        assert_eq!(
            failed_by(&clone(0x3d0f00), Errno::EAGAIN, &why),
            "no thread created: kernel.threads-max 9, tasks on the system 9"
        );
        for (errno, why) in [(Errno::EAGAIN, &[][..]), (Errno(513), &why[..])] {
            let thread = clone(0x3d0f00);
            assert_eq!(failed_by(&thread, errno, why), failed(&thread, errno));
        }
    }

    /// What clone3 with these flags, and with no exit signal, fails for.
    fn clone3(flags: CloneFlags, errno: Errno) -> String {
        let mut bytes = flags.0.to_le_bytes().to_vec();
        bytes.resize(88, 0);
        let call = Syscall {
            abi: Abi::X86_64,
            nr: 435,
            args: [0x4000, 88, 0, 0, 0, 0],
        };
        let request = decode(call, &mut Regions(vec![(0x4000, bytes)]), 32).unwrap();
        failed(&request, errno)
    }

    #[test]
    fn rules_of_old_and_of_new_kernels_are_both_told() {
        assert_eq!(
            clone3(CloneFlags::AUTOREAP | CloneFlags::PARENT, Errno::EINVAL),
            "no process created: flag bits that the kernel doesn't know (before Linux 7.1), or \
             CLONE_AUTOREAP doesn't go with CLONE_THREAD or CLONE_PARENT"
        );
        assert_eq!(
            clone3(CloneFlags::NNP, Errno::EINVAL),
            "no process created: flag bits that the kernel doesn't know (before Linux 7.1)"
        );
        // Here it is the same on all.
        assert_eq!(
            clone3(CloneFlags::NNP | CloneFlags::SIGHAND, Errno::EINVAL),
            "no process created: CLONE_SIGHAND needs CLONE_VM"
        );
        assert!(
            clone3(CloneFlags::EMPTY_MNTNS, Errno::EPERM)
                .starts_with("no process created: new namespaces need privileges")
        );
    }

    #[test]
    fn cgroups_may_refuse() {
        for (errno, text) in [
            (Errno::EBUSY, "domain controller"),
            (Errno::EOPNOTSUPP, "domain invalid"),
        ] {
            assert!(
                clone3(CloneFlags::INTO_CGROUP, errno).contains(text),
                "{errno}"
            );
        }
    }
}
