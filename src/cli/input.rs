//! Reads a token from standard input or a file: never from the command line, where every user of the machine
//! could see it and the shell would keep it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::console::Console;
use crate::token::jws::MAX_TOKEN_BYTES;

/// One more than the longest token and its line ending tells that there is too much.
const READ_LIMIT: u64 = 16 * 1024 + 3;

/// Where a token comes from.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct TokenSource {
    /// File with the token ("-" is standard input)
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Catches a token on the command line, so that it is refused without being quoted.
    #[arg(hide = true)]
    arguments: Vec<OsString>,
}

/// A token. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

/// Says why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It stands on the command line.
    #[error(
        "a token is never given on the command line, where others can see it: \
         write it to standard input, or name a file with --file"
    )]
    OnCommandLine,
    /// It can't be read.
    #[error("can't read {place}: {source}")]
    Unreadable {
        /// The file, or standard input.
        place: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is nothing.
    #[error("{place} is empty: write one token to it")]
    Empty {
        /// The file, or standard input.
        place: String,
    },
    /// There is more than a token can be.
    #[error("{place} holds more than {MAX_TOKEN_BYTES} bytes, which is the most for a token")]
    TooLarge {
        /// The file, or standard input.
        place: String,
    },
    /// There are several, or a scheme is in front.
    #[error(
        "{place} holds a space or a line break inside the token: \
         write one token, alone, without a scheme such as Bearer"
    )]
    NotOne {
        /// The file, or standard input.
        place: String,
    },
    /// It is not text.
    #[error("{place} holds characters that no token has")]
    NotText {
        /// The file, or standard input.
        place: String,
    },
}

impl TokenSource {
    /// Returns an error if something that may be a token stands on the command line.
    pub(super) fn refuse_arguments(&self) -> Result<(), InputError> {
        let is_refused = self.arguments.iter().any(|argument| argument != "-");
        if is_refused { Err(InputError::OnCommandLine) } else { Ok(()) }
    }

    /// Reads the token, and conceals it from then on.
    pub(super) fn read(&self, console: &mut Console) -> Result<Secret, InputError> {
        self.refuse_arguments()?;
        let file = self.file.as_deref().filter(|path| *path != Path::new("-"));
        let place = file.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
        let bytes = match file {
            Some(path) => File::open(path).and_then(|file| {
                let mut bytes = Vec::new();
                file.take(READ_LIMIT).read_to_end(&mut bytes).map(|_| bytes)
            }),
            None => console.read(READ_LIMIT),
        };
        let bytes = bytes.map_err(|source| InputError::Unreadable { place: place.clone(), source })?;
        let secret = Secret::new(bytes, place)?;
        console.conceal(secret.expose());
        Ok(secret)
    }
}

impl Secret {
    fn new(bytes: Vec<u8>, place: String) -> Result<Self, InputError> {
        let Ok(text) = String::from_utf8(bytes) else { return Err(InputError::NotText { place }) };
        let token = text.trim_end_matches(['\r', '\n']);
        if token.is_empty() {
            return Err(InputError::Empty { place });
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InputError::TooLarge { place });
        }
        if token.contains(char::is_whitespace) {
            return Err(InputError::NotOne { place });
        }
        if token.contains(char::is_control) {
            return Err(InputError::NotText { place });
        }
        Ok(Self(token.to_owned()))
    }

    /// Returns the token itself.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Returns `true` if an argument is, or ends in, what looks like a signed token.
///
/// It is asked about every argument before any is parsed, for a parser quotes what it does not understand.
pub(super) fn looks_like_token(argument: &OsStr) -> bool {
    let text = argument.to_string_lossy();
    text.split(['=', ' ', ',', ':']).any(|part| {
        let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let mut parts = part.split('.');
        let (header, rest) = (parts.next().unwrap_or_default(), parts.collect::<Vec<_>>());
        // A header is a JSON object, and `{"` reads `eyJ` in base64.
        header.starts_with("eyJ")
            && rest.len() >= 2
            && part.bytes().all(|b| b == b'.' || is_base64url(b))
            && part.len() >= 20
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: impl Into<Vec<u8>>) -> Result<String, String> {
        let secret = Secret::new(bytes.into(), "it".to_owned());
        secret.map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_ending_is_trimmed() {
        for text in ["a.b.c", "a.b.c\n", "a.b.c\r\n", "a.b.c\n\n"] {
            assert_eq!(read(text).unwrap(), "a.b.c");
        }
    }

    #[test]
    fn what_is_not_one_token_is_refused_without_being_quoted() {
        let check = |text: &[u8], expected: &str| {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        };
        check(b"", "it is empty");
        check(b"\r\n", "it is empty");
        check(b"one\ntwo\n", "it holds a space or a line break");
        check(b"Bearer one", "it holds a space or a line break");
        check(b" one", "it holds a space or a line break");
        check(b"on\0e", "it holds characters that no token has");
        check(b"\xff\xfe", "it holds characters that no token has");
    }

    #[test]
    fn the_longest_token_is_taken_and_one_byte_more_is_not() {
        assert_eq!(read("x".repeat(MAX_TOKEN_BYTES) + "\n").unwrap().len(), MAX_TOKEN_BYTES);
        let error = read("x".repeat(MAX_TOKEN_BYTES + 1)).unwrap_err();
        assert_eq!(error, "it holds more than 16384 bytes, which is the most for a token");
        // However long it is, reading stops here.
        assert_eq!(READ_LIMIT, MAX_TOKEN_BYTES as u64 + 3);
    }

    #[test]
    fn a_signed_token_is_recognised_wherever_it_stands() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln";
        let check = |text: &str, expected| assert_eq!(looks_like_token(OsStr::new(text)), expected, "{text}");
        check(token, true);
        check(&format!("--jti={token}"), true);
        check(&format!("Bearer {token}"), true);
        check(&format!("{token}.x.y"), true);
        for innocent in ["alice", "eyJ", "https://id.example.com", "eyJa.b", "a@b.example.com", "/run/a.b.c"]
        {
            check(innocent, false);
        }
    }
}
