//! Each variant of each type that is written has its frozen vector. Who adds a variant finds that this file does not compile,
//! adds it here, and then finds that its vector lacks.

use mesh_ledger::carry::Kind;
use mesh_ledger::event::Act;
use mesh_ledger::event::act::{InviteKind, Target};
use mesh_ledger::event::attributes::{Attributes, Audience, Protocol, Service, Write};
use mesh_ledger::mirror::message::{Failure, Refusal, Standing};
use mesh_ledger::mirror::{Request, Response, Role};
use mesh_ledger::network::redeem::{Proof, RedeemError, Reply};
use mesh_ledger::proof_file::Claim;
use mesh_ledger::wire::Message;

use super::{acts, attributes, files, mirror, replies, sync};

/// Fails unless each of all variants of a type is among some values.
macro_rules! all_of {
    ($type:ty, $values:expr, $($variant:pat),+ $(,)?) => {{
        let name = |value: &$type| -> &'static str {
            match value {
                $($variant => stringify!($variant),)+
            }
        };
        let values: Vec<$type> = $values;
        for variant in [$(stringify!($variant)),+] {
            assert!(
                values.iter().any(|value| name(value) == variant),
                "{variant} has no frozen vector"
            );
        }
    }};
}

fn writes() -> Vec<Write> {
    let all = attributes().into_iter();
    all.filter_map(|(_, _, attributes)| match attributes {
        Attributes::Writes(writes) => Some(writes),
        _ => None,
    })
    .flatten()
    .collect()
}

#[test]
fn every_variant_of_an_act_has_a_vector() {
    let acts: Vec<Act> = acts().into_iter().map(|(_, act)| act).collect();
    all_of!(
        Act,
        acts.clone(),
        Act::Genesis(_),
        Act::Invite(_),
        Act::InviteClose(_),
        Act::Admit(_),
        Act::DeviceAdd(_),
        Act::Grant(_),
        Act::Remove(_),
        Act::OwnerSet(_),
        Act::Private,
        Act::EpochRotate(_),
        Act::EpochKeys(_),
        Act::Checkpoint(_),
        Act::Merge,
    );
    let kinds = acts.iter().filter_map(|act| match act {
        Act::Invite(act) => Some(act.kind),
        _ => None,
    });
    all_of!(
        InviteKind,
        kinds.collect(),
        InviteKind::Bearer,
        InviteKind::Direct(_),
        InviteKind::Open,
    );
    let targets = acts.iter().filter_map(|act| match act {
        Act::Remove(act) => Some(act.target),
        _ => None,
    });
    all_of!(
        Target,
        targets.collect(),
        Target::User(_),
        Target::Device(_),
        Target::Term { .. },
    );
    for redeemed in [true, false] {
        assert!(
            acts.iter()
                .any(|act| matches!(act, Act::Admit(act) if act.redemption.is_some() == redeemed))
        );
    }
}

#[test]
fn every_variant_of_an_attribute_has_a_vector() {
    all_of!(
        Attributes,
        attributes().into_iter().map(|(_, _, one)| one).collect(),
        Attributes::Founding(_),
        Attributes::Invitation(_),
        Attributes::Joining(_),
        Attributes::Reason(_),
        Attributes::Writes(_),
    );
    all_of!(
        Write,
        writes(),
        Write::Host { .. },
        Write::Address { .. },
        Write::WireGuard { .. },
        Write::Name { .. },
        Write::Tag { .. },
        Write::Setting { .. },
        Write::Servers(_),
        Write::Approval { .. },
        Write::Offer { .. },
        Write::Narrow { .. },
    );
    let offers: Vec<_> = writes()
        .into_iter()
        .filter_map(|write| match write {
            Write::Offer { offer, .. } => offer,
            _ => None,
        })
        .collect();
    all_of!(
        Service,
        offers.iter().map(|offer| offer.what.clone()).collect(),
        Service::Port { .. },
        Service::Route { .. },
        Service::Exit { .. },
        Service::Dns { .. },
        Service::Relay,
    );
    all_of!(
        Audience,
        offers.iter().map(|offer| offer.audience.clone()).collect(),
        Audience::Everyone,
        Audience::Only { .. },
    );
    let protocols = offers.iter().filter_map(|offer| match offer.what {
        Service::Port { protocol, .. } => Some(protocol),
        _ => None,
    });
    all_of!(Protocol, protocols.collect(), Protocol::Tcp, Protocol::Udp,);
}

