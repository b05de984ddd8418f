//! Why an exec failed: the file, or one that it names, or the sizes.

use super::evidence::{ExecEvidence, Fact, Limit, Needed, Sizes, Status, Use, Verdict};
use super::image::{Head, MACHINES};
use super::path::End;
use super::reason::Role;
use super::{Cause, Causes, Reason, limits, sorted};
use crate::exec::{ExecCall, Text};
use crate::ids::Errno;

/// The most bytes of one string, its NUL included (`MAX_ARG_STRLEN`,
/// linux/binfmts.h).
pub const STRING_MAX: u64 = 131_072;
/// What all strings may have at least and at most, whatever RLIMIT_STACK is
/// (`bprm_stack_limits`, fs/exec.c).
const STRINGS_MIN: u64 = 131_072;
const STRINGS_MAX: u64 = 6 << 20;
/// A pointer of the kernel's, also to the strings of 32-bit programs.
const POINTER: u64 = 8;
/// How many interpreters may follow one another, the program not counted
/// (`exec_binprm`).
pub const INTERPRETERS_MAX: usize = 5;

/// What made an exec call fail with this error, as far as the evidence goes.
pub fn diagnose(call: &ExecCall, errno: Errno, evidence: &ExecEvidence) -> Causes {
    if errno.restart().is_some() {
        return vec![Cause::certain(Reason::Restarted)];
    }
    if evidence.verdict == Fact::Read(Verdict::Error(errno)) {
        return vec![Cause::certain(filter(evidence))];
    }
    let files = evidence.files.get().map_or(&[][..], Vec::as_slice);
    let found = match errno {
        Errno::ENOENT | Errno::ENOTDIR => first(files, |role, file| lost(errno, role, file)),
        Errno::ELOOP if interpreters(files) > INTERPRETERS_MAX => {
            Some(Cause::certain(Reason::InterpreterLoop))
        }
        Errno::ELOOP => first(files, |role, file| {
            let path = file.path.clone();
            (file.walk.end == End::Loop).then_some(Reason::LinkLoop { role, path })
        }),
        Errno::ENAMETOOLONG => match &call.path {
            Text::Bytes {
                bytes,
                truncated: false,
            } => Some(Cause::certain(Reason::NameTooLong {
                bytes: bytes.len() as u64,
            })),
            _ => None,
        },
        Errno::EACCES => first(files, |role, file| forbidden(role, file, evidence)),
        Errno::ENOEXEC | Errno::ELIBBAD => unknown_format(files),
        Errno::E2BIG => return too_large(call, evidence),
        Errno::ETXTBSY => written(files, evidence),
        Errno::EAGAIN => nproc(evidence),
        Errno::ENOMEM => Some(Cause::possible(Reason::NoMemory)),
        _ => None,
    };
    let mut causes: Causes = found.into_iter().collect();
    if causes.is_empty() && filter_may_answer(evidence) {
        causes.push(Cause::possible(filter(evidence)));
    }
    sorted(causes)
}

fn foreign_filters(evidence: &ExecEvidence) -> Option<u32> {
    let filters = evidence.status.get()?.filters?;
    Some(filters.saturating_sub(evidence.own_filters))
}

fn filter(evidence: &ExecEvidence) -> Reason {
    Reason::SeccompFilter {
        filters: foreign_filters(evidence).filter(|filters| *filters > 0),
    }
}

fn filter_may_answer(evidence: &ExecEvidence) -> bool {
    let decided = matches!(evidence.verdict, Fact::Read(Verdict::Passes));
    !decided && foreign_filters(evidence).is_some_and(|filters| filters > 0)
}

/// The first of the files with a reason, which is certain.
fn first(files: &[Needed], reason: impl Fn(Role, &Needed) -> Option<Reason>) -> Option<Cause> {
    let role = |index: usize| match index.checked_sub(1).map(|named| &files[named].head) {
        None => Role::Program,
        Some(Fact::Read(Head::Elf(_))) => Role::Loader,
        Some(_) => Role::Interpreter,
    };
    files
        .iter()
        .enumerate()
        .find_map(|(index, file)| reason(role(index), file))
        .map(Cause::certain)
}

fn interpreters(files: &[Needed]) -> usize {
    let script = |file: &&Needed| matches!(file.head, Fact::Read(Head::Script(_)));
    files.iter().filter(script).count()
}

