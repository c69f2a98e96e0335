//! The servers through which this device reaches others: the relays and address discoveries of its networks' servers.

use std::collections::BTreeMap;

use mesh_ledger::ids::{NetworkId, ServerKey};
use mesh_ledger::mirror::address::ServerAddress;
use mesh_ledger::mirror::message::Doors;

use super::{Net, Node};
use crate::endpoint::RelayServer;

impl Node {
    /// The doors of a network's servers changed: keeps them for the next start, and has the endpoint use them.
    pub(crate) async fn doors_changed(&mut self, id: NetworkId) {
        if let Some(net) = self.nets.get_mut(&id) {
            net.settings.set_doors(&net.doors);
        }
        self.use_servers().await;
    }

    /// Has the endpoint use the servers of the networks that are up or would be, and no other.
    pub(crate) async fn use_servers(&self) {
        let mut servers: BTreeMap<ServerKey, RelayServer> = BTreeMap::new();
        let used = |net: &&Net| net.is_up() || net.awaits_return();
        for net in self.nets.values().filter(used) {
            for server in net.relay_servers() {
                // A server that two networks know at two places is one server: it takes one relay connection of a device.
                servers.entry(server.key).or_insert(server);
            }
        }
        let servers: Vec<RelayServer> = servers.into_values().collect();
        self.endpoint.set_servers(&servers).await;
    }
}

impl Net {
    /// The network's servers. One that has not told its doors is taken to have the usual ones: where UDP does not pass, its
    /// relay is the only way to hear from it.
    pub(crate) fn relay_servers(&self) -> impl Iterator<Item = RelayServer> + '_ {
        let named = self.state().servers.iter().filter_map(ServerAddress::of);
        named.map(|address| {
            let doors = self.doors.get(&address.key).copied();
            let doors = doors.unwrap_or_else(|| Doors::usual(address.port));
            RelayServer {
                key: address.key,
                host: address.host,
                relay: doors.relay,
                discovery: doors.discovery,
            }
        })
    }
}
