//! Which start command Railway would run, in the order in which it and its builder search.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::dockerfile::{self, Form, Image, Instruction};
use super::files::{File, Files, Unreadable};
use super::layout::Layout;
use super::shell::{self, Word};
use super::{procfile, railway};

/// A start command, and where it was found.
#[derive(Debug)]
pub(crate) struct Start {
    /// File and line, as they are shown; `None` for Railpack's own guess.
    pub(crate) place: Option<(String, Option<u32>)>,
    pub(crate) form: Form,
    pub(crate) layout: Layout,
}

/// Why no start command is known.
#[derive(Debug)]
pub(crate) enum NoStart {
    /// A file that decides is code or cannot be read: its name, and why nothing is known.
    Unknown(String, String),
    /// A file that decides is broken: its name, line, and what is wrong.
    Broken(String, Option<u32>, String),
    /// There is none: Railway's build fails.
    Nothing,
}

/// An environment variable that decides as well.
pub(crate) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The order (docs.railway.com: config-as-code/reference, builds/dockerfiles, deployments/start-command;
/// infrastructure-as-code; railwayapp/railpack: `core/core.go`, `core/providers/procfile/procfile.go`,
/// `core/providers/python/python.go`):
/// 1. the service's settings, which `.railway/railway.*` writes, and over them `railway.toml` or `railway.json`;
/// 2. a Dockerfile's ENTRYPOINT and CMD: Railway always builds with one if it finds one;
/// 3. Railpack: `RAILPACK_START_CMD`, `railpack.json`, the Procfile, its own guess.
pub(crate) fn find(files: &Files, variable: Variable<'_>) -> Result<Start, NoStart> {
    refuse_code(files)?;
    let settings = railway::read(files).map_err(|(name, what)| NoStart::Unknown(name, what))?;
    let dockerfile = settings.as_ref().and_then(|settings| settings.dockerfile.clone());
    let dockerfile = dockerfile.or_else(|| variable("RAILWAY_DOCKERFILE_PATH"));
    require_builder(files, settings.as_ref(), dockerfile.as_deref())?;
    if let Some(settings) = &settings
        && let Some((line, command)) = &settings.start
    {
        return of_settings(files, settings, *line, command, dockerfile.as_deref());
    }
    for root in files.roots() {
        if let Some(file) = readable(files, &dockerfile_in(root, dockerfile.as_deref()))? {
            return of_image(files, file, root);
        }
        if let Some(start) = of_railpack(files, root, variable)? {
            return Ok(start);
        }
    }
    guess(files)
}

/// A file that decides, if it is there.
fn readable(files: &Files, path: &Path) -> Result<Option<File>, NoStart> {
    match files.file(path) {
        Ok(file) => Ok(Some(file)),
        Err(Unreadable::Missing) => Ok(None),
        Err(Unreadable::Unfit(what)) => Err(NoStart::Unknown(files.name_of(path), format!("it {what}"))),
    }
}

/// A start command that is code is not known.
fn refuse_code(files: &Files) -> Result<(), NoStart> {
    for dir in files.above() {
        for name in ["railway.ts", "railway.py", "railway.go"] {
            let Some(file) = readable(files, &dir.join(".railway").join(name))? else { continue };
            if ["start:", "start=", "startCommand"].iter().any(|word| file.text.contains(word)) {
                let why = "it names a start command, which is code and wins over Dockerfile and Procfile";
                return Err(NoStart::Unknown(file.name, why.into()));
            }
        }
    }
    Ok(())
}

/// If the build that the settings name cannot be followed here, what comes after it would be a guess.
fn require_builder(
    files: &Files,
    settings: Option<&railway::RailwayFile>,
    dockerfile: Option<&str>,
) -> Result<(), NoStart> {
    let name = settings.map_or_else(|| "RAILWAY_DOCKERFILE_PATH".to_owned(), |settings| settings.name.clone());
    let builder = settings.and_then(|settings| settings.builder.as_deref());
    let beside = settings.map(|settings| settings.dir.as_path());
    let is_there = files.roots().into_iter().chain(beside).any(|dir| has_dockerfile(files, dir, dockerfile));
    if !is_there && (dockerfile.is_some() || builder == Some("DOCKERFILE")) {
        return Err(NoStart::Unknown(name, "it names a Dockerfile, which is not there".into()));
    }
    if builder == Some("NIXPACKS") && settings.is_some_and(|settings| settings.start.is_none()) {
        return Err(NoStart::Unknown(name, "Nixpacks is to build, whose own guess is not known here".into()));
    }
    Ok(())
}

/// The start command of `railway.toml` or `railway.json`.
fn of_settings(
    files: &Files,
    settings: &railway::RailwayFile,
    line: Option<u32>,
    command: &str,
    dockerfile: Option<&str>,
) -> Result<Start, NoStart> {
    let place = Some((settings.name.clone(), line));
    // A Dockerfile beside it is what is built; these files do not follow the service's root directory
    // (docs.railway.com/builds/build-configuration), so that the command may run in any of the roots.
    let places = if dockerfile.is_some() { files.roots() } else { vec![settings.dir.as_path()] };
    if let Some(layout) = image(files, &places, dockerfile) {
        // Railway runs it in place of the ENTRYPOINT, without a shell.
        let words = shell::commands(command).into_iter().next().unwrap_or_default();
        let form = Form::Exec(words.into_iter().map(|word| Word::literal(word.text)).collect());
        return Ok(Start { place, form, layout });
    }
    if places.iter().any(|dir| has_dockerfile(files, dir, dockerfile)) {
        let why = "it gives a start command beside a Dockerfile that cannot be read";
        return Err(NoStart::Unknown(settings.name.clone(), why.into()));
    }
    let beside = std::iter::once(settings.dir.as_path()).chain(files.roots());
    let layout = Layout::Source(beside.map(Path::to_path_buf).collect());
    Ok(Start { place, form: Form::Shell(command.to_owned()), layout })
}

fn dockerfile_in(dir: &Path, dockerfile: Option<&str>) -> PathBuf {
    dir.join(dockerfile.unwrap_or("Dockerfile").trim_start_matches('/'))
}

/// Whether there is one, be it readable or not.
fn has_dockerfile(files: &Files, dir: &Path, dockerfile: Option<&str>) -> bool {
    !matches!(files.file(&dockerfile_in(dir, dockerfile)), Err(Unreadable::Missing))
}

/// The image that would be built from the first Dockerfile that is there.
fn image(files: &Files, places: &[&Path], dockerfile: Option<&str>) -> Option<Layout> {
    places.iter().find_map(|place| {
        let file = files.file(&dockerfile_in(place, dockerfile)).ok()?;
        let image = dockerfile::read(&file.text)?;
        Some(layout(files, place, &file, image))
    })
}

/// With its build context, the service's root directory: the one in which the Dockerfile was searched for, the
/// Dockerfile's own, or the repository's.
fn layout(files: &Files, context: &Path, file: &File, image: Image) -> Layout {
    let contexts = [Some(context), file.path.parent(), Some(&files.base)];
    Layout::Image { contexts: contexts.into_iter().flatten().map(Path::to_path_buf).collect(), image: Box::new(image) }
}

fn of_image(files: &Files, file: File, context: &Path) -> Result<Start, NoStart> {
    let Some(image) = dockerfile::read(&file.text) else {
        return Err(NoStart::Broken(file.name, None, "has no FROM".into()));
    };
    let shell = |line: &str| vec![Word::literal("/bin/sh"), Word::literal("-c"), Word::literal(line)];
    let (line, form) = match (&image.entrypoint, &image.command) {
        (None, None) => {
            let why = "it has neither CMD nor ENTRYPOINT: those of its base image run";
            return Err(NoStart::Unknown(file.name, why.into()));
        }
        // An ENTRYPOINT in shell form is not given the CMD.
        (Some(Instruction { line, form: form @ Form::Shell(_) }), _)
        | (Some(Instruction { line, form }), None)
        | (None, Some(Instruction { line, form })) => (*line, form.clone()),
        (Some(Instruction { form: Form::Exec(entrypoint), .. }), Some(Instruction { line, form })) => {
            let arguments = match form {
                Form::Exec(words) => words.clone(),
                Form::Shell(line) => shell(line),
            };
            (*line, Form::Exec(entrypoint.iter().cloned().chain(arguments).collect()))
        }
    };
    let layout = layout(files, context, &file, image);
    Ok(Start { place: Some((file.name, Some(line))), form, layout })
}

/// The start command that is configured for Railpack, if any.
fn of_railpack(files: &Files, root: &Path, variable: Variable<'_>) -> Result<Option<Start>, NoStart> {
    let start = |name: String, line, command| {
        let layout = Layout::Source(vec![root.to_path_buf()]);
        Ok(Some(Start { place: Some((name, line)), form: Form::Shell(command), layout }))
    };
    if let Some(command) = variable("RAILPACK_START_CMD") {
        return start("RAILPACK_START_CMD".into(), None, command);
    }
    if let Some(file) = readable(files, &root.join("railpack.json"))? {
        let Ok(json) = serde_json::from_str::<Value>(&file.text) else {
            return Err(NoStart::Broken(file.name, None, "is not JSON: the build ends with that".into()));
        };
        match &json["deploy"]["startCommand"] {
            Value::Null => {}
            Value::String(command) if command.is_empty() => {}
            Value::String(command) => {
                let line = railway::line_of(&file.text, "startCommand");
                return start(file.name, line, command.clone());
            }
            _ => return Err(NoStart::Unknown(file.name, "startCommand is no text in it".into())),
        }
    }
    if let Some(file) = readable(files, &root.join("nixpacks.toml"))?
        && railway::toml(&file.text).map_or(true, |toml| !toml["start"].is_null())
    {
        let why = "it decides on the start command where the service is still built by Nixpacks";
        return Err(NoStart::Unknown(file.name, why.into()));
    }
    let path = root.join("Procfile");
    match files.file(&path) {
        Ok(file) => match procfile::read(&file.text) {
            Ok(Some((line, command))) => start(file.name, Some(line), command),
            Ok(None) => Err(NoStart::Broken(file.name, None, "has no line with a command".into())),
            Err((line, what)) => Err(NoStart::Broken(file.name, Some(line), what.into())),
        },
        Err(Unreadable::Unfit(what)) => Err(NoStart::Broken(files.name_of(&path), None, what.into())),
        Err(Unreadable::Missing) => Ok(None),
    }
}

/// How Railpack starts a directory without any of these.
fn guess(files: &Files) -> Result<Start, NoStart> {
    let main = ["main.py", "app.py", "start.py", "bot.py", "hello.py", "server.py"];
    let main = main.into_iter().find(|name| files.has(&files.dir.join(name))).ok_or(NoStart::Nothing)?;
    let sources = ["requirements.txt", "pyproject.toml", "Pipfile"];
    let files_of = sources.iter().filter_map(|source| files.file(&files.dir.join(source)).ok());
    let texts: Vec<String> = files_of.map(|file| file.text.to_lowercase()).collect();
    let wants = |name: &str| texts.iter().any(|text| text.contains(name));
    let command = if wants("fastapi") && wants("uvicorn") {
        "uvicorn main:app --host 0.0.0.0 --port ${PORT:-8000}".to_owned()
    } else {
        format!("python {main}")
    };
    Ok(Start { place: None, form: Form::Shell(command), layout: Layout::Source(vec![files.dir.clone()]) })
}
