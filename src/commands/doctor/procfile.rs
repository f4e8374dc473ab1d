//! The rule about the Procfile: it starts uvicorn where Railway and sidepulse expect it.

use std::path::Path;

use super::backend::{Backend, File, Unreadable, read};
use super::environment::Environment;
use super::shell::{self, Word};
use super::{Finding, printable};

/// What takes a command line as its argument after `-c`.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "zsh"];
/// Shells in shells: deeper is no start command.
const DEEPEST: usize = 4;

/// How uvicorn is started, as far as the rule asks.
#[derive(Debug, Default)]
struct Start {
    /// What stands behind `uvicorn`.
    arguments: Vec<Word>,
    /// A shell reads `arguments` right before uvicorn; else sidepulse fills `$PORT` in.
    by_shell: bool,
    /// Below `sidepulse run`.
    under_run: bool,
    /// The shell before sidepulse expands a `$PORT` that is meant for the app (contract, section 7).
    expanded_too_early: bool,
    /// Where `cd` and `--app-dir` lead.
    directories: Vec<String>,
}

/// The Procfile's `web` line starts `uvicorn main:app --host 0.0.0.0 --port $PORT`.
pub(super) fn judge(_: &Environment<'_>, backend: &Backend) -> Vec<Finding> {
    let Some(file) = backend.nearest("Procfile") else { return vec![absent(backend)] };
    let web = web_line(backend, file.path.parent().unwrap_or(&backend.dir));
    let error = |message: &str| Finding::error(message, format!("write {web}"));
    let Some((line, command)) = web_command(file) else {
        return vec![error("the Procfile has no line that begins with web:").at(&file.name, None)];
    };
    let Some(start) = starts(command).into_iter().next() else {
        return vec![error("the web process starts no uvicorn").at(&file.name, line)];
    };
    let mut found: Vec<Finding> = start.faults().into_iter().map(|fault| error(&fault).at(&file.name, line)).collect();
    let below = below(backend, file);
    if !below.is_empty() && !start.directories.iter().any(|dir| dir.trim_end_matches('/').ends_with(&below)) {
        let message = format!("main.py is in {}, but the web process never goes there", printable(&below));
        found.push(Finding::warning(message, format!("write {web}")).at(&file.name, line));
    }
    if found.is_empty() {
        let by = if start.under_run { "through sidepulse run" } else { "without sidepulse, so nothing watches it" };
        found.push(Finding::ok(format!("web starts uvicorn main:app on $PORT, {by}")).at(&file.name, line));
    }
    found
}

fn absent(backend: &Backend) -> Finding {
    let place = backend.base.join("Procfile");
    let unfit = backend.above().map(|dir| dir.join("Procfile")).find_map(|path| match read(&path) {
        Err(Unreadable::Unfit(what)) => Some((backend.name_of(&path), what)),
        _ => None,
    });
    if let Some((name, what)) = unfit {
        return Finding::error(format!("the Procfile {what}"), "mend the file").at(&name, None);
    }
    let web = web_line(backend, &backend.base);
    Finding::error("there is no Procfile", format!("write {} with the line {web}", backend.name_of(&place)))
}

/// sidepulse in the background and uvicorn beside it, both on `PORT`.
pub(super) fn fight_for_port(backend: &Backend) -> Option<Finding> {
    let file = backend.nearest("Procfile")?;
    let (line, command) = web_command(file)?;
    let commands = shell::commands(command);
    let serves = |words: &Vec<Word>| {
        let at = words.iter().position(|word| is_program(word, "sidepulse"))?;
        let others = ["run", "check", "ping", "doctor"];
        Some(!words[at..].iter().any(|word| others.contains(&word.text.as_str()) || word.text == "--listen"))
    };
    let is_beside = commands.iter().filter_map(serves).any(|serves| serves);
    let takes_port = starts(command).iter().any(|start| !start.under_run && start.port_fault().is_none());
    (is_beside && takes_port).then(|| {
        let remedy = format!("write {}", web_line(backend, file.path.parent().unwrap_or(&backend.dir)));
        Finding::error("sidepulse and uvicorn would both take PORT", remedy).at(&file.name, line)
    })
}

