//! A path as the kernel resolves it for another process: part by part, with that
//! one's root, working directory and links. A path below `/proc/PID/root` that
//! the kernel resolves for the reader would follow absolute links into the
//! reader's own root.
//!
//! Nothing is read here: a [`Files`] is asked, so that the rules are tested
//! without a file system.

use std::collections::VecDeque;

use super::evidence::Access;
use crate::ids::Errno;

/// Where a path starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The process's root directory.
    Root,
    /// Its working directory.
    Cwd,
    /// A descriptor of it.
    Fd(i32),
}

/// Answers about files, of one process. No path that is asked for has a link
/// before its last part; an empty one is the start itself.
pub trait Files {
    /// What is there, a link not followed.
    ///
    /// # Errors
    /// As lstat(2).
    fn look(&mut self, start: Start, path: &[u8]) -> Result<Access, Errno>;

    /// What a link says.
    ///
    /// # Errors
    /// As readlink(2).
    fn link(&mut self, start: Start, path: &[u8]) -> Result<Vec<u8>, Errno>;
}

/// A way through directories, and where it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// The directories that had to be searched, in order.
    pub searched: Vec<(String, Access)>,
    /// What was at the end.
    pub end: End,
    /// Where the file is, without links; as far as the walk came.
    pub at: (Start, Vec<u8>),
}

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a file or directory.
    File(Access),
    /// Nothing of that name is there.
    Missing {
        /// The path up to it.
        path: String,
    },
    /// A link leads to nothing.
    Dangling {
        /// The link.
        path: String,
        /// What it says.
        target: String,
    },
    /// Something on the way is no directory.
    NotDirectory {
        /// The path up to it.
        path: String,
    },
    /// Too many links.
    Loop,
    /// The path or a part of it is too long.
    TooLong,
    /// It can't be told.
    Unknown,
}

/// The most links that the kernel follows (`MAXSYMLINKS`, linux/namei.h).
const LINKS_MAX: usize = 40;
/// The longest name of a file (linux/limits.h).
const NAME_MAX: usize = 255;
/// The longest path, with its NUL.
const PATH_MAX: usize = 4096;
/// The type bits of a mode, and two of their values (stat.h).
const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFLNK: u32 = 0o120_000;

impl Access {
    /// Whether it is a directory.
    pub fn is_directory(self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    /// Whether it is a regular file.
    pub fn is_regular(self) -> bool {
        self.mode & S_IFMT == 0o100_000
    }

    fn is_link(self) -> bool {
        self.mode & S_IFMT == S_IFLNK
    }

    /// What it is, in a word.
    pub fn kind(self) -> &'static str {
        match self.mode & S_IFMT {
            0o010_000 => "fifo",
            0o020_000 => "character device",
            0o040_000 => "directory",
            0o060_000 => "block device",
            0o120_000 => "link",
            0o140_000 => "socket",
            _ => "file",
        }
    }
}

/// Bytes as text, what is not UTF-8 as U+FFFD.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A part of a path that is still to be gone.
struct Part {
    name: Vec<u8>,
    /// The link that it came from, and what that says.
    via: Option<(String, String)>,
}

fn parts(path: &[u8], via: Option<&(String, String)>) -> Vec<Part> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| Part {
            name: name.to_vec(),
            via: via.cloned(),
        })
        .collect()
}

/// Follows a path to its end. An empty one is the start itself, as with
/// AT_EMPTY_PATH.
pub fn walk(files: &mut dyn Files, from: Start, path: &[u8]) -> Walk {
    let start = if path.starts_with(b"/") {
        Start::Root
    } else {
        from
    };
    let mut walk = Walk {
        searched: Vec::new(),
        end: End::Unknown,
        at: (start, Vec::new()),
    };
    if path.len() >= PATH_MAX {
        walk.end = End::TooLong;
        return walk;
    }
    let mut left: VecDeque<Part> = parts(path, None).into();
    let mut needs_directory = path.ends_with(b"/");
    let mut links = 0;
    let mut here = match files.look(walk.at.0, b"") {
        Ok(access) => access,
        Err(_) => return walk,
    };
    while let Some(part) = left.pop_front() {
        if !here.is_directory() {
            walk.end = End::NotDirectory { path: walk.shown() };
            return walk;
        }
        walk.searched.push((walk.shown(), here));
        if part.name.len() > NAME_MAX {
            walk.end = End::TooLong;
            return walk;
        }
        // There the kernel sees the caller, and the reader itself.
        if walk.at.1 == b"proc" && matches!(&part.name[..], b"self" | b"thread-self") {
            return walk;
        }
        let before = walk.at.1.len();
        if part.name == b".." {
            walk.up();
        } else {
            if before > 0 {
                walk.at.1.push(b'/');
            }
            walk.at.1.extend_from_slice(&part.name);
        }
        here = match files.look(walk.at.0, &walk.at.1) {
            Ok(access) => access,
            Err(Errno::ENOENT) => {
                walk.end = match part.via {
                    Some((path, target)) => End::Dangling { path, target },
                    None => End::Missing { path: walk.shown() },
                };
                return walk;
            }
            Err(_) => return walk,
        };
        if !here.is_link() {
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            walk.end = End::Loop;
            return walk;
        }
        let Ok(target) = files.link(walk.at.0, &walk.at.1) else {
            return walk;
        };
        needs_directory |= left.is_empty() && target.ends_with(b"/");
        let via = part.via.unwrap_or((walk.shown(), text(&target)));
        if target.starts_with(b"/") {
            walk.at = (Start::Root, Vec::new());
        } else {
            walk.at.1.truncate(before);
        }
        here = match files.look(walk.at.0, &walk.at.1) {
            Ok(access) => access,
            Err(_) => return walk,
        };
        for part in parts(&target, Some(&via)).into_iter().rev() {
            left.push_front(part);
        }
    }
    walk.end = match needs_directory && !here.is_directory() {
        true => End::NotDirectory { path: walk.shown() },
        false => End::File(here),
    };
    walk
}

