//! What the terms of a command line ask about, and the answers.

use std::path::Path;

use super::log::{self, Found, Log};
use super::page::{Page, Told, error_name, sourced};
use super::parse::{self, Parsed, Returned};
use super::value::{self, Trouble};
use super::{prefix, readings};
use crate::abi::{self, Call, X32_SYSCALL_BIT};
use crate::clone::explain::{self, Explanation};
use crate::clone::flags::{CSIGNAL, NAMES, NAMESPACES};
use crate::clone::{CloneFlags, manual, meaning, rules};
use crate::ids::{Errno, Signal};

/// Answers all terms.
///
/// # Errors
/// One line on the first that is not understood.
pub fn answer(page: &mut Page, terms: &[String]) -> Result<(), String> {
    if let Some((first, masks)) = terms.split_first()
        && !masks.is_empty()
        && let Some(call) = Call::from_name(first)
        && masks.iter().all(|term| Call::from_name(term).is_none())
    {
        let mask = mask(&masks.join("|"))
            .map_err(|trouble| format!("the flags of {first} are not understood: {trouble}"))?;
        return match call {
            Call::Clone => {
                readings::clone(page, mask);
                Ok(())
            }
            Call::Clone3 => {
                readings::clone3(page, mask);
                Ok(())
            }
            _ => Err(format!(
                "{first} takes no flags that forktrace explains; clone and clone3 do"
            )),
        };
    }
    if terms.iter().any(|term| term.contains('(')) {
        return pasted(page, &terms.join(" "));
    }
    for term in terms {
        one(page, term.trim())?;
    }
    Ok(())
}

fn one(page: &mut Page, term: &str) -> Result<(), String> {
    if let Some(call) = Call::from_name(term) {
        self::call(page, call);
    } else if let Some(number) = value::number(term).filter(|_| term != "NULL") {
        self::number(page, term, number);
    } else if let Some((flag, name)) = flag_of(term) {
        self::flag(page, flag, name);
    } else if let Some((name, fate)) = manual::GONE.iter().find(|(name, _)| *name == term) {
        page.head(name, &format!(": {fate}"), None);
    } else if term.contains('|') {
        let mask = parse::mask(term)
            .map_err(|trouble| format!("the mask is not understood: {trouble}"))?;
        readings::named(page, mask);
    } else if let Some(signal) = signal_of(term) {
        readings::signal(page, &signal.to_string(), signal);
    } else if let Some(errno) = Errno::from_name(&term.to_ascii_uppercase()) {
        error(page, &term.to_ascii_uppercase(), errno);
    } else {
        return Err(not_understood(term));
    }
    Ok(())
}

/// A mask, its flags named as [`flag_of`] takes them.
fn mask(text: &str) -> Result<u64, Trouble> {
    let parts: Vec<&str> = text
        .split('|')
        .map(|part| flag_of(part.trim()).map_or(part, |(_, name)| name))
        .collect();
    parse::mask(&parts.join("|"))
}

/// A flag by its name, also in small letters or without CLONE_.
fn flag_of(term: &str) -> Option<(CloneFlags, &'static str)> {
    let term = term.to_ascii_uppercase();
    NAMES
        .iter()
        .find(|(_, name)| *name == term || name.strip_prefix("CLONE_") == Some(&term))
        .copied()
}

/// A signal by its name, also in small letters or without SIG. What the C library
/// calls SIGRTMIN is the kernel's third real-time signal, as it keeps two
/// (signal(7)).
fn signal_of(term: &str) -> Option<Signal> {
    let term = term.to_ascii_uppercase();
    let name = term.strip_prefix("SIG").unwrap_or(&term);
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        libc::SIGRTMIN() + offset(rest, '+')?
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        libc::SIGRTMAX() - offset(rest, '-')?
    } else {
        return Signal::from_name(&format!("SIG{name}"));
    };
    (libc::SIGRTMIN()..=libc::SIGRTMAX())
        .contains(&number)
        .then_some(Signal(number))
}

