//! What causes a reason, where that is known and has a remedy of its own.

use super::Reason;

macro_rules! causes {
    ($($variant:ident $doc:literal $remedy:literal;)*) => {
        /// What is known to cause a reason, where the remedy depends on it. The set is closed, and only its remedies
        /// are shown.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Cause { $(#[doc = $doc] $variant,)* }

        impl Cause {
            /// Every cause.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Cause] = &[$(Cause::$variant,)*];

            /// What to do about it, in one line like [`Reason::remedy`].
            pub(crate) const fn remedy(self) -> &'static str {
                match self { $(Cause::$variant => $remedy,)* }
            }
        }
    };
}

causes! {
    EncryptionRequired "The server takes no login without TLS."
        "The server takes no login without TLS. Set sslmode=require in DATABASE_URL in place of disable, allow or \
         prefer; if it is require already, the pooler in between must use TLS to the server";
    ClientCertificateRequired "The server requires a client certificate."
        "The server wants a client certificate. Add sslcert= and sslkey= to DATABASE_URL, with files that this service \
         can read and a certificate that the server's CA signed for this user";
    ClientCertificateForApp "The app requires a client certificate."
        "The app asks for a client certificate, and sidepulse has none for it. Let SIDEPULSE_APP_URL name a port where \
         none is asked for, or start uvicorn without --ssl-cert-reqs 2";
    ChannelBindingNotOffered "`channel_binding=require`, and the server offers none."
        "DATABASE_URL has channel_binding=require, but this server or pooler offers none (PgBouncer, md5, no TLS). \
         Remove channel_binding; sslmode=verify-full proves the server instead";
    ChannelBindingImpossible "`channel_binding=require`, and nothing can be bound to the server's certificate."
        "DATABASE_URL has channel_binding=require, but the server's certificate allows none (signed with RSA-PSS or \
         Ed25519). Remove channel_binding, or give the server one signed with RSA or ECDSA";
    CleartextWithoutTls "The server asks for the password in clear, and there is no TLS."
        "The server asks for the password in clear on a connection without TLS, and does not get it. Set \
         sslmode=require in DATABASE_URL, or scram-sha-256 in the server's pg_hba.conf";
    LoginMethodUnknown "The server wants a login without a password."
        "The server wants a login by Kerberos, GSSAPI or another method that sidepulse cannot do. Give this role a \
         line with scram-sha-256 in pg_hba.conf, or use a role that has a password";
    PasswordMissing "The server asks for a password, and there is none."
        "The server asks for a password, and DATABASE_URL holds none. Put it between user and host, \
         postgresql://user:password@host/database, percent-encoded, and redeploy";
    SocketForbidden "This user may not open the Unix socket."
        "The Unix socket is there, but this user may not open it. Give sidepulse the group of the socket, or widen the \
         mode of it and of its directories (unix_socket_permissions, uvicorn's --uds)";
    SocketMissing "The Unix socket is not there."
        "There is no such Unix socket. Compare the path with unix_socket_directories and the port, or with uvicorn's \
         --uds; in a container its directory must be mounted here too";
    TlsExpected "http to an app that speaks TLS."
        "The app speaks TLS on this port, but SIDEPULSE_APP_URL begins with http. Begin it with https, or start \
         uvicorn without --ssl-keyfile and --ssl-certfile";
    PlainExpected "https to an app that speaks plain HTTP."
        "The app speaks plain HTTP on this port, but SIDEPULSE_APP_URL begins with https. Begin it with http: TLS ends \
         at the edge, not at uvicorn";
    AlpnRefused "A TLS proxy does not know PostgreSQL's ALPN."
        "The TLS proxy in front of the server (Traefik, Caddy) refuses PostgreSQL's ALPN, which sslnegotiation=direct \
         needs. Remove sslnegotiation from DATABASE_URL, or let the proxy pass TLS through";
    DirectTlsRefused "The server closes a TLS handshake that comes without PostgreSQL's request for it."
        "The server closed the connection at the start of TLS. DATABASE_URL has sslnegotiation=direct, which needs \
         PostgreSQL 17 or a proxy that knows it: remove it, unless the server was restarting just now";
    ResultTooLarge "More than 256 KiB came."
        "The query returned more than 256 KiB, and the rest was not read. Let SIDEPULSE_DATABASE_QUERY or the SQL \
         check return one small row, such as SELECT 1 or SELECT EXISTS (...)";
    CopyStatement "The query is a COPY."
        "The query is a COPY, and sidepulse neither reads nor sends its data. Let SIDEPULSE_DATABASE_QUERY or the SQL \
         check be a SELECT that returns a row, such as SELECT 1 or SELECT EXISTS (...)";
    SupavisorUser "Supavisor cannot tell the project from the user."
        "Supabase's pooler does not know this project. Its user is postgres.PROJECT, not postgres, and its host names \
         the region: copy the pooler's connection string from the dashboard, under Connect";
    EndpointUnavailable "Neon: a quota, or an operation that is under way."
        "Neon will not start the compute now: either a quota of the plan is used up, or an operation or maintenance is \
         under way. Look at quotas under Billing and at the project's operations in the console";
    ProjectBusy "Neon: operations or maintenance are under way."
        "Neon is working on the project: an operation or maintenance is under way. Wait for its end in the console \
         under Operations; if it lasts over ten minutes, see neonstatus.com and write to support";
    CircuitBreaker "Supavisor blocks logins after too many that failed."
        "Supabase's pooler blocks logins for up to two minutes after too many that failed. Find what fails to log in \
         (an old deployment, a job), or whether the project is paused; fix it, then wait";
    SupavisorFull "Supavisor has no place for another client."
        "Supabase's pooler has no free place. Use its transaction mode (port 6543) rather than session mode (5432), \
         close idle clients, or raise the pool size in the dashboard under Database";
    CloudToken "A cloud's IAM login failed."
        "The cloud's IAM login was refused. A token ends within an hour, so it cannot stand in DATABASE_URL: use a \
         role with a password of its own; otherwise look at the IAM policy of this role";
    ClusterUnknown "CockroachDB's proxy does not know the cluster."
        "CockroachDB Cloud's proxy does not know this cluster. Copy the connection string from its console again: the \
         host, and options=--cluster= where it has one";
    CertificateExpired "The certificate is not valid at this time."
        "The server's certificate has expired, or is not valid yet. Compare the clock of this machine; if it is right, \
         renew the certificate on the server and reload it there";
    CertificateName "The certificate is another host's."
        "The server's certificate was made for another name than the URL's host. Use a name that the certificate \
         holds, or have one made for this name; sslmode=verify-ca leaves the name out";
    CertificateIssuer "No trusted CA signed the certificate."
        "No CA that is trusted here signed the server's certificate. Set sslrootcert to the CA's file (RDS, Azure and \
         others publish one); for a public CA install ca-certificates in the image";
    CertificateNameOfApp "The app's certificate is another host's."
        "The app's certificate was made for another name than the host of SIDEPULSE_APP_URL. Use a name that the \
         certificate holds, or localhost, where it is not verified";
    CertificateOfApp "The app's certificate is not trusted."
        "No CA that is trusted here signed the app's certificate, or it is not a server's. Use localhost in \
         SIDEPULSE_APP_URL, where it is not verified, or name the CA's file in SSL_CERT_FILE";
    HandshakeOfApp "The handshake with the app broke off."
        "The TLS handshake with the app broke off. Check that the port of SIDEPULSE_APP_URL speaks TLS 1.2 or 1.3, \
         and that no proxy stands in between; read the app's log at this time";
    HostOfApp "The app's host name does not resolve."
        "The host of SIDEPULSE_APP_URL does not resolve. In one container it is localhost; a *.railway.internal name \
         resolves only inside its own Railway project and environment";
}

