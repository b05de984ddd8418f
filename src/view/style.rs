//! Colour: which parts of a line have which, and when there is any. Coloured
//! text is the same text.

use std::env;
use std::fmt::Write;

use owo_colors::Style;

use crate::config::When;

/// A part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The tid at the start.
    Tid,
    /// The name of a creating call.
    Create,
    /// The name of an exec call.
    Exec,
    /// The name of a call that waits.
    Wait,
    /// The name of a call that sends a signal.
    Kill,
    /// An error.
    Error,
    /// An exit.
    Exit,
    /// A death by signal.
    Killed,
    /// The meaning in words.
    Meaning,
    /// A lane of a picture: colours in turn.
    Lane(usize),
}

/// Decides for an output that is a terminal or not. The environment counts
/// only for `auto`; NO_COLOR wins over CLICOLOR_FORCE (no-color.org,
/// bixense.com/clicolors).
pub fn palette(when: When, terminal: bool) -> Palette {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let on = match when {
        When::Always => true,
        When::Never => false,
        When::Auto if set("NO_COLOR") => false,
        When::Auto if set("CLICOLOR_FORCE") => {
            env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0")
                || auto_terminal(terminal)
        }
        When::Auto => auto_terminal(terminal),
    };
    Palette { on }
}

fn auto_terminal(terminal: bool) -> bool {
    terminal && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    on: bool,
}

impl Palette {
    /// No colour at all.
    pub const PLAIN: Palette = Palette { on: false };

    fn style(part: Part) -> Style {
        let style = Style::new();
        match part {
            Part::Tid => style.bright_black(),
            Part::Create => style.bold().green(),
            Part::Exec => style.bold().blue(),
            Part::Wait => style.bold().yellow(),
            Part::Kill => style.bold().magenta(),
            Part::Error => style.red(),
            Part::Exit => style.bright_black(),
            Part::Killed => style.bold().red(),
            Part::Meaning => style.cyan(),
            Part::Lane(index) => match index % 6 {
                0 => style.cyan(),
                1 => style.green(),
                2 => style.yellow(),
                3 => style.magenta(),
                4 => style.blue(),
                _ => style.red(),
            },
        }
    }

    /// Appends what `write` appends, in the colour of `part`.
    pub fn paint(self, out: &mut String, part: Part, write: impl FnOnce(&mut String)) {
        if self.on {
            let style = Palette::style(part);
            // Writing to a String can't fail.
            let _ = write!(out, "{}", style.prefix_formatter());
            write(out);
            let _ = write!(out, "{}", style.suffix_formatter());
        } else {
            write(out);
        }
    }
}
