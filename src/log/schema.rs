//! What the lines of a log look like, for programs: JSON Schema, made from the
//! types that write them.

use schemars::Schema;
use schemars::generate::SchemaSettings;

use super::VERSION;
use super::line::Line;

/// The JSON Schema (draft 2020-12) of one line.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Line<'_>>();
    let title = format!("forktrace log {VERSION}, one line");
    schema.insert("title".to_owned(), title.into());
    schema
}

/// The same as text, with a newline at its end.
pub fn schema_text() -> String {
    format!("{:#}\n", schema().to_value())
}
