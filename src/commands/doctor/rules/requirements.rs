//! Two builds of one commit are the same, pip can read its files, and asyncpg is new enough.

use std::collections::HashMap;

use super::super::deployment::Deployment;
use super::super::finding::Finding;
use super::super::read::installed::{Entry, Installed};
use super::super::read::placeholder;
use super::super::read::requirement::Requirement;

/// The first for Python 3.12 (its release notes).
const OLDEST_ASYNCPG: [u32; 3] = [0, 29, 0];
const DRIVERS: [&str; 5] = ["psycopg", "psycopg2", "psycopg2-binary", "psycopg-binary", "pg8000"];

/// Every requirement is pinned, and none fails the build.
pub(super) fn judge(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some(backend) = &deployment.backend else { return Vec::new() };
    let installed = &backend.installed;
    let Some(source) = &installed.source else {
        let from_image = backend.files.roots().iter().any(|root| backend.files.has(&root.join("Dockerfile")));
        let message = "there is no requirements.txt and no lock file";
        let remedy = "write one with every requirement as name==version (`pip freeze > requirements.txt`)";
        return vec![match from_image {
            true => Finding::unknown(format!("{message}: the Dockerfile decides what is installed"), remedy),
            false => Finding::error(message, remedy).at(&backend.files.name_of(&backend.files.dir), None),
        }];
    };
    let mut found: Vec<Finding> = installed
        .pip_errors
        .iter()
        .map(|error| {
            let named = error.what.ends_with("missing");
            let what = if named { error.what.to_owned() } else { format!("this file {}", error.what) };
            let remedy = if named { "correct its name: pip would stop here" } else { "save it as UTF-8 text" };
            Finding::error(what, remedy).at(&error.file, error.line)
        })
        .collect();
    if installed.left_out > 0 {
        let message = format!("{} files that are named here were not read", installed.left_out);
        found.push(Finding::unknown(message, "put them into fewer files").at(source, None));
    }
    let pins: HashMap<&str, &str> = installed.entries.iter().filter(|entry| entry.constraint).filter_map(pin).collect();
    let mut pinned: HashMap<&str, (&str, u32)> = HashMap::new();
    for entry in installed.entries.iter().filter(|entry| !entry.constraint) {
        found.extend(of_entry(entry, &pins, &mut pinned).map(|finding| finding.at(&entry.file, entry.line)));
    }
    let drivers = DRIVERS.iter().any(|name| installed.has(name) == Some(true));
    if installed.has("asyncpg") == Some(false) && !drivers {
        let remedy = "add asyncpg==0.30.0 or newer: postgresql+asyncpg:// needs it";
        found.push(Finding::warning("no driver of PostgreSQL is among the requirements", remedy).at(source, None));
    }
    if found.is_empty() {
        found.push(Finding::ok(all_pinned(installed)).at(source, None));
    }
    found
}

fn all_pinned(installed: &Installed) -> String {
    let count = installed.entries.iter().filter(|entry| !entry.constraint).count();
    let asyncpg = if installed.has("asyncpg") == Some(true) { ", and asyncpg is 0.29.0 or newer" } else { "" };
    format!("all {count} requirements are pinned{asyncpg}")
}

fn of_entry<'a>(
    entry: &'a Entry,
    pins: &HashMap<&str, &'a str>,
    pinned: &mut HashMap<&'a str, (&'a str, u32)>,
) -> Option<Finding> {
    match &entry.asks {
        Requirement::Package { name, version, marked, .. } => {
            let Some(version) = version.as_deref().or_else(|| pins.get(name.as_str()).copied()) else {
                let remedy = format!("write {}==VERSION, with the version that you tested", shown(name));
                return Some(Finding::error(format!("{} is not pinned", shown(name)), remedy));
            };
            // With markers, or in a lock file with a version for each platform, there may be two.
            if !marked {
                if let Some((first, line)) = pinned.get(name.as_str())
                    && *first != version
                {
                    let message = format!("{} is pinned to another version in line {line}", shown(name));
                    return Some(Finding::error(message, "leave one of them: pip refuses both"));
                }
                pinned.insert(name, (version, entry.line));
            }
            if name == "asyncpg" && is_too_old(version) {
                return Some(Finding::error("asyncpg is older than 0.29.0", "write asyncpg==0.30.0 or newer"));
            }
            None
        }
        Requirement::LocalFile { name } => {
            let message = format!("{} is a file on the machine that wrote this (conda's freeze)", shown(name));
            Some(Finding::error(message, "write name==version (`pip list --format=freeze`): pip finds no such file"))
        }
        Requirement::Url { pinned: false, .. } => {
            let remedy = "name a commit (…@<40 characters>), or a file with its version or hash";
            Some(Finding::error("a requirement by URL is not pinned", remedy))
        }
        Requirement::Unreadable => {
            Some(Finding::error("this line is not a requirement, and pip stops at it", "write name==version"))
        }
        Requirement::Url { pinned: true, .. }
        | Requirement::Nothing
        | Requirement::Include(_)
        | Requirement::Constraints(_) => None,
    }
}

fn pin(entry: &Entry) -> Option<(&str, &str)> {
    match &entry.asks {
        Requirement::Package { name, version: Some(version), .. } => Some((name, version)),
        _ => None,
    }
}

fn shown(name: &str) -> String {
    placeholder::shown(name, "a requirement")
}

/// By PEP 440, as far as needed: the first three numbers, and whether the version is a pre-release.
fn is_too_old(version: &str) -> bool {
    let mut numbers = [0; 3];
    let mut suffix = "";
    for (number, part) in numbers.iter_mut().zip(version.trim_start_matches('v').split('.')) {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        *number = part[..digits].parse().unwrap_or(0);
        suffix = &part[digits..];
        if !suffix.is_empty() {
            break;
        }
    }
    let is_before =
        ["a", "b", "rc", "dev", ".dev"].iter().any(|sign| suffix.starts_with(sign)) || version.contains(".dev");
    numbers < OLDEST_ASYNCPG || numbers == OLDEST_ASYNCPG && is_before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asyncpg_versions() {
        for old in ["0.28.0", "0.9", "0.29.0rc1", "0.29.0.dev1", "0"] {
            assert!(is_too_old(old), "{old}");
        }
        for new in ["0.29.0", "0.29", "0.29.0.post1", "0.30.0rc1", "0.32.0", "1.0"] {
            assert!(!is_too_old(new), "{new}");
        }
    }
}
