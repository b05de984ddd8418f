//! What is counted while a trace goes by and can't be had from the tree at its
//! end: threads, which are not kept, how many lived at once, and how fast they
//! came. Its size does not grow with the trace.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::node::{Failure, How};
use super::strings::WordId;
use crate::abi::Call;
use crate::clone::Kind;
use crate::ids::Errno;

/// Counts of a trace.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    kinds: [u64; 4],
    calls: BTreeMap<CallName, u64>,
    failures: BTreeMap<(CallName, Cause), u64>,
    exec_failures: BTreeMap<i32, u64>,
    /// How many execs succeeded.
    pub execs: u64,
    /// How many processes live.
    pub processes: Level,
    /// How many threads live, the first of each process with them.
    pub threads: Level,
    /// When children came.
    pub rate: Rate,
    /// How long threads lived that were not the first of their process.
    pub thread_lives: Lives,
    threads_by: HashMap<WordId, u64>,
}

/// A creating call by its name in the manual; empty if its number isn't known.
pub type CallName = &'static str;

/// Why calls failed, as the tally tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// An error number.
    Errno(i32),
    /// The caller was killed in the call.
    CallerKilled,
    /// A seccomp filter answered.
    Skipped,
}

/// Something that rises and falls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    /// How high it is.
    pub now: u64,
    /// How high it was at the most.
    pub peak: u64,
    /// When it was so first, since the start of tracing.
    pub peak_at: Duration,
}

impl Level {
    pub(super) fn rise(&mut self, at: Duration) {
        self.now += 1;
        if self.now > self.peak {
            self.peak = self.now;
            self.peak_at = at;
        }
    }

    pub(super) fn fall(&mut self) {
        self.now = self.now.saturating_sub(1);
    }
}

impl Tally {
    pub(super) fn created(&mut self, how: &How, at: Duration) {
        self.kinds[how.kind as usize] += 1;
        *self.calls.entry(call_name(how.call)).or_default() += 1;
        self.rate.add(at);
    }

    pub(super) fn thread_by(&mut self, program: WordId) {
        *self.threads_by.entry(program).or_default() += 1;
    }

    pub(super) fn failed(&mut self, how: &How, failure: Failure) {
        let cause = match failure {
            Failure::Errno(errno) => Cause::Errno(errno.0),
            Failure::CallerKilled => Cause::CallerKilled,
            Failure::Skipped | Failure::Various => Cause::Skipped,
        };
        let key = (call_name(how.call), cause);
        *self.failures.entry(key).or_default() += 1;
    }

    pub(super) fn exec_failed(&mut self, errno: Errno) {
        *self.exec_failures.entry(errno.0).or_default() += 1;
    }

    /// How many children of this kind were created.
    pub fn of_kind(&self, kind: Kind) -> u64 {
        self.kinds[kind as usize]
    }

    /// How many children were created, threads with them.
    pub fn creations(&self) -> u64 {
        self.kinds.iter().sum()
    }

    /// How many creating calls created nothing.
    pub fn failures(&self) -> u64 {
        self.failures.values().sum()
    }

    /// How many children each call created.
    pub fn by_call(&self) -> impl Iterator<Item = (CallName, u64)> {
        self.calls.iter().map(|(call, count)| (*call, *count))
    }

    /// How often each call created nothing, by reason.
    pub fn failures_by_call(&self) -> impl Iterator<Item = (CallName, Cause, u64)> {
        let each = self.failures.iter();
        each.map(|((call, cause), count)| (*call, *cause, *count))
    }

    /// How often execs failed, by error.
    pub fn exec_failures(&self) -> impl Iterator<Item = (Errno, u64)> {
        let each = self.exec_failures.iter();
        each.map(|(errno, count)| (Errno(*errno), *count))
    }

    /// How many threads were created by each program.
    pub fn threads_by_program(&self) -> impl Iterator<Item = (WordId, u64)> {
        self.threads_by
            .iter()
            .map(|(program, count)| (*program, *count))
    }
}

fn call_name(call: Option<Call>) -> CallName {
    call.map_or("", Call::name)
}

/// How many came in each stretch of time. The stretches grow with the trace,
/// their number does not.
#[derive(Debug, Clone)]
pub struct Rate {
    width: u64,
    counts: Vec<u64>,
}

/// The most stretches.
const STRETCHES: usize = 64;
/// How long a stretch is at first, in nanoseconds.
const FIRST_WIDTH: u64 = 1_000_000;

impl Default for Rate {
    fn default() -> Rate {
        Rate {
            width: FIRST_WIDTH,
            counts: Vec::new(),
        }
    }
}

impl Rate {
    fn add(&mut self, at: Duration) {
        let at = nanos(at);
        self.widen(at, STRETCHES);
        let index = (at / self.width) as usize;
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
    }

