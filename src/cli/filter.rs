//! Options that narrow what is shown, shared by all that show a trace.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use crate::abi::Call;
use crate::clone::CloneFlags;
use crate::clone::flags::NAMES;
use crate::filter::pattern::Pattern;
use crate::filter::{Ancestor, Criteria, Happening, Went};
use crate::ids::Pid;

/// What is shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters (of what is shown; all is traced)")]
pub(crate) struct FilterArgs {
    /// Show only events of these kinds
    #[arg(long, value_name = "KIND,...", value_enum, value_delimiter = ',')]
    only: Vec<OnlyArg>,

    /// Show only calls that failed, and ends other than exit with status 0
    #[arg(long, conflicts_with = "ok")]
    failed: bool,

    /// Show only calls that succeeded, and exits with status 0
    #[arg(long)]
    ok: bool,

    /// Show only these calls
    #[arg(long, value_name = "CALL,...", value_enum, value_delimiter = ',')]
    syscall: Vec<CallArg>,

    /// Show only creations with one of these flags: NEWUSER, CLONE_VM|CLONE_VFORK, 0x100
    ///
    /// With or without CLONE_, or as a number. A|B are both at once. What fork
    /// and vfork imply counts, too.
    #[arg(long, value_name = "FLAG,...", value_delimiter = ',', value_parser = flags)]
    flag: Vec<CloneFlags>,

    /// Show only what threads of these names do; patterns with *, ? and [...]
    ///
    /// The name is what the kernel calls a thread (/proc/TID/comm): the
    /// program's, without its path and cut to 15 bytes, unless it names itself.
    /// A child begins with its creator's; an exec counts under the new one. A
    /// comma in a name is written \,.
    #[arg(
        long,
        value_name = "NAME,...",
        value_parser = OsStringValueParser::new().try_map(each(pattern))
    )]
    comm: Vec<Each<Pattern>>,

    /// Show only what these processes do, and their creation; or threads
    #[arg(
        long = "pid",
        id = "only_pid",
        allow_negative_numbers = true,
        value_name = "PID,...",
        value_delimiter = ',',
        value_parser = clap::value_parser!(i32).range(1..)
    )]
    pid: Vec<i32>,

    /// Show only what descends from these: a pid, or creators by name
    ///
    /// Their own doings are left out, but for the creations of children. Names are
    /// as for --comm.
    #[arg(
        long,
        value_name = "PID|NAME,...",
        allow_negative_numbers = true,
        value_parser = OsStringValueParser::new().try_map(each(ancestor))
    )]
    below: Vec<Each<Ancestor>>,

    /// Show only processes N generations below the first (0: it and its threads)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    depth: Option<u32>,
}

/// `--only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnlyArg {
    /// Calls that create, of threads as of processes
    #[value(alias = "creation")]
    Creations,
    /// Creations of threads
    #[value(alias = "thread")]
    Threads,
    /// Creations of processes, also in vfork
    #[value(alias = "process")]
    Processes,
    /// Creations of processes that borrow their parent's memory (vfork, posix_spawn)
    #[value(alias = "vfork")]
    Vforks,
    /// Calls of exec
    #[value(alias = "exec")]
    Execs,
    /// Ends, by exit or by signal
    #[value(alias = "exit")]
    Exits,
    /// Ends by signal
    #[value(alias = "kill")]
    Kills,
    /// Calls that wait for children; needs --waits
    #[value(alias = "wait")]
    Waits,
    /// Calls that send a signal; needs --waits
    #[value(alias = "signal")]
    Signals,
    /// Threads that were found running, or let go
    #[value(alias = "attach")]
    Attaches,
}

/// `--syscall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CallArg {
    Fork,
    Vfork,
    Clone,
    Clone3,
    Execve,
    Execveat,
    Wait4,
    Waitpid,
    Waitid,
    Kill,
    Tkill,
    Tgkill,
    #[value(name = "rt_sigqueueinfo")]
    RtSigqueueinfo,
    #[value(name = "rt_tgsigqueueinfo")]
    RtTgsigqueueinfo,
    #[value(name = "pidfd_send_signal")]
    PidfdSendSignal,
}

/// The values of one list: what clap takes for one value, as it splits at each
/// comma and names may have some.
#[derive(Debug, Clone)]
struct Each<T>(Vec<T>);

