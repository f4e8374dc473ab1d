//! Any text as `DATABASE_URL`: nothing panics, and no error, warning or `Debug` shows a part of it.

use crate::dsn::Plan;
use crate::redact::Redactor;

/// Stands for a secret; the fuzzer's input is put around it.
const MARK: &str = "Zq7XwKv9";

/// Reads URLs made of `text`.
pub fn database_url(text: &str) {
    let urls = [
        text.to_owned(),
        format!("postgresql://user:{MARK}{text}"),
        format!("postgresql://user:{text}{MARK}@host/db"),
        format!("{text}{MARK}@host/db?sslmode=require"),
        format!("postgresql://user:{MARK}@{text}"),
        format!("postgresql://user:{MARK}@host/db?{text}"),
        format!("postgresql://user@host/db?password={MARK}&{text}"),
        format!("postgresql://user@host/db?sslcert=c&sslkey=k&sslpassword={MARK}{text}"),
        format!("postgresql://user:{MARK}/{text}@host/db"),
    ];
    for url in urls {
        match Plan::parse(&url) {
            Err(fault) => {
                let shown = format!("{fault} {fault:?}");
                assert!(!shown.contains(MARK), "the fault shows it");
                assert!(!shown.contains('\n'), "a fault is one line");
            }
            Ok((plan, warnings)) => {
                let shown = format!("{plan:?} {warnings:?}");
                assert!(!shown.contains(MARK), "the plan or a warning shows it");
                // The driver's configuration can be built, and a text that quotes the password is cleaned of it.
                let config = plan.config();
                let Some(password) = config.get_password().and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
                    continue;
                };
                let clean = Redactor::new(plan.secrets()).clean(&format!("they said: {password}"));
                assert!(!password.contains(MARK) || !clean.contains(MARK), "the redactor lets it through");
            }
        }
    }
}
