//! The text that explains a term, in the manner of the text view with `-v`: a
//! line for the thing itself, its meaning behind `#`, indented lines below.

use std::fmt::Write;

use crate::clone::explain::Explanation;
use crate::clone::rules::{Decides, Rule, Span};
use crate::ids::Errno;
use crate::view::style::{Palette, Part};

/// A text under way: sections with an empty line between.
#[derive(Debug)]
pub struct Page {
    out: String,
    palette: Palette,
}

/// How a rule stands to what is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is one of those that exist.
    AsRule,
    /// The call breaks it.
    AsBroken,
}

impl Page {
    /// An empty one.
    pub fn new(palette: Palette) -> Page {
        Page {
            out: String::new(),
            palette,
        }
    }

    /// All of it.
    pub fn text(self) -> String {
        self.out
    }

    /// Begins a section: its subject, of which `name` is the first part, and
    /// its meaning.
    pub fn head(&mut self, name: &str, rest: &str, meaning: Option<&str>) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.palette
            .paint(&mut self.out, Part::Create, |out| out.push_str(name));
        self.out.push_str(rest);
        if let Some(meaning) = meaning {
            self.out.push_str("  ");
            self.palette.paint(&mut self.out, Part::Meaning, |out| {
                out.push_str("# ");
                out.push_str(meaning);
            });
        }
        self.out.push('\n');
    }

    /// A line below the head.
    pub fn line(&mut self, text: &str) {
        self.palette.paint(&mut self.out, Part::Meaning, |out| {
            let _ = write!(out, "    {text}");
        });
        self.out.push('\n');
    }

    /// What one flag or argument does.
    pub fn item(&mut self, item: &Explanation) {
        self.line(&format!("{}: {}", item.what, sourced(item)));
    }

    /// A rule of the kernel.
    pub fn rule(&mut self, rule: &Rule, told: Told) {
        let verb = match (told, rule.decides) {
            (_, Decides::Caller(_)) => "may fail",
            (Told::AsRule, Decides::Arguments) => "rule",
            (Told::AsBroken, Decides::Arguments) => "fails",
        };
        let when = match rule.span {
            Span::All => String::new(),
            Span::Since(version) => format!(" since Linux {version}"),
            Span::Before(version) => format!(" before Linux {version}"),
        };
        self.out.push_str("    ");
        self.palette.paint(&mut self.out, Part::Error, |out| {
            out.push_str(verb);
        });
        let name = error_name(rule.errno);
        self.palette.paint(&mut self.out, Part::Meaning, |out| {
            let _ = write!(out, "{when}: {} ({name})", rule.text);
        });
        self.out.push('\n');
    }
}

/// Text, manual page, first version.
pub fn sourced(item: &Explanation) -> String {
    match item.since {
        Some(since) => format!("{} [{}; since Linux {since}]", item.text, item.page),
        None => format!("{} [{}]", item.text, item.page),
    }
}

/// `EINVAL`
pub fn error_name(errno: Errno) -> String {
    errno.symbol().unwrap_or_else(|| errno.0.to_string())
}
