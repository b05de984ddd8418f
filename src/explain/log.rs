//! A whole log of strace or forktrace, line by line: which lines create a
//! thread or process, and what each means. Pure: lines in, meanings out.

use std::collections::HashMap;

use super::parse::{self, Parsed, Returned};
use super::prefix;
use crate::clone::meaning::{self, Known, Untraced};
use crate::clone::{Body, Clone3, Kind, Request, Spec};
use crate::ids::Pid;

/// What is known of a log so far.
#[derive(Debug, Default)]
pub struct Log {
    /// Calls that have begun and not returned, by thread: their texts.
    unfinished: HashMap<Option<i32>, String>,
    /// A call whose line strace broke to tell of a new process: the next line
    /// goes on with it.
    broken: Option<(Option<i32>, String)>,
    /// The processes of threads, as far as the log tells for certain.
    processes: HashMap<i32, Pid>,
}

/// How strace marks a call that returns on a later line.
const UNFINISHED: &str = "<unfinished ...>";

/// A call whose line strace broke to say `strace: Process 12 attached` (older
/// ones without their name): what stands before that.
fn before_attached(text: &str) -> Option<&str> {
    let (head, pid) = text.strip_suffix(" attached")?.rsplit_once("Process ")?;
    let told = !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
    told.then(|| match head.strip_suffix(": ") {
        Some(named) => before_name(named),
        None => head,
    })
}

/// A call behind which strace's name stands, as it was called: `strace`, or a path.
/// There is nothing between, so the call is the longest text that is one.
fn before_name(text: &str) -> &str {
    /// No text is longer that has to be tried at each place.
    const LONGEST: usize = 1 << 13;
    let start = text
        .rfind([' ', ',', '|', '=', '(', '{'])
        .map_or(0, |last| last + 1);
    let is_call = |head: &str| head.ends_with('(') || parse::call(&format!("{head})")).is_ok();
    let ends = text[start..]
        .char_indices()
        .rev()
        .map(|(index, _)| start + index);
    ends.take_while(|_| text.len() <= LONGEST)
        .find(|end| is_call(&text[..*end]))
        .map_or(text, |end| &text[..end])
}

/// Whether a line goes on with a call that was broken off.
fn goes_on(line: &str) -> bool {
    let resumes = line.starts_with("<... ");
    !resumes && line.starts_with([',', ')', '<', '=', '}', '{'])
        || line.starts_with("child_stack=")
        || line.starts_with("flags=")
}

/// A creating call in a log.
#[derive(Debug)]
pub struct Found {
    /// Its text from the name on, put together where it was on two lines.
    pub text: String,
    /// What that says.
    pub parsed: Parsed,
    /// The caller's process, if the log tells.
    pub caller: Option<Pid>,
}

impl Log {
    /// Takes the next line, its newline or not; its meaning, if it is the
    /// line of a creation that has none yet.
    pub fn line(&mut self, line: &[u8]) -> Option<String> {
        let found = self.find(line)?;
        if found.parsed.explained {
            return None;
        }
        words(&found.parsed, found.caller)
    }

    /// Takes the next line; the call on it, if it is the (last) line of one.
    pub fn find(&mut self, line: &[u8]) -> Option<Found> {
        // Any bytes may come; what is not UTF-8 is in no call of interest.
        let line = String::from_utf8_lossy(line);
        let line = prefix::uncoloured(line.trim_end_matches(['\r', '\n']));
        if let Some((tid, head)) = self.broken.take()
            && goes_on(line.trim_start())
        {
            return self.call(tid, head + &line);
        }
        let line = prefix::split(&line);
        let body = line.body;
        if parse::name(body).is_some() {
            return self.call(line.tid, body.to_owned());
        }
        if let Some(rest) = body.strip_prefix("<... ") {
            return self.resumed(line.tid, rest);
        }
        if let Some(tid) = line.tid {
            self.other(tid, body);
        }
        None
    }

