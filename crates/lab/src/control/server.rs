//! The side that is asked.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use super::{ControlError, Reply, Request, address, same_user};

/// How long a question or the taking of an answer is waited for: a program that was stopped must not stop the others.
const PATIENCE: Duration = Duration::from_secs(2);

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

    /// Answers requests one after the other, until one of them is [`Request::Down`]: then the name is free again, and
    /// whoever asked is told by [`Goodbye::say`].
    ///
    /// # Errors
    /// When no connection can be accepted any more. What happens to one connection does not end the lab.
    pub fn serve(self, mut answer: impl FnMut(Request) -> Reply) -> Result<Goodbye, ControlError> {
        loop {
            let (stream, _) = self.socket.accept().map_err(|source| ControlError::Io {
                name: self.name.clone(),
                operation: "accept",
                source,
            })?;
            if same_user(&self.name, &stream).is_ok()
                && let Ok(Some(stream)) = converse(stream, &mut answer)
            {
                return Ok(Goodbye(stream));
            }
        }
    }
}

/// Somebody who waits for the lab to end.
#[derive(Debug)]
#[must_use]
pub struct Goodbye(UnixStream);

impl Goodbye {
    /// Tells them that it has. They may be gone by now.
    pub fn say(mut self) {
        let _ = send(&mut self.0, &Reply::Done);
    }
}

fn send(stream: &mut UnixStream, reply: &Reply) -> std::io::Result<()> {
    let mut text = serde_json::to_string(reply).expect("replies are plain data");
    text.push('\n');
    stream.write_all(text.as_bytes())
}

/// Answers until the other side has no more questions; gives the stream back when the lab is asked to end.
fn converse(stream: UnixStream, answer: &mut impl FnMut(Request) -> Reply) -> std::io::Result<Option<UnixStream>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        let reply = match serde_json::from_str(&line) {
            Ok(Request::Down) => return Ok(Some(stream.into_inner())),
            Ok(request) => answer(request),
            Err(e) => Reply::Failed(format!("this lab is of another version of tortie: {e}")),
        };
        send(stream.get_mut(), &reply)?;
        line.clear();
    }
    Ok(None)
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
        let served = std::thread::spawn(move || listener.serve(|r| Reply::Failed(format!("{r:?}"))).unwrap().say());
        let mut connection = Connection::open(&name).unwrap();
        let refused = connection.ask(&Request::Status).unwrap_err();
        assert_eq!(refused.to_string(), "Status");
        assert_eq!(connection.ask(&Request::Down).unwrap(), Reply::Done);
        served.join().unwrap();
        assert!(matches!(Connection::open(&name), Err(ControlError::NotRunning(_))));
    }

    #[test]
    fn who_says_nothing_keeps_nobody_waiting_for_ever() {
        let name = format!("silent-{}", std::process::id());
        let listener = Listener::bind(&name).unwrap();
        let _silent = Connection::open(&name).unwrap();
        let served = std::thread::spawn(move || listener.serve(|_| Reply::Done).unwrap().say());
        let mut connection = Connection::open(&name).unwrap();
        assert_eq!(connection.ask(&Request::Down).unwrap(), Reply::Done);
        served.join().unwrap();
    }

    #[test]
    fn names_that_could_mean_something_else_are_refused() {
        for name in ["", "a/b", "../x", &"x".repeat(41)] {
            assert!(matches!(Listener::bind(name), Err(ControlError::BadName(_))), "{name:?}");
        }
    }
}
