//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mesh_control::Error;

use crate::context::Context;
use crate::{parse, verb};

/// A peer-to-peer WireGuard mesh VPN
///
/// Make a network on one machine, invite the next, and ping it:
///
///   sudo mesh create home --as alice
///   mesh invite
///   sudo mesh join TICKET --as bob      (on the other machine)
///   mesh ping alice
#[derive(Parser)]
#[command(
    name = "mesh",
    version,
    verbatim_doc_comment,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Options of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Which network, by name or the start of its id; needed where there are several
    #[arg(short, long, global = true, value_name = "NET")]
    pub network: Option<String>,
    /// Print JSON, stable for scripts: one object, or one a line where results come one by one
    #[arg(long, global = true)]
    pub json: bool,
    /// Print the result and errors alone
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say what is done on the way
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Draw symbols with plain letters
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Give up waiting for meshd after this long
    #[arg(long, global = true, value_name = "TIME", value_parser = parse::duration)]
    pub timeout: Option<Duration>,
    /// Talk to the meshd whose files are all below this folder
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// When to use colour.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// At a terminal, unless NO_COLOR is set.
    Auto,
    /// Also into a pipe.
    Always,
    /// Not at all.
    Never,
}

/// The option of every verb that signs.
#[derive(Args, Debug, Clone, Copy)]
pub struct Wait {
    /// Wait this long (30s if no time is given) for other devices to have the event; exit 9 if none has it by then
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s",
          value_parser = parse::duration)]
    pub wait: Option<Duration>,
}

impl Wait {
    /// For the call.
    pub fn ms(self) -> Option<u64> {
        self.wait
            .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    }

    /// How much longer the answer may take.
    pub fn more(self) -> Duration {
        self.wait.unwrap_or_default()
    }
}

macro_rules! verbs {
    ($($(#[$about:meta])* $variant:ident($module:ident),)*) => {
        /// What to do.
        #[derive(Subcommand)]
        #[allow(missing_docs)] // The documentation is the help text.
        pub enum Verb {
            $($(#[$about])* $variant(verb::$module::Args),)*
        }

        impl Verb {
            pub(crate) async fn run(self, context: &mut Context) -> Result<(), Error> {
                match self { $(Self::$variant(args) => verb::$module::run(args, context).await,)* }
            }
        }
    };
}

verbs! {
    /// Make a network, with this machine as its first
    Create(create),
    /// Join a network with a ticket
    Join(join),
    /// Invite somebody: prints a ticket
    Invite(invite),
    /// Bring a network up, or all
    Up(up),
    /// Take a network down, or all; nothing of it stays on the machine
    Down(down),
    /// Leave a network for good
    Leave(leave),
    /// List the networks of this machine
    Networks(networks),
    /// Show who is here and whether all is well
    Status(status),
    /// List, show and kick members
    Member(member),
    /// Remove a member: short for member kick
    Kick(kick),
    /// List, grant and revoke admins
    Admin(admin),
    /// Open a port of this machine to others in the network
    Share(share),
    /// Close a port again
    Unshare(unshare),
    /// List what is offered, by whom and to whom
    Offers(offers),
    /// Show who did what, and verify it
    Log(log),
    /// Measure the way to a device
    Ping(ping),
    /// Compare notes with every peer online now
    Sync(sync),
    /// Show the keys of this machine
    Id(id),
    /// Show the versions of mesh and meshd
    Version(version),
    /// Print completions for a shell
    Completions(completions),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
