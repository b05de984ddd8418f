//! Names of threads, or patterns that they match, as a shell has them.

use std::fmt;

use crate::ids::Comm;

/// A name, or a pattern with `*`, `?` and `[...]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(glob::Pattern);

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern(&'static str);

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadPattern {}

impl Pattern {
    /// A pattern of any bytes. A plain name that is longer than the kernel
    /// keeps is cut as the kernel cuts it.
    ///
    /// # Errors
    /// Where a bracket doesn't close, or it is empty.
    pub fn new(text: &[u8]) -> Result<Pattern, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern("a name can't be empty"));
        }
        let plain = !text.iter().any(|byte| b"*?[".contains(byte));
        let mut text = match plain {
            true => text.get(..Comm::MAX).unwrap_or(text).to_vec(),
            false => text.to_vec(),
        };
        // To glob, two stars are about directories.
        text.dedup_by(|a, b| *a == b'*' && *b == b'*');
        glob::Pattern::new(&one_char_a_byte(&text))
            .map(Pattern)
            .map_err(|_| BadPattern("'[' without a ']' (a bracket itself is [[])"))
    }

    /// Whether a name matches, from its first to its last byte.
    pub fn matches(&self, name: Comm) -> bool {
        self.0.matches(&one_char_a_byte(name.as_bytes()))
    }
}

/// Names are bytes, patterns are made of chars: one for each byte.
fn one_char_a_byte(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &[u8], name: &[u8]) -> bool {
        Pattern::new(pattern)
            .expect("a pattern")
            .matches(Comm::new(name))
    }

    #[test]
    fn whole_names_match() {
        assert!(matches(b"gcc", b"gcc"));
        assert!(!matches(b"gcc", b"gcc-12"));
        assert!(!matches(b"gcc", b"GCC"));
        assert!(matches(b"gcc*", b"gcc-12"));
        assert!(matches(b"*", b"kworker/0:1"));
        assert!(matches(b"c?1", b"cc1"));
        assert!(matches(b"cc1[a-z]*", b"cc1plus"));
        assert!(matches(b"[!a]*", b"\xff\xfe"));
        assert!(matches(b"a**b", b"a/b"));
        assert!(matches(b"[[]x", b"[x"));
    }

    #[test]
    fn bytes_are_not_text() {
        assert!(matches(b"\xff?", b"\xff\xfe"));
        assert!(matches("é".as_bytes(), "é".as_bytes()));
        assert!(matches(b"??", "é".as_bytes()));
    }

    #[test]
    fn long_names_are_cut_as_the_kernel_cuts_them() {
        assert!(matches(b"chrome_crashpad_handler", b"chrome_crashpad"));
        assert!(!matches(b"chrome_crashpad_hand*", b"chrome_crashpad"));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for bad in [&b""[..], b"[a", b"["] {
            assert!(Pattern::new(bad).is_err(), "{bad:?}");
        }
    }
}
