//! Any event that a source may tell, for property tests.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::abi::{Abi, Call, Syscall};
use crate::clone::{self, Request};
use crate::diagnosis::reason::Role;
use crate::diagnosis::{Cause, Causes, Certainty, Reason, Retry};
use crate::event::{
    Attached, Child, Create, End, Ended, Event, EventKind, Exec, Follow, Followed, Kill, Lost,
    Outcome, Start, Stops, Target, Usage, Wait, Wanted,
};
use crate::exec::{Env, ExecCall, ListEnd, Strings, Text};
use crate::ids::{Comm, Errno, Pid, Signal, Tid};
use crate::memory::Regions;
use crate::waits::{KillCall, Stored, WaitCall};

/// Any event at all.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    (
        time(),
        any::<i32>(),
        any::<i32>(),
        bytes(0..20),
        prop_oneof![
            1 => kind_without_calls(),
            2 => create().prop_map(|create| EventKind::Create(Box::new(create))),
            2 => exec().prop_map(|exec| EventKind::Exec(Box::new(exec))),
            // On the heap: all of them together are too much for a test's stack.
            1 => wait().prop_map(|wait| EventKind::Wait(Box::new(wait))).boxed(),
            1 => kill().prop_map(|kill| EventKind::Kill(Box::new(kill))).boxed(),
            1 => any::<i32>().prop_map(|by| EventKind::Orphaned { by: Pid(by) }),
        ],
    )
        .prop_map(|(at, tid, tgid, comm, kind)| Event {
            at,
            tid: Tid(tid),
            tgid: Pid(tgid),
            comm: Comm::new(&comm),
            kind,
        })
}

fn kind_without_calls() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        start().prop_map(|start| EventKind::Start(Box::new(start))),
        any::<i32>().prop_map(|tid| EventKind::VforkDone { child: Tid(tid) }),
        ended().prop_map(EventKind::End),
        any::<i32>().prop_map(|tid| EventKind::Superseded { by: Tid(tid) }),
        (any::<i32>(), any::<i32>(), any::<bool>()).prop_map(|(parent, own, orphan)| {
            EventKind::Attached(Box::new(Attached {
                parent: Pid(parent),
                own,
                orphan,
            }))
        }),
        Just(EventKind::Lost(Lost::Detached)),
        Just(EventKind::Lost(Lost::Silenced)),
        Just(EventKind::Tracing),
        any::<i32>().prop_map(|signal| EventKind::MustStay(Signal(signal))),
    ]
}

/// All that 64 bits of nanoseconds can say.
fn time() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

/// Any bytes; often text, with what JSON escapes in it.
fn bytes(size: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), size.clone()),
        vec(
            prop_oneof![
                Just('a'),
                Just('"'),
                Just('\\'),
                Just('\n'),
                Just('é'),
                any::<char>()
            ],
            size
        )
        .prop_map(|chars| chars.into_iter().collect::<String>().into_bytes()),
    ]
}

fn start() -> impl Strategy<Value = Start> {
    (
        bytes(0..9),
        time(),
        time(),
        prop_oneof![
            vec(bytes(0..9), 0..5).prop_map(Target::Command),
            vec(any::<i32>().prop_map(Pid), 0..5).prop_map(Target::Processes),
        ],
        abi(),
        prop_oneof![
            Just(Stops::Seccomp),
            Just(Stops::Event),
            Just(Stops::Syscall)
        ],
        prop_oneof![Just(Follow::None), Just(Follow::Threads), Just(Follow::All)],
        prop_oneof![Just(Wanted::No), Just(Wanted::Yes)],
        prop_oneof![Just(Wanted::No), Just(Wanted::Yes)],
    )
        .prop_map(
            |(version, wall, monotonic, target, abi, stops, follow, waits, orphans)| Start {
                version: String::from_utf8_lossy(&version).into_owned(),
                wall,
                monotonic,
                target,
                abi,
                stops,
                follow,
                waits,
                orphans,
            },
        )
}

fn abi() -> impl Strategy<Value = Abi> {
    prop_oneof![Just(Abi::X86_64), Just(Abi::I386), Just(Abi::X32)]
}

fn ended() -> impl Strategy<Value = Ended> {
    let end = prop_oneof![
        (0..256).prop_map(End::Exited),
        (any::<i32>(), any::<bool>()).prop_map(|(signal, core_dumped)| End::Killed {
            signal: Signal(signal),
            core_dumped,
        }),
    ];
    let usage = (time(), time(), any::<u64>()).prop_map(|(user, system, max_rss_kib)| Usage {
        user,
        system,
        max_rss_kib,
    });
    (end, option::of(usage)).prop_map(|(end, usage)| Ended { end, usage })
}

