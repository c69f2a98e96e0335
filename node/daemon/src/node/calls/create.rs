//! `mesh create` and `mesh join`.

use std::time::Duration;

use mesh_control::Secret;
use mesh_control::call::{Create, Join};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_ledger::event::act::Policy;
use mesh_ledger::event::attributes::Subnet;
use mesh_ledger::ids::WgKey;
use mesh_ledger::keys::EpochKey;
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_ledger::ticket::{BadTicket, Ticket};
use tracing::info;
use x25519_dalek::{PublicKey, StaticSecret};

use super::{Respond, host_label, label};
use crate::clock::now_ms;
use crate::node::{Net, Node, net};
use crate::random;
use crate::subnets::machine_subnets;

/// How many random subnets are tried before giving up.
const TRIES: usize = 256;
const LONGEST_JOIN: u32 = 86_400;

impl Node {
    pub(in crate::node) async fn create(&mut self, call: &Create) -> Result<Reply, Error> {
        let name = label(&call.name)?;
        let host = host_label(call.host.as_deref())?;
        if self
            .nets
            .values()
            .any(|net| net.name() == name.as_str() && net.is_member())
        {
            let error = format!("a network {name} is here already");
            return Err(Error::new(Code::Conflict, error).hint("mesh networks"));
        }
        let subnet = match &call.subnet {
            Some(text) => {
                let subnet: Subnet = text
                    .parse()
                    .map_err(|error: String| Error::new(Code::Usage, error))?;
                if let Some(clash) = self.clash(subnet) {
                    return Err(
                        Error::new(Code::Conflict, format!("{subnet} overlaps {clash}"))
                            .hint("leave --subnet out and a free one is picked"),
                    );
                }
                subnet
            }
            None => self.free_subnet()?,
        };
        let user = self.user_secret()?;
        let failed = |error: &dyn std::error::Error| Error::new(Code::Failed, error.to_string());
        // The folder is named after the network, whose id its genesis makes; so it is made aside and moved.
        let networks = self.dirs.state.join("networks");
        mesh_os::dirs::create_private(&networks).map_err(|error| failed(&error))?;
        let aside = networks.join("new");
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(|error| failed(&error))?;
        }
        mesh_os::dirs::create_private(&aside).map_err(|error| failed(&error))?;
        let wireguard =
            crate::identity::seed(&aside.join("wireguard.key")).map_err(|error| failed(&error))?;
        let store = SqliteStore::open(&aside.join("ledger.db")).map_err(|error| failed(&error))?;
        let random = |error: random::NoRandomness| failed(&error);
        let args = FoundingArgs {
            name: name.clone(),
            subnet,
            policy: Policy::default(),
            user: &user,
            device: &self.identity.device,
            box_secret: self.identity.boxes.clone(),
            host,
            address: None,
            wireguard: WgKey(PublicKey::from(&StaticSecret::from(*wireguard)).to_bytes()),
            epoch: EpochKey::from_bytes(*random::seed().map_err(random)?),
            recovery: RecoveryWords::from_entropy(*random::seed().map_err(random)?),
            nonce: random::bytes().map_err(random)?,
            salt: random::bytes().map_err(random)?,
            now: now_ms(),
        };
        let (ledger, words) = Ledger::found(store, args).map_err(|error| failed(&error))?;
        let id = ledger.network();
        drop(ledger);
        let folder = net::folder(&self.dirs, &id);
        std::fs::rename(&aside, &folder).map_err(|error| failed(&error))?;
        let mut net =
            Net::open(&folder, &self.identity, self.me).map_err(|error| failed(&error))?;
        net.settings.set_up(true).map_err(|error| failed(&error))?;
        self.nets.insert(id, net);
        info!(network = %name, %id, "created");
        let up = self.bring_up(id).await;
        let Some(net) = self.nets.get(&id) else {
            return Err(Error::new(Code::Failed, "the network went away"));
        };
        if let Err(error) = up {
            // Created all the same; but its words must be shown, so it is undone rather than left without them.
            let why = error.to_string();
            self.nets.remove(&id);
            std::fs::remove_dir_all(&folder).map_err(|error| failed(&error))?;
            return Err(Error::new(
                Code::Failed,
                format!("the network cannot be brought up: {why}"),
            ));
        }
        Ok(Reply::Created(reply::Created {
            network: self.network_view(net),
            recovery_words: Secret::new(words.words().as_str()),
        }))
    }

    pub(super) fn join_call(&mut self, call: &Join, respond: Respond) {
        let wait = Duration::from_secs(u64::from(call.wait_seconds.clamp(1, LONGEST_JOIN)));
        let parsed = ticket(&call.ticket).and_then(|ticket| {
            let host = host_label(call.host.as_deref())?;
            Ok((ticket, host, self.brought(call.carried.as_ref())?))
        });
        match parsed {
            Ok((ticket, host, brought)) => self.join(ticket, host, wait, brought, respond),
            Err(error) => drop(respond.send(Err(error))),
        }
    }

    /// What a subnet overlaps on this machine, if it does.
    fn clash(&self, subnet: Subnet) -> Option<String> {
        let ours = self.nets.values().filter_map(|net| {
            let other = net.state().subnet?;
            other
                .overlaps(subnet)
                .then(|| format!("{other} of network {}", net.name()))
        });
        let machine = machine_subnets()
            .into_iter()
            .filter(|(_, other)| other.overlaps(subnet));
        ours.chain(machine.map(|(interface, other)| format!("{other} of interface {interface}")))
            .next()
    }

    fn free_subnet(&self) -> Result<Subnet, Error> {
        for _ in 0..TRIES {
            let [a, b] =
                random::bytes().map_err(|error| Error::new(Code::Failed, error.to_string()))?;
            if let Some(subnet) =
                Subnet::new([10, a, b, 0].into(), 24).filter(|subnet| self.clash(*subnet).is_none())
            {
                return Ok(subnet);
            }
        }
        Err(
            Error::new(Code::Conflict, "no free subnet of 10.0.0.0/8 was found")
                .hint("add --subnet CIDR"),
        )
    }
}

/// A ticket that somebody typed.
pub(super) fn ticket(text: &Secret) -> Result<Ticket, Error> {
    text.reveal().parse().map_err(|error: BadTicket| {
        Error::new(Code::Usage, error.to_string())
            .hint("paste the whole ticket, or give the file that holds it")
    })
}
