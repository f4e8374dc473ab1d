//! `uv.lock`, `poetry.lock`, `pdm.lock`, `pylock.toml` → the packages that they pin.

/// Name and version of each `[[package]]` (in `pylock.toml` `[[packages]]`), with the line of its name.
pub(crate) fn packages(text: &str) -> Vec<(u32, &str, &str)> {
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
        } else if let (Some((number, name)), Some(version)) = (name, value("version")) {
            found.push((number, name, version));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_uv_and_poetry() {
        let uv =
            "version = 1\n[[package]]\nname = \"asyncpg\"\nversion = \"0.28.0\"\n\n[package.metadata]\nname = \"x\"\n";
        assert_eq!(packages(uv), [(3, "asyncpg", "0.28.0")]);
        let poetry =
            "[[package]]\nname = \"a\"\nversion = \"1\"\ndescription = \"\"\n\n[metadata]\nlock-version = \"2.1\"\n";
        assert_eq!(packages(poetry), [(2, "a", "1")]);
    }
}
