//! Where the repository has the files that a start command finds in its container.

use std::path::{Path, PathBuf};

use super::command::Assignment;
use super::dockerfile::{Image, absolute};
use super::files::{File, Files};
use super::shell::Word;

/// Railpack puts the service's root directory here (railwayapp/railpack, `core/generate/context.go`).
const RAILPACK: &str = "/app";

/// How the repository's files get into the container.
#[derive(Debug)]
pub(crate) enum Layout {
    /// With Railpack: the service's root directory as it is, which may be any of these.
    Source(Vec<PathBuf>),
    /// With a Dockerfile: what the image copies from the build context, which may be any of these.
    Image { contexts: Vec<PathBuf>, image: Box<Image> },
}

/// A file that a command names.
#[derive(Debug)]
pub(crate) enum Located {
    Found(Box<File>),
    Missing,
    /// Why it is not known whether it is there.
    Unknown(&'static str),
}

impl Layout {
    /// The first of these paths that exists, relative to where the command runs after these `cd`s.
    pub(crate) fn find(&self, files: &Files, directories: &[Word], paths: &[String]) -> Located {
        let Some(directory) = self.directory(directories) else {
            return Located::Unknown("a variable decides in which directory it runs");
        };
        let places = |path: &String| self.places(&absolute(&directory, path));
        if let Some(file) = paths.iter().flat_map(places).find_map(|place| files.file(&place).ok()) {
            return Located::Found(Box::new(file));
        }
        match self {
            Layout::Source(_) if !directory.starts_with(RAILPACK) => Located::Unknown("it runs outside /app"),
            Layout::Source(_) => Located::Missing,
            Layout::Image { image, .. } if !image.complete => {
                Located::Unknown("not every COPY and RUN of the Dockerfile was understood")
            }
            Layout::Image { image, .. } if image.installs => {
                Located::Unknown("the Dockerfile installs the app as a package")
            }
            Layout::Image { .. } => Located::Missing,
        }
    }

    /// The variables that the image sets.
    pub(crate) fn variables(&self) -> Vec<Assignment> {
        let image = match self {
            Layout::Source(_) => return Vec::new(),
            Layout::Image { image, .. } => image,
        };
        // The unknown part of a value appears in it as a dollar sign.
        let word = |value: &String| Word { expands_other: value.contains('$'), ..Word::literal(value) };
        image.variables.iter().map(|(name, value)| (name.clone(), word(value))).collect()
    }

    /// The directories of the repository that may be the service's root.
    pub(crate) fn roots(&self) -> Vec<&Path> {
        match self {
            Layout::Source(roots) | Layout::Image { contexts: roots, .. } => {
                roots.iter().map(PathBuf::as_path).collect()
            }
        }
    }

    /// Absolute, without a slash at its end.
    fn directory(&self, directories: &[Word]) -> Option<String> {
        let start = match self {
            Layout::Source(_) => RAILPACK,
            Layout::Image { image, .. } => image.workdir.as_deref()?,
        };
        let mut here = start.to_owned();
        for word in directories {
            if word.expands_other || word.expands_port || word.text.contains('$') || word.text == "-" {
                return None;
            }
            here = absolute(here.trim_end_matches('/'), &word.text);
        }
        Some(here.trim_end_matches('/').to_owned())
    }

    fn places(&self, path: &str) -> Vec<PathBuf> {
        match self {
            Layout::Source(roots) => {
                let below = path.strip_prefix(RAILPACK).map(|below| below.trim_start_matches('/'));
                below.into_iter().flat_map(|below| roots.iter().map(move |root| root.join(below))).collect()
            }
            Layout::Image { contexts, image } => {
                let below = image.sources(path).into_iter();
                below.flat_map(|below| contexts.iter().map(move |context| context.join(&below))).collect()
            }
        }
    }
}
