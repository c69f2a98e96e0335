//! `mesh networks`, `up`, `down`, `leave`, `status`, `ping`, `id show`.

use std::net::IpAddr;
use std::time::Duration;

use mesh_control::call::{Leave, Ping};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::NetworkIdentity;
use mesh_ledger::event::Act;
use mesh_ledger::event::act::{Remove, Target};
use mesh_ledger::ids::NetworkId;

use super::{Respond, event_ref};
use crate::node::{Event, Net, Node};
use crate::ping::{PingError, echo};

/// How long a leaving device waits for somebody to take its last event.
const LAST_WORD_MS: u64 = 1500;

impl Node {
    pub(super) fn networks(&self, only: Option<&[NetworkId]>) -> Reply {
        let nets = self
            .nets
            .values()
            .filter(|net| only.is_none_or(|only| only.contains(&net.id)));
        let mut networks: Vec<_> = nets.map(|net| self.network_view(net)).collect();
        networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Reply::Networks(reply::Networks { networks })
    }

    pub(super) fn meant(&self, name: Option<&str>) -> Result<Vec<NetworkId>, Error> {
        match name {
            Some(name) => Ok(vec![self.find_network(Some(name))?]),
            None if self.nets.is_empty() => Err(self.no_network("this device is in no network")),
            None => Ok(self.nets.keys().copied().collect()),
        }
    }

    pub(super) async fn up(&mut self, name: Option<&str>) -> Result<Reply, Error> {
        let meant = self.meant(name)?;
        let mut failed = None;
        for id in &meant {
            let Some(net) = self.nets.get_mut(id) else {
                continue;
            };
            if name.is_none() && !net.is_member() {
                continue;
            }
            let network = net.name();
            let kept = net.settings.set_up(true).map_err(|error| error.to_string());
            let up = match kept {
                Ok(()) => self.bring_up(*id).await.map_err(|error| error.to_string()),
                Err(error) => Err(error),
            };
            if let Err(why) = up {
                failed = Some(Error::new(
                    Code::Failed,
                    format!("{network} is not up: {why}"),
                ));
            }
        }
        failed.map_or_else(|| Ok(self.networks(Some(&meant))), Err)
    }

    pub(super) async fn down(&mut self, name: Option<&str>) -> Result<Reply, Error> {
        let meant = self.meant(name)?;
        let mut failed = None;
        for id in &meant {
            let Some(net) = self.nets.get_mut(id) else {
                continue;
            };
            let network = net.name();
            let kept = net
                .settings
                .set_up(false)
                .map_err(|error| error.to_string());
            let down = self.take_down(*id).await.map_err(|error| error.to_string());
            if let Err(why) = kept.and(down) {
                failed = Some(Error::new(
                    Code::Failed,
                    format!("{network} is not quite down: {why}"),
                ));
            }
        }
        failed.map_or_else(|| Ok(self.networks(Some(&meant))), Err)
    }

    pub(super) async fn leave(&mut self, call: &Leave, respond: Respond) {
        let id = match self.find_network(Some(&call.network)) {
            Ok(id) => id,
            Err(error) => return drop(respond.send(Err(error))),
        };
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        let name = net.name();
        let me = net.my_device();
        let target = net.state().member_of(&me).map(|member| {
            // The user stays with its other devices; with the last one it goes.
            match member.devices.len() {
                0 | 1 => Target::User(member.user),
                _ => Target::Device(me),
            }
        });
        let Some(target) = target else {
            // Removed already: only what is kept here is left to go.
            let event = net.state().removed_devices.get(&net.my_device()).copied();
            let forgotten = self.forget(id).await;
            let reply = forgotten.map(|()| {
                let event = event
                    .map(|event| event_ref(&event))
                    .unwrap_or_else(|| event_ref(&mesh_ledger::ids::EventId(id.0)));
                let spread = mesh_control::view::Spread {
                    have: 0,
                    of: 0,
                    missing: Vec::new(),
                    servers: 0,
                };
                Reply::Left(reply::Left {
                    network: name,
                    event,
                    spread,
                })
            });
            return drop(respond.send(reply));
        };
        let act = Act::Remove(Remove {
            target,
            cut: None,
            closes: Vec::new(),
            by_user: None,
        });
        let event = match self.author(id, act, None) {
            Ok(event) => event,
            Err(error) => return drop(respond.send(Err(error))),
        };
        // The others are told before this device cuts itself off, and given a moment to say that they have it.
        self.tell_news(id, None);
        let (told, heard) = tokio::sync::oneshot::channel();
        let finish = move |spread| {
            Reply::Left(reply::Left {
                network: name,
                event: event_ref(&event),
                spread,
            })
        };
        self.reply_after_spread(
            id,
            event,
            Some(call.wait_ms.unwrap_or(LAST_WORD_MS)),
            told,
            finish,
        );
        let events = self.events.clone();
        tokio::spawn(async move {
            let gone = || Err(Error::new(Code::Failed, "meshd is stopping"));
            let reply = heard.await.unwrap_or_else(|_| gone());
            let _ = events.send(Event::Left(id, Box::new(reply), respond)).await;
        });
    }

