//! The user key: under a passphrase, and out from under it for one call.

use mesh_control::Secret;
use mesh_control::call::{IdExport, IdImport, IdProtect, WithKey};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::UserKeyPlace;
use mesh_core::keyfile::{Cost, Locked, Unlock};
use mesh_ledger::keys::UserSecret;
use tracing::info;

use super::Respond;
use crate::identity::UserKey;
use crate::node::{Event, Node};
use crate::random;

/// A call that brought a passphrase, and what that opened.
pub(crate) struct Opened {
    call: mesh_control::call::Call,
    result: Result<UserSecret, Unlock>,
}

impl Node {
    /// Opens the user key with the passphrase of a call, in a task of its own.
    pub(super) async fn with_key(&mut self, with: WithKey, respond: Respond) {
        let WithKey { passphrase, call } = with;
        if matches!(call, mesh_control::call::Call::WithKey(_)) {
            let error = Error::new(Code::Usage, "a passphrase inside of another's call");
            return drop(respond.send(Err(error)));
        }
        let UserKey::Locked(locked) = self.identity.user.clone() else {
            // Not under a passphrase, or not here: what the call says then is the better answer.
            return Box::pin(self.call(call, respond)).await;
        };
        let (room, events) = (self.unlocking.clone(), self.events.clone());
        tokio::spawn(async move {
            let Ok(_permit) = room.acquire_owned().await else {
                return;
            };
            let unlocking = tokio::task::spawn_blocking(move || locked.unlock(passphrase.reveal()));
            let Ok(result) = unlocking.await else {
                return;
            };
            let opened = Box::new(Opened { call, result });
            let _ = events.send(Event::Unlocked(opened, respond)).await;
        });
    }

    /// Answers a call with the user key at hand, which is forgotten then.
    pub(crate) async fn unlocked(&mut self, opened: Opened, respond: Respond) {
        match opened.result {
            Ok(user) => {
                self.unlocked = Some(user);
                self.call(opened.call, respond).await;
                self.unlocked = None;
            }
            Err(error) => drop(respond.send(Err(wrong(&error)))),
        }
    }

    pub(super) fn id_protect(&mut self, call: &IdProtect) -> Result<Reply, Error> {
        let user = self.user_secret()?;
        let key = match &call.passphrase {
            Some(passphrase) => UserKey::Locked(Box::new(locked(&user, passphrase)?)),
            None => UserKey::Open(user),
        };
        self.set_user_key(key)?;
        self.end_code("the user key was changed");
        info!("the user key is {:?} now", self.user_key_place());
        Ok(self.id_show())
    }

    pub(super) fn id_export(&self, call: &IdExport) -> Result<Reply, Error> {
        let user = self.user_secret()?;
        let locked = locked(&user, &call.passphrase)?;
        Ok(Reply::IdExported(reply::IdExported {
            user: user.public().to_string(),
            key: Secret::new(locked.text()),
        }))
    }

    pub(super) fn id_import(&mut self, call: &IdImport) -> Result<Reply, Error> {
        let locked = Locked::from_text(call.key.reveal()).map_err(|error| {
            Error::new(Code::Usage, error.to_string()).hint("mesh id export, on the other machine")
        })?;
        self.may_become(&locked.user())?;
        // Whoever cannot open it would find that out when it is too late.
        let opened = tokio::task::block_in_place(|| locked.unlock(call.passphrase.reveal()));
        opened.map_err(|error| wrong(&error))?;
        self.set_user_key(UserKey::Locked(Box::new(locked)))?;
        self.end_code("the user key was changed");
        Ok(self.id_show())
    }

    /// Keeps another user key, and goes on with it.
    pub(in crate::node) fn set_user_key(&mut self, key: UserKey) -> Result<(), Error> {
        let changed = self.identity.with_user(&self.dirs.state, key);
        let changed = changed.map_err(|error| Error::new(Code::Failed, error.to_string()))?;
        self.identity = std::sync::Arc::new(changed);
        Ok(())
    }

    pub(in crate::node) fn user_key_place(&self) -> UserKeyPlace {
        match self.identity.user {
            UserKey::Open(_) => UserKeyPlace::Here,
            UserKey::Locked(_) => UserKeyPlace::Protected,
            UserKey::Elsewhere(_) => UserKeyPlace::Elsewhere,
        }
    }
}

fn locked(user: &UserSecret, passphrase: &Secret) -> Result<Locked, Error> {
    let random = |error: random::NoRandomness| Error::new(Code::Failed, error.to_string());
    let salt = random::bytes().map_err(random)?;
    let nonce = random::bytes().map_err(random)?;
    let locked = tokio::task::block_in_place(|| {
        Locked::lock(user, passphrase.reveal(), Cost::DEFAULT, salt, nonce)
    });
    locked.map_err(|error| Error::new(Code::Usage, error.to_string()))
}

fn wrong(error: &Unlock) -> Error {
    let code = match error {
        Unlock::Wrong => Code::NotPermitted,
        Unlock::Memory(_) => Code::Failed,
    };
    Error::new(code, error.to_string())
}
