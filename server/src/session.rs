//! One stream of a device: its requests in order, and news in between.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{RecvStream, SendStream, VarInt};
use mesh_ledger::ids::{DeviceId, EventId, NetworkId};
use mesh_ledger::mirror::message::{BadFrame, MAX_EVENTS, MAX_OPEN};
use mesh_ledger::mirror::{MAX_FRAME, Refusal, Request, Response, Role};
use tokio::sync::{mpsc, watch};
use tracing::debug;

use crate::hosted::turns::What;
use crate::hosted::{Entry, Hosted, Networks, Visitor};
use crate::line::{Line, Space};
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
    line: Arc<Line>,
    mut send: SendStream,
    mut recv: RecvStream,
    off: bool,
) {
    let limits = &networks.terms().limits;
    // It is short, and QUIC bounds how many streams a connection has.
    let no_room = async |_| Some(());
    let opening = tokio::time::timeout(
        limits.opening,
        wire::read(&mut recv, MAX_OPEN, limits.opening, no_room),
    );
    let (network, role) = match opening.await {
        Ok(Ok((Request::Open { network, role }, ()))) if !off => (network, role),
        Ok(Ok((Request::Open { .. }, ()))) => return refuse(&mut send, Refusal::Off).await,
        Ok(Err(WireError::Ended)) => return,
        _ => return refuse(&mut send, Refusal::Protocol).await,
    };
    let hosted = networks.hosted(network);
    let caller = (line.device, line.source);
    let entry = if networks.is_hosted(&network) {
        let device = match &role {
            Role::Deputy(word, _) => &word.device,
            Role::Member(_) | Role::Joiner(_) => &line.device,
        };
        let what = what(networks.is_live_in(device, &network));
        blocking(&networks, &hosted, what, move |networks| {
            networks.enter(network, caller, &role)
        })
        .await
    } else {
        Some(networks.enter(network, caller, &role))
    };
    drop(hosted);
    let (welcome, visitor) = match entry {
        Some(Entry::Welcome(entered)) => *entered,
        Some(Entry::Refused(Refusal::Removed, proof)) => {
            show(&networks, line.device, network, &mut send, proof).await;
            return networks.forget(&network);
        }
        refused => {
            networks.forget(&network);
            let refusal = match refused {
                Some(Entry::Refused(refusal, _)) => refusal,
                _ => Refusal::Busy,
            };
            return refuse(&mut send, refusal).await;
        }
    };
    let slow = limits.slow;
    if wire::write(&mut send, &Response::Welcome(welcome), slow)
        .await
        .is_err()
    {
        return;
    }
    let member = visitor.is_trusted();
    let (requests, incoming) = mpsc::channel(1);
    let at = line.clone();
    let reader = tokio::spawn(async move {
        loop {
            let room = async |bytes| at.incoming(bytes, member).await;
            let request = wire::read(&mut recv, MAX_FRAME, slow, room).await;
            let over = request.is_err();
            if requests.send(request).await.is_err() || over {
                return;
            }
        }
    });
    converse(&networks, &line, visitor, send, incoming).await;
    networks.forget(&network);
    reader.abort();
}

