//! Runs a command so that no test can hang or leave a process behind: every process
//! carries a mark in its environment, by which the whole tree is found and killed.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const MARK: &str = "FORKTRACE_TEST_RUN";
/// Fixed, so that a trace of a search along `PATH` is the same everywhere.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const TIMEOUT: Duration = Duration::from_secs(60);

static COUNTER: AtomicU32 = AtomicU32::new(0);

fn unique() -> String {
    format!(
        "{}-{}",
        std::process::id(),
        COUNTER.fetch_add(1, Ordering::Relaxed)
    )
}

pub(crate) fn forktrace() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_forktrace"))
}

/// A directory of one test's own, gone with the value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scratch-{}", unique()));
        std::fs::create_dir_all(&path).expect("scratch directory");
        Scratch(path)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("file in scratch directory");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A directory that every user may enter, for what is to be run by another one.
pub(crate) struct OpenScratch(PathBuf);

impl OpenScratch {
    pub(crate) fn new() -> OpenScratch {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("forktrace-test-{}", unique()));
        std::fs::create_dir(&path).expect("scratch directory");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        OpenScratch(path)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    /// A copy of a program here, with these permissions.
    pub(crate) fn copy(&self, program: &Path, mode: u32) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(program.file_name().expect("a name"));
        // By another process: a descriptor for writing of this one's would be, for a
        // moment, one of what other tests fork just now too, and then the program can't
        // be executed (ETXTBSY).
        let copied = Command::new("cp").arg(program).arg(&path).status();
        assert!(copied.expect("cp").success(), "cp");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        path.to_str().expect("a path in UTF-8").to_owned()
    }
}

impl Drop for OpenScratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until nobody can read a pipe any more. Closing the one end is not enough: a child
/// that another test forks just now has a copy of it until its exec.
pub(crate) fn until_unread(writer: &std::io::PipeWriter) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut watched = [PollFd::new(writer.as_fd(), PollFlags::empty())];
    let found = poll(&mut watched, PollTimeout::from(30_000_u16)).expect("poll");
    assert_eq!(found, 1, "a pipe has a reader that nobody knows of");
}

/// A command to run, in a small fixed environment and a process group of its own.
pub(crate) struct Run {
    pub(crate) command: Command,
    mark: String,
    timeout: Duration,
    text: Vec<OsString>,
}

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) pid: i32,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Processes of the run that lived on when the command and all output had ended.
    pub(crate) left: Vec<i32>,
}

impl Outcome {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Outcome {
        assert_eq!(
            self.status.code(),
            Some(code),
            "wrong status {:?}\n--- stdout\n{}--- stderr\n{}",
            self.status,
            shortened(&self.out()),
            shortened(&self.err())
        );
        self
    }
}

/// The end of a long text, for messages.
pub(crate) fn shortened(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(40);
    let mut out = if start > 0 {
        format!("... {start} lines ...\n")
    } else {
        String::new()
    };
    for line in &lines[start..] {
        out.push_str(line);
        out.push('\n');
    }
    out
}

impl Run {
    pub(crate) fn new<I, S>(argv: I) -> Run
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let text: Vec<OsString> = argv.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let mark = unique();
        let mut command = Command::new(&text[0]);
        command
            .args(&text[1..])
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", env!("CARGO_TARGET_TMPDIR"))
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm")
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        Run {
            command,
            mark,
            timeout: TIMEOUT,
            text,
        }
    }

    pub(crate) fn cwd(mut self, directory: &Path) -> Run {
        self.command.current_dir(directory);
        self
    }
    pub(crate) fn env(mut self, name: &str, value: &str) -> Run {
        self.command.env(name, value);
        self
    }
    pub(crate) fn timeout(mut self, timeout: Duration) -> Run {
        self.timeout = timeout;
        self
    }
    pub(crate) fn stdio(mut self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Run {
        self.command.stdin(stdin).stdout(stdout).stderr(stderr);
        self
    }

    pub(crate) fn run(self) -> Outcome {
        self.start().finish()
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {:?}: {error}", self.text));
        // The command keeps its own copies of descriptors it was given: close them.
        drop(self.command);
        let stdout = Stream::read(child.stdout.take());
        let stderr = Stream::read(child.stderr.take());
        let (stop, stopped) = channel::<()>();
        let expired = Arc::new(AtomicBool::new(false));
        let watchdog = std::thread::spawn({
            let (mark, expired, timeout) = (self.mark.clone(), expired.clone(), self.timeout);
            let root = child.id();
            move || {
                if stopped.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
                    expired.store(true, Ordering::SeqCst);
                    kill_tree(&mark, Some(root));
                }
            }
        });
        Running {
            child,
            mark: self.mark,
            text: self.text,
            stdout,
            stderr,
            stop: Some(stop),
            watchdog: Some(watchdog),
            expired,
            reaped: false,
        }
    }
}

/// A command under way; dropped, it and all that came of it are killed.
pub(crate) struct Running {
    child: Child,
    mark: String,
    text: Vec<OsString>,
    stdout: Stream,
    stderr: Stream,
    stop: Option<Sender<()>>,
    watchdog: Option<JoinHandle<()>>,
    expired: Arc<AtomicBool>,
    reaped: bool,
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Blocks until the command's standard output contains `wanted`.
    pub(crate) fn wait_for_out(&self, wanted: &str) -> String {
        let found = self.stdout.wait_for(wanted);
        assert!(
            found.contains(wanted),
            "{:?} ended without printing {wanted:?}: {found}",
            self.text
        );
        found
    }