    /// A call, from its name on.
    fn call(&mut self, tid: Option<i32>, text: String) -> Option<Found> {
        let text = text.trim_end();
        if let Some(head) = text.strip_suffix(UNFINISHED) {
            self.unfinished.insert(tid, head.trim_end().to_owned());
            return None;
        }
        if let Some(head) = before_attached(text) {
            self.broken = Some((tid, head.to_owned()));
            return None;
        }
        let text = text.replace(UNFINISHED, "");
        let parsed = parse::call(&text).ok()?;
        let caller = tid.and_then(|tid| self.processes.get(&tid)).copied();
        if let Returned::Child(Some(child)) = parsed.returned
            && parsed.request.is_decoded()
        {
            let process = match parsed.request.kind() {
                Kind::Thread => caller,
                _ => Some(Pid(child)),
            };
            self.learn(child, process);
        }
        Some(Found {
            text,
            parsed,
            caller,
        })
    }

    /// `<... clone resumed>, child_tidptr=0x7f00) = 12`; `text` begins with
    /// the name.
    fn resumed(&mut self, tid: Option<i32>, text: &str) -> Option<Found> {
        let (name, rest) = text.split_once(' ')?;
        let rest = rest.strip_prefix("resumed>")?;
        if name.starts_with("execve") {
            self.other(tid?, &format!("{name}({rest}"));
            return None;
        }
        let open = format!("{name}(");
        parse::name(&open)?;
        // The pid is left out while there is only one process.
        let head = [tid, None]
            .into_iter()
            .find(|tid| {
                self.unfinished
                    .get(tid)
                    .is_some_and(|head| head.starts_with(&open))
            })
            .and_then(|tid| self.unfinished.remove(&tid))
            // Its beginning is not in the log.
            .unwrap_or(open);
        self.call(tid, format!("{head}{rest}"))
    }

    fn learn(&mut self, tid: i32, process: Option<Pid>) {
        match process {
            Some(process) => self.processes.insert(tid, process),
            None => self.processes.remove(&tid),
        };
    }

    /// Lines that tell which thread belongs to which process.
    fn other(&mut self, tid: i32, body: &str) {
        if body.starts_with("execve") {
            if body.contains(") = 0") {
                // Whoever has come through an exec leads its process.
                self.learn(tid, Some(Pid(tid)));
            }
        } else if let Some(told) = body.strip_prefix("+++ ") {
            if told.starts_with("exited with ") || told.starts_with("killed by ") {
                self.processes.remove(&tid);
                self.unfinished.remove(&Some(tid));
            } else if let Some(other) = told.strip_prefix("superseded by execve in pid ") {
                let other = other.split(' ').next().and_then(|pid| pid.parse().ok());
                if let Some(other) = other {
                    self.processes.remove(&other);
                }
                self.learn(tid, Some(Pid(tid)));
            } else if told.starts_with("detached ") || told.starts_with("no longer shown ") {
                // Its end is not told, nor who gets its tid after it.
                self.processes.remove(&tid);
                self.unfinished.remove(&Some(tid));
            } else if told.starts_with("attached: ") {
                let leader = told
                    .rsplit_once("thread of ")
                    .and_then(|(_, pid)| pid.split([' ', ',']).next()?.parse().ok());
                self.learn(tid, Some(Pid(leader.unwrap_or(tid))));
            }
        }
    }
}

/// What a call means, whose caller belongs to this process; `None` where the
/// text doesn't say what came of it.
pub fn words(parsed: &Parsed, caller: Option<Pid>) -> Option<String> {
    Some(match parsed.returned {
        Returned::Unsaid => return None,
        Returned::Child(_) if is_untold(&parsed.request) => UNTOLD.to_owned(),
        Returned::Child(_) => meaning::made(&parsed.request, &known(parsed, caller)),
        Returned::InChild => "the call as it returns in the child".to_owned(),
        Returned::Error(errno) => meaning::failed(&parsed.request, errno),
        Returned::Never => "the caller was killed in the call".to_owned(),
    })
}

