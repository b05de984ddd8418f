//! Reading a tracee's memory, as far as the decoders need to know of it: a
//! trait, so that they run on any bytes a test or a log gives them.

/// A tracee's address space.
pub trait Memory {
    /// Copies what stands at `addr` into `buf` and returns how many bytes of
    /// it, from the start, could be read. Less than asked for is no error: a
    /// string may end just before an unmapped page.
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize;

    /// Copies several places at once, in order, into the slices given; the
    /// return value is how many bytes in all could be read before the first
    /// that could not. The default reads one by one; a live tracee needs one
    /// system call for all.
    fn read_many(&mut self, places: &mut [(u64, &mut [u8])]) -> usize {
        let mut total = 0;
        for (addr, buf) in places {
            let got = self.read(*addr, buf);
            total += got;
            if got < buf.len() {
                break;
            }
        }
        total
    }
}

/// Memory of which a piece was read ahead: what lies close together costs one
/// reading.
pub struct Ahead<'a> {
    memory: &'a mut dyn Memory,
    start: u64,
    bytes: [u8; AHEAD],
    got: usize,
}

/// How much is read ahead: the stack of a new program with a usual environment
/// fits.
const AHEAD: usize = 8192;

impl<'a> Ahead<'a> {
    /// Reads ahead from `start` on.
    pub fn new(memory: &'a mut dyn Memory, start: u64) -> Ahead<'a> {
        let mut bytes = [0; AHEAD];
        let got = memory.read(start, &mut bytes);
        Ahead {
            memory,
            start,
            bytes,
            got,
        }
    }
}

impl Memory for Ahead<'_> {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize {
        let offset = usize::try_from(addr.wrapping_sub(self.start)).unwrap_or(usize::MAX);
        let known = self.bytes[..self.got].get(offset..).unwrap_or_default();
        // Where less came than was asked for, memory ends there.
        if known.len() < buf.len() && (known.is_empty() || self.got == AHEAD) {
            return self.memory.read(addr, buf);
        }
        let len = known.len().min(buf.len());
        buf[..len].copy_from_slice(&known[..len]);
        len
    }
}

/// Fills `buf` whole, or says that it can't be done.
pub fn read_exact(memory: &mut dyn Memory, addr: u64, buf: &mut [u8]) -> bool {
    memory.read(addr, buf) == buf.len()
}

/// A little-endian `u32`.
pub fn read_u32(memory: &mut dyn Memory, addr: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    read_exact(memory, addr, &mut bytes).then(|| u32::from_le_bytes(bytes))
}

/// A pattern of memory for tests: regions of bytes at addresses.
#[cfg(test)]
#[derive(Debug, Default, Clone)]
pub(crate) struct Regions(pub(crate) Vec<(u64, Vec<u8>)>);

#[cfg(test)]
impl Memory for Regions {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize {
        for (start, bytes) in &self.0 {
            let offset = addr.wrapping_sub(*start) as usize;
            if let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
                let n = rest.len().min(buf.len());
                buf[..n].copy_from_slice(&rest[..n]);
                return n;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how often it is asked.
    struct Counted(Regions, usize);

    impl Memory for Counted {
        fn read(&mut self, addr: u64, buf: &mut [u8]) -> usize {
            self.1 += 1;
            self.0.read(addr, buf)
        }
    }

    #[test]
    fn what_was_read_ahead_is_as_it_stands() {
        let pattern = |len: usize| (0..len).map(|n| n as u8).collect::<Vec<u8>>();
        for len in [0, 5, AHEAD - 1, AHEAD, AHEAD + 1, AHEAD + 100] {
            let regions = Regions(vec![(0x1000, pattern(len)), (0x10, pattern(9))]);
            let (mut plain, mut under) = (regions.clone(), Counted(regions, 0));
            let mut ahead = Ahead::new(&mut under, 0x1000);
            let end = 0x1000 + len as u64;
            for addr in [
                0x10,
                0x15,
                0xfff,
                0x1000,
                0x1003,
                end.saturating_sub(3),
                end,
                u64::MAX,
            ] {
                for size in [1, 4, 200] {
                    let (mut a, mut b) = (vec![0; size], vec![0; size]);
                    let got = (plain.read(addr, &mut a), ahead.read(addr, &mut b));
                    assert_eq!(got.0, got.1, "{size} at {addr:#x} of {len}");
                    assert_eq!(a, b);
                }
            }
        }
    }

    #[test]
    fn what_was_read_ahead_is_not_read_again() {
        let mut under = Counted(Regions(vec![(0x1000, vec![7; 300])]), 0);
        let mut ahead = Ahead::new(&mut under, 0x1000);
        for addr in 0x1000..0x1100 {
            assert_eq!(ahead.read(addr, &mut [0; 44]), 44);
        }
        // Past the end of memory, too.
        assert_eq!(ahead.read(0x1100, &mut [0; 400]), 44);
        assert_eq!(under.1, 1);
    }
}
