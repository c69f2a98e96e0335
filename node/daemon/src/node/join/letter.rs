//! Joining by letter: no member is reached, but a server of the network is, and there they will find the redemption.
//!
//! The server learns which invite is redeemed, and by which device; the letters are sealed between the ticket's holder and
//! the members. The answer names the admission, and the ledger that the server then hands out must hold it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::Connection;
use mesh_ledger::event::id_of;
use mesh_ledger::ids::ServerKey;
use mesh_ledger::mirror::letter::{BadLetter, Way, open, seal};
use mesh_ledger::mirror::message::{Page, Standing, Visit};
use mesh_ledger::mirror::{Chain, Pass, Refusal, Request, Response, Role};
use mesh_ledger::network::redeem::{Answer, Reply, Request as Redemption};
use mesh_ledger::ticket::{Contact, ContactKind};
use tokio::task::JoinSet;

use super::{Admitted, Attempt, Failure, MAX_LEDGER, SILENCE, passing};
use crate::clock::now_ms;
use crate::endpoint::Bearer;
use crate::mirror::{HEAD_START, Place, Talk, connect_anyhow};
use crate::node::Node;

/// How long the members are given before the server is asked again: longer than their turns take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the server is given to know the new member.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_millis(250);

/// A server that a ticket names.
pub(super) struct Letterbox {
    key: ServerKey,
    places: BTreeSet<Place>,
    /// The connection that this device has with it already, for another network.
    connection: Option<Connection>,
}

impl Node {
    /// The servers among who can be asked.
    pub(super) fn letterboxes(&self, contacts: &[Contact]) -> Vec<Letterbox> {
        let servers = contacts
            .iter()
            .filter(|contact| contact.kind == ContactKind::Server);
        servers
            .map(|contact| {
                let place = contact
                    .address
                    .map(|address| (address.ip().to_string(), address.port()));
                let key = ServerKey(contact.key);
                Letterbox {
                    key,
                    places: place.into_iter().collect(),
                    connection: self.server_connection(&key),
                }
            })
            .collect()
    }
}

impl Attempt {
    /// Writes to the members by a server, after a pause.
    pub(super) fn write_to(
        self: Arc<Self>,
        letters: &mut JoinSet<(usize, Result<Admitted, Failure>)>,
        at: usize,
        pause: Duration,
    ) {
        letters.spawn(async move {
            tokio::time::sleep(pause).await;
            let result = match self.servers.get(at) {
                Some(server) => self.by_letter(server).await,
                None => Err(Failure::Here("no such server".to_owned())),
            };
            (at, result)
        });
    }

    async fn by_letter(&self, server: &Letterbox) -> Result<Admitted, Failure> {
        let own = server
            .connection
            .as_ref()
            .filter(|connection| connection.close_reason().is_none());
        let connection = match own {
            Some(connection) => connection.clone(),
            None => self
                .reach(server)
                .await
                .map_err(|why| Failure::Nobody(format!("the server did not answer: {why}")))?,
        };
        let answer = self.ask_members(&connection, &server.key).await?;
        let events = self.pull(&connection, &server.key).await?;
        if !events.iter().any(|event| id_of(event) == answer.admit) {
            return Err(nobody("the server keeps the admission back"));
        }
        Ok(Admitted {
            wire: None,
            answer,
            events,
        })
    }

    /// Connects with a server; by TCP, if its mirror does not answer soon.
    async fn reach(&self, server: &Letterbox) -> Result<Connection, String> {
        let pass = Pass::Joiner(self.ticket.network(), self.visit(&server.key));
        let (key, places) = (&server.key, &server.places);
        let connecting = connect_anyhow(
            &self.endpoint,
            key,
            places,
            Bearer::Joiner(&pass),
            HEAD_START,
        );
        connecting.await.map(|(line, _)| line.connection)
    }

    /// What shows a server that this device holds the ticket.
    fn visit(&self, server: &ServerKey) -> Visit {
        let (network, me) = (self.ticket.network(), self.identity.device.public());
        Visit::new(
            &self.ticket.invite_secret(),
            &network,
            server,
            &me,
            now_ms(),
        )
    }

