//! A row of the picture: the time, a cell or three for each lane, what happened. It
//! knows glyphs and widths, not processes.

use std::fmt::Write;
use std::time::Duration;

use super::super::style::{Palette, Part};
use crate::config::Glyphs;

/// Columns of text from one lane to the next.
const PITCH: usize = 3;
/// Columns of text before the first lane: the time, in milliseconds.
const MARGIN: usize = 11;
/// Columns of text that the words of a row have at the least.
const WORDS: usize = 34;
/// The fewest lanes, on however narrow a terminal.
const FEWEST: usize = 3;
/// The most lanes: nobody reads more.
const MOST: usize = 60;

/// What stands in a cell. What it is, not how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Glyph {
    /// Nothing.
    Space,
    /// A process lives.
    Live,
    /// It is suspended in vfork.
    Suspended,
    /// It has ended and was not reaped yet.
    Zombie,
    /// A line from lane to lane.
    Line,
    /// That line crosses a lane.
    Cross,
    /// It begins here and goes right, or left.
    From(Side),
    /// A birth at the end of the line that went right, or left.
    Born(Side),
    /// A zombie at the end of that line: its lane ends.
    Reaped(Side),
    /// An arrow's head at the end of that line.
    Arrow(Side),
    /// A process that was there before.
    Begin,
    /// An exec.
    Exec,
    /// An exit.
    Exit,
    /// A death by signal.
    Killed,
    /// A call that failed.
    Failed,
    /// Something that has no partner in the picture.
    Alone,
    /// Threads began or ended.
    Threads,
    /// A character of the number of processes that have no lane.
    Count(char),
}

/// Which way a line went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// To lanes further right.
    Right,
    /// To lanes further left.
    Left,
}

impl Glyph {
    fn char(self, glyphs: Glyphs) -> char {
        use Side::{Left, Right};
        let (unicode, ascii) = match self {
            Glyph::Space => (' ', ' '),
            Glyph::Live => ('│', '|'),
            Glyph::Suspended => ('·', '.'),
            Glyph::Zombie => ('╎', ':'),
            Glyph::Line => ('─', '-'),
            Glyph::Cross => ('┼', '+'),
            Glyph::From(Right) => ('├', '+'),
            Glyph::From(Left) => ('┤', '+'),
            Glyph::Born(Right) => ('╮', '.'),
            Glyph::Born(Left) => ('╭', '.'),
            Glyph::Reaped(Right) => ('╯', '\''),
            Glyph::Reaped(Left) => ('╰', '\''),
            Glyph::Arrow(Right) => ('▶', '>'),
            Glyph::Arrow(Left) => ('◀', '<'),
            Glyph::Begin => ('●', 'o'),
            Glyph::Exec => ('◆', '*'),
            Glyph::Exit => ('■', '#'),
            Glyph::Killed => ('✖', 'X'),
            Glyph::Failed => ('✗', '!'),
            Glyph::Alone => ('◇', '@'),
            Glyph::Threads => ('≡', '='),
            Glyph::Count(c) => (c, c),
        };
        match glyphs {
            Glyphs::Unicode => unicode,
            Glyphs::Ascii => ascii,
        }
    }
}

/// A glyph, and the lane whose colour it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    /// What.
    pub(super) glyph: Glyph,
    /// Whose.
    pub(super) lane: usize,
}

/// What stands left of the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Margin {
    /// The time of the row, since the start of the trace.
    At(Duration),
    /// Time passes in which nothing happens.
    Passes,
}

/// A row, or a note in the place of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    /// Of the picture.
    Lanes {
        /// What stands left of it.
        margin: Margin,
        /// From the first lane on, [`PITCH`] a lane.
        cells: Vec<Cell>,
        /// Whom it is about, in the lane's colour.
        who: Option<(String, usize)>,
        /// What happened.
        words: String,
    },
    /// A line on the picture itself.
    Note(String),
    /// What the signs mean.
    Legend,
}

/// What signs mean, each with the words behind it.
const LEGEND: &[(&[Glyph], &str)] = &[
    (
        &[
            Glyph::From(Side::Right),
            Glyph::Line,
            Glyph::Born(Side::Right),
        ],
        "creates",
    ),
    (&[Glyph::Exec], "execs"),
    (&[Glyph::Exit], "exits"),
    (&[Glyph::Killed], "killed"),
    (&[Glyph::Zombie], "zombie"),
    (
        &[
            Glyph::From(Side::Right),
            Glyph::Line,
            Glyph::Reaped(Side::Right),
        ],
        "reaps",
    ),
    (
        &[
            Glyph::From(Side::Right),
            Glyph::Line,
            Glyph::Arrow(Side::Right),
        ],
        "signals",
    ),
];

/// The lanes of a row, to be drawn upon.
#[derive(Debug)]
pub(super) struct Canvas {
    cells: Vec<Cell>,
}

impl Canvas {
    /// Room for so many lanes.
    pub(super) fn new(lanes: usize) -> Canvas {
        let cell = |index| Cell {
            glyph: Glyph::Space,
            lane: index / PITCH,
        };
        Canvas {
            cells: (0..lanes * PITCH).map(cell).collect(),
        }
    }

