//! Completions for zsh. A generated function can't tell the command to trace
//! from a subcommand: so there is one for each grammar, and one that chooses
//! by the first word.

use std::fmt::Write;

use clap_complete::Shell;

use super::{SUBCOMMANDS, completed, named, root};

/// Where a generated script registers itself.
const REGISTRATION: &str = "\nif [ \"$funcstack[1]\" =";

/// The script.
pub(super) fn script() -> String {
    let mut out = String::from("#compdef forktrace\n\nautoload -U is-at-least\n\n");
    out += &function(completed(root()), "forktrace-trace");
    let (mut names, mut described) = (String::new(), String::new());
    for known in SUBCOMMANDS {
        let grammar = completed(named(known));
        let about = grammar.get_about().map(ToString::to_string);
        let about = about.unwrap_or_default().replace(['\'', ':'], " ");
        // Writing to a String can't fail.
        let _ = write!(
            names,
            "{}{}",
            if names.is_empty() { "" } else { "|" },
            known.name
        );
        let _ = write!(described, " '{}:{about}'", known.name);
        out += &function(grammar, &format!("forktrace-{}", known.name));
    }
    let _ = write!(
        out,
        "_forktrace() {{
    local -a subcommands=({described} )
    if (( CURRENT == 2 )); then
        _describe -t commands 'forktrace subcommand' subcommands
    fi
    case $words[2] in
    ({names})
        if (( CURRENT > 2 )); then
            local subcommand=$words[2]
            shift words
            (( CURRENT -= 1 ))
            _forktrace-$subcommand
            return
        fi
        ;;
    esac
    _forktrace-trace
}}

if [ \"$funcstack[1]\" = \"_forktrace\" ]; then
    _forktrace \"$@\"
else
    compdef _forktrace forktrace
fi
"
    );
    out
}

/// The function that completes one grammar, without what registers it.
fn function(mut grammar: clap::Command, name: &str) -> String {
    let mut text = Vec::new();
    clap_complete::generate(Shell::Zsh, &mut grammar, name, &mut text);
    let text = String::from_utf8_lossy(&text);
    let from = text.find(&format!("_{name}() {{")).unwrap_or(0);
    let to = text.rfind(REGISTRATION).unwrap_or(text.len());
    format!("{}\n", text[from..to].trim_end())
}
