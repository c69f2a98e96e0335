//! The command line.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::StyledStr;
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use mesh_control::{Error, call, history};

use crate::context::Context;
use crate::{parse, stored, verb};

const ABOUT: &str = "\
A peer-to-peer WireGuard mesh VPN

Make a network on one machine, invite the next, and ping it:

  sudo mesh create home --as alice
  mesh invite
  sudo mesh join TICKET --as bob      (on the other machine)
  mesh ping alice";

/// What was typed.
#[derive(Parser)]
#[command(
    name = "mesh",
    version,
    about = ABOUT,
    long_about = None,
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

/// Reads what was typed. Errors: help that was asked for, or what is wrong with the arguments.
pub fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
}

/// The command line, with its verbs in groups.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let groups = groups(&command);
    let header = command.get_styles().get_header();
    let options = format!("{header}With every verb:{header:#}");
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{options}\n{{options}}\n"
    );
    command.help_template(StyledStr::from(template))
}

/// The command that shows the help of the verb that was typed: `mesh invite revoke --help`.
pub(crate) fn help_for(args: &[OsString]) -> String {
    let command = command();
    let (mut at, mut words) = (&command, vec!["mesh"]);
    for arg in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        if let Some(verb) = at.find_subcommand(arg) {
            words.push(verb.get_name());
            at = verb;
        }
    }
    words.push("--help");
    words.join(" ")
}

/// What each group is for, and its verbs in the order one comes to need them.
const GROUPS: [(&str, &[&str]); 7] = [
    (
        "Make a network, and get into one",
        &["create", "invite", "join", "leave"],
    ),
    (
        "Switch it on and off, and see how it is",
        &[
            "up", "down", "status", "networks", "ping", "path", "netcheck", "doctor", "dns",
        ],
    ),
    (
        "Open ports to others, and forward for them",
        &["share", "unshare", "offers", "relay"],
    ),
    (
        "Say who is in it, and what holds for all",
        &[
            "member", "kick", "admin", "owner", "device", "get", "set", "unset",
        ],
    ),
    (
        "Let a server of yours connect and keep what you have",
        &["server"],
    ),
    (
        "Know what was done, by whom",
        &["log", "why", "watch", "prove", "verify-proof", "sync", "id"],
    ),
    (
        "This program",
        &["service", "version", "completions", "help"],
    ),
];

fn groups(command: &Command) -> String {
    let style = command.get_styles();
    let (header, literal) = (style.get_header(), style.get_literal());
    let mut text = String::new();
    for (title, verbs) in GROUPS {
        let _ = writeln!(text, "{header}{title}:{header:#}");
        for verb in verbs {
            let about = command.find_subcommand(verb).and_then(Command::get_about);
            // Clap adds its `help` only when it parses.
            let about = about.map_or(
                "Print this, or the help of a verb".to_owned(),
                ToString::to_string,
            );
            let _ = writeln!(text, "  {literal}{verb:<12}{literal:#}  {about}");
        }
        text.push('\n');
    }
    text
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
    /// When to use colour: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub color: Color,
    /// Draw symbols with plain letters
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Give up waiting for meshd after this long
    #[arg(long, global = true, value_name = "TIME", value_parser = parse::duration)]
    pub timeout: Option<Duration>,
    /// Where to read the passphrase of the user key: - for standard input, @FILE; asked at the terminal if absent
    #[arg(long, global = true, value_name = "-|@FILE")]
    pub passphrase: Option<String>,
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

/// The option of every verb that can show the past.
#[derive(Args, Debug, Clone)]
pub struct At {
    /// As it was at WHEN: an event (the start of its id), a time span ago (2h), a day (2026-11-22: its beginning) or a time
    /// (2026-11-22T14:30), in UTC, by the clocks of those who signed; works while meshd does not run, too
    #[arg(long, value_name = "WHEN")]
    pub at: Option<String>,
}

impl At {
    /// The network as it was, if that is asked for. `verb` is what was typed.
    pub(crate) async fn past(
        &self,
        verb: &str,
        context: &mut Context,
    ) -> Result<Option<history::Past>, Error> {
        let Some(at) = &self.at else {
            return Ok(None);
        };
        let now_ms = (context.terminal.now_ms)();
        let call = call::Past {
            network: context.network(),
            at: parse::moment(at, &format!("{verb} --at"), now_ms)?,
        };
        let past = stored::past(call, context).await;
        context.suggest(past, &[]).await.map(Some)
    }
}

/// The options of acts that concern others.
#[derive(Args, Debug, Clone, Copy)]
pub struct Consent {
    /// Show what would be signed and what would become void, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long, conflicts_with = "dry_run")]
    pub yes: bool,
}

macro_rules! verbs {
    ($($variant:ident($module:ident),)*) => {
        /// What to do.
        #[derive(Subcommand)]
        #[allow(missing_docs)] // The help text stands with the arguments of each.
        pub enum Verb {
            $($variant(verb::$module::Args),)*
        }

        impl Verb {
            pub(crate) async fn run(self, context: &mut Context) -> Result<(), Error> {
                match self { $(Self::$variant(args) => verb::$module::run(args, context).await,)* }
            }
        }
    };
}

verbs! {
    Create(create),
    Join(join),
    Invite(invite),
    Up(up),
    Down(down),
    Leave(leave),
    Networks(networks),
    Status(status),
    Member(member),
    Kick(kick),
    Admin(admin),
    Owner(owner),
    Get(get),
    Set(set),
    Unset(unset),
    Device(device),
    Share(share),
    Unshare(unshare),
    Offers(offers),
    Relay(relay),
    Server(server),
    Log(log),
    Why(why),
    Watch(watch),
    Ping(ping),
    Path(path),
    Netcheck(netcheck),
    Doctor(doctor),
    Prove(prove),
    VerifyProof(verify_proof),
    Sync(sync),
    Id(id),
    Dns(dns),
    Service(service),
    Version(version),
    Completions(completions),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_is_in_one_group_and_has_a_line_of_help() {
        let command = command();
        let mut known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        known.push("help");
        let mut grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, verbs)| *verbs)
            .copied()
            .collect();
        known.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(known, grouped);
        let told = command
            .get_subcommands()
            .all(|verb| verb.get_about().is_some());
        assert!(told);
    }
}
