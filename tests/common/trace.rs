//! Reads traces, forktrace's and strace's alike, into lines that can be compared.

use std::collections::{HashMap, HashSet};

/// One complete line of a trace.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// 0 where strace prints none (without `-f`).
    pub(crate) tid: i32,
    pub(crate) event: Event,
    /// forktrace's meaning, without the `# `.
    pub(crate) comment: Option<String>,
    pub(crate) text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Call(Call),
    Exited(i32),
    /// The signal's name, with ` (core dumped)` where strace says so.
    Killed(String),
    Superseded(i32),
    /// It was there when forktrace came: the process it is a thread of, itself if leader.
    Attached {
        comm: String,
        /// `None` for a thread that isn't the leader.
        parent: Option<i32>,
        thread_of: Option<i32>,
    },
    /// Its parent ended, and this is its parent now.
    Orphaned(i32),
    /// Nothing more is told of it.
    Detached,
    Note(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// Between the parentheses, as printed.
    pub(crate) args: String,
    pub(crate) ret: Ret,
    /// Further numbers of the result: the same child in other pid namespaces.
    pub(crate) aliases: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ret {
    /// In the tracer's pid namespace where that is told.
    Value(i32),
    Error(String),
    /// `? ERESTARTNOINTR (To be restarted)`: a signal came first. The kernel starts the
    /// call again by itself; the program never learns of it, and chance decides.
    Restarted,
    /// `?` alone: the caller ended inside the call.
    Unknown,
}

impl Line {
    pub(crate) fn call(&self) -> Option<&Call> {
        match &self.event {
            Event::Call(call) => Some(call),
            _ => None,
        }
    }
    /// The tid of the child, if the line is a creation that worked.
    pub(crate) fn created(&self) -> Option<i32> {
        // A number that a seccomp filter made up is no child.
        let nothing = |words: &String| words.starts_with("nothing created");
        self.call()
            .and_then(Call::child)
            .filter(|_| !self.comment.as_ref().is_some_and(nothing))
    }
}

impl Call {
    pub(crate) fn creates(&self) -> bool {
        matches!(self.name.as_str(), "fork" | "vfork" | "clone" | "clone3")
    }
    pub(crate) fn executes(&self) -> bool {
        matches!(self.name.as_str(), "execve" | "execveat")
    }
    pub(crate) fn child(&self) -> Option<i32> {
        match self.ret {
            Ret::Value(child) if self.creates() && child > 0 => Some(child),
            _ => None,
        }
    }
    pub(crate) fn untraced(&self) -> bool {
        self.args.contains("CLONE_UNTRACED")
    }

    /// The call with all that differs from run to run replaced: addresses by `ADDR`,
    /// the child's tid by `CHILD`.
    pub(crate) fn normal(&self) -> String {
        let ret = match &self.ret {
            Ret::Value(_) if self.creates() => "CHILD".to_owned(),
            Ret::Value(value) => value.to_string(),
            Ret::Error(error) => format!("-1 {error}"),
            Ret::Restarted => "? ERESTART".to_owned(),
            Ret::Unknown => "?".to_owned(),
        };
        format!("{}({}) = {ret}", self.name, self.normal_args())
    }

    fn normal_args(&self) -> String {
        let mut tids = self.aliases.clone();
        if let Some(child) = self.child() {
            tids.push(child);
        }
        let bytes = self.args.as_bytes();
        let mut out = String::new();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] == b'"' {
                let end = string_end(bytes, at);
                out.push_str(&mask_temporary(&self.args[at..end]));
                at = end;
            } else if bytes[at..].starts_with(b"0x") {
                let mut end = at + 2;
                while end < bytes.len() && bytes[end].is_ascii_hexdigit() {
                    end += 1;
                }
                let number = &self.args[at..end];
                // Flags and sizes are no addresses, nor is what lies in the first pages.
                let before = &self.args[..at];
                let fixed = ["flags=", "|", "stack_size=", "limit=", "exit_signal="]
                    .iter()
                    .any(|key| before.ends_with(key));
                let low = u64::from_str_radix(&number[2..], 16).is_ok_and(|value| value < 0x10000);
                out.push_str(if fixed || low { number } else { "ADDR" });
                at = end;
            } else if bytes[at] == b'[' {
                let end = self.args[at..]
                    .find(']')
                    .map_or(bytes.len(), |found| at + found + 1);
                let inner = self.args[at + 1..end].trim_end_matches(']');
                // 0: the word is cleared at the child's end too, before strace read it.
                let cleared = inner == "0"
                    && self.args[..at].ends_with("parent_tid=")
                    && self.args.contains("CLONE_CHILD_CLEARTID");
                if cleared || inner.parse::<i32>().is_ok_and(|tid| tids.contains(&tid)) {
                    out.push_str("[CHILD]");
                    at = end;
                } else {
                    out.push('[');
                    at += 1;
                }
            } else {
                let end = self.args[at..]
                    .char_indices()
                    .nth(1)
                    .map_or(bytes.len(), |(next, _)| at + next);
                out.push_str(&self.args[at..end]);
                at = end;
            }
        }
        out
    }
}

