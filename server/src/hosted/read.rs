//! What a member reads. Under the network's lock stands only what is to be read; bodies are read from the disk after that, as what
//! is stored never changes.

use mesh_ledger::event::id_of;
use mesh_ledger::ids::{EventId, NetworkId};
use mesh_ledger::mirror::Response;
use mesh_ledger::mirror::message::{Failure, MAX_EVENTS, Page, Standing};
use tracing::error;

use super::{Inner, Networks, Visitor, is_live, letters};
use crate::log::MAX_BODIES;

impl Networks {
    pub(super) fn pull(
        &self,
        visitor: &mut Visitor,
        from: u64,
        bodies: bool,
    ) -> Result<Response, Failure> {
        let hosted = visitor.hosted.clone();
        let page = hosted.with(self, |inner| {
            if !is_live(inner, visitor) {
                return Err(Failure::NotPermitted);
            }
            self.ids(inner, from)
        });
        let mut page = page??;
        if bodies {
            self.fill(&visitor.network(), &mut page)?;
        }
        let end = page.from + page.ids.len() as u64;
        // Told up to the end, the device needs no news of it; any other page leaves the news as they are.
        if end == page.tip.tip.count && page.from <= visitor.known {
            visitor.told(end);
        }
        Ok(Response::Page(page))
    }

    pub(super) fn fetch(&self, visitor: &Visitor, ids: &[EventId]) -> Result<Response, Failure> {
        let here = visitor.hosted.with(self, |inner| {
            let here = ids.iter().filter(|id| inner.log.has(id)).copied();
            is_live(inner, visitor).then(|| here.collect::<Vec<_>>())
        });
        let here = here?.ok_or(Failure::NotPermitted)?;
        Ok(Response::Events(self.bodies(&visitor.network(), &here)?))
    }

    /// What is to be said to a device by itself now; none if it knows everything.
    pub fn news(&self, visitor: &mut Visitor) -> Option<Response> {
        let hosted = visitor.hosted.clone();
        let news = hosted.with(self, |inner| {
            if let Some(letters) = letters::next(inner, visitor) {
                return Ok(Some(News::Letters(Response::Letters(letters))));
            }
            if visitor.standing != Standing::Live || visitor.known >= inner.log.count() {
                return Ok(None);
            }
            Ok::<_, Failure>(Some(News::Page(self.ids(inner, visitor.known)?)))
        });
        // What cannot be told now is told with the next change.
        let mut page = match news.ok()?.ok()?? {
            News::Letters(letters) => return Some(letters),
            News::Page(page) => page,
        };
        let own = |id: &EventId| visitor.own.contains(id);
        let first = page.ids.len().min(MAX_EVENTS);
        if page.ids[..first].iter().all(own) {
            // It has these: it sent them.
            page.ids.truncate(first);
        } else {
            self.fill(&visitor.network(), &mut page).ok()?;
        }
        visitor.told(page.from + page.ids.len() as u64);
        Some(Response::News(page))
    }

    fn ids(&self, inner: &mut Inner, from: u64) -> Result<Page, Failure> {
        let ids = inner.log.ids(from).ok_or(Failure::NotFound)?;
        let tip = self.tip(inner)?.ok_or(Failure::NotFound)?;
        let events = Vec::new();
        Ok(Page {
            from,
            ids,
            events,
            tip,
        })
    }

    /// Reads a page's bodies, as many as go into a message; the ids behind them go.
    fn fill(&self, network: &NetworkId, page: &mut Page) -> Result<(), Failure> {
        let most = page.ids.len().min(MAX_EVENTS);
        let rows = self
            .store
            .page(network, page.from, most, MAX_BODIES)
            .map_err(|why| unreadable(network, &why))?;
        page.ids.truncate(rows.len());
        let same = rows.iter().zip(&page.ids).all(|(row, id)| row.0 == *id);
        if !same || (rows.is_empty() && most > 0) {
            return Err(unreadable(network, &"the database holds another log"));
        }
        page.events = rows.into_iter().map(|(_, bytes)| bytes).collect();
        Ok(())
    }

    /// Reads these events, which are here.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn bodies(&self, network: &NetworkId, ids: &[EventId]) -> Result<Vec<Vec<u8>>, Failure> {
        let read = |id: &EventId| match self.store.event(network, id) {
            Ok(Some(bytes)) if id_of(&bytes) == *id => Ok(bytes),
            Ok(_) => Err(unreadable(network, &"an event is damaged")),
            Err(why) => Err(unreadable(network, &why)),
        };
        ids.iter().map(read).collect()
    }
}

enum News {
    Letters(Response),
    Page(Page),
}

fn unreadable(network: &NetworkId, why: &dyn std::fmt::Display) -> Failure {
    error!(network = network.short(), "cannot read the network: {why}");
    Failure::Disk
}
