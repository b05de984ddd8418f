//! Compiles the C fixtures when a test first needs them, once for all test binaries.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::program;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A static x86_64 program: no loader or shared library adds calls of its own.
pub(crate) fn fixture(name: &str) -> Option<String> {
    build(name, &["-static", "-pthread"])
}

/// A dynamically linked program, as most are.
pub(crate) fn dynamic_fixture(name: &str) -> Option<String> {
    build(name, &["-pthread"])
}

/// An i386 program without a C library, which needs no 32-bit libraries to build.
pub(crate) fn i386_fixture(name: &str) -> Option<String> {
    build(
        name,
        &[
            "-m32",
            "-nostdlib",
            "-static",
            "-ffreestanding",
            "-fno-pie",
            "-no-pie",
            "-Wl,--build-id=none",
        ],
    )
}

/// `None` (said aloud) without a compiler; a fixture that doesn't compile is an error.
fn build(name: &str, flags: &[&str]) -> Option<String> {
    let [cc] = program::need(["cc"])?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let source = sources.join(format!("{name}.c"));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixtures");
    std::fs::create_dir_all(&directory).expect("directory of fixtures");
    // One compiler at a time here; other test binaries meet us only at the rename.
    let _guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let stamp = stamp(&[&source, &sources.join("truth.h")], flags);
    let target = directory.join(format!("{name}-{stamp:016x}"));
    if !target.exists() {
        let temporary = directory.join(format!(
            ".{name}-{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        ));
        let output = Command::new(cc)
            .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&temporary)
            .args(flags)
            .arg(&source)
            .output()
            .expect("cc");
        assert!(
            output.status.success(),
            "{name}.c: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::rename(&temporary, &target).expect("rename of a fixture");
    }
    Some(path_text(&target))
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// FNV-1a over the sources and flags: an edited fixture gets another name.
fn stamp(files: &[&Path], flags: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    };
    for file in files {
        eat(&std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }
    for flag in flags {
        eat(flag.as_bytes());
    }
    hash
}

/// What a fixture says it created, and what failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) made: Vec<Made>,
    pub(crate) failed: Vec<(String, i32)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Made {
    pub(crate) case: String,
    pub(crate) parent: i32,
    pub(crate) child: i32,
}

impl Truth {
    pub(crate) fn parse(text: &str) -> Truth {
        let mut truth = Truth::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["made", case, parent, child] => truth.made.push(Made {
                    case: case.to_owned(),
                    parent: parent.parse().expect("a tid"),
                    child: child.parse().expect("a tid"),
                }),
                ["failed", case, errno] => {
                    truth
                        .failed
                        .push((case.to_owned(), errno.parse().expect("an errno")));
                }
                _ => {}
            }
        }
        truth
    }

    /// Every (parent, child), sorted.
    pub(crate) fn pairs(&self) -> Vec<(i32, i32)> {
        let mut pairs: Vec<_> = self
            .made
            .iter()
            .map(|made| (made.parent, made.child))
            .collect();
        pairs.sort_unstable();
        pairs
    }
}
