//! What people read: times of three digits with their unit, and texts that fit.

use std::fmt;
use std::time::Duration;

use crate::config::Glyphs;

/// A length of time, as people read it: `412 µs`, `1.24 s`, `2 min 03 s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration, pub Glyphs);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let micro = match self.1 {
            Glyphs::Unicode => "µs",
            Glyphs::Ascii => "us",
        };
        // Rounded first, so that 999.9 µs is 1 ms.
        for (unit, size) in [(micro, 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)] {
            for (digits, below) in [(2, 10), (1, 100), (0, 1000)] {
                let step = size / 10_u128.pow(digits);
                let rounded = (nanos + step / 2) / step * step;
                let small = rounded < below * size && (unit != "s" || below <= 100);
                // Microseconds are what the kernel counts in.
                if small && unit == micro {
                    return write!(f, "{} {unit}", (nanos + size / 2) / size);
                }
                if small {
                    let value = rounded as f64 / size as f64;
                    return write!(f, "{value:.*} {unit}", digits as usize);
                }
            }
        }
        let seconds = (nanos + 500_000_000) / 1_000_000_000;
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            120..3600 => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}

/// `1 thread`, `2 threads`.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Stands for what is left out.
pub fn ellipsis(glyphs: Glyphs) -> &'static str {
    match glyphs {
        Glyphs::Unicode => "…",
        Glyphs::Ascii => "...",
    }
}

/// How wide a text is: all that is shown of tracees is ASCII, and the rest of it
/// is one column a character.
pub fn columns(text: &str) -> usize {
    text.chars().count()
}

/// A text cut to so many columns, and a mark that it is.
pub fn cut(text: String, most: usize, glyphs: Glyphs) -> String {
    if columns(&text) <= most {
        return text;
    }
    let mark = ellipsis(glyphs);
    let keep = most.saturating_sub(columns(mark));
    let mut cut: String = text.chars().take(keep).collect();
    cut.push_str(mark);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        for (nanos, text) in [
            (0, "0 µs"),
            (499, "0 µs"),
            (1_499, "1 µs"),
            (999_400, "999 µs"),
            (999_600, "1.00 ms"),
            (1_234_000, "1.23 ms"),
            (9_996_000, "10.0 ms"),
            (99_960_000, "100 ms"),
            (999_600_000, "1.00 s"),
            (12_345_000_000, "12.3 s"),
            (99_960_000_000, "100 s"),
            (119_400_000_000, "119 s"),
            (123_000_000_000, "2 min 03 s"),
            (3_600_000_000_000, "1 h 00 min"),
            (86_400_000_000_000, "24 h 00 min"),
        ] {
            let span = Span(Duration::from_nanos(nanos), Glyphs::Unicode);
            assert_eq!(span.to_string(), text);
        }
        let span = Span(Duration::from_micros(7), Glyphs::Ascii);
        assert_eq!(span.to_string(), "7 us");
    }
}