impl Walk {
    /// Where the walk is, as one would type it.
    pub fn shown(&self) -> String {
        let path = text(&self.at.1);
        match self.at.0 {
            Start::Root => format!("/{path}"),
            Start::Cwd if path.is_empty() => ".".to_owned(),
            Start::Cwd => path,
            Start::Fd(fd) if path.is_empty() => format!("descriptor {fd}"),
            Start::Fd(fd) => format!("{path} in descriptor {fd}"),
        }
    }

    /// To the directory above. Beyond a start that is not the root only the
    /// kernel knows what that is.
    fn up(&mut self) {
        let (start, path) = &mut self.at;
        let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if path.is_empty() && *start == Start::Root {
            return;
        }
        if path.is_empty() || last == b".." {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(b"..");
            return;
        }
        let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        path.truncate(end);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Files as a test describes them: path from the root, mode, link.
    #[derive(Default)]
    pub(crate) struct Made(pub(crate) BTreeMap<String, (u32, String)>);

    impl Made {
        pub(crate) fn new(files: &[(&str, u32, &str)]) -> Made {
            let of = |(path, mode, link): &(&str, u32, &str)| {
                ((*path).to_owned(), (*mode, (*link).to_owned()))
            };
            Made(files.iter().map(of).collect())
        }

        fn find(&self, start: Start, path: &[u8]) -> Result<(u32, String), Errno> {
            let path = text(path);
            let key = match start {
                Start::Root => path,
                // The working directory is /home.
                _ if path.is_empty() => "home".to_owned(),
                _ if path == ".." => String::new(),
                _ => match path.strip_prefix("../") {
                    Some(rest) => rest.to_owned(),
                    None => format!("home/{path}"),
                },
            };
            if key.is_empty() {
                return Ok((0o040_755, String::new()));
            }
            self.0.get(&key).cloned().ok_or(Errno::ENOENT)
        }
    }

    impl Files for Made {
        fn look(&mut self, start: Start, path: &[u8]) -> Result<Access, Errno> {
            let (mode, _) = self.find(start, path)?;
            let uid = 0;
            let gid = 0;
            Ok(Access { mode, uid, gid })
        }

        fn link(&mut self, start: Start, path: &[u8]) -> Result<Vec<u8>, Errno> {
            self.find(start, path).map(|(_, link)| link.into_bytes())
        }
    }

    const DIR: u32 = 0o040_755;
    const FILE: u32 = 0o100_755;
    const LINK: u32 = 0o120_777;

    fn files() -> Made {
        Made::new(&[
            ("bin", LINK, "usr/bin"),
            ("usr", DIR, ""),
            ("usr/bin", DIR, ""),
            ("usr/bin/sh", LINK, "dash"),
            ("usr/bin/dash", FILE, ""),
            ("usr/bin/gone", LINK, "/opt/none/x"),
            ("usr/bin/a", LINK, "b"),
            ("usr/bin/b", LINK, "a"),
            ("opt", DIR, ""),
            ("home", DIR, ""),
            ("home/run", LINK, "../usr/bin/dash"),
            ("home/file", FILE, ""),
            ("proc", DIR, ""),
            ("proc/self", LINK, "1"),
        ])
    }

    fn end(path: &str) -> End {
        walk(&mut files(), Start::Cwd, path.as_bytes()).end
    }

    #[test]
    fn links_are_followed_in_the_processs_own_root() {
        let walk = walk(&mut files(), Start::Cwd, b"/bin/sh");
        assert!(matches!(walk.end, End::File(access) if access.mode == FILE));
        assert_eq!(walk.at, (Start::Root, b"usr/bin/dash".to_vec()));
        let searched: Vec<&str> = walk.searched.iter().map(|(path, _)| &path[..]).collect();
        assert_eq!(searched, ["/", "/", "/usr", "/usr/bin", "/usr/bin"]);
    }

    #[test]
    fn ends_that_are_none() {
        let missing = |path: &str| End::Missing {
            path: path.to_owned(),
        };
        for (path, expected) in [
            ("/usr/bin/nope", missing("/usr/bin/nope")),
            ("/nope/x/y", missing("/nope")),
            ("nope", missing("nope")),
            (
                "/bin/gone",
                End::Dangling {
                    path: "/usr/bin/gone".to_owned(),
                    target: "/opt/none/x".to_owned(),
                },
            ),
            (
                "file/x",
                End::NotDirectory {
                    path: "file".to_owned(),
                },
            ),
            (
                "file/",
                End::NotDirectory {
                    path: "file".to_owned(),
                },
            ),
            ("/bin/a", End::Loop),
            (&"x".repeat(256), End::TooLong),
            (&"x/".repeat(2048), End::TooLong),
            ("/proc/self/exe", End::Unknown),
        ] {
            assert_eq!(end(path), expected, "{path}");
        }
    }

    #[test]
    fn relative_paths_start_where_the_process_is() {
        for path in [
            "file",
            "./file",
            "run",
            "../usr/bin/sh",
            "../home/file",
            "/../usr/bin/dash",
            "/usr/../usr/bin/./dash",
        ] {
            assert!(matches!(end(path), End::File(_)), "{path}: {:?}", end(path));
        }
        assert!(matches!(end(".."), End::File(access) if access.is_directory()));
        assert!(matches!(end(""), End::File(access) if access.is_directory()));
    }
}
