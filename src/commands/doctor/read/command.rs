//! A start command → the programs that it starts, through shells, wrappers, start scripts and `sidepulse run`.

use super::dockerfile::Form;
use super::placeholder;
use super::shell::{self, Word};

/// Programs that take a command line after `-c`.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "ksh"];
/// Shells in shells and scripts in scripts: no start command is deeper.
const DEEPEST: usize = 6;
/// At most so many commands and scripts are followed: a start command has a handful.
const MOST_COMMANDS: usize = 500;
const MOST_SCRIPTS: usize = 10;
/// No start script is longer.
const LONGEST_SCRIPT: usize = 64 * 1024;

/// Programs that start the program after them, and how many words come before it.
const WRAPPERS: [(&str, usize); 16] = [
    ("exec", 0),
    ("nohup", 0),
    ("command", 0),
    ("setsid", 0),
    ("time", 0),
    ("env", 0),
    ("tini", 0),
    ("dumb-init", 0),
    ("catatonit", 0),
    ("gosu", 1),
    ("su-exec", 1),
    ("opentelemetry-instrument", 0),
    ("ddtrace-run", 0),
    ("newrelic-admin", 1),
    ("doppler", 1),
    ("infisical", 1),
];
/// Managers that run a program within their environment: `uv run …`.
const MANAGERS: [&str; 6] = ["uv", "poetry", "pipenv", "pdm", "hatch", "rye"];
/// Their options that take a value.
const WITH_VALUE: &str = "--directory --project --with --extra --group --env-file --python -p --package --no-group \
    --only-group -C";
/// Commands that only prepare the start.
const PREPARES: &str = "echo cd export set alembic sleep true : mkdir cp mv rm chmod chown ls pwd cat printf test [ \
    wait trap pip source . ulimit umask date aerich";

/// A program that is started, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    pub(crate) words: Vec<Word>,
    /// The words are expanded by a shell.
    pub(crate) by_shell: bool,
    pub(crate) under_run: bool,
    /// The shell that starts `sidepulse run` expands a `$PORT` that is meant for the app.
    pub(crate) expanded_too_early: bool,
    /// The name of the start script that contains it, as it is shown.
    pub(crate) script: Option<String>,
    /// The directory of each `cd` before it, in order.
    pub(crate) directories: Vec<Word>,
    /// Variables set before it, exported, or set by the image or the environment; an empty value means unset.
    pub(crate) variables: Vec<Assignment>,
    /// The settings that options and variables give the `sidepulse run` that starts it.
    pub(crate) settings: Vec<Assignment>,
}

/// A variable's name and its value; a value that the shell expands is as it was written.
pub(crate) type Assignment = (String, Word);

/// One thing that a start command starts.
#[derive(Clone, Debug)]
pub(crate) enum Started {
    /// A program that may be the server.
    Program(Launch),
    /// sidepulse itself, beside the app: whether it listens on `PORT`, and its settings.
    Sidepulse { on_port: bool, settings: Vec<Assignment> },
    /// Something that is not known, e.g. a script that cannot be found, or that branches.
    Unknown(String),
}

/// Finds a start script by the path in the command. Returns its name as it is shown, and its text.
pub(crate) type Script<'a> = &'a dyn Fn(&str, &[Word]) -> Option<(String, String)>;

/// Everything that a start command starts, in order. `variables` are set before it.
pub(crate) fn started(form: &Form, variables: Vec<Assignment>, script: Script<'_>) -> Vec<Started> {
    let begin = Launch { variables, ..Launch::default() };
    let mut reader = CommandReader { script, started: Vec::new(), commands: 0, scripts: 0 };
    match form {
        Form::Shell(line) => reader.line(line, &begin, &[], 0),
        Form::Exec(words) => reader.program(words, begin, &[], 0),
    }
    reader.started
}

struct CommandReader<'a> {
    script: Script<'a>,
    started: Vec<Started>,
    /// How many commands and scripts have been read.
    commands: usize,
    scripts: usize,
}

