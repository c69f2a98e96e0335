//! Having a network hosted: connects to the servers that somebody named, and lists them in the ledger once they serve.

use std::collections::BTreeSet;

use mesh_control::call::Create;
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_ledger::event::attributes::{Server, Write};
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::{EventId, NetworkId, ServerKey};
use mesh_ledger::keys::UserSecret;
use mesh_ledger::mirror::ServerAddress;
use tracing::warn;

use crate::clock::steady_ms;
use crate::endpoint::Bearer;
use crate::mirror::{HEAD_START, connect_anyhow};
use crate::node::calls::{Respond, event_ref};
use crate::node::{Event, Node};

/// How long servers may take, in milliseconds.
const WAIT: u64 = 15_000;

/// Servers that are to serve a network, before the ledger lists them.
pub(crate) struct Hosting {
    network: NetworkId,
    /// In the order in which they were named.
    servers: Vec<ServerKey>,
    /// Those that do not serve yet.
    left: BTreeSet<ServerKey>,
    /// On the steady clock.
    deadline: u64,
    then: Then,
    respond: Respond,
}

/// What is answered when all serve.
enum Then {
    /// A network was created.
    Created(Box<Reply>),
    /// A server was added.
    Added(Option<u64>),
}

/// Whether the servers of a network that is to be created answer.
pub(crate) struct Reached {
    call: Create,
    servers: Vec<ServerAddress>,
    result: Result<(), Error>,
    /// The user key, if the call brought its passphrase.
    unlocked: Option<UserSecret>,
    respond: Respond,
}

impl Node {
    /// Creates a network with servers: finds out first whether they answer.
    pub(crate) fn create_hosted(
        &mut self,
        call: Create,
        servers: Vec<ServerAddress>,
        respond: Respond,
    ) {
        if let Err(error) = self.user_secret() {
            return drop(respond.send(Err(error)));
        }
        let unlocked = self.unlocked.clone();
        let (endpoint, events) = (self.endpoint.clone(), self.events.clone());
        tokio::spawn(async move {
            let mut result = Ok(());
            for server in &servers {
                let places = [(server.host.clone(), server.port)].into();
                let bearer = Bearer::Device(server.permit);
                let connecting =
                    connect_anyhow(&endpoint, &server.key, &places, bearer, HEAD_START);
                match connecting.await {
                    Ok(_) => {}
                    Err(why) => {
                        result = Err(unreachable(server, &why));
                        break;
                    }
                }
            }
            let reached = Reached {
                call,
                servers,
                result,
                unlocked,
                respond,
            };
            let _ = events.send(Event::Reached(Box::new(reached))).await;
        });
    }

    /// The servers of a network that is to be created answer, or do not.
    pub(crate) async fn reached(&mut self, reached: Reached) {
        let Reached {
            mut call,
            servers,
            result,
            unlocked,
            respond,
        } = reached;
        call.servers.clear();
        self.unlocked = unlocked;
        let created = match result {
            Ok(()) => self.create(&call).await,
            Err(error) => Err(error),
        };
        self.unlocked = None;
        let reply = match created {
            Ok(reply) => reply,
            Err(error) => return drop(respond.send(Err(error))),
        };
        let network = match &reply {
            Reply::Created(created) => created.network.id.parse().ok(),
            _ => None,
        };
        let Some(network) = network else {
            return drop(respond.send(Ok(reply)));
        };
        let then = Then::Created(Box::new(reply));
        self.host(network, servers, then, respond);
    }

    /// Adds a server to a network.
    pub(crate) fn add_server(
        &mut self,
        network: NetworkId,
        server: ServerAddress,
        wait_ms: Option<u64>,
        respond: Respond,
    ) {
        // Whoever adds it again has looked into what it did.
        if let Some(net) = self.nets.get_mut(&network) {
            if let Some(watched) = net.mirrors.get_mut(&server.key) {
                watched.witness.forgive();
            }
            if let Err(error) = net.save_mirrors() {
                warn!("{error}");
            }
        }
        self.host(network, vec![server], Then::Added(wait_ms), respond);
    }

    fn host(
        &mut self,
        network: NetworkId,
        servers: Vec<ServerAddress>,
        then: Then,
        respond: Respond,
    ) {
        let keys: Vec<ServerKey> = servers.iter().map(|server| server.key).collect();
        if let Some(net) = self.nets.get_mut(&network) {
            for server in servers {
                net.mirrors_renewed(&server.key);
                net.offered.insert(server.key, server);
            }
        }
        for key in &keys {
            // Dialled anew, at the new address, with the permit that was typed.
            self.servers.remove(key);
        }
        self.hosting.push(Hosting {
            network,
            left: keys.iter().copied().collect(),
            servers: keys,
            deadline: steady_ms() + WAIT,
            then,
            respond,
        });
        self.use_mirrors();
    }

    /// A server serves a network.
    pub(super) async fn host_progress(&mut self, id: NetworkId, key: ServerKey) {
        for hosting in self
            .hosting
            .iter_mut()
            .filter(|hosting| hosting.network == id)
        {
            hosting.left.remove(&key);
        }
        let done = |hosting: &Hosting| hosting.left.is_empty();
        let (done, left) = std::mem::take(&mut self.hosting)
            .into_iter()
            .partition(done);
        self.hosting = left;
        for hosting in done {
            self.hosted(hosting).await;
        }
    }

