//! `mesh server`, and `mesh create --server`.

use mesh_control::call::{Create, ServerAdd, ServerRemove};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_core::mirror::MAX_SERVERS;
use mesh_ledger::event::attributes::Server;
use mesh_ledger::ids::{NetworkId, ServerKey};
use mesh_ledger::mirror::ServerAddress;
use mesh_ledger::state::Rank;
use mesh_ledger::ticket::{Contact, ContactKind};

use super::{Respond, Signed, event_ref};
use crate::node::{Net, Node};
use crate::view::names::is_prefix;

impl Node {
    pub(super) fn create_with_servers(&mut self, call: Create, respond: Respond) {
        let parsed = call.servers.iter().map(|text| parse(text.reveal()));
        let servers: Result<Vec<ServerAddress>, Error> = parsed.collect();
        let servers = servers.and_then(|servers| {
            let keys: std::collections::BTreeSet<ServerKey> =
                servers.iter().map(|server| server.key).collect();
            if servers.len() > MAX_SERVERS {
                Err(full())
            } else if keys.len() < servers.len() {
                Err(Error::new(Code::Usage, "a server is named twice"))
            } else {
                Ok(servers)
            }
        });
        match servers {
            Ok(servers) => self.create_hosted(call, servers, respond),
            Err(error) => drop(respond.send(Err(error))),
        }
    }

    pub(super) fn server_list(&self, name: Option<&str>) -> Result<Reply, Error> {
        let net = self.net(name)?;
        Ok(Reply::Servers(reply::Servers {
            network: net.name(),
            servers: self.server_views(net),
        }))
    }

    pub(super) fn server_add(&mut self, call: &ServerAdd, respond: Respond) {
        match self.addable(call) {
            Ok((id, server)) => self.add_server(id, server, call.wait_ms, respond),
            Err(error) => drop(respond.send(Err(error))),
        }
    }

    fn addable(&mut self, call: &ServerAdd) -> Result<(NetworkId, ServerAddress), Error> {
        let server = parse(call.server.reveal())?;
        let net = self.admin_net(call.network.as_deref())?;
        if !net.is_up() {
            let error = format!("{} is down", net.name());
            return Err(Error::new(Code::Unreachable, error).hint("mesh up"));
        }
        let listed = &net.state().servers;
        if net.offered.contains_key(&server.key) {
            let error = "that server is being added already";
            return Err(Error::new(Code::Conflict, error));
        }
        let known = listed.iter().find(|known| known.key == server.key.0);
        match known.and_then(ServerAddress::of) {
            Some(known)
                if server.permit.is_none()
                    && known.place() == server.place()
                    && net.trusts(&server.key) =>
            {
                let error = format!("{} is a server of {} already", server.place(), net.name());
                Err(Error::new(Code::Conflict, error).hint("mesh server ls"))
            }
            _ if known.is_none() && listed.len() >= MAX_SERVERS => Err(full()),
            _ => Ok((net.id, server)),
        }
    }

    pub(super) fn server_remove(&mut self, call: &ServerRemove) -> Result<Signed, Error> {
        let net = self.admin_net(call.network.as_deref())?;
        let (id, network) = (net.id, net.name());
        let meant = |server: &Server| {
            is_prefix(&call.server, &ServerKey(server.key).to_string())
                || ServerAddress::of(server).is_some_and(|address| {
                    address.host == call.server || address.place() == call.server
                })
        };
        let list = net.state().servers.clone();
        let mut found = list.iter().filter(|server| meant(server));
        let server = match (found.next(), found.next()) {
            (Some(server), None) => server.clone(),
            (Some(_), Some(_)) => {
                let error = "several servers are meant: give the start of a key";
                return Err(Error::new(Code::Usage, error).hint("mesh server ls"));
            }
            _ => {
                let shown: String = call.server.chars().take(80).collect();
                let error = format!("no server {shown} in {network}");
                return Err(Error::new(Code::NotFound, error).hint("mesh server ls"));
            }
        };
        let key = ServerKey(server.key);
        let net = self.net_of(&id)?;
        let view = self
            .server_view(net, &key)
            .ok_or_else(|| Error::new(Code::Failed, "the server's entry cannot be read"))?;
        let left = list.into_iter().filter(|other| *other != server).collect();
        let event = self.write_servers(id, left)?;
        let finish = move |spread| {
            Reply::ServerChanged(reply::ServerChanged {
                network,
                server: view,
                event: event_ref(&event),
                spread,
            })
        };
        Ok(Signed {
            network: id,
            event,
            wait_ms: call.wait_ms,
            finish: Box::new(finish),
        })
    }

    /// A network in which this user is an admin.
    fn admin_net(&mut self, name: Option<&str>) -> Result<&Net, Error> {
        let net = self.member_net(name)?;
        let member = net.state().member_of(&net.my_device());
        if member.is_some_and(|member| member.rank != Rank::Member) {
            return Ok(net);
        }
        Err(Error::new(
            Code::NotPermitted,
            "only the owner and admins can do that, and you are neither",
        )
        .hint("mesh admin ls"))
    }

    /// The server that a ticket names, with an address of each family that it has.
    pub(super) fn server_contacts(&self, id: NetworkId) -> Vec<Contact> {
        let Some((key, addresses)) = self.reached_server(id) else {
            return Vec::new();
        };
        let contact = |address| Contact {
            kind: ContactKind::Server,
            key: key.0,
            address: Some(address),
        };
        addresses.into_iter().map(contact).collect()
    }
}

fn parse(text: &str) -> Result<ServerAddress, Error> {
    text.parse::<ServerAddress>()
        .map_err(|error| Error::new(Code::Usage, error.to_string()))
}

fn full() -> Error {
    let error = format!("a network has at most {MAX_SERVERS} servers");
    Error::new(Code::Conflict, error).hint("mesh server rm")
}
