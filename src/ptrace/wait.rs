//! Wait statuses, decoded here and not by a binding that knows no real-time
//! signals: a stop that is reported as an error would be lost.

use super::task::Cause;
use crate::event::End;
use crate::ids::Signal;

/// What `waitpid` said of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is in a ptrace stop.
    Stopped(Cause),
    /// It is gone.
    Ended(End),
}

const SIGTRAP: i32 = 5;
/// SIGTRAP with the bit that PTRACE_O_TRACESYSGOOD adds.
const SYSCALL_TRAP: i32 = SIGTRAP | 0x80;

/// Decodes a status word (wait(2) and ptrace(2)).
pub fn decode(status: i32) -> Status {
    let low = status & 0x7f;
    if status & 0xff == 0x7f {
        let signal = status >> 8 & 0xff;
        return Status::Stopped(match (status >> 16 & 0xffff, signal) {
            (0, SYSCALL_TRAP) => Cause::Syscall,
            (0, signal) => Cause::Signal(Signal(signal)),
            (libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE, _) => {
                Cause::Created
            }
            (libc::PTRACE_EVENT_EXEC, _) => Cause::Exec,
            (libc::PTRACE_EVENT_SECCOMP, _) => Cause::Seccomp,
            (libc::PTRACE_EVENT_STOP, SIGTRAP) => Cause::Trap,
            (libc::PTRACE_EVENT_STOP, signal) => Cause::Group(Signal(signal)),
            _ => Cause::Other,
        });
    }
    Status::Ended(if low == 0 {
        End::Exited(status >> 8 & 0xff)
    } else {
        End::Killed {
            signal: Signal(low),
            core_dumped: status & 0x80 != 0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_status() {
        let stopped = |signal: i32, event: i32| decode(event << 16 | signal << 8 | 0x7f);
        for (signal, event, cause) in [
            (0x85, 0, Cause::Syscall),
            (5, 0, Cause::Signal(Signal(5))),
            (64, 0, Cause::Signal(Signal(64))),
            (5, 1, Cause::Created),
            (5, 2, Cause::Created),
            (5, 3, Cause::Created),
            (5, 4, Cause::Exec),
            (5, 5, Cause::Other),
            (5, 7, Cause::Seccomp),
            (5, 128, Cause::Trap),
            (19, 128, Cause::Group(Signal(19))),
        ] {
            assert_eq!(stopped(signal, event), Status::Stopped(cause));
        }
        assert_eq!(decode(3 << 8), Status::Ended(End::Exited(3)));
        assert_eq!(
            decode(11 | 0x80),
            Status::Ended(End::Killed {
                signal: Signal(11),
                core_dumped: true
            })
        );
        assert_eq!(
            decode(64),
            Status::Ended(End::Killed {
                signal: Signal(64),
                core_dumped: false
            })
        );
    }
}
