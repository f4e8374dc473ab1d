//! Which start command Railway would run, by the order in which it and its builder look.

use std::path::Path;

use super::dockerfile::{self, Form, Image, Instruction};
use super::files::{File, Files, Unreadable};
use super::layout::Layout;
use super::shell::{self, Word};
use super::{procfile, railway};

/// A start command and where it stands.
#[derive(Debug)]
pub(crate) struct Start {
    /// What was read, as it is shown; `None` for Railpack's own guess.
    pub(crate) place: Option<(String, Option<u32>)>,
    pub(crate) form: Form,
    pub(crate) layout: Layout,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Found {
    Start(Start),
    /// A file that decides cannot be read, or is code: its name, and why it is not known.
    Unknown(String, String),
    /// A file that decides is broken: its name, line, and what is wrong.
    Broken(String, Option<u32>, String),
    /// None: Railway's build ends with that.
    Nothing,
}

/// What of the environment decides as well.
pub(crate) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The order (docs.railway.com: config-as-code/reference, builds/dockerfiles, deployments/start-command;
/// infrastructure-as-code; railwayapp/railpack: `core/core.go`, `core/providers/procfile/procfile.go`,
/// `core/providers/python/python.go`):
/// 1. the service's settings, which `.railway/railway.*` writes, and over them `railway.toml` or `railway.json`;
/// 2. a Dockerfile's ENTRYPOINT and CMD: Railway always builds with one where it finds one;
/// 3. Railpack: `RAILPACK_START_CMD`, `railpack.json`, the Procfile, its own guess.
pub(crate) fn find(files: &Files, variable: Variable<'_>) -> Found {
    for dir in files.above() {
        for name in ["railway.ts", "railway.py", "railway.go"] {
            let path = dir.join(".railway").join(name);
            match files.file(&path) {
                Ok(file) if ["start:", "start=", "startCommand"].iter().any(|word| file.text.contains(word)) => {
                    let why = "it names a start command, which is code and wins over Dockerfile and Procfile";
                    return Found::Unknown(file.name, why.into());
                }
                Err(Unreadable::Unfit(what)) => return Found::Unknown(files.name_of(&path), format!("it {what}")),
                Ok(_) | Err(Unreadable::Missing) => {}
            }
        }
    }
    let settings = match railway::read(files) {
        Ok(settings) => settings,
        Err((name, what)) => return Found::Unknown(name, what),
    };
    let given = settings.as_ref().and_then(|settings| settings.start.clone());
    let dockerfile = settings.as_ref().and_then(|settings| settings.dockerfile.clone());
    let dockerfile = dockerfile.or_else(|| variable("RAILWAY_DOCKERFILE_PATH"));
    if let Some(found) = without_its_builder(files, settings.as_ref(), dockerfile.as_deref()) {
        return found;
    }
    if let Some((line, command)) = given
        && let Some(settings) = settings
    {
        // A Dockerfile beside it is what is built; these files do not follow the service's root directory
        // (docs.railway.com/builds/build-configuration), so that the command may run in any of the roots.
        let places = match &dockerfile {
            Some(_) => files.roots(),
            None => vec![settings.dir.as_path()],
        };
        let place = Some((settings.name.clone(), line));
        return Found::Start(match image(files, &places, dockerfile.as_deref()) {
            // Railway runs it in place of the ENTRYPOINT, without a shell.
            Some(layout) => {
                let words = shell::commands(&command).into_iter().next().unwrap_or_default();
                let form = Form::Exec(words.into_iter().map(|word| Word::literal(word.text)).collect());
                Start { place, form, layout }
            }
            None if places.iter().any(|dir| dockerfile_at(files, dir, dockerfile.as_deref())) => {
                let why = "it gives a start command beside a Dockerfile that cannot be read";
                return Found::Unknown(settings.name, why.into());
            }
            None => {
                let beside = std::iter::once(settings.dir.as_path()).chain(files.roots());
                let roots = beside.map(Path::to_path_buf).collect();
                Start { place, form: Form::Shell(command), layout: Layout::Source(roots) }
            }
        });
    }
    for root in files.roots() {
        let path = match &dockerfile {
            Some(path) => root.join(path.trim_start_matches('/')),
            None => root.join("Dockerfile"),
        };
        match files.file(&path) {
            Ok(file) => return of_image(files, file, root),
            Err(Unreadable::Unfit(what)) => return Found::Unknown(files.name_of(&path), format!("it {what}")),
            Err(Unreadable::Missing) => {}
        }
        if let Some(found) = of_railpack(files, root, variable) {
            return found;
        }
    }
    guess(files)
}

/// What the settings say of the build cannot be followed here, and what comes after it would be a guess.
fn without_its_builder(
    files: &Files,
    settings: Option<&railway::RailwayFile>,
    dockerfile: Option<&str>,
) -> Option<Found> {
    let name = settings.map_or_else(|| "RAILWAY_DOCKERFILE_PATH".to_owned(), |settings| settings.name.clone());
    let builder = settings.and_then(|settings| settings.builder.as_deref());
    let beside = settings.map(|settings| settings.dir.as_path());
    let mut places = files.roots().into_iter().chain(beside);
    let is_there = places.any(|dir| dockerfile_at(files, dir, dockerfile));
    if !is_there && (dockerfile.is_some() || builder == Some("DOCKERFILE")) {
        return Some(Found::Unknown(name, "it names a Dockerfile, which is not there".into()));
    }
    if builder == Some("NIXPACKS") && settings.is_some_and(|settings| settings.start.is_none()) {
        return Some(Found::Unknown(name, "Nixpacks is to build, whose own guess is not known here".into()));
    }
    None
}

/// There is something by that name, whether or not it can be read.
fn dockerfile_at(files: &Files, dir: &Path, dockerfile: Option<&str>) -> bool {
    let path = dir.join(dockerfile.unwrap_or("Dockerfile").trim_start_matches('/'));
    !matches!(files.file(&path), Err(Unreadable::Missing))
}

/// The Dockerfile that would be built.
fn image(files: &Files, places: &[&Path], dockerfile: Option<&str>) -> Option<Layout> {
    places.iter().find_map(|place| {
        let file = files.file(&place.join(dockerfile.unwrap_or("Dockerfile").trim_start_matches('/'))).ok()?;
        let image = dockerfile::read(&file.text)?;
        Some(layout(files, place, &file, image))
    })
}

/// With its build context, which is the service's root directory: the one where it was looked for, the Dockerfile's own,
/// or the repository's.
fn layout(files: &Files, context: &Path, file: &File, image: Image) -> Layout {
    let contexts = [Some(context), file.path.parent(), Some(&files.base)];
    Layout::Image { contexts: contexts.into_iter().flatten().map(Path::to_path_buf).collect(), image: Box::new(image) }
}

fn of_image(files: &Files, file: File, context: &Path) -> Found {
    let Some(image) = dockerfile::read(&file.text) else {
        return Found::Broken(file.name, None, "has no FROM".into());
    };
    let shell = |line: &str| vec![Word::literal("/bin/sh"), Word::literal("-c"), Word::literal(line)];
    let (line, form) = match (&image.entrypoint, &image.command) {
        (None, None) => {
            let why = "it has neither CMD nor ENTRYPOINT: those of its base image run";
            return Found::Unknown(file.name, why.into());
        }
        // A shell's ENTRYPOINT is given no CMD.
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
    Found::Start(Start { place: Some((file.name, Some(line))), form, layout })
}

fn of_railpack(files: &Files, root: &Path, variable: Variable<'_>) -> Option<Found> {
    let layout = || Layout::Source(vec![root.to_path_buf()]);
    let start = |name: String, line, command| {
        Found::Start(Start { place: Some((name, line)), form: Form::Shell(command), layout: layout() })
    };
    if let Some(command) = variable("RAILPACK_START_CMD") {
        return Some(start("RAILPACK_START_CMD".into(), None, command));
    }
    let path = root.join("railpack.json");
    match files.file(&path) {
        Ok(file) => {
            let Ok(json) = serde_json::from_str::<serde_json::Value>(&file.text) else {
                return Some(Found::Broken(file.name, None, "is not JSON: the build ends with that".into()));
            };
            match &json["deploy"]["startCommand"] {
                serde_json::Value::Null => {}
                serde_json::Value::String(command) if command.is_empty() => {}
                serde_json::Value::String(command) => {
                    let line = railway::line_of(&file.text, "startCommand");
                    return Some(start(file.name, line, command.clone()));
                }
                _ => return Some(Found::Unknown(file.name, "startCommand is no text in it".into())),
            }
        }
        Err(Unreadable::Unfit(what)) => return Some(Found::Unknown(files.name_of(&path), format!("it {what}"))),
        Err(Unreadable::Missing) => {}
    }
    let path = root.join("nixpacks.toml");
    match files.file(&path) {
        Ok(file) if railway::toml(&file.text).map_or(true, |toml| !toml["start"].is_null()) => {
            let why = "it decides on the start command where the service is still built by Nixpacks";
            return Some(Found::Unknown(file.name, why.into()));
        }
        Err(Unreadable::Unfit(what)) => return Some(Found::Unknown(files.name_of(&path), format!("it {what}"))),
        Ok(_) | Err(Unreadable::Missing) => {}
    }
    let path = root.join("Procfile");
    match files.file(&path) {
        Ok(file) => Some(match procfile::read(&file.text) {
            Ok(Some((line, command))) => start(file.name, Some(line), command),
            Ok(None) => Found::Broken(file.name, None, "has no line with a command".into()),
            Err((line, what)) => Found::Broken(file.name, Some(line), what.into()),
        }),
        Err(Unreadable::Unfit(what)) => Some(Found::Broken(files.name_of(&path), None, what.into())),
        Err(Unreadable::Missing) => None,
    }
}

/// What Railpack makes of a directory without any of these.
fn guess(files: &Files) -> Found {
    let main = ["main.py", "app.py", "start.py", "bot.py", "hello.py", "server.py"];
    let Some(main) = main.into_iter().find(|name| files.has(&files.dir.join(name))) else { return Found::Nothing };
    let sources = ["requirements.txt", "pyproject.toml", "Pipfile"];
    let wants = |name: &str| {
        let texts = sources.iter().filter_map(|source| files.file(&files.dir.join(source)).ok());
        texts.into_iter().any(|file| file.text.to_lowercase().contains(name))
    };
    let command = if wants("fastapi") && wants("uvicorn") {
        "uvicorn main:app --host 0.0.0.0 --port ${PORT:-8000}".to_owned()
    } else {
        format!("python {main}")
    };
    Found::Start(Start { place: None, form: Form::Shell(command), layout: Layout::Source(vec![files.dir.clone()]) })
}
