//! What a client sends, as the server saw it: so that the floor sends the very same.

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::floor::Floor;

/// A command: its name and arguments.
pub(crate) type Command = Vec<Vec<u8>>;

/// Runs `act`, and returns the commands of that name which reached the server meanwhile, in order.
/// What scripts did is not among them.
///
/// # Errors
/// Those of `act` and of the socket.
pub(crate) async fn commands_of(
    port: u16,
    name: &str,
    act: impl Future<Output = Result<()>>,
) -> Result<Vec<Command>> {
    const END: &[u8] = b"bench:end-of-capture";
    let mut monitor = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    monitor.write_all(b"MONITOR\r\n").await?;
    let mut line = String::new();
    monitor.read_line(&mut line).await?;
    ensure!(line == "+OK\r\n", "MONITOR was answered with {line:?}");
    act.await?;
    let floor = Floor::connect(("127.0.0.1", port)).await?;
    floor.call(&[b"ECHO", END]).await?;
    let mut commands = Vec::new();
    loop {
        line.clear();
        let length = monitor.read_line(&mut line).await?;
        ensure!(length > 0, "the server closed the connection");
        let (origin, command) = parse(&line).with_context(|| format!("unreadable: {line:?}"))?;
        if command.get(1).is_some_and(|argument| argument == END) {
            return Ok(commands);
        }
        let is_named = command[0].eq_ignore_ascii_case(name.as_bytes());
        if is_named && !origin.ends_with(" lua]") {
            commands.push(command);
        }
    }
}

/// Reads a line such as `+1700000000.000001 [0 127.0.0.1:5000] "GET" "k"`.
fn parse(line: &str) -> Option<(&str, Command)> {
    let (_, rest) = line.split_once(' ')?;
    let (origin, rest) = rest.split_at(rest.find(']')? + 1);
    let mut bytes = rest.trim().bytes();
    let mut command = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'"' {
            command.push(quoted(&mut bytes)?);
        }
    }
    (!command.is_empty()).then_some((origin, command))
}

/// Reads up to the closing quote.
fn quoted(bytes: &mut impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        match bytes.next()? {
            b'"' => return Some(text),
            b'\\' => text.push(match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'a' => 7,
                b'b' => 8,
                b'x' => {
                    let mut digit = || char::from(bytes.next()?).to_digit(16);
                    u8::try_from(digit()? * 16 + digit()?).ok()?
                }
                other => other,
            }),
            byte => text.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_read_back_byte_for_byte() {
        let line = "+1.2 [0 127.0.0.1:1] \"PUBLISH\" \"a b\" \"\\xc1\\x01\\\"\\\\\\r\\n]\"\r\n";
        let (origin, command) = parse(line).unwrap();
        assert_eq!(origin, "[0 127.0.0.1:1]");
        let expected: Command = vec![
            b"PUBLISH".to_vec(),
            b"a b".to_vec(),
            b"\xc1\x01\"\\\r\n]".to_vec(),
        ];
        assert_eq!(command, expected);
    }
}