    /// The last event of a network that this device leaves was told: forgets the network.
    pub(crate) async fn left(
        &mut self,
        id: NetworkId,
        reply: Result<Reply, Error>,
        respond: Respond,
    ) {
        let forgotten = self.forget(id).await;
        let _ = respond.send(forgotten.and(reply));
    }

    pub(in crate::node) async fn forget(&mut self, id: NetworkId) -> Result<(), Error> {
        let failed = |error: &dyn std::error::Error| Error::new(Code::Failed, error.to_string());
        self.take_down(id).await.map_err(|error| failed(&error))?;
        if let Some(net) = self.nets.remove(&id) {
            let folder = net.folder.clone();
            drop(net);
            std::fs::remove_dir_all(folder).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    pub(super) fn status(&self, name: Option<&str>) -> Result<Reply, Error> {
        let mut networks: Vec<_> = match name {
            Some(_) => vec![self.network_status(self.net(name)?)],
            None if self.nets.is_empty() => {
                return Err(self.no_network("this device is in no network"));
            }
            None => self
                .nets
                .values()
                .map(|net| self.network_status(net))
                .collect(),
        };
        networks.sort_by(|a, b| {
            (&a.network.name, &a.network.id).cmp(&(&b.network.name, &b.network.id))
        });
        Ok(Reply::Statuses(reply::Statuses { networks }))
    }

    pub(super) fn id_show(&self) -> Reply {
        let mut networks: Vec<NetworkIdentity> = self
            .nets
            .values()
            .filter_map(|net| {
                let own = net.state().devices.get(&net.my_device())?;
                Some(NetworkIdentity {
                    network: net.name(),
                    id: net.id.to_string(),
                    host: own.host.to_string(),
                    address: own.v4.map(|a| a.to_string()).unwrap_or_default(),
                    address6: own.v6.to_string(),
                    wireguard: own
                        .wireguard
                        .map(|key| data_encoding::BASE64.encode(&key.0))
                        .unwrap_or_default(),
                })
            })
            .collect();
        networks.sort_by(|a, b| (&a.network, &a.id).cmp(&(&b.network, &b.id)));
        Reply::Identity(reply::Identity {
            user: self.identity.user.public().to_string(),
            device: self.identity.device.public().to_string(),
            user_key: self.user_key_place(),
            networks,
        })
    }

    pub(super) fn ping(&mut self, call: &Ping, respond: Respond) {
        match self.ping_target(call) {
            Ok((name, own, address, path)) => {
                let timeout = Duration::from_millis(u64::from(call.timeout_ms.clamp(1, 60_000)));
                tokio::task::spawn_blocking(move || {
                    let result = echo(own, address, timeout);
                    let reply = match result {
                        Ok(rtt) => Ok(Reply::Pong(reply::Pong {
                            name,
                            address: address.to_string(),
                            rtt_us: u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX),
                            path,
                        })),
                        Err(error @ PingError::Silence(_)) => Err(Error::new(
                            Code::Unreachable,
                            format!("{name} {address}: {error}"),
                        )
                        .hint("mesh status")),
                        Err(error) => Err(Error::new(
                            Code::Failed,
                            format!("{name} {address}: {error}"),
                        )),
                    };
                    let _ = respond.send(reply);
                });
            }
            Err(error) => drop(respond.send(Err(error))),
        }
    }

    fn ping_target(&self, call: &Ping) -> Result<(String, IpAddr, IpAddr, String), Error> {
        let net = match call.network.as_deref() {
            // Without a network, the name decides where it is unique.
            None if self.nets.len() > 1 => {
                let mut having = self
                    .nets
                    .values()
                    .filter(|net| self.find_device(net, &call.to).is_some());
                match (having.next(), having.next()) {
                    (Some(net), None) => net,
                    _ => self.net(None)?,
                }
            }
            name => self.net(name)?,
        };
        if !net.is_up() {
            return Err(
                Error::new(Code::Unreachable, format!("{} is down", net.name())).hint("mesh up"),
            );
        }
        let device = self
            .find_device(net, &call.to)
            .ok_or_else(|| self.no_member(net, &call.to))?;
        let (state, me) = (net.state(), net.my_device());
        let (own, target) = (state.devices.get(&me), state.devices.get(&device));
        let (Some(own), Some(target)) = (own, target) else {
            return Err(self.no_member(net, &call.to));
        };
        let six = call.to.parse::<std::net::Ipv6Addr>().is_ok();
        let (from, to): (IpAddr, IpAddr) = match (own.v4, target.v4) {
            (Some(from), Some(to)) if !six => (from.into(), to.into()),
            _ => (own.v6.into(), target.v6.into()),
        };
        let path = if device == me {
            "this device".to_owned()
        } else {
            self.path_text(net, &device)
        };
        Ok((target.host.to_string(), from, to, path))
    }

    pub(super) fn no_member(&self, net: &Net, text: &str) -> Error {
        let shown: String = text.chars().take(64).collect();
        Error::new(
            Code::NotFound,
            format!("no member {shown} in {}", net.name()),
        )
    }
}
