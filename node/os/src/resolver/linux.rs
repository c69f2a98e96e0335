//! Names on Linux: systemd-resolved where it runs and programs ask it, else `/etc/resolv.conf`.

mod conf;
mod file;
mod journal;
mod resolved;

use std::path::Path;

use mesh_core::plan::Resolver;

use self::file::File;
use self::resolved::Resolved;
use super::{Options, ResolverError, Way};

/// Points the system at a network's name server, or goes over to another. Repeating it mends what others undid.
pub(crate) async fn set(
    options: &Options,
    run: &Path,
    interface: &str,
    index: u32,
    wanted: &Resolver,
) -> Result<Way, ResolverError> {
    let file = File::new(&options.root, run);
    if file.leads_to_resolved()
        && let Some(resolved) = Resolved::find(&options.bus).await
    {
        file.unset(interface)?;
        resolved::note(run, interface, index)?;
        resolved.set(index, wanted).await?;
        return Ok(Way::Resolved);
    }
    file.set(interface, wanted)?;
    Ok(Way::File(file.path().to_owned()))
}

/// Takes back what [`set`] did for an interface; nothing, if it did nothing.
pub(crate) async fn unset(
    options: &Options,
    run: &Path,
    interface: &str,
) -> Result<(), ResolverError> {
    resolved::forget(&options.bus, run, interface).await?;
    File::new(&options.root, run).unset(interface)
}

/// Takes back what a process that was killed left, and says for which interfaces it had been done.
pub(crate) async fn recover(options: &Options, run: &Path) -> Result<Vec<String>, ResolverError> {
    let mut left = resolved::noted(run)?;
    for interface in &left {
        resolved::forget(&options.bus, run, interface).await?;
    }
    left.extend(File::new(&options.root, run).recover()?);
    Ok(left)
}
