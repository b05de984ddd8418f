//! What people see. A view gets events and writes them somewhere; it never
//! traces.

pub mod escape;
pub mod output;
pub mod style;
pub mod syntax;
pub mod text;

use std::io;

use crate::event::Event;

/// A view: takes events one by one.
pub trait Sink {
    /// Shows one event.
    ///
    /// # Errors
    /// Where it can't be written; nothing more will be then.
    fn event(&mut self, event: &Event) -> io::Result<()>;
}