/// The line to write into a Procfile of this directory.
fn web_line(backend: &Backend, procfile_dir: &Path) -> String {
    match backend.dir.strip_prefix(procfile_dir) {
        Ok(below) if !below.as_os_str().is_empty() => format!(
            "web: sidepulse run -- sh -c 'cd {} && exec uvicorn main:app --host 0.0.0.0 --port $PORT'",
            printable(&below.display().to_string())
        ),
        _ => "web: sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'".to_owned(),
    }
}

/// The backend's directory as seen from the Procfile's; empty where they are one.
fn below(backend: &Backend, file: &File) -> String {
    let from = file.path.parent().unwrap_or(&backend.dir);
    backend.dir.strip_prefix(from).map(|below| below.display().to_string()).unwrap_or_default()
}

fn web_command(file: &File) -> Option<(u32, &str)> {
    let lines = (1..).zip(file.text.lines());
    let mut web = lines.filter_map(|(number, line)| {
        let (name, command) = line.split_once(':')?;
        (name.trim() == "web").then(|| (number, command.trim()))
    });
    web.next()
}

/// Every uvicorn that a command line starts.
fn starts(line: &str) -> Vec<Start> {
    let mut found = Vec::new();
    for words in shell::commands(line) {
        follow(&words, Start { by_shell: true, ..Start::default() }, 0, &mut found);
    }
    let directories: Vec<String> = directories(line, 0);
    found.iter_mut().for_each(|start| start.directories.extend(directories.iter().cloned()));
    found
}

/// Goes down through `sidepulse run --` and `sh -c` to uvicorn.
fn follow(words: &[Word], so_far: Start, depth: usize, found: &mut Vec<Start>) {
    if depth > DEEPEST {
        return;
    }
    if let Some(child) = child_of_run(words) {
        let expanded_too_early = so_far.expanded_too_early || child.iter().any(|word| word.expands_port);
        let below = Start { by_shell: false, under_run: true, expanded_too_early, ..so_far };
        return follow(child, below, depth + 1, found);
    }
    if let Some(line) = line_of_shell(words) {
        for words in shell::commands(line) {
            let Start { under_run, expanded_too_early, .. } = so_far;
            let below = Start { by_shell: true, under_run, expanded_too_early, ..Start::default() };
            follow(&words, below, depth + 1, found);
        }
        return;
    }
    if let Some(at) = words.iter().position(|word| is_program(word, "uvicorn")) {
        found.push(Start { arguments: words[at + 1..].to_vec(), ..so_far });
    }
}

fn is_program(word: &Word, name: &str) -> bool {
    word.text.rsplit('/').next() == Some(name)
}

/// What stands behind `sidepulse run … --`.
fn child_of_run(words: &[Word]) -> Option<&[Word]> {
    let at = words.iter().position(|word| is_program(word, "sidepulse"))?;
    let run = at + words[at..].iter().position(|word| word.text == "run")?;
    let dashes = run + words[run..].iter().position(|word| word.text == "--")?;
    words.get(dashes + 1..)
}

/// The command line that a shell is given: `sh -c '…'`, `bash -lc '…'`.
fn line_of_shell(words: &[Word]) -> Option<&str> {
    let at = words.iter().position(|word| SHELLS.iter().any(|shell| is_program(word, shell)))?;
    let is_command =
        |word: &Word| word.text.starts_with('-') && !word.text.starts_with("--") && word.text.ends_with('c');
    let option = at + words[at..].iter().position(is_command)?;
    words.get(option + 1).map(|word| word.text.as_str())
}

/// What follows `cd` and `--app-dir`, in shells within shells too.
fn directories(line: &str, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    for words in shell::commands(line).iter().filter(|_| depth <= DEEPEST) {
        for pair in words.windows(2) {
            if ["cd", "--app-dir", "--chdir", "-C"].contains(&pair[0].text.as_str()) {
                found.push(pair[1].text.clone());
            }
        }
        found.extend(words.iter().filter_map(|word| word.text.strip_prefix("--app-dir=")).map(str::to_owned));
        found.extend(line_of_shell(words).map(|line| directories(line, depth + 1)).unwrap_or_default());
    }
    found
}