fn not_understood(term: &str) -> String {
    let mut text = format!(
        "'{term}' is not understood; a call (clone, fork) or its number would be, a flag \
         (CLONE_VM), a mask (0x1200011, CLONE_VM|CLONE_FS), a signal, an error, the text of a call"
    );
    if let Some(near) = nearest(term) {
        text += &format!("; did you mean {near}?");
    } else if Path::new(term).is_file() {
        text += &format!("; for the log in that file: forktrace explain - < {term}");
    }
    text
}

/// A known name that differs by a slip of the pen.
fn nearest(term: &str) -> Option<String> {
    let names = NAMES.iter().map(|(_, name)| *name);
    let calls = Call::ALL.into_iter().map(Call::name);
    let signals = (1..=31).map(|number| Signal(number).to_string());
    names
        .chain(calls)
        .map(str::to_owned)
        .chain(signals)
        .map(|name| (strsim::damerau_levenshtein(&name, term), name))
        .filter(|(distance, name)| *distance <= 3 && distance * 3 < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// What a call is, and its numbers.
fn call(page: &mut Page, call: Call) {
    let parsed = match call {
        Call::Fork => parse::call("fork()").ok(),
        Call::Vfork => parse::call("vfork()").ok(),
        _ => None,
    };
    match &parsed {
        Some(parsed) => {
            let words = meaning::made(&parsed.request, &log::known(parsed, None));
            page.head(call.name(), "()", Some(&words));
        }
        None => page.head(call.name(), "", None),
    }
    page.line(&description(call));
    if call == Call::Clone {
        page.line(
            "arguments on x86_64 and x32: flags, stack, parent_tid, child_tid, tls; on i386, \
             aarch64, arm and riscv64 tls comes before child_tid",
        );
    }
    if call == Call::Clone3 {
        page.line("arguments: struct clone_args and its size");
    }
    let mut with = Vec::new();
    let mut without = Vec::new();
    for (abi, number) in abi::numbers_of(call) {
        match number {
            Some(number) => with.push(format!("{abi} {}", number_text(number))),
            None => without.push(abi),
        }
    }
    page.line(&format!("number: {}", with.join(", ")));
    if !without.is_empty() {
        let instead = match call {
            Call::Vfork => "clone with CLONE_VM|CLONE_VFORK|SIGCHLD",
            Call::Waitpid => "wait4",
            _ => "clone with SIGCHLD",
        };
        page.line(&format!(
            "none on {}: there a C library's {}() is {instead}",
            without.join(", "),
            call.name()
        ));
    }
}

fn number_text(number: u64) -> String {
    match number & X32_SYSCALL_BIT {
        0 => number.to_string(),
        _ => format!("{} ({number:#x} with its bit)", number & !X32_SYSCALL_BIT),
    }
}

/// What a call does, and its manual page.
fn description(call: Call) -> String {
    let (text, page) = match call {
        Call::Fork | Call::Vfork => {
            let parsed = parse::call(&format!("{}()", call.name()));
            let items = parsed.map(|parsed| explain::request(&parsed.request));
            return items
                .unwrap_or_default()
                .first()
                .map_or_else(String::new, sourced);
        }
        Call::Clone => (
            "a new thread or process, as its flags say; the exit signal is their low byte",
            "clone(2)",
        ),
        Call::Clone3 => (
            "a new thread or process, as the structure that it points to says; since Linux 5.3",
            "clone(2)",
        ),
        Call::Execve => ("replaces the program of the process", "execve(2)"),
        Call::Execveat => (
            "execve of a file relative to a directory, or of a file descriptor; since Linux 3.19",
            "execveat(2)",
        ),
        Call::Unshare => (
            "makes namespaces, or copies of what is shared, for the caller itself; a new pid \
             namespace gets its later children; since Linux 2.6.16",
            "unshare(2)",
        ),
        Call::Setns => (
            "moves the caller into a namespace that exists; a pid namespace gets its later \
             children; since Linux 3.0",
            "setns(2)",
        ),
        Call::Ptrace => ("traces another process, as strace and gdb do", "ptrace(2)"),
        Call::Waitpid => ("waits for a child that ends, stops or goes on", "wait(2)"),
        Call::Wait4 => (
            "waits for a child that ends, stops or goes on, and tells what it used; a C library's \
             wait and waitpid are this call",
            "wait4(2)",
        ),
        Call::Waitid => (
            "waits for a child that ends, stops or goes on, as its options say; it can leave the \
             child as it is (WNOWAIT); since Linux 2.6.9",
            "wait(2)",
        ),
        Call::Kill => (
            "sends a signal to a process, a process group or all processes",
            "kill(2)",
        ),
        Call::Tkill => (
            "sends a signal to a thread, whatever process has that tid by now: tgkill is safer",
            "tkill(2)",
        ),
        Call::Tgkill => (
            "sends a signal to a thread of a process, as raise and pthread_kill do; since Linux \
             2.5.75",
            "tgkill(2)",
        ),
        Call::RtSigqueueinfo => (
            "sends a signal with a siginfo of the caller's own to a process, as sigqueue does",
            "rt_sigqueueinfo(2)",
        ),
        Call::RtTgsigqueueinfo => (
            "sends a signal with a siginfo of the caller's own to a thread of a process, as \
             pthread_sigqueue does; since Linux 2.6.31",
            "rt_tgsigqueueinfo(2)",
        ),
        Call::PidfdSendSignal => (
            "sends a signal to the process that a pidfd refers to; since Linux 5.1",
            "pidfd_send_signal(2)",
        ),
    };
    format!("{text} [{page}]")
}

/// About the highest number of a system call (linux/scripts/syscall.tbl).
const LAST_CALL: u64 = 600;

/// A number alone may be that of a call, or a mask.
fn number(page: &mut Page, term: &str, number: u64) {
    let mut calls: Vec<(Call, Vec<&str>)> = Vec::new();
    for (abi, call) in abi::calls_of(number) {
        match calls.iter_mut().find(|(known, _)| *known == call) {
            Some((_, abis)) => abis.push(abi),
            None => calls.push((call, vec![abi])),
        }
    }
    for (call, abis) in &calls {
        page.head(
            call.name(),
            &format!(": call number {term} on {}", abis.join(", ")),
            None,
        );
        page.line(&description(*call));
    }
    // What people look for in a small decimal number is a call.
    if calls.is_empty() && number <= LAST_CALL && !term.starts_with("0x") {
        page.head(
            term,
            ": no number of a call that creates, changes, awaits or signals processes, on any ABI \
             known here",
            None,
        );
    }
    if calls.is_empty() || readings::sensible(number) {
        readings::number(page, number);
    }
}

fn flag(page: &mut Page, flag: CloneFlags, name: &str) {
    let Some(entry) = manual::flag(flag) else {
        return;
    };
    let item = Explanation {
        what: name.to_owned(),
        text: entry.text.to_owned(),
        page: entry.page,
        since: Some(entry.since),
    };
    page.head(name, &format!(" ({:#x}): {}", flag.0, sourced(&item)), None);
    page.line(&takers(flag));
    for rule in rules::about(flag) {
        page.rule(rule, Told::AsRule);
    }
}

/// The calls that take a flag.
fn takers(flag: CloneFlags) -> String {
    let namespace = NAMESPACES.iter().any(|(known, _)| *known == flag);
    let unshared = CloneFlags::FS | CloneFlags::FILES | CloneFlags::SYSVSEM;
    let accepted = CloneFlags::VM | CloneFlags::SIGHAND | CloneFlags::THREAD;
    let mut calls = Vec::new();
    if flag.0 & (CSIGNAL | !0xffff_ffff) == 0 {
        calls.push("clone");
    }
    if flag != CloneFlags::DETACHED {
        calls.push("clone3");
    }
    if namespace || unshared.has(flag) || accepted.has(flag) {
        calls.push("unshare");
    }
    if namespace {
        calls.push("setns");
    }
    let note = match flag {
        CloneFlags::NEWTIME => "; in clone this bit belongs to the exit signal",
        CloneFlags::EMPTY_MNTNS => {
            "; clone looks at 32 bits only; to unshare the same is 0x100000 (UNSHARE_EMPTY_MNTNS)"
        }
        _ if accepted.has(flag) => {
            "; unshare takes it from a single-threaded caller only, without effect"
        }
        _ if flag.0 >> 32 != 0 => "; clone looks at 32 bits only",
        _ => "",
    };
    format!("taken by: {}{note}", calls.join(", "))
}

fn error(page: &mut Page, term: &str, errno: Errno) {
    let fork = parse::call("fork()").ok();
    let cause = fork.and_then(|parsed| match errno.restart() {
        Some(_) => Some(meaning::failed(&parsed.request, errno)),
        None => meaning::circumstance(&parsed.request, errno)
            .map(|cause| format!("nothing created: {cause}")),
    });
    page.head(
        term,
        &format!(" ({})", errno.text()),
        Some(&cause.unwrap_or_else(|| "no error that creating calls are known for".to_owned())),
    );
    for rule in rules::with_errno(errno) {
        page.rule(rule, Told::AsRule);
    }
}

/// The text of one call or several lines of a log.
fn pasted(page: &mut Page, text: &str) -> Result<(), String> {
    let mut log = Log::default();
    let mut any = false;
    for line in text.lines() {
        if let Some(found) = log.find(line.as_bytes()) {
            any = true;
            self::found(page, &found);
        }
    }
    if any {
        return Ok(());
    }
    match alone(text) {
        Ok(parsed) => {
            let body = prefix::uncoloured(text);
            let found = Found {
                text: prefix::split(&body).body.to_owned(),
                parsed,
                caller: None,
            };
            self::found(page, &found);
            Ok(())
        }
        Err(trouble) => Err(format!("the call is not understood: {trouble}")),
    }
}

/// A call whose end is missing, or the reason why it is none.
fn alone(text: &str) -> Result<Parsed, Trouble> {
    let body = prefix::uncoloured(text.trim());
    let body = prefix::split(&body).body;
    match body.strip_suffix("<unfinished ...>") {
        Some(head) => {
            parse::call(&format!("{head})")).or_else(|_| parse::call(&format!("{head}}})")))
        }
        None => parse::call(body),
    }
}

fn found(page: &mut Page, found: &Found) {
    let Found {
        text,
        parsed,
        caller,
    } = found;
    let text = match text.split_once("  # ") {
        Some((call, _)) if parsed.explained => call,
        _ => text,
    };
    let text: String = text
        .trim()
        .chars()
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<char>>(),
            false => vec![c],
        })
        .collect();
    let length = text.find('(').unwrap_or(text.len());
    let words = match parsed.returned {
        Returned::Unsaid => expected(parsed, *caller),
        _ => log::words(parsed, *caller).unwrap_or_default(),
    };
    page.head(&text[..length], &text[length..], Some(&words));
    if log::is_untold(&parsed.request) {
        return;
    }
    for item in explain::known(&parsed.request, parsed.known) {
        page.item(&item);
    }
    readings::failures(page, &parsed.request);
}

/// What a call would do of which only the arguments are known.
fn expected(parsed: &Parsed, caller: Option<crate::ids::Pid>) -> String {
    match rules::verdict(&parsed.request) {
        _ if log::is_untold(&parsed.request) => log::UNTOLD.to_owned(),
        Some(rule) => format!(
            "{}: {}, {}",
            meaning::nothing(&parsed.request),
            error_name(rule.errno),
            rule.text
        ),
        None => meaning::made(&parsed.request, &log::known(parsed, caller)),
    }
}
