//! A lock file → the packages that it pins.

/// A package that is pinned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Locked {
    pub(super) line: u32,
    pub(super) name: String,
    pub(super) version: Option<String>,
}

/// Those of `uv.lock`, `poetry.lock`, `pdm.lock` and `pylock.toml`: each `[[package]]` or `[[packages]]` with its version.
pub(super) fn packages(text: &str) -> Vec<Locked> {
    let mut found = Vec::new();
    let mut name: Option<(u32, &str)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('[') {
            name = None;
            continue;
        }
        let value = |key: &str| {
            let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim();
            value.strip_prefix('"')?.split('"').next()
        };
        if let Some(value) = value("name") {
            name = Some((number, value));
        } else if let (Some((line, name)), Some(version)) = (name, value("version")) {
            found.push(Locked { line, name: name.to_owned(), version: Some(version.to_owned()) });
        }
    }
    found
}

/// The packages of `Pipfile.lock`, which is JSON.
pub(super) fn of_pipfile(text: &str) -> Vec<Locked> {
    let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let packages = json["default"].as_object().into_iter().flatten();
    let locked = packages.map(|(name, package)| {
        let version = package["version"].as_str().map(|version| version.trim_start_matches('=').to_owned());
        Locked { line: 1, name: name.clone(), version }
    });
    locked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_uv_and_poetry() {
        let uv =
            "version = 1\n[[package]]\nname = \"asyncpg\"\nversion = \"0.28.0\"\n\n[package.metadata]\nname = \"x\"\n";
        let locked =
            |line, name: &str, version: &str| Locked { line, name: name.into(), version: Some(version.into()) };
        assert_eq!(packages(uv), [locked(3, "asyncpg", "0.28.0")]);
        let poetry =
            "[[package]]\nname = \"a\"\nversion = \"1\"\ndescription = \"\"\n\n[metadata]\nlock-version = \"2.1\"\n";
        assert_eq!(packages(poetry), [locked(2, "a", "1")]);
    }
}
