//! systemd-resolved, which keeps name servers per interface, by its calls on the message bus.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use mesh_core::plan::Resolver;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::BusName;
use zbus::zvariant::DynamicType;

use super::super::{Bus, ResolverError};
use crate::dirs::{DirsError, remove_durably, write_durably};
use crate::firewall::is_ours;

/// The service, if it runs.
pub(super) struct Resolved(Connection);

const NAME: &str = "org.freedesktop.resolve1";
const PATH: &str = "/org/freedesktop/resolve1";
const INTERFACE: &str = "org.freedesktop.resolve1.Manager";
/// How long the bus or the service may take. Bringing a network up waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

impl Resolved {
    /// The service, if there is a bus and it runs; it is never started.
    pub(super) async fn find(bus: &Bus) -> Option<Self> {
        let found = async {
            let builder = match bus {
                Bus::None => return None,
                Bus::System => zbus::connection::Builder::system(),
                Bus::At(address) => zbus::connection::Builder::address(address.as_str()),
            };
            let connection = builder.ok()?.build().await.ok()?;
            let name = BusName::try_from(NAME).ok()?;
            let runs = DBusProxy::new(&connection)
                .await
                .ok()?
                .name_has_owner(name)
                .await;
            runs.ok()?.then_some(Self(connection))
        };
        tokio::time::timeout(PATIENCE, found).await.ok().flatten()
    }

    /// Tells it an interface's name servers, and for which domains to ask them.
    pub(super) async fn set(&self, index: u32, wanted: &Resolver) -> Result<(), ResolverError> {
        let index = number(index);
        let servers: Vec<(i32, Vec<u8>)> = wanted.servers.iter().map(address).collect();
        let search = wanted.search.iter().map(|domain| (domain.as_str(), false));
        let routed = wanted.routed.iter().map(|domain| (domain.as_str(), true));
        let domains: Vec<(&str, bool)> = search.chain(routed).collect();
        // Ours alone is signed by nobody and on this machine; the network's name is not to be asked of neighbours.
        for (setting, value) in [
            ("SetLinkDNSSEC", "no"),
            ("SetLinkDNSOverTLS", "no"),
            ("SetLinkLLMNR", "no"),
            ("SetLinkMulticastDNS", "no"),
        ] {
            if let Err(error) = self.call(setting, &(index, value)).await {
                tracing::debug!("systemd-resolved does not know {setting}: {error}");
            }
        }
        let done = async {
            self.call("SetLinkDNS", &(index, servers)).await?;
            self.call("SetLinkDomains", &(index, domains)).await?;
            self.call("SetLinkDefaultRoute", &(index, false)).await
        };
        done.await.map_err(|why| ResolverError::Resolved {
            what: "take the name server",
            why,
        })
    }

    /// Has it forget what it was told of an interface. That it does not know the interface any more is as well.
    async fn revert(&self, index: u32) -> Result<(), ResolverError> {
        match self.call("RevertLink", &number(index)).await {
            Err(why) if !why.contains("NoSuchLink") => Err(ResolverError::Resolved {
                what: "forget the name server",
                why,
            }),
            _ => Ok(()),
        }
    }

    async fn call<B>(&self, method: &str, body: &B) -> Result<(), String>
    where
        B: serde::Serialize + DynamicType + Sync,
    {
        let called = self
            .0
            .call_method(Some(NAME), PATH, Some(INTERFACE), method, body);
        match tokio::time::timeout(PATIENCE, called).await {
            Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
}

/// Notes that the service is told of an interface; on the disk when this returns.
pub(super) fn note(run: &Path, interface: &str, index: u32) -> Result<(), ResolverError> {
    let folder = run.join(FOLDER);
    fs::create_dir_all(&folder).map_err(|source| DirsError::Io {
        path: folder.clone(),
        source,
    })?;
    Ok(write_durably(
        &folder.join(interface),
        index.to_string().as_bytes(),
        0o600,
    )?)
}

/// Has the service forget an interface that it was told of, if it was, and then forgets that itself.
pub(super) async fn forget(bus: &Bus, run: &Path, interface: &str) -> Result<(), ResolverError> {
    let path = run.join(FOLDER).join(interface);
    let index = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|source| DirsError::Io {
            path: path.clone(),
            source,
        })?,
    };
    let index = index.trim().parse::<u32>().ok();
    // After a crash the number may have passed to an interface that is not ours.
    if let Some(index) = index.filter(|index| is_free_or_called(*index, interface))
        && let Some(resolved) = Resolved::find(bus).await
    {
        resolved.revert(index).await?;
    }
    Ok(remove_durably(&path)?)
}

/// The interfaces that the service was told of.
pub(super) fn noted(run: &Path) -> Result<Vec<String>, ResolverError> {
    let folder = run.join(FOLDER);
    let failed = |source| DirsError::Io {
        path: folder.clone(),
        source,
    };
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries.map_err(failed)?,
    };
    let mut noted = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().into_string();
        noted.extend(name.ok().filter(|name| is_ours(name)));
    }
    noted.sort_unstable();
    Ok(noted)
}

const FOLDER: &str = "resolved";

fn is_free_or_called(index: u32, interface: &str) -> bool {
    match nix::net::if_::if_indextoname(index) {
        // nix 0.31 takes no name for an empty one.
        Ok(name) => name.is_empty() || name.to_bytes() == interface.as_bytes(),
        Err(_) => true,
    }
}

/// The service counts interfaces in signed numbers, as the kernel does.
fn number(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(0)
}

fn address(address: &IpAddr) -> (i32, Vec<u8>) {
    match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    }
}
