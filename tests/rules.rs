//! The rules that explain why a creating call fails, against the kernel here: each call is
//! made, and the error must be that of the first rule which it breaks, or none.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::fixture::fixture;
use common::program::need_root;
use common::run::Run;
use forktrace::abi::{Abi, Syscall};
use forktrace::clone::flags::NAMES;
use forktrace::clone::rules::{self, Version};
use forktrace::clone::{CloneFlags, Request, decode};
use forktrace::memory::Memory;

/// A call: as the fixture is asked for it, and as forktrace decodes it.
struct Trial {
    line: String,
    request: Request,
}

/// What stands for an address, here and in the fixture.
const ADDRESSES: [(&str, u64); 4] = [
    ("area", 0x5000_0000),
    ("a", 0x6000_0000),
    ("b", 0x6000_0004),
    ("pids", 0x7000_0000),
];
const HERE: u64 = 0x4000_0000;

/// Memory: bytes at addresses.
struct Regions(Vec<(u64, Vec<u8>)>);

impl Memory for Regions {
    fn read(&mut self, addr: u64, buffer: &mut [u8]) -> usize {
        for (start, bytes) in &self.0 {
            let from = addr.wrapping_sub(*start);
            if from < bytes.len() as u64 {
                let rest = &bytes[from as usize..];
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                return length;
            }
        }
        0
    }
}

fn number(word: &str) -> u64 {
    ADDRESSES
        .iter()
        .find(|(name, _)| *name == word)
        .map_or_else(
            || u64::from_str_radix(word, 16).expect("hex"),
            |(_, address)| *address,
        )
}

fn clone(flags: u64) -> Trial {
    let syscall = Syscall {
        abi: Abi::X86_64,
        nr: 56,
        args: [
            flags,
            number("area") + 65536,
            number("a"),
            number("b"),
            0,
            0,
        ],
    };
    Trial {
        line: format!("clone {flags:x}"),
        request: decode(syscall, &mut Regions(Vec::new()), 32).expect("a creating call"),
    }
}

/// clone3, as the words of a line for the fixture describe it.
#[derive(Clone)]
struct Three {
    at: &'static str,
    size: &'static str,
    fields: [String; 11],
    tail: u8,
    pids: Vec<i32>,
}

impl Three {
    fn new(flags: u64) -> Three {
        let unsignalled = CloneFlags::THREAD | CloneFlags::PARENT | CloneFlags::AUTOREAP;
        let mut three = Three {
            at: "here",
            size: "58",
            fields: std::array::from_fn(|_| "0".to_owned()),
            tail: 0,
            pids: Vec::new(),
        };
        three.fields[0] = format!("{flags:x}");
        three.fields[1] = "a".to_owned();
        three.fields[2] = "b".to_owned();
        three.fields[3] = "b".to_owned();
        if !CloneFlags(flags).any(unsignalled) {
            three.fields[4] = "11".to_owned();
        }
        three.fields[5] = "area".to_owned();
        three.fields[6] = "10000".to_owned();
        three
    }

    fn with(mut self, field: usize, value: &str) -> Three {
        self.fields[field] = value.to_owned();
        self
    }

    fn pids(mut self, address: &str, size: &str, pids: &[i32]) -> Three {
        self.pids = pids.to_vec();
        self.with(8, address).with(9, size)
    }

    fn trial(&self) -> Trial {
        let mut line = format!("clone3 {} {}", self.at, self.size);
        for field in &self.fields {
            line += &format!(" {field}");
        }
        line += &format!(" {:x}", self.tail);
        for pid in &self.pids {
            line += &format!(" {pid:x}");
        }
        let mut bytes: Vec<u8> = self
            .fields
            .iter()
            .flat_map(|field| number(field).to_le_bytes())
            .collect();
        bytes.push(self.tail);
        bytes.resize(4096, 0);
        let mut pids: Vec<u8> = self.pids.iter().flat_map(|pid| pid.to_le_bytes()).collect();
        pids.resize(256, 0);
        let at = match self.at {
            "here" => HERE,
            other => number(other),
        };
        let syscall = Syscall {
            abi: Abi::X86_64,
            nr: 435,
            args: [at, number(self.size), 0, 0, 0, 0],
        };
        let mut memory = Regions(vec![(HERE, bytes), (number("pids"), pids)]);
        Trial {
            line,
            request: decode(syscall, &mut memory, 32).expect("a creating call"),
        }
    }
}

