//! The side that asks.

use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;

use super::{ControlError, Reply, Request, address, prefix, same_user};

/// A conversation with a lab.
#[derive(Debug)]
pub struct Connection {
    name: String,
    stream: BufReader<UnixStream>,
}

impl Connection {
    /// Reaches the lab of a name.
    ///
    /// # Errors
    /// [`ControlError::NotRunning`] when there is none.
    pub fn open(name: &str) -> Result<Self, ControlError> {
        let address = address(name)?;
        let stream = UnixStream::connect_addr(&address).map_err(|e| match e.kind() {
            std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound => {
                ControlError::NotRunning(name.to_owned())
            }
            _ => ControlError::Io { name: name.to_owned(), operation: "connect", source: e },
        })?;
        same_user(name, &stream)?;
        Ok(Self { name: name.to_owned(), stream: BufReader::new(stream) })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with the lab's own words when it could not do it.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ControlError> {
        let name = self.name.clone();
        let io = |operation| move |source| ControlError::Io { name, operation, source };
        let mut line = serde_json::to_string(request).expect("requests are plain data");
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).map_err(io.clone()("send the request"))?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).map_err(io.clone()("read the answer"))?;
        if answer.is_empty() {
            return Err(io("read the answer")(std::io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_str(&answer).map_err(|e| io("read the answer")(e.into()))? {
            Reply::Failed(why) => Err(ControlError::Refused(why)),
            reply => Ok(reply),
        }
    }
}

/// Names of the labs of this user that run on this machine, sorted.
#[must_use]
pub fn labs() -> Vec<String> {
    let list = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let prefix = format!("@{}", prefix());
    let mut names: Vec<String> = list
        .lines()
        .filter_map(|line| line.split_whitespace().last()?.strip_prefix(&prefix).map(str::to_owned))
        .filter(|name| address(name).is_ok_and(|a| a.as_abstract_name().is_some()))
        .collect();
    names.sort();
    names.dedup();
    names
}
