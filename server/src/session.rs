//! One stream of a device: its requests in order, and news in between.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{RecvStream, SendStream, VarInt};
use mesh_ledger::ids::DeviceId;
use mesh_ledger::mirror::message::{BadFrame, MAX_EVENTS, MAX_OPEN};
use mesh_ledger::mirror::{MAX_FRAME, Refusal, Request, Response};
use tokio::sync::{mpsc, watch};
use tracing::debug;

use crate::hosted::{Entry, Networks, Visitor};
use crate::wire::{self, WireError};

/// How long a removed device may take to finish the frame it is being sent.
const LAST: Duration = Duration::from_secs(1);
/// How long a refusal may take to arrive.
const REFUSAL: Duration = Duration::from_secs(5);
/// The stream's error code for one that is cut off.
const CUT: VarInt = VarInt::from_u32(3);

/// Serves a stream until it ends.
pub(crate) async fn serve(
    networks: Arc<Networks>,
    device: DeviceId,
    mut send: SendStream,
    mut recv: RecvStream,
    off: bool,
) {
    let limits = &networks.terms().limits;
    let opening = tokio::time::timeout(
        limits.opening,
        wire::read(&mut recv, MAX_OPEN, limits.opening),
    );
    let (network, role) = match opening.await {
        Ok(Ok(Request::Open { network, role })) if !off => (network, role),
        Ok(Ok(Request::Open { .. })) => return refuse(send, Refusal::Off, Vec::new()).await,
        Ok(Err(WireError::Ended)) => return,
        _ => return refuse(send, Refusal::Protocol, Vec::new()).await,
    };
    let entry = blocking(&networks, move |networks| {
        networks.enter(network, device, &role)
    })
    .await;
    let (welcome, visitor) = match entry {
        Some(Entry::Welcome(entered)) => *entered,
        refused => {
            networks.forget(&network);
            let (refusal, proof) = match refused {
                Some(Entry::Refused(refusal, proof)) => (refusal, proof),
                _ => (Refusal::Busy, Vec::new()),
            };
            return refuse(send, refusal, proof).await;
        }
    };
    let slow = limits.slow;
    if wire::write(&mut send, &Response::Welcome(welcome), slow)
        .await
        .is_err()
    {
        return;
    }
    let (requests, incoming) = mpsc::channel(1);
    let reader = tokio::spawn(async move {
        loop {
            let request = wire::read(&mut recv, MAX_FRAME, slow).await;
            let over = request.is_err();
            if requests.send(request).await.is_err() || over {
                return;
            }
        }
    });
    converse(&networks, visitor, send, incoming, slow).await;
    networks.forget(&network);
    reader.abort();
}

async fn converse(
    networks: &Arc<Networks>,
    visitor: Visitor,
    mut send: SendStream,
    mut incoming: mpsc::Receiver<Result<Request, WireError>>,
    slow: Duration,
) {
    let (mut changes, mut removed) = (visitor.changes.clone(), visitor.removed.clone());
    changes.mark_changed();
    let mut visitor = Some(visitor);
    loop {
        let next = tokio::select! {
            biased;
            () = gone(&mut removed) => Next::Removed,
            request = incoming.recv() => match request {
                Some(Ok(request)) => Next::Request(request),
                Some(Err(WireError::Frame(bad))) => Next::Bad(bad),
                _ => return,
            },
            _ = changes.changed() => Next::News,
        };
        let Some(mut present) = visitor.take() else {
            return;
        };
        match next {
            Next::Removed => {
                let proof = blocking(networks, move |networks| networks.removal(&present)).await;
                return refuse(send, Refusal::Removed, proof.unwrap_or_default()).await;
            }
            Next::Bad(bad) => {
                debug!("a device sent what is no frame: {bad}");
                return refuse(send, Refusal::Protocol, Vec::new()).await;
            }
            Next::Request(request) => {
                let answered = blocking(networks, move |networks| {
                    let response = networks.answer(&mut present, request);
                    (response, present)
                });
                let Some((response, present)) = answered.await else {
                    return;
                };
                visitor = Some(present);
                if let Response::Refused(refusal) = response {
                    return refuse(send, refusal, Vec::new()).await;
                }
                if !write(&mut send, &response, slow, &mut removed).await {
                    return;
                }
            }
            Next::News => {
                let told = blocking(networks, move |networks| {
                    let news = networks.news(&mut present);
                    (news, present)
                });
                let Some((news, present)) = told.await else {
                    return;
                };
                visitor = Some(present);
                if let Some(news) = news {
                    // There may be more; requests come in between.
                    changes.mark_changed();
                    if !write(&mut send, &news, slow, &mut removed).await {
                        return;
                    }
                }
            }
        }
    }
}

enum Next {
    Removed,
    Bad(BadFrame),
    Request(Request),
    News,
}

/// Waits until the device is removed.
async fn gone(removed: &mut watch::Receiver<bool>) {
    if removed.wait_for(|removed| *removed).await.is_err() {
        // The session is in no list any more, so nobody will say so.
        std::future::pending::<()>().await;
    }
}

/// Sends a response; cuts off a device that reads too slowly, and soon one that was removed meanwhile.
async fn write(
    send: &mut SendStream,
    response: &Response,
    slow: Duration,
    removed: &mut watch::Receiver<bool>,
) -> bool {
    let written = tokio::select! {
        written = wire::write(send, response, slow) => written,
        () = async { gone(removed).await; tokio::time::sleep(LAST).await } => Err(WireError::Slow),
    };
    if let Err(error) = &written {
        debug!("a stream is cut off: {error}");
        // It may be reset already.
        let _ = send.reset(CUT);
    }
    written.is_ok()
}

/// Says no, with what proves it, and waits for a moment until it has arrived.
async fn refuse(mut send: SendStream, refusal: Refusal, proof: Vec<Vec<u8>>) {
    let told = async {
        wire::write(&mut send, &Response::Refused(refusal), REFUSAL).await?;
        for events in proof.chunks(MAX_EVENTS / 2) {
            let events = Response::Events(events.to_vec());
            wire::write(&mut send, &events, REFUSAL).await?;
        }
        // It fails on a stream that is reset already.
        let _ = send.finish();
        let _ = send.stopped().await;
        Ok::<_, WireError>(())
    };
    // A device that does not listen is not told.
    let _ = tokio::time::timeout(REFUSAL, told).await;
}

/// Does what blocks where it may; `None` if it panicked.
async fn blocking<T: Send + 'static>(
    networks: &Arc<Networks>,
    work: impl FnOnce(&Networks) -> T + Send + 'static,
) -> Option<T> {
    let networks = networks.clone();
    tokio::task::spawn_blocking(move || work(&networks))
        .await
        .ok()
}
