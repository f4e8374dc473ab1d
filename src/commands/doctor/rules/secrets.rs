//! The key that signs tokens, and secrets in files: whoever has the repository has them, and its history keeps them.

use super::super::deployment::{Code, Deployment, Environment};
use super::super::finding::Finding;
use super::super::read::files::{File, Files, is_variables};
use super::super::read::ignored::Ignored;
use super::super::read::placeholder;
use super::super::read::secret::{self, SecretKind};
use crate::config::settings::{DATABASE_URL, OWN_DATABASE_URL};
use crate::dsn::Plan;

/// HS256 requires a key as long as its hash (RFC 7518, section 3.2): 256 bits, of which a character has 8 at most.
const SHORTEST_JWT_SECRET: usize = 32;
/// A random hexadecimal text of 32 characters always has more different ones.
const FEWEST_DIFFERENT: usize = 8;

const NEW_SECRET: &str = "set JWT_SECRET to the output of `openssl rand -hex 32`";
const REMEDY: &str = "read it from the environment (os.environ), delete it here, and replace it with a new one: the \
                      repository's history keeps this one";

/// `JWT_SECRET` is there and long enough.
pub(super) fn jwt_secret(deployment: &Deployment<'_>) -> Option<Finding> {
    let stage = deployment.environment();
    let fault = |message: String| match stage {
        Environment::Production => Finding::error(message, NEW_SECRET),
        Environment::Unset => Finding::warning(format!("{message}, which production would refuse"), NEW_SECRET),
        Environment::Relaxed => Finding::ok(format!("{message}, which production would refuse")),
    };
    let Some(secret) = deployment.text("JWT_SECRET") else {
        let message = format!("JWT_SECRET {}", deployment.absence("JWT_SECRET"));
        return Some(match deployment.code(&["JWT_SECRET"]) {
            Code::Silent => Finding::unknown(
                format!("{message}, and no file of the app mentions it"),
                "check which variable holds the key that signs tokens, if there is one: 32 characters at least",
            ),
            Code::Mentions(_) | Code::Unread => fault(message),
        });
    };
    if secret.chars().count() < SHORTEST_JWT_SECRET {
        return Some(fault(format!("JWT_SECRET has fewer than {SHORTEST_JWT_SECRET} characters")));
    }
    let mut different: Vec<char> = secret.chars().collect();
    different.sort_unstable();
    different.dedup();
    if placeholder::is_marked(&secret) {
        return Some(fault("JWT_SECRET is long enough but a placeholder".into()));
    }
    if different.len() < FEWEST_DIFFERENT && stage != Environment::Relaxed {
        return Some(Finding::warning("JWT_SECRET is long enough but not random", NEW_SECRET));
    }
    Some(Finding::ok(format!("JWT_SECRET has at least {SHORTEST_JWT_SECRET} characters")))
}

/// No file that git would commit contains a secret. Findings show the place, never the text.
pub(super) fn in_files(deployment: &Deployment<'_>) -> Vec<Finding> {
    let Some(backend) = &deployment.backend else { return Vec::new() };
    let known = own_secrets(deployment);
    let python = backend.files.python.iter().map(|file| (file, true));
    let settings = backend.files.settings.iter().map(|file| (file, false));
    let mut count = 0;
    let mut found = Vec::new();
    for (file, is_python) in python.chain(settings) {
        let ignored = backend.files.ignored.has(&file.path);
        if ignored == Some(true) {
            continue;
        }
        count += 1;
        // Files of variables are usually ignored, which is not known without git.
        let is_open = ignored.is_none() && is_local(file);
        found.extend(
            secret::lines(&file.text, is_python, &known)
                .into_iter()
                .map(|(line, kind)| finding(kind, is_open, &backend.files).at(&file.name, line)),
        );
    }
    if found.is_empty() {
        let which = match &backend.files.ignored {
            Ignored::Known(_) => "that git would commit",
            Ignored::Unknown => "that were read; git was not there to say which of them it would commit",
        };
        found.push(Finding::ok(format!("no secret was seen in the {count} files {which}")));
    }
    found
}

fn finding(kind: SecretKind, is_open: bool, files: &Files) -> Finding {
    let what = match kind {
        SecretKind::Known => "the value of one of this environment's secrets stands here",
        SecretKind::Url => "a URL with its password stands here",
        SecretKind::Token => "an access token or a private key stands here",
        SecretKind::SigningKey => "the key that signs tokens stands here",
        SecretKind::Assigned => "what looks like a secret stands here",
    };
    if !is_open {
        return Finding::error(what, REMEDY);
    }
    let why = match files.base.join(".git").exists() {
        true => "git does not answer",
        false => "there is no git repository",
    };
    Finding::unknown(format!("{what}, and {why} to say whether it is ignored"), "check that .gitignore names this file")
}

/// A file of variables, but not `.env.example`, which is there to be committed.
fn is_local(file: &File) -> bool {
    let name = file.path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let is_template = ["example", "sample", "template", "dist"].iter().any(|word| name.contains(word));
    is_variables(&name) && !is_template
}

/// The values that no file may contain. Short ones and placeholders are left out: they occur everywhere.
fn own_secrets(deployment: &Deployment<'_>) -> Vec<String> {
    let plain = ["JWT_SECRET", "SIDEPULSE_TOKEN"].into_iter().filter_map(|variable| deployment.text(variable));
    let urls = [DATABASE_URL, OWN_DATABASE_URL].into_iter().filter_map(|variable| deployment.text(variable));
    let passwords = urls.filter_map(|url| Plan::parse(&url).ok()).flat_map(|(plan, _)| plan.secrets());
    let all = plain.chain(passwords.map(|secret| secret.expose().to_owned()));
    all.filter(|value| placeholder::is_distinctive(value)).collect()
}