/// What an error means: the reason, and the cause where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// The closed reason.
    pub(crate) reason: Reason,
    /// What is known to have caused it.
    pub(crate) cause: Option<Cause>,
}

impl From<Reason> for Diagnosis {
    fn from(reason: Reason) -> Self {
        Diagnosis { reason, cause: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Each with the name of its reason or cause.
    fn remedies() -> impl Iterator<Item = (String, &'static str)> {
        let reasons = Reason::ALL.iter().map(|reason| (reason.to_string(), reason.remedy()));
        reasons.chain(Cause::ALL.iter().map(|cause| (format!("{cause:?}"), cause.remedy())))
    }

    #[test]
    fn every_reason_has_one_line_for_the_person_on_call() {
        for (reason, remedy) in remedies() {
            assert!((40..=200).contains(&remedy.chars().count()), "{reason}: {} characters", remedy.chars().count());
            assert!(remedy.is_ascii() && !remedy.contains(|c: char| c.is_ascii_control()), "{reason}: {remedy}");
            assert!(!remedy.contains("  ") && remedy.trim() == remedy, "{reason}: {remedy}");
            assert!(!remedy.ends_with(['.', ',', ';', ':', '!']), "{reason}: {remedy}");
        }
    }

    #[test]
    fn no_two_remedies_are_equal() {
        let distinct: HashSet<_> = remedies().map(|(_, remedy)| remedy).collect();
        assert_eq!(distinct.len(), Reason::ALL.len() + Cause::ALL.len());
    }

    #[test]
    fn a_remedy_needs_no_filling_in_and_names_real_settings() {
        const SETTINGS: [&str; 5] = [
            "SIDEPULSE_APP_STATUS",
            "SIDEPULSE_APP_URL",
            "SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT",
            "SIDEPULSE_DATABASE_MODE",
            "SIDEPULSE_DATABASE_QUERY",
        ];
        for (reason, remedy) in remedies() {
            assert!(!remedy.contains(['<', '>', '{', '}']), "{reason}: {remedy}");
            for word in remedy.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                assert!(!word.starts_with("SIDEPULSE_") || SETTINGS.contains(&word), "{reason}: {word}");
            }
        }
    }

    #[test]
    fn what_neon_alone_can_say_speaks_of_neon() {
        use Reason::{ControlPlane, EndpointDisabled, EndpointMissing, QuotaExceeded, RateLimited};
        for reason in [EndpointMissing, EndpointDisabled, QuotaExceeded, RateLimited, ControlPlane] {
            assert!(reason.remedy().contains("Neon"), "{reason}");
        }
    }
}
