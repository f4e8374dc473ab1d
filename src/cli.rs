//! The command line: commands and flags. Each flag is a setting of `config/settings.rs`; `config` says what it means.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::Given;
use crate::config::parse;
use crate::config::settings::{LISTEN, SETTINGS};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Serve,
    /// Run the daemon and this command as its child.
    Run {
        /// The program and its arguments, at least one.
        command: Vec<OsString>,
    },
    /// Run each check once and print what it found.
    Check {
        /// Repeat until all pass, for at most this long.
        wait: Option<Duration>,
        only: Option<Only>,
        json: bool,
    },
    Ping {
        path: String,
    },
    Doctor {
        json: bool,
        /// The directory of the app's code.
        backend: Option<PathBuf>,
        /// Only explain this rule.
        explain: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    App,
    Database,
}

/// The parsed command line; the environment is not read yet.
#[derive(Debug)]
pub(crate) struct CommandLine {
    pub(crate) task: Task,
    flags: HashMap<&'static str, String>,
}

impl CommandLine {
    /// Parses the arguments.
    ///
    /// # Errors
    /// What to print instead: the text of `--help` or `--version`, or what is wrong with the usage.
    pub(crate) fn parse() -> Result<CommandLine, clap::Error> {
        command().try_get_matches().map(|all| CommandLine::of(&all))
    }

    fn of(all: &ArgMatches) -> CommandLine {
        let (name, matches) = all.subcommand().unwrap_or(("serve", all));
        let typed = |variable| matches.try_get_one::<String>(variable).ok().flatten().cloned();
        let flags = SETTINGS.iter().filter_map(|s| Some((s.variable, typed(s.variable)?))).collect();
        let json = || matches.get_flag("json");
        let task = match name {
            "run" => Task::Run { command: matches.get_many("command").into_iter().flatten().cloned().collect() },
            "check" => Task::Check {
                wait: matches.get_one("wait").copied(),
                only: matches.get_one::<String>("only").map(|o| if o == "app" { Only::App } else { Only::Database }),
                json: json(),
            },
            "ping" => Task::Ping { path: matches.get_one::<String>("path").cloned().unwrap_or_default() },
            "doctor" => Task::Doctor {
                json: json(),
                backend: matches.get_one("backend").cloned(),
                explain: matches.get_one("explain").cloned(),
            },
            _ => Task::Serve,
        };
        CommandLine { task, flags }
    }

    /// A setting as given: the flag wins over the environment, and an empty variable counts as unset.
    pub(crate) fn lookup(&self, variable: &str, environment: impl Fn(&str) -> Option<OsString>) -> Option<Given> {
        if let Some(text) = self.flags.get(variable) {
            let setting = SETTINGS.iter().find(|s| s.variable == variable)?;
            return Some(Given { text: Some(text.clone()), named: format!("--{}", setting.flag()?) });
        }
        let value = environment(variable).filter(|value| !value.is_empty())?;
        Some(Given { text: value.into_string().ok(), named: variable.to_owned() })
    }
}

pub(crate) fn command() -> Command {
    let about = "Health and readiness probe sidecar: checks the app shallowly and the database deeply, and tells it to\n\
                 Railway's healthcheck, uptime monitors and Prometheus.";
    let json = || Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON for machines");
    let serve = Command::new("serve").about("Runs the daemon until SIGTERM (the default)");
    let run = Command::new("run")
        .about("Runs the daemon and CMD as its child; a literal $PORT in CMD becomes the app's port")
        .arg(
            Arg::new("command")
                .value_name("CMD")
                .help("The program to run, and its arguments, after --")
                .value_parser(value_parser!(OsString))
                .num_args(1..)
                .required(true)
                .last(true),
        );
    let check = Command::new("check")
        .about("Runs each check once and says what it found; exit code 0 if all pass")
        .arg(
            Arg::new("wait")
                .long("wait")
                .value_name("DUR")
                .help("Repeat until all pass, for this long at the most")
                .value_parser(|text: &str| parse::duration(text).map_err(|(what, e)| format!("{what}; e.g. {e}"))),
        )
        .arg(
            Arg::new("only").long("only").value_name("CHECK").help("One check alone").value_parser(["app", "database"]),
        )
        .arg(json());
    let ping = Command::new("ping")
        .about("Asks the daemon on this machine; exit code 0 if it answers 2xx")
        .arg(Arg::new("path").long("path").value_name("PATH").help("What to GET").default_value("/readyz").value_parser(
            |path: &str| path.starts_with('/').then(|| path.to_owned()).ok_or("must begin with /; e.g. /readyz"),
        ))
        .args(settings().filter(|setting| setting.get_id() == LISTEN))
        .after_help("It finds the daemon by PORT and SIDEPULSE_LISTEN, as the daemon itself does; a wildcard address means 127.0.0.1, then ::1.");
    let doctor = Command::new("doctor")
        .about("Checks the deployment's configuration without the network")
        .arg(json())
        .arg(
            Arg::new("backend")
                .long("backend")
                .value_name("DIR")
                .help("Where the app's code is; what starts it is looked for there and in the repository's root")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("explain")
                .long("explain")
                .value_name("RULE")
                .help("Say why a rule is asked and where that is from, and nothing else"),
        );
    Command::new("sidepulse")
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .args(settings())
        .after_help(secrets())
        .args_conflicts_with_subcommands(true)
        .subcommands([serve, run, check].map(|command| command.args(settings()).after_help(secrets())))
        .subcommands([ping, doctor])
}

