//! One line on the terminal while the views are silent: how far the trace is.
//!
//! The program writes to the same terminal, where and when it likes. So the line
//! has a row of its own: the last one, which is taken out of what scrolls for as
//! long as it is used (DECSTBM, as apt does it). What the program writes is never
//! written over, nor torn by it. A program that draws on the screen itself (an
//! editor, a pager, a shell's prompt) has taken the terminal out of its usual
//! mode or is in another foreground group: then there is no line.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use terminal_size::{Height, Width, terminal_size_of};

use super::units::Span;
use crate::clone::Kind;
use crate::config::{Config, Destination, Detail, Glyphs, ViewKind};
use crate::event::{Event, EventKind, Followed, Outcome, Target};
use crate::ids::Pid;

/// The status line.
#[derive(Debug)]
pub struct Status {
    terminal: File,
    glyphs: Glyphs,
    started: Instant,
    due: Instant,
    /// The size of the terminal that the line is on.
    shown: Option<Size>,
    counts: Counts,
}

/// Columns and rows.
type Size = (u16, u16);

/// How long a run may last without a line: most are over by then.
const FIRST: Duration = Duration::from_millis(500);
/// How long a line stays as it is.
const AGAIN: Duration = Duration::from_millis(200);
/// With fewer rows a terminal has none to spare.
const ROWS_MIN: u16 = 4;

impl Status {
    /// The status line of a run, if it is to have one: a person looks at
    /// standard error, no view writes there before the end, and none goes to a
    /// pipe (a pager would share the terminal).
    pub fn open(config: &Config) -> Option<Status> {
        let quiet = |to: &Destination, kind: ViewKind| match to {
            Destination::Stderr => !kind.is_streamed(),
            Destination::Stdout => !kind.is_streamed() && io::stdout().is_terminal(),
            Destination::File(_) => true,
        };
        let wanted = config.views.iter().any(|view| !view.kind.is_streamed())
            && config.views.iter().all(|view| quiet(&view.to, view.kind))
            && config.look.detail != Detail::Quiet
            && io::stderr().is_terminal()
            && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        if !wanted {
            return None;
        }
        let terminal = io::stderr().as_fd().try_clone_to_owned().ok()?;
        let now = Instant::now();
        Some(Status {
            terminal: File::from(terminal),
            glyphs: config.look.whole.glyphs,
            started: now,
            due: now + FIRST,
            shown: None,
            counts: Counts::default(),
        })
    }

    /// Counts an event.
    pub fn event(&mut self, event: &Event) {
        self.counts.add(event);
        self.tick();
    }

    /// Draws the line anew when it is time.
    pub fn tick(&mut self) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + AGAIN;
        let size = self.size();
        let text = self.counts.text(now - self.started, self.glyphs);
        let mut out = String::new();
        if self.shown != size {
            out.push_str(&erase(self.shown.take()));
        }
        if let Some(size) = size {
            if self.shown.is_none() {
                out.push_str(&reserve(size));
            }
            out.push_str(&line(size, &text));
            self.shown = Some(size);
        }
        // Where it can't be written nobody misses it.
        let _ = self.terminal.write_all(out.as_bytes());
    }

    /// The terminal's size, if a line may be on it now.
    fn size(&self) -> Option<Size> {
        let ours = tcgetpgrp(&self.terminal).is_ok_and(|group| group == getpgrp());
        let usual = tcgetattr(&self.terminal)
            .is_ok_and(|mode| mode.local_flags.contains(LocalFlags::ICANON));
        let (Width(columns), Height(rows)) = terminal_size_of(&self.terminal)?;
        (ours && usual && rows >= ROWS_MIN && columns > 0).then_some((columns, rows))
    }

    /// Takes the line away, and gives its row back.
    pub fn erase(&mut self) {
        let out = erase(self.shown.take());
        let _ = self.terminal.write_all(out.as_bytes());
        // It does not come back.
        self.due = Instant::now() + Duration::from_secs(1 << 32);
    }
}