/// Reads a list whose items `read` understands.
fn each<T>(
    read: fn(OsString) -> Result<T, String>,
) -> impl Fn(OsString) -> Result<Each<T>, String> + Clone {
    move |list| {
        let items = items(list.as_bytes());
        let read = items.into_iter().map(|item| read(OsString::from_vec(item)));
        read.collect::<Result<Vec<T>, String>>().map(Each)
    }
}

/// The items of a list with commas between. Behind a backslash a comma belongs to
/// the item, and a second backslash is one.
fn items(list: &[u8]) -> Vec<Vec<u8>> {
    let mut items = vec![Vec::new()];
    let mut bytes = list.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let plain = match byte {
            b',' => {
                items.push(Vec::new());
                continue;
            }
            b'\\' => bytes.next_if(|next| b",\\".contains(next)).unwrap_or(byte),
            byte => byte,
        };
        if let Some(item) = items.last_mut() {
            item.push(plain);
        }
    }
    items
}

/// One of the flags, or several joined by `|`.
fn flags(text: &str) -> Result<CloneFlags, String> {
    text.split('|')
        .map(|word| flag(word.trim()))
        .try_fold(CloneFlags::default(), |all, one| Ok(all | one?))
}

fn flag(word: &str) -> Result<CloneFlags, String> {
    let short = |name: &'static str| name.strip_prefix("CLONE_").unwrap_or(name);
    let upper = word.to_ascii_uppercase();
    let asked = upper.strip_prefix("CLONE_").unwrap_or(&upper);
    let known = NAMES.iter();
    if let Some((flag, _)) = known.clone().find(|(_, name)| short(name) == asked) {
        return Ok(*flag);
    }
    let number = match upper.strip_prefix("0X") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => upper.parse(),
    };
    match number {
        Ok(0) => return Err("no flag is 0".to_owned()),
        Ok(bits) => return Ok(CloneFlags(bits)),
        Err(_) => {}
    }
    let near = known
        .clone()
        .map(|(_, name)| (strsim::damerau_levenshtein(asked, short(name)), name))
        .filter(|(distance, name)| distance * 3 < short(name).len())
        .min_by_key(|(distance, _)| *distance);
    Err(match near {
        Some((_, name)) => format!("there is no flag '{word}'; did you mean {name}?"),
        None => {
            let names: Vec<_> = known.map(|(_, name)| short(name)).collect();
            format!("there is no flag '{word}'; there are {}", names.join(", "))
        }
    })
}

fn pattern(text: OsString) -> Result<Pattern, String> {
    Pattern::new(text.as_bytes()).map_err(|error| error.to_string())
}

/// What is wrong with a number that no process can have.
const NO_PID: &str = "no process has such a pid";

fn ancestor(text: OsString) -> Result<Ancestor, String> {
    if let Some(digits) = text.as_bytes().strip_prefix(b"-")
        && !digits.is_empty()
        && digits.iter().all(u8::is_ascii_digit)
    {
        return Err(NO_PID.to_owned());
    }
    let number = !text.is_empty() && text.as_bytes().iter().all(u8::is_ascii_digit);
    if number {
        let pid = text.to_str().and_then(|text| text.parse().ok());
        return match pid {
            Some(pid) if pid > 0 => Ok(Ancestor::Pid(Pid(pid))),
            _ => Err(NO_PID.to_owned()),
        };
    }
    pattern(text).map(Ancestor::Name)
}

impl FilterArgs {
    /// Whether processes are named by number, as if to attach to them.
    pub(crate) fn has_pids(&self) -> bool {
        !self.pid.is_empty()
    }

    /// The filter asked for.
    pub(crate) fn into_criteria(self) -> Criteria {
        Criteria {
            only: self.only.into_iter().map(Happening::from).collect(),
            went: match (self.failed, self.ok) {
                (true, _) => Some(Went::Failed),
                (false, true) => Some(Went::Ok),
                (false, false) => None,
            },
            calls: self.syscall.into_iter().map(Call::from).collect(),
            flags: self.flag,
            names: self.comm.into_iter().flat_map(|each| each.0).collect(),
            pids: self.pid,
            below: self.below.into_iter().flat_map(|each| each.0).collect(),
            depth: self.depth,
        }
    }
}