/// The names of gcc's temporary files are random: `/tmp/ccXXXXXX`.
fn mask_temporary(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(found) = rest.find("/tmp/cc") {
        let (before, name) = rest.split_at(found + "/tmp/cc".len());
        out.push_str(before);
        let length = name
            .bytes()
            .take(6)
            .take_while(u8::is_ascii_alphanumeric)
            .count();
        out.push_str(if length == 6 {
            "XXXXXX"
        } else {
            &name[..length]
        });
        rest = &name[length..];
    }
    out + rest
}

/// The index after the closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Reads a trace of forktrace's: every line must stand alone and be understood.
pub(crate) fn parse_forktrace(text: &str) -> Result<Vec<Line>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(format!(
            "the trace ends within a line: {:?}",
            text.lines().last()
        ));
    }
    text.lines()
        .map(|line| {
            if line.contains("<unfinished ...>") || line.contains(" resumed>") {
                return Err(format!("a call is split: {line}"));
            }
            parse_line(line).ok_or_else(|| format!("not a line of a trace: {line:?}"))
        })
        .collect()
}

/// Reads a trace of strace's, whose calls may be in two pieces.
pub(crate) fn parse_strace(text: &str) -> Result<Vec<Line>, String> {
    let mut begun: HashMap<i32, String> = HashMap::new();
    let mut lines = Vec::new();
    for raw in text.lines() {
        let (tid, rest) = split_tid(raw);
        if rest.starts_with("--- ") {
            continue; // a signal or a stop
        }
        if let Some(start) = rest
            .strip_suffix(" <unfinished ...>")
            .filter(|rest| !rest.starts_with("<... "))
        {
            begun.insert(tid, start.to_owned());
            continue;
        }
        // A call that was killed before strace knew which.
        if rest.starts_with("???(") {
            continue;
        }
        if let Some((start, changed)) = rest.rsplit_once(" <pid changed to ") {
            let leader = changed
                .trim_end_matches(" ...>")
                .parse()
                .map_err(|_| format!("{raw:?}"))?;
            begun.insert(leader, start.to_owned());
            continue;
        }
        let whole = if let Some(resumed) = rest.strip_prefix("<... ") {
            let (_, end) = resumed
                .split_once(" resumed>")
                .ok_or_else(|| format!("{raw:?}"))?;
            let start = begun
                .remove(&tid)
                .ok_or_else(|| format!("resumed but not begun: {raw:?}"))?;
            format!("{start}{}", end.replace(" <unfinished ...>", ""))
        } else {
            rest.to_owned()
        };
        let line = parse_line(&format!("{tid} {whole}"))
            .ok_or_else(|| format!("not understood: {raw:?}"))?;
        if let Event::Superseded(by) = line.event
            && let Some(start) = begun.remove(&by)
        {
            // The call goes on under the leader's tid.
            begun.insert(tid, start);
        }
        lines.push(line);
    }
    Ok(creations_first(lines))
}

/// strace prints a child's lines as they come, which may be before its creation's end.
fn creations_first(lines: Vec<Line>) -> Vec<Line> {
    let mut known: HashSet<i32> = lines.first().map(|line| line.tid).into_iter().collect();
    let mut held: HashMap<i32, Vec<Line>> = HashMap::new();
    let mut ordered = Vec::new();
    // A stack: what a creation sets free comes before what follows it.
    let mut coming: Vec<Line> = lines.into_iter().rev().collect();
    while let Some(line) = coming.pop() {
        if !known.contains(&line.tid) {
            held.entry(line.tid).or_default().push(line);
            continue;
        }
        match line.event {
            Event::Exited(_) | Event::Killed(_) => {
                known.remove(&line.tid);
            }
            _ => {
                if let Some(child) = line.created() {
                    known.insert(child);
                    coming.extend(held.remove(&child).unwrap_or_default().into_iter().rev());
                }
            }
        }
        ordered.push(line);
    }
    // Never created: left for the check to complain of.
    ordered.extend(held.into_values().flatten());
    ordered
}

