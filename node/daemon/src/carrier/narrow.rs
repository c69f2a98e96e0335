//! A link that swallows long datagrams, made to notice.
//!
//! iroh finds out how long a packet may be, but that a path has begun to carry less only from losses: when, of four long
//! packets, each was lost between short ones that came. TCP, which waits twice as long after each loss, takes a minute to give
//! it four. [`mesh_core::path`] knows after seconds, for the same two machines. So when the way begins to carry less, or a message is
//! too long for it and goes over the link, which believes that it carries more, the link is given its losses at once: datagrams that mean nothing,
//! a long and a short one in turn. Is the link not concerned, they arrive and are ignored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::Connection;
use mesh_tunnel::frame::FILLER;

use crate::clock::steady;
use crate::ways::Way;

/// What a way carries is found out within this, when it is new.
const SETTLES: Duration = Duration::from_millis(100);
/// How often a long and a short one are sent, and how often at most.
const EVERY: Duration = Duration::from_millis(50);
const TRIES: u32 = 16;
/// How long a link that carried them is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// When a link was last made to look.
#[derive(Default)]
pub(super) struct Narrow(Option<Duration>);

impl Narrow {
    /// The way carries less than it did, or a message that is too long for it goes over this link.
    pub(super) fn suspect(&mut self, connection: &Connection, way: &Arc<Way>) {
        let now = steady();
        let lately = |at: Duration| now.saturating_sub(at) < BELIEVED;
        if believes(connection, way).is_some() && !self.0.is_some_and(lately) {
            self.0 = Some(now);
            tokio::spawn(look(connection.clone(), way.clone()));
        }
    }
}

async fn look(connection: Connection, way: Arc<Way>) {
    tokio::time::sleep(SETTLES).await;
    for _ in 0..TRIES {
        let Some(length) = believes(&connection, &way) else {
            return;
        };
        let datagrams = [length, 1].map(|length| Bytes::from(vec![FILLER; length]));
        if connection.datagram_send_buffer_space() > 2 * length {
            // A loss is what it is for.
            let _ = connection.send_many_datagrams(&datagrams);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The longest datagram that the link believes to carry, if that is more than what passes on the way.
fn believes(connection: &Connection, way: &Way) -> Option<usize> {
    let passes = way.open()?.carrier.max_message();
    connection
        .max_datagram_size()
        .filter(|length| *length > passes)
}
