//! From the text of a creating call, as strace or forktrace print it, back to
//! a [`Request`]: the inverse of [`view::syntax`](crate::view::syntax), for
//! any text that people paste. Pure, and it never panics.
//!
//! A text has less than a tracer sees: where arguments are left out the
//! [`ArgSet`] says which are known. Unknown ones are zero.

mod clone3;
mod result;

use super::value::{Cursor, Item, Trouble, Value, bare, number, signed};
use crate::abi::{Abi, Call, Syscall};
use crate::clone::flags::NAMES;
use crate::clone::{ArgSet, CloneFlags, LegacyClone, Request, Spec, Tls, UserDesc};
use crate::ids::{Errno, Signal};

/// A call as its text tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What was asked for.
    pub request: Request,
    /// Which arguments the text has.
    pub known: ArgSet,
    /// The pidfd that the kernel stored.
    pub pidfd: Option<i32>,
    /// The tid that the kernel stored in the parent.
    pub parent_tid: Option<i32>,
    /// What came of the call.
    pub returned: Returned,
    /// Whether the text goes on with a meaning already.
    pub explained: bool,
}

/// What the text of a call says that came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// Nothing is said.
    Unsaid,
    /// A child, by its tid as the tracer sees it, if the text has that.
    Child(Option<i32>),
    /// It returned 0, which it does in the child.
    InChild,
    /// An error.
    Error(Errno),
    /// `?`: it never returned.
    Never,
}

/// The creating call that `text` begins with, behind which its arguments
/// open; the length of both.
pub fn name(text: &str) -> Option<(Call, usize)> {
    [Call::Clone3, Call::Clone, Call::Fork, Call::Vfork]
        .into_iter()
        .find(|call| {
            text.strip_prefix(call.name())
                .is_some_and(|rest| rest.starts_with('('))
        })
        .map(|call| (call, call.name().len() + 1))
}

/// Parses a call that `text` begins with; what came of it may be missing.
///
/// # Errors
/// Where it is no such call, or one with arguments that are not understood.
pub fn call(text: &str) -> Result<Parsed, Trouble> {
    let (call, length) =
        name(text).ok_or_else(|| Trouble::new("a call of fork, vfork, clone or clone3", text))?;
    let mut cursor = Cursor(&text[length..]);
    let items = cursor.items(')')?;
    let mut parsed = arguments(call, &items)?;
    (parsed.returned, parsed.explained) = result::result(&mut cursor)?;
    Ok(parsed)
}

/// Combines flags by name, numbers and the name of a signal: `A|B|SIGCHLD`.
///
/// # Errors
/// Where one is not known.
pub fn mask(text: &str) -> Result<u64, Trouble> {
    let mut bits = 0;
    let mut signal = None;
    for part in bare(text).split('|') {
        let part = part.trim();
        if let Some((flag, _)) = NAMES.iter().find(|(_, name)| *name == part) {
            bits |= flag.0;
        } else if let Some(found) = Signal::from_name(part) {
            if signal.is_some() {
                return Err(Trouble::new("one exit signal", part));
            }
            signal = Some(found);
            bits |= found.0 as u64;
        } else {
            bits |= number(part)
                .ok_or_else(|| Trouble::new("a flag of clone, a signal or a number", part))?;
        }
    }
    Ok(bits)
}