    /// The same of its standard error.
    pub(crate) fn wait_for_err(&self, wanted: &str) {
        let found = self.stderr.wait_for(wanted);
        assert!(found.contains(wanted), "no {wanted:?} but {found:?}");
    }

    /// The command's standard input, where that is a pipe.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("a pipe as standard input")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("kill");
    }

    /// Waits for the end of the command itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("wait");
        self.reaped = true;
        status
    }

    /// Waits for the end of the command and of all output.
    pub(crate) fn finish(self) -> Outcome {
        self.try_finish().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same; that the time was up is an error.
    pub(crate) fn try_finish(mut self) -> Result<Outcome, String> {
        let pid = self.pid();
        let status = self.wait();
        let stdout = self.stdout.finish();
        let stderr = self.stderr.finish();
        self.halt_watchdog();
        if self.expired.load(Ordering::SeqCst) {
            return Err(format!(
                "timed out: {:?}\n--- stdout\n{}--- stderr\n{}",
                self.text,
                shortened(&String::from_utf8_lossy(&stdout)),
                shortened(&String::from_utf8_lossy(&stderr))
            ));
        }
        Ok(Outcome {
            pid,
            status,
            stdout,
            stderr,
            left: marked(&self.mark, None),
        })
    }

    fn halt_watchdog(&mut self) {
        drop(self.stop.take());
        if let Some(watchdog) = self.watchdog.take() {
            let _ = watchdog.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.halt_watchdog();
        kill_tree(&self.mark, (!self.reaped).then(|| self.child.id()));
        if !self.reaped {
            let _ = self.child.wait();
        }
    }
}

/// The bytes read so far from a pipe or terminal, and whether its end was seen.
#[derive(Default)]
struct Bytes {
    data: Vec<u8>,
    ended: bool,
}

pub(crate) struct Stream {
    shared: Arc<(Mutex<Bytes>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    pub(crate) fn read<R: Read + Send + 'static>(source: Option<R>) -> Stream {
        let shared = Arc::new((Mutex::new(Bytes::default()), Condvar::new()));
        let reader = source.map(|mut source| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 65536];
                loop {
                    let n = source.read(&mut buffer).unwrap_or(0);
                    let mut bytes = shared.0.lock().expect("reader lock");
                    bytes.data.extend_from_slice(&buffer[..n]);
                    bytes.ended = n == 0;
                    shared.1.notify_all();
                    if n == 0 {
                        return;
                    }
                }
            })
        });
        Stream { shared, reader }
    }

    pub(crate) fn wait_for(&self, wanted: &str) -> String {
        let mut bytes = self.shared.0.lock().expect("reader lock");
        loop {
            let text = String::from_utf8_lossy(&bytes.data).into_owned();
            if bytes.ended || text.contains(wanted) {
                return text;
            }
            bytes = self.shared.1.wait(bytes).expect("reader lock");
        }
    }

    /// The offset behind the first `wanted` from an offset on, or all the text if none
    /// comes.
    pub(crate) fn wait_for_after(&self, from: usize, wanted: &str) -> Result<usize, String> {
        let mut bytes = self.shared.0.lock().expect("reader lock");
        loop {
            let found = bytes.data[from..]
                .windows(wanted.len())
                .position(|window| window == wanted.as_bytes());
            if let Some(at) = found {
                return Ok(from + at + wanted.len());
            }
            if bytes.ended {
                return Err(String::from_utf8_lossy(&bytes.data).into_owned());
            }
            bytes = self.shared.1.wait(bytes).expect("reader lock");
        }
    }

    /// What was read between two offsets.
    pub(crate) fn text(&self, from: usize, to: usize) -> String {
        let bytes = self.shared.0.lock().expect("reader lock");
        String::from_utf8_lossy(&bytes.data[from..to]).into_owned()
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        std::mem::take(&mut self.shared.0.lock().expect("reader lock").data)
    }
}

/// Kills every process that carries the mark, `root`, and their descendants, until no
/// more are found: what a killed one had just created is found the next time round.
fn kill_tree(mark: &str, root: Option<u32>) {
    for _ in 0..1000 {
        let found = marked(mark, root);
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = writeln!(
        std::io::stderr(),
        "processes of test run {mark} can't be killed"
    );
}

/// The living (not zombie) processes of a run.
fn marked(mark: &str, root: Option<u32>) -> Vec<i32> {
    let needle = format!("{MARK}={mark}\0").into_bytes();
    let mut parents = Vec::new();
    let mut ours: Vec<i32> = Vec::new();
    let Ok(proc) = std::fs::read_dir("/proc") else {
        return ours;
    };
    for entry in proc.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else {
            continue;
        };
        let stat = String::from_utf8_lossy(&stat).into_owned();
        let Some((_, after)) = stat.rsplit_once(") ") else {
            continue;
        };
        let mut fields = after.split(' ');
        let zombie = matches!(fields.next(), Some("Z" | "X"));
        let parent: i32 = fields
            .next()
            .and_then(|field| field.parse().ok())
            .unwrap_or(0);
        parents.push((pid, parent, zombie));
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let starts = environ.starts_with(&needle);
        let has = starts
            || environ
                .windows(needle.len() + 1)
                .any(|window| window[0] == 0 && window[1..] == needle[..]);
        if has || Some(pid) == root.and_then(|root| i32::try_from(root).ok()) {
            ours.push(pid);
        }
    }
    loop {
        let more: Vec<i32> = parents
            .iter()
            .filter(|(pid, parent, _)| ours.contains(parent) && !ours.contains(pid))
            .map(|(pid, _, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        ours.extend(more);
    }
    ours.retain(|pid| {
        parents
            .iter()
            .any(|(known, _, zombie)| known == pid && !zombie)
    });
    ours
}
