//! Compiles the C programs of `benches/fixtures`, anew at each start: that takes a second,
//! and a stale one would measure something else.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiled fixtures.
#[derive(Debug)]
pub(crate) struct Fixtures {
    directory: PathBuf,
}

const NAMES: [&str; 5] = ["floor", "forks", "threads", "spawns", "calls"];

impl Fixtures {
    /// The program of that name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        debug_assert!(NAMES.contains(&name));
        self.directory.join(name)
    }
}

/// # Errors
/// Where there is no C compiler, or it refuses one.
pub(crate) fn build_all(directory: &Path) -> Result<Fixtures, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/fixtures");
    let directory = directory.join("fixtures");
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("cannot create {}: {error}", directory.display()))?;
    for name in NAMES {
        // Dynamically linked, as most programs are.
        let output = Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
            .arg(directory.join(name))
            .arg(sources.join(format!("{name}.c")))
            .output()
            .map_err(|error| format!("cannot run cc: {error}; install a C compiler"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{name}.c does not compile: {errors}"));
        }
    }
    Ok(Fixtures { directory })
}
