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

#[test]
fn the_port_is_filled_in() {
    for (argument, filled) in [
        ("$PORT", "8000"),
        ("${PORT}", "8000"),
        ("--port=$PORT", "--port=8000"),
        ("0.0.0.0:${PORT}", "0.0.0.0:8000"),
        ("exec uvicorn main:app --port $PORT --host ''", "exec uvicorn main:app --port 8000 --host ''"),
        ("$PORT$PORT/${PORT}x", "80008000/8000x"),
        ("$PORT-$PORT.", "8000-8000."),
        ("${PORT:-8080}", "8000"),
        ("$PORTAL $PORT_2 ${PORTAL} $port PORT ${PORT", "$PORTAL $PORT_2 ${PORTAL} $port PORT ${PORT"),
        ("${PORT:-8080", "${PORT:-8080"),
        ("", ""),
    ] {
        assert_eq!(fill_in(OsStr::new(argument), "8000"), filled, "{argument}");
    }
    let bytes = OsString::from_vec(b"\xff$PORT\xff".to_vec());
    assert_eq!(fill_in(&bytes, "1").as_bytes(), b"\xff1\xff", "not UTF-8 is fine");
}

#[test]
fn a_port_that_an_argument_names() {
    for argument in [
        "8080",
        "--port=8080",
        "0.0.0.0:8080",
        "[::]:8080",
        "-p8080",
        "-b=:8080",
        "http://0.0.0.0:8080/x",
        "tcp://:8080",
        "exec uvicorn main:app --port 8080 --host ''",
        "PORT='8080' x",
        "18080 8080",
        "8080,8443",
    ] {
        assert!(names_port(argument.as_bytes(), 8080), "{argument}");
    }
    for argument in [
        "",
        "18080",
        "80801",
        "--port",
        "$PORT",
        "/srv/8080/app",
        "app-8080.sock",
        "v1.8080",
        "8080.5",
        "x8080",
        "8080x",
        "8080_1",
        "8080-x",
        "--x8080",
    ] {
        assert!(!names_port(argument.as_bytes(), 8080), "{argument}");
    }
}

#[test]
fn both_cannot_take_the_same_port() {
    let uvicorn = words(&["uvicorn", "main:app", "--port", "$PORT"]);
    // The setting's own fault comes first where the app check would ask sidepulse itself.
    let elsewhere = ("SIDEPULSE_APP_URL", "http://localhost:9000/");
    let (code, why) = check_ports(&uvicorn, &config(&[("PORT", "8000"), elsewhere])).unwrap_err();
    assert_eq!(code, 2);
    assert!(why.contains("SIDEPULSE_APP_PORT=8001"), "{why}");
    let socket = ("SIDEPULSE_APP_URL", "http://unix:/run/app.sock:/");
    check_ports(&uvicorn, &config(&[("PORT", "8000"), socket])).unwrap();

    let on_8080 = config(&[("PORT", "8080")]);
    check_ports(&uvicorn, &on_8080).unwrap();
    check_ports(&words(&["8080"]), &on_8080).unwrap();
    let (code, why) = check_ports(&words(&["uvicorn", "main:app", "--port", "8080"]), &on_8080).unwrap_err();
    assert_eq!(code, 2);
    assert!(why.contains("'$PORT'") && why.contains("8000") && !why.contains('\n'), "{why}");
    check_ports(&words(&["sleep", "0"]), &config(&[("SIDEPULSE_LISTEN", "127.0.0.1:0")])).unwrap();
}

#[test]
fn a_name_shows_no_path_argument_or_control_character() {
    for (program, shown) in [("/srv/secret/uvicorn", "uvicorn"), ("uvi\ncorn", "uvicorn"), ("", "")] {
        assert_eq!(name(&words(&[program, "--token", "hunter2"])), shown);
    }
}
