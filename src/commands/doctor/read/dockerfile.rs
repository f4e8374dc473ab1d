//! A Dockerfile → what its last stage runs, in which directory, and which of the repository's files it contains
//! (docs.docker.com, reference/dockerfile).

use super::shell::Word;

/// A Dockerfile is read up to these limits; with more the image is not fully known.
const MOST_STAGES: usize = 50;
const MOST_COPIES: usize = 50;
const MOST_VARIABLES: usize = 100;
/// `ENV A=$A$A` doubles with every line.
const LONGEST_VALUE: usize = 4096;

/// `CMD`, `ENTRYPOINT`, or a start command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A shell reads it.
    Shell(String),
    /// The system executes the words as they are.
    Exec(Vec<Word>),
}

#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub(crate) line: u32,
    pub(crate) form: Form,
}

/// A part of the build context that is in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Relative to the context.
    pub(crate) from: String,
    /// Absolute; ends in `/` if it was written as a directory.
    pub(crate) to: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) entrypoint: Option<Instruction>,
    pub(crate) command: Option<Instruction>,
    /// Absolute; `None` if it depends on a variable that is not known.
    pub(crate) workdir: Option<String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) copies: Vec<Copied>,
    /// The app's files can only have come with the copies.
    pub(crate) complete: bool,
    /// The app may be installed as a package.
    pub(crate) installs: bool,
}

impl Image {
    /// Adds what was copied from an earlier stage; `None`: that is not known.
    fn add(&mut self, copies: Option<Vec<Copied>>) {
        let room = MOST_COPIES.saturating_sub(self.copies.len());
        self.complete &= copies.as_ref().is_some_and(|copies| copies.len() <= room);
        self.copies.extend(copies.into_iter().flatten().take(room));
    }

    /// The value that `ENV` sets last.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Where the repository has the files that the image has at this absolute path; the last copy first.
    pub(crate) fn sources(&self, path: &str) -> Vec<String> {
        let found = self.copies.iter().rev().filter_map(|copied| {
            let below = path.strip_prefix(copied.to.trim_end_matches('/'))?;
            let from = copied.from.trim_end_matches('/');
            match below.strip_prefix('/') {
                // Of a directory the content is copied; a file is copied under its own name.
                Some(below) if from.rsplit('/').next() == Some(below) => Some(vec![from.to_owned(), join(from, below)]),
                Some(below) => Some(vec![join(from, below)]),
                None => below.is_empty().then(|| vec![from.to_owned()]),
            }
        });
        found.flatten().collect()
    }
}

/// `None` without any stage.
pub(crate) fn read(text: &str) -> Option<Image> {
    let mut stages: Vec<(String, Image)> = Vec::new();
    for RawInstruction { number, instruction, rest } in instructions(text) {
        if instruction == "FROM" {
            let words: Vec<&str> = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
            let base = words.first().copied().unwrap_or_default();
            let name = if words.len() >= 3 { words[2].to_lowercase() } else { String::new() };
            let inherited = stages.iter().rev().find(|(known, _)| *known == base.to_lowercase());
            let mut image = match inherited {
                Some((_, image)) => image.clone(),
                None => Image { workdir: Some("/".into()), complete: true, ..Image::default() },
            };
            if stages.len() >= MOST_STAGES {
                image.complete = false;
                stages.pop();
            }
            stages.push((name, image));
            continue;
        }
        let Some(((_, image), earlier)) = stages.split_last_mut() else { continue };
        match earlier_stage(&rest, earlier) {
            Some(stage) if instruction == "COPY" => {
                image.complete &= stage.complete;
                image.add(copied_from(stage, &rest));
            }
            _ => apply(image, number, &instruction, &rest),
        }
    }
    stages.pop().map(|(_, image)| image)
}

/// The stage of `COPY --from=STAGE`; `None` for any other COPY, and for one from another image, which has none of the
/// app's files.
fn earlier_stage<'a>(rest: &str, stages: &'a [(String, Image)]) -> Option<&'a Image> {
    let name = rest.split_whitespace().find_map(|word| word.strip_prefix("--from="))?.to_lowercase();
    let by_number = name.parse().ok().and_then(|number: usize| stages.get(number));
    let (_, stage) = by_number.or_else(|| stages.iter().rev().find(|(known, _)| *known == name))?;
    Some(stage)
}