fn split_tid(line: &str) -> (i32, &str) {
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match line[..digits].parse() {
        Ok(tid) if line[digits..].starts_with(' ') => (tid, line[digits..].trim_start()),
        _ => (0, line),
    }
}

/// One line, complete; `None` if it is none of the forms.
pub(crate) fn parse_line(text: &str) -> Option<Line> {
    if let Some(note) = text.strip_prefix("# ") {
        return Some(Line {
            tid: 0,
            event: Event::Note(note.to_owned()),
            comment: None,
            text: text.to_owned(),
        });
    }
    let (tid, rest) = split_tid(text);
    let (event, comment) = match rest.strip_prefix("+++ ") {
        Some(end) => {
            let (end, comment) = split_comment(end);
            (parse_end(end.trim_end().strip_suffix(" +++")?)?, comment)
        }
        None => {
            let (call, comment) = parse_call(rest)?;
            (Event::Call(call), comment)
        }
    };
    Some(Line {
        tid,
        event,
        comment,
        text: text.to_owned(),
    })
}

fn parse_end(text: &str) -> Option<Event> {
    if let Some(code) = text.strip_prefix("exited with ") {
        return code.parse().ok().map(Event::Exited);
    }
    if let Some(by) = text.strip_prefix("superseded by execve in pid ") {
        return by.parse().ok().map(Event::Superseded);
    }
    if let Some(by) = text.strip_prefix("orphaned: parent ") {
        return by.parse().ok().map(Event::Orphaned);
    }
    if text == "detached" || text == "no longer shown" {
        return Some(Event::Detached);
    }
    // What is unknown is not said.
    if let Some(rest) = text.strip_prefix("attached") {
        let rest = rest.strip_prefix(": ").unwrap_or(rest);
        let end = match rest.starts_with('"') {
            true => string_end(rest.as_bytes(), 0),
            false => 0,
        };
        let (comm, rest) = rest.split_at(end);
        let rest = rest.strip_prefix(", ").unwrap_or(rest);
        let number = |key| {
            let word = rest.strip_prefix(key)?.split(',').next()?;
            word.parse().ok()
        };
        let (parent, thread_of) = (number("parent "), number("thread of "));
        return Some(Event::Attached {
            comm: comm.trim_matches('"').to_owned(),
            parent,
            thread_of,
        });
    }
    text.strip_prefix("killed by ")
        .map(|signal| Event::Killed(signal.to_owned()))
}

fn split_comment(text: &str) -> (&str, Option<String>) {
    match text.split_once("  # ") {
        Some((before, comment)) => (before, Some(comment.to_owned())),
        None => (text, None),
    }
}

fn parse_call(text: &str) -> Option<(Call, Option<String>)> {
    let bytes = text.as_bytes();
    let open = text.find('(')?;
    let name = &text[..open];
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    let (mut at, mut depth) = (open, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    if depth != 0 {
        return None;
    }
    let args = text[open + 1..at - 1].trim_end();
    let (result, comment) = split_comment(text[at..].trim_start().strip_prefix("= ")?);
    let mut words = result.split_whitespace();
    let first = words.next()?;
    let mut aliases: Vec<i32> = Vec::new();
    let ret = if first == "?" {
        if words
            .next()
            .is_some_and(|word| word.starts_with("ERESTART"))
        {
            Ret::Restarted
        } else {
            Ret::Unknown
        }
    } else {
        let value: i32 = first.parse().ok()?;
        let rest: Vec<&str> = words.collect();
        if value == -1 {
            Ret::Error((*rest.first()?).to_owned())
        } else {
            let others: Vec<i32> = rest
                .iter()
                .filter_map(|word| {
                    word.trim_matches(|c: char| !c.is_ascii_digit())
                        .parse()
                        .ok()
                })
                .collect();
            if result.contains("in strace's PID NS") {
                aliases.push(value);
                Ret::Value(*others.first()?)
            } else {
                aliases = others;
                Ret::Value(value)
            }
        }
    };
    Some((
        Call {
            name: name.to_owned(),
            args: args.to_owned(),
            ret,
            aliases,
        },
        comment,
    ))
}