#[test]
fn every_variant_of_a_message_has_a_vector() {
    all_of!(
        Message,
        sync::messages()
            .into_iter()
            .map(|(_, message)| message)
            .collect(),
        Message::Table { .. },
        Message::Cells { .. },
        Message::Ids { .. },
        Message::Events(_),
        Message::Received,
        Message::Push(_),
        Message::Fetch(_),
        Message::Want { .. },
    );
    let replies = || replies().into_iter().map(|(_, reply)| reply);
    all_of!(
        Reply,
        replies().collect(),
        Reply::Introduced(_),
        Reply::Admitted(_),
        Reply::Refused(_),
    );
    let refusals = || {
        replies().filter_map(|reply| match reply {
            Reply::Refused(why) => Some(why),
            _ => None,
        })
    };
    all_of!(
        RedeemError,
        refusals().collect(),
        RedeemError::Foreign,
        RedeemError::UnknownInvite,
        RedeemError::Expired,
        RedeemError::UsedUp,
        RedeemError::Closed,
        RedeemError::NotInvited,
        RedeemError::NeedsAdmin,
        RedeemError::Barred,
        RedeemError::OtherDevice,
        RedeemError::Signature(_),
        RedeemError::NoKey,
        RedeemError::Void(_),
        RedeemError::Unrecorded,
    );
    let proofs = refusals().filter_map(|why| match why {
        RedeemError::Signature(proof) => Some(proof),
        _ => None,
    });
    all_of!(
        Proof,
        proofs.collect(),
        Proof::Certificate,
        Proof::User,
        Proof::Device,
        Proof::Invite,
    );
}

#[test]
fn every_variant_of_what_devices_and_servers_say_has_a_vector() {
    let requests = || mirror::requests().into_iter().map(|(_, request)| request);
    all_of!(
        Request,
        requests().collect(),
        Request::Open { .. },
        Request::Pull { .. },
        Request::Fetch(_),
        Request::Push(_),
        Request::Leave(_),
        Request::Reply { .. },
    );
    let roles = requests().filter_map(|request| match request {
        Request::Open { role, .. } => Some(role),
        _ => None,
    });
    all_of!(
        Role,
        roles.collect(),
        Role::Member(_),
        Role::Joiner(_),
        Role::Deputy(..),
    );
    let responses = || {
        mirror::responses()
            .into_iter()
            .map(|(_, response)| response)
    };
    all_of!(
        Response,
        responses().collect(),
        Response::Welcome(_),
        Response::Refused(_),
        Response::Page(_),
        Response::Events(_),
        Response::Pushed(_),
        Response::Left(_),
        Response::Failed(_),
        Response::News(_),
        Response::Letters(_),
    );
    let standings = responses().filter_map(|response| match response {
        Response::Welcome(welcome) => Some(welcome.standing),
        _ => None,
    });
    all_of!(
        Standing,
        standings.collect(),
        Standing::Live,
        Standing::Unknown,
        Standing::NotHosted { .. },
        Standing::Joiner { .. },
    );
    let refusals = responses().filter_map(|response| match response {
        Response::Refused(why) => Some(why),
        _ => None,
    });
    all_of!(
        Refusal,
        refusals.collect(),
        Refusal::Removed,
        Refusal::Visit,
        Refusal::Protocol,
        Refusal::Busy,
        Refusal::Off,
    );
    let failures = responses().filter_map(|response| match response {
        Response::Failed(why) => Some(why),
        _ => None,
    });
    all_of!(
        Failure,
        failures.collect(),
        Failure::NotPermitted,
        Failure::NotHosting,
        Failure::Disk,
        Failure::Quota,
        Failure::NotFound,
    );
}

#[test]
fn every_variant_of_a_file_and_a_proof_has_a_vector() {
    let kinds = files::carries().into_iter().map(|(_, carry)| carry.kind);
    all_of!(
        Kind,
        kinds.collect(),
        Kind::History,
        Kind::Invite,
        Kind::Request,
        Kind::Answer,
    );
    let claims = files::proofs().into_iter().map(|(_, proof)| proof.claim);
    all_of!(
        Claim,
        claims.collect(),
        Claim::Member(_),
        Claim::Admin(_),
        Claim::Event(_),
    );
}
