//! The log: what forktrace records (`--json`) and reads again (`forktrace
//! view`). The writer is a view, the reader a source.
//!
//! # The format
//!
//! A log is lines of JSON (NDJSON, in UTF-8), an object each. The first line is
//! the header (`"event":"start"`), the last (`"event":"end"`) says that the
//! recording ended in good order; each between them is one event. [`mod@line`] has
//! the types, and `forktrace schema` prints the JSON Schema made from them.
//!
//! - All lines but the last have `event`, `time_ns`, `tid`, `tgid` and `comm`.
//!   What doesn't apply to a line is left out; the same name means the same
//!   thing, and has the same type, on all lines.
//! - Units stand in the names: `_ns`, `_kib`. `_nr` is the number of what the
//!   field without it names (`errno`, `errno_nr`).
//! - Addresses, registers and masks are strings, `"0x7f1a8abc5a10"`: as numbers
//!   they would lose their low bits in whatever reads numbers as doubles. Of
//!   the numbers only `wall_ns` is beyond 2^53 as a rule: there the last 8 bits
//!   are lost to such readers, less than a microsecond.
//! - Strings of the program (names, paths, arguments) are any bytes. What is
//!   UTF-8 stands as it is. What isn't stands with U+FFFD in place of each
//!   stray sequence, and its exact bytes beside it in hex: `comm_hex`,
//!   `path_hex`, and for lists `argv_hex`, `env_hex`, `command_hex`, with null
//!   at the places of those that need none. No text is ever escaped: an
//!   argument with a backslash is that argument.
//! - The environment is not in the log unless `--env` asks for it: it holds
//!   secrets.
//! - Some fields only repeat in words what follows from others (`kind`,
//!   `flags`, `shared`, `errno`, …), so that filters are short. forktrace
//!   never reads them. The raw fields, those that the schema doesn't call
//!   derived, hold all that an [`Event`](crate::event::Event) holds.
//!
//! # Versions
//!
//! `format_version` in the header is MAJOR.MINOR. A MAJOR is new when a field
//! goes, or changes its meaning, its type or its unit, or when one that was
//! always there may be missing. A reader refuses another MAJOR.
//!
//! Within a MAJOR may come, with a new MINOR: new events, new fields, and new
//! words in all fields that have a set of them, whether the schema lists it or
//! not. A reader takes them so:
//!
//! | what is new | fields | a reader |
//! | --- | --- | --- |
//! | a field | | doesn't look at it |
//! | an event | `event` | skips the line, and says how many it skipped |
//! | a word that only repeats others | `kind`, `flags`, `shared`, `copied`, `change`, `exit_signal`, `signal`, `errno`, `code`, and `syscall` where `nr` is there | doesn't look at it; whoever filters by it takes it for one more word |
//! | a word that others don't tell | `abi`, `followed`, `outcome`, and `syscall` where `nr` is missing | skips the line, like an event that is new |
//! | a call | `nr`, a number that the reader knows nothing of | the same |
//! | a cause in `why`, or a word of `retry` | | leaves it out |
//! | a word in the header | `abi`, `stops`, `follow` | refuses the log: it does not know what it would show |
//!
//! `signal_nr` is raw, but follows from `args` where a call sends the signal
//! (`kill`); the schema says so of each (`readOnly`).
//!
//! | version | forktrace | what changed |
//! | --- | --- | --- |
//! | 1.0 | 0.1.0 | the first |
//! | 1.1 | 0.1.0 | `why` of `create_failed` and `exec_failed`; `retry` of `create` |

pub mod line;
pub mod lines;
mod parse;
pub mod reader;
mod schema;
pub mod types;
pub mod words;
mod write;

pub use lines::AtEnd;
pub use parse::{Parsed, header, parse};
pub use reader::Reader;
pub use schema::{schema, schema_text};
pub use write::Writer;

/// The name of the format, in a log's first line.
pub const FORMAT: &str = "forktrace";
/// Its version; see the rules above.
pub const VERSION: &str = "1.1";
/// The part of it that readers must know.
pub const MAJOR: u32 = 1;

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
mod tests;
