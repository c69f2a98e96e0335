//! A TCP service to connect to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};

/// Sends back every byte it gets, until this value is dropped.
pub struct EchoServer {
    listener: TcpListener,
    accepting: Option<JoinHandle<()>>,
}

impl EchoServer {
    pub(super) fn new(listener: TcpListener) -> Self {
        let accepted = listener.try_clone().unwrap();
        let accepting = thread::spawn(move || {
            let mut open: Vec<TcpStream> = Vec::new();
            while let Ok((stream, _)) = accepted.accept() {
                open.push(stream.try_clone().unwrap());
                thread::spawn(move || echo(stream));
            }
            for stream in open {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        Self {
            listener,
            accepting: Some(accepting),
        }
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        // Linux wakes a blocked `accept` when its socket is shut down.
        let _ =
            nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