/// What is said of clone3 where the text has the address of its structure only.
pub const UNTOLD: &str = "a thread or process; the text doesn't tell clone3's arguments";

/// Whether the text has the address of clone3's structure only.
pub fn is_untold(request: &Request) -> bool {
    matches!(
        request.spec,
        Spec::Clone3(Clone3 {
            body: Body::Unreadable,
            ..
        })
    )
}

/// What is known of a call beside its request.
pub fn known(parsed: &Parsed, caller: Option<Pid>) -> Known {
    Known {
        caller,
        pidfd: parsed.pidfd,
        untraced: Untraced::Unseen,
        args: parsed.known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORK: &str = "process: memory copied on write, the caller's stack with it; files, cwd, \
                        signal handlers are copies; SIGCHLD to the parent at exit";
    const FORK2: &str = "; fork(2) itself, where glibc's fork() uses clone";

    /// The meanings of lines, each with the number of its line.
    fn meanings(log: &str) -> Vec<(usize, String)> {
        let mut state = Log::default();
        log.lines()
            .enumerate()
            .filter_map(|(index, line)| Some((index, state.line(line.as_bytes())?)))
            .collect()
    }

    #[test]
    fn a_meaning_stands_where_the_call_ends() {
        let log = "\
[pid 12] fork( <unfinished ...>
[pid 13] vfork( <unfinished ...>
[pid 13] <... read resumed>) = 3
[pid 12] <... fork resumed>) = 14
fork()                                  = 15
[pid 13] <... vfork resumed>) = ?
fork() = 16  # explained already
fork() = 0
";
        assert_eq!(
            meanings(log),
            [
                (3, format!("{FORK}{FORK2}")),
                (4, format!("{FORK}{FORK2}")),
                (5, "the caller was killed in the call".to_owned()),
                (7, "the call as it returns in the child".to_owned()),
            ]
        );
    }

    #[test]
    fn a_line_broken_by_a_notice_goes_on() {
        let log = "\
clone(child_stack=NULL, flags=SIGCHLDstrace: Process 12 attached
) = 12
[pid 11] clone(child_stack=NULL, flags=SIGCHLDstrace: Process 13 attached
 <unfinished ...>
[pid 11] <... clone resumed>) = 13
clone(Process 14 attached
child_stack=0, flags=SIGCHLD) = 14
clone(child_stack=NULL, flags=SIGCHLDstrace: Process 15 attached
[pid 15] read(3) = 0
";
        let lines: Vec<usize> = meanings(log).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 4, 6]);
    }

    /// strace calls itself what it was called by.
    #[test]
    fn a_notice_may_begin_with_a_path() {
        for name in [
            "strace: ",
            "",
            "/usr/bin/strace: ",
            "./strace: ",
            "bin/strace-7.2: ",
        ] {
            for (head, rest) in [
                ("fork(", ") = 12"),
                ("clone(", "child_stack=NULL, flags=SIGCHLD) = 12"),
                ("clone(child_stack=NULL, flags=CLONE_VM|SIGCHLD", ") = 12"),
                (
                    "clone(child_stack=NULL, flags=0x100 /* CLONE_VM */|17 /* SIGCHLD */",
                    ", child_tidptr=0x7f00) = 12",
                ),
                (
                    "clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x7f73, \
                     stack_size=0x9000}, 88",
                    ") = 12",
                ),
                ("clone3({flags=0, exit_signal=SIGCHLD}", ", 88) = 12"),
            ] {
                let whole = meanings(&format!("{head}{rest}"));
                let broken = meanings(&format!("{head}{name}Process 12 attached\n{rest}"));
                let words =
                    |found: &[(usize, String)]| found.first().map(|(_, words)| words.clone());
                assert_eq!(whole.len(), 1, "{head}");
                assert_eq!(words(&broken), words(&whole), "{head}{name}");
            }
        }
        // Where it is none: nothing is made up, however long it is.
        let long = format!("clone({}: Process 12 attached\n) = 12", "x".repeat(1 << 16));
        assert_eq!(meanings(&long), []);
    }

    #[test]
    fn a_call_begun_without_a_pid_ends_with_one() {
        let log = "\
clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>
[pid 13] <... clone resumed>) = 14
[pid 13] <... clone resumed>) = 15
[pid 13] <... vfork resumed>) = 16
";
        // Of the third line the arguments are not known; vfork has none.
        let lines: Vec<usize> = meanings(log).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 3]);
    }

    #[test]
    fn a_thread_is_told_of_its_process_where_the_log_tells_which() {
        let thread = |tid: i32, child: i32| {
            format!(
                "{tid} clone(child_stack=0x10, flags=CLONE_VM|CLONE_SIGHAND|CLONE_THREAD) = {child}"
            )
        };
        let of = |process: &str| {
            format!(
                "thread of {process}: shares memory, signal handlers; its own copy of files, cwd; \
                 on a stack given"
            )
        };
        let mut log = Log::default();
        let mut say = |line: &str| log.line(line.as_bytes());
        let unknown = Some(of("the caller's process"));
        assert_eq!(say(&thread(10, 11)), unknown);
        assert_eq!(say("20 execve(\"/bin/a\", [\"a\"], 0x7ffd) = 0"), None);
        assert_eq!(say(&thread(20, 21)), Some(of("20")));
        assert_eq!(say(&thread(21, 22)), Some(of("20")));
        say("21 fork() = 30");
        assert_eq!(say(&thread(30, 31)), Some(of("30")));
        say("22 +++ exited with 0 +++");
        assert_eq!(say(&thread(22, 23)), unknown);
        say("40 +++ attached: \"a\", thread of 39 +++");
        assert_eq!(say(&thread(40, 41)), Some(of("39")));
        say("42 +++ attached: thread of 39 +++");
        assert_eq!(say(&thread(42, 43)), Some(of("39")));
        say("40 +++ no longer shown +++");
        assert_eq!(say(&thread(40, 41)), unknown);
        say("42 +++ detached +++");
        assert_eq!(say(&thread(42, 43)), unknown);
        say("44 +++ attached +++");
        assert_eq!(say(&thread(44, 45)), unknown);
        // An exec by a thread: it goes on as the leader.
        say("[pid 31] execve(\"/bin/a\", [], 0x7f <unfinished ...>");
        say("[pid 30] +++ superseded by execve in pid 31 +++");
        say("[pid 30] <... execve resumed>) = 0");
        assert_eq!(say(&thread(30, 32)), Some(of("30")));
        assert_eq!(say(&thread(31, 33)), unknown);
    }

    #[test]
    fn all_else_has_none() {
        for line in [
            "",
            "read(3, \"fork() = 12\", 11) = 11",
            "myfork() = 3",
            "# fork() = 12",
            "--- SIGCHLD {si_signo=SIGCHLD} ---",
            " > /lib/libc.so.6(fork+0x4b) [0xd3ecb]",
            "strace: Process 12 attached",
            "clone(what) = 12",
            "fork()",
        ] {
            assert_eq!(Log::default().line(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Log::default().line(b"fork() = 1\xff"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_lines_are_taken(
            lines in proptest::collection::vec(
                "([\\[pid0-9\\] ]{0,9})(v?fork\\(|clone3?\\(|<\\.\\.\\. clone resumed>|execve|\\+\\+\\+ )?[ -~]{0,40}( = 1[0-9]?| <unfinished \\.\\.\\.>)?",
                0..20,
            ),
            bytes: Vec<u8>,
        ) {
            let mut log = Log::default();
            for line in &lines {
                let _ = log.line(line.as_bytes());
            }
            let _ = log.line(&bytes);
        }
    }
}
