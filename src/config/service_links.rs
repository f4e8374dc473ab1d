//! The variables that Kubernetes sets in each pod for each Service of its namespace (`enableServiceLinks`). A Service
//! whose name begins with `sidepulse` produces some that look like settings: only name and value together show which.
//!
//! Source: pkg/kubelet/envvars/envvars.go of Kubernetes; for a Service `web` with a port 80:
//! `WEB_SERVICE_HOST=10.0.0.1`, `WEB_SERVICE_PORT=80`, `WEB_SERVICE_PORT_HTTP=80` for a port with a name,
//! `WEB_PORT=tcp://10.0.0.1:80`, `WEB_PORT_80_TCP=tcp://10.0.0.1:80` and `…_PROTO=tcp`, `…_PORT=80`, `…_ADDR=10.0.0.1`.

use std::net::{IpAddr, SocketAddr};

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Whether Kubernetes writes such a variable with such a value.
pub(super) fn is_one(variable: &str, value: &str) -> bool {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    if variable.ends_with("_SERVICE_HOST") {
        return is_address(value);
    }
    if variable.contains("_SERVICE_PORT") {
        return is_port(value);
    }
    let Some((_, rest)) = variable.split_once("_PORT_") else {
        return variable.ends_with("_PORT") && is_link(value);
    };
    let mut parts = rest.split('_');
    let numbered = parts.next().is_some_and(is_port)
        && parts.next().is_some_and(|protocol| PROTOCOLS.contains(&protocol.to_ascii_lowercase().as_str()));
    let fits = match (parts.next(), parts.next()) {
        (None, _) => is_link(value),
        (Some("PROTO"), None) => PROTOCOLS.contains(&value),
        (Some("PORT"), None) => is_port(value),
        (Some("ADDR"), None) => is_address(value),
        _ => false,
    };
    numbered && fits
}

/// The warning for such a variable with the name of a setting.
pub(super) fn shadows(variable: &str) -> String {
    let service = variable.trim_end_matches("_PORT").to_ascii_lowercase().replace('_', "-");
    format!(
        "{variable}: Kubernetes sets it for the Service {service}, it is no setting and is ignored; set \
         enableServiceLinks: false in the pod's spec"
    )
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// `tcp://10.0.0.1:8000`, `udp://[fd00::1]:53`.
fn is_link(value: &str) -> bool {
    let parts = value.split_once("://");
    parts.is_some_and(|(protocol, address)| PROTOCOLS.contains(&protocol) && address.parse::<SocketAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_form_must_both_fit() {
        for (variable, value) in [
            ("SIDEPULSE_SERVICE_HOST", "10.0.0.1"),
            ("SIDEPULSE_SERVICE_HOST", "fd00::1"),
            ("SIDEPULSE_SERVICE_PORT", "9900"),
            ("SIDEPULSE_SERVICE_PORT_HEALTH_CHECK", "9900"),
            ("SIDEPULSE_PORT", "tcp://10.0.0.1:9900"),
            ("SIDEPULSE_PORT", "udp://[fd00::1]:53"),
            ("SIDEPULSE_PORT_9900_TCP", "tcp://10.0.0.1:9900"),
            ("SIDEPULSE_PORT_9900_TCP_PROTO", "tcp"),
            ("SIDEPULSE_PORT_9900_TCP_PORT", "9900"),
            ("SIDEPULSE_PORT_9900_TCP_ADDR", "10.0.0.1"),
            ("SIDEPULSE_APP_PORT", "sctp://10.0.0.1:1"),
        ] {
            assert!(is_one(variable, value), "{variable}={value}");
        }
        for (variable, value) in [
            ("SIDEPULSE_APP_PORT", "8000"),
            ("SIDEPULSE_APP_PORT", "http://10.0.0.1:8000"),
            ("SIDEPULSE_APP_PORT", "tcp://app:8000"),
            ("SIDEPULSE_APP_URL", "tcp://10.0.0.1:8000"),
            ("SIDEPULSE_PORT", "9900"),
            ("SIDEPULSE_SERVICE_HOST", "app.internal"),
            ("SIDEPULSE_SERVICE_PORT", "http"),
            ("SIDEPULSE_PORT_X_TCP", "tcp://10.0.0.1:9900"),
            ("SIDEPULSE_PORT_9900_TCP_NAME", "tcp"),
            ("SIDEPULSE_APP_TIMOUT", "3s"),
        ] {
            assert!(!is_one(variable, value), "{variable}={value}");
        }
        assert!(shadows("SIDEPULSE_APP_PORT").contains("the Service sidepulse-app,"));
    }
}
