//! The grammar of arguments in the text of a call: scalars, structures and
//! arrays, comments and decorations, as strace has printed them since 4.26
//! and forktrace does. What they mean is [`parse`](super::parse)'s business.

use std::fmt;

/// Why a text is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What should stand there.
    pub wanted: &'static str,
    /// What stands there: the text from that place on.
    pub at: String,
}

impl Trouble {
    /// At `text`, something else should stand.
    pub(super) fn new(wanted: &'static str, text: &str) -> Trouble {
        Trouble {
            wanted,
            at: text.to_owned(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 24;
        if self.at.trim().is_empty() {
            return write!(f, "{} is missing at the end", self.wanted);
        }
        let shown: String = self.at.chars().take(SHOWN).collect();
        let more = if shown.len() < self.at.len() {
            "..."
        } else {
            ""
        };
        write!(f, "not {} but '{shown}{more}'", self.wanted)
    }
}

/// A value in the text of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Anything without brackets, its comments and decorations included.
    Scalar(&'a str),
    /// `{name=value, ...}`
    Fields(Vec<Item<'a>>),
    /// `[value, ...]`
    List(Vec<Item<'a>>),
}

/// `name=value`, or a value alone; `=> value` what it is after the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) value: Value<'a>,
    pub(super) after: Option<Value<'a>>,
}

/// No call nests its arguments deeper than this.
const DEPTH: usize = 8;

/// What is still to be read.
pub(super) struct Cursor<'a>(pub(super) &'a str);

impl<'a> Cursor<'a> {
    pub(super) fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start();
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Takes the first `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// Items up to `close`, which is read too.
    pub(super) fn items(&mut self, close: char) -> Result<Vec<Item<'a>>, Trouble> {
        self.items_at(close, 0)
    }

    fn items_at(&mut self, close: char, depth: usize) -> Result<Vec<Item<'a>>, Trouble> {
        let mut items = Vec::new();
        loop {
            self.skip_spaces();
            // An unfinished call may have left its comma.
            while self.eat(",") {
                self.skip_spaces();
            }
            if let Some(rest) = self.0.strip_prefix(close) {
                self.0 = rest;
                return Ok(items);
            }
            if self.0.is_empty() {
                return Err(Trouble::new("the closing bracket", self.0));
            }
            items.push(self.item(depth)?);
        }
    }

    fn item(&mut self, depth: usize) -> Result<Item<'a>, Trouble> {
        let length = self
            .0
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(0);
        let behind = &self.0[length..];
        let named = length > 0 && behind.starts_with('=') && !behind.starts_with("=>");
        let name = named.then(|| {
            let name = self.take(length);
            self.take(1);
            name
        });
        let value = self.value(depth)?;
        self.skip_spaces();
        let after = if self.eat("=>") {
            self.skip_spaces();
            Some(self.value(depth)?)
        } else {
            None
        };
        Ok(Item { name, value, after })
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Trouble> {
        if depth > DEPTH {
            return Err(Trouble::new("a value", self.0));
        }
        if self.eat("{") {
            Ok(Value::Fields(self.items_at('}', depth + 1)?))
        } else if self.eat("[") {
            Ok(Value::List(self.items_at(']', depth + 1)?))
        } else {
            self.scalar().map(Value::Scalar)
        }
    }

    fn scalar(&mut self) -> Result<&'a str, Trouble> {
        let text = self.0;
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let end = if rest.starts_with("/*") {
                rest.find("*/").map(|end| end + 2)
            } else if rest.starts_with('"') {
                string_end(rest)
            } else if rest.starts_with('<') {
                decoration_end(rest)
            } else if rest.starts_with([',', ')', '}', ']']) || rest.starts_with("=>") {
                break;
            } else {
                rest.chars().next().map(char::len_utf8)
            };
            match end {
                Some(end) => at += end,
                None => return Err(Trouble::new("a value that ends", rest)),
            }
        }
        let scalar = self.take(at).trim();
        if scalar.is_empty() {
            return Err(Trouble::new("a value", self.0));
        }
        Ok(scalar)
    }
}

/// The length of a quoted string, which `text` begins with.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// The length of what strace adds to a descriptor or pid: `<pid:12<ruby>>`.
fn decoration_end(text: &str) -> Option<usize> {
    let mut open = 0;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => open += 1,
            b'>' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(index + 1);
        }
    }
    None
}

/// The text of a scalar without its comments and decorations.
pub(super) fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '<' {
            decoration_end(rest).unwrap_or(rest.len())
        } else {
            out.push(c);
            c.len_utf8()
        };
        rest = &rest[skipped..];
    }
    out.trim().to_owned()
}

/// A number: decimal, hex, or an address that may be NULL.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = bare(text);
    if text == "NULL" {
        return Some(0);
    }
    match text.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).ok()
        }
        None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// A number that may be negative.
pub(super) fn signed(text: &str) -> Option<i32> {
    let text = bare(text);
    match text.strip_prefix('-') {
        Some(_) => text.parse().ok(),
        None => i32::try_from(number(&text)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_nest_and_are_decorated() {
        let mut cursor =
            Cursor("a=0x1 /* X|Y, (z) */, {b=[1<p:2<x>>, ... /* 0x8 */] => NULL}, \"q\\\")\") = 3");
        let items = cursor.items(')').unwrap();
        assert_eq!(cursor.0, " = 3");
        assert_eq!(items.len(), 3);
        assert_eq!(items[0].name, Some("a"));
        assert_eq!(items[0].value, Value::Scalar("0x1 /* X|Y, (z) */"));
        let Value::Fields(fields) = &items[1].value else {
            panic!("{items:?}")
        };
        assert_eq!(fields[0].after, Some(Value::Scalar("NULL")));
        assert_eq!(items[2].value, Value::Scalar("\"q\\\")\""));
    }

    #[test]
    fn numbers_are_bare() {
        assert_eq!(number("0x10 /* ten */"), Some(16));
        assert_eq!(number("7</sys/fs/cgroup>"), Some(7));
        assert_eq!(number("NULL"), Some(0));
        for text in ["", "0x", "1x", "-1", "18446744073709551616", "+1", "0x+1"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(signed("-1"), Some(-1));
        assert_eq!(signed("4294967296"), None);
    }

    #[test]
    fn what_does_not_end_is_trouble() {
        for text in [
            "",
            "a",
            "a=",
            "a=\"x)",
            "a=/* )",
            "a=<)",
            "{a=1",
            &"[".repeat(100),
        ] {
            assert!(Cursor(text).items(')').is_err(), "{text}");
        }
    }
}
