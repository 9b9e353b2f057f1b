//! Commands and replies as they are on the wire: where a reply ends, and nothing beyond.

use std::io;

/// Writes a command.
pub(super) fn encode(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.push(b'*');
    decimal(out, parts.len());
    for part in parts {
        out.extend_from_slice(b"\r\n$");
        decimal(out, part.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

fn decimal(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// How long the first reply in `bytes` is, or `None` if it is not complete.
pub(super) fn reply_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut at = 0;
    // Values still to come: an array adds its elements.
    let mut pending = 1;
    while pending > 0 {
        let Some((line, next)) = line(bytes, at) else {
            return Ok(None);
        };
        at = next;
        pending -= 1;
        match line.first() {
            Some(b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(') => {}
            Some(b'$' | b'=' | b'!') => {
                if let Some(length) = length(&line[1..])? {
                    at += length + 2;
                    if at > bytes.len() {
                        return Ok(None);
                    }
                }
            }
            Some(b'*' | b'~' | b'>') => pending += length(&line[1..])?.unwrap_or(0),
            Some(b'%') => pending += 2 * length(&line[1..])?.unwrap_or(0),
            _ => return Err(io::Error::other("not a reply")),
        }
    }
    Ok(Some(at))
}

/// The line that begins at `at`, and where the next begins.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = &bytes[at..];
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    (rest.len() > end + 1).then(|| (&rest[..end], at + end + 2))
}

/// A length; `None` for the -1 that stands for nothing.
fn length(digits: &[u8]) -> io::Result<Option<usize>> {
    if digits == b"-1" {
        return Ok(None);
    }
    let mut number = 0_usize;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(io::Error::other("not a length"));
        }
        number = number * 10 + usize::from(digit - b'0');
    }
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_strings() {
        let mut out = Vec::new();
        encode(&mut out, &[b"GET", b"k123456789"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$10\r\nk123456789\r\n");
    }

    #[test]
    fn a_reply_ends_where_it_ends_and_not_before() {
        for reply in [
            &b"+OK\r\n"[..],
            b":12\r\n",
            b"$3\r\na\r\n\r\n",
            b"$-1\r\n",
            b"*2\r\n$1\r\n1\r\n$2\r\n12\r\n",
            b"*2\r\n*1\r\n:1\r\n_\r\n",
            b"%1\r\n+a\r\n:1\r\n",
        ] {
            for cut in 0..reply.len() {
                assert_eq!(reply_length(&reply[..cut]).unwrap(), None);
            }
            let more = [reply, b"+next\r\n"].concat();
            assert_eq!(reply_length(&more).unwrap(), Some(reply.len()));
        }
        assert!(reply_length(b"hello\r\n").is_err());
    }
}
