//! What a person sees, verb by verb: the real command against a daemon of paper, compared with the `*.txt` beside this.
//!
//! A transcript shows each command as typed, then its standard output, its standard error behind `2> `, and its exit code
//! unless 0. `$` runs into a pipe, `tty 60 $` at a terminal 60 columns wide. After a wanted change, run the tests with
//! `MESH_BLESS=1` and read the difference.
#![allow(clippy::unwrap_used)]

mod carrying;
mod desk;
mod devices;
mod history;
mod joining;
mod members;
mod names;
mod networks;
mod offers;
mod offices;
mod offline;
mod others;
mod reach;
mod servers;
mod start;
mod watch;
