//! Times of lines, to the letter as strace prints them. They come from the
//! events, so that a trace that is shown again later shows the same.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{Shown, Times, WallTime};

/// What is needed to say when a line happened.
#[derive(Debug)]
pub struct Clock {
    times: Times,
    /// The clock of the wall at the start of tracing, since 1970.
    start: Duration,
    /// When the line before happened.
    previous: Option<Duration>,
    local: Option<Local>,
}

/// Seconds in the local time zone, which is that of TZ or else the system's.
#[derive(Debug)]
struct Local {
    zone: TimeZone,
    /// The second that was written last, and how.
    last: Option<(u64, String)>,
}

impl Clock {
    /// A clock that writes these times.
    pub fn new(times: Times) -> Clock {
        let local = match times.wall {
            WallTime::Time | WallTime::TimeMicros => Some(Local::new(TimeZone::system())),
            WallTime::None | WallTime::Unix => None,
        };
        Clock {
            times,
            start: Duration::ZERO,
            previous: None,
            local,
        }
    }

    /// Takes the clock of the wall at the start of tracing, since 1970.
    pub fn start(&mut self, wall: Duration) {
        self.start = wall;
    }

    /// Appends the times of a line, each with a space behind it. `at` counts
    /// from the start of tracing.
    pub fn stamp(&mut self, out: &mut String, at: Duration) {
        self.wall(out, at);
        if self.times.relative == Shown::Yes {
            let since = at.saturating_sub(self.previous.unwrap_or(at));
            self.previous = Some(at);
            let (seconds, micros) = (since.as_secs(), since.subsec_micros());
            // Writing to a String can't fail.
            let _ = match self.times.wall {
                WallTime::None => write!(out, "{seconds:6}.{micros:06} "),
                _ => write!(out, "(+{seconds:6}.{micros:06}) "),
            };
        }
    }

    fn wall(&mut self, out: &mut String, at: Duration) {
        let now = self.start.saturating_add(at);
        if let Some(local) = &mut self.local {
            out.push_str(local.time_of_day(now.as_secs()));
        }
        let _ = match self.times.wall {
            WallTime::None => Ok(()),
            WallTime::Time => write!(out, " "),
            WallTime::TimeMicros => write!(out, ".{:06} ", now.subsec_micros()),
            WallTime::Unix => write!(out, "{}.{:06} ", now.as_secs(), now.subsec_micros()),
        };
    }
}

/// Appends how long a call took, with a space before it.
pub fn in_call(out: &mut String, latency: Duration) {
    let _ = write!(
        out,
        " <{}.{:06}>",
        latency.as_secs(),
        latency.subsec_micros()
    );
}

impl Local {
    fn new(zone: TimeZone) -> Local {
        Local { zone, last: None }
    }

    /// Hours, minutes and seconds of a second since 1970. Lines come in
    /// crowds: the zone is asked once a second.
    fn time_of_day(&mut self, second: u64) -> &str {
        const DAY: i64 = 24 * 60 * 60;
        let known = self.last.as_ref().is_some_and(|last| last.0 == second);
        if !known {
            let count = i64::try_from(second).unwrap_or(i64::MAX);
            let offset =
                Timestamp::from_second(count).map_or(0, |time| self.zone.to_offset(time).seconds());
            let of_day = count.saturating_add(offset.into()).rem_euclid(DAY);
            let (hour, minute) = (of_day / 3600, of_day / 60 % 60);
            let text = format!("{hour:02}:{minute:02}:{:02}", of_day % 60);
            self.last = Some((second, text));
        }
        self.last.as_ref().map_or("", |last| &last.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-25 08:13:11.200000999 UTC, and half a second later.
    const START: Duration = Duration::new(1_795_594_391, 200_000_999);
    const LATER: Duration = Duration::from_millis(500);

    fn stamps(times: Times, zone: &TimeZone, all: &[Duration]) -> String {
        let mut clock = Clock::new(times);
        if let Some(local) = &mut clock.local {
            *local = Local::new(zone.clone());
        }
        clock.start(START);
        let mut out = String::new();
        for at in all {
            clock.stamp(&mut out, *at);
            out.push('|');
        }
        out
    }

    fn shown(wall: WallTime, relative: Shown) -> String {
        let times = Times {
            wall,
            relative,
            in_call: Shown::No,
        };
        stamps(times, &TimeZone::UTC, &[Duration::ZERO, LATER, LATER * 3])
    }

    #[test]
    fn as_strace_prints_them() {
        use Shown::{No, Yes};
        for (wall, relative, text) in [
            (WallTime::None, No, "|||"),
            (WallTime::Time, No, "08:13:11 |08:13:11 |08:13:12 |"),
            (
                WallTime::TimeMicros,
                No,
                "08:13:11.200000 |08:13:11.700000 |08:13:12.700000 |",
            ),
            (
                WallTime::Unix,
                No,
                "1795594391.200000 |1795594391.700000 |1795594392.700000 |",
            ),
            (
                WallTime::None,
                Yes,
                "     0.000000 |     0.500000 |     1.000000 |",
            ),
            (
                WallTime::Time,
                Yes,
                "08:13:11 (+     0.000000) |08:13:11 (+     0.500000) |08:13:12 (+     1.000000) |",
            ),
        ] {
            assert_eq!(shown(wall, relative), text);
        }
    }

    #[test]
    fn a_time_that_goes_back_is_no_time_at_all() {
        let times = Times {
            relative: Shown::Yes,
            ..Times::default()
        };
        assert_eq!(
            stamps(times, &TimeZone::UTC, &[LATER, Duration::ZERO]),
            "     0.000000 |     0.000000 |"
        );
    }

    #[test]
    fn the_zone_is_that_of_the_moment() {
        let times = Times {
            wall: WallTime::Time,
            ..Times::default()
        };
        // One hour behind UTC until a minute after START, then two ahead.
        let zone = TimeZone::posix("AAA1BBB-2,J329/07:14:11,J365/23").expect("a zone");
        let minute = Duration::from_secs(60);
        assert_eq!(
            stamps(times, &zone, &[Duration::ZERO, minute]),
            "07:13:11 |10:14:11 |"
        );
    }

    #[test]
    fn times_in_calls_have_microseconds() {
        let mut out = String::from("= 0");
        in_call(&mut out, Duration::new(12, 345_678_999));
        in_call(&mut out, Duration::from_nanos(999));
        assert_eq!(out, "= 0 <12.345678> <0.000000>");
    }

    proptest::proptest! {
        #[test]
        fn no_time_is_too_large(start: u64, at: u64, nanos in 0..1_000_000_000_u32) {
            for wall in [WallTime::Time, WallTime::TimeMicros, WallTime::Unix] {
                let times = Times { wall, relative: Shown::Yes, in_call: Shown::No };
                let mut clock = Clock::new(times);
                clock.start(Duration::new(start, nanos));
                let mut out = String::new();
                clock.stamp(&mut out, Duration::new(at, nanos));
                clock.stamp(&mut out, Duration::MAX);
                proptest::prop_assert!(out.ends_with(") "));
            }
        }
    }
}