async fn converse(
    networks: &Arc<Networks>,
    line: &Line,
    visitor: Visitor,
    mut send: SendStream,
    mut incoming: mpsc::Receiver<Result<(Request, Space), WireError>>,
) {
    let slow = networks.terms().limits.slow;
    let (hosted, member) = (visitor.hosted(), visitor.is_trusted());
    let (what, hears) = (what(member), visitor.hears());
    // A device without rights that asks for nothing has no business here for long.
    let stay = networks.terms().limits.guest;
    let mut idle = std::pin::pin!(tokio::time::sleep(stay));
    let (mut changes, mut removed) = (visitor.changes.clone(), visitor.removed.clone());
    changes.mark_changed();
    let mut visitor = Some(visitor);
    loop {
        let next = tokio::select! {
            biased;
            () = gone(&mut removed) => Next::Removed,
            request = incoming.recv() => match request {
                Some(Ok((request, space))) => Next::Request(request, space),
                Some(Err(WireError::Full)) => return refuse(&mut send, Refusal::Busy).await,
                Some(Err(WireError::Frame(bad))) => Next::Bad(bad),
                _ => return,
            },
            _ = changes.changed(), if hears.is_some() => Next::News,
            () = &mut idle, if !member => return,
        };
        let Some(mut present) = visitor.take() else {
            return;
        };
        match next {
            Next::Removed => {
                let network = present.network();
                let proof = blocking(networks, &hosted, What::News, move |networks| {
                    networks.removal(&present)
                });
                let proof = proof.await.unwrap_or_default();
                return show(networks, line.device, network, &mut send, proof).await;
            }
            Next::Bad(bad) => {
                debug!("a device sent what is no frame: {bad}");
                return refuse(&mut send, Refusal::Protocol).await;
            }
            Next::Request(request, space) => {
                idle.as_mut().reset(tokio::time::Instant::now() + stay);
                let Some(_answer) = line.answer().await else {
                    return;
                };
                let answered = blocking(networks, &hosted, what, move |networks| {
                    let response = networks.answer(&mut present, request);
                    (response, present)
                });
                let Some((response, present)) = answered.await else {
                    return refuse(&mut send, Refusal::Busy).await;
                };
                drop(space);
                visitor = Some(present);
                if let Response::Refused(refusal) = response {
                    return refuse(&mut send, refusal).await;
                }
                if !write(&mut send, &response, slow, &mut removed).await {
                    return;
                }
            }
            Next::News => {
                let Some(_answer) = line.answer().await else {
                    return;
                };
                let what = hears.unwrap_or(what);
                let told = blocking(networks, &hosted, what, move |networks| {
                    let news = networks.news(&mut present);
                    (news, present)
                });
                let Some((news, present)) = told.await else {
                    return refuse(&mut send, Refusal::Busy).await;
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
    Request(Request, Space),
    News,
}

fn what(member: bool) -> What {
    if member { What::Member } else { What::Other }
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

/// Says no, and waits for a moment until it has arrived.
async fn refuse(send: &mut SendStream, refusal: Refusal) {
    let told = async {
        wire::write(send, &Response::Refused(refusal), REFUSAL).await?;
        // It fails on a stream that is reset already.
        let _ = send.finish();
        let _ = send.stopped().await;
        Ok::<_, WireError>(())
    };
    // A device that does not listen is not told.
    let _ = tokio::time::timeout(REFUSAL, told).await;
}

/// Tells a device that it was removed, with the events that prove it, page by page. A device is shown one proof at a time.
async fn show(
    networks: &Arc<Networks>,
    device: DeviceId,
    network: NetworkId,
    send: &mut SendStream,
    proof: Vec<EventId>,
) {
    let Some(_showing) = networks.showing(device) else {
        return refuse(send, Refusal::Busy).await;
    };
    let told = async {
        wire::write(send, &Response::Refused(Refusal::Removed), REFUSAL).await?;
        for ids in proof.chunks(MAX_EVENTS / 2) {
            let (networks, ids) = (networks.clone(), ids.to_vec());
            let read = move || networks.bodies(&network, &ids);
            let read = tokio::task::spawn_blocking(read).await;
            // What is left out, a member's proof has.
            let Ok(Ok(events)) = read else { break };
            wire::write(send, &Response::Events(events), REFUSAL).await?;
        }
        // It fails on a stream that is reset already.
        let _ = send.finish();
        let _ = send.stopped().await;
        Ok::<_, WireError>(())
    };
    // A device that does not listen is not told.
    let _ = tokio::time::timeout(REFUSAL, told).await;
}

/// Does what blocks where it may, when the network's turn has come; `None` if too many wait for it, or if it panicked.
async fn blocking<T: Send + 'static>(
    networks: &Arc<Networks>,
    hosted: &Hosted,
    what: What,
    work: impl FnOnce(&Networks) -> T + Send + 'static,
) -> Option<T> {
    let turn = hosted.turn(what).await?;
    let networks = networks.clone();
    let work = move || {
        let done = work(&networks);
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(work).await.ok()
}
