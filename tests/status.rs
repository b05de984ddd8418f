//! The status line on a terminal: there while a view is silent, gone before it speaks, and
//! not there where it would be in somebody's way.

mod common;

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use common::program::need;
use common::run::{Run, Running, Stream, forktrace};
use nix::pty::Winsize;

/// forktrace on a terminal of its own.
struct Session {
    running: Running,
    keyboard: File,
    screen: Stream,
}

/// `None` (said aloud) where there is no setsid.
fn session(options: &[&str], command: &[&str]) -> Option<Session> {
    need(["setsid", "sh", "stty"])?;
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pair = nix::pty::openpty(Some(&size), None).expect("a terminal");
    let keyboard = File::from(pair.master);
    let screen = Stream::read(Some(keyboard.try_clone().expect("dup")));
    let copy = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("dup"));
    let binary = forktrace();
    let binary = binary.to_str().expect("a path in UTF-8");
    let words = ["setsid", "--ctty", "--wait", binary];
    let running = Run::new([&words, options, command].concat())
        .stdio(
            copy(&pair.slave),
            copy(&pair.slave),
            Stdio::from(pair.slave),
        )
        .start();
    Some(Session {
        running,
        keyboard,
        screen,
    })
}

impl Session {
    fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("keys");
    }

    #[track_caller]
    fn expect(&self, wanted: &str) {
        let screen = self.screen.wait_for(wanted);
        assert!(screen.contains(wanted), "no {wanted:?} in {screen:?}");
    }

    /// All that came on the screen.
    fn finish(mut self) -> String {
        self.running.wait();
        drop(self.keyboard);
        String::from_utf8_lossy(&self.screen.finish()).into_owned()
    }
}

const TREE: [&str; 4] = ["-f", "--color=never", "--as", "tree"];
/// Everything scrolls again.
const RELEASED: &str = "\x1b[r";

/// What came after the line was taken away for good.
#[track_caller]
fn after_the_line(screen: &str) -> &str {
    let (before, after) = screen
        .rsplit_once(RELEASED)
        .unwrap_or_else(|| panic!("{screen:?}"));
    assert!(before.contains("\x1b[1;23r"), "{screen:?}");
    let rest = after.strip_prefix("\x1b[24;1H\x1b[2K\x1b8");
    rest.unwrap_or_else(|| panic!("the line is not emptied: {screen:?}"))
}

#[test]
fn a_line_while_the_tree_is_silent() {
    let command = ["--", "sh", "-c", "/bin/true; read x; echo $x"];
    let Some(mut session) = session(&TREE, &command) else {
        return;
    };
    // It comes although nothing happens.
    session.expect("forktrace: 1 created, 1 alive, 0 failed, ");
    session.keys("it\n");
    let screen = session.finish();
    let after = after_the_line(&screen);
    assert!(
        after.contains(" sh -c '/bin/true; read x; echo $x'"),
        "{after:?}"
    );
    assert!(
        after.contains("/bin/true  # vfork, ") || after.contains("/bin/true  # fork, "),
        "{after:?}"
    );
    assert!(!after.contains('\x1b'), "{after:?}");
}

#[test]
fn interrupted_it_leaves_the_terminal_clean() {
    let Some(mut session) = session(&TREE, &["--", "sh", "-c", "read x"]) else {
        return;
    };
    session.expect("forktrace: 0 created, 1 alive, 0 failed, ");
    session.keys("\x03");
    let screen = session.finish();
    let after = after_the_line(&screen);
    assert!(
        after.contains(" sh -c 'read x'  # killed by SIGINT, "),
        "{after:?}"
    );
}

/// Told to leave what it is attached to, it shows what was seen.
#[test]
fn detached_it_shows_what_was_seen() {
    let Some([cat]) = need(["cat"]) else {
        return;
    };
    let mut running = Run::new([cat.as_str()])
        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
        .start();
    // Once it answers, its exec is over.
    let mut input = running.stdin();
    input.write_all(b"ready\n").expect("cat reads");
    running.wait_for_out("ready\n");
    let pid = running.pid().to_string();
    let Some(mut session) = session(&TREE, &["-p", &pid]) else {
        return;
    };
    session.expect("forktrace: 0 created, 1 alive, 0 failed, ");
    session.keys("\x03");
    let screen = session.finish();
    let after = after_the_line(&screen);
    assert!(
        after.contains(&format!("{pid} (cat)  # detached, attached, ")),
        "{after:?}"
    );
}

#[test]
fn none_where_it_would_be_in_the_way() {
    let draws = "stty raw -echo; sleep 1";
    let other = "sleep 1";
    let cases: [(&[&str], &str); 3] = [
        // A program that draws itself.
        (&TREE, draws),
        (&[&TREE[..], &["-q"]].concat(), other),
        // Lines go to the same place.
        (&["-f"], other),
    ];
    for (options, program) in cases {
        let Some(session) = session(options, &["--", "sh", "-c", program]) else {
            return;
        };
        let screen = session.finish();
        assert!(!screen.contains("forktrace: "), "{options:?}: {screen:?}");
        assert!(!screen.contains("\x1b[1;23r"), "{options:?}: {screen:?}");
    }
}

/// Nobody looks: not a byte of it.
#[test]
fn none_in_a_pipe() {
    let binary = forktrace();
    let binary = binary.to_str().expect("a path in UTF-8");
    let words = [&[binary][..], &TREE, &["--", "sleep", "1"]].concat();
    let outcome = Run::new(words).run();
    outcome.assert_code(0);
    assert!(
        !outcome.err().contains('\x1b') && outcome.err().contains("sleep 1  # 1.0"),
        "{outcome:?}"
    );
}
