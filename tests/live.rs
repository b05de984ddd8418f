//! Real programs under forktrace and under strace: the trees must be the same, call for
//! call, in each mode.

mod common;

use common::Mode;
use common::case::Case;
use common::program::{need, need_root};
use common::run::Run;
use common::tree::Strictness;

#[test]
fn ruby_fork() {
    let Some([_, ruby]) = need(["strace", "ruby"]) else {
        return;
    };
    Case::new([
        &ruby,
        "-e",
        "pid = fork { exit 3 }; Process.wait(pid); print $?.exitstatus",
    ])
    .expect("clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD")
    .expect("+++ exited with 3 +++")
    .steady_output()
    .compare();
}

#[test]
fn ruby_syscall_57() {
    let Some([_, ruby]) = need(["strace", "ruby"]) else {
        return;
    };
    Case::new([&ruby, "-W0", "-e", "syscall 57"])
        .expect(" fork()")
        .compare();
}

#[test]
fn ruby_spawn_and_thread() {
    let Some([_, ruby]) = need(["strace", "ruby"]) else {
        return;
    };
    Case::new([
        &ruby,
        "-e",
        "Thread.new { system('/bin/true', 'a b') }.join; print `echo hi`",
    ])
    .strictness(Strictness::AnyOrder)
    .expect("CLONE_THREAD")
    .expect("\"a b\"")
    .steady_output()
    .compare();
}

/// The three ways subprocess has: vfork, posix_spawn (clone3 with a stack), fork.
#[test]
fn python_subprocess() {
    let Some([_, python]) = need(["strace", "python3"]) else {
        return;
    };
    let program = "\
import subprocess
subprocess.run(['/bin/true', 'default'])
subprocess.run(['/bin/true', 'spawn'], close_fds=False)
subprocess.run(['/bin/true', 'fork'], preexec_fn=lambda: None)
try: subprocess.run(['/nonexistent/program'])
except FileNotFoundError as error: print(error)
";
    Case::new([&python, "-S", "program.py"])
        .file("program.py", program)
        .expect(" vfork()")
        .expect("CLONE_VM|CLONE_VFORK")
        .expect("flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD")
        .steady_output()
        .compare();
}

#[test]
fn python_os_fork_in_generations() {
    let Some([_, python]) = need(["strace", "python3"]) else {
        return;
    };
    let program = "\
import os, sys
depth = 0
while depth < 5:
    pid = os.fork()
    if pid:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) + 1)
    depth += 1
os._exit(0)
";
    Case::new([&python, "-S", "program.py"])
        .file("program.py", program)
        .code(5)
        .compare();
}

#[test]
fn python_threads() {
    let Some([_, python]) = need(["strace", "python3"]) else {
        return;
    };
    let program = "\
import threading, os
def work():
    if os.fork() == 0: os._exit(4)
    os.wait()
for _ in range(4):
    thread = threading.Thread(target=work); thread.start(); thread.join()
";
    Case::new([&python, "-S", "program.py"])
        .file("program.py", program)
        .expect("CLONE_THREAD")
        .expect("+++ exited with 4 +++")
        .compare();
}

fn python_multiprocessing(method: &str) {
    let Some([_, python]) = need(["strace", "python3"]) else {
        return;
    };
    let program = "\
import multiprocessing, sys
def work(number): sys.exit(number)
if __name__ == '__main__':
    multiprocessing.set_start_method(sys.argv[1])
    for number in range(3):
        child = multiprocessing.Process(target=work, args=(number,))
        child.start(); child.join(); print(child.exitcode)
";
    Case::new([&python, "-B", "program.py", method])
        .file("program.py", program)
        .expect("+++ exited with 2 +++")
        .steady_output()
        .compare();
}

#[test]
fn python_multiprocessing_spawn() {
    python_multiprocessing("spawn");
}

#[test]
fn python_multiprocessing_forkserver() {
    python_multiprocessing("forkserver");
}

#[test]
fn python_multiprocessing_fork() {
    python_multiprocessing("fork");
}

#[test]
fn shell_pipeline_and_background() {
    let Some(_) = need(["strace"]) else { return };
    Case::new(["sh", "-c", "ls / | grep x & wait"])
        .strictness(Strictness::AnyOrder)
        .expect("\"grep\", \"x\"")
        .compare();
    Case::new([
        "sh",
        "-c",
        "ls /; (exit 3); /bin/false; (exec /nonexistent/program 2>/dev/null); exit 6",
    ])
    .code(6)
    .expect("exited with 127")
    .expect("exited with 3")
    .steady_output()
    .compare();
    Case::new(["sh", "-c", "sh -c 'kill -15 $$'; kill -9 $$"])
        .killed(9)
        .compare();
}

