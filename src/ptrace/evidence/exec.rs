//! Evidence of why an exec failed: the files that it needed, found as the kernel
//! found them, in the caller's own root and working directory.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};

use super::{Caller, errno, link, namespace, tasks};
use crate::diagnosis::evidence::{Access, ExecEvidence, Fact, Needed, Verdict};
use crate::diagnosis::exec::INTERPRETERS_MAX;
use crate::diagnosis::image::{HEAD_SIZE, Head};
use crate::diagnosis::parse::{self, Served};
use crate::diagnosis::path::{self, End, Files, Start, Walk, walk};
use crate::exec::{ExecCall, Text};
use crate::ids::Errno;
use crate::memory::Memory;

/// What there is to know of an exec that failed with an error.
pub(in crate::ptrace) fn of_exec(
    caller: Caller,
    call: &ExecCall,
    errno: Errno,
    memory: &mut dyn Memory,
) -> ExecEvidence {
    let Text::Bytes { bytes: path, .. } = &call.path else {
        return ExecEvidence::default();
    };
    if errno.restart().is_some() {
        return ExecEvidence::default();
    }
    // A search along PATH fails like this again and again.
    if errno == Errno::ENOENT && is_absent(caller, path) {
        return ExecEvidence {
            files: Fact::Read(vec![absent(path)]),
            ..ExecEvidence::default()
        };
    }
    let status = caller.status();
    let mut evidence = ExecEvidence {
        verdict: caller.verdict(&status, call.syscall.as_ref()),
        status,
        own_filters: caller.own_filters,
        ..ExecEvidence::default()
    };
    if evidence.verdict == Fact::Read(Verdict::Error(errno)) {
        return evidence;
    }
    match errno {
        Errno::E2BIG => {
            evidence.sizes = match crate::exec::sizes(call, memory) {
                Some(sizes) => Fact::Read(sizes),
                None => Fact::Unreadable(Errno::EFAULT),
            };
            evidence.stack = caller.limit("Max stack size");
        }
        Errno::EAGAIN => {
            evidence.nproc = caller.limit("Max processes");
            if let Some(status) = evidence.status.get() {
                evidence.user_tasks = Fact::Read(tasks::count(status.uid).of_user);
            }
        }
        Errno::ENOENT
        | Errno::ENOTDIR
        | Errno::ELOOP
        | Errno::EACCES
        | Errno::ENOEXEC
        | Errno::ELIBBAD
        | Errno::ETXTBSY => {
            let files = files(caller, call, path);
            // Only a walk that came to its end knows where the file is.
            if errno == Errno::ETXTBSY
                && let Some(file) = files.first()
                && matches!(file.walk.end, End::File(_))
                && let Ok(file) = std::fs::metadata(place(caller, &file.walk.at))
            {
                let writers = tasks::look(|| tasks::writers(file.dev(), file.ino()));
                evidence.writers = writers.map_or(Fact::NotRead, Fact::Read);
            }
            evidence.files = Fact::Read(files);
        }
        _ => {}
    }
    evidence
}

/// `RESOLVE_CACHED` (openat2(2)), since Linux 5.12.
const CACHED: ResolveFlag = ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED);

/// Whether there is no file with an absolute path, in the caller's root: four
/// calls, however long the path is. Only if the kernel remembers, as it does just
/// after the caller asked: so nobody has to answer who may be stopped.
fn is_absent(caller: Caller, path: &[u8]) -> bool {
    let Some(below) = path.strip_prefix(b"/") else {
        return false;
    };
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let Ok(root) = open(caller.path("root").as_str(), flags, Mode::empty()) else {
        return false;
    };
    let how = OpenHow::new()
        .flags(flags | OFlag::O_NOFOLLOW)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | CACHED);
    openat2(&root, below, how).err() == Some(nix::errno::Errno::ENOENT)
}

fn absent(path: &[u8]) -> Needed {
    let path = path::text(path);
    Needed {
        walk: Walk {
            searched: Vec::new(),
            end: End::Missing { path: path.clone() },
            at: (Start::Root, Vec::new()),
        },
        path,
        head: Fact::NotRead,
        noexec: Fact::NotRead,
    }
}

/// The program, then what it names, and what that names.
fn files(caller: Caller, call: &ExecCall, program: &[u8]) -> Vec<Needed> {
    let (from, empty_is_start) = match call.at() {
        None | Some((libc::AT_FDCWD, _)) => (Start::Cwd, false),
        Some((fd, flags)) => (Start::Fd(fd), flags & libc::AT_EMPTY_PATH != 0),
    };
    if program.is_empty() && !empty_is_start {
        return vec![absent(b"the empty path")];
    }
    let mut seen = Seen::by(caller);
    let mut files = Vec::new();
    let mut next = Some((from, program.to_vec()));
    while let Some((from, path)) = next.take() {
        let file = needed(&mut seen, from, &path);
        next = match &file.head {
            // Its path is relative to the working directory, whoever names it.
            Fact::Read(Head::Script(interpreter)) => Some((Start::Cwd, interpreter.clone())),
            Fact::Read(Head::Elf(elf)) => elf.loader.clone().map(|path| (Start::Cwd, path)),
            _ => None,
        };
        let loader = matches!(
            files.last().map(|last: &Needed| &last.head),
            Some(Fact::Read(Head::Elf(_)))
        );
        files.push(file);
        // A loader's own loader is not looked at.
        if loader || files.len() > INTERPRETERS_MAX + 1 {
            break;
        }
    }
    files
}