    /// Leaves the redemption at the server, and waits for a member's answer.
    async fn ask_members(
        &self,
        connection: &Connection,
        server: &ServerKey,
    ) -> Result<Answer, Failure> {
        let (network, me) = (self.ticket.network(), self.identity.device.public());
        let contact = self.ticket.contact();
        let mut talk = Talk::open(connection).await.map_err(Failure::Nobody)?;
        let role = Role::Joiner(self.visit(server));
        let invite = match ask(&mut talk, &Request::Open { network, role }).await? {
            Response::Welcome(welcome) => match welcome.standing {
                Standing::Joiner { invite } => invite,
                Standing::NotHosted { .. } => {
                    return Err(nobody("the ticket's server does not have the network"));
                }
                _ => return Err(misspoken()),
            },
            Response::Refused(refusal) => return Err(Failure::Nobody(refusal.to_string())),
            _ => return Err(misspoken()),
        };
        let request = Redemption::new(
            &self.ticket,
            invite,
            &self.user,
            &self.identity.device,
            self.identity.boxes.public(),
            self.wishes.clone(),
        );
        let body = seal(&contact, &network, &me, Way::Redemption, &request.encode());
        let body = body.ok_or_else(|| Failure::Here("the redemption is too long".to_owned()))?;
        talk.say(&Request::Leave(body))
            .await
            .map_err(Failure::Nobody)?;
        let answered = async {
            let mut last = "no member has taken the letter at the server yet".to_owned();
            let late = tokio::time::sleep(PATIENCE);
            tokio::pin!(late);
            loop {
                let heard = tokio::select! {
                    heard = talk.hear() => heard.map_err(Failure::Nobody)?,
                    () = &mut late => return Err(Failure::Nobody(last)),
                };
                let letters = match heard {
                    Response::Letters(letters) => letters,
                    Response::Left(_) => continue,
                    Response::Failed(why) => return Err(Failure::Nobody(why.to_string())),
                    Response::Refused(why) => return Err(Failure::Nobody(why.to_string())),
                    _ => return Err(misspoken()),
                };
                for letter in letters {
                    // What does not open was not written by a member.
                    let opened = open(&contact, &network, &me, Way::Reply, &letter.body);
                    match opened.map(|opened| Reply::decode(&opened)) {
                        Ok(Some(Reply::Admitted(answer))) => return Ok(answer),
                        Ok(Some(Reply::Refused(error))) if passing(&error) => {
                            last = error.to_string();
                        }
                        Ok(Some(Reply::Refused(error))) => return Err(Failure::Refused(error)),
                        // Anybody can claim it, so the wait goes on.
                        Err(why @ BadLetter::Later) => last = format!("a reply came; {why}"),
                        _ => {}
                    }
                }
            }
        };
        answered.await
    }

    /// Takes the whole log, as the member that this device is now.
    async fn pull(
        &self,
        connection: &Connection,
        server: &ServerKey,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let network = self.ticket.network();
        let mut tries = 0;
        let mut talk = loop {
            let mut talk = Talk::open(connection).await.map_err(Failure::Nobody)?;
            let role = Role::Member(None);
            match ask(&mut talk, &Request::Open { network, role }).await? {
                Response::Welcome(welcome) if welcome.standing == Standing::Live => break talk,
                Response::Welcome(_) | Response::Refused(Refusal::Removed) if tries < TRIES => {
                    // The admission was stored before it was answered, but perhaps not judged yet.
                    tries += 1;
                    tokio::time::sleep(AGAIN).await;
                }
                Response::Refused(refusal) => return Err(Failure::Nobody(refusal.to_string())),
                _ => return Err(nobody("the server does not take this device for a member")),
            }
        };
        let mut events: Vec<Vec<u8>> = Vec::new();
        let (mut chain, mut bytes) = (Chain::empty(&network), 0);
        loop {
            let from = events.len() as u64;
            let pull = Request::Pull { from, bodies: true };
            let Page {
                from: begun,
                ids,
                events: more,
                tip,
            } = page(&mut talk, &pull).await?;
            if begun != from || (more.is_empty() && from < tip.tip.count) {
                return Err(nobody("the server keeps a part of the ledger back"));
            }
            for (id, event) in ids.iter().zip(more) {
                if id_of(&event) != *id {
                    return Err(misspoken());
                }
                bytes += event.len();
                chain = chain.then(id);
                events.push(event);
            }
            if bytes > MAX_LEDGER {
                return Err(Failure::Here(
                    "the ledger is larger than this release takes".to_owned(),
                ));
            }
            if events.len() as u64 >= tip.tip.count {
                if tip.tip.chain != chain || tip.server != *server || !tip.is_genuine() {
                    return Err(nobody("the server handed out another log than it signed"));
                }
                return Ok(events);
            }
        }
    }
}

async fn ask(talk: &mut Talk, request: &Request) -> Result<Response, Failure> {
    let answered = async {
        talk.say(request).await?;
        talk.hear().await
    };
    match tokio::time::timeout(SILENCE, answered).await {
        Ok(answer) => answer.map_err(Failure::Nobody),
        Err(_) => Err(nobody("the server does not answer")),
    }
}

/// A page, whatever else the server says in between.
async fn page(talk: &mut Talk, pull: &Request) -> Result<Page, Failure> {
    let mut answer = ask(talk, pull).await?;
    loop {
        match answer {
            Response::Page(page) => return Ok(page),
            Response::News(_) | Response::Letters(_) => {
                let heard = tokio::time::timeout(SILENCE, talk.hear()).await;
                let heard = heard.map_err(|_| nobody("the server does not answer"))?;
                answer = heard.map_err(Failure::Nobody)?;
            }
            Response::Failed(why) => return Err(Failure::Nobody(why.to_string())),
            _ => return Err(misspoken()),
        }
    }
}

fn nobody(why: &str) -> Failure {
    Failure::Nobody(why.to_owned())
}

fn misspoken() -> Failure {
    nobody("the server sent what it must not")
}
