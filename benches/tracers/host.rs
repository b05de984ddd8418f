//! The machine and the versions, without which figures say nothing.

use std::process::Command;

use crate::contender::Tools;
use crate::tool;

/// Lines to stand above all tables.
pub(crate) fn describe(tools: &Tools) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut lines = vec![
        format!(
            "{}; {cores} cores of {}; Linux {}; load {} at the start",
            date(),
            processor(),
            read("/proc/sys/kernel/osrelease"),
            read("/proc/loadavg").split(' ').next().unwrap_or("unknown"),
        ),
        format!("forktrace {}", env!("CARGO_PKG_VERSION")),
    ];
    for program in tools.programs() {
        let version = tool::version(program);
        let name = program
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        lines.push(if version.contains(&name) {
            version
        } else {
            format!("{name} {version}")
        });
    }
    lines
}

fn date() -> String {
    let output = Command::new("date").args(["-u", "+%F %H:%M UTC"]).output();
    output.map_or_else(
        |_| "date unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn processor() -> String {
    let info = read("/proc/cpuinfo");
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": "))
        .map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_else(|_| "unknown".to_owned())
        .trim()
        .to_owned()
}
