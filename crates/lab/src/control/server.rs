//! The side that is asked.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use super::{ControlError, Reply, Request, address, same_user};

/// The socket of a lab. Bind it before the sandbox is entered: abstract names belong to a network namespace.
#[derive(Debug)]
pub struct Listener {
    name: String,
    socket: UnixListener,
}

impl Listener {
    /// Takes the name.
    ///
    /// # Errors
    /// [`ControlError::Running`] when another lab has it.
    pub fn bind(name: &str) -> Result<Self, ControlError> {
        let socket = UnixListener::bind_addr(&address(name)?).map_err(|e| match e.kind() {
            std::io::ErrorKind::AddrInUse => ControlError::Running(name.to_owned()),
            _ => ControlError::Io { name: name.to_owned(), operation: "listen", source: e },
        })?;
        Ok(Self { name: name.to_owned(), socket })
    }

    /// The lab's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Answers requests one after the other, until one of them was [`Request::Down`].
    ///
    /// # Errors
    /// When no connection can be accepted any more. What happens to one connection does not end the lab.
    pub fn serve(&self, mut answer: impl FnMut(Request) -> Reply) -> Result<(), ControlError> {
        loop {
            let (stream, _) = self.socket.accept().map_err(|source| ControlError::Io {
                name: self.name.clone(),
                operation: "accept",
                source,
            })?;
            if same_user(&self.name, &stream).is_ok() && converse(stream, &mut answer).unwrap_or(false) {
                return Ok(());
            }
        }
    }
}

/// Whether the lab was asked to end.
fn converse(stream: UnixStream, answer: &mut impl FnMut(Request) -> Reply) -> std::io::Result<bool> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        let (reply, down) = match serde_json::from_str(&line) {
            Ok(Request::Down) => (Reply::Done, true),
            Ok(request) => (answer(request), false),
            Err(e) => (Reply::Failed(format!("this lab is of another version of tortie: {e}")), false),
        };
        let mut text = serde_json::to_string(&reply).expect("replies are plain data");
        text.push('\n');
        stream.get_mut().write_all(text.as_bytes())?;
        if down {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::super::{Connection, labs};
    use super::*;

    #[test]
    fn a_name_is_taken_once_and_free_again_afterwards() {
        let name = format!("test-{}", std::process::id());
        let listener = Listener::bind(&name).unwrap();
        assert!(matches!(Listener::bind(&name), Err(ControlError::Running(_))));
        assert!(labs().contains(&name));
        let served = std::thread::spawn(move || listener.serve(|r| Reply::Failed(format!("{r:?}"))));
        let mut connection = Connection::open(&name).unwrap();
        let refused = connection.ask(&Request::Status).unwrap_err();
        assert_eq!(refused.to_string(), "Status");
        assert_eq!(connection.ask(&Request::Down).unwrap(), Reply::Done);
        served.join().unwrap().unwrap();
        assert!(matches!(Connection::open(&name), Err(ControlError::NotRunning(_))));
    }

    #[test]
    fn names_that_could_mean_something_else_are_refused() {
        for name in ["", "a/b", "../x", &"x".repeat(41)] {
            assert!(matches!(Listener::bind(name), Err(ControlError::BadName(_))), "{name:?}");
        }
    }
}
