//! What stands before the call on a line of a log: the pid, times, the
//! instruction pointer, the number of the call, in the forms that strace and
//! forktrace give them.

use std::borrow::Cow;

/// A line of a log.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The thread that it is about, where the line says.
    pub tid: Option<i32>,
    /// The rest.
    pub body: &'a str,
}

/// Above this no number is a pid but a time (`PID_MAX_LIMIT`, linux/threads.h).
const PID_MAX: u64 = 1 << 22;

/// Splits a line.
pub fn split(line: &str) -> Line<'_> {
    let mut tid = None;
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        if let Some(after) = pid_bracket(rest) {
            (tid, rest) = (after.0, after.1);
        } else if let Some(after) = bracket(rest)
            .or_else(|| relative(rest))
            .or_else(|| time(rest))
        {
            rest = after;
        } else if let Some((number, after)) = plain_number(rest).filter(|_| tid.is_none()) {
            (tid, rest) = (Some(number), after);
        } else {
            return Line { tid, body: rest };
        }
    }
}

/// The length of the number that `text` begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// `123` or `123<ruby>`: what follows the number.
fn number(text: &str) -> Option<(u64, &str)> {
    let (number, rest) = text.split_at(digits(text));
    let number = number.parse().ok()?;
    let rest = match rest.strip_prefix('<') {
        // strace escapes <> in the name.
        Some(name) => name.split_once('>')?.1,
        None => rest,
    };
    Some((number, rest))
}

/// `[pid  123] `
fn pid_bracket(text: &str) -> Option<(Option<i32>, &str)> {
    let inside = text.strip_prefix("[pid")?.trim_start();
    let (pid, rest) = number(inside)?;
    Some((i32::try_from(pid).ok(), rest.strip_prefix(']')?))
}

/// `[00007f24aa955353] ` (-i), `[????????????????] `, `[  56] ` (-n)
fn bracket(text: &str) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    let inside = inside.trim();
    let known = !inside.is_empty()
        && inside.len() <= 16
        && (inside.bytes().all(|b| b == b'?') || inside.bytes().all(|b| b.is_ascii_hexdigit()));
    (known && rest.starts_with(' ')).then_some(rest)
}

/// `(+     0.000123) `: -r beside another time
fn relative(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("(+")?.trim_start();
    fraction(inside)?.strip_prefix(')')
}

/// `0.000123`
fn fraction(text: &str) -> Option<&str> {
    let seconds = digits(text);
    let rest = text[seconds..].strip_prefix('.')?;
    let places = digits(rest);
    (seconds > 0 && places > 0).then(|| &rest[places..])
}

/// `12:34:56 `, `12:34:56.000123 `, `1795594460.253764 `, `1795594460 `
fn time(text: &str) -> Option<&str> {
    let clock = |text: &'_ str| {
        let pair = |text: &str| digits(text) == 2;
        (pair(text)
            && text[2..].starts_with(':')
            && pair(&text[3..])
            && text[5..].starts_with(':')
            && pair(&text[6..]))
        .then_some(8)
    };
    let rest = if let Some(length) = clock(text) {
        let rest = &text[length..];
        match rest.strip_prefix('.') {
            Some(places) => &places[digits(places)..],
            None => rest,
        }
    } else if let Some(rest) = fraction(text) {
        rest
    } else {
        let length = digits(text);
        let number: u64 = text[..length].parse().ok()?;
        if number < PID_MAX {
            return None;
        }
        &text[length..]
    };
    rest.starts_with(' ').then_some(rest)
}

/// `123  `, the pid where the log is a file
fn plain_number(text: &str) -> Option<(i32, &str)> {
    let (pid, rest) = number(text)?;
    (pid <= PID_MAX && rest.starts_with(' '))
        .then(|| i32::try_from(pid).ok())?
        .map(|pid| (pid, rest))
}

/// A line without the escape sequences that colour it.
pub fn uncoloured(line: &str) -> Cow<'_, str> {
    if !line.contains('\x1b') {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        let length = after
            .bytes()
            .take_while(|b| b.is_ascii_digit() || *b == b';' || *b == b':')
            .count();
        out.push_str(before);
        match after[length..].chars().next() {
            Some('m' | 'K') => rest = &after[length + 1..],
            _ => {
                out.push_str("\x1b[");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_strace() {
        for (line, tid) in [
            ("fork()", None),
            ("[pid 30643] fork()", Some(30643)),
            ("[pid  1819] fork()", Some(1819)),
            ("[pid 12<a b>] fork()", Some(12)),
            ("1916  fork()", Some(1916)),
            ("4194303 fork()", Some(4194303)),
            ("2158<ruby> 08:14:17.146287 fork()", Some(2158)),
            ("2252  08:14:17 (+     0.429352) fork()", Some(2252)),
            ("2284  [  56] [00007f24aa955353] fork()", Some(2284)),
            ("[????????????????] fork()", None),
            ("08:14:17 fork()", None),
            ("1795594460.917144 fork()", None),
            ("1795594460 fork()", None),
            ("12 1795594460 fork()", Some(12)),
            ("[pid 12] 1795594460.917144 fork()", Some(12)),
            ("     0.000123 fork()", None),
            ("12      0.000123 fork()", Some(12)),
            ("   [pid 12] fork()", Some(12)),
        ] {
            assert_eq!(
                split(line),
                Line {
                    tid,
                    body: "fork()"
                },
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_no_prefix_is_the_call() {
        for line in [
            "",
            "read(3)",
            "12",
            "12:3",
            "[pid x] fork()",
            "[pid",
            "[",
            "12<a",
            "0.1",
            "(+ 1",
        ] {
            assert_eq!(
                split(line),
                Line {
                    tid: None,
                    body: line
                },
                "{line}"
            );
        }
        assert_eq!(split("1 2 fork()").body, "2 fork()");
    }

    #[test]
    fn colours_go() {
        assert_eq!(
            uncoloured("\x1b[90m12\x1b[0m \x1b[1;32mfork\x1b[0m()"),
            "12 fork()"
        );
        assert_eq!(uncoloured("a\x1b[2Jb\x1b"), "a\x1b[2Jb\x1b");
        assert!(matches!(uncoloured("fork()"), Cow::Borrowed(_)));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String, nearly in "[\\[\\]() <>:.+?0-9a-fpid\u{1b}m;é]{0,30}") {
            for text in [text, nearly] {
                let plain = uncoloured(&text).into_owned();
                proptest::prop_assert!(plain.ends_with(split(&plain).body));
            }
        }
    }
}
