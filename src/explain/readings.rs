//! A mask of flags, as clone and as clone3 read it: the low byte is the exit
//! signal for the one and flags for the other, and clone looks at 32 bits only.

use super::log;
use super::page::{Page, Told, error_name};
use super::parse::{self, Parsed};
use crate::clone::explain::{self, Explanation};
use crate::clone::flags::CSIGNAL;
use crate::clone::{ArgSet, CloneFlags, Request, meaning, rules};
use crate::ids::Signal;
use crate::view::syntax;

/// One way to read a mask.
struct Reading {
    /// The call or calls that read it so.
    calls: &'static str,
    /// The flags by name.
    names: String,
    parsed: Parsed,
}

impl Reading {
    /// As clone does: the low byte is the exit signal.
    fn clone(mask: u64) -> Reading {
        let mut names = String::new();
        syntax::clone_flags(&mut names, mask);
        Reading {
            calls: "clone",
            names,
            // Never in trouble: a number is always a mask.
            parsed: of_flags(&format!("clone(flags={mask:#x})"), ArgSet::EXIT_SIGNAL),
        }
    }

    /// As clone3 does: all are flags. The addresses are not known, but differ.
    fn clone3(mask: u64) -> Reading {
        let mut names = String::new();
        syntax::clone3_flags(&mut names, CloneFlags(mask));
        Reading {
            calls: "clone3",
            names,
            parsed: of_flags(
                &format!("clone3({{flags={mask:#x}, pidfd=0x8, parent_tid=0x10}})"),
                ArgSet::NONE,
            ),
        }
    }

    fn request(&self) -> &Request {
        &self.parsed.request
    }

    fn items(&self) -> Vec<Explanation> {
        explain::known(self.request(), self.parsed.known)
    }

    /// What such a call makes, or why it makes nothing.
    fn meaning(&self) -> String {
        match rules::verdict(self.request()) {
            Some(rule) => format!(
                "{}: {}, {}",
                meaning::nothing(self.request()),
                error_name(rule.errno),
                rule.text
            ),
            None => meaning::made(self.request(), &log::known(&self.parsed, None)),
        }
    }

    fn head(&self, page: &mut Page, mask: u64) {
        let number = match mask {
            0 => "0".to_owned(),
            _ => format!("{mask:#x}"),
        };
        let names = format!(", flags {number}: {}", self.names);
        page.head(self.calls, &names, Some(&self.meaning()));
    }

    /// All but the lines that stand above already.
    fn show(&self, page: &mut Page, mask: u64, above: &[Explanation]) {
        self.head(page, mask);
        for item in self.items().iter().filter(|item| !above.contains(item)) {
            page.item(item);
        }
        failures(page, self.request());
    }
}

fn of_flags(text: &str, known: ArgSet) -> Parsed {
    match parse::call(text) {
        Ok(parsed) => Parsed { known, ..parsed },
        Err(trouble) => unreachable!("{text}: {trouble}"),
    }
}

/// Whether two readings say the same.
fn agree(one: &Reading, other: &Reading) -> bool {
    let texts = |reading: &Reading| -> Vec<&str> {
        rules::broken(reading.request())
            .map(|rule| rule.text)
            .collect()
    };
    one.request().flags() == other.request().flags()
        && one.items() == other.items()
        && texts(one) == texts(other)
}

/// The rules that a call breaks, or may.
pub fn failures(page: &mut Page, request: &Request) {
    for rule in rules::broken(request).chain(rules::perhaps_broken(request)) {
        page.rule(rule, Told::AsBroken);
    }
}

/// A mask of clone.
pub fn clone(page: &mut Page, mask: u64) {
    Reading::clone(mask).show(page, mask, &[]);
}

/// A mask of clone3.
pub fn clone3(page: &mut Page, mask: u64) {
    Reading::clone3(mask).show(page, mask, &[]);
}

/// A mask by names, of no call in particular: a signal in it tells that it is
/// clone's, flags that clone doesn't have that it is clone3's.
pub fn named(page: &mut Page, mask: u64) {
    let low = mask & CSIGNAL;
    if mask >> 32 != 0 || low == CloneFlags::NEWTIME.0 {
        clone3(page, mask);
    } else if low != 0 {
        clone(page, mask);
    } else {
        number(page, mask);
    }
}

/// A mask that is a bare number.
pub fn number(page: &mut Page, mask: u64) {
    let mut old = Reading::clone(mask);
    let new = Reading::clone3(mask);
    if mask & CSIGNAL == 0 {
        // Whether there is an exit signal is not said.
        old.parsed.known = ArgSet::NONE;
    }
    if agree(&old, &new) {
        old.calls = "clone or clone3";
        old.show(page, mask, &[]);
    } else {
        old.show(page, mask, &[]);
        new.show(page, mask, &old.items());
    }
}

/// Whether a number that is a call's may well be a mask, too.
pub fn sensible(mask: u64) -> bool {
    let accepted = |reading: &Reading| rules::verdict(reading.request()).is_none();
    let signal = Signal((mask & CSIGNAL) as i32);
    mask > CSIGNAL
        && ((accepted(&Reading::clone(mask)) && (signal.0 == 0 || signal.exists()))
            || accepted(&Reading::clone3(mask)))
}

/// An exit signal.
pub fn signal(page: &mut Page, name: &str, signal: Signal) {
    let reading = Reading::clone(signal.0 as u64);
    page.head(
        name,
        &format!(" ({}), as an exit signal", signal.0),
        Some(&reading.meaning()),
    );
    for item in reading.items() {
        page.item(&item);
    }
}
