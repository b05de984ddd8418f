//! What stands behind a call: its result.

use super::super::value::{Cursor, Trouble, number};
use super::Returned;
use crate::ids::Errno;

/// What came of a call, behind its arguments; whether a meaning follows.
pub(super) fn result(cursor: &mut Cursor<'_>) -> Result<(Returned, bool), Trouble> {
    cursor.skip_spaces();
    if cursor.0.is_empty() {
        return Ok((Returned::Unsaid, false));
    }
    let text = cursor.0;
    if !cursor.eat("=") {
        return Err(Trouble::new("'= ' and a result", text));
    }
    cursor.skip_spaces();
    let text = cursor.0;
    let length = text
        .find([' ', '<', '\t', '\r', '\n'])
        .unwrap_or(text.len());
    let word = cursor.take(length);
    let rest = cursor.0;
    let error = || {
        let mut words = rest.split_ascii_whitespace();
        match words.next()? {
            // strace's way with numbers that it has no name for.
            "(errno" => words.next()?.strip_suffix(')')?.parse().ok().map(Errno),
            name => Errno::from_name(name),
        }
    };
    let returned = match word {
        "?" => error().map_or(Returned::Never, Returned::Error),
        "-1" => Returned::Error(error().ok_or_else(|| Trouble::new("an error", rest))?),
        _ => match number(word).and_then(|n| i32::try_from(n).ok()) {
            Some(0) => Returned::InChild,
            Some(tid) => Returned::Child(outer(tid, rest)),
            None => return Err(Trouble::new("a pid, -1 or ?", text)),
        },
    };
    Ok((returned, rest.contains(" # ")))
}

/// The tid as the tracer sees it: strace may add it in a comment, and
/// forktrace says so where it doesn't know it.
fn outer(tid: i32, rest: &str) -> Option<i32> {
    if rest.contains("in the caller's pid namespace)") {
        return None;
    }
    match rest.split_once("/* ") {
        Some((_, comment)) if comment.contains("in strace's PID NS") => {
            comment.split(' ').next()?.parse().ok()
        }
        _ => Some(tid),
    }
}