impl From<OnlyArg> for Happening {
    fn from(arg: OnlyArg) -> Happening {
        match arg {
            OnlyArg::Creations => Happening::Creations,
            OnlyArg::Threads => Happening::Threads,
            OnlyArg::Processes => Happening::Processes,
            OnlyArg::Vforks => Happening::Vforks,
            OnlyArg::Execs => Happening::Execs,
            OnlyArg::Exits => Happening::Exits,
            OnlyArg::Kills => Happening::Kills,
            OnlyArg::Waits => Happening::Waits,
            OnlyArg::Signals => Happening::Signals,
            OnlyArg::Attaches => Happening::Attaches,
        }
    }
}

impl From<CallArg> for Call {
    fn from(arg: CallArg) -> Call {
        match arg {
            CallArg::Fork => Call::Fork,
            CallArg::Vfork => Call::Vfork,
            CallArg::Clone => Call::Clone,
            CallArg::Clone3 => Call::Clone3,
            CallArg::Execve => Call::Execve,
            CallArg::Execveat => Call::Execveat,
            CallArg::Wait4 => Call::Wait4,
            CallArg::Waitpid => Call::Waitpid,
            CallArg::Waitid => Call::Waitid,
            CallArg::Kill => Call::Kill,
            CallArg::Tkill => Call::Tkill,
            CallArg::Tgkill => Call::Tgkill,
            CallArg::RtSigqueueinfo => Call::RtSigqueueinfo,
            CallArg::RtTgsigqueueinfo => Call::RtTgsigqueueinfo,
            CallArg::PidfdSendSignal => Call::PidfdSendSignal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_names_or_numbers() {
        for (text, flags) in [
            ("CLONE_NEWUSER", CloneFlags::NEWUSER),
            ("newuser", CloneFlags::NEWUSER),
            ("clone_vm", CloneFlags::VM),
            ("0x10000000", CloneFlags::NEWUSER),
            ("256", CloneFlags::VM),
            ("VM|CLONE_VFORK", CloneFlags::VM | CloneFlags::VFORK),
            ("0x100000000", CloneFlags::CLEAR_SIGHAND),
        ] {
            assert_eq!(super::flags(text), Ok(flags), "{text}");
        }
    }

    #[test]
    fn what_is_no_flag_is_refused_with_what_there_is() {
        let error = |text| super::flags(text).expect_err(text);
        assert_eq!(
            error("NEWUSR"),
            "there is no flag 'NEWUSR'; did you mean CLONE_NEWUSER?"
        );
        assert!(error("CLONE_NEWUSER|").starts_with("there is no flag ''; there are NEWTIME, VM,"));
        assert!(error("SIGCHLD").contains("there are"));
        assert_eq!(error("0"), "no flag is 0");
        assert!(error("0x1ffffffffffffffff").starts_with("there is no flag '0x"));
    }

    #[test]
    fn names_may_have_commas() {
        for (list, expected) in [
            ("a,b", &["a", "b"][..]),
            (r"a\,b", &["a,b"]),
            (r"a\\,b", &[r"a\", "b"]),
            (r"a\\\,b", &[r"a\,b"]),
            (r"a\b,\", &[r"a\b", r"\"]),
            ("", &[""]),
            ("a,", &["a", ""]),
        ] {
            let expected: Vec<Vec<u8>> = expected
                .iter()
                .map(|item| item.as_bytes().to_vec())
                .collect();
            assert_eq!(items(list.as_bytes()), expected, "{list}");
        }
        let read = |list: &str| each(ancestor)(OsString::from(list)).map(|each| each.0);
        let name = |text: &[u8]| Ancestor::Name(Pattern::new(text).expect("a pattern"));
        assert_eq!(
            read(r"12,mysqld\,1,x"),
            Ok(vec![Ancestor::Pid(Pid(12)), name(b"mysqld,1"), name(b"x")])
        );
        for bad in ["a,,b", "a,", ",", "12,["] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ancestors_are_pids_or_names() {
        let read = |text: &str| ancestor(OsString::from(text));
        assert_eq!(read("12"), Ok(Ancestor::Pid(Pid(12))));
        let make = Pattern::new(b"make").expect("a pattern");
        assert_eq!(read("make"), Ok(Ancestor::Name(make)));
        for bad in ["[", "", "0", "-3", "99999999999"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
