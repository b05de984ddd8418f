//! Numbers as text, onto a string: the way through `std::fmt` costs more than
//! all else in a line, and lines are written while tracees wait.

/// Appends a decimal number.
pub fn decimal(out: &mut String, value: impl Into<i64>) {
    let value: i64 = value.into();
    if value < 0 {
        out.push('-');
    }
    unsigned(out, value.unsigned_abs());
}

/// Appends a decimal number that has no sign.
pub fn unsigned(out: &mut String, value: u64) {
    let mut bytes = [0; 20];
    let mut at = bytes.len();
    let mut left = value;
    loop {
        at -= 1;
        bytes[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    push(out, &bytes[at..]);
}

/// Appends a number in hex, with its `0x`.
pub fn hex(out: &mut String, value: u64) {
    let mut bytes = [0; 18];
    let mut at = bytes.len();
    let mut left = value;
    loop {
        at -= 1;
        bytes[at] = b"0123456789abcdef"[(left & 15) as usize];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    bytes[at - 2..at].copy_from_slice(b"0x");
    push(out, &bytes[at - 2..]);
}

fn push(out: &mut String, digits: &[u8]) {
    // Digits are ASCII: this can't fail, and costs a look at each.
    out.push_str(std::str::from_utf8(digits).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn as_fmt_writes_them(integer: i64, natural: u64) {
            for (value, bits) in [(integer, natural), (0, 0), (i64::MIN, u64::MAX), (i64::MAX, 15)] {
                let mut out = String::new();
                decimal(&mut out, value);
                out.push(' ');
                unsigned(&mut out, bits);
                out.push(' ');
                hex(&mut out, bits);
                proptest::prop_assert_eq!(out, format!("{value} {bits} {bits:#x}"));
            }
        }
    }
}