fn lost(errno: Errno, role: Role, file: &Needed) -> Option<Reason> {
    match (errno, file.walk.end.clone()) {
        (Errno::ENOENT, End::Missing { path }) => Some(Reason::Missing { role, path }),
        (Errno::ENOENT, End::Dangling { path, target }) => {
            Some(Reason::Dangling { role, path, target })
        }
        (Errno::ENOTDIR, End::NotDirectory { path }) => Some(Reason::NotDirectory { role, path }),
        _ => None,
    }
}

fn forbidden(role: Role, file: &Needed, evidence: &ExecEvidence) -> Option<Reason> {
    let status: &Status = evidence.status.get()?;
    let closed = |(_, access): &&(String, super::evidence::Access)| {
        access.is_directory() && !access.permits(status, Use::Execute)
    };
    if let Some((path, access)) = file.walk.searched.iter().find(closed) {
        return Some(Reason::NoSearch {
            role,
            path: path.clone(),
            mode: access.permissions(),
            owner: access.uid,
            uid: status.fsuid,
        });
    }
    let End::File(access) = file.walk.end else {
        return None;
    };
    let path = file.path.clone();
    if !access.is_regular() {
        let kind = access.kind().to_owned();
        return Some(Reason::NotRegular { role, path, kind });
    }
    if file.noexec == Fact::Read(true) {
        return Some(Reason::NoexecMount { role, path });
    }
    (!access.permits(status, Use::Execute)).then(|| Reason::NoExecute {
        role,
        path,
        mode: access.permissions(),
        owner: access.uid,
        uid: status.fsuid,
    })
}

fn unknown_format(files: &[Needed]) -> Option<Cause> {
    /// `ET_EXEC` and `ET_DYN` (elf.h).
    const PROGRAMS: [u16; 2] = [2, 3];
    first(files, |role, file| {
        let path = file.path.clone();
        let text = |text| Reason::NoMagic {
            path: path.clone(),
            text,
        };
        Some(match file.head.get()? {
            Head::Empty if role != Role::Loader => Reason::EmptyFile { path },
            Head::Text if role != Role::Loader => text(true),
            Head::Other if role != Role::Loader => text(false),
            Head::NoInterpreter if role != Role::Loader => Reason::NoInterpreter { path },
            Head::Elf(elf) if !MACHINES.contains(&elf.machine) => Reason::OtherMachine {
                role,
                path,
                machine: elf.machine,
                bits: elf.bits,
            },
            Head::Elf(elf) if PROGRAMS.contains(&elf.kind) => return None,
            Head::Script(_) if role != Role::Loader => return None,
            _ => Reason::BrokenElf { role, path },
        })
    })
}

fn too_large(call: &ExecCall, evidence: &ExecEvidence) -> Causes {
    let Some(&Sizes {
        bytes,
        strings,
        longest,
    }) = evidence.sizes.get()
    else {
        return Causes::new();
    };
    let mut causes = Causes::new();
    if longest > STRING_MAX {
        causes.push(Cause::certain(Reason::LongString {
            bytes: longest,
            max: STRING_MAX,
        }));
    }
    let quarter = match evidence.stack.get() {
        Some(Limit::At(bytes)) => bytes / 4,
        Some(Limit::Unlimited) => u64::MAX,
        None => return causes,
    };
    let max = quarter.clamp(STRINGS_MIN, STRINGS_MAX);
    let path = match &call.path {
        Text::Bytes { bytes, .. } => bytes.len() as u64 + 1,
        Text::Null | Text::Unreadable(_) => 0,
    };
    let bytes = bytes + path + strings * POINTER;
    if bytes > max {
        causes.push(Cause::certain(Reason::LargeArguments { bytes, max }));
    }
    causes
}

fn written(files: &[Needed], evidence: &ExecEvidence) -> Option<Cause> {
    let writer = evidence.writers.get()?.first()?;
    Some(Cause::certain(Reason::OpenForWriting {
        path: files.first().map_or_else(String::new, |f| f.path.clone()),
        pid: writer.pid.0,
        comm: super::path::text(writer.comm.as_bytes()),
    }))
}

/// A program that changed its user while that one had too many tasks may not
/// exec (execve(2), EAGAIN).
fn nproc(evidence: &ExecEvidence) -> Option<Cause> {
    let status = evidence.status.get()?;
    let Some(&Limit::At(limit)) = evidence.nproc.get() else {
        return None;
    };
    if limits::is_exempt(status) {
        return None;
    }
    let tasks = evidence.user_tasks.get().copied();
    let reason = Reason::Nproc {
        uid: status.uid,
        limit,
        tasks,
    };
    Some(match tasks {
        Some(tasks) if tasks > limit => Cause::certain(reason),
        _ => Cause::possible(reason),
    })
}

#[cfg(test)]
mod tests;
