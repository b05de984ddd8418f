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
/// Of strings.
const STRINGS: &str = "32, and 4096 in a log";
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
    known("--waits", OFF, "forktrace -f --waits -- make"),
    known("--kill-on-exit", OFF, "forktrace -f --kill-on-exit make"),
    known("--env", OFF, "forktrace -f --env --json -o t.ndjson make"),
    known(
        "--as",
        "text",
        "forktrace -f --as text,tree:tree.txt,json:t.ndjson make",
    ),
    known("--json", OFF, "forktrace -f --json -o t.ndjson make"),
    known(
        "--output",
        "standard error",
        "forktrace -f -o trace.txt make",
    ),
    known("--string-limit", STRINGS, "forktrace -f -s 256 make"),
    known("--verbose", OFF, "forktrace -v ruby -e fork"),
    known("--quiet", OFF, "forktrace -q -f ./configure"),
    known("--color", NONE, "forktrace --color=always ls"),
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
        "view",
        &[
            known("FILE", NONE, "forktrace view t.ndjson"),
            known("--follow", OFF, "forktrace view --follow t.ndjson"),
            known("--as", "text", "forktrace view t.ndjson --as tree"),
            known(
                "--threads",
                OFF,
                "forktrace view t.ndjson --as tree --threads",
            ),
            known(
                "--no-fold",
                OFF,
                "forktrace view t.ndjson --as tree --no-fold",
            ),
            known(
                "--top",
                "10; of summary-json all",
                "forktrace view t.ndjson --as summary --top 20",
            ),
            known("--ascii", OFF, "forktrace view t.ndjson --as tree --ascii"),
            known(
                "--json",
                OFF,
                "forktrace view --json old.ndjson -o t.ndjson",
            ),
            known(
                "--output",
                "standard output",
                "forktrace view t.ndjson -o t.txt",
            ),
            known("--string-limit", STRINGS, "forktrace view -s 256 t.ndjson"),
            known("--verbose", OFF, "forktrace view -v t.ndjson"),
            known("--quiet", OFF, "forktrace view -q t.ndjson"),
            known("--color", NONE, "forktrace view --color=always t.ndjson"),
            known("--absolute-timestamps", OFF, "forktrace view -tt t.ndjson"),
            known("--relative-timestamps", OFF, "forktrace view -r t.ndjson"),
            known("--syscall-times", OFF, "forktrace view -T t.ndjson"),
            known("-Y", OFF, "forktrace view -Y t.ndjson"),
            known(
                "--decode-pids",
                "tids alone",
                "forktrace view --decode-pids=comm t.ndjson",
            ),
            known(
                "--only",
                ALL,
                "forktrace view --only threads,exits t.ndjson",
            ),
            known("--failed", ALL, "forktrace view --failed t.ndjson"),
            known("--ok", ALL, "forktrace view --ok --only execs t.ndjson"),
            known(
                "--syscall",
                ALL,
                "forktrace view --syscall clone3,vfork t.ndjson",
            ),
            known(
                "--flag",
                ALL,
                "forktrace view --flag NEWUSER,NEWPID t.ndjson",
            ),
            known("--comm", ALL, "forktrace view --comm gcc,cc1* t.ndjson"),
            known("--pid", ALL, "forktrace view --pid 1240 t.ndjson"),
            known("--below", ALL, "forktrace view --below gcc t.ndjson"),
            known("--depth", "no limit", "forktrace view --depth 1 t.ndjson"),
            known("--help", NONE, "forktrace view --help"),
        ],
    ),
    (
        "schema",
        &[known("--help", NONE, "forktrace schema --help")],
    ),
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