impl Drop for Status {
    /// Whatever ended the trace, the terminal is as it was.
    fn drop(&mut self) {
        self.erase();
    }
}

/// Makes sure that the last row is free, and takes it out of what scrolls: down
/// a line, which scrolls if need be, and up again, in the same column. The region
/// set, the cursor is put back.
fn reserve((_, rows): Size) -> String {
    format!("\x1bD\x1b[A\x1b7\x1b[1;{}r\x1b8", rows - 1)
}

/// Writes the last row and puts the cursor back.
fn line((columns, rows): Size, text: &str) -> String {
    let text: String = text.chars().take(usize::from(columns)).collect();
    format!("\x1b7\x1b[{rows};1H\x1b[2K{text}\x1b8")
}

/// Empties the last row and lets the whole screen scroll again.
fn erase(shown: Option<Size>) -> String {
    match shown {
        Some((_, rows)) => format!("\x1b7\x1b[r\x1b[{rows};1H\x1b[2K\x1b8"),
        None => String::new(),
    }
}

/// What the line tells.
#[derive(Debug, Default)]
struct Counts {
    created: u64,
    alive: u64,
    failed: u64,
    /// Whether the launched program was counted.
    first: bool,
}

impl Counts {
    fn add(&mut self, event: &Event) {
        let leads = Pid::from(event.tid) == event.tgid;
        match &event.kind {
            EventKind::Start(start) => {
                self.first = matches!(start.target, Target::Command(_));
                self.alive += u64::from(self.first);
            }
            EventKind::Attached(_) if leads => self.alive += 1,
            EventKind::End(_) | EventKind::Lost(_) if leads => {
                self.alive = self.alive.saturating_sub(1);
            }
            EventKind::Create(create) => match &create.outcome {
                Outcome::Created(child) => {
                    self.created += 1;
                    let process = create.request.kind() != Kind::Thread;
                    if process && child.followed == Followed::Yes {
                        self.alive += 1;
                    }
                }
                Outcome::Failed(errno) if errno.restart().is_some() => {}
                Outcome::Failed(_) | Outcome::Unknown | Outcome::Skipped(_) => self.failed += 1,
            },
            _ => {}
        }
    }

    fn text(&self, elapsed: Duration, glyphs: Glyphs) -> String {
        let Counts {
            created,
            alive,
            failed,
            ..
        } = self;
        // Tenths of a second are enough.
        let elapsed = Duration::from_millis(elapsed.as_millis() as u64 / 100 * 100);
        format!(
            "forktrace: {created} created, {alive} alive, {failed} failed, {}",
            Span(elapsed, glyphs)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::testing::Story;

    #[test]
    fn processes_that_live_and_calls_that_failed() {
        let mut story = Story::new();
        story
            .exec(10, "a")
            .fork(10, 11)
            .thread(10, 12)
            .fork_fails(10, 11);
        story
            .exit(12, 0)
            .vfork(11, 13)
            .exit(11, 0)
            .fork_fails(10, 513);
        story
            .attach(20, 20, "x", 1)
            .attach(21, 20, "x", 1)
            .fork_unfollowed(10, 14);
        let mut counts = Counts::default();
        for event in &story.events {
            counts.add(event);
        }
        let elapsed = Duration::from_millis(12_345);
        assert_eq!(
            counts.text(elapsed, Glyphs::Unicode),
            "forktrace: 4 created, 3 alive, 1 failed, 12.3 s"
        );
    }

    #[test]
    fn the_cursor_comes_back_and_the_screen_scrolls_as_before() {
        let size = (10, 24);
        assert_eq!(
            line(size, "forktrace: 4"),
            "\x1b7\x1b[24;1H\x1b[2Kforktrace:\x1b8"
        );
        assert!(reserve(size).contains("\x1b[1;23r"));
        assert!(erase(Some(size)).contains("\x1b[r"));
        assert_eq!(erase(None), "");
    }
}
