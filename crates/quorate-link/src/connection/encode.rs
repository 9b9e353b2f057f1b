//! Commands as bytes: arrays of bulk strings, whatever the protocol version.

/// The encoded length of a command.
pub(crate) fn encoded_len(parts: &[&[u8]]) -> usize {
    header_len(parts.len())
        + parts
            .iter()
            .map(|p| header_len(p.len()) + p.len() + 2)
            .sum::<usize>()
}

/// Appends a command to `out`.
pub(crate) fn encode(parts: &[&[u8]], out: &mut Vec<u8>) {
    header(b'*', parts.len(), out);
    for part in parts {
        header(b'$', part.len(), out);
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn header_len(n: usize) -> usize {
    3 + n.checked_ilog10().map_or(1, |d| d as usize + 1)
}

fn header(sign: u8, n: usize, out: &mut Vec<u8>) {
    // Nearly all counts and lengths have at most two digits; formatting machinery would cost more
    // than the rest of the command.
    if n < 10 {
        out.extend_from_slice(&[sign, digit(n), b'\r', b'\n']);
    } else if n < 100 {
        out.extend_from_slice(&[sign, digit(n / 10), digit(n % 10), b'\r', b'\n']);
    } else {
        let mut buffer = [0u8; 22];
        let mut at = buffer.len() - 2;
        buffer[at..].copy_from_slice(b"\r\n");
        let mut rest = n;
        while rest > 0 {
            at -= 1;
            buffer[at] = digit(rest % 10);
            rest /= 10;
        }
        out.push(sign);
        out.extend_from_slice(&buffer[at..]);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "only called with a remainder by ten"
)]
fn digit(n: usize) -> u8 {
    b'0' + n as u8
}

/// Commands that travel and are answered together, with nothing of others between them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    /// The encoded length of each command.
    pub(crate) commands: Vec<usize>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one command: its name and its arguments.
    pub fn command(&mut self, parts: &[&[u8]]) -> &mut Self {
        let start = self.bytes.len();
        encode(parts, &mut self.bytes);
        self.commands.push(self.bytes.len() - start);
        self
    }

    /// How many commands it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_any_size_are_written_and_predicted() {
        for n in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 65_535, 1_000_000] {
            let value = vec![b'x'; n];
            let parts: [&[u8]; 2] = [b"ECHO", &value];
            let mut out = Vec::new();
            encode(&parts, &mut out);
            let mut expected = format!("*2\r\n$4\r\nECHO\r\n${n}\r\n").into_bytes();
            expected.extend_from_slice(&value);
            expected.extend_from_slice(b"\r\n");
            assert_eq!(out, expected);
            assert_eq!(out.len(), encoded_len(&parts));
        }
    }
}
