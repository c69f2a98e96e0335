//! Changes by rtnetlink multicast.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::task::JoinHandle;

use super::Change;
use crate::link::LinkError;

/// A subscription to changes, in the network namespace of the thread that opened it.
pub struct Watch {
    changes: BoxStream<'static, Change>,
    line: JoinHandle<()>,
}

impl Watch {
    /// Subscribes. Needs a tokio runtime, which keeps the line.
    ///
    /// # Errors
    /// [`LinkError::Unreachable`].
    pub fn open() -> Result<Self, LinkError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let (connection, _, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(LinkError::Unreachable)?;
        let changes = messages.filter_map(async |(message, _)| match message.payload {
            NetlinkPayload::InnerMessage(message) => change(&message),
            _ => None,
        });
        Ok(Self {
            changes: changes.boxed(),
            line: tokio::spawn(connection),
        })
    }

    /// Waits for the next change; `None` when the line is lost, after which a new one must be opened.
    pub async fn next(&mut self) -> Option<Change> {
        self.changes.next().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.line.abort();
    }
}

const fn change(message: &RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
            Some(Change::Link(link.header.index))
        }
        RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
            Some(Change::Address(address.header.index))
        }
        _ => None,
    }
}