    /// Sets a lane's own cell.
    pub(super) fn set(&mut self, lane: usize, glyph: Glyph) {
        self.cells[lane * PITCH].glyph = glyph;
    }

    /// Writes the number of processes that have no lane into the place of one.
    pub(super) fn count(&mut self, lane: usize, number: usize) {
        let text = match number {
            1..100 => format!("+{number}"),
            _ => "+..".to_owned(),
        };
        let cells = &mut self.cells[lane * PITCH..];
        for (cell, c) in cells.iter_mut().zip(text.chars()) {
            cell.glyph = Glyph::Count(c);
        }
        // So that the words keep their distance.
        self.cells.push(Cell {
            glyph: Glyph::Space,
            lane,
        });
    }

    /// Draws a line from a lane to another, with an end that `end` makes of the
    /// way that it went.
    pub(super) fn connect(&mut self, from: usize, to: usize, end: fn(Side) -> Glyph) {
        let (side, low, high) = match from < to {
            true => (Side::Right, from, to),
            false => (Side::Left, to, from),
        };
        for cell in &mut self.cells[low * PITCH + 1..high * PITCH] {
            cell.glyph = match cell.glyph {
                Glyph::Space | Glyph::Line => Glyph::Line,
                _ => Glyph::Cross,
            };
            // The line is that of its end.
            if cell.glyph == Glyph::Line {
                cell.lane = to;
            }
        }
        self.set(from, Glyph::From(side));
        self.set(to, end(side));
    }

    /// The cells.
    pub(super) fn into_cells(self) -> Vec<Cell> {
        self.cells
    }
}

/// What rows are drawn on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// Columns of text.
    pub(super) width: usize,
    /// What is drawn with.
    pub(super) glyphs: Glyphs,
    /// In which colours.
    pub(super) palette: Palette,
}

impl Page {
    /// How many lanes there is room for.
    pub(super) fn lanes(&self) -> usize {
        let room = self.width.saturating_sub(MARGIN + WORDS);
        (room / PITCH).clamp(FEWEST, MOST)
    }

    /// Appends a row as a line.
    pub(super) fn draw(&self, out: &mut String, row: &Row) {
        match row {
            Row::Note(note) => self.note(out, note),
            Row::Legend => self.note(out, &self.legend()),
            Row::Lanes {
                margin,
                cells,
                who,
                words,
            } => {
                self.margin(out, *margin);
                self.cells(out, cells);
                let mut room = self.width.saturating_sub(MARGIN + cells.len());
                if let Some((who, lane)) = who {
                    let shown = self.cut(who, room);
                    room = room.saturating_sub(shown.chars().count());
                    let part = Part::Lane(*lane);
                    self.palette.paint(out, part, |out| out.push_str(&shown));
                }
                out.push_str(&self.cut(words, room));
            }
        }
        let length = out.trim_end_matches(' ').len();
        out.truncate(length);
        out.push('\n');
    }

    fn note(&self, out: &mut String, note: &str) {
        let shown = self.cut(note, self.width.saturating_sub(2));
        self.palette.paint(out, Part::Meaning, |out| {
            out.push_str("# ");
            out.push_str(&shown);
        });
    }

    fn legend(&self) -> String {
        let mut out = String::from("ms");
        for (signs, words) in LEGEND {
            out.push_str("  ");
            out.extend(signs.iter().map(|sign| sign.char(self.glyphs)));
            out.push(' ');
            out.push_str(words);
        }
        out
    }

    fn margin(&self, out: &mut String, margin: Margin) {
        self.palette.paint(out, Part::Tid, |out| {
            let _ = match margin {
                Margin::Passes => {
                    let dots = match self.glyphs {
                        Glyphs::Unicode => '⋮',
                        Glyphs::Ascii => ':',
                    };
                    write!(out, "{dots:>9}")
                }
                Margin::At(at) => {
                    let ms = at.as_secs_f64() * 1e3;
                    // As exact as there is room for.
                    let digits = match ms {
                        ..1e5 => 3,
                        ..1e7 => 1,
                        _ => 0,
                    };
                    write!(out, "{ms:9.digits$}")
                }
            };
        });
        out.push_str("  ");
    }

    /// Cells of one colour together.
    fn cells(&self, out: &mut String, cells: &[Cell]) {
        for run in cells.chunk_by(|a, b| a.lane == b.lane) {
            self.palette.paint(out, Part::Lane(run[0].lane), |out| {
                out.extend(run.iter().map(|cell| cell.glyph.char(self.glyphs)));
            });
        }
    }

    /// As much of a text as there is room for; all of it is one column a
    /// character.
    fn cut(&self, text: &str, room: usize) -> String {
        if text.chars().count() <= room {
            return text.to_owned();
        }
        let sign = match self.glyphs {
            Glyphs::Unicode => "…",
            Glyphs::Ascii => "...",
        };
        let kept = room.saturating_sub(sign.chars().count());
        let mut out: String = text.chars().take(kept).collect();
        out.extend(sign.chars().take(room));
        out
    }
}
