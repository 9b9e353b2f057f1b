//! A few lines of the wire protocol, so that the harness needs no client: what a client gets wrong
//! must not make its own tests pass.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a server may take to answer an administrative command.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a server answered to an administrative command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// A short text such as `OK`.
    Status(String),
    /// An error, with its code.
    Error(String),
    /// A number.
    Integer(i64),
    /// Text (bytes that are not UTF-8 are replaced).
    Bulk(String),
    /// Nothing.
    Nil,
    /// Several answers.
    Array(Vec<Self>),
}

impl Reply {
    /// The text of a status or bulk reply.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Status(text) | Self::Bulk(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an integer reply.
    #[must_use]
    pub const fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(text) | Self::Bulk(text) | Self::Error(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Nil => f.write_str("(nil)"),
            Self::Array(items) => f.debug_list().entries(items).finish(),
        }
    }
}

/// Sends one command over the server's Unix socket, after the password if there is one.
pub(super) fn call(socket: &Path, password: Option<&str>, args: &[&str]) -> io::Result<Reply> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    let mut stream = BufReader::new(stream);
    if let Some(password) = password {
        send(stream.get_mut(), &["AUTH", password])?;
        if let error @ Reply::Error(_) = receive(&mut stream)? {
            return Ok(error);
        }
    }
    send(stream.get_mut(), args)?;
    receive(&mut stream)
}

fn send(stream: &mut UnixStream, args: &[&str]) -> io::Result<()> {
    let mut request = format!("*{}\r\n", args.len());
    for arg in args {
        request.push_str(&format!("${}\r\n{arg}\r\n", arg.len()));
    }
    stream.write_all(request.as_bytes())
}

fn receive(stream: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let (kind, rest) = line
        .split_at_checked(1)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let number = || rest.parse::<i64>().map_err(|_| malformed(line));
    Ok(match kind {
        "+" => Reply::Status(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Integer(number()?),
        "$" => match usize::try_from(number()?) {
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Reply::Bulk(String::from_utf8_lossy(&bytes).into_owned())
            }
            Err(_) => Reply::Nil,
        },
        "*" => match usize::try_from(number()?) {
            Ok(count) => {
                let items = (0..count)
                    .map(|_| receive(stream))
                    .collect::<io::Result<_>>()?;
                Reply::Array(items)
            }
            Err(_) => Reply::Nil,
        },
        _ => return Err(malformed(line)),
    })
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("unexpected reply {line:?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_every_kind_are_read() {
        let mut wire: &[u8] = b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$2\r\nhi\r\n$-1\r\n*1\r\n:1\r\n";
        let reply = receive(&mut wire).unwrap();
        assert_eq!(
            reply,
            Reply::Array(vec![
                Reply::Status("OK".into()),
                Reply::Error("ERR no".into()),
                Reply::Integer(-7),
                Reply::Bulk("hi".into()),
                Reply::Nil,
                Reply::Array(vec![Reply::Integer(1)]),
            ])
        );
    }

    #[test]
    fn a_closed_connection_is_an_error() {
        assert_eq!(
            receive(&mut &b""[..]).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
