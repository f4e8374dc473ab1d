//! Kernel namespaces, for tests that need another network or other files in `/etc`.

use std::process::Command;
use std::sync::OnceLock;

/// Whether this process may create mount and network namespaces; else why not.
pub(crate) fn allowed() -> Result<(), &'static str> {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    let allowed = ALLOWED.get_or_init(|| {
        let mut probe = Command::new("unshare");
        probe.args(["--mount", "--net", "sh", "-c", "ip link set lo up && mount -t tmpfs none /mnt"]);
        probe.output().is_ok_and(|output| output.status.success())
    });
    if *allowed {
        Ok(())
    } else {
        Err("no right to make mount and network namespaces (root, unshare and ip are needed)")
    }
}
