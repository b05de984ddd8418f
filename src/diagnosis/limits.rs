//! Limits on the number of tasks, in the order in which the kernel asks about
//! them (`copy_process`, kernel/fork.c): each is EAGAIN.

use super::evidence::{Capability, Evidence, Limit, PidsCgroup, Place, Status};
use super::{Cause, Causes, Certainty, Reason};
use crate::clone::rules::Version;

/// `SCHED_DEADLINE` (sched(7)).
const DEADLINE: u32 = 6;
/// Numbers below are given out only once, at the start (`RESERVED_PIDS`).
pub const RESERVED_PIDS: u64 = 300;
/// The first kernel in which each pid namespace has its own pid_max.
const OWN_PID_MAX: Version = Version(6, 14);

/// The limits that are reached; if none is, those that may have been, a moment
/// ago or for somebody whom the reader doesn't see.
pub fn reached(evidence: &Evidence) -> Causes {
    let mut causes = Causes::new();
    causes.extend(nproc(evidence));
    if let (Some(&max), Some(&tasks)) = (evidence.threads_max.get(), evidence.tasks.get())
        && tasks >= max
    {
        causes.push(Cause::certain(Reason::ThreadsMax { max, tasks }));
    }
    if let Some(scheduling) = evidence.scheduling.get()
        && scheduling.policy == DEADLINE
        && !scheduling.resets_on_fork
    {
        causes.push(Cause::certain(Reason::Deadline));
    }
    causes.extend(pid_max(evidence));
    causes.extend(cgroups(evidence));
    if causes
        .iter()
        .any(|cause| cause.certainty == Certainty::Certain)
    {
        causes.retain(|cause| cause.certainty == Certainty::Certain);
    }
    causes
}

/// RLIMIT_NPROC, if there is one and the kernel asks it of the caller: whether
/// its user's tasks decide.
pub fn nproc_limit(evidence: &Evidence) -> Option<u64> {
    let Some(&Limit::At(limit)) = evidence.nproc.get() else {
        return None;
    };
    let status = evidence.status.get()?;
    let initial = evidence
        .user_namespace
        .get()
        .is_none_or(|namespace| namespace.place == Place::Initial);
    (!initial || !is_exempt(status)).then_some(limit)
}

/// RLIMIT_NPROC, if it holds for the caller.
fn nproc(evidence: &Evidence) -> Option<Cause> {
    let limit = nproc_limit(evidence)?;
    let status = evidence.status.get()?;
    let tasks = evidence.user_tasks.get().copied();
    let reason = Reason::Nproc {
        uid: status.uid,
        limit,
        tasks,
    };
    // In a user namespace the limit that its creator had counts, too, and who is
    // root there is somebody else outside.
    Some(match tasks {
        Some(tasks) if tasks >= limit => Cause::certain(reason),
        _ => Cause::possible(reason),
    })
}

/// Whether limits on tasks don't hold for a thread of the first user namespace.
pub fn is_exempt(status: &Status) -> bool {
    status.uid == 0
        || status.capabilities.has(Capability::SYS_RESOURCE)
        || status.capabilities.has(Capability::SYS_ADMIN)
}

fn pid_max(evidence: &Evidence) -> Option<Cause> {
    let inner = evidence.status.get()?.ns_tgids.len() > 1;
    if inner {
        let own = evidence
            .release
            .get()
            .is_none_or(|release| *release >= OWN_PID_MAX);
        return own.then(|| Cause::possible(Reason::InnerPidMax));
    }
    let (&max, &tasks) = (evidence.pid_max.get()?, evidence.ns_tasks.get()?);
    let reason = Reason::PidMax { max, tasks };
    // Groups and sessions may keep numbers whose tasks are gone.
    if tasks + 1 >= max || (max > 4 * RESERVED_PIDS && tasks + RESERVED_PIDS >= max) {
        Some(Cause::certain(reason))
    } else if tasks + RESERVED_PIDS >= max {
        Some(Cause::possible(reason))
    } else {
        None
    }
}

fn cgroups(evidence: &Evidence) -> Causes {
    let groups = evidence.pids.get().map_or(&[][..], Vec::as_slice);
    let cause = |certainty, group: &PidsCgroup| Cause {
        certainty,
        reason: Reason::CgroupPids {
            path: group.path.clone(),
            max: group.max,
            current: group.current,
        },
    };
    // The kernel goes from the caller's up and stops at the first that is full.
    if let Some(full) = groups.iter().find(|group| group.current >= group.max) {
        return vec![cause(Certainty::Certain, full)];
    }
    // Others may have ended since.
    groups
        .iter()
        .filter(|group| group.current >= group.max - group.max / 10)
        .map(|group| cause(Certainty::Possible, group))
        .collect()
}
