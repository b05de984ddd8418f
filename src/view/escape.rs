//! Text from a tracee, made safe: quoted as C strings, as strace does, so that
//! no byte of it can act on a terminal or break a line.

use std::fmt::Write;

use crate::ids::Comm;

/// Appends `bytes` as the inside of a C string: printable ASCII as it is,
/// the rest as `\n`, `\t` and the like, or in octal, with three digits only
/// where a digit follows.
pub fn quote(out: &mut String, bytes: &[u8]) {
    out.push('"');
    escape(out, bytes, b"");
    out.push('"');
}

/// Appends a thread's name as strace does: `<ruby>`; angle brackets in it are
/// escaped. Nothing where it is not known.
pub fn name(out: &mut String, comm: Comm) {
    if !comm.is_empty() {
        out.push('<');
        escape(out, comm.as_bytes(), b"<>");
        out.push('>');
    }
}

/// Escapes what [`quote`] does, and what is in `also`.
fn escape(out: &mut String, bytes: &[u8], also: &[u8]) {
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b'\x0c' => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\x0b' => out.push_str("\\v"),
            b' '..=b'~' if !also.contains(byte) => out.push(char::from(*byte)),
            _ => {
                let digit_follows = bytes
                    .get(index + 1)
                    .is_some_and(|b| b"01234567".contains(b));
                // Writing to a String can't fail.
                let _ = if digit_follows {
                    write!(out, "\\{byte:03o}")
                } else {
                    write!(out, "\\{byte:o}")
                };
            }
        }
    }
}

/// Appends `bytes` quoted, each as `\x..`.
pub fn quote_hex(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(bytes: &[u8]) -> String {
        let mut out = String::new();
        quote(&mut out, bytes);
        out
    }

    #[test]
    fn as_strace_quotes() {
        assert_eq!(quoted(b"ls -l"), r#""ls -l""#);
        assert_eq!(quoted(b"a\"b\\c\n\t\r\x0b\x0c"), r#""a\"b\\c\n\t\r\v\f""#);
        assert_eq!(quoted(b"\x1b[31m"), r#""\33[31m""#);
        assert_eq!(quoted(b"\x011"), r#""\0011""#);
        assert_eq!(quoted(b"\x01x"), r#""\1x""#);
        assert_eq!(quoted("é".as_bytes()), r#""\303\251""#);
        assert_eq!(quoted(b"\x7f"), r#""\177""#);
    }

    #[test]
    fn names_are_as_strace_writes_them() {
        for (name, shown) in [
            (&b"ruby"[..], "<ruby>"),
            (b"a<b>c", r"<a\74b\76c>"),
            (b"q\"x\\y", r#"<q\"x\\y>"#),
            (b"sp ace", "<sp ace>"),
            (b"\x1b[3m7", r"<\33[3m7>"),
            (b"<1", r"<\0741>"),
            (b"", ""),
        ] {
            let mut out = String::new();
            super::name(&mut out, Comm::new(name));
            assert_eq!(out, shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn only_printable_ascii_comes_out(bytes: Vec<u8>) {
            let text = quoted(&bytes);
            proptest::prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)));
        }
    }
}
