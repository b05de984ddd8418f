//! Looking at a recorded log: the same views as live, another source.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Look, View};
use crate::filter::Criteria;
use crate::ids::Signal;
use crate::log::{AtEnd, Reader};
use crate::source::{Next, Source};
use crate::view::sinks::{Sinks, Trace};
use crate::view::{self, Pace};

/// What is to be shown of which log.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The log; `-` is standard input.
    pub log: PathBuf,
    /// Whether it may still grow.
    pub at_end: AtEnd,
    /// What is shown of it, and where; at least one.
    pub views: Vec<View>,
    /// How it looks.
    pub look: Look,
    /// Which events are shown.
    pub filter: Criteria,
}

/// How that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Lines that could not be read; each was said.
    pub faults: u64,
    /// The signal that ended the following.
    pub stopped_by: Option<Signal>,
    /// Whether all was written.
    pub trace: Trace,
}

/// Shows a log. `say` is told, a line each, what the user should know.
///
/// # Errors
/// Where it is no log or can't be read, or a view can't be opened.
pub fn replay(replay: &Replay, say: &mut dyn FnMut(&str)) -> anyhow::Result<Replayed> {
    // First, so that nothing is overwritten for the sake of no log.
    let mut reader = Reader::open(&replay.log, replay.at_end)?;
    let mut views = Vec::new();
    for view in &replay.views {
        let pace = match replay.at_end {
            AtEnd::Stop => Pace::Collected,
            AtEnd::Wait => Pace::Followed,
        };
        let sink = view::open(view, replay.look, &replay.filter, pace)?;
        views.push((view.to.clone(), sink));
    }
    let mut sinks = Sinks::new(views, "", crate::closed, say);
    while sinks.any() {
        let next = reader.next();
        for notice in reader.take_notices() {
            say(&notice);
        }
        match next {
            Ok(Next::Event(event)) => sinks.event(&event, say),
            Ok(Next::Quiet) => sinks.quiet(say),
            Ok(Next::End) => break,
            Err(error) => {
                sinks.break_off(say);
                catch_up(&mut sinks, &mut reader, say);
                return Err(error);
            }
        }
        catch_up(&mut sinks, &mut reader, say);
    }
    match reader.is_whole() {
        true => sinks.finish(say),
        false => sinks.break_off(say),
    }
    catch_up(&mut sinks, &mut reader, say);
    Ok(Replayed {
        faults: reader.faults(),
        stopped_by: reader.stopped_by(),
        trace: sinks.trace(),
    })
}

/// How long a reader is waited for before signals are looked after.
const READER_WAIT: Duration = Duration::from_millis(200);

/// Waits until all is written. While a log is followed signals are blocked: a
/// reader that doesn't read must not keep those away that end the following. What
/// nobody reads is given up then.
fn catch_up(sinks: &mut Sinks, reader: &mut Reader, say: &mut dyn FnMut(&str)) {
    while sinks.behind() > 0 {
        sinks.push(READER_WAIT, say);
        if sinks.behind() > 0 && reader.signalled() {
            sinks.abandon(say);
        }
    }
}
