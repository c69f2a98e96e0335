//! A member's device that speaks the link protocol by hand, with its own key and whatever it likes to say; and the events
//! that it signs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use iroh::endpoint::{
    Connection, NetReportConfig, PortmapperConfig, RecvStream, RelayMode, SendStream, presets,
};
use iroh::{Endpoint, EndpointAddr, EndpointId, SecretKey, TransportAddr};
use mesh_core::link::{Frame, Hello, Role};
use mesh_ledger::alpn::{Relation, When};
use mesh_ledger::event::{Act, Event, Header};
use mesh_ledger::ids::{DeviceId, EpochId, EventId, NetworkId};
use mesh_ledger::keys::{BoxSecret, DeviceSecret};
use mesh_ledger::network::Ledger;
use mesh_ledger::store::{Store, sqlite::SqliteStore};
use mesh_ledger::wire::Message;
use mesh_tests::lab::Host;

use crate::world::{Node, database, text};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The key of a host's device.
pub(crate) fn device_key(host: &Host) -> DeviceSecret {
    let seed = std::fs::read(host.dir().join("var/lib/mesh/identity/device.key")).unwrap();
    DeviceSecret::from_seed(seed.as_slice().try_into().unwrap())
}

/// The box key of a host's device.
fn box_key(host: &Host) -> BoxSecret {
    let seed = std::fs::read(host.dir().join("var/lib/mesh/identity/box.key")).unwrap();
    BoxSecret::from_seed(seed.as_slice().try_into().unwrap())
}

/// Events that one device signs, each on top of the one before.
pub(crate) struct Chain {
    pub(crate) network: NetworkId,
    pub(crate) device: DeviceSecret,
    /// What it shares with each member's device.
    relations: BTreeMap<DeviceId, Relation>,
    parents: Vec<EventId>,
    seq: u32,
    lamport: u32,
}

impl Chain {
    /// On top of all that a stopped node has in its store.
    pub(crate) fn of(node: &Node) -> Self {
        let store = SqliteStore::open(&database(node)).unwrap();
        let device = device_key(node);
        let known: Vec<Event> = store
            .rows()
            .unwrap()
            .iter()
            .map(|row| Event::decode(&row.bytes).unwrap())
            .collect();
        let follows = |id: &EventId| {
            let mut all = known.iter().flat_map(|event| &event.header().parents);
            all.any(|parent| parent == id)
        };
        let own = known
            .iter()
            .filter(|event| event.author() == device.public());
        let seq = own.map(|event| event.header().seq).max().unwrap_or(0);
        let lamports = known.iter().map(|event| event.header().lamport);
        let mut parents: Vec<EventId> = known
            .iter()
            .map(Event::id)
            .filter(|id| !follows(id))
            .collect();
        parents.sort_unstable();
        let network = store.network().unwrap().unwrap();
        let boxes = box_key(node);
        let ledger = Ledger::open(store, boxes.clone()).unwrap();
        let relations = ledger.state().devices.iter().map(|(id, live)| {
            let relation = Relation::pair(&network, &boxes, &live.box_key);
            (*id, relation.unwrap())
        });
        Self {
            network,
            relations: relations.collect(),
            device,
            parents,
            seq,
            lamport: lamports.max().unwrap(),
        }
    }

    /// The lamport of the last.
    pub(crate) fn lamport(&self) -> u32 {
        self.lamport
    }

    /// The header of the next.
    pub(crate) fn header(&self) -> Header {
        Header {
            network: self.network,
            author: self.device.public(),
            seq: self.seq + 1,
            lamport: self.lamport + 1,
            time: 0,
            epoch: EpochId::NONE,
            parents: self.parents.clone(),
        }
    }

    /// An empty event with this header, which goes nowhere in the chain.
    pub(crate) fn aside(&self, header: &Header) -> Event {
        Event::sign(header, &Act::Merge, &[], &self.device).unwrap()
    }

    /// The next, an empty one.
    pub(crate) fn grow(&mut self) -> Event {
        let event = self.aside(&self.header());
        self.seq += 1;
        self.lamport += 1;
        self.parents = vec![event.id()];
        event
    }
}

/// A link, as a member's device would have it.
pub(crate) struct Tongue {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    recv: RecvStream,
    endpoint: Endpoint,
}

/// Lets the device with a key speak with the daemon of `to` from the machine `from`, on which no daemon runs.
pub(crate) fn speak<T: Send>(
    from: &Host,
    chain: &mut Chain,
    to: &Node,
    at: SocketAddr,
    words: impl AsyncFnOnce(&mut Tongue, &mut Chain) -> T + Send,
) -> T {
    let whom: DeviceId = text(&to.mesh_json(&["id", "show"]), "device")
        .parse()
        .unwrap();
    from.within(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut tongue = Tongue::new(chain, whom, at).await;
            let said = words(&mut tongue, chain).await;
            tongue.endpoint.close().await;
            said
        })
    })
}

impl Tongue {
    async fn new(chain: &Chain, whom: DeviceId, at: SocketAddr) -> Self {
        let endpoint = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(&chain.device.seed()))
            .relay_mode(RelayMode::Disabled)
            .clear_address_lookup()
            .portmapper_config(PortmapperConfig::Disabled)
            .net_report_config(NetReportConfig::minimal())
            .bind()
            .await
            .unwrap();
        let id = EndpointId::from_bytes(&whom.0).unwrap();
        let address = EndpointAddr::from_parts(id, [TransportAddr::Ip(at)]);
        let own = chain.device.public();
        let name = chain.relations[&whom].name(&own.0, When::Any);
        let connection = endpoint.connect(address, &name).await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        let mut tongue = Self {
            connection,
            send,
            recv,
            endpoint,
        };
        let hello = Hello {
            network: chain.network,
            role: Role::Member,
        };
        tongue.say(&Frame::Hello(hello)).await;
        match tongue.hear().await {
            Some(Frame::Welcome(_)) => tongue,
            other => panic!("no welcome, but {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, frame: &Frame) {
        self.send.write_all(&frame.encode().unwrap()).await.unwrap();
    }

    pub(crate) async fn sync(&mut self, message: &Message) {
        self.say(&Frame::Sync(message.encode())).await;
    }

    /// What the daemon says next; nothing once it has closed the link.
    pub(crate) async fn hear(&mut self) -> Option<Frame> {
        let heard = async {
            let mut prefix = [0; 4];
            self.recv.read_exact(&mut prefix).await.ok()?;
            let mut body = vec![0; Frame::body_length(prefix).unwrap()];
            self.recv.read_exact(&mut body).await.ok()?;
            Some(Frame::decode(&body).unwrap())
        };
        tokio::time::timeout(PATIENCE, heard)
            .await
            .expect("the daemon says something or closes the link")
    }

    /// Sends a few events as an answer of sync, and waits for the word which of them are stored. Says too which ids the
    /// daemon asks for.
    pub(crate) async fn offer(&mut self, events: &[Vec<u8>]) -> (Vec<EventId>, Vec<EventId>) {
        self.sync(&Message::Events(events.to_vec())).await;
        let mut wanted = Vec::new();
        loop {
            match self.hear().await.expect("the link lives") {
                Frame::Stored(stored) => return (stored, wanted),
                Frame::Sync(bytes) => {
                    if let Ok(Message::Fetch(ids)) = Message::decode(&bytes) {
                        wanted.extend(ids);
                    }
                }
                _ => {}
            }
        }
    }
}