fn arguments(call: Call, items: &[Item<'_>]) -> Result<Parsed, Trouble> {
    match call {
        Call::Clone => clone(items),
        Call::Clone3 => clone3::call(items),
        _ => match items {
            [] => Ok(plain(call)),
            [item, ..] => Err(wrong("no arguments", item)),
        },
    }
}

fn plain(call: Call) -> Parsed {
    let (nr, spec) = match call {
        Call::Vfork => (58, Spec::Vfork),
        _ => (57, Spec::Fork),
    };
    parsed(Abi::X86_64, nr, [0; 6], spec, ArgSet::ALL)
}

fn parsed(abi: Abi, nr: u64, args: [u64; 6], spec: Spec, known: ArgSet) -> Parsed {
    Parsed {
        request: Request {
            syscall: Syscall { abi, nr, args },
            spec,
        },
        known,
        pidfd: None,
        parent_tid: None,
        returned: Returned::Unsaid,
        explained: false,
    }
}

/// Trouble with an item.
fn wrong(wanted: &'static str, item: &Item<'_>) -> Trouble {
    match (&item.value, item.name) {
        (Value::Scalar(text), None) => Trouble::new(wanted, text),
        (Value::Scalar(text), Some(name)) => Trouble::new(wanted, &format!("{name}={text}")),
        (_, Some(name)) => Trouble::new(wanted, &format!("{name}=...")),
        (Value::Fields(_), None) => Trouble::new(wanted, "{...}"),
        (Value::List(_), None) => Trouble::new(wanted, "[...]"),
    }
}

fn scalar(item: &Item<'_>) -> Result<u64, Trouble> {
    match item.value {
        Value::Scalar(text) => number(text),
        _ => None,
    }
    .ok_or_else(|| wrong("a number", item))
}

fn flags(item: &Item<'_>) -> Result<u64, Trouble> {
    match item.value {
        Value::Scalar(text) => mask(text),
        _ => Err(wrong("flags", item)),
    }
}

/// `[30643]`: what the kernel stored.
fn stored(value: &Value<'_>) -> Option<i32> {
    match value {
        Value::List(items) => match &items[..] {
            [
                Item {
                    value: Value::Scalar(text),
                    ..
                },
            ] => signed(text),
            _ => None,
        },
        _ => None,
    }
}

fn clone(items: &[Item<'_>]) -> Result<Parsed, Trouble> {
    let mut args = LegacyClone {
        flags: 0,
        stack: 0,
        parent_tid: 0,
        child_tid: 0,
        tls: Tls::Address(0),
    };
    let mut known = ArgSet::EXIT_SIGNAL;
    let mut word = None;
    let mut flagged = false;
    for (index, item) in items.iter().enumerate() {
        // Without names: raw arguments, in the order of x86_64.
        const ORDER: [&str; 5] = ["flags", "child_stack", "parent_tid", "child_tidptr", "tls"];
        match item.name.or(ORDER.get(index).copied()) {
            Some("flags") => {
                args.flags = flags(item)?;
                flagged = true;
            }
            Some("child_stack" | "stack") => {
                args.stack = scalar(item)?;
                known = known.and(ArgSet::STACK);
            }
            Some("parent_tid" | "parent_tidptr" | "pidfd") => match stored(&item.value) {
                Some(stored) => word = Some(stored),
                None => {
                    args.parent_tid = scalar(item)?;
                    known = known.and(ArgSet::PARENT_TID).and(ArgSet::PIDFD);
                }
            },
            Some("child_tidptr" | "child_tid") => {
                args.child_tid = scalar(item)?;
                known = known.and(ArgSet::CHILD_TID);
            }
            Some("tls") => {
                args.tls = tls(item)?;
                known = known.and(ArgSet::TLS);
            }
            _ => return Err(wrong("an argument of clone", item)),
        }
    }
    if !flagged {
        return Err(Trouble::new("flags=", ""));
    }
    let (abi, nr, tls) = match args.tls {
        Tls::Address(addr) => (Abi::X86_64, 56, addr),
        Tls::Segment(_) => (Abi::I386, 120, 0),
    };
    let order = abi.clone_order();
    let mut raw = [0; 6];
    raw[order.flags] = args.flags;
    raw[order.stack] = args.stack;
    raw[order.parent_tid] = args.parent_tid;
    raw[order.child_tid] = args.child_tid;
    raw[order.tls] = tls;
    let set = CloneFlags(args.flags);
    let mut parsed = parsed(abi, nr, raw, Spec::Clone(args), known);
    if set.has(CloneFlags::PARENT_SETTID) {
        parsed.parent_tid = word;
    } else {
        parsed.pidfd = word;
    }
    Ok(parsed)
}

fn tls(item: &Item<'_>) -> Result<Tls, Trouble> {
    let Value::Fields(fields) = &item.value else {
        return scalar(item).map(Tls::Address);
    };
    let mut desc = UserDesc {
        entry_number: 0,
        base_addr: 0,
        limit: 0,
        bits: 0,
    };
    for field in fields {
        let Value::Scalar(text) = field.value else {
            return Err(wrong("a number", field));
        };
        let value = signed(text)
            .map(|n| n as u32)
            .or_else(|| number(text).and_then(|n| u32::try_from(n).ok()))
            .ok_or_else(|| wrong("a number", field))?;
        let bit = |shift: u32, width: u32| (value & ((1 << width) - 1)) << shift;
        match field.name {
            Some("entry_number") => desc.entry_number = value,
            Some("base_addr") => desc.base_addr = value,
            Some("limit") => desc.limit = value,
            Some("seg_32bit") => desc.bits |= bit(0, 1),
            Some("contents") => desc.bits |= bit(1, 2),
            Some("read_exec_only") => desc.bits |= bit(3, 1),
            Some("limit_in_pages") => desc.bits |= bit(4, 1),
            Some("seg_not_present") => desc.bits |= bit(5, 1),
            Some("useable") => desc.bits |= bit(6, 1),
            Some("lm") => {}
            _ => return Err(wrong("a field of user_desc", field)),
        }
    }
    Ok(Tls::Segment(desc))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clone::args::SIZE_VER2;
    use crate::clone::{Body, Clone3, CloneArgs, SetTid, Tail};
    use crate::event::{Child, Followed, Outcome};
    use crate::ids::Tid;
    use crate::view::syntax;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Parsed {
        call(text).unwrap_or_else(|trouble| panic!("{text}: {trouble}"))
    }

    #[test]
    fn every_way_in_which_strace_writes_a_fork() {
        let plain = "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, \
                     child_tidptr=0x7f00) = 12";
        let expected = parsed(plain);
        assert_eq!(expected.returned, Returned::Child(Some(12)));
        assert_eq!(expected.request.flags(), CloneFlags(0x0120_0000));
        assert_eq!(expected.request.exit_signal(), Some(Signal::CHLD));
        for text in [
            "clone(child_stack=0, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f00) = 12",
            "clone( child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD,, child_tidptr=0x7f00)    = 12",
            "clone(child_stack=NULL, flags=0x1200000|17, child_tidptr=0x7f00) = 12",
            "clone(child_stack=NULL, flags=0x1200000 /* CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID */|17 /* SIGCHLD */, child_tidptr=0x7f00) = 12",
            "clone(child_stack=NULL, flags=0x1200011, child_tidptr=0x7f00) = 12<ruby> <0.000123>",
            "clone(child_stack=NULL, flags=0x1200011, child_tidptr=0x7f00) = 0xc",
            "clone(child_stack=NULL, flags=0x1200011, child_tidptr=0x7f00) = 2 /* 12 in strace's PID NS */",
            "clone(child_stack=NULL, flags=0x1200011, child_tidptr=0x7f00) = 12 (1 in its pid namespace)",
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
        let raw = parsed("clone(0x1200011, 0, 0, 0x7f00, 0) = 0xc");
        assert_eq!(raw.request.spec, expected.request.spec);
    }

    #[test]
    fn what_came_of_it() {
        for (text, returned) in [
            ("fork()", Returned::Unsaid),
            ("fork() ", Returned::Unsaid),
            (
                "vfork()                                 = 7",
                Returned::Child(Some(7)),
            ),
            ("fork() = 0", Returned::InChild),
            ("fork() = ?", Returned::Never),
            ("fork() = ? <unavailable>", Returned::Never),
            (
                "fork() = -1 EAGAIN (Resource temporarily unavailable) (INJECTED)",
                Returned::Error(Errno::EAGAIN),
            ),
            ("fork() = -1 (errno 11)", Returned::Error(Errno::EAGAIN)),
            (
                "fork() = ? ERESTARTNOINTR (To be restarted)",
                Returned::Error(Errno(513)),
            ),
            (
                "fork() = 7 (in the caller's pid namespace)",
                Returned::Child(None),
            ),
            (
                "fork() = 9 (7 in the caller's, 1 in its pid namespace)",
                Returned::Child(Some(9)),
            ),
        ] {
            let parsed = parsed(text);
            assert_eq!(parsed.returned, returned, "{text}");
            assert!(!parsed.explained);
        }
        assert!(parsed("fork() = 7  # process: memory copied on write").explained);
    }

    #[test]
    fn what_the_kernel_stored_is_told_from_where() {
        let thread = parsed(
            "clone3({flags=CLONE_VM|CLONE_PIDFD|CLONE_PARENT_SETTID, pidfd=0x10, parent_tid=0x20, \
             exit_signal=0, stack=0x1000, stack_size=0x2000} => {pidfd=[3<pid:12<x>>], \
             parent_tid=[12]}, 88) = 12",
        );
        assert_eq!((thread.pidfd, thread.parent_tid), (Some(3), Some(12)));
        assert!(thread.known.has(ArgSet::PARENT_TID));
        let old = parsed(
            "clone(child_stack=0x10, flags=CLONE_VM|CLONE_PARENT_SETTID, parent_tid=[12]) = 12",
        );
        assert_eq!((old.pidfd, old.parent_tid), (None, Some(12)));
        assert!(!old.known.has(ArgSet::PARENT_TID));
        let pidfd =
            parsed("clone(child_stack=NULL, flags=CLONE_PIDFD|SIGCHLD, parent_tid=[3]) = 12");
        assert_eq!((pidfd.pidfd, pidfd.parent_tid), (Some(3), None));
        let older =
            parsed("clone(child_stack=0x10, flags=CLONE_PARENT_SETTID, parent_tidptr=0x7f) = 1");
        assert_eq!(older.request.parent_tid(), Some(0x7f));
    }

    #[test]
    fn i386_has_segments() {
        let text = "clone(child_stack=0xf7, flags=CLONE_VM|CLONE_SETTLS, tls={entry_number=12, \
                    base_addr=0xf7d8a740, limit=0x0fffff, seg_32bit=1, contents=0, \
                    read_exec_only=0, limit_in_pages=1, seg_not_present=0, useable=1}) = 5";
        let parsed = parsed(text);
        assert_eq!(parsed.request.syscall.abi, Abi::I386);
        let Some(Tls::Segment(desc)) = parsed.request.tls() else {
            panic!("{parsed:?}")
        };
        assert_eq!(
            (desc.entry_number, desc.base_addr, desc.bits),
            (12, 0xf7d8_a740, 0x51)
        );
    }

    #[test]
    fn nonsense_is_trouble_in_words() {
        for (text, words) in [
            (
                "forks()",
                "not a call of fork, vfork, clone or clone3 but 'forks()'",
            ),
            ("fork(", "the closing bracket is missing at the end"),
            ("fork(1)", "not no arguments but '1'"),
            ("clone()", "flags= is missing at the end"),
            (
                "clone(flags=CLONE_X)",
                "not a flag of clone, a signal or a number but 'CLONE_X'",
            ),
            (
                "clone(flags=SIGHUP|SIGINT)",
                "not one exit signal but 'SIGINT'",
            ),
            (
                "clone(flags=0, what=1)",
                "not an argument of clone but 'what=1'",
            ),
            ("clone3()", "clone3's structure is missing at the end"),
            ("clone3({stack=NULL}, 88)", "flags= is missing at the end"),
            ("fork() 7", "not '= ' and a result but '7'"),
            ("fork() = x", "not a pid, -1 or ? but 'x'"),
            ("fork() = -1 EWHAT", "not an error but ' EWHAT'"),
        ] {
            assert_eq!(call(text).unwrap_err().to_string(), words, "{text}");
        }
    }

    fn flag_bits() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            proptest::sample::subsequence(NAMES.to_vec(), 0..8)
                .prop_map(|flags| flags.iter().fold(0, |all, (flag, _)| all | flag.0)),
        ]
    }

    fn segment_or_address() -> impl Strategy<Value = Tls> {
        prop_oneof![
            any::<u64>().prop_map(Tls::Address),
            (any::<u32>(), any::<u32>(), any::<u32>(), 0u32..128).prop_map(
                |(entry_number, base_addr, limit, bits)| Tls::Segment(UserDesc {
                    entry_number,
                    base_addr,
                    limit,
                    bits,
                })
            ),
        ]
    }

    /// Requests with nothing in them that the text doesn't show.
    fn shown() -> impl Strategy<Value = Spec> {
        let clone = (flag_bits(), any::<[u64; 3]>(), segment_or_address()).prop_map(
            |(flags, [stack, parent_tid, child_tid], tls)| {
                let set = CloneFlags(flags & !0xff);
                let keep = |flags, value| if set.any(flags) { value } else { 0 };
                Spec::Clone(LegacyClone {
                    flags,
                    stack,
                    parent_tid: keep(CloneFlags::PARENT_SETTID | CloneFlags::PIDFD, parent_tid),
                    child_tid: keep(
                        CloneFlags::CHILD_SETTID | CloneFlags::CHILD_CLEARTID,
                        child_tid,
                    ),
                    tls: if set.has(CloneFlags::SETTLS) {
                        tls
                    } else {
                        Tls::Address(0)
                    },
                })
            },
        );
        let set_tid = prop_oneof![
            (any::<u64>(), any::<u64>()).prop_map(|(at, size)| (at, size, SetTid::Address)),
            proptest::collection::vec(any::<i32>(), 1..5).prop_map(|pids| (
                0,
                pids.len() as u64,
                SetTid::Pids(pids)
            )),
            (
                proptest::collection::vec(any::<i32>(), 1..5),
                0x1000u64..0x10_0000
            )
                .prop_map(|(pids, at)| (at, pids.len() as u64 + 1, SetTid::Pids(pids))),
        ];
        let tail = prop_oneof![
            Just(Tail::Zero),
            Just(Tail::Unreadable { last: SIZE_VER2 }),
            (proptest::collection::vec(any::<u8>(), 1..40), 88usize..4096)
                .prop_map(|(head, last)| Tail::NonZero { head, last }),
        ];
        let read = (
            flag_bits(),
            any::<[u64; 8]>(),
            segment_or_address(),
            set_tid,
            tail,
        )
            .prop_map(|(flags, n, tls, (at, size, set_tid), tail)| {
                let flags = CloneFlags(flags);
                let keep = |one, value| if flags.any(one) { value } else { 0 };
                let tls = if flags.has(CloneFlags::SETTLS) {
                    tls
                } else {
                    Tls::Address(0)
                };
                let args = CloneArgs {
                    flags,
                    pidfd: keep(CloneFlags::PIDFD, n[0]),
                    child_tid: keep(CloneFlags::CHILD_SETTID | CloneFlags::CHILD_CLEARTID, n[1]),
                    parent_tid: keep(CloneFlags::PARENT_SETTID, n[2]),
                    exit_signal: n[3],
                    stack: n[4],
                    stack_size: n[5],
                    tls: match tls {
                        Tls::Address(addr) => addr,
                        Tls::Segment(_) => 0,
                    },
                    set_tid: at,
                    set_tid_size: size,
                    cgroup: n[6],
                };
                Spec::Clone3(Clone3 {
                    addr: 0,
                    size: n[7],
                    body: Body::Read {
                        args,
                        tls,
                        set_tid,
                        tail,
                    },
                })
            });
        let unread = any::<[u64; 2]>().prop_map(|[addr, size]| {
            let body = if size < 64 {
                Body::TooSmall
            } else {
                Body::Unreadable
            };
            Spec::Clone3(Clone3 { addr, size, body })
        });
        prop_oneof![Just(Spec::Fork), Just(Spec::Vfork), clone, read, unread]
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        let child = (
            1i32..,
            proptest::option::of(1i32..),
            proptest::option::of(0i32..),
        )
            .prop_map(|(tid, parent_tid, pidfd)| {
                Outcome::Created(Child {
                    tid: Some(Tid(tid)),
                    returned: tid,
                    own: tid,
                    followed: Followed::Yes,
                    parent_tid,
                    pidfd,
                })
            });
        let error = proptest::sample::select(vec![1, 11, 12, 22, 38, 513]);
        prop_oneof![
            child,
            error.prop_map(|errno| Outcome::Failed(Errno(errno))),
            Just(Outcome::Unknown),
        ]
    }

    fn text(spec: &Spec, outcome: &Outcome) -> String {
        let request = Request {
            syscall: Syscall {
                abi: Abi::X86_64,
                nr: 0,
                args: [0; 6],
            },
            spec: spec.clone(),
        };
        let mut out = syntax::name(&request).to_owned();
        syntax::request(&mut out, &request, outcome);
        out.push_str(" = ");
        match outcome {
            Outcome::Created(child) => syntax::child(&mut out, child),
            Outcome::Failed(errno) => syntax::error(&mut out, *errno),
            Outcome::Unknown | Outcome::Skipped(_) => out.push('?'),
        }
        out
    }

    proptest! {
        /// What forktrace prints is understood: the request that comes back
        /// is the one that was printed, but for what is not printed (where
        /// the kernel stored something, if what it stored is shown).
        #[test]
        fn printing_and_parsing_is_the_identity(spec in shown(), outcome in outcome()) {
            let line = text(&spec, &outcome);
            let mut back = call(&line).map_err(|e| TestCaseError::fail(format!("{line}: {e}")))?;
            let returned = match &outcome {
                Outcome::Created(child) => Returned::Child(child.tid.map(|tid| tid.0)),
                Outcome::Failed(errno) => Returned::Error(*errno),
                _ => Returned::Never,
            };
            prop_assert_eq!(back.returned, returned, "{}", line);
            if let (Spec::Clone(was), Spec::Clone(is)) = (&spec, &mut back.request.spec)
                && !back.known.has(ArgSet::PARENT_TID)
            {
                is.parent_tid = was.parent_tid;
            }
            prop_assert_eq!(&back.request.spec, &spec, "{}", line);
            if let Outcome::Created(child) = &outcome {
                let shown = match &spec {
                    Spec::Clone(_) => back.request.parent_tid().is_some(),
                    _ => back.request.is_decoded(),
                };
                let shown = shown && !matches!(spec, Spec::Fork | Spec::Vfork);
                let tid = if shown { child.parent_tid } else { None };
                prop_assert_eq!(back.parent_tid, tid, "{}", line);
            }
        }

        #[test]
        fn never_panics_on_any_text(text: String) {
            let _ = (call(&text), mask(&text));
        }

        /// Nor on what is nearly right.
        #[test]
        fn never_panics_on_a_broken_call(
            spec in shown(),
            outcome in outcome(),
            cut in any::<proptest::sample::Index>(),
            with in "[<>/*{}\\[\\](),=|\"\\\\x0-9 é]{0,3}",
        ) {
            let line = text(&spec, &outcome);
            let at = cut.index(line.len() + 1);
            let _ = call(&line[..at]);
            let _ = call(&format!("{}{with}{}", &line[..at], &line[at..]));
        }
    }
}
