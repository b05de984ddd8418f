//! Where events come from: a live tracer today, recorded logs and other
//! kernel interfaces later. Everything behind this trait sees events only.

use crate::event::Event;

/// A stream of events. The contract, which every source keeps and every view
/// may rely on:
///
/// 1. The first event is [`Start`](crate::event::EventKind::Start).
/// 2. A thread's creation comes before every other event of that thread. The
///    launched program's first thread has none; one that ran already, or whose
///    creator was killed before it could report, has `Attached` in its place.
/// 3. A creation is reported once at the most, by the thread that called; parent and child
///    are linked by the child's tid in the tracer's pid namespace.
/// 4. Events of one thread come in the order in which they happened. Events of
///    different threads may be reported in another order than they happened,
///    but for rule 2.
/// 5. A thread ends once: by `End`, `Superseded` or `Lost`; then its tid may
///    be born anew.
/// 6. What a source can't see it says in its first event (see
///    [`Stops`](crate::event::Stops)), as well as whether it tells waits and signals;
///    within that nothing is left out.
/// 7. When `next` returns [`Next::End`] no thread is left stopped. A source that is
///    given up earlier lets go of its tracees when forktrace ends, which the
///    kernel sees to; those that a filter ties to it end then.
/// 8. After an event comes another one, [`Next::Quiet`] or [`Next::End`] within
///    some 10 ms, so that whoever collects lines knows when to write them. Where
///    it was asked for [`Next::Quiet`] also comes several times a second.
pub trait Source {
    /// What comes next. Blocks.
    ///
    /// # Errors
    /// Where the kernel refuses what tracing needs. The source is spent then.
    fn next(&mut self) -> anyhow::Result<Next>;
}

/// What a source has to say.
#[derive(Debug)]
pub enum Next {
    /// Something happened.
    Event(Event),
    /// Nothing happened for a moment.
    Quiet,
    /// There is nothing left to trace.
    End,
}