    async fn hosted(&mut self, hosting: Hosting) {
        let id = hosting.network;
        let listed = self.list_servers(id, &hosting.servers);
        self.changed(id, None).await;
        let event = match listed {
            Ok(event) => event,
            Err(error) => return self.unhost(hosting, error).await,
        };
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        match hosting.then {
            Then::Created(mut reply) => {
                if let Reply::Created(created) = &mut *reply {
                    created.network = self.network_view(net);
                }
                let _ = hosting.respond.send(Ok(*reply));
            }
            Then::Added(wait_ms) => {
                let network = net.name();
                let view = hosting
                    .servers
                    .first()
                    .and_then(|key| self.server_view(net, key));
                let Some(server) = view else {
                    let error = Error::new(Code::Failed, "the server is not listed");
                    return drop(hosting.respond.send(Err(error)));
                };
                self.reply_after_spread(id, event, wait_ms, hosting.respond, move |spread| {
                    Reply::ServerChanged(reply::ServerChanged {
                        network,
                        server,
                        event: event_ref(&event),
                        spread,
                    })
                });
            }
        }
    }

    /// Writes the servers that were offered, and serve now, into the ledger.
    fn list_servers(&mut self, id: NetworkId, keys: &[ServerKey]) -> Result<EventId, Error> {
        let Some(net) = self.nets.get_mut(&id) else {
            return Err(Error::new(Code::NotFound, "the network is gone"));
        };
        let mut list = net.state().servers.clone();
        for key in keys {
            let Some(mut address) = net.offered.get(key).cloned() else {
                continue;
            };
            // The server's own permit for this network; the operator's token is nobody else's business.
            address.permit = net.mirrors.get(key).and_then(|watched| watched.permit);
            let Some(server) = address.to_server() else {
                continue;
            };
            match list.iter_mut().find(|other| other.key == key.0) {
                Some(other) => *other = server,
                None => list.push(server),
            }
        }
        let event = self.write_servers(id, list)?;
        if let Some(net) = self.nets.get_mut(&id) {
            for key in keys {
                net.offered.remove(key);
            }
        }
        Ok(event)
    }

    /// Writes the network's list of servers.
    pub(crate) fn write_servers(
        &mut self,
        id: NetworkId,
        list: Vec<Server>,
    ) -> Result<EventId, Error> {
        let attributes = Attributes::Writes(vec![Write::Servers(list)]);
        self.author(id, Act::Private, Some(attributes))
    }

    /// A server does not serve the network, and says why.
    pub(super) async fn host_refused(&mut self, id: NetworkId, key: ServerKey, why: &str) {
        let of = |hosting: &Hosting| hosting.network == id && hosting.left.contains(&key);
        let (refused, left) = std::mem::take(&mut self.hosting).into_iter().partition(of);
        self.hosting = left;
        let place = self
            .nets
            .get(&id)
            .and_then(|net| net.offered.get(&key))
            .map_or_else(|| key.short(), ServerAddress::place);
        for hosting in refused {
            let error = Error::new(
                Code::NotPermitted,
                format!("the server {place} does not host the network: {why}"),
            )
            .hint("ask its operator for the text that `mesh-server run` printed, whole");
            self.unhost(hosting, error).await;
        }
    }

    /// Takes back what was begun, and says why.
    async fn unhost(&mut self, hosting: Hosting, error: Error) {
        let id = hosting.network;
        if let Some(net) = self.nets.get_mut(&id) {
            for key in &hosting.servers {
                net.offered.remove(key);
            }
        }
        if matches!(hosting.then, Then::Created(_))
            && let Err(error) = self.forget(id).await
        {
            warn!("{error:?}");
        }
        for key in &hosting.servers {
            self.servers.remove(key);
        }
        self.use_mirrors();
        let _ = hosting.respond.send(Err(error));
    }

    /// When the next server has taken too long.
    pub(crate) fn hosting_due(&self) -> Option<u64> {
        self.hosting.iter().map(|hosting| hosting.deadline).min()
    }

    /// Gives up servers that take too long.
    pub(super) async fn host_on_time(&mut self) {
        let now = steady_ms();
        let (late, left) = std::mem::take(&mut self.hosting)
            .into_iter()
            .partition(|hosting| hosting.deadline <= now);
        self.hosting = left;
        for hosting in late {
            let net = self.nets.get(&hosting.network);
            let key = hosting.left.first();
            let server = key.and_then(|key| net?.offered.get(key));
            let why = key
                .and_then(|key| self.servers.get(key)?.unreachable.clone())
                .unwrap_or_else(|| "it took too long".to_owned());
            let error = match server {
                Some(server) => unreachable(server, &why),
                None => Error::new(Code::Unreachable, why),
            };
            self.unhost(hosting, error).await;
        }
    }
}

fn unreachable(server: &ServerAddress, why: &str) -> Error {
    Error::new(
        Code::Unreachable,
        format!(
            "the server {} with the key {} is not reached: {why}",
            server.place(),
            server.key.short()
        ),
    )
    .hint("check that it runs, and that its port is open from here, by UDP or by TCP")
}
