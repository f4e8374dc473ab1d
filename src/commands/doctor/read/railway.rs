//! `railway.toml` and `railway.json`: the start command and the Dockerfile that they name
//! (docs.railway.com/config-as-code/reference).

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::files::{Files, Unreadable};

/// What they say about the start.
#[derive(Debug)]
pub(crate) struct RailwayFile {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) start: Option<(Option<u32>, String)>,
    pub(crate) dockerfile: Option<String>,
    /// `RAILPACK`, `DOCKERFILE`, `NIXPACKS`, in capitals.
    pub(crate) builder: Option<String>,
}

/// The nearest of the two.
///
/// # Errors
/// The file's name, and why nothing is known.
pub(crate) fn read(files: &Files) -> Result<Option<RailwayFile>, (String, String)> {
    for dir in files.above() {
        for name in ["railway.toml", "railway.json"] {
            let path = dir.join(name);
            let file = match files.file(&path) {
                Ok(file) => file,
                Err(Unreadable::Missing) => continue,
                Err(Unreadable::Unfit(what)) => return Err((files.name_of(&path), format!("it {what}"))),
            };
            let content = if name == "railway.toml" { toml(&file.text) } else { json(&file.text) };
            let of_content = content.and_then(|content| Content::read(&content));
            let Content { start, dockerfile, builder } = of_content.map_err(|what| (file.name.clone(), what))?;
            let start = start.map(|command| (line_of(&file.text, "startCommand"), command));
            return Ok(Some(RailwayFile { name: file.name, dir: dir.to_owned(), start, dockerfile, builder }));
        }
    }
    Ok(None)
}

/// The content of either.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    start: Option<String>,
    dockerfile: Option<String>,
    builder: Option<String>,
}

impl Content {
    fn read(content: &Value) -> Result<Content, String> {
        let own = Content::of(content)?;
        let environments = table(content, "environments")?;
        for environment in environments.into_iter().flat_map(|environments| environments.values()) {
            if Content::of(environment)? != (Content { start: None, dockerfile: None, builder: None }) {
                return Err("a part for one environment decides how the app is built or started there".into());
            }
        }
        Ok(own)
    }

    fn of(content: &Value) -> Result<Content, String> {
        let start = text(content, "deploy", "startCommand")?;
        let dockerfile = text(content, "build", "dockerfilePath")?;
        let builder = text(content, "build", "builder")?.map(|builder| builder.to_ascii_uppercase());
        Ok(Content { start, dockerfile, builder })
    }
}

fn table<'a>(content: &'a Value, name: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    let Value::Object(content) = content else { return Err("it holds no table where one is expected".into()) };
    match content.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(table)) => Ok(Some(table)),
        Some(_) => Err(format!("{name} is no table in it")),
    }
}

/// A text; an empty one counts as none.
fn text(content: &Value, name: &str, key: &str) -> Result<Option<String>, String> {
    match table(content, name)?.and_then(|table| table.get(key)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("{key} is no text in it")),
    }
}

pub(crate) fn toml(text: &str) -> Result<Value, String> {
    toml::from_str(text).map_err(|_| "it is not TOML".into())
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|_| "it is not JSON".into())
}

/// The line that contains a key.
pub(crate) fn line_of(text: &str, key: &str) -> Option<u32> {
    let holds = |line: &str| line.contains(key) && !line.trim_start().starts_with('#');
    (1..).zip(text.lines()).find(|(_, line)| holds(line)).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_toml(text: &str) -> Result<Content, String> {
        Content::read(&toml(text)?)
    }

    #[test]
    fn every_form_of_toml() {
        for text in [
            "[deploy]\nstartCommand = \"a \\\"b\\\" $PORT\" # c\n",
            "deploy.startCommand = 'a \"b\" $PORT'\n",
            "deploy = { startCommand = 'a \"b\" $PORT' }\n",
            "[ deploy ]\n\"startCommand\" = \"\"\"\na \"b\" \\\n   $PORT\"\"\"\n",
        ] {
            assert_eq!(of_toml(text).unwrap().start.as_deref(), Some("a \"b\" $PORT"), "{text}");
        }
        let Content { start, dockerfile, builder } =
            of_toml("[build]\nbuilder = 'nixpacks'\ndockerfilePath = 'x'\nstartCommand = 'no'\n").unwrap();
        assert_eq!((start, dockerfile.as_deref(), builder.as_deref()), (None, Some("x"), Some("NIXPACKS")));
    }

    #[test]
    fn what_is_not_understood_is_reported() {
        for (text, what) in [
            ("[deploy]\nstartCommand = \"open", "not TOML"),
            ("[deploy]\nstartCommand = a\n", "not TOML"),
            ("[deploy]\nstartCommand = 1\n", "startCommand is no text"),
            ("[deploy]\nstartCommand = ['a']\n", "startCommand is no text"),
            ("deploy = 'a'\n", "deploy is no table"),
            ("[[deploy]]\nstartCommand = 'a'\n", "deploy is no table"),
            ("[environments.production.deploy]\nstartCommand = 'a'\n", "one environment"),
            ("environments.pr.build.builder = 'NIXPACKS'\n", "one environment"),
            ("environments.pr = 1\n", "no table"),
        ] {
            assert!(of_toml(text).is_err_and(|fault| fault.contains(what)), "{text}");
        }
        assert!(of_toml("[environments.production.deploy]\nnumReplicas = 2\n").is_ok());
        assert!(Content::read(&json("[]").unwrap()).is_err());
    }
}
