//! The forms that values have on a line: bytes, addresses and derived lists.
//! Each borrows from the event when written, and from the line when read, so
//! that neither costs an allocation where it can be helped.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clone::{CloneFlags, Request};
use crate::exec::Text;

/// An address, a register or a mask of bits: a string, `"0x7f1a8abc5a10"`. As
/// a number it would lose its low bits in all that reads numbers as doubles
/// (jq, JavaScript) from 2^53 on, and nobody counts with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hex(pub u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // "0x" and at most 16 digits, filled from the end.
        let mut text = [0; 18];
        let mut start = text.len();
        let mut left = self.0;
        loop {
            start -= 1;
            text[start] = HEX_DIGITS[(left & 15) as usize];
            left >>= 4;
            if left == 0 {
                break;
            }
        }
        start -= 2;
        text[start..start + 2].copy_from_slice(b"0x");
        serializer.serialize_str(std::str::from_utf8(&text[start..]).unwrap_or_default())
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hex, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Hex;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a hexadecimal number as a string, \"0x…\", of 64 bits at most")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Hex, E> {
                let digits = text.strip_prefix("0x").unwrap_or_default().as_bytes();
                let value = digits.iter().try_fold(0u64, |value, digit| {
                    Some(value << 4 | u64::from(hex_digit(*digit)?))
                });
                match (digits.len(), value) {
                    (1..=16, Some(value)) => Ok(Hex(value)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

impl JsonSchema for Hex {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Hex".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0x[0-9a-f]{1,16}$" })
    }
}

/// Bytes that are text as a rule: written as text, what is not UTF-8 of it as
/// U+FFFD. Then the exact bytes stand beside it, as [`HexBytes`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word<'a>(pub Cow<'a, [u8]>);

impl Serialize for Word<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Word<'a>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Cow<'de, [u8]>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text.as_bytes()))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.as_bytes().to_vec()))
            }
        }
        deserializer.deserialize_str(Bytes).map(Word)
    }
}

impl JsonSchema for Word<'_> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Bytes exactly, two hexadecimal digits each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexBytes<'a>(pub Cow<'a, [u8]>);

impl<'a> HexBytes<'a> {
    /// `bytes`, where they are not UTF-8.
    pub fn unless_text(bytes: &'a [u8]) -> Option<HexBytes<'a>> {
        match std::str::from_utf8(bytes) {
            Ok(_) => None,
            Err(_) => Some(HexBytes(Cow::Borrowed(bytes))),
        }
    }
}

impl Serialize for HexBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = self
            .0
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from(HEX_DIGITS[usize::from(digit)]))
            .collect();
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for HexBytes<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Word(digits) = Word::deserialize(deserializer)?;
        let bytes: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
                _ => None,
            })
            .collect();
        match bytes {
            Some(bytes) => Ok(HexBytes(Cow::Owned(bytes))),
            None => Err(D::Error::custom("bytes have two hexadecimal digits each")),
        }
    }
}

impl JsonSchema for HexBytes<'_> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "HexBytes".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9a-f]{2})*$" })
    }
}

/// A list of strings, each as [`Word`]; null is one that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words<'a>(pub Cow<'a, [Text]>);

impl Serialize for Words<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|text| match text {
            Text::Bytes { bytes, .. } => Some(Word(Cow::Borrowed(bytes))),
            Text::Null | Text::Unreadable(_) => None,
        }))
    }
}

/// A string where it could be read, else null.
fn text(bytes: Option<Cow<'_, [u8]>>) -> Text {
    match bytes {
        Some(bytes) => Text::Bytes {
            bytes: bytes.into_owned(),
            truncated: false,
        },
        None => Text::Null,
    }
}

impl<'de> Deserialize<'de> for Words<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Vec<Text>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Text>, A::Error> {
                let mut items = Vec::new();
                while let Some(word) = seq.next_element::<Option<Word<'de>>>()? {
                    items.push(text(word.map(|word| word.0)));
                }
                Ok(items)
            }
        }
        let items = deserializer.deserialize_seq(List)?;
        Ok(Words(Cow::Owned(items)))
    }
}

impl JsonSchema for Words<'_> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Words".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": ["string", "null"] } })
    }
}

/// The exact bytes of those strings of a list that are not UTF-8, at the same
/// places; null for the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexWords<'a>(pub Cow<'a, [Text]>);

impl<'a> HexWords<'a> {
    /// `items`, where any of them is not UTF-8.
    pub fn unless_text(items: &'a [Text]) -> Option<HexWords<'a>> {
        items
            .iter()
            .any(|item| hex(item).is_some())
            .then_some(HexWords(Cow::Borrowed(items)))
    }
}

fn hex(item: &Text) -> Option<HexBytes<'_>> {
    match item {
        Text::Bytes { bytes, .. } => HexBytes::unless_text(bytes),
        Text::Null | Text::Unreadable(_) => None,
    }
}

impl Serialize for HexWords<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(hex))
    }
}

impl<'de> Deserialize<'de> for HexWords<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items: Vec<Option<HexBytes<'_>>> = Vec::deserialize(deserializer)?;
        let items = items.into_iter().map(|item| text(item.map(|item| item.0)));
        Ok(HexWords(items.collect()))
    }
}

impl JsonSchema for HexWords<'_> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "HexWords".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bytes = HexBytes::json_schema(generator);
        let pattern = bytes.get("pattern");
        json_schema!({
            "type": "array", "items": { "type": ["string", "null"], "pattern": pattern }
        })
    }
}

/// Names that follow from the flags. Written for whoever filters; never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Those of the flags themselves.
    Flags(CloneFlags),
    /// What the child shares with its creator.
    Shared(CloneFlags),
    /// What it has as a copy of its own.
    Copied(CloneFlags),
}

impl Default for Names {
    fn default() -> Names {
        Names::Flags(CloneFlags::default())
    }
}

/// What each flag shares, and whether the child has a copy without it: else it
/// starts with nothing of the kind.
const PARTS: [(CloneFlags, &str, bool); 6] = [
    (CloneFlags::VM, "memory", true),
    (CloneFlags::FILES, "files", true),
    (CloneFlags::FS, "cwd", true),
    (CloneFlags::SIGHAND, "signal_handlers", true),
    (CloneFlags::SYSVSEM, "semaphore_undo", false),
    (CloneFlags::IO, "io_context", false),
];

impl Names {
    /// All three of a request, where it could be decoded.
    pub fn of(request: &Request) -> Option<[Names; 3]> {
        let flags = request.flags();
        request.is_decoded().then_some([
            Names::Flags(flags),
            Names::Shared(flags),
            Names::Copied(flags),
        ])
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        match *self {
            Names::Flags(flags) => {
                for (_, name) in flags.iter() {
                    list.serialize_element(name)?;
                }
            }
            Names::Shared(flags) => {
                for (_, name, _) in PARTS.iter().filter(|(flag, _, _)| flags.has(*flag)) {
                    list.serialize_element(name)?;
                }
            }
            Names::Copied(flags) => {
                for (flag, name, copied) in PARTS {
                    // Handlers are then reset, not copied.
                    let reset = flag == CloneFlags::SIGHAND && flags.has(CloneFlags::CLEAR_SIGHAND);
                    if copied && !flags.has(flag) && !reset {
                        list.serialize_element(name)?;
                    }
                }
            }
        }
        list.end()
    }
}

impl JsonSchema for Names {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" } })
    }
}