/// A call of one of the sorts given, with any registers that point into a small
/// memory or anywhere.
fn syscall(wanted: fn(Call) -> bool) -> impl Strategy<Value = Syscall> {
    let word = prop_oneof![
        3 => (0u64..0x180).prop_map(|near| MEMORY + near),
        1 => any::<u64>(),
        1 => 0u64..200,
    ];
    (abi(), any::<prop::sample::Index>(), vec(word, 6)).prop_map(move |(abi, index, args)| {
        let numbers: Vec<u64> = abi
            .numbers()
            .chain(abi.waits_numbers())
            .filter(|(_, call)| wanted(*call))
            .map(|(nr, _)| nr)
            .collect();
        Syscall {
            abi,
            nr: numbers[index.index(numbers.len())],
            args: std::array::from_fn(|at| args[at]),
        }
    })
}

const MEMORY: u64 = 0x1000;

/// Requests as they are decoded.
fn request() -> impl Strategy<Value = Request> {
    (
        syscall(Call::creates),
        any::<[u64; 11]>(),
        vec(any::<u8>(), 0..300),
        0usize..40,
    )
        .prop_map(|(syscall, fields, rest, limit)| {
            let mut bytes: Vec<u8> = fields.iter().flat_map(|f| f.to_le_bytes()).collect();
            // Often pids to set, and always near.
            bytes[64..72].copy_from_slice(&(MEMORY + fields[8] % 0x180).to_le_bytes());
            bytes[72..80].copy_from_slice(&(fields[9] % 40).to_le_bytes());
            bytes.extend(rest);
            clone::decode(syscall, &mut Regions(vec![(MEMORY, bytes)]), limit)
                .expect("a creating call")
        })
}

pub(crate) fn create() -> impl Strategy<Value = Create> {
    let child = (
        option::of(any::<i32>().prop_map(Tid)),
        any::<i32>(),
        any::<i32>(),
        prop_oneof![
            Just(Followed::Yes),
            Just(Followed::NotAsked),
            Just(Followed::Untraced)
        ],
        option::of(any::<i32>()),
        option::of(any::<i32>()),
    )
        .prop_map(|(tid, returned, own, followed, parent_tid, pidfd)| Child {
            tid,
            returned,
            own,
            followed,
            parent_tid,
            pidfd,
        });
    let retry = option::of(prop_oneof![Just(Retry::Clone3), Just(Retry::Restart)]);
    // Only what fails has causes, and only what succeeds makes good.
    let outcome = prop_oneof![
        4 => (child, retry)
            .prop_map(|(child, retry)| (Outcome::Created(child), Causes::new(), retry)),
        2 => (errno(), why()).prop_map(|(errno, why)| (Outcome::Failed(errno), why, None)),
        1 => Just((Outcome::Unknown, Causes::new(), None)),
        1 => any::<i32>().prop_map(|value| (Outcome::Skipped(value), Causes::new(), None)),
    ];
    (request(), outcome, option::of(time())).prop_map(
        |(request, (outcome, why, retry), latency)| Create {
            request,
            outcome,
            latency,
            why,
            retry,
        },
    )
}

/// Causes with numbers and texts of all sorts.
fn why() -> impl Strategy<Value = Causes> {
    let text = || bytes(0..9).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let reason =
        prop_oneof![
            Just(Reason::Deadline),
            text().prop_map(|text| Reason::Rule { text }),
            option::of(any::<u32>()).prop_map(|filters| Reason::SeccompFilter { filters }),
            (any::<u32>(), any::<u64>(), option::of(any::<u64>()))
                .prop_map(|(uid, limit, tasks)| Reason::Nproc { uid, limit, tasks }),
            (text(), any::<u64>(), any::<u64>())
                .prop_map(|(path, max, current)| Reason::CgroupPids { path, max, current }),
            (any::<i32>(), any::<u64>()).prop_map(|(pid, max)| Reason::SetTidRange { pid, max }),
            (text(), any::<u16>(), any::<u8>()).prop_map(|(path, machine, bits)| {
                let role = Role::Loader;
                Reason::OtherMachine {
                    role,
                    path,
                    machine,
                    bits,
                }
            }),
            (text(), any::<bool>()).prop_map(|(path, text)| Reason::NoMagic { path, text }),
        ];
    let certainty = prop_oneof![Just(Certainty::Certain), Just(Certainty::Possible)];
    let cause = (certainty, reason).prop_map(|(certainty, reason)| Cause { certainty, reason });
    vec(cause, 0..4)
}

fn errno() -> impl Strategy<Value = Errno> {
    prop_oneof![1..134, Just(513), any::<i32>()].prop_map(Errno)
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        4 => (bytes(0..12), any::<bool>())
            .prop_map(|(bytes, truncated)| Text::Bytes { bytes, truncated }),
        1 => Just(Text::Null),
        1 => any::<u64>().prop_map(Text::Unreadable),
    ]
}