/// The kernel's answers; 0 where it made a child.
fn answers(fixture: &str, trials: &[Trial]) -> Vec<i32> {
    let mut running = Run::new([fixture])
        .stdio(Stdio::piped(), Stdio::piped(), Stdio::piped())
        .start();
    let mut input = running.stdin();
    let lines: String = trials
        .iter()
        .map(|trial| format!("{}\n", trial.line))
        .collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let outcome = running.finish();
    writer.join().expect("writer").expect("the fixture reads");
    outcome.assert_code(0);
    let answers: Vec<i32> = outcome
        .out()
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    assert_eq!(answers.len(), trials.len(), "{}", outcome.err());
    answers
}

fn running_kernel() -> Version {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    let mut parts = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    Version(parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Makes the calls and compares; returns how many broke a rule.
#[track_caller]
fn compare(trials: Vec<Trial>) -> Option<usize> {
    let fixture = fixture("calls")?;
    if !need_root() {
        return None;
    }
    let version = running_kernel();
    let mut refused = 0;
    for (trial, answer) in trials.iter().zip(answers(&fixture, &trials)) {
        let broken: Vec<_> = rules::broken(&trial.request)
            .filter(|rule| rule.span.covers(version))
            .collect();
        // The descriptor in `cgroup` is none of a cgroup.
        let cgroup = if trial.request.flags().has(CloneFlags::INTO_CGROUP) {
            libc::EBADF
        } else {
            0
        };
        let expected = broken.first().map_or(cgroup, |rule| rule.errno.0);
        assert_eq!(
            answer,
            expected,
            "Linux {version}: {} ({}), rules broken: {broken:?}",
            trial.line,
            trial.request.flags()
        );
        refused += usize::from(!broken.is_empty());
    }
    Some(refused)
}

/// Each flag alone, each pair and, around what threads are made of, each triple.
fn masks() -> Vec<u64> {
    let all: Vec<u64> = NAMES.iter().map(|(flag, _)| flag.0).collect();
    let mut masks = vec![0];
    let thread = CloneFlags::VM | CloneFlags::SIGHAND | CloneFlags::THREAD;
    for base in [
        CloneFlags(0),
        CloneFlags::VM | CloneFlags::SIGHAND,
        thread,
        CloneFlags::PIDFD,
    ] {
        for (index, one) in all.iter().enumerate() {
            for other in &all[index..] {
                masks.push(base.0 | one | other);
            }
        }
    }
    masks.sort_unstable();
    masks.dedup();
    masks
}

#[test]
fn every_pair_of_flags_in_clone() {
    let trials: Vec<Trial> = masks()
        .into_iter()
        .filter(|mask| mask & 0xff == 0)
        .map(|mask| clone(mask | 17))
        .collect();
    let count = trials.len();
    if let Some(refused) = compare(trials) {
        assert!(refused > 100 && refused < count, "{refused} of {count}");
    }
}

#[test]
fn every_pair_of_flags_in_clone3() {
    let trials: Vec<Trial> = masks()
        .into_iter()
        .map(|mask| Three::new(mask).trial())
        .collect();
    let count = trials.len();
    if let Some(refused) = compare(trials) {
        assert!(refused > 100 && refused < count, "{refused} of {count}");
    }
}

#[test]
fn exit_signals_of_clone_are_not_checked() {
    let trials = [0, 17, 32, 64, 65, 128, 255]
        .into_iter()
        // Those that exist, but for these two, would end the caller.
        .filter(|signal| ![32, 64].contains(signal))
        .flat_map(|signal| [clone(signal), clone(signal | 0xdead_beef_0000_0000)])
        .collect();
    assert!(matches!(compare(trials), None | Some(0)));
}

#[test]
fn every_other_argument_of_clone3() {
    let plain = Three::new(0);
    let thread = (CloneFlags::VM | CloneFlags::SIGHAND | CloneFlags::THREAD).0;
    let mut trials = Vec::new();
    let mut add = |three: Three| trials.push(three);
    // Sizes, and what lies behind.
    for size in [
        "0",
        "8",
        "38",
        "3f",
        "40",
        "48",
        "50",
        "58",
        "60",
        "1000",
        "1001",
        "ffffffffffffffff",
    ] {
        add(Three {
            size,
            ..plain.clone()
        });
    }
    for size in ["58", "60", "1000", "1001"] {
        add(Three {
            size,
            tail: 1,
            ..plain.clone()
        });
    }
    for at in ["0", "8"] {
        add(Three {
            at,
            ..plain.clone()
        });
        add(Three {
            at,
            size: "30",
            ..plain.clone()
        });
    }
    // Exit signals; of those that exist only SIGCHLD leaves the caller alive.
    for signal in [
        "0",
        "11",
        "41",
        "80",
        "ff",
        "100",
        "111",
        "ffffffff00000011",
        "ffffffffffffffff",
    ] {
        add(plain.clone().with(4, signal));
        add(Three::new(thread).with(4, signal));
        add(Three::new(CloneFlags::PARENT.0).with(4, signal));
    }
    // Exit signals in the flags.
    for bits in [1, 0x11, 0x40, 0x7f, 0x91] {
        add(Three::new(bits));
    }
    for bit in 38..64 {
        add(Three::new(1 << bit));
    }
    // Stacks.
    for (stack, size) in [
        ("0", "0"),
        ("0", "1000"),
        ("area", "0"),
        ("area", "10000"),
        ("8000000000000000", "1000"),
        ("7fffffffffffffff", "1000"),
        ("area", "ffffffffffffffff"),
        ("ffffffffffffff00", "1000"),
    ] {
        add(plain.clone().with(5, stack).with(6, size));
    }
    // One address for two.
    let two = (CloneFlags::PIDFD | CloneFlags::PARENT_SETTID).0;
    add(Three::new(two).with(1, "a").with(3, "a"));
    add(Three::new(two).with(1, "a").with(3, "b"));
    add(Three::new(CloneFlags::PIDFD.0).with(1, "a").with(3, "a"));
    // Chosen pids.
    for (address, size, pids) in [
        ("pids", "1", &[0][..]),
        ("pids", "1", &[-1]),
        ("pids", "0", &[5]),
        ("0", "1", &[]),
        ("pids", "20", &[0; 32]),
        ("pids", "21", &[0; 33]),
        ("pids", "ffffffffffffffff", &[]),
        ("0", "ffffffffffffffff", &[]),
        ("8", "1", &[]),
        ("8", "0", &[]),
    ] {
        add(plain.clone().pids(address, size, pids));
    }
    let newpid = CloneFlags::NEWPID.0;
    add(Three::new(newpid).pids("pids", "1", &[2]));
    add(Three::new(newpid).pids("pids", "1", &[1]));
    add(Three::new(newpid).pids("pids", "1", &[0]));
    // Cgroups.
    let cgroup = CloneFlags::INTO_CGROUP.0;
    for fd in ["0", "7fffffff", "80000000", "ffffffffffffffff"] {
        add(Three::new(cgroup).with(10, fd));
        add(plain.clone().with(10, fd));
    }
    add(Three {
        size: "50",
        ..Three::new(cgroup)
    });
    add(Three {
        size: "40",
        ..Three::new(cgroup).pids("pids", "1", &[0])
    });
    let trials: Vec<Trial> = trials.iter().map(Three::trial).collect();
    if let Some(refused) = compare(trials) {
        assert!(refused > 70, "only {refused}");
    }
}
