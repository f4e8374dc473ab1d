//! What a server's name says about its provider: is it Neon's proxy, and does it suspend its compute when idle?

/// Whether a server suspends its compute while idle, as far as its name shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScaleToZero {
    /// It does: `SIDEPULSE_DATABASE_MODE=auto` means economy.
    Yes,
    /// Servers of this product may, by a setting that the name does not show: the owner has to say so.
    Perhaps(&'static str),
    /// Nothing suggests that it does.
    No,
}

/// What a name shows.
#[derive(Clone, Copy)]
pub(super) struct Provider {
    /// It is Neon's proxy, resold or not.
    pub(super) neon: bool,
    /// The name is Neon's own, and so is its certificate: it is always verified in full.
    pub(super) neon_certificate: bool,
    pub(super) scale_to_zero: ScaleToZero,
}

const OTHER: Provider = Provider { neon: false, neon_certificate: false, scale_to_zero: ScaleToZero::No };

/// Every endpoint of Neon itself, in every region, on AWS (`….aws.neon.tech`) and Azure (`….azure.neon.tech`):
/// <https://neon.com/docs/connect/connect-from-any-app>, <https://neon.com/docs/introduction/regions>.
const NEON: &str = ".neon.tech";

/// Neon's endpoints (`ep-…`) under the domains of resellers, which have their own certificates:
/// - Vercel Postgres: <https://vercel.com/docs/postgres>, "powered by Neon"; neondatabase/neon, proxy/README.md;
/// - Koyeb: <https://www.koyeb.com/docs/databases>, "serverless", asleep after 5 minutes;
/// - Databricks Lakebase Autoscaling, `ep-….database.<region>.cloud.databricks.com` and
///   `ep-….database.<region>.azuredatabricks.net`:
///   <https://learn.microsoft.com/azure/databricks/oltp/projects/connection-strings>. Lakebase Provisioned
///   (`instance-….database.cloud.databricks.com`) is never suspended.
const NEON_RESOLD: [&str; 4] =
    [".postgres.vercel-storage.com", ".pg.koyeb.app", ".databricks.com", ".azuredatabricks.net"];

/// What Neon's endpoints are called, wherever they are.
const NEON_ENDPOINT: &str = "ep-";

/// `<cluster>.dsql.<region>.on.aws`, or `.dsql-<suffix>.` through AWS PrivateLink; only activity is billed:
/// <https://docs.aws.amazon.com/aurora-dsql/latest/userguide/privatelink-managing-clusters.html>.
const AWS: &str = ".on.aws";
const AURORA_DSQL: &str = "dsql";

/// `<name>.cluster-<id>.<region>.rds.amazonaws.com`, `cluster-ro-` and `cluster-custom-` too. With a minimum of 0 ACU
/// Serverless v2 pauses after 5 minutes without a connection:
/// <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2-auto-pause.html>. Behind an RDS
/// Proxy (`proxy-`) it never does, and an instance's own name does not show whether it is an Aurora instance.
const RDS: [&str; 2] = [".rds.amazonaws.com", ".rds.amazonaws.com.cn"];
const AURORA_CLUSTER: &str = "cluster-";

/// The plans Basic (which scales to zero), Standard and Advanced share the domain:
/// <https://www.cockroachlabs.com/docs/cockroachcloud/plan-your-cluster-basic>.
const COCKROACH_CLOUD: &str = ".cockroachlabs.cloud";

/// Recognizes a name, given in lower case and without a trailing dot.
pub(super) fn of(name: &str) -> Provider {
    let below = |domains: &[&str]| domains.iter().any(|domain| name.ends_with(domain));
    let mut labels = name.split('.');
    let (first, second) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    if below(&[NEON]) {
        return Provider { neon: true, neon_certificate: true, scale_to_zero: ScaleToZero::Yes };
    }
    if below(&NEON_RESOLD) && first.starts_with(NEON_ENDPOINT) {
        return Provider { neon: true, scale_to_zero: ScaleToZero::Yes, ..OTHER };
    }
    let dsql = second.strip_prefix(AURORA_DSQL).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let scale_to_zero = if below(&[AWS]) && dsql {
        ScaleToZero::Yes
    } else if below(&RDS) && second.starts_with(AURORA_CLUSTER) {
        ScaleToZero::Perhaps("Aurora Serverless v2")
    } else if below(&[COCKROACH_CLOUD]) {
        ScaleToZero::Perhaps("CockroachDB Basic")
    } else {
        ScaleToZero::No
    };
    Provider { scale_to_zero, ..OTHER }
}
