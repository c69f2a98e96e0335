//! `mesh id rotate`: another WireGuard key for this device in one network.

use mesh_control::call::IdRotate;
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_ledger::event::Act;
use mesh_ledger::event::attributes::{Attributes, Write};
use mesh_ledger::ids::WgKey;
use mesh_os::dirs::write_secret;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{Signed, event_ref};
use crate::node::Node;
use crate::random;

impl Node {
    /// Makes another key. First it is kept: of a daemon that is killed between the two, the next one finds the key in the
    /// file and says so in the ledger. Then it is signed; who hears of it goes on with the session there is until there
    /// is one under the new key.
    pub(super) fn id_rotate(&mut self, call: &IdRotate) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let (id, network, device) = (net.id, net.name(), net.my_device());
        let file = net.folder.join("wireguard.key");
        let former = net.wireguard.clone();
        let failed = |error: String| Error::new(Code::Failed, error);
        let new: Zeroizing<[u8; 32]> = random::seed().map_err(|error| failed(error.to_string()))?;
        let secret = StaticSecret::from(*new);
        let key = PublicKey::from(&secret).to_bytes();
        write_secret(&file, new.as_ref()).map_err(|error| failed(error.to_string()))?;
        let write = Write::WireGuard {
            device,
            key: WgKey(key),
        };
        let written = self.author(id, Act::Private, Some(Attributes::Writes(vec![write])));
        let event = match written {
            Ok(event) => event,
            Err(error) => {
                write_secret(&file, former.as_ref()).map_err(|error| failed(error.to_string()))?;
                return Err(error);
            }
        };
        if let Some(net) = self.nets.get_mut(&id) {
            net.wireguard = new;
            if let Some(tunnel) = net.tunnel.load_full() {
                tunnel.set_key(secret);
            }
        }
        Ok(Signed {
            network: id,
            event,
            wait_ms: call.wait_ms,
            finish: Box::new(move |spread| {
                Reply::Rotated(reply::Rotated {
                    network,
                    wireguard: data_encoding::BASE64.encode(&key),
                    event: event_ref(&event),
                    spread,
                })
            }),
        })
    }
}
