//! A C project for `make`, written here so that nothing is downloaded: a header, files of
//! ordinary small functions, a Makefile that compiles each and links all.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

const FUNCTIONS: u64 = 40;

const HEADER: &str = "\
#ifndef PROJECT_H
#define PROJECT_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
struct item { uint64_t key; char name[32]; struct item *next; };
static inline uint64_t mix(uint64_t h, uint64_t v) { return (h ^ v) * 0x100000001b3u; }
#endif
";

/// # Errors
/// As writing files.
pub(crate) fn write(directory: &Path, files: u64) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("project.h"), HEADER)?;
    for file in 0..files {
        std::fs::write(directory.join(format!("part{file}.c")), part(file))?;
    }
    std::fs::write(directory.join("main.c"), main(files))?;
    std::fs::write(directory.join("Makefile"), makefile(files))
}

/// Loops, structures, strings and calls, none like the next.
fn part(file: u64) -> String {
    let mut text = String::from("#include \"project.h\"\n");
    for n in 0..FUNCTIONS {
        let seed = file * FUNCTIONS + n;
        let _ = write!(
            text,
            "\nstatic uint64_t f{n}(struct item *item, uint64_t n) {{
    uint64_t h = {seed};
    for (uint64_t i = 0; i < n % {}; i++) {{
        item->key = mix(h, i * {});
        snprintf(item->name, sizeof item->name, \"%llu of {seed}\", (unsigned long long)i);
        if (strlen(item->name) % {} == 0) h = mix(h, item->key);
        else switch (i % 5) {{
        case 0: h += item->key >> {}; break;
        case 1: h ^= n; break;
        case 2: h = h << 3 | h >> 61; break;
        default: h -= i;
        }}
    }}
    return h;
}}\n",
            3 + n,
            7 + seed,
            2 + n % 5,
            1 + n % 30,
        );
    }
    let _ = write!(
        text,
        "\nuint64_t part{file}(uint64_t n);\nuint64_t part{file}(uint64_t n) {{
    struct item item = {{0}};
    uint64_t h = n;\n"
    );
    for n in 0..FUNCTIONS {
        let _ = writeln!(text, "    h = mix(h, f{n}(&item, h));");
    }
    text.push_str("    return h;\n}\n");
    text
}

fn main(files: u64) -> String {
    let mut text = String::from("#include \"project.h\"\n");
    for file in 0..files {
        let _ = writeln!(text, "uint64_t part{file}(uint64_t n);");
    }
    text.push_str("int main(void) {\n    uint64_t h = 1;\n");
    for file in 0..files {
        let _ = writeln!(text, "    h = part{file}(h);");
    }
    text.push_str("    return printf(\"%llu\\n\", (unsigned long long)h) < 0;\n}\n");
    text
}

fn makefile(files: u64) -> String {
    let mut text = String::from("objects = main.o");
    for file in 0..files {
        let _ = write!(text, " part{file}.o");
    }
    text.push_str(
        "\nproject: $(objects)\n\tcc -o $@ $(objects)\n%.o: %.c project.h\n\tcc -O1 -c -o $@ $<\n",
    );
    text
}
