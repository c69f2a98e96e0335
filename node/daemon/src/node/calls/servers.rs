//! `mesh server`.

use mesh_control::call::{ServerAdd, ServerRemove};
use mesh_control::error::{Code, Error};
use mesh_control::reply::Reply;

use super::Signed;
use crate::node::Node;

impl Node {
    pub(super) fn server_list(&self, name: Option<&str>) -> Result<Reply, Error> {
        self.net(name)?;
        Err(unserved())
    }

    pub(super) fn server_add(&mut self, call: &ServerAdd) -> Result<Signed, Error> {
        self.member_net(call.network.as_deref())?;
        Err(unserved())
    }

    pub(super) fn server_remove(&mut self, call: &ServerRemove) -> Result<Signed, Error> {
        self.member_net(call.network.as_deref())?;
        Err(unserved())
    }
}

pub(super) fn unserved() -> Error {
    Error::new(Code::Failed, "this meshd cannot talk to servers")
}
