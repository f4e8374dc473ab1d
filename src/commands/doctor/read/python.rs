//! Does a module bind this name, as far as can be seen line by line? The code is not understood beyond that.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// `app = FastAPI(…)` at the top level.
    Constructed,
    /// At the top level or in a branch there, by something that was not run: a factory, an import, a definition.
    ByCode,
    /// Only inside a function or class, where an import of the module does not find it.
    Nested,
    Missing,
}

const CONSTRUCTORS: [&str; 4] = ["FastAPI(", "fastapi.FastAPI(", "Starlette(", "starlette.applications.Starlette("];

/// How `source` binds `name`.
pub(crate) fn binding(source: &str, name: &str) -> Binding {
    let mut found = Binding::Missing;
    let mut text: Option<&str> = None; // the quotes of a string of several lines
    let mut import = false; // within `from x import (`
    let mut in_definition = false;
    for line in source.lines() {
        if let Some(quotes) = text {
            if line.contains(quotes) {
                text = None;
            }
            continue;
        }
        text = opened(line);
        let code = line.trim();
        if code.is_empty() || code.starts_with('#') {
            continue;
        }
        let is_top = !line.starts_with([' ', '\t', ')', ']', '}', '@']);
        if is_top {
            in_definition = ["def ", "async def ", "class "].iter().any(|word| code.starts_with(word));
        }
        let is_import = code.starts_with("from ") || code.starts_with("import ");
        let this = if import || is_import {
            import = (import || code.contains('(')) && !code.contains(')');
            imports(code, name)
        } else {
            assigns(code, name)
        };
        let nested = !is_top && in_definition;
        match this {
            Some(Binding::Constructed) if is_top => return Binding::Constructed,
            Some(_) if nested && found == Binding::Missing => found = Binding::Nested,
            Some(_) if !nested => found = Binding::ByCode,
            _ => {}
        }
    }
    found
}

/// The quotes of a string that begins in this line, but does not end in it.
fn opened(line: &str) -> Option<&'static str> {
    let code = line.split('#').next().unwrap_or(line);
    ["\"\"\"", "'''"].into_iter().find(|quotes| code.matches(quotes).count() % 2 == 1)
}

fn imports(code: &str, name: &str) -> Option<Binding> {
    let names = code.split_once("import").map_or(code, |(_, names)| names);
    let binds = |item: &str| {
        let item = item.split('#').next().unwrap_or(item).trim_matches([' ', '(', ')']);
        let bound = item.split_once(" as ").map_or(item, |(_, alias)| alias).trim();
        bound == name || bound == "*"
    };
    names.split(',').any(binds).then_some(Binding::ByCode)
}

fn assigns(code: &str, name: &str) -> Option<Binding> {
    for definition in ["def ", "async def ", "class "] {
        if let Some(rest) = code.strip_prefix(definition) {
            let end = rest.find(['(', ':']).unwrap_or(rest.len());
            return (rest[..end].trim() == name).then_some(Binding::ByCode);
        }
    }
    // `app = …`, `app: FastAPI = …`, `app = api = …`, `app, db = …`.
    let targets = code.split_once('(').map_or(code, |(targets, _)| targets);
    let binds = |target: &str| {
        target.split(',').any(|target| target.split(':').next().is_some_and(|target| target.trim() == name))
    };
    let mut parts = targets.split('=');
    let last = parts.next_back().unwrap_or_default();
    if !targets.contains('=') || targets.contains("==") || !parts.any(binds) {
        return None;
    }
    let value = format!("{}(", last.trim());
    Some(if CONSTRUCTORS.contains(&value.as_str()) { Binding::Constructed } else { Binding::ByCode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_binds_app() {
        for (source, expected) in [
            ("from fastapi import FastAPI\napp = FastAPI(\n    title='x')\n", Binding::Constructed),
            ("app: FastAPI = fastapi.FastAPI()", Binding::Constructed),
            ("api = app = FastAPI()", Binding::Constructed),
            ("def f():\n    pass\n\napp = FastAPI()\n", Binding::Constructed),
            ("from app.factory import create_app\napp = create_app()\n", Binding::ByCode),
            ("from .api import (\n    app,\n    db,\n)\n", Binding::ByCode),
            ("from .api import application as app", Binding::ByCode),
            ("from .api import *", Binding::ByCode),
            ("if X:\n    app = FastAPI()\n", Binding::ByCode),
            ("async def app(scope, receive, send):\n    pass", Binding::ByCode),
            ("def f():\n    app = FastAPI()\n    return app\n", Binding::Nested),
            ("class A:\n    app: FastAPI = FastAPI()\n", Binding::Nested),
            ("from app.factory import create_app\n", Binding::Missing),
            ("import uvicorn\nif __name__ == '__main__':\n    uvicorn.run(app=x)\n", Binding::Missing),
            ("'''\napp = FastAPI()\n'''\n# app = FastAPI()\n", Binding::Missing),
            ("application = FastAPI()\nif app == 1: pass\n", Binding::Missing),
        ] {
            assert_eq!(binding(source, "app"), expected, "{source}");
        }
    }
}
