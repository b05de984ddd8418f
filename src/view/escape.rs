//! Text from a tracee, made safe: quoted as C strings, as strace does, so that
//! no byte of it can act on a terminal or break a line.

use std::fmt::Write;

/// Appends `bytes` as the inside of a C string: printable ASCII as it is,
/// the rest as `\n`, `\t` and the like, or in octal, with three digits only
/// where a digit follows.
pub fn quote(out: &mut String, bytes: &[u8]) {
    out.push('"');
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
            b' '..=b'~' => out.push(char::from(*byte)),
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
    out.push('"');
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

    proptest::proptest! {
        #[test]
        fn only_printable_ascii_comes_out(bytes: Vec<u8>) {
            let text = quoted(&bytes);
            proptest::prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)));
        }
    }
}
