//! `mesh verify-proof FILE --network ID`

use mesh_control::{Code, Error};
use mesh_ledger::ids::NetworkId;
use mesh_ledger::proof_file::{BadProof, MAX_PROOF, ProofFile, verify};

use crate::context::Context;
use crate::verb::prove::Shown;
use crate::{files, render};

/// Check a proof that mesh prove wrote; exit 8 if it proves nothing
///
/// Needs the network's whole id, which whoever relies on it knows from somewhere else, and neither daemon nor network.
#[derive(clap::Args)]
pub struct Args {
    /// The proof, or - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let Some(network) = context.network() else {
        let message =
            "a proof is checked against the id of the network, which must not come from the proof";
        return Err(Error::new(Code::Usage, message)
            .hint(format!("mesh verify-proof {} --network ID", args.file)));
    };
    let network: NetworkId = network.parse().map_err(|_| {
        let message = "a proof is checked against the network's whole id: 64 hexadecimal digits";
        Error::new(Code::Usage, message).hint("on a member's machine: mesh networks --json")
    })?;
    let bytes = files::read(&args.file, MAX_PROOF, context)?;
    let proven = ProofFile::decode(&bytes).and_then(|file| verify(&file, &network));
    let proven = proven.map_err(|bad| {
        let (code, hint) = match bad {
            BadProof::NotOne => (Code::Usage, "mesh prove --help"),
            BadProof::Version => (Code::Usage, "mesh version"),
            _ => (Code::Verification, "ask for it anew: mesh prove"),
        };
        Error::new(code, format!("{}: {bad}", args.file)).hint(hint)
    })?;
    let shown = Shown::new(&proven, &network);
    context.print("proof", &shown, render::proven)
}
