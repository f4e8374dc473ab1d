//! A server's options: in CMD's words, and in the variables that it reads in place of them. uvicorn and granian read each
//! option `--name` as `UVICORN_NAME` and `GRANIAN_NAME` (click's `auto_envvar_prefix`, in their own `main.py` and
//! `cli.py`), gunicorn further arguments from `GUNICORN_CMD_ARGS` (its `config.py`).

use std::ffi::OsString;
use std::path::Path;

/// A variable of CMD's environment.
pub(super) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) struct ServerOptions<'a> {
    words: Vec<String>,
    environment: Variable<'a>,
}

impl<'a> ServerOptions<'a> {
    pub(super) fn new(command: &[OsString], environment: Variable<'a>) -> Self {
        // A shell script is one argument.
        let texts = command.iter().map(|argument| argument.to_string_lossy());
        let bare = |word: &str| word.trim_matches([';', '&', '|', '(', ')']).to_owned();
        let words = texts.flat_map(|text| text.split_whitespace().map(bare).collect::<Vec<_>>());
        ServerOptions { words: words.collect(), environment }
    }

    /// Whether the program is among the words: `/venv/bin/uvicorn`, `python -m uvicorn`, in a shell script.
    pub(super) fn starts(&self, program: &str) -> bool {
        self.words.iter().any(|word| Path::new(word).file_name().is_some_and(|name| name == program))
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.words.iter().any(|word| word == flag)
    }

    /// `--option value`, `--option=value`, `-ovalue`; the last one counts.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.words.iter().enumerate().rev().find_map(|(at, word)| match word.strip_prefix(name)? {
            "" => self.words.get(at + 1).map(String::as_str),
            rest => rest.strip_prefix('=').or_else(|| (!name.starts_with("--")).then_some(rest)),
        })
    }

    /// `NAME=value` before the program, or the environment's, unless `env -u NAME` or `unset NAME` takes it out.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let takes_out = |pair: &[String]| ["-u", "unset"].contains(&pair[0].as_str()) && pair[1] == name;
        if self.words.windows(2).any(takes_out) {
            return None;
        }
        let before = self.words.iter().rev().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        before.map(|value| value.trim_matches(['"', '\'']).to_owned()).or_else(|| (self.environment)(name))
    }
}
