//! A Procfile → the process that is started. Railpack reads it as YAML and takes `web`, else `worker`, else any
//! (railwayapp/railpack, `core/providers/procfile/procfile.go`).

use std::collections::HashSet;

/// The line and its command; `None` if there is none.
///
/// # Errors
/// The line that is not YAML, and why.
pub(crate) fn read(text: &str) -> Result<Option<(u32, String)>, (u32, &'static str)> {
    let mut processes: Vec<(&str, u32, String)> = Vec::new();
    let mut names = HashSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err((number, "has a line without a colon, and the build ends with that"));
        };
        if !(value.is_empty() || value.starts_with([' ', '\t'])) {
            return Err((number, "has no blank behind the colon, as YAML wants it: Railpack reads it as such"));
        }
        if !names.insert(name.trim()) {
            return Err((number, "names a process twice, which ends the build: Railpack reads it as YAML"));
        }
        let value = scalar(value.trim()).map_err(|what| (number, what))?;
        if !value.is_empty() {
            processes.push((name.trim(), number, value));
        }
    }
    let named = |name: &str| processes.iter().find(|(known, _, _)| *known == name);
    let process = named("web").or_else(|| named("worker")).or_else(|| processes.first());
    Ok(process.map(|(_, line, command)| (*line, command.clone())))
}

/// A YAML value of one line.
fn scalar(value: &str) -> Result<String, &'static str> {
    if let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return Ok(inner.replace("\\\"", "\"").replace("\\\\", "\\"));
    }
    if let Some(inner) = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Ok(inner.replace("''", "'"));
    }
    let bare = value.find(" #").map_or(value, |at| &value[..at]).trim_end();
    if bare.contains(": ") {
        return Err("has a colon and a blank within a value, which end the build: Railpack reads it as YAML");
    }
    Ok(bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_as_railpack_takes_them() {
        let rows = [
            ("worker: b\nweb: a # why\n", Some((2, "a"))),
            ("release: x\nworker: b\n", Some((2, "b"))),
            ("# c\n\njobs: 'x ''y'''\n", Some((3, "x 'y'"))),
            ("web: \"sh -c \\\"a\\\"\"\n", Some((1, "sh -c \"a\""))),
            ("web:\n", None),
        ];
        for (text, expected) in rows {
            let found = read(text).unwrap();
            assert_eq!(found.as_ref().map(|(line, command)| (*line, command.as_str())), expected, "{text}");
        }
        for (text, line) in [("web a\n", 1), ("\nweb: echo a: b\n", 2), ("web:a\n", 1), ("web: a\nweb: b\n", 2)] {
            assert_eq!(read(text).unwrap_err().0, line, "{text}");
        }
    }
}
