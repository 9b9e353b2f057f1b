//! Where one reply ends and the next begins.

/// How deeply replies may nest, and how long a line may be, before this is taken for something else.
const MAX_DEPTH: usize = 256;
const MAX_LINE: usize = 64 * 1024;

/// Finds the ends of replies (RESP2 and RESP3) in a stream that arrives in pieces.
///
/// What is not RESP, such as TLS, is not taken apart: each piece counts as one reply.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The beginning of a line that has not ended yet.
    line: Vec<u8>,
    /// How many bytes of a bulk string are still to come, with its line end.
    payload: u64,
    /// For each aggregate we are in, what is still to come.
    open: Vec<Level>,
    opaque: bool,
    inside: bool,
}

#[derive(Debug)]
struct Level {
    left: u64,
    /// An attribute comes before the value it describes, and is not one itself.
    attribute: bool,
}

impl Scanner {
    /// Whether the stream is between two replies.
    pub(super) const fn at_boundary(&self) -> bool {
        !self.inside
    }

    /// Reads on, and returns how many of these bytes belong to the reply that ends in them; `None`
    /// if they all belong to one that goes on.
    pub(super) fn next_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        self.inside |= !bytes.is_empty();
        while at < bytes.len() {
            if self.opaque {
                self.inside = false;
                return Some(bytes.len());
            }
            let rest = &bytes[at..];
            let item_ended = if self.payload > 0 {
                let taken = rest
                    .len()
                    .min(usize::try_from(self.payload).unwrap_or(usize::MAX));
                at += taken;
                self.payload -= taken as u64;
                self.payload == 0
            } else if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                self.line.extend_from_slice(&rest[..end]);
                at += end + 1;
                self.header()
            } else {
                self.line.extend_from_slice(rest);
                at = bytes.len();
                self.opaque = self.line.len() > MAX_LINE;
                false
            };
            if item_ended && self.close_levels() {
                self.inside = false;
                return Some(at);
            }
        }
        None
    }

    /// Reads a complete line; whether it is a whole item.
    fn header(&mut self) -> bool {
        let line = std::mem::take(&mut self.line);
        let Some((&kind, rest)) = line.split_first() else {
            self.opaque = true;
            return false;
        };
        let length = || {
            std::str::from_utf8(rest)
                .ok()?
                .trim_end()
                .parse::<i64>()
                .ok()
        };
        match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => true,
            b'$' | b'!' | b'=' => match length() {
                Some(length @ 0..) => {
                    self.payload = length.unsigned_abs() + 2;
                    false
                }
                Some(_) => true,
                None => self.give_up(),
            },
            b'*' | b'~' | b'>' => self.aggregate(length(), 1, false),
            b'%' => self.aggregate(length(), 2, false),
            b'|' => self.aggregate(length(), 2, true),
            _ => self.give_up(),
        }
    }

    fn aggregate(&mut self, length: Option<i64>, items_each: u64, attribute: bool) -> bool {
        let Some(length) = length else {
            return self.give_up();
        };
        let left = u64::try_from(length)
            .unwrap_or(0)
            .saturating_mul(items_each);
        if left == 0 {
            return !attribute;
        }
        self.open.push(Level { left, attribute });
        self.opaque |= self.open.len() > MAX_DEPTH;
        false
    }

    const fn give_up(&mut self) -> bool {
        self.opaque = true;
        false
    }

    /// Counts one item; whether that was the last of the whole reply.
    fn close_levels(&mut self) -> bool {
        while let Some(level) = self.open.last_mut() {
            level.left -= 1;
            if level.left > 0 {
                return false;
            }
            let attribute = level.attribute;
            self.open.pop();
            if attribute {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends found when the stream arrives in pieces of this size.
    fn ends(stream: &[u8], piece: usize) -> Vec<usize> {
        let mut scanner = Scanner::default();
        let mut ends = Vec::new();
        let mut before = 0;
        for chunk in stream.chunks(piece) {
            let mut at = 0;
            while at < chunk.len() {
                match scanner.next_end(&chunk[at..]) {
                    Some(length) => {
                        at += length;
                        ends.push(before + at);
                    }
                    None => break,
                }
            }
            before += chunk.len();
        }
        ends
    }

    #[test]
    fn the_same_ends_are_found_however_the_stream_is_cut_up() {
        let replies: [&[u8]; 9] = [
            b"+OK\r\n",
            b"$5\r\nhe\r\no\r\n",
            b"$-1\r\n",
            b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n",
            b"*0\r\n",
            b"%1\r\n+a\r\n*2\r\n_\r\n#t\r\n",
            b"|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n",
            b">2\r\n+message\r\n,1.5\r\n",
            b"-ERR no\r\n",
        ];
        let stream = replies.concat();
        let expected: Vec<usize> = replies
            .iter()
            .scan(0, |end, reply| {
                *end += reply.len();
                Some(*end)
            })
            .collect();
        for piece in 1..=stream.len() {
            assert_eq!(ends(&stream, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_not_a_reply_counts_by_pieces() {
        assert_eq!(ends(b"\x16\x03\x01abc\ndef", 100), [10]);
        let deep = b"*1\r\n".repeat(MAX_DEPTH + 2);
        assert!(
            !ends(&deep, deep.len()).is_empty(),
            "endless nesting is not followed"
        );
    }
}
