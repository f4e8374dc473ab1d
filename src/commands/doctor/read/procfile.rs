//! A Procfile → its process. Railpack reads it as YAML and takes `web`, else `worker`, else any
//! (railwayapp/railpack, `core/providers/procfile/procfile.go`).

/// The line and its command; `None` where there is none.
///
/// # Errors
/// The line that is no YAML, and why.
pub(crate) fn read(text: &str) -> Result<Option<(u32, String)>, (u32, &'static str)> {
    let mut processes: Vec<(&str, u32, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err((number, "this line has no colon, and the build ends with that"));
        };
        if !(value.is_empty() || value.starts_with([' ', '\t'])) {
            return Err((number, "a blank must follow the colon: Railpack reads this file as YAML"));
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
        return Err("Railpack reads this file as YAML, where a colon and a blank within a value end the build");
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
        for (text, line) in [("web a\n", 1), ("\nweb: echo a: b\n", 2), ("web:a\n", 1)] {
            assert_eq!(read(text).unwrap_err().0, line, "{text}");
        }
    }
}
