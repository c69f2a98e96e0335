//! `mesh member ls`, `mesh member show NAME`, `mesh member rename NAME NEW`, `mesh member set-ip HOST ADDRESS`,
//! `mesh member tag add|rm NAME TAG…`, `mesh member kick NAME`

use clap::Subcommand;
use mesh_control::reply::Signed;
use mesh_control::{Error, call};

use crate::cli::{At, Wait};
use crate::context::Context;
use crate::render;
use crate::verb::kick;

/// List, show, rename, tag and kick members
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the members and their devices
    Ls(At),
    /// Show all about one member
    Show {
        /// Name of the member or of one of its devices
        name: String,
    },
    /// Call a member something else, or with HOST.NETWORK one of its devices
    Rename {
        /// NAME of the member, or HOST.NETWORK of a device
        name: String,
        /// What to call it
        new: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Give a device another IPv4 address
    SetIp {
        /// Name of the device
        #[arg(value_name = "HOST")]
        name: String,
        /// A free address of the network's subnet
        address: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Give a member tags, or take them away: ports can be shared with all who have one, as in share 22/tcp --to tag:ops
    #[command(subcommand, arg_required_else_help = true)]
    Tag(Tag),
    /// Remove a member with all its devices
    Kick(kick::Args),
}

#[derive(Subcommand)]
enum Tag {
    /// Give a member tags
    Add(Tags),
    /// Take tags from a member
    Rm(Tags),
}

#[derive(clap::Args)]
struct Tags {
    /// Name of the member or of one of its devices
    name: String,
    /// The tags, such as ops
    #[arg(required = true, value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    match args.action {
        Action::Ls(at) => {
            if let Some(past) = at.past("member ls", context).await? {
                return context.print("past", &past, render::past_members);
            }
            let members = context
                .call(call::Members {
                    network: context.network(),
                })
                .await;
            let members = context.suggest(members, &[]).await?;
            context.print("members", &members, render::members)
        }
        Action::Show { name } => {
            let member = context
                .call(call::Member {
                    network: context.network(),
                    name: name.clone(),
                })
                .await;
            let member = context.suggest(member, &[&name]).await?;
            context.print("member", &member, render::member)
        }
        Action::Rename { name, new, wait } => {
            let rename = call::MemberRename {
                network: context.network(),
                name: name.clone(),
                new: new.clone(),
                wait_ms: wait.ms(),
            };
            let what = format!("is called {} now", new.to_ascii_lowercase());
            sign(rename, &name, &what, wait, context).await
        }
        Action::SetIp {
            name,
            address,
            wait,
        } => {
            let set = call::MemberSetAddress {
                network: context.network(),
                name: name.clone(),
                address: address.clone(),
                wait_ms: wait.ms(),
            };
            sign(set, &name, &format!("has {address} now"), wait, context).await
        }
        Action::Tag(tag) => {
            let (Tag::Add(args) | Tag::Rm(args)) = &tag;
            let (name, wait) = (args.name.clone(), args.wait);
            let (add, remove, what) = match &tag {
                Tag::Add(_) => (args.tags.clone(), Vec::new(), "is tagged"),
                Tag::Rm(_) => (Vec::new(), args.tags.clone(), "is not tagged"),
            };
            let what = format!("{what} {}", args.tags.join(" "));
            let tag = call::MemberTag {
                network: context.network(),
                name: name.clone(),
                add,
                remove,
                wait_ms: wait.ms(),
            };
            sign(tag, &name, &what, wait, context).await
        }
        Action::Kick(args) => kick::run(args, context).await,
    }
}

/// Has something about a member signed: `what` it is then.
async fn sign(
    verb: impl call::Verb<Answer = Signed>,
    name: &str,
    what: &str,
    wait: Wait,
    context: &mut Context,
) -> Result<(), Error> {
    let signed = context.call_waiting(verb, wait.more()).await;
    let signed = context.suggest(signed, &[name]).await?;
    context.print("member_signed", &signed, |signed, _| {
        render::signed(signed, what)
    })?;
    context.require_spread(wait.wait, &signed.spread)
}
