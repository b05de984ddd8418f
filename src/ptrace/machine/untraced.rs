//! CLONE_UNTRACED under a seccomp filter. Its child would keep the filter
//! without a tracer, and all its own forks and execs would fail. So the bit is
//! taken out for the time of the call: out of clone's register, or out of a copy
//! of clone3's structure. The structure itself is the program's, which may look
//! at it meanwhile and use it again; the copy goes to where nothing of value can
//! be, below the stack. Then all is put back, in parent and child.

use super::{Machine, Parent};
use crate::abi::{Abi, Syscall};
use crate::clone::{CloneFlags, Request, Spec};
use crate::memory::read_exact;
use crate::ptrace::probe::Probe;
use crate::ptrace::task::Stopped;

/// The largest structure that is copied, and that the kernel takes: a page, of
/// which it knows the beginning and the rest is zero (clone3(2), E2BIG).
const COPY_MAX: u64 = 4096;

/// What the program set, and what holds something else for the time of a call.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    abi: Abi,
    /// The first argument: clone's flags, or the address of clone3's structure.
    first: u64,
    /// The place of the copy, and what stood there.
    copy: Option<(u64, Vec<u8>)>,
}

impl Changed {
    /// The call as the program made it.
    pub(super) fn original(&self, syscall: Syscall) -> Syscall {
        let mut args = syscall.args;
        args[0] = self.first;
        Syscall { args, ..syscall }
    }

    /// What has to be put back in the child: its registers are a copy of its
    /// parent's, and its memory is one, or is the very same.
    pub(super) fn in_child(self, flags: CloneFlags) -> Changed {
        let own_memory = !flags.has(CloneFlags::VM);
        Changed {
            copy: self.copy.filter(|_| own_memory),
            ..self
        }
    }
}

/// Takes the bit out of a call that is entered. `None`: it isn't there, or it
/// can't be taken out, and all is as the program set it.
pub(super) fn take_out<P: Probe>(
    request: &Request,
    stopped: &Stopped,
    probe: &mut P,
) -> Option<Changed> {
    if !request.flags().has(CloneFlags::UNTRACED) {
        return None;
    }
    let Syscall { abi, args, .. } = request.syscall;
    let mut changed = Changed {
        abi,
        first: args[0],
        copy: None,
    };
    let first = match &request.spec {
        Spec::Clone(clone) => clone.flags & !CloneFlags::UNTRACED.0,
        // The kernel reads 32-bit programs' structures just so; but where their
        // stacks end, and whether below is theirs, is another matter.
        Spec::Clone3(clone3) if abi == Abi::X86_64 && clone3.size <= COPY_MAX => {
            let mut copy = vec![0; clone3.size as usize];
            if !read_exact(&mut probe.memory(stopped), clone3.addr, &mut copy) {
                return None;
            }
            let flags = request.flags().0 & !CloneFlags::UNTRACED.0;
            copy.splice(..8, flags.to_le_bytes());
            let (at, before) = probe.lend_below_stack(stopped, &copy)?;
            changed.copy = Some((at, before));
            at
        }
        _ => return None,
    };
    // Gone: then nobody will look at anything.
    probe.set_first_argument(stopped, abi, first).ok()?;
    Some(changed)
}

impl Machine {
    /// Puts back what a call of the program holds in place of its own.
    pub(super) fn put_back<P: Probe>(&mut self, stopped: &Stopped, probe: &mut P) {
        let task = self.tasks.get_mut(&stopped.tid());
        if let Some(changed) = task.and_then(|task| task.changed.take()) {
            if let Some((at, before)) = &changed.copy {
                probe.write_memory(stopped, *at, before);
            }
            // Gone: then nobody will look at it.
            let _ = probe.set_first_argument(stopped, changed.abi, changed.first);
        }
    }
}

impl Parent {
    /// The call that made a child, from the child's registers, as its creator
    /// made it.
    pub(super) fn original_call(&self, syscall: Syscall) -> Syscall {
        match &self.changed {
            Some(changed) => changed.original(syscall),
            None => syscall,
        }
    }
}
