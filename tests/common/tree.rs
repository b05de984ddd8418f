//! Traces as trees, the form in which forktrace's and strace's are compared: who created
//! whom and how, what each executed, how each ended, without what scheduling decides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::Mode;
use super::trace::{Call, Event, Line, Ret};

/// How much of the order and number of things is the program's own doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Strictness {
    /// Each task does the same things in the same order in every run.
    Exact,
    /// The same things, but siblings may come in another order.
    AnyOrder,
    /// The number varies too (thread pools): the same kinds of creation and execution.
    Kinds,
}

#[derive(Debug, Default)]
struct Task {
    label: String,
    items: Vec<Item>,
    end: String,
}

#[derive(Debug)]
enum Item {
    Text(String),
    Child(usize),
}

/// Renders a trace for comparison. `mode` is the one that forktrace ran in: what that
/// mode can't know is left out of both sides.
pub(crate) fn render(
    lines: &[Line],
    mode: Mode,
    strictness: Strictness,
    cwd: &Path,
) -> Vec<String> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut by_tid: HashMap<i32, usize> = HashMap::new();
    // strace may print a child's lines before its creation.
    fn task(tid: i32, tasks: &mut Vec<Task>, by_tid: &mut HashMap<i32, usize>) -> usize {
        *by_tid.entry(tid).or_insert_with(|| {
            tasks.push(Task {
                end: "no end".to_owned(),
                ..Task::default()
            });
            tasks.len() - 1
        })
    }
    let mut root = None;
    let mut superseded = None;
    for line in lines {
        if matches!(line.event, Event::Note(_)) {
            continue;
        }
        // The execve by which a thread became the leader is told under either's tid.
        let tid = match superseded {
            Some((leader, by)) if by == line.tid => leader,
            _ => line.tid,
        };
        superseded = None;
        let me = task(tid, &mut tasks, &mut by_tid);
        root.get_or_insert(me);
        match &line.event {
            Event::Call(call) => {
                if call.untraced() && mode == Mode::Event {
                    // No event tells of it.
                } else if let Some(child) = call.child() {
                    let index = task(child, &mut tasks, &mut by_tid);
                    tasks[index].label = call.normal();
                    tasks[me].items.push(Item::Child(index));
                } else if let Some(text) = describe(call, mode, cwd) {
                    tasks[me].items.push(Item::Text(text));
                }
            }
            Event::Exited(code) => tasks[me].end = format!("exited with {code}"),
            Event::Killed(signal) => tasks[me].end = format!("killed by {signal}"),
            Event::Superseded(by) => {
                tasks[me]
                    .items
                    .push(Item::Text("superseded by a thread's execve".to_owned()));
                superseded = Some((line.tid, *by));
                let index = task(*by, &mut tasks, &mut by_tid);
                tasks[index].end = "became the leader".to_owned();
            }
            Event::Attached { .. } | Event::Orphaned(_) => {}
            Event::Detached => tasks[me].end = "detached".to_owned(),
            Event::Note(_) => {}
        }
    }
    let Some(root) = root else { return Vec::new() };
    match strictness {
        Strictness::Exact => draw(&tasks, root, 0, false),
        Strictness::AnyOrder => draw(&tasks, root, 0, true),
        Strictness::Kinds => {
            let mut kinds = BTreeSet::new();
            for one in &tasks {
                kinds.insert(format!("created by {}", one.label));
                for item in &one.items {
                    if let Item::Text(text) = item {
                        kinds.insert(without_numbers(text));
                    }
                }
            }
            kinds.into_iter().collect()
        }
    }
}

/// Descriptor numbers that programs pass to their helpers depend on what was open.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('N') {
            out.push('N');
        }
    }
    out
}

/// A call that created nothing; `None` where the mode can't see it.
fn describe(call: &Call, mode: Mode, cwd: &Path) -> Option<String> {
    if call.ret == Ret::Restarted {
        return None;
    }
    if mode != Mode::Event {
        return Some(call.normal());
    }
    if !call.executes() || !matches!(call.ret, Ret::Value(_)) {
        return None;
    }
    Some(event_exec(call, cwd))
}

/// What an execution leaves to be seen afterwards: neither the address of envp nor, of
/// execveat, the directory and flags; of a script, not the original argv.
fn event_exec(call: &Call, cwd: &Path) -> String {
    let normal = call.normal();
    let script = quoted(&call.args).is_some_and(|path| super::program::is_script(&cwd.join(path)));
    let vars = normal
        .rsplit_once("/* ")
        .and_then(|(_, tail)| tail.split_once(" */"))
        .map_or("0 vars", |v| v.0);
    if script {
        return format!(
            "executed script {:?}, {vars}",
            quoted(&call.args).unwrap_or_default()
        );
    }
    let argv = normal.find('[').map_or("?", |start| {
        let end = normal.rfind(']').unwrap_or(normal.len() - 1);
        &normal[start..=end]
    });
    // Of an execveat by descriptor nothing is left but the kernel's name for it.
    match quoted(&call.args) {
        Some(path) if call.name == "execve" && !path.starts_with("/dev/fd/") => {
            format!("executed {path:?}, {argv}, {vars}")
        }
        _ => format!("executed {argv}, {vars}"),
    }
}

/// The first string among the arguments.
fn quoted(args: &str) -> Option<&str> {
    let start = args.find('"')? + 1;
    let length = args[start..].find('"')?;
    Some(&args[start..start + length])
}

fn draw(tasks: &[Task], index: usize, depth: usize, sort: bool) -> Vec<String> {
    let indent = "  ".repeat(depth);
    let one = &tasks[index];
    let mut out = vec![format!(
        "{indent}{}",
        if one.label.is_empty() {
            "(root)"
        } else {
            &one.label
        }
    )];
    let mut parts: Vec<Vec<String>> = one
        .items
        .iter()
        .map(|item| match item {
            Item::Text(text) => vec![format!("{indent}  {text}")],
            Item::Child(child) => draw(tasks, *child, depth + 1, sort),
        })
        .collect();
    if sort {
        parts.sort();
    }
    out.extend(parts.into_iter().flatten());
    out.push(format!("{indent}  {}", one.end));
    out
}

/// Panics with the first differences.
#[track_caller]
pub(crate) fn assert_same(what: &str, strace: &[String], forktrace: &[String]) {
    if strace == forktrace {
        return;
    }
    let mut message = format!("{what}: strace (-) and forktrace (+) differ\n");
    let common = strace
        .iter()
        .zip(forktrace)
        .take_while(|(a, b)| a == b)
        .count();
    for line in &strace[common.saturating_sub(4)..common] {
        message.push_str(&format!("  {line}\n"));
    }
    for line in strace[common..].iter().take(12) {
        message.push_str(&format!("- {line}\n"));
    }
    for line in forktrace[common..].iter().take(12) {
        message.push_str(&format!("+ {line}\n"));
    }
    let (a, b) = (count(strace), count(forktrace));
    message.push_str("over all:\n");
    for (line, n) in &a {
        let m = b.get(line).copied().unwrap_or(0);
        if m < *n {
            message.push_str(&format!("- {}x {line}\n", n - m));
        }
    }
    for (line, m) in &b {
        let n = a.get(line).copied().unwrap_or(0);
        if n < *m {
            message.push_str(&format!("+ {}x {line}\n", m - n));
        }
    }
    panic!("{message}");
}

fn count(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line.trim_start()).or_insert(0) += 1;
    }
    counts
}
