//! Where the app is: `http://host:port/path`, `https://…`, or `http://unix:/run/app.sock:/path`.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use hyper::Uri;

use super::parse::Wrong;

const EXAMPLE: &str = "http://localhost:8000/ or http://unix:/run/app.sock:/";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By name or address; IPv6 literals are without brackets.
    Tcp {
        host: String,
        /// The port, 80 or 443 where the URL has none.
        port: u16,
    },
    /// `uvicorn --uds`.
    Unix(PathBuf),
}

/// The one request that the app check makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppTarget {
    pub(crate) reach: Reach,
    /// True for `https`.
    pub(crate) tls: bool,
    /// The `Host` header, unless `SIDEPULSE_APP_HEADERS` sets another.
    pub(crate) authority: String,
    pub(crate) path: String,
}

impl AppTarget {
    /// `http://localhost:<port>/`.
    pub(crate) fn local(port: u16) -> Self {
        AppTarget {
            reach: Reach::Tcp { host: "localhost".into(), port },
            tls: false,
            authority: format!("localhost:{port}"),
            path: "/".into(),
        }
    }

    /// Reads a URL. The error never repeats it: a URL may contain a password.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong = |what: &str| (what.to_owned(), EXAMPLE);
        if let Some(rest) = text.strip_prefix("http://unix:") {
            return Self::parse_unix(rest);
        }
        let uri: Uri = text.parse().map_err(|_| wrong("is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err((
                "holds a user or password, which would not be sent".into(),
                "SIDEPULSE_APP_HEADERS with a line Authorization: Basic …",
            ));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // `Authority::port` returns `None` for an invalid port, as if there were none.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            None | Some("") if tls => 443,
            None | Some("") => 80,
            Some(rest) => {
                let port = rest.strip_prefix(':').and_then(|port| port.parse::<u16>().ok());
                port.filter(|port| *port > 0).ok_or_else(|| wrong("has no valid port"))?
            }
        };
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        Ok(AppTarget {
            reach: Reach::Tcp { host, port },
            tls,
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }

    fn parse_unix(rest: &str) -> Result<Self, Wrong> {
        let wrong = |what: &str| (what.to_owned(), EXAMPLE);
        let (socket, path) = rest.split_once(':').unwrap_or((rest, "/"));
        // sun_path holds 108 bytes with the final NUL.
        if !socket.starts_with('/') || socket.len() > 107 {
            return Err(wrong("must name the socket by an absolute path of at most 107 bytes"));
        }
        let uri: Uri = path.parse().map_err(|_| wrong("has a path after the socket that is no path"))?;
        if !path.starts_with('/') {
            return Err(wrong("has a path after the socket that does not begin with /"));
        }
        Ok(AppTarget {
            reach: Reach::Unix(socket.into()),
            tls: false,
            authority: "localhost".into(),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }

    /// True if the host is `localhost` or a loopback address.
    pub(crate) fn is_loopback(&self) -> bool {
        match &self.reach {
            Reach::Unix(_) => true,
            Reach::Tcp { host, .. } => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
            }
        }
    }

    /// True if a request would reach sidepulse's own listening socket.
    pub(crate) fn leads_to(&self, listen: SocketAddr) -> bool {
        let Reach::Tcp { host, port } = &self.reach else { return false };
        if *port != listen.port() {
            return false;
        }
        let ip = match host.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical(),
            Err(_) => return host.eq_ignore_ascii_case("localhost"),
        };
        ip.is_loopback() || ip.is_unspecified() || ip == listen.ip().to_canonical() || is_own(ip)
    }
}

/// Whether this machine has the address: then a socket can be bound to it. Nothing is sent.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_people_write() {
        let tcp = |host: &str, port| Reach::Tcp { host: host.into(), port };
        for (text, reach, tls, path) in [
            ("http://localhost:8000/", tcp("localhost", 8000), false, "/"),
            ("http://localhost:8000", tcp("localhost", 8000), false, "/"),
            ("http://[::1]:8000/x?y=1", tcp("::1", 8000), false, "/x?y=1"),
            ("https://app.internal/health", tcp("app.internal", 443), true, "/health"),
            ("http://unix:/run/app.sock:/x", Reach::Unix("/run/app.sock".into()), false, "/x"),
            ("http://unix:/run/app.sock", Reach::Unix("/run/app.sock".into()), false, "/"),
        ] {
            let target = AppTarget::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!((target.reach, target.tls, target.path.as_str()), (reach, tls, path), "{text}");
        }
        for text in [
            "",
            "localhost:8000",
            "ftp://x/",
            "http://",
            "http://u:hunter2@h/",
            "http://unix:run.sock:/",
            "http://h:99999/",
        ] {
            let wrong = AppTarget::parse(text).err();
            assert!(wrong.as_ref().is_some_and(|(what, _)| !what.contains("hunter2")), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn it_is_never_sidepulse_itself() {
        let listen: SocketAddr = "[::]:8080".parse().unwrap_or_else(|_| unreachable!());
        for (text, own) in [
            ("http://localhost:8080/", true),
            ("http://127.0.0.2:8080/", true),
            ("http://[::1]:8080/", true),
            ("http://0.0.0.0:8080/", true),
            ("http://[::ffff:127.0.0.1]:8080/", true),
            ("http://localhost:8000/", false),
            ("http://192.0.2.1:8080/", false),
            ("http://app.internal:8080/", false),
        ] {
            let target = AppTarget::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!(target.leads_to(listen), own, "{text}");
        }
    }
}