fn strings() -> impl Strategy<Value = Strings> {
    let end = prop_oneof![
        Just(ListEnd::Complete),
        Just(ListEnd::More),
        any::<u64>().prop_map(ListEnd::Unreadable)
    ];
    prop_oneof![
        1 => any::<u64>().prop_map(Strings::Address),
        4 => (vec(text(), 0..5), end).prop_map(|(items, end)| Strings::List { items, end }),
    ]
}

pub(crate) fn exec() -> impl Strategy<Value = Exec> {
    let execs = |call| matches!(call, Call::Execve | Call::Execveat);
    let seen = syscall(execs).prop_map(|syscall| {
        let call = syscall.call().expect("an exec call");
        (Some(syscall), call)
    });
    let unseen = prop_oneof![Just((None, Call::Execve)), Just((None, Call::Execveat))];
    let env = (
        option::of(any::<u64>()),
        option::of(any::<usize>()),
        any::<bool>(),
        option::of(strings()),
    )
        .prop_map(|(addr, vars, unterminated, text)| Env {
            addr,
            vars,
            unterminated,
            text,
        });
    let call = (prop_oneof![seen, unseen], text(), strings(), env).prop_map(
        |((syscall, call), path, argv, env)| ExecCall {
            syscall,
            call,
            path,
            argv,
            env,
        },
    );
    // Only what succeeds changes tids and lets parents go on.
    let result = prop_oneof![
        (
            Just(Some(Ok(()))),
            option::of(any::<i32>().prop_map(Tid)),
            option::of(any::<i32>().prop_map(Tid)),
            Just(Causes::new()),
        ),
        (errno(), why()).prop_map(|(errno, why)| (Some(Err(errno)), None, None, why)),
        Just((None, None, None, Causes::new())),
    ];
    (call, result, option::of(time())).prop_map(|(call, outcome, latency)| {
        let (result, continues_as, releases, why) = outcome;
        Exec {
            call,
            result,
            continues_as,
            releases,
            latency,
            why,
        }
    })
}

fn answer() -> impl Strategy<Value = Option<Result<i64, Errno>>> {
    prop_oneof![
        3 => any::<i64>().prop_map(|value| Some(Ok(value))),
        1 => (0i64..400).prop_map(|value| Some(Ok(value))),
        2 => errno().prop_map(|errno| Some(Err(errno))),
        1 => Just(None),
    ]
}

/// Memory that is often a siginfo of some signal.
fn siginfo_bytes() -> impl Strategy<Value = Vec<u8>> {
    (0i32..66, -70i32..130, vec(any::<u8>(), 0..0x200)).prop_map(|(signo, code, mut bytes)| {
        if let Some(head) = bytes.get_mut(..12) {
            head[..4].copy_from_slice(&signo.to_le_bytes());
            head[8..].copy_from_slice(&code.to_le_bytes());
        }
        bytes
    })
}

/// Waits as they are read back.
pub(crate) fn wait() -> impl Strategy<Value = Wait> {
    let child = option::of(any::<i32>().prop_map(Tid));
    let call = syscall(Call::waits).prop_map(|mut syscall| {
        // Where the memory begins.
        let at = if WaitCall::of(syscall).is_some_and(|call| call.is_waitid()) {
            2
        } else {
            1
        };
        if syscall.args[at] % 2 == 0 {
            syscall.args[at] = MEMORY;
        }
        WaitCall::of(syscall).expect("a call that waits")
    });
    (call, answer(), siginfo_bytes(), child, option::of(time())).prop_map(
        |(call, answer, bytes, child, latency)| {
            let mut memory = Regions(vec![(MEMORY, bytes)]);
            let stored = match answer {
                Some(Ok(value)) => call.stored(value, &mut memory),
                _ => Stored::default(),
            };
            Wait {
                call,
                answer,
                stored,
                child,
                latency,
            }
        },
    )
}

/// Signals as they are decoded.
pub(crate) fn kill() -> impl Strategy<Value = Kill> {
    let target = option::of(any::<i32>().prop_map(Tid));
    let calls = (
        syscall(Call::signals),
        siginfo_bytes(),
        answer(),
        target,
        option::of(time()),
    );
    calls.prop_map(|(mut syscall, bytes, answer, target, latency)| {
        for arg in &mut syscall.args {
            if *arg % 2 == 0 && *arg > MEMORY {
                *arg = MEMORY;
            }
        }
        let mut memory = Regions(vec![(MEMORY, bytes)]);
        Kill {
            call: KillCall::decode(syscall, &mut memory).expect("a call that signals"),
            target,
            answer,
            latency,
        }
    })
}
