//! Finds a server, speaks to it, and says in plain words when that fails.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::proto::v1::revocation_admin_client::RevocationAdminClient;
use crate::proto::v1::revocation_check_client::RevocationCheckClient;
use crate::runtime::dial::{self, DialError};
use crate::runtime::listen::Address;
use crate::runtime::tls::{self, Identity, TlsError};

pub(super) use self::call::CallError;

mod call;

/// One answer. Waiting for enforcement has a time of its own.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const MAX_BEARER_BYTES: usize = 16 * 1024;

/// Where the server is, and by what both ends prove who they are.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerOptions {
    /// Address of the server: unix:/path, /path, http://127.0.0.1:port or https://host:port
    #[arg(long, env = "RESCIND_SERVER", hide_env_values = true, value_name = "ADDR")]
    server: Option<ServerAddress>,
    /// PEM file with the authorities to trust; needed for https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file with the certificate to show
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert: Option<PathBuf>,
    /// PEM file with the private key of the certificate
    #[arg(long = "key", id = "key_file", value_name = "FILE", requires = "cert")]
    key_file: Option<PathBuf>,
    /// File with the token to show to the server
    #[arg(long, value_name = "FILE")]
    bearer_file: Option<PathBuf>,
}

impl ServerOptions {
    /// Tells whether a server is named.
    pub(super) const fn is_given(&self) -> bool {
        self.server.is_some()
    }

    /// Returns one of the other options that were given.
    pub(super) fn credentials(&self) -> Option<&'static str> {
        let given = [
            (self.ca.is_some(), "--ca"),
            (self.cert.is_some(), "--cert"),
            (self.bearer_file.is_some(), "--bearer-file"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }
}

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// In the clear; only on this machine.
    Plain(String),
    /// With TLS.
    Tls(String),
}

/// Says why a text is not the address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadServer {
    /// No address at all.
    #[error("write unix:/path, /path, http://127.0.0.1:port or https://host:port")]
    Form,
    /// Plain HTTP to another machine.
    #[error("http is for this machine only (127.0.0.1, [::1], localhost); write https://, and give --ca")]
    InTheClear,
}

impl FromStr for ServerAddress {
    type Err = BadServer;

    fn from_str(text: &str) -> Result<Self, BadServer> {
        if !text.starts_with("http:") && !text.starts_with("https:") {
            return match text.parse() {
                Ok(Address::Unix(path)) => Ok(Self::Unix(path)),
                Ok(Address::Tcp(_)) | Err(_) => Err(BadServer::Form),
            };
        }
        let uri: Uri = text.parse().map_err(|_| BadServer::Form)?;
        // Credentials and paths would be dropped without a word.
        let is_bare = uri.path_and_query().is_none_or(|path| path == "/")
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let host = uri.host().filter(|host| !host.is_empty() && is_bare).ok_or(BadServer::Form)?;
        let bare = text.trim_end_matches('/').to_owned();
        match uri.scheme_str() {
            Some("https") => Ok(Self::Tls(bare)),
            Some("http") if is_this_machine(host) => Ok(Self::Plain(bare)),
            Some("http") => Err(BadServer::InTheClear),
            _ => Err(BadServer::Form),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Plain(uri) | Self::Tls(uri) => f.write_str(uri),
        }
    }
}

/// Who is expected at the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Revokes, lifts and lists.
    Controller,
    /// Answers checks.
    Sidecar,
}

/// Says why the server was not even called.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No address.
    #[error(
        "no server is given: name a sidecar with --server or in RESCIND_SERVER (in a pod it listens at \
         /run/rescind/check.sock, in the containers that mount it); to try things out, start `rescind dev`"
    )]
    NoServer,
    /// The address and the options do not fit.
    #[error("{0}")]
    Dial(#[from] DialError),
    /// Authorities are missing.
    #[error("{server} asks for TLS: give the authority to trust with --ca")]
    NoAuthority {
        /// The address.
        server: ServerAddress,
    },
    /// TLS options for a server without TLS.
    #[error("--ca, --cert and --key are for https, and {server} is not: leave them out")]
    NoTls {
        /// The address.
        server: ServerAddress,
    },
    /// A file of certificates or keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file with the token for the server.
    #[error("can't read {}: {source}", path.display())]
    BearerFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// What is in that file.
    #[error("{} does not hold one token: it must be a single word of visible ASCII, at most 16 KiB", path.display())]
    Bearer {
        /// The file.
        path: PathBuf,
    },
}

/// A server that is connected to when it is first called.
#[derive(Debug)]
pub(super) struct Server {
    address: ServerAddress,
    role: Role,
    channel: Channel,
    bearer: Option<MetadataValue<Ascii>>,
}

impl Server {
    pub(super) fn open(options: &ServerOptions, role: Role) -> Result<Self, OpenError> {
        let address = options.server.clone().ok_or(OpenError::NoServer)?;
        let identity = options.cert.clone().zip(options.key_file.clone());
        let identity = identity.map(|(certificates, key)| Identity { certificates, key });
        let tls = match (&address, &options.ca) {
            (ServerAddress::Tls(_), Some(ca)) => Some(tls::client(ca, identity.as_ref())?),
            (ServerAddress::Tls(_), None) => return Err(OpenError::NoAuthority { server: address }),
            (_, None) if identity.is_none() => None,
            _ => return Err(OpenError::NoTls { server: address }),
        };
        let configure = |endpoint: tonic::transport::Endpoint| endpoint.connect_timeout(CONNECT_WITHIN);
        let channel = dial::channel(&address.to_string(), tls, configure)?;
        let bearer = options.bearer_file.as_deref().map(bearer).transpose()?;
        Ok(Self { address, role, channel, bearer })
    }

    pub(super) fn admin(&self) -> RevocationAdminClient<Channel> {
        RevocationAdminClient::new(self.channel.clone())
    }

    pub(super) fn check(&self) -> RevocationCheckClient<Channel> {
        RevocationCheckClient::new(self.channel.clone())
    }

    /// Wraps a message with what the server wants to see.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request
    }

    /// Waits for an answer, but not for ever.
    pub(super) async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.error(&status)),
            Err(_) => Err(CallError::NoAnswer { server: self.address.clone(), within: ANSWER_WITHIN }),
        }
    }

    /// Says what a status means for somebody who called this server.
    pub(super) fn error(&self, status: &Status) -> CallError {
        CallError::new(&self.address, self.role, status)
    }
}

fn bearer(path: &Path) -> Result<MetadataValue<Ascii>, OpenError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| OpenError::BearerFile { path: path.to_owned(), source })?;
    let token = text.trim_end_matches(['\r', '\n']);
    let is_one = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    let value = format!("Bearer {token}").parse::<MetadataValue<Ascii>>().ok();
    let fits = token.len() <= MAX_BEARER_BYTES && is_one;
    let mut value = value.filter(|_| fits).ok_or_else(|| OpenError::Bearer { path: path.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
