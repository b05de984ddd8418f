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
