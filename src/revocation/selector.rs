//! Selectors and targets: which claims of a token a revocation names.

use std::fmt;

use super::claims::{ClaimPath, Decimal};

/// The selectors that every list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BuiltIn {
    /// One token, by `jti`.
    Token,
    /// One session, by `sid`.
    Session,
    /// Everything of a subject, by `sub`.
    Subject,
    /// Everything of a client, by `client_id`.
    Client,
    /// Everything verified by one key, by its configured `kid` or its RFC 7638 thumbprint.
    Key,
    /// Everything of the issuer.
    Everything,
    /// One opaque token or session id, by its SHA-256.
    Opaque,
}

/// How many tokens a target may reach; wide targets need a permission of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One token, session or subject.
    Narrow,
    /// Any number of subjects.
    Wide,
}

/// The cutoff of a revocation that names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DefaultCutoff {
    /// Denies whenever the token was issued.
    Always,
    /// The second in which the revocation was created, to its end.
    CreationTime,
    /// None: the caller must choose.
    None,
}

impl BuiltIn {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 7] =
        [Self::Token, Self::Session, Self::Subject, Self::Client, Self::Key, Self::Everything, Self::Opaque];

    /// Returns the name, which is also what goes into a key.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session",
            Self::Subject => "subject",
            Self::Client => "client",
            Self::Key => "key",
            Self::Everything => "everything",
            Self::Opaque => "opaque",
        }
    }

    /// Returns the claim that it reads unless the issuer renames it; none where it reads no claim.
    #[must_use]
    pub const fn claim(self) -> Option<&'static str> {
        match self {
            Self::Token => Some("jti"),
            Self::Session => Some("sid"),
            Self::Subject => Some("sub"),
            Self::Client => Some("client_id"),
            Self::Key | Self::Everything | Self::Opaque => None,
        }
    }

    /// Returns the scope.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Token | Self::Session | Self::Subject | Self::Opaque => Scope::Narrow,
            Self::Client | Self::Key | Self::Everything => Scope::Wide,
        }
    }

    /// Returns the cutoff of a revocation that names none.
    #[must_use]
    pub const fn default_cutoff(self) -> DefaultCutoff {
        match self {
            Self::Token | Self::Session | Self::Key | Self::Opaque => DefaultCutoff::Always,
            Self::Subject | Self::Client => DefaultCutoff::CreationTime,
            Self::Everything => DefaultCutoff::None,
        }
    }
}

/// A claim's value with its JSON type: the string `"7"`, the number `7` and `true` differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TypedValue {
    /// A string, compared by code point.
    String(String),
    /// A number, compared by value.
    Number(Decimal),
    /// A truth value.
    Boolean(bool),
}

/// One claim of a declared selector with the value that a token must have there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimMatch {
    /// Where the claim is.
    pub claim: ClaimPath,
    /// What it must be, or what one of its elements must be.
    pub value: TypedValue,
}

/// A selector with its values: what a revocation names beside the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selection {
    /// `jti`.
    Token(String),
    /// `sid`.
    Session(String),
    /// `sub`.
    Subject(String),
    /// `client_id`.
    Client(String),
    /// A configured `kid`, or an RFC 7638 thumbprint.
    Key(String),
    /// Everything of the issuer.
    Everything,
    /// SHA-256 of an opaque token or session id.
    Opaque([u8; 32]),
    /// A selector that the list declares; all its claims must match.
    Declared {
        /// The name under which the list declares it.
        name: String,
        /// One entry per claim; no claim twice.
        values: Vec<ClaimMatch>,
    },
}

impl Selection {
    /// Returns the built-in selector; none for a declared one.
    #[must_use]
    pub const fn built_in(&self) -> Option<BuiltIn> {
        match self {
            Self::Token(_) => Some(BuiltIn::Token),
            Self::Session(_) => Some(BuiltIn::Session),
            Self::Subject(_) => Some(BuiltIn::Subject),
            Self::Client(_) => Some(BuiltIn::Client),
            Self::Key(_) => Some(BuiltIn::Key),
            Self::Everything => Some(BuiltIn::Everything),
            Self::Opaque(_) => Some(BuiltIn::Opaque),
            Self::Declared { .. } => None,
        }
    }

    /// Returns the name of the selector.
    #[must_use]
    pub fn name(&self) -> &str {
        match (self.built_in(), self) {
            (Some(built_in), _) => built_in.name(),
            (None, Self::Declared { name, .. }) => name,
            (None, _) => "",
        }
    }

    /// Returns the scope: a declared selector is narrow if it names `jti`, `sid` or `sub`.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match (self.built_in(), self) {
            (Some(built_in), _) => built_in.scope(),
            (None, Self::Declared { values, .. }) if names_any(values, &["jti", "sid", "sub"]) => {
                Scope::Narrow
            }
            (None, _) => Scope::Wide,
        }
    }

    /// Returns the cutoff of a revocation that names none.
    #[must_use]
    pub fn default_cutoff(&self) -> DefaultCutoff {
        match (self.built_in(), self) {
            (Some(built_in), _) => built_in.default_cutoff(),
            (None, Self::Declared { values, .. }) if names_any(values, &["jti", "sid"]) => {
                DefaultCutoff::Always
            }
            (None, _) => DefaultCutoff::CreationTime,
        }
    }
}

fn names_any(values: &[ClaimMatch], claims: &[&str]) -> bool {
    values.iter().any(|value| claims.contains(&value.claim.as_str()))
}

/// What a revocation names: an issuer, and a selection among its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The exact `iss`, by code point.
    pub issuer: String,
    /// Which of the issuer's tokens.
    pub selection: Selection,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Narrow => "narrow",
            Self::Wide => "wide",
        })
    }
}