impl CommandReader<'_> {
    /// A shell's line or script. `arguments` are `"$@"`.
    fn line(&mut self, line: &str, around: &Launch, arguments: &[Word], depth: usize) {
        let mut here = Launch { by_shell: true, ..around.clone() };
        for words in shell::commands(line) {
            if depth > DEEPEST || self.commands > MOST_COMMANDS {
                return self.unknown("a script that is longer than a start command");
            }
            self.commands += 1;
            match words.first().map(|word| word.text.as_str()).unwrap_or_default() {
                "cd" => here.directories.extend(words.get(1).cloned()),
                "export" => here.variables.extend(words[1..].iter().filter_map(assignment)),
                "unset" => {
                    let unset = |word: &Word| (word.text.clone(), Word::default());
                    here.variables.extend(words[1..].iter().map(unset));
                }
                _ if words.iter().all(|word| assignment(word).is_some()) => {
                    here.variables.extend(words.iter().filter_map(assignment).map(not_exported));
                }
                _ => self.program(&words, here.clone(), arguments, depth),
            }
        }
    }

    /// Skips what precedes the program itself.
    fn program(&mut self, words: &[Word], mut launch: Launch, arguments: &[Word], depth: usize) {
        let mut rest = words;
        while let Some((first, others)) = rest.split_first() {
            let name = first.program();
            if let Some(variable) = assignment(first) {
                launch.variables.push(variable);
                rest = others;
            } else if first.text == "$@" && !arguments.is_empty() {
                let words = [arguments, others].concat();
                return self.program(&words, Launch { by_shell: false, script: None, ..launch }, &[], depth + 1);
            } else if first.expands_other || first.expands_port {
                return self.unknown("a program that a variable names");
            } else if let Some((_, skipped)) = WRAPPERS.iter().find(|(wrapper, _)| *wrapper == name) {
                let behind = others.get(*skipped..).unwrap_or_default();
                let options = behind.iter().take_while(|word| word.text.starts_with('-')).count();
                if name == "env" && options > 0 {
                    return self.unknown("env with options of its own");
                }
                rest = &behind[options..];
            } else if MANAGERS.contains(&name) && others.first().is_some_and(|word| word.text == "run") {
                rest = managed(&others[1..], &mut launch);
            } else {
                return self.named(rest, launch, depth);
            }
        }
    }

    fn named(&mut self, words: &[Word], launch: Launch, depth: usize) {
        let name = words[0].program();
        if name == "sidepulse" {
            return self.sidepulse(words, launch, depth);
        }
        if SHELLS.contains(&name) {
            let options = words[1..].iter().take_while(|word| word.text.starts_with(['-', '+'])).count();
            let is_line =
                words[1..=options].iter().any(|word| !word.text.starts_with("--") && word.text.ends_with('c'));
            let Some(what) = words.get(options + 1) else { return self.unknown("a shell that reads its input") };
            if is_line {
                // `$0` comes first.
                let arguments = words.get(options + 3..).unwrap_or_default();
                return self.line(&what.text, &launch, arguments, depth + 1);
            }
            return self.script(what, &words[options + 2..], &launch, depth);
        }
        if name.ends_with(".sh") || name.contains("entrypoint") {
            return self.script(&words[0], &words[1..], &launch, depth);
        }
        if !PREPARES.split(' ').any(|known| known == name) {
            self.started.push(Started::Program(Launch { words: words.to_vec(), ..launch }));
        }
    }

    fn sidepulse(&mut self, words: &[Word], launch: Launch, depth: usize) {
        let is = |word: &Word, text: &str| word.text == text;
        if let Some(run) = words.iter().position(|word| is(word, "run"))
            && let Some(dashes) = words.iter().position(|word| is(word, "--"))
            && run < dashes
        {
            let child = words[dashes + 1..].to_vec();
            let expanded = launch.by_shell && child.iter().any(|word| word.expands_port);
            let expanded_too_early = launch.expanded_too_early || expanded;
            let settings = settings_of(&words[run + 1..dashes], &launch);
            let launch = Launch { by_shell: false, under_run: true, expanded_too_early, settings, ..launch };
            return self.program(&child, launch, &[], depth + 1);
        }
        if !words[1..].iter().any(|word| ["check", "ping", "doctor", "run"].iter().any(|other| is(word, other))) {
            let elsewhere = words.iter().any(|word| word.text.starts_with("--listen"))
                || launch.variables.iter().any(|(name, _)| name == "SIDEPULSE_LISTEN" || name == "PORT");
            self.started.push(Started::Sidepulse { on_port: !elsewhere, settings: settings_of(&words[1..], &launch) });
        }
    }

    fn script(&mut self, path: &Word, arguments: &[Word], launch: &Launch, depth: usize) {
        self.scripts += 1;
        if self.scripts > MOST_SCRIPTS {
            return self.unknown("scripts within scripts");
        }
        let script = placeholder::shown(path.program(), "a script");
        let text = (self.script)(&path.text, &launch.directories).filter(|_| !path.expands_other);
        match text {
            None => self.unknown(&format!("{script} could not be read")),
            Some((_, text)) if text.len() > LONGEST_SCRIPT || !shell::is_simple(&text) => {
                self.unknown(&format!("{script} is more than a list of commands"));
            }
            Some((name, text)) => {
                let launch = Launch { script: Some(name), ..launch.clone() };
                self.line(&text, &launch, arguments, depth + 1);
            }
        }
    }

    fn unknown(&mut self, what: &str) {
        self.started.push(Started::Unknown(what.to_owned()));
    }
}

/// What follows `uv run` and its options.
fn managed<'a>(words: &'a [Word], launch: &mut Launch) -> &'a [Word] {
    let mut rest = words;
    while let [option, others @ ..] = rest
        && option.text.starts_with('-')
    {
        rest = others;
        if WITH_VALUE.split(' ').any(|known| known == option.text)
            && let [value, others @ ..] = rest
        {
            if ["--directory", "-C"].contains(&option.text.as_str()) {
                launch.directories.push(value.clone());
            }
            rest = others;
        }
    }
    rest
}

/// sidepulse's settings: variables, and over them its options, each of which is the option of one setting.
fn settings_of(words: &[Word], launch: &Launch) -> Vec<Assignment> {
    let mut settings = launch.variables.clone();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some(option) = word.text.strip_prefix("--") else { continue };
        let (option, value) = match option.split_once('=') {
            Some((option, value)) => (option, Some(Word { text: value.to_owned(), ..word.clone() })),
            None => (option, rest.next().cloned()),
        };
        let variable = format!("SIDEPULSE_{}", option.to_ascii_uppercase().replace('-', "_"));
        settings.extend(value.map(|value| (variable, value)));
    }
    settings
}

/// Reaches sidepulse only if the variable was exported before, which is not known here.
fn not_exported((name, value): Assignment) -> Assignment {
    let expands_other = value.expands_other || name.starts_with("SIDEPULSE_");
    (name, Word { expands_other, ..value })
}

/// `NAME=value`.
fn assignment(word: &Word) -> Option<Assignment> {
    let (name, value) = word.text.split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then(|| (name.to_owned(), Word { text: value.to_owned(), ..word.clone() }))
}