fn needed(seen: &mut Seen, from: Start, path: &[u8]) -> Needed {
    let caller = seen.caller;
    let walk = walk(seen, from, path);
    let (mut head, mut noexec) = (Fact::NotRead, Fact::NotRead);
    // Nothing else is opened: it might block, or do something.
    if let End::File(access) = walk.end
        && access.is_regular()
    {
        let place = place(caller, &walk.at);
        head = Fact::from(read_head(&place));
        noexec = Fact::from(
            statvfs(&place)
                .map(|system| system.flags().contains(FsFlags::ST_NOEXEC))
                .map_err(|errno| Errno(errno as i32)),
        );
    }
    Needed {
        path: match path {
            [] => walk.shown(),
            _ => path::text(path),
        },
        walk,
        head,
        noexec,
    }
}

fn read_head(place: &Path) -> Result<Head, Errno> {
    let file = File::open(place).map_err(|error| errno(&error))?;
    let mut bytes = [0; HEAD_SIZE];
    let read = |at: u64, buffer: &mut [u8]| {
        let mut got = 0;
        while let Ok(more @ 1..) = file.read_at(&mut buffer[got..], at + got as u64) {
            got += more;
        }
        got
    };
    let got = read(0, &mut bytes);
    let mut head = Head::parse(&bytes[..got]);
    if let Head::Elf(elf) = &mut head {
        elf.read_loader(&mut |at, buffer| read(at, buffer));
    }
    Ok(head)
}

/// Where a file of the caller is for the reader.
fn place(caller: Caller, (start, path): &(Start, Vec<u8>)) -> PathBuf {
    let mut place = PathBuf::from(match start {
        Start::Root => caller.path("root"),
        Start::Cwd => caller.path("cwd"),
        Start::Fd(fd) => caller.path(&format!("fd/{fd}")),
    });
    if !path.is_empty() {
        place.push(OsStr::from_bytes(path));
    }
    place
}

/// Files as the caller sees them, but for those that a process answers for: it
/// may be a tracee, and stopped.
struct Seen {
    caller: Caller,
    served: Served,
    /// Whether paths are the same for the caller and the reader.
    roots: Roots,
}

/// Whether the caller's root is the reader's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Roots {
    Same,
    Different,
}

impl Seen {
    fn by(caller: Caller) -> Seen {
        let mounts = caller.text("mountinfo");
        let same = caller.namespace("mnt") == namespace("/proc/self/ns/mnt")
            && link(&caller.path("root")).as_deref() == Ok("/");
        Seen {
            caller,
            served: match &mounts {
                Fact::Read(text) => parse::served(text),
                // What can't be known is taken for the worst.
                Fact::NotRead | Fact::Unreadable(_) => Served::everywhere(),
            },
            roots: if same { Roots::Same } else { Roots::Different },
        }
    }

    /// Where a file is for the reader, if nobody has to answer for it.
    fn place(&self, start: Start, path: &[u8]) -> Result<PathBuf, Errno> {
        let place = place(self.caller, &(start, path.to_vec()));
        if self.served.is_empty() {
            return Ok(place);
        }
        let base = match start {
            Start::Root => "/".to_owned(),
            _ if self.roots == Roots::Different => return Err(Errno::EAGAIN),
            Start::Cwd => link(&self.caller.path("cwd"))?,
            Start::Fd(fd) => link(&self.caller.path(&format!("fd/{fd}")))?,
        };
        let whole = walked(&base, path);
        match base.starts_with('/') && !self.served.holds(&whole) {
            true => Ok(place),
            false => Err(Errno::EAGAIN),
        }
    }
}

/// A path below a directory; it has no links in it, and `..` at its start only.
fn walked(base: &str, path: &[u8]) -> String {
    let mut whole: Vec<String> = base.split('/').map(str::to_owned).collect();
    for part in path::text(path).split('/') {
        match part {
            ".." => drop(whole.pop()),
            part => whole.push(part.to_owned()),
        }
    }
    whole.retain(|part| !part.is_empty());
    format!("/{}", whole.join("/"))
}

impl Files for Seen {
    fn look(&mut self, start: Start, path: &[u8]) -> Result<Access, Errno> {
        let at = self.place(start, path)?;
        // The start itself is a link of /proc's.
        let found = match path {
            [] => std::fs::metadata(at),
            _ => std::fs::symlink_metadata(at),
        };
        match found {
            Ok(found) => Ok(Access::from(&found)),
            Err(error) => Err(errno(&error)),
        }
    }

    fn link(&mut self, start: Start, path: &[u8]) -> Result<Vec<u8>, Errno> {
        match std::fs::read_link(self.place(start, path)?) {
            Ok(link) => Ok(link.into_os_string().as_bytes().to_vec()),
            Err(error) => Err(errno(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::walked;

    #[test]
    fn paths_below_directories() {
        for (base, path, whole) in [
            ("/", "", "/"),
            ("/", "usr/bin", "/usr/bin"),
            ("/home/u", "x", "/home/u/x"),
            ("/home/u", "../v/x", "/home/v/x"),
            ("/home/u", "../../../x", "/x"),
        ] {
            assert_eq!(walked(base, path.as_bytes()), whole);
        }
    }
}