impl Start {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.arguments.iter().any(|word| word.text == "main:app") {
            faults.push("uvicorn is not started with main:app".to_owned());
        }
        match self.option("--host") {
            Some(host) if host.text == "0.0.0.0" => {}
            Some(_) => faults.push("uvicorn's --host is not 0.0.0.0".to_owned()),
            None => faults.push("uvicorn has no --host 0.0.0.0 and would answer within its container alone".to_owned()),
        }
        faults.extend(self.port_fault().map(str::to_owned));
        faults
    }

    fn port_fault(&self) -> Option<&'static str> {
        if self.expanded_too_early {
            return Some(
                "the shell would expand $PORT before sidepulse runs, and the app would get sidepulse's own port",
            );
        }
        let Some(port) = self.option("--port") else { return Some("uvicorn has no --port $PORT") };
        let is_plain = ["$PORT", "${PORT}"].contains(&port.text.as_str());
        let has_default = port.text.starts_with("${PORT:-") && port.text.ends_with('}');
        match (self.by_shell, port.expands_port) {
            (true, true) if is_plain || has_default => None,
            (false, false) if is_plain => None,
            (true, false) if is_plain => {
                Some("uvicorn would get the text $PORT: nothing expands it within these quotes")
            }
            (false, false) if has_default => Some("sidepulse fills in $PORT and ${PORT} alone, without a default"),
            _ => Some("uvicorn's --port is not $PORT"),
        }
    }

    /// `--name value` or `--name=value`; the last one counts, as in uvicorn.
    fn option(&self, name: &str) -> Option<Word> {
        let pairs = self.arguments.windows(2).filter(|pair| pair[0].text == name).map(|pair| pair[1].clone());
        let joined = self.arguments.iter().filter_map(|word| {
            let text = word.text.strip_prefix(name)?.strip_prefix('=')?.to_owned();
            Some(Word { text, ..word.clone() })
        });
        pairs.chain(joined).last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(line: &str) -> Vec<String> {
        starts(line).first().map_or_else(|| vec!["no uvicorn".into()], Start::faults)
    }

    #[test]
    fn start_commands_that_are_right() {
        for line in [
            "uvicorn main:app --host 0.0.0.0 --port $PORT",
            "uvicorn main:app --host=0.0.0.0 --port=${PORT}",
            "exec python -m uvicorn --host 0.0.0.0 --port \"$PORT\" main:app --workers 2",
            "alembic upgrade head && uvicorn main:app --host 0.0.0.0 --port ${PORT:-8000}",
            "sh -c 'uvicorn main:app --host 0.0.0.0 --port $PORT'",
            "sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'",
            "sidepulse run -- uvicorn main:app --host 0.0.0.0 --port \\${PORT}",
            "./bin/sidepulse run --app-port 8000 -- uvicorn main:app --host 0.0.0.0 '--port=$PORT'",
            "sidepulse run -- sh -c 'cd deploy/backend && exec uvicorn main:app --host 0.0.0.0 --port $PORT'",
            "sidepulse run -- bash -lc \"exec uvicorn main:app --host 0.0.0.0 --port \\$PORT\"",
        ] {
            assert_eq!(faults(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn start_commands_that_are_wrong() {
        let run = "sidepulse run -- uvicorn main:app --host 0.0.0.0 --port";
        for (line, part) in [
            ("gunicorn main:app", "no uvicorn"),
            ("uvicorn app:app --host 0.0.0.0 --port $PORT", "main:app"),
            ("uvicorn main:app --port $PORT", "no --host"),
            ("uvicorn main:app --host 127.0.0.1 --port $PORT", "not 0.0.0.0"),
            ("uvicorn main:app --host 0.0.0.0", "no --port"),
            ("uvicorn main:app --host 0.0.0.0 --port 8000", "is not $PORT"),
            ("uvicorn main:app --host 0.0.0.0 --port '$PORT'", "within these quotes"),
            (&format!("{run} $PORT"), "before sidepulse"),
            (&format!("{run} ${{PORT}}"), "before sidepulse"),
            (&format!("{run} \"$PORT\""), "before sidepulse"),
            (&format!("{run} '${{PORT:-8000}}'"), "without a default"),
            ("sidepulse run -- sh -c \"uvicorn main:app --host 0.0.0.0 --port $PORT\"", "before sidepulse"),
        ] {
            let faults = faults(line);
            assert!(faults.len() == 1 && faults[0].contains(part), "{line}: {faults:?}");
        }
    }
}
