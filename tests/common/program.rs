//! Finds the programs that tests trace; what is absent is skipped aloud, never silently.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The program itself, not a wrapper script of some version manager in front of it:
/// such a wrapper forks a dozen times before the program that the test is about.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let everywhere = std::env::var("PATH").unwrap_or_default();
    super::run::PATH
        .split(':')
        .chain(everywhere.split(':'))
        .map(|directory| Path::new(directory).join(name))
        .find(|path| is_executable(path) && !is_script(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

pub(crate) fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok()
        && &start == b"#!"
}

/// The paths of all the programs, or `None` after saying what is missing.
pub(crate) fn need<const N: usize>(names: [&str; N]) -> Option<[String; N]> {
    let mut missing = None;
    let found = names.map(|name| match find(name) {
        Some(path) => path.to_string_lossy().into_owned(),
        None => {
            missing.get_or_insert(name.to_owned());
            String::new()
        }
    });
    match missing {
        None => Some(found),
        Some(name) => {
            skip(&name);
            None
        }
    }
}

/// Root's powers are a need like a program.
pub(crate) fn need_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    skip("root");
    false
}

pub(crate) fn skip(what: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    if std::env::var_os("FORKTRACE_TESTS_REQUIRE_ALL").is_some_and(|value| value == "1") {
        panic!("{test} needs {what}, and FORKTRACE_TESTS_REQUIRE_ALL=1 allows no skipping");
    }
    // Not eprintln: libtest would keep it to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: needs {what}");
}