/// What `COPY --from=… FROM TO` copies of what a stage has; `None` if the form is not understood.
fn copied_from(stage: &Image, rest: &str) -> Option<Vec<Copied>> {
    let paths: Vec<&str> = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    let [from, to] = paths.as_slice() else { return None };
    if !from.starts_with('/') || !to.starts_with('/') {
        return None;
    }
    let from = from.trim_end_matches('/');
    let below = |path: &str, dir: &str| {
        let rest = path.strip_prefix(dir.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/').to_owned())
    };
    // What the stage has is below what is copied, or the other way round.
    let copies = stage.copies.iter().filter_map(|copied| {
        if let Some(rest) = below(&copied.to, from) {
            return Some(Copied { from: copied.from.clone(), to: format!("{}/{rest}", to.trim_end_matches('/')) });
        }
        let rest = below(from, &copied.to)?;
        Some(Copied { from: join(&copied.from, &rest), to: (*to).to_owned() })
    });
    Some(copies.collect())
}

fn apply(image: &mut Image, line: u32, instruction: &str, rest: &str) {
    match instruction {
        "CMD" => image.command = Some(Instruction { line, form: form(rest) }),
        "ENTRYPOINT" => {
            image.entrypoint = Some(Instruction { line, form: form(rest) });
            // As in Docker: an ENTRYPOINT resets the CMD of the base image.
            image.command = None;
        }
        "WORKDIR" => {
            let dir = expanded(rest.trim(), image);
            image.workdir = dir.and_then(|dir| Some(absolute(image.workdir.as_deref()?, &dir)));
        }
        "ENV" => {
            for (name, value) in assignments(rest) {
                // Not known as a whole: nor is what uses it.
                let value = expanded(&value, image).unwrap_or_else(|| "$".into());
                if image.variables.len() < MOST_VARIABLES {
                    image.variables.push((name, value));
                } else {
                    image.complete = false;
                }
            }
        }
        "COPY" | "ADD" => copy(image, rest),
        "RUN" => {
            let installs =
                ["pip install .", "pip install -e", "uv sync", "poetry install", "pip install /", "setup.py"];
            image.installs |= installs.iter().any(|command| rest.contains(command));
            image.complete &=
                !["git clone", "curl ", "wget ", "tar ", "unzip ", "mv ", "cp "].iter().any(|c| rest.contains(c));
        }
        _ => {}
    }
}

fn copy(image: &mut Image, rest: &str) {
    let mut words: Vec<String> = match serde_json::from_str(rest.trim()) {
        Ok(words) => words,
        Err(_) => rest.split_whitespace().map(str::to_owned).collect(),
    };
    image.complete &= !words.iter().any(|word| word.starts_with("<<"));
    // From another image.
    if words.iter().any(|word| word.starts_with("--from")) {
        return;
    }
    words.retain(|word| !word.starts_with("--"));
    let Some(to) = words.pop().and_then(|to| expanded(&to, image)) else {
        image.complete = false;
        return;
    };
    let Some(workdir) = image.workdir.clone() else {
        image.complete = false;
        return;
    };
    let several = words.len() > 1;
    for from in words {
        let from = expanded(&from, image).filter(|from| !from.contains(['*', '?', '[', ':']));
        match from {
            Some(from) if image.copies.len() < MOST_COPIES => {
                let mut to = absolute(&workdir, &to);
                if several && !to.ends_with('/') {
                    to.push('/');
                }
                image.copies.push(Copied { from: normal(&from), to });
            }
            _ => image.complete = false,
        }
    }
}

/// `["a", "b"]` or a shell's line.
fn form(rest: &str) -> Form {
    match serde_json::from_str::<Vec<String>>(rest.trim()) {
        Ok(words) => Form::Exec(words.into_iter().map(Word::literal).collect()),
        Err(_) => Form::Shell(rest.trim().to_owned()),
    }
}

/// `A=1 B="two words"`, or the old `A 1`.
fn assignments(rest: &str) -> Vec<(String, String)> {
    let commands = super::shell::commands(rest);
    let words: Vec<&Word> = commands.iter().flatten().collect();
    if let [name, ..] = words.as_slice()
        && !name.text.contains('=')
    {
        let value = rest.trim_start().split_once(char::is_whitespace).map_or("", |(_, value)| value.trim());
        return vec![(name.text.clone(), value.to_owned())];
    }
    words.iter().filter_map(|word| word.text.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// Replaces `$NAME` and `${NAME}` by the values from `ENV`; `None` if one is not known, or the text grows too long.
fn expanded(text: &str, image: &Image) -> Option<String> {
    let text = text.trim_matches(['"', '\'']);
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        done.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, following) = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}')?,
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                after.split_at(end)
            }
        };
        let value = image.variable(name).filter(|value| !value.contains('$'))?;
        done.push_str(value);
        if done.len() > LONGEST_VALUE {
            return None;
        }
        rest = following;
    }
    done.push_str(rest);
    (done.len() <= LONGEST_VALUE).then_some(done)
}