    /// Makes the stretches longer until no more than `most` reach to `at`.
    fn widen(&mut self, at: u64, most: usize) {
        while at / self.width >= most as u64 {
            let pairs = self.counts.chunks(2).map(|pair| pair.iter().sum());
            self.counts = pairs.collect();
            self.width *= 2;
        }
    }

    /// The same in at most so many stretches, the last one that of `end`.
    pub fn until(&self, end: Duration, most: usize) -> Rate {
        let mut rate = self.clone();
        rate.widen(nanos(end), most.max(2));
        let reach = (nanos(end) / rate.width) as usize + 1;
        rate.counts.resize(reach.max(rate.counts.len()), 0);
        rate
    }

    /// How long each stretch is.
    pub fn width(&self) -> Duration {
        Duration::from_nanos(self.width)
    }

    /// How many came in each, from the start of tracing to the last one in
    /// which any came.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}

/// How long many lived: the sum exactly, the median to within 2 %.
#[derive(Debug, Clone, Default)]
pub struct Lives {
    count: u64,
    total: Duration,
    buckets: BTreeMap<u16, u64>,
}

/// Each power of two is divided into so many buckets, as a power of two.
const FINE_BITS: u32 = 5;

impl Lives {
    pub(super) fn add(&mut self, lived: Duration) {
        self.count += 1;
        self.total = self.total.saturating_add(lived);
        *self.buckets.entry(bucket(nanos(lived))).or_default() += 1;
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long all together.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The shortest, to within 2 %; nothing if there are none.
    pub fn least(&self) -> Duration {
        let first = self.buckets.keys().next();
        first.map_or(Duration::ZERO, |bucket| {
            Duration::from_nanos(middle(*bucket))
        })
    }

    /// The longest, to within 2 %; nothing if there are none.
    pub fn most(&self) -> Duration {
        let last = self.buckets.keys().next_back();
        last.map_or(Duration::ZERO, |bucket| {
            Duration::from_nanos(middle(*bucket))
        })
    }

    /// How long half of them at the most; `None` if there are none.
    pub fn median(&self) -> Option<Duration> {
        let mut left = self.count.div_ceil(2);
        for (bucket, count) in &self.buckets {
            if *count >= left {
                return Some(Duration::from_nanos(middle(*bucket)));
            }
            left -= count;
        }
        None
    }
}

/// The bucket of a number: exact below 2^FINE_BITS, then the same number of
/// buckets for each power of two.
fn bucket(value: u64) -> u16 {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(FINE_BITS + 1);
    ((shift << FINE_BITS) as u64 + (value >> shift)) as u16
}

fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let shift = (bucket >> FINE_BITS).saturating_sub(1);
    let low = (bucket - (shift << FINE_BITS)) << shift;
    low + (1 << shift) / 2
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stretches_grow_and_keep_their_sum() {
        let mut rate = Rate::default();
        for ms in [0, 1, 1, 63] {
            rate.add(Duration::from_millis(ms));
        }
        assert_eq!(rate.width(), Duration::from_millis(1));
        assert_eq!(rate.counts()[..3], [1, 2, 0]);
        rate.add(Duration::from_millis(64));
        assert_eq!(rate.width(), Duration::from_millis(2));
        assert_eq!(rate.counts()[0], 3);
        rate.add(Duration::MAX);
        assert_eq!(rate.counts().iter().sum::<u64>(), 6);
        assert!(rate.counts().len() <= STRETCHES);
    }

    #[test]
    fn a_peak_is_when_it_was_first_reached() {
        let mut level = Level::default();
        level.fall();
        for ms in 1..4 {
            level.rise(Duration::from_millis(ms));
            level.rise(Duration::from_millis(ms));
            level.fall();
            level.fall();
        }
        assert_eq!((level.now, level.peak), (0, 2));
        assert_eq!(level.peak_at, Duration::from_millis(1));
    }

    proptest! {
        #[test]
        fn medians_are_near(mut values in proptest::collection::vec(any::<u64>(), 1..50)) {
            let mut lives = Lives::default();
            for value in &values {
                lives.add(Duration::from_nanos(*value));
            }
            values.sort_unstable();
            let exact = values[(values.len() - 1) / 2] as f64;
            let near = lives.median().unwrap().as_nanos() as f64;
            prop_assert!((near - exact).abs() <= exact * 0.02 + 0.5, "{near} for {exact}");
            prop_assert_eq!(lives.count(), values.len() as u64);
        }

        #[test]
        fn a_rate_never_loses_one(times in proptest::collection::vec(any::<u64>(), 0..50)) {
            let mut rate = Rate::default();
            for time in &times {
                rate.add(Duration::from_nanos(*time));
            }
            prop_assert_eq!(rate.counts().iter().sum::<u64>(), times.len() as u64);
        }
    }
}
