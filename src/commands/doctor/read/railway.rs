//! `railway.toml` and `railway.json`: the start command and the Dockerfile that they name
//! (docs.railway.com/config-as-code/reference).

use std::path::PathBuf;

use super::files::Files;

/// What decides about the start.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    /// The directory in which it is.
    pub(crate) dir: PathBuf,
    pub(crate) start: Option<(Option<u32>, String)>,
    pub(crate) dockerfile: Option<String>,
}

/// The nearest of the two.
///
/// # Errors
/// Its name, and why nothing is known of it.
pub(crate) fn read(files: &Files) -> Result<Option<Settings>, (String, String)> {
    for dir in files.above() {
        if let Ok(file) = files.file(&dir.join("railway.toml")) {
            let start = toml(&file.text, "deploy", "startCommand").map(|(line, value)| (Some(line), value));
            let dockerfile = toml(&file.text, "build", "dockerfilePath").map(|(_, value)| value);
            return Ok(Some(Settings { name: file.name, dir: dir.to_owned(), start, dockerfile }));
        }
        if let Ok(file) = files.file(&dir.join("railway.json")) {
            let Ok(json) = serde_json::from_str::<serde_json::Value>(&file.text) else {
                return Err((file.name, "it is not JSON".into()));
            };
            let text = |value: &serde_json::Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            let start = text(&json["deploy"]["startCommand"]).map(|value| (line_of(&file.text, "startCommand"), value));
            let dockerfile = text(&json["build"]["dockerfilePath"]);
            return Ok(Some(Settings { name: file.name, dir: dir.to_owned(), start, dockerfile }));
        }
    }
    Ok(None)
}

/// The line in which a key stands.
pub(crate) fn line_of(text: &str, key: &str) -> Option<u32> {
    let quoted = format!("\"{key}\"");
    (1..).zip(text.lines()).find(|(_, line)| line.contains(&quoted)).map(|(number, _)| number)
}

/// One value of a table, as far as TOML's strings of one line go.
pub(crate) fn toml(text: &str, table: &str, key: &str) -> Option<(u32, String)> {
    let mut here = "";
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            here = name.trim();
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        if here == table && name.trim().trim_matches('"') == key {
            return Some((number, string(value.trim())?));
        }
    }
    None
}

/// A basic or a literal string of TOML, with one or three quotes, in one line.
fn string(value: &str) -> Option<String> {
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| value.starts_with(quotes))?;
    let inner = &value[quotes.len()..];
    if quotes.starts_with('\'') {
        return inner.find(quotes).map(|end| inner[..end].to_owned());
    }
    let mut done = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => done.push(characters.next().map_or('\\', |(_, c)| c)),
            '"' if inner[at..].starts_with(quotes) => return Some(done),
            c => done.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_table() {
        let text = "[build]\nstartCommand = 'no'\n[deploy] # why\nstartCommand = \"a \\\"b\\\" $PORT\" # c\nx = '''y'''\nz = 1\n";
        assert_eq!(toml(text, "deploy", "startCommand"), Some((4, "a \"b\" $PORT".into())));
        assert_eq!(toml(text, "deploy", "x"), Some((5, "y".into())));
        assert_eq!(toml(text, "deploy", "z"), None);
        assert_eq!(toml("[deploy]\na = \"open", "deploy", "a"), None);
    }
}
