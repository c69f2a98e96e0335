//! Interfaces, addresses and routes over rtnetlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use mesh_core::plan::Subnet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::{Error, Handle, LinkUnspec, RouteMessageBuilder};
use tokio::task::JoinHandle;

use super::{LinkError, Step};

/// An open line to the kernel's network settings, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Links {
    handle: Handle,
    line: JoinHandle<()>,
}

impl Links {
    /// Opens the line. Needs a tokio runtime, which keeps it.
    ///
    /// # Errors
    /// [`LinkError::Unreachable`].
    pub fn open() -> Result<Self, LinkError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(LinkError::Unreachable)?;
        Ok(Self {
            handle,
            line: tokio::spawn(connection),
        })
    }

    /// Sets the MTU and brings the interface up.
    ///
    /// # Errors
    /// [`LinkError::Step`].
    pub async fn up(&self, index: u32, mtu: u16) -> Result<(), LinkError> {
        let message = LinkUnspec::new_with_index(index)
            .mtu(mtu.into())
            .up()
            .build();
        self.set(message, Step::Up).await
    }

    /// Changes the interface in a way that means nothing, for those who watch the machine for changes: it turns around whether
    /// the interface takes all multicast, which one without a wire takes anyway.
    ///
    /// # Errors
    /// [`LinkError::Step`].
    pub async fn stir(&self, index: u32) -> Result<(), LinkError> {
        let mut found = self.handle.link().get().match_index(index).execute();
        let found = found.try_next().await;
        let found = found.map_err(|error| step(Step::Stir, &error))?;
        let takes = found.is_some_and(|link| link.header.flags.contains(LinkFlags::Allmulti));
        let message = LinkUnspec::new_with_index(index)
            .allmulticast(!takes)
            .build();
        self.set(message, Step::Stir).await
    }

    async fn set(&self, message: LinkMessage, what: Step) -> Result<(), LinkError> {
        let setting = self.handle.link().set(message).execute();
        setting.await.map_err(|error| step(what, &error))
    }

    /// Gives the interface an address; the subnet's route comes with it. Having it already is no error.
    ///
    /// # Errors
    /// [`LinkError::Step`].
    pub async fn add_address(&self, index: u32, subnet: Subnet) -> Result<(), LinkError> {
        let request = self
            .handle
            .address()
            .add(index, subnet.address(), subnet.prefix())
            .replace();
        request
            .execute()
            .await
            .map_err(|error| step(Step::Add(subnet), &error))
    }

    /// Takes an address away. Not having it is no error.
    ///
    /// # Errors
    /// [`LinkError::Step`].
    pub async fn remove_address(&self, index: u32, subnet: Subnet) -> Result<(), LinkError> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = subnet.prefix();
        message.header.family = match subnet.address() {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message
            .attributes
            .push(AddressAttribute::Local(subnet.address()));
        match self.handle.address().del(message).execute().await {
            Err(error) if errno(&error) != Some(libc::EADDRNOTAVAIL) => {
                Err(step(Step::Remove(subnet), &error))
            }
            _ => Ok(()),
        }
    }

    /// Sends traffic for a subnet through the interface. Doing so already is no error.
    ///
    /// # Errors
    /// [`LinkError::Step`].
    pub async fn add_route(&self, index: u32, subnet: Subnet) -> Result<(), LinkError> {
        let request = self.handle.route().add(route(index, subnet)).replace();
        request
            .execute()
            .await
            .map_err(|error| step(Step::Route(subnet), &error))
    }

    /// Ends that. Not doing so is no error.
    ///
    /// # Errors
    /// [`LinkError::Step`].
    pub async fn remove_route(&self, index: u32, subnet: Subnet) -> Result<(), LinkError> {
        match self
            .handle
            .route()
            .del(route(index, subnet))
            .execute()
            .await
        {
            Err(error) if errno(&error) != Some(libc::ESRCH) => {
                Err(step(Step::Unroute(subnet), &error))
            }
            _ => Ok(()),
        }
    }

    /// Removes the interface. That it is gone already is no error.
    ///
    /// # Errors
    /// [`LinkError::Step`].
    pub async fn delete(&self, index: u32) -> Result<(), LinkError> {
        match self.handle.link().del(index).execute().await {
            Err(error) if errno(&error) != Some(libc::ENODEV) => Err(step(Step::Delete, &error)),
            _ => Ok(()),
        }
    }

    /// The index of the interface of this name, if there is one.
    ///
    /// # Errors
    /// [`LinkError::Step`].
    pub async fn find(&self, name: &str) -> Result<Option<u32>, LinkError> {
        match self
            .handle
            .link()
            .get()
            .match_name(name.to_owned())
            .execute()
            .try_next()
            .await
        {
            Ok(link) => Ok(link.map(|link| link.header.index)),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(step(Step::Look, &error)),
        }
    }

    /// The addresses of the interface, link-local ones left out.
    ///
    /// # Errors
    /// [`LinkError::Step`].
    pub async fn addresses(&self, index: u32) -> Result<Vec<Subnet>, LinkError> {
        let mut found = Vec::new();
        let mut messages = self
            .handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute();
        while let Some(message) = messages
            .try_next()
            .await
            .map_err(|error| step(Step::Look, &error))?
        {
            let address = message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(*address),
                    _ => None,
                });
            let local =
                |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if let Some(address) = address.filter(|address| !local(address)) {
                found.extend(Subnet::new(address, message.header.prefix_len));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.line.abort();
    }
}

fn route(index: u32, subnet: Subnet) -> RouteMessage {
    match subnet.network() {
        IpAddr::V4(network) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network, subnet.prefix())
            .output_interface(index)
            .build(),
        IpAddr::V6(network) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(network, subnet.prefix())
            .output_interface(index)
            .build(),
    }
}

fn step(what: Step, error: &Error) -> LinkError {
    let why = match error {
        Error::NetlinkError(message) => message.to_io().to_string(),
        error => error.to_string(),
    };
    LinkError::Step { what, why }
}

fn errno(error: &Error) -> Option<i32> {
    match error {
        Error::NetlinkError(message) => message.to_io().raw_os_error(),
        _ => None,
    }
}