/// A flag for each setting that is not secret.
fn settings() -> impl Iterator<Item = Arg> {
    SETTINGS.iter().filter_map(|setting| {
        let flag = setting.flag()?;
        let default =
            if setting.default.is_empty() { String::new() } else { format!(" [default: {}]", setting.default) };
        let help = format!("{}{default} [env: {}]", setting.help, setting.variable);
        let parser = NonEmptyStringValueParser::new();
        let heading = "Settings";
        Some(
            Arg::new(setting.variable)
                .long(flag)
                .value_name(setting.value)
                .help(help)
                .value_parser(parser)
                .help_heading(heading),
        )
    })
}

/// The help for the settings without a flag.
fn secrets() -> String {
    let lines = SETTINGS.iter().filter(|s| s.secret).map(|s| format!("\n  {:<24} {}", s.variable, s.help));
    format!("Environment only, since they may hold secrets:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> CommandLine {
        CommandLine::of(&command().try_get_matches_from(args).unwrap())
    }

    #[test]
    fn a_flag_wins_over_its_variable_and_names_itself() {
        let environment = |name: &str| (name == "SIDEPULSE_APP_TIMEOUT").then(|| "3s".into());
        let line = parse(&["sidepulse", "--app-timeout", "4s"]);
        let given = line.lookup("SIDEPULSE_APP_TIMEOUT", environment).unwrap();
        assert_eq!((given.text.as_deref(), given.named.as_str()), (Some("4s"), "--app-timeout"));
        let given = parse(&["sidepulse"]).lookup("SIDEPULSE_APP_TIMEOUT", environment).unwrap();
        assert_eq!((given.text.as_deref(), given.named.as_str()), (Some("3s"), "SIDEPULSE_APP_TIMEOUT"));
    }

    #[test]
    fn flags_work_before_and_after_serve() {
        for args in [&["sidepulse", "serve", "--listen", ":1"][..], &["sidepulse", "--listen", ":1"]] {
            assert!(parse(args).lookup("SIDEPULSE_LISTEN", |_| None).is_some(), "{args:?}");
        }
    }

    #[test]
    fn an_empty_variable_is_unset() {
        assert!(parse(&["sidepulse"]).lookup("PORT", |_| Some("".into())).is_none());
    }

    #[test]
    fn ping_takes_where_to_listen_and_no_other_setting() {
        let line = parse(&["sidepulse", "ping", "--listen", ":1"]);
        assert!(line.lookup("SIDEPULSE_LISTEN", |_| None).is_some());
        assert!(command().try_get_matches_from(["sidepulse", "ping", "--app-port", "1"]).is_err());
        let mut all = command();
        let help = all.find_subcommand_mut("ping").unwrap().render_long_help().to_string();
        let variables = SETTINGS.iter().map(|setting| setting.variable).filter(|variable| help.contains(variable));
        assert_eq!(variables.collect::<Vec<_>>(), [LISTEN], "{help}");
    }

    #[test]
    fn the_definition_is_sound_and_secrets_have_no_flag() {
        command().debug_assert();
        let help = command().render_long_help().to_string();
        assert!(
            help.contains("SIDEPULSE_TOKEN") && !help.contains("--token") && !help.contains("--database-url"),
            "{help}"
        );
    }
}