#[test]
fn shell_script_with_an_interpreter_line() {
    let Some(_) = need(["strace"]) else { return };
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new(["sh", "-c", "./script one 'two three'"])
        .file("script", "#!/bin/sh -e\necho \"$1/$2\"; /bin/true\n")
        .expect("two three")
        .steady_output();
    let script = case.scratch.file("script");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    case.compare();
}

#[test]
fn shell_without_f() {
    let Some(_) = need(["strace"]) else { return };
    Case::new(["sh", "-c", "ls /; (ls /; (true)); true | true; exit 3"])
        .code(3)
        .compare_alone();
}

#[test]
fn make_with_jobs() {
    let Some([_, make, _]) = need(["strace", "make", "cc"]) else {
        return;
    };
    let makefile = "\
.SILENT:
all:
\t+$(MAKE) --no-print-directory program && echo made
program: a.o b.o c.o
\tcc -o $@ $^
%.o: %.c
\tcc -c -o $@ $<
";
    Case::new([&make, "-j2", "-B", "all"])
        .file("Makefile", makefile)
        .file(
            "a.c",
            "int b(void), c(void); int main(void) { return b() + c(); }\n",
        )
        .file("b.c", "int b(void) { return 0; }\n")
        .file("c.c", "int c(void) { return 0; }\n")
        // Which job ends first differs.
        .strictness(Strictness::AnyOrder)
        .expect("cc1")
        .compare();
}

#[test]
fn node_child_process() {
    let Some([_, node]) = need(["strace", "node"]) else {
        return;
    };
    let program = "\
const { spawnSync, execFileSync } = require('child_process');
console.log(spawnSync('/bin/true', ['one']).status, execFileSync('/bin/sh', ['-c', 'exit 0']).length);
";
    node_case(&node, program).expect("\"one\"").compare();
}

#[test]
fn node_worker_threads() {
    let Some([_, node]) = need(["strace", "node"]) else {
        return;
    };
    let program = "\
const { Worker, isMainThread } = require('worker_threads');
if (isMainThread) { let left = 3; for (let i = 0; i < 3; i++) new Worker(__filename).on('exit', () => console.log(--left)); }
";
    node_case(&node, program).compare();
}

/// How many threads there are is node's business and differs; what kinds, not.
fn node_case(node: &str, program: &str) -> Case {
    Case::new([node, "program.js"])
        .file("program.js", program)
        .strictness(Strictness::Kinds)
        .expect("CLONE_THREAD")
        .steady_output()
}

#[test]
fn java() {
    let Some([_, java, javac]) = need(["strace", "java", "javac"]) else {
        return;
    };
    let program = "\
public class Hello {
    public static void main(String[] args) throws Exception {
        Thread thread = new Thread(() -> System.out.println(\"thread\"));
        thread.start();
        thread.join();
        System.out.println(new ProcessBuilder(\"/bin/true\", \"from java\").start().waitFor());
    }
}
";
    let case = Case::new([
        java.as_str(),
        "-Xshare:auto",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-Xmx64m",
        "-cp",
        ".",
        "Hello",
    ])
    .file("Hello.java", program)
    .strictness(Strictness::Kinds)
    .expect("CLONE_THREAD")
    .expect("\"from java\"")
    .steady_output();
    Run::new([&javac, "Hello.java"])
        .cwd(case.scratch.path())
        .run()
        .assert_code(0);
    case.compare();
}

#[test]
fn unshare_pid_namespace() {
    let Some([_, unshare]) = need(["strace", "unshare"]) else {
        return;
    };
    if !need_root() {
        return;
    }
    let case = Case::new([
        unshare.as_str(),
        "--fork",
        "--pid",
        "--mount-proc",
        "/bin/sh",
        "-c",
        "(/bin/true one); /bin/true two & wait; echo $$",
    ])
    .expect("\"two\"")
    .steady_output();
    case.compare();
    for mode in Mode::ALL {
        let (traced, summary) = case.follow(mode);
        assert_eq!(traced.outcome.out(), "1\n");
        assert_eq!(summary.pairs.len(), 3, "{mode:?}: {}", traced.text);
        let first = traced
            .lines
            .iter()
            .find(|line| line.created().is_some())
            .expect("a creation");
        assert!(
            first.text.contains("(1 in its pid namespace)"),
            "{mode:?}: {}",
            first.text
        );
    }
}

#[test]
fn bubblewrap() {
    let Some([_, bwrap]) = need(["strace", "bwrap"]) else {
        return;
    };
    let argv = [
        bwrap.as_str(),
        "--unshare-pid",
        "--dev-bind",
        "/",
        "/",
        "/bin/sh",
        "-c",
        "(/bin/true inside); exit 4",
    ];
    if Run::new(argv).run().status.code() != Some(4) {
        return common::program::skip("the right to create namespaces");
    }
    Case::new(argv)
        .code(4)
        .strictness(Strictness::AnyOrder)
        .expect("\"inside\"")
        .expect("CLONE_NEWPID")
        .compare();
}
