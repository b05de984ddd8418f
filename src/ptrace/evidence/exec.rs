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

use super::{Caller, errno, tasks};
use crate::diagnosis::evidence::{Access, ExecEvidence, Fact, Needed, Verdict};
use crate::diagnosis::exec::INTERPRETERS_MAX;
use crate::diagnosis::image::{HEAD_SIZE, Head};
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
            if errno == Errno::ETXTBSY
                && let Some(file) = files.first()
                && let Ok(file) = std::fs::metadata(place(caller, &file.walk.at))
            {
                evidence.writers = Fact::Read(tasks::writers(file.dev(), file.ino()));
            }
            evidence.files = Fact::Read(files);
        }
        _ => {}
    }
    evidence
}

/// Whether there is no file with an absolute path, in the caller's root: four
/// calls, however long the path is.
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
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
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
    let mut files = Vec::new();
    let mut next = Some((from, program.to_vec()));
    while let Some((from, path)) = next.take() {
        let file = needed(caller, from, &path);
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

fn needed(caller: Caller, from: Start, path: &[u8]) -> Needed {
    let walk = walk(&mut Seen(caller), from, path);
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

/// Files as the caller sees them.
struct Seen(Caller);

impl Files for Seen {
    fn look(&mut self, start: Start, path: &[u8]) -> Result<Access, Errno> {
        let at = place(self.0, &(start, path.to_vec()));
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
        let link = std::fs::read_link(place(self.0, &(start, path.to_vec())));
        match link {
            Ok(link) => Ok(link.into_os_string().as_bytes().to_vec()),
            Err(error) => Err(errno(&error)),
        }
    }
}
