use super::*;
use crate::config::{Config, Given, Need};

fn config(pairs: &[(&str, &str)]) -> Config {
    let lookup = |name: &str| {
        let (_, text) = pairs.iter().find(|(known, _)| *known == name)?;
        Some(Given { text: Some((*text).to_owned()), named: name.to_owned() })
    };
    Config::load(&lookup, Need::App).unwrap()
}

fn words(command: &[&str]) -> Vec<OsString> {
    command.iter().map(OsString::from).collect()
}

fn check_ports(command: &[OsString], config: &Config) -> Result<(), String> {
    super::check_ports(command, config, &|_| None)
}

#[test]
fn a_variable_that_the_server_reads_cannot_name_sidepulses_own_port() {
    let on_8080 = config(&[("PORT", "8080")]);
    let check = |command: &[&str], name: &str, value: &str| {
        super::check_ports(&words(command), &on_8080, &|asked| (asked == name).then(|| value.to_owned()))
    };
    let uvicorn = ["uvicorn", "main:app"];
    let gunicorn = ["gunicorn", "main:app"];
    for (command, name, value) in [
        (&uvicorn, "UVICORN_PORT", "8080"),
        (&gunicorn, "GUNICORN_CMD_ARGS", "-w 2 --bind=0.0.0.0:8080"),
        (&["granian", "main:app"], "GRANIAN_PORT", "8080"),
        (&["sh", "-c exec uvicorn main:app"], "UVICORN_PORT", "8080"),
    ] {
        let why = check(command, name, value).unwrap_err();
        assert!(why.starts_with(name) && why.contains("8080") && why.contains("8000"), "{why}");
    }
    check(&uvicorn, "UVICORN_PORT", "8000").unwrap();
    check(&gunicorn, "UVICORN_PORT", "8080").unwrap();
    check(&["uvicorn", "main:app", "--port", "$PORT"], "UVICORN_PORT", "8080").unwrap();
    check(&["uvicorn", "main:app", "--uds=/run/app.sock"], "UVICORN_PORT", "8080").unwrap();
    let over_a_socket = |name: &str| ["UVICORN_PORT", "UVICORN_UDS"].contains(&name).then(|| "8080".to_owned());
    super::check_ports(&words(&uvicorn), &on_8080, &over_a_socket).unwrap();
    check(&["gunicorn", "main:app", "-b", "0.0.0.0:$PORT"], "GUNICORN_CMD_ARGS", "-b :8080").unwrap();
    check(&["gunicorn", "main:app", "-b0.0.0.0:$PORT"], "GUNICORN_CMD_ARGS", "-b :8080").unwrap();
    check(&gunicorn, "GUNICORN_CMD_ARGS", "--max-requests 8080").unwrap();
    check(&["env", "-u", "UVICORN_PORT", "uvicorn", "main:app"], "UVICORN_PORT", "8080").unwrap();
    check(&["sh", "-c", "unset UVICORN_PORT; exec uvicorn main:app"], "UVICORN_PORT", "8080").unwrap();
}

#[test]
fn both_cannot_take_the_same_port() {
    let uvicorn = words(&["uvicorn", "main:app", "--port", "$PORT"]);
    // If the app check would ask sidepulse itself, that error comes first.
    let elsewhere = ("SIDEPULSE_APP_URL", "http://localhost:9000/");
    let why = check_ports(&uvicorn, &config(&[("PORT", "8000"), elsewhere])).unwrap_err();
    assert!(why.contains("SIDEPULSE_APP_PORT=8001"), "{why}");
    let socket = ("SIDEPULSE_APP_URL", "http://unix:/run/app.sock:/");
    check_ports(&uvicorn, &config(&[("PORT", "8000"), socket])).unwrap();

    let on_8080 = config(&[("PORT", "8080")]);
    check_ports(&uvicorn, &on_8080).unwrap();
    check_ports(&words(&["8080"]), &on_8080).unwrap();
    let why = check_ports(&words(&["uvicorn", "main:app", "--port", "8080"]), &on_8080).unwrap_err();
    assert!(why.contains("'$PORT'") && why.contains("8000") && !why.contains('\n'), "{why}");
    check_ports(&words(&["sleep", "0"]), &config(&[("SIDEPULSE_LISTEN", "127.0.0.1:0")])).unwrap();
}

#[test]
fn a_name_shows_no_path_argument_or_control_character() {
    for (program, shown) in [("/srv/secret/uvicorn", "uvicorn"), ("uvi\ncorn", "uvicorn"), ("", "")] {
        assert_eq!(name(&words(&[program, "--token", "hunter2"])), shown);
    }
}
