//! What the man page says of an option beside its help: what holds without it,
//! and an example. A test keeps this complete, and the examples right.

/// An option of a command.
pub(super) struct Known {
    /// The option as typed, or the name of the argument.
    pub(super) name: &'static str,
    /// What holds without it, where the grammar doesn't say.
    pub(super) default: &'static str,
    /// A command line with it.
    pub(super) example: &'static str,
}

const fn known(name: &'static str, default: &'static str, example: &'static str) -> Known {
    Known {
        name,
        default,
        example,
    }
}

/// Without it nothing of the kind.
const OFF: &str = "off";
/// Said by the grammar, or there is none.
const NONE: &str = "";
/// Without a filter.
const ALL: &str = "all are shown";

/// Those of tracing.
pub(super) const TRACE: &[Known] = &[
    known("COMMAND", NONE, "forktrace -- ls -l"),
    known(
        "--follow-forks",
        "only the first thread",
        "forktrace -f make -j4",
    ),
    known("--attach", "COMMAND is launched", "forktrace -f -p 1234"),
    known("--descendants", OFF, "forktrace -f -p 1234 --descendants"),
    known("--max-depth", "no limit", "forktrace -f --max-depth 1 make"),
    known(
        "--detach-on",
        "never",
        "forktrace -f --detach-on=exec ./server",
    ),
    known("--user", "the caller", "forktrace -u nobody id"),
    known("--daemonize", OFF, "forktrace -D -o trace.txt ./server"),
    known("--stops", NONE, "forktrace -f --stops=syscall make"),
    known("--kill-on-exit", OFF, "forktrace -f --kill-on-exit make"),
    known(
        "--output",
        "standard error",
        "forktrace -f -o trace.txt make",
    ),
    known("--string-limit", NONE, "forktrace -f -s 256 make"),
    known("--verbose", OFF, "forktrace -v ruby -e fork"),
    known("--quiet", OFF, "forktrace -q -f ./configure"),
    known("--color", NONE, "forktrace --color=always ls"),
    known("--as", NONE, "forktrace -f --as tree make -j4"),
    known(
        "--threads",
        OFF,
        "forktrace -f --as tree --threads ./server",
    ),
    known(
        "--no-fold",
        OFF,
        "forktrace -f --as tree --no-fold make -j4",
    ),
    known(
        "--top",
        "10; of summary-json all",
        "forktrace -f --as summary --top 20 make -j4",
    ),
    known("--ascii", OFF, "forktrace -f --as tree --ascii make -j4"),
    known("--absolute-timestamps", OFF, "forktrace -f -tt make"),
    known("--relative-timestamps", OFF, "forktrace -f -r make"),
    known("--syscall-times", OFF, "forktrace -f -T make"),
    known("-Y", OFF, "forktrace -f -Y make"),
    known(
        "--decode-pids",
        "tids alone",
        "forktrace -f --decode-pids=comm make",
    ),
    known("--only", ALL, "forktrace -f --only threads,exits make"),
    known("--failed", ALL, "forktrace -f --failed make"),
    known("--ok", ALL, "forktrace -f --ok --only execs make"),
    known("--syscall", ALL, "forktrace -f --syscall clone3,vfork make"),
    known(
        "--flag",
        ALL,
        "forktrace -f --flag NEWUSER,NEWPID unshare -Ur true",
    ),
    known("--comm", ALL, "forktrace -f --comm gcc,cc1* make"),
    known("--pid", ALL, "forktrace -f -p 1234 --pid 1240"),
    known("--below", ALL, "forktrace -f --below gcc make"),
    known("--depth", "no limit", "forktrace -f --depth 1 make"),
    known("--help", NONE, "forktrace --help"),
    known("--version", NONE, "forktrace --version"),
];

/// Those of subcommands.
pub(super) const SUBCOMMANDS: &[(&str, &[Known])] = &[
    (
        "explain",
        &[
            known("TERM", NONE, "forktrace explain clone 0x1200011"),
            known("--color", NONE, "forktrace explain --color=never fork"),
            known("--help", NONE, "forktrace explain --help"),
        ],
    ),
    (
        "generate",
        &[
            known("WHAT", NONE, "forktrace generate man"),
            known("--help", NONE, "forktrace generate --help"),
        ],
    ),
];