/// A path in the image, relative to a directory there, as an absolute one.
pub(crate) fn absolute(dir: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{dir}/{path}") };
    let is_directory = path.ends_with('/') || path == "." || path.ends_with("/.");
    let mut absolute = format!("/{}", normal(&whole));
    if is_directory && absolute.len() > 1 {
        absolute.push('/');
    }
    absolute
}

/// Without `.`, `..`, doubled and outer slashes.
pub(crate) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn join(dir: &str, below: &str) -> String {
    if dir.is_empty() { below.to_owned() } else { format!("{dir}/{below}") }
}

/// An instruction as it is written.
struct RawInstruction {
    /// Of its first line.
    number: u32,
    /// In capitals.
    instruction: String,
    rest: String,
}

/// The instructions: continuations are joined, comments and here-documents left out.
fn instructions(text: &str) -> Vec<RawInstruction> {
    let mut done = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        let mut whole = line.trim().to_owned();
        while whole.ends_with('\\') {
            let Some((_, more)) = lines.next() else { break };
            if !more.trim_start().starts_with('#') {
                whole.pop();
                whole.push_str(more.trim_end());
            }
        }
        let Some((instruction, rest)) = whole.split_once(char::is_whitespace) else { continue };
        let instruction = instruction.to_ascii_uppercase();
        if let Some(mark) = here_document(&instruction, rest) {
            lines.by_ref().find(|(_, line)| line.trim() == mark);
        }
        done.push(RawInstruction { number, instruction, rest: rest.trim_start().to_owned() });
    }
    done
}

/// `RUN <<EOF`: the word that ends it.
fn here_document(instruction: &str, line: &str) -> Option<String> {
    if !["RUN", "COPY", "ADD"].contains(&instruction) {
        return None;
    }
    let (_, after) = line.split_once("<<")?;
    let mark: String =
        after.trim_start_matches(['-', '"', '\'']).chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!mark.is_empty()).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_is_what_runs() {
        let text = "FROM python:3.12 AS build\nCMD [\"a\"]\nFROM build\nENV HOME_DIR=/srv X=\"y z\"\nWORKDIR $HOME_DIR/app\n\
                    COPY . .\nCOPY ./extra /srv/lib/\nRUN <<EOF\nCMD no\nEOF\nENTRYPOINT [\"b\", \\\n  # why\n  \"c\"]\ncmd d $PORT\n";
        let image = read(text).unwrap();
        assert_eq!(image.workdir.as_deref(), Some("/srv/app"));
        assert_eq!(image.variable("X"), Some("y z"));
        assert_eq!(image.entrypoint.as_ref().unwrap().form, Form::Exec(vec![Word::literal("b"), Word::literal("c")]));
        let command = image.command.as_ref().unwrap();
        assert_eq!((command.line, &command.form), (14, &Form::Shell("d $PORT".into())));
        assert!(image.complete);
        assert_eq!(image.sources("/srv/app/main.py"), ["main.py"]);
        assert_eq!(image.sources("/srv/lib/x/y.py"), ["extra/x/y.py"]);
        assert_eq!(image.sources("/srv/lib/extra"), ["extra", "extra/extra"]);
        assert!(image.sources("/etc/x").is_empty());
    }

    #[test]
    fn what_an_earlier_stage_has_is_found() {
        let text = "FROM a AS build\nWORKDIR /app\nCOPY api .\nFROM b\nCOPY --from=ghcr.io/x/uv /uv /bin/\n\
                    COPY --from=build /usr/lib /usr/lib\nCOPY --from=build /app /srv\nCOPY --from=build /app/x /x\n";
        let image = read(text).unwrap();
        assert!(image.complete);
        assert_eq!(image.sources("/srv/main.py"), ["api/main.py"]);
        assert_eq!(image.sources("/x/y.py"), ["api/x/y.py"]);
        assert!(image.sources("/app/main.py").is_empty());
    }

    #[test]
    fn what_is_not_understood_makes_the_image_incomplete() {
        for line in [
            "COPY . .\nRUN mv a b\nFROM y\nCOPY --from=0 /app /app",
            "COPY *.py /app/",
            "COPY . $NOWHERE",
            "ADD https://a/b /c",
            "RUN git clone x",
        ] {
            assert!(!read(&format!("FROM x\n{line}\n")).unwrap().complete, "{line}");
        }
        assert_eq!(
            read(&format!("FROM x\nENV A=xxxxxxxx\n{}WORKDIR $A", "ENV A=$A$A\n".repeat(150))).unwrap().workdir,
            None
        );
        assert!(read("RUN x").is_none());
    }
}
