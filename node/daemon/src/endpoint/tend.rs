//! Keeping in touch with the relays.
//!
//! iroh keeps a connection to one relay, its home, and opens others only to send through them. But a peer of one network
//! knows the relays of that network alone, and none of them need be the home of a device that is in several. So something is
//! sent through each of the others now and then, to a key that nobody has: that keeps this device reachable at all of them.
//! And when the home is lost, iroh looks for another only after half a minute: it is told to look now.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::RelayStatus;
use iroh::{EndpointAddr, EndpointId, RelayUrl, SecretKey, TransportAddr, Watcher};
use tokio::sync::Notify;
use tracing::warn;

use super::relays::Relays;
use crate::random;

/// iroh leaves a relay that is not its home, when nothing was sent through it for a minute.
const TOUCH: Duration = Duration::from_secs(40);
/// How long a connection that nobody answers is tried: long enough that its first packet leaves.
const SEND: Duration = Duration::from_millis(500);
/// The least time between two searches for a home.
const SEARCH: Duration = Duration::from_secs(5);

/// Runs until the endpoint is closed. `changed` tells of other relays.
pub(super) async fn tend(iroh: iroh::Endpoint, relays: Relays, changed: Arc<Notify>) {
    let Ok(seed) = random::seed() else {
        return warn!("no randomness: this device may not be reachable through all relays");
    };
    let nobody = SecretKey::from_bytes(&seed).public();
    let mut home = iroh.home_relay_status();
    let mut touched = tokio::time::interval(TOUCH);
    loop {
        tokio::select! {
            () = iroh.closed() => return,
            () = changed.notified() => touch(&iroh, &relays, nobody).await,
            _ = touched.tick() => touch(&iroh, &relays, nobody).await,
            status = home.updated() => {
                let Ok(status) = status else { return };
                let relays = relays.get();
                let failed = |status: &RelayStatus| status.last_error().is_some();
                if status.iter().any(failed) && relays.len() > 1
                    && let Some(any) = relays.values().next()
                {
                    // Whichever is set again, all are looked at.
                    iroh.insert_relay(any.url.clone(), any.config()).await;
                    tokio::time::sleep(SEARCH).await;
                }
            }
        }
    }
}

async fn touch(iroh: &iroh::Endpoint, relays: &Relays, nobody: EndpointId) {
    let home = iroh.home_relay_status().get();
    let is_home = |url: &RelayUrl| home.iter().any(|status| status.url() == url);
    let relays = relays.get();
    let others = relays.values().map(|relay| &relay.url);
    let others: Vec<TransportAddr> = others
        .filter(|url| !is_home(url))
        .map(|url| TransportAddr::Relay(url.clone()))
        .collect();
    if relays.len() < 2 || others.is_empty() {
        return;
    }
    let address = EndpointAddr::from_parts(nobody, others);
    // Nobody answers.
    let _ = tokio::time::timeout(SEND, iroh.connect(address, &nobody.as_bytes()[..])).await;
}
